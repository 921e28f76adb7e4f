"""Keeps the margin positions of one wallet away from liquidation by moving collateral between them.

What a program needs that decides as the keeper does: the values of a cycle, the planner on them, and the faults. None
of it does I/O; everything else is reached through the `keeper` command.
"""

from keeper.core.plan import History, Plan, Rescue, Transfer
from keeper.core.planner import make_plan
from keeper.core.policy import Policy, SubaccountPolicy, Thresholds
from keeper.core.risk import Risk
from keeper.core.snapshot import Snapshot, Subaccount, SubaccountId
from keeper.errors import ChainError, ConfigError, JournalError, KeeperError, ProtocolError

__version__ = "0.1.0"

__all__ = [
    "ChainError",
    "ConfigError",
    "History",
    "JournalError",
    "KeeperError",
    "Plan",
    "Policy",
    "ProtocolError",
    "Rescue",
    "Risk",
    "Snapshot",
    "Subaccount",
    "SubaccountId",
    "SubaccountPolicy",
    "Thresholds",
    "Transfer",
    "__version__",
    "make_plan",
]
