"""What counts as a new head, and how often the node is asked for one."""

import pytest

from keeper.chain.heads import HeadEvent, Heads, NewHead, Silence
from keeper.core.snapshot import Block
from keeper.errors import ChainError, NodeUnreachable, RateLimited
from tests.fakes import FakeClock, FakeHeads, FakeHints, a_block

NOW = 1_700_000_000


async def take(heads: Heads, count: int) -> list[HeadEvent]:
    events: list[HeadEvent] = []
    async for event in heads:
        events.append(event)
        if len(events) == count:
            break
    return events


def heads_of(clock: FakeClock, *schedule: tuple[float, Block | ChainError], hints: FakeHints | None = None) -> Heads:
    source = FakeHeads(clock, *schedule)
    return Heads(source, clock, block_seconds=12, silence_seconds=60, hints=hints)


async def test_each_block_is_reported_once() -> None:
    clock = FakeClock()
    heads = heads_of(clock, (0, a_block(100)), (12, a_block(101)), (24, a_block(102)))
    assert await take(heads, 3) == [NewHead(a_block(100)), NewHead(a_block(101)), NewHead(a_block(102))]


async def test_blocks_that_were_passed_over_are_counted() -> None:
    clock = FakeClock()
    heads = heads_of(clock, (0, a_block(100)), (12, a_block(104)))
    assert (await take(heads, 2))[1] == NewHead(a_block(104), missed=3)


async def test_the_same_height_with_another_hash_is_a_reorganisation() -> None:
    clock = FakeClock()
    other = a_block(100, fork="b", parent=a_block(99).hash)
    heads = heads_of(clock, (0, a_block(99)), (12, a_block(100)), (14, other))
    assert (await take(heads, 3))[2] == NewHead(other, reorganised=1)


async def test_a_parent_that_was_never_reported_is_a_reorganisation() -> None:
    clock = FakeClock()
    heads = heads_of(clock, (0, a_block(100)), (12, a_block(101)), (24, a_block(102, fork="b")))
    assert (await take(heads, 3))[2] == NewHead(a_block(102, fork="b"), reorganised=1)


async def test_a_shorter_chain_is_a_reorganisation_when_it_contradicts_what_was_seen() -> None:
    clock = FakeClock()
    shorter = a_block(101, fork="b", parent=a_block(100).hash)
    heads = heads_of(
        clock, (0, a_block(100)), (12, a_block(101)), (24, a_block(102)), (36, a_block(103)), (38, shorter)
    )
    assert (await take(heads, 5))[4] == NewHead(shorter, reorganised=3)


async def test_a_node_that_falls_back_to_an_older_block_is_passed_over() -> None:
    clock = FakeClock()
    heads = heads_of(clock, (0, a_block(100)), (12, a_block(101)), (13, a_block(100)), (24, a_block(102)))
    assert await take(heads, 3) == [NewHead(a_block(100)), NewHead(a_block(101)), NewHead(a_block(102))]


async def test_no_new_head_for_too_long_is_said_again_and_again() -> None:
    clock = FakeClock()
    heads = heads_of(clock, (0, a_block(100)))
    _, first, second = await take(heads, 3)
    assert first == Silence(60.0, "the node's newest block is 100, as before")
    assert second == Silence(120.0, "the node's newest block is 100, as before")


async def test_a_node_that_is_down_from_the_start_is_said_with_its_own_reason() -> None:
    clock = FakeClock()
    heads = heads_of(clock, (0, NodeUnreachable("no node.")), (70, a_block(100)))
    silence, head = await take(heads, 2)
    assert silence == Silence(60.0, "no node.")
    assert head == NewHead(a_block(100))


async def test_a_fault_in_between_costs_no_head() -> None:
    clock = FakeClock()
    heads = heads_of(clock, (0, a_block(100)), (1, NodeUnreachable("no node.")), (20, a_block(101)))
    assert await take(heads, 2) == [NewHead(a_block(100)), NewHead(a_block(101))]
    assert heads.age_seconds == 0


async def test_a_node_that_asks_for_time_gets_it() -> None:
    clock = FakeClock()
    source = FakeHeads(clock, (0, RateLimited("slow down.", retry_after_seconds=7)), (5, a_block(100)))
    await take(Heads(source, clock, block_seconds=12, silence_seconds=60), 1)
    assert source.asked_at == [0, 7]


async def test_however_long_a_node_asks_to_be_left_alone_it_is_asked_again_after_half_a_minute() -> None:
    clock = FakeClock()
    source = FakeHeads(clock, (0, RateLimited("slow down.", retry_after_seconds=86_400)), (5, a_block(100)))
    await take(Heads(source, clock, block_seconds=12, silence_seconds=60), 1)
    assert source.asked_at == [0, 30]


async def test_a_node_that_is_down_is_asked_again_after_a_block_s_time_at_the_latest() -> None:
    clock = FakeClock()
    source = FakeHeads(clock, (0, NodeUnreachable("no node.")), (60, a_block(100)))
    await take(Heads(source, clock, block_seconds=12, silence_seconds=600), 1)
    assert source.asked_at == [0, 1, 3, 7, 15, 27, 39, 51, 63]


@pytest.mark.parametrize(("age", "is_head"), [(-3600, True), (0, True), (60, True), (61, False), (10_800, False)])
async def test_a_head_that_is_old_when_it_arrives_is_silence_and_one_of_the_future_is_a_head(
    age: int, is_head: bool
) -> None:
    clock = FakeClock()
    block = a_block(100, timestamp=NOW - age)
    event = (await take(heads_of(clock, (0, block)), 1))[0]
    assert (event == NewHead(block)) is is_head
    if not is_head:
        assert event == Silence(
            60.0,
            f"the node's newest block 100 is {age} s old; either the node is behind, or this machine's clock is ahead",
        )


async def test_a_node_that_lags_by_hours_is_silence_until_it_caught_up_and_what_was_passed_over_is_counted() -> None:
    clock = FakeClock()
    behind = [(12.0 * index, a_block(100 + index, timestamp=NOW + 12 * index - 10_800)) for index in range(11)]
    caught_up = a_block(1000, timestamp=NOW + 132)
    heads = heads_of(
        clock, (0, a_block(99, timestamp=NOW)), *[(12 + at, block) for at, block in behind], (144, caught_up)
    )
    events = await take(heads, 4)
    assert [type(event) for event in events] == [NewHead, Silence, Silence, NewHead]
    assert events[3] == NewHead(caught_up, missed=900)


async def test_one_head_from_far_ahead_makes_it_blind_for_one_silence_and_counts_as_reorganised_away() -> None:
    clock = FakeClock()
    blocks = [(12.0 * index, a_block(100 + index)) for index in range(12)]
    wrong = a_block(10**9, fork="b")
    heads = heads_of(clock, *blocks[:2], (24, wrong), *blocks[3:])
    first, second, third, silence, after, following = await take(heads, 6)
    assert (first, second, third) == (NewHead(a_block(100)), NewHead(a_block(101)), NewHead(wrong, missed=10**9 - 102))
    assert isinstance(silence, Silence)
    assert isinstance(after, NewHead)
    assert (after.block.number, after.reorganised) == (107, 1)
    assert following == NewHead(a_block(108))


async def test_about_one_request_per_block_suffices() -> None:
    clock = FakeClock()
    blocks = [(12.0 * index, a_block(100 + index)) for index in range(101)]
    source = FakeHeads(clock, *blocks)
    events = await take(Heads(source, clock, block_seconds=12, silence_seconds=60), 101)
    assert [event.block.number for event in events if isinstance(event, NewHead)] == list(range(100, 201))
    assert len(source.asked_at) == 105
    assert clock.monotonic() - 1200 < 1, "seen within a second"


async def test_a_slow_node_does_not_make_it_fall_behind() -> None:
    clock = FakeClock()
    blocks = [(1.0 * index, a_block(100 + index, timestamp=NOW + index)) for index in range(201)]
    source = FakeHeads(clock, *blocks, round_trip_seconds=0.06)
    events = await take(Heads(source, clock, block_seconds=1, silence_seconds=60), 200)
    assert [event.missed for event in events if isinstance(event, NewHead)] == [0] * 200
    assert len(source.asked_at) < 270


async def test_a_chain_faster_than_configured_is_followed_at_its_own_pace() -> None:
    clock = FakeClock()
    blocks = [(2.0 * index, a_block(100 + index, timestamp=NOW + 2 * index)) for index in range(60)]
    source = FakeHeads(clock, *blocks)
    events = await take(Heads(source, clock, block_seconds=12, silence_seconds=60), 50)
    assert [event.missed for event in events[2:] if isinstance(event, NewHead)] == [0] * 48


async def test_an_announced_head_with_its_header_costs_no_request() -> None:
    clock = FakeClock()
    hints = FakeHints()
    source = FakeHeads(clock, (0, a_block(100)))
    heads = Heads(source, clock, block_seconds=12, silence_seconds=60, hints=hints)
    seen: list[HeadEvent] = []
    async for event in heads:
        seen.append(event)
        if len(seen) == 20:
            break
        clock.advance(12)
        hints.announce(a_block(100 + len(seen)))
    assert seen == [NewHead(a_block(100 + index)) for index in range(20)]
    assert source.asked_at == [0]


async def test_a_head_that_was_asked_for_before_it_was_announced_is_the_last_one_asked_for() -> None:
    clock = FakeClock()
    hints = FakeHints()
    source = FakeHeads(clock, (0, a_block(100)), (11, a_block(101)), (24, a_block(102)))
    heads = aiter(Heads(source, clock, block_seconds=12, silence_seconds=60, hints=hints))
    await anext(heads)
    assert await anext(heads) == NewHead(a_block(101))
    hints.announce(a_block(101))
    assert await anext(heads) == NewHead(a_block(102))
    assert source.asked_at[-1] - source.asked_at[-2] == 18, "one and a half block times"


async def test_a_question_before_its_time_is_not_repeated_before_it_either() -> None:
    clock = FakeClock()
    hints = FakeHints()
    source = FakeHeads(clock, (0, a_block(100)), (12, a_block(101)))
    heads = aiter(Heads(source, clock, block_seconds=12, silence_seconds=60, hints=hints))
    await anext(heads)
    clock.advance(1)
    hints.announce(None)
    await anext(heads)
    assert source.asked_at == [0, 1, 11.75, 12.75]


async def test_an_announcement_without_a_whole_header_is_asked_after() -> None:
    clock = FakeClock()
    hints = FakeHints()
    source = FakeHeads(clock, (0, a_block(100)), (3, a_block(101)))
    heads = aiter(Heads(source, clock, block_seconds=12, silence_seconds=60, hints=hints))
    await anext(heads)
    clock.advance(3)
    hints.announce(None)
    assert await anext(heads) == NewHead(a_block(101))
    assert source.asked_at == [0, 3]


async def test_announcements_that_piled_up_are_one_head() -> None:
    clock = FakeClock()
    hints = FakeHints()
    heads = aiter(Heads(FakeHeads(clock, (0, a_block(100))), clock, block_seconds=12, silence_seconds=60, hints=hints))
    await anext(heads)
    hints.announce(a_block(101), a_block(102), a_block(103))
    assert await anext(heads) == NewHead(a_block(103), missed=2)


async def test_when_announcements_stop_the_node_is_asked_again() -> None:
    clock = FakeClock()
    hints = FakeHints()
    source = FakeHeads(clock, (0, a_block(100)), (24, a_block(102)))
    heads = aiter(Heads(source, clock, block_seconds=12, silence_seconds=60, hints=hints))
    await anext(heads)
    clock.advance(12)
    hints.announce(a_block(101))
    assert await anext(heads) == NewHead(a_block(101))
    assert await anext(heads) == NewHead(a_block(102))
    assert source.asked_at == [0, 30], "one and a half block times after the last announcement"


@pytest.mark.parametrize(("block_seconds", "asked_at"), [(0.4, 0.1), (4, 0.5), (12, 1.0)])
async def test_a_node_that_has_nothing_new_is_asked_in_short_steps(block_seconds: float, asked_at: float) -> None:
    clock = FakeClock()
    source = FakeHeads(clock, (0, NodeUnreachable("no node.")), (asked_at, a_block(100)))
    await take(Heads(source, clock, block_seconds=block_seconds, silence_seconds=60), 1)
    assert source.asked_at == [0, pytest.approx(asked_at)]


# What lies between two heads ------------------------------------------------------------------------------------------


def linked(clock: FakeClock, known: list[Block], *schedule: tuple[float, Block]) -> tuple[Heads, FakeHeads]:
    """Heads of a node that knows these blocks by their hashes too."""
    source = FakeHeads(clock, *schedule)
    source.blocks = {block.hash: block for block in known}
    return Heads(source, clock, block_seconds=12, silence_seconds=60), source


async def test_a_gap_is_filled_from_parent_to_parent_after_the_head_was_reported() -> None:
    clock = FakeClock()
    between = [a_block(number) for number in (101, 102, 103)]
    heads, source = linked(clock, between, (0, a_block(100)), (12, a_block(104)), (24, a_block(105)))
    events = aiter(heads)
    assert [await anext(events), await anext(events)] == [NewHead(a_block(100)), NewHead(a_block(104), missed=3)]
    assert source.looked_up == []
    assert await anext(events) == NewHead(a_block(105))
    assert source.looked_up == [block.hash for block in reversed(between)]


async def test_a_reorganisation_inside_a_gap_is_seen() -> None:
    """The new head's parent is not known at all; its parent's parent replaced one that was."""
    clock = FakeClock()
    fork = [a_block(101, fork="b", parent=a_block(100).hash), a_block(102, fork="b"), a_block(103, fork="b")]
    heads, _ = linked(clock, fork, (0, a_block(100)), (12, a_block(101)), (24, fork[-1]), (36, a_block(104, fork="b")))
    events = await take(heads, 4)
    assert events[2] == NewHead(fork[-1], missed=1)
    assert events[3] == NewHead(a_block(104, fork="b"), reorganised=1)


async def test_how_deep_a_reorganisation_goes_is_found_out() -> None:
    clock = FakeClock()
    old = [a_block(number) for number in range(100, 108)]
    fork = [
        a_block(102, fork="b", parent=a_block(101).hash),
        *[a_block(number, fork="b") for number in range(103, 110)],
    ]
    schedule = [(12.0 * place, block) for place, block in enumerate([*old, *fork[-2:]])]
    events = await take(linked(clock, fork, *schedule)[0], 10)
    assert events[8] == NewHead(fork[-2], reorganised=1)
    assert events[9] == NewHead(fork[-1], reorganised=5), "102 to 106 as well, told with the head after"


async def test_not_more_is_looked_up_than_what_is_remembered() -> None:
    clock = FakeClock()
    fork = [a_block(number, fork="b") for number in range(1, 300)]
    old = [a_block(number) for number in range(150, 250)]
    schedule = [(12.0 * place, block) for place, block in enumerate([*old, fork[249], fork[250]])]
    heads, source = linked(clock, fork, *schedule)
    await take(heads, 102)
    assert len(source.looked_up) == 62


async def test_a_node_that_does_not_tell_what_came_between_is_no_trouble() -> None:
    clock = FakeClock()
    heads, _ = linked(clock, [], (0, a_block(100)), (12, a_block(104)), (24, a_block(105)))
    assert (await take(heads, 3))[2] == NewHead(a_block(105))


async def test_an_announced_head_that_is_not_believed_is_asked_for_once() -> None:
    clock = FakeClock()
    hints = FakeHints()
    source = FakeHeads(clock, (0, a_block(100)), (3, a_block(101)), (15, a_block(102)))
    heads = aiter(Heads(source, clock, block_seconds=12, silence_seconds=60, hints=hints, believes_hints=False))
    await anext(heads)
    clock.advance(3)
    hints.announce(a_block(10**9, fork="b"))
    assert await anext(heads) == NewHead(a_block(101))
    assert source.asked_at == [0, 3]
    hints.announce(a_block(101), a_block(100))
    assert await anext(heads) == NewHead(a_block(102))
    assert source.asked_at[2] > 13, "what is known already is no reason to ask"
