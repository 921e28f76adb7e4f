"""When the daemon looks beside its cycles, and what a look that fails leaves behind."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from keeper.errors import ConfigError, NodeUnreachable, ProtocolError
from keeper.lookout import Lookout
from tests.builders import a_subaccount, a_wallet
from tests.fakes import FakeClock
from tests.keeper_world import World


class Watched(Lookout):
    """Counts what it does instead of doing it."""

    def __init__(self, keeper: Any, clock: FakeClock, until: int) -> None:
        super().__init__(SimpleNamespace(keeper=keeper), clock)  # pyright: ignore[reportArgumentType]
        self.did: list[tuple[str, float]] = []
        self._watch = clock
        self._until = until

    async def find_out_anew(self) -> None:
        self._note("anew")

    async def look(self) -> Any:
        self._note("look")

    def _note(self, what: str) -> None:
        self.did.append((what, self._watch.monotonic()))
        if len(self.did) == self._until:
            raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("is_outdated", "did"),
    [
        (False, [("look", 60), ("look", 660), ("look", 1_260)]),
        (True, [("anew", 60), ("look", 60), ("anew", 120)]),
    ],
)
async def test_it_looks_every_ten_minutes_and_every_minute_for_what_is_outdated(
    is_outdated: bool, did: list[tuple[str, float]]
) -> None:
    clock = FakeClock()
    start = clock.monotonic()
    lookout = Watched(SimpleNamespace(is_outdated=is_outdated), clock, 3)
    with pytest.raises(asyncio.CancelledError):
        await lookout.run()
    assert [(what, at - start) for what, at in lookout.did] == did


@pytest.mark.parametrize(
    ("fault", "alarm"),
    [
        (NodeUnreachable("node.example did not answer in time."), "node_failing"),
        (ProtocolError("the Aave pool is of revision 12 and the keeper knows 10"), "unknown"),
        (ConfigError("target must be above trigger."), "unknown"),
    ],
)
async def test_what_cannot_be_found_out_is_told_and_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception, alarm: str
) -> None:
    async def fails(_: Any) -> None:
        raise fault

    world = World(tmp_path, a_subaccount("a"), a_wallet("10"))
    monkeypatch.setattr("keeper.session.Session.found_out_anew", fails)
    session = world.keeper.session
    with world.listening():
        await Lookout(world.running, FakeClock()).find_out_anew()
    assert world.names() == [alarm]
    assert world.keeper.session is session
    world.journal.close()
