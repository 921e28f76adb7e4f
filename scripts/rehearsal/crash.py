"""One crash on the fork, in steps: in each prices fall and liquidators strike in a block, and then the keeper acts.

That order is the worst one: whoever is liquidatable the moment a price is there, is liquidated before a rescue can be.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keeper.core.snapshot import Snapshot
from scripts.localchain.anvil import ROOT
from scripts.localchain.node import Node
from scripts.rehearsal.liquidators import Liquidation, Liquidators
from scripts.rehearsal.oracles import Oracles
from scripts.rehearsal.wallet import look

KEEPER_SECONDS_MAX = 180


class RehearsalError(Exception):
    """The rehearsal cannot go on; a sentence."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step brought."""

    number: int
    fallen: Snapshot
    """After the prices fell and before anybody did anything."""
    liquidations: tuple[Liquidation, ...]
    cycle: Mapping[str, Any] | None
    """What `keeper run --once --json` answered; None without a keeper."""
    end: Snapshot


@dataclass(frozen=True, slots=True)
class Act:
    """One whole crash."""

    steps: tuple[Step, ...]

    @property
    def start(self) -> Snapshot:
        return self.steps[0].fallen

    @property
    def end(self) -> Snapshot:
        return self.steps[-1].end


def play(node: Node, oracles: Oracles, liquidators: Liquidators, config: Path, *, has_keeper: bool) -> Act:
    """Step 0 is today's prices. Raises RehearsalError when the keeper does not run."""
    steps: list[Step] = []
    for number in range(oracles.falls.steps + 1):
        oracles.move(number)
        mine(node)
        _, fallen = look(config)
        struck = tuple(liquidators.strike(fallen))
        cycle = _keeper_acts(config) if has_keeper else None
        mine(node)
        _, end = look(config)
        steps.append(Step(number, fallen, struck, cycle, end))
    return Act(tuple(steps))


def mine(node: Node) -> None:
    """A block of now, or of a second later than the last: the chain's clock never lags behind the keeper's."""
    node.set_next_timestamp(max(int(time.time()), node.timestamp() + 1))
    node.mine()


def _keeper_acts(config: Path) -> Mapping[str, Any]:
    """One cycle of the keeper, a process of its own; what it logs is in keeper.log."""
    command = [str(Path(sys.executable).with_name("keeper")), "run", "--once", "--json", "--config", str(config)]
    with config.with_name("keeper.log").open("ab") as log:
        try:
            ended = subprocess.run(
                command,
                cwd=ROOT,
                env=os.environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                timeout=KEEPER_SECONDS_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RehearsalError(f"the keeper did not end a cycle within {KEEPER_SECONDS_MAX} seconds") from None
    try:
        answer = json.loads(ended.stdout)
    except ValueError:
        raise RehearsalError(f"the keeper ended with exit code {ended.returncode} and said nothing") from None
    if "error" in answer:
        raise RehearsalError(f"the keeper refused to run: {answer['error']}")
    return answer
