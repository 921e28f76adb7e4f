"""The daemon as a process outlives the faults of its parts, says when it is blind, and always ends in order."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from keeper.chain.heads import HeadEvent, NewHead, Silence
from keeper.errors import ChainError, ConfigError, JournalError, JournalFull, KeeperError, NodeUnreachable, WrongChain
from keeper.opening import Running
from keeper.service import begin, guarded_cycle, handlers, run_cycles, stop, tell_of_stop
from keeper.upkeep import end, kept_up
from tests.builders import a_subaccount, a_wallet
from tests.fakes import FakeClock, a_block
from tests.keeper_world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, a_subaccount("a", health="1.5"), a_wallet("10"))
    yield made
    made.journal.close()


async def cycle(world: World, number: int) -> None:
    with world.listening():
        await guarded_cycle(world.running, a_block(number), blocks_may_be_gone=False)


# The beginning --------------------------------------------------------------------------------------------------------


class Opening:
    """Attempts to begin: each of these faults once, then it succeeds."""

    def __init__(self, world: World, *faults: KeeperError) -> None:
        self._world = world
        self._faults = list(faults)
        self.attempts = 0

    async def __call__(self) -> Running:
        self.attempts += 1
        if self._faults:
            raise self._faults.pop(0)
        return self._world.running


DOWN = NodeUnreachable("node.example cannot be reached: Connection refused.", was_asked=False)


async def test_a_node_that_does_not_answer_at_the_start_is_told_and_waited_for(world: World) -> None:
    opening, clock = Opening(world, *[DOWN] * 6), FakeClock()
    with world.listening():
        assert await begin(world.ground, opening, clock) is not None
    assert opening.attempts == 7
    assert clock.monotonic() == 1 + 2 + 4 + 8 + 15 + 15
    says = (
        "The keeper cannot begin: node.example cannot be reached: Connection refused. Nothing is protected until it "
        "can; it tries on."
    )
    assert world.about("no_fresh_view") == [("keeper", says)], "once, as long as it is the same fault"
    assert (world.vitals.is_alive, world.vitals.is_ready) == (True, False)


@pytest.mark.parametrize("fault", [WrongChain("It is chain 5."), ConfigError("There is no keystore.")])
async def test_what_waiting_does_not_mend_ends_it(world: World, fault: KeeperError) -> None:
    opening = Opening(world, DOWN, fault)
    with pytest.raises(type(fault)):
        await begin(world.ground, opening, FakeClock())
    assert (opening.attempts, fault.exit_code) == (2, 2)


async def test_whoever_is_told_to_stop_does_not_begin(world: World) -> None:
    began = asyncio.Event()
    given_up: list[bool] = []

    async def hangs() -> Running:
        began.set()
        try:
            return await asyncio.Future()
        except asyncio.CancelledError:
            given_up.append(True)
            raise

    beginning = asyncio.create_task(begin(world.ground, hangs, FakeClock()))
    await began.wait()
    world.ground.stopping.set()
    assert await beginning is None
    assert given_up == [True]


async def test_whoever_is_told_to_stop_between_two_attempts_does_not_try_again(world: World) -> None:
    async def told_to_stop() -> Running:
        world.ground.stopping.set()
        raise ChainError("It answers nothing.")

    assert await begin(world.ground, told_to_stop, FakeClock()) is None


# Blindness ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "is_blind"), [(59, False), (60, False), (61, True)])
async def test_heads_of_which_nothing_can_be_read_are_blindness(world: World, seconds: int, is_blind: bool) -> None:
    await world.start()
    await cycle(world, 100)
    world.read_fault = NodeUnreachable("node.example did not answer in time.")
    world.clock.advance(seconds)
    await cycle(world, 101)
    assert ("no_fresh_view" in world.names()) is is_blind


async def test_blindness_from_the_start_is_told_and_once_more_when_it_is_back(world: World) -> None:
    world.read_fault = NodeUnreachable("node.example did not answer in time.")
    world.clock.advance(61)
    await cycle(world, 100)
    await cycle(world, 101)
    says = "Nothing could be read for 61 s, though new blocks are announced. Nothing can be protected."
    assert world.about("no_fresh_view") == [("view", says)]
    world.read_fault = None
    await cycle(world, 102)
    world.read_fault = NodeUnreachable("node.example did not answer in time.")
    world.clock.advance(61)
    await cycle(world, 103)
    assert world.about("no_fresh_view") == [("view", says)]


async def test_a_second_silence_is_told_however_soon_it_comes(world: World) -> None:
    async def heads() -> AsyncIterator[HeadEvent]:
        silence = Silence(60, "the node's newest block is 100, as before")
        for event in (silence, silence, NewHead(a_block(101)), silence):
            yield event

    await world.start()
    with world.listening():
        await run_cycles(world.running, heads())
    assert [subject for subject, _ in world.about("no_fresh_view")] == ["keeper", "keeper"]


@pytest.mark.parametrize(
    ("fault", "alarm"),
    [(JournalFull("It is full."), "disk_full"), (JournalError("It is damaged."), "journal_failing")],
)
async def test_a_journal_that_fails_is_named_for_what_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: JournalError, alarm: str
) -> None:
    def fails() -> None:
        raise fault

    monkeypatch.setattr(world.journal, "make_room", fails)
    await cycle(world, 100)
    assert world.about(alarm) == [("journal", str(fault))]


# Parts that end -------------------------------------------------------------------------------------------------------


async def test_a_part_that_a_fault_ends_is_told_and_begins_again(world: World) -> None:
    begun: list[int] = []

    async def work() -> None:
        begun.append(len(begun))
        if len(begun) < 3:
            raise OverflowError("a timestamp of 2^2000")

    with world.listening():
        await kept_up(world.alerts, "cycles", work, pause_seconds=0)
    assert begun == [0, 1, 2]
    says = "The cycles ended (OverflowError) and begin again; the log has the details."
    assert world.about("cycle_failed") == [("cycles", says)]


async def test_a_stop_says_so_whatever_its_parts_ended_with_and_whatever_the_journal_says(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks() -> None:
        raise OverflowError("a timestamp of 2^2000")

    def is_full(kind: str, subject: str, sentence: str, now: int) -> None:  # noqa: ARG001
        raise JournalFull("It is full.")

    monkeypatch.setattr(world.journal, "record_event", is_full)
    parts = [asyncio.create_task(breaks()), asyncio.create_task(breaks())]
    await asyncio.wait(parts)
    with world.listening():
        await stop(world.running, parts[0])
        await tell_of_stop(world.ground, parts[1])
    assert {"stopped", "disk_full"} == {*world.names()}


async def test_a_part_that_runs_is_ended() -> None:
    async def runs() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(runs())
    await asyncio.sleep(0)
    await end(task)
    assert task.cancelled()


async def test_whoever_waits_for_a_cycle_is_told_of_the_stop(world: World) -> None:
    """Requests over the socket wait for the cycle under way; after it nothing new begins for them."""
    running = world.running
    await world.start()
    asked = handlers(running, started_at=0, is_dry_run=False)
    async with running.cycles:
        waiting = [asyncio.create_task(asked[verb]({})) for verb in ("trigger", "pause_onchain")]
        await asyncio.sleep(0)
        running.stopping.set()
    for request in waiting:
        with pytest.raises(KeeperError, match=r"^The keeper was told to stop; nothing is sent until it runs again\.$"):
            await request
    with world.listening():
        await guarded_cycle(running, a_block(100), blocks_may_be_gone=False)
    assert world.names() == [], "a cycle that does not begin any more is no fault"
    assert world.node.sent == []
