"""The owner's thresholds: when to act, how far to go, what a donor keeps.

`1 < hard_floor <= survive <= critical < trigger <= rescue_ceiling <= target < floor`; the guard enforces hard_floor,
survive (its `minAfter`) and rescue_ceiling on-chain as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from keeper.core.snapshot import Horizon, SubaccountId
from keeper.core.units import Wad


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Healths, WAD."""

    hard_floor: Wad
    """No donor with debt ever ends below it."""
    survive: Wad
    """A rescue that ends below it is not made."""
    critical: Wad
    """Below it a rescue goes into the critical lane and the last stand is allowed."""
    trigger: Wad
    """Below it a rescue is due."""
    rescue_ceiling: Wad
    """At or above it the guard refuses to put anything in."""
    target: Wad
    """Where a rescue brings it."""
    floor: Wad
    """A donor normally never ends below it."""


@dataclass(frozen=True, slots=True)
class SubaccountPolicy:
    """What holds for one subaccount; `why` says where its numbers come from, for `init` and `explain`."""

    thresholds: Thresholds
    shock_bps: int
    """The price fall that its cushion is measured against."""
    priority: int = 0
    """Higher is saved first when not all can be."""
    never_donate: bool = False
    accept_unchecked_age: bool = False
    """Whether a price whose age cannot be read is good enough to act on (`oracle_age = "unchecked"`)."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of a wallet, resolved for every subaccount of its topology."""

    subaccounts: Mapping[SubaccountId, SubaccountPolicy]
    last_stand: bool
    """`equalise` when true: in the critical lane donors may go below their floor and share a cushion with it."""
    inclusion: Horizon
    """When a transaction sent now is expected to take effect, and the interest allowed until then."""
    amount_margin_bps: int
    """Kept back from every exact maximum: the maximum of one block is refused one block later."""
    cooldown_seconds: int
    """After a rescue, no routine rescue of the same subaccount; never mutes a critical one."""
    min_benefit_multiple: int
    """Routine lane: act when the expected loss avoided exceeds this many times the gas cost."""
