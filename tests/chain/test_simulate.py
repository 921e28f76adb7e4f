"""What a simulation says about each rescue, with a node that answers as the guard would."""

from collections.abc import Sequence

import pytest
from eth_abi.abi import encode

from keeper.chain.answers import SimulatedCall, SimulatedResult
from keeper.chain.pace import Traffic
from keeper.chain.simulate import BatchRefused, Rehearsal, Simulated, Simulator
from keeper.core.units import WAD, Address
from keeper.errors import BlockGone, CallReverted, ChainError, NodeRefused
from keeper.protocols.abi import interface
from keeper.protocols.guard_batch import pause_calldata
from tests.builders import GUARD, KEEPER
from tests.fakes import a_block

BLOCK = a_block(100)
NEXT = BLOCK.timestamp + 12
RESULTS = "(bool,uint128,uint128,uint64,bytes)[]"
SELECTORS = {error.name: selector for selector, error in interface("MarginGuard").errors.items()}
OUT_OF_GAS = SimulatedResult(False, b"", 0, "out of gas")


def answered(*rescues: bool) -> SimulatedResult:
    """What `rebalance` returns, or the revert when none succeeded."""
    results = [
        (ok, WAD, 12 * WAD // 10 if ok else WAD, 100_000, b"" if ok else SELECTORS["AmountIsZero"]) for ok in rescues
    ]
    if any(rescues):
        return SimulatedResult(True, encode([RESULTS], [results]), 300_000, "")
    return SimulatedResult(False, SELECTORS["NothingRescued"] + encode([RESULTS], [results]), 300_000, "reverted")


class FakeNode:
    """Answers for the batch that it is asked about; the calldata is the list of rescues."""

    def __init__(self, answers: dict[tuple[int, ...], SimulatedResult], *, has_simulate_v1: bool = True) -> None:
        self._answers = answers
        self.has_simulate_v1 = has_simulate_v1
        self.fault: ChainError | None = None
        self.asked: list[tuple[str, tuple[int, ...]]] = []
        self.timestamps: list[int] = []

    async def simulate_v1(
        self, calls: Sequence[SimulatedCall], block_hash: str, timestamp: int
    ) -> tuple[SimulatedResult, ...]:
        (call,) = calls
        assert (call.sender, call.to, block_hash) == (KEEPER, GUARD, BLOCK.hash)
        self.asked.append(("eth_simulateV1", tuple(call.data)))
        self.timestamps.append(timestamp)
        if self.fault is not None:
            raise self.fault
        if not self.has_simulate_v1:
            raise NodeRefused("no such method.", -32601, "the method does not exist")
        return (self._answers[tuple(call.data)],)

    async def call(
        self,
        to: Address,
        data: bytes,
        block_hash: str,
        *,
        gas: int | None = None,
        sender: Address | None = None,
        traffic: Traffic = Traffic.READ,
    ) -> bytes:
        assert (sender, to, block_hash, gas, traffic) == (KEEPER, GUARD, BLOCK.hash, 500_000, Traffic.SEND)
        self.asked.append(("eth_call", tuple(data)))
        answer = self._answers[tuple(data)]
        if answer.succeeded:
            return answer.data
        if answer.data:
            raise CallReverted("reverted.", answer.data)
        raise CallReverted("reverted.")


def batch_of(places: Sequence[int]) -> tuple[bytes, int]:
    return bytes(places), 500_000


async def rehearse(count: int, answers: dict[tuple[int, ...], SimulatedResult]) -> tuple[Rehearsal, int]:
    node = FakeNode(answers)
    rehearsal = await Simulator(node, GUARD, KEEPER).rehearse(count, batch_of, BLOCK, NEXT)
    return rehearsal, len(node.asked)


async def test_a_batch_that_succeeds_is_one_request_in_the_next_block_s_time() -> None:
    node = FakeNode({(0, 1): answered(True, True)})
    rehearsal = await Simulator(node, GUARD, KEEPER).rehearse(2, batch_of, BLOCK, NEXT)
    assert rehearsal.passed == (0, 1)
    assert rehearsal.refused == {}
    assert rehearsal.results[1].gas_used == 100_000
    assert node.asked == [("eth_simulateV1", (0, 1))]
    assert node.timestamps == [NEXT]


@pytest.mark.parametrize(
    ("outcomes", "passed"),
    [((True, False, True), (0, 2)), ((False, False, True), (2,)), ((False, False, False), ())],
)
async def test_of_a_batch_that_fails_in_part_exactly_the_failing_rescues_are_named(
    outcomes: tuple[bool, ...], passed: tuple[int, ...]
) -> None:
    rehearsal, requests = await rehearse(3, {(0, 1, 2): answered(*outcomes)})
    assert rehearsal.passed == passed
    assert rehearsal.refused == {place: "an amount is zero" for place in range(3) if place not in passed}
    assert requests == 1


async def test_a_batch_that_fails_without_saying_why_is_taken_apart() -> None:
    """The third rescue burns all gas, whatever it is with."""
    good = {places: answered(*(True for _ in places)) for places in ((0, 1), (0, 1, 3))}
    bad = dict.fromkeys(((0, 1, 2, 3), (0, 1, 2)), OUT_OF_GAS)
    rehearsal, requests = await rehearse(4, good | bad)
    assert rehearsal.passed == (0, 1, 3)
    assert rehearsal.refused == {2: "out of gas"}
    assert requests == 5


async def test_what_passes_alone_and_not_together_is_not_sent_together() -> None:
    rehearsal, _ = await rehearse(2, {(0, 1): OUT_OF_GAS, (0,): answered(True), (1,): answered(True)})
    assert rehearsal.passed == (0,)
    assert rehearsal.refused == {1: "out of gas"}


async def test_a_refusal_of_the_whole_batch_is_not_searched_for() -> None:
    paused = SimulatedResult(False, SELECTORS["GuardIsPaused"], 30_000, "reverted")
    rehearsal, requests = await rehearse(3, {(0, 1, 2): paused})
    assert rehearsal.passed == ()
    assert set(rehearsal.refused.values()) == {"the guard is paused; only the owner can unpause it"}
    assert requests == 1


async def test_no_rescues_are_no_request() -> None:
    rehearsal, requests = await rehearse(0, {})
    assert rehearsal == Rehearsal((), {}, {})
    assert requests == 0


@pytest.mark.parametrize("count", [1, 2, 7, 16])
async def test_the_search_ends_after_twice_as_many_requests_as_rescues(count: int) -> None:
    class BurnsAlways(dict[tuple[int, ...], SimulatedResult]):
        def __missing__(self, key: tuple[int, ...]) -> SimulatedResult:
            return OUT_OF_GAS

    rehearsal, requests = await rehearse(count, BurnsAlways())
    assert rehearsal.passed == ()
    assert requests <= 2 * count


async def test_a_node_without_eth_simulate_v1_is_asked_by_eth_call_and_remembered() -> None:
    node = FakeNode({(0,): answered(True), (1,): answered(False)}, has_simulate_v1=False)
    simulator = Simulator(node, GUARD, KEEPER)
    assert isinstance(await simulator.simulate(b"\0", 500_000, BLOCK, NEXT), Simulated)
    refused = await simulator.simulate(b"\1", 500_000, BLOCK, NEXT)
    assert isinstance(refused, Simulated)
    assert [result.ok for result in refused.results] == [False]
    assert [method for method, _ in node.asked] == ["eth_simulateV1", "eth_call", "eth_call"]


@pytest.mark.parametrize(
    ("code", "words", "asked_next"),
    [
        (-32601, "the method does not exist", ["eth_call"]),
        (-32602, "invalid params", ["eth_call"]),
        (-32600, "method is not whitelisted", ["eth_simulateV1", "eth_call"]),
        (-38026, "client limit exceeded", ["eth_simulateV1", "eth_call"]),
        (403, "", ["eth_simulateV1", "eth_call"]),
    ],
)
async def test_whatever_words_a_node_has_for_no_it_is_asked_by_eth_call(
    code: int, words: str, asked_next: list[str]
) -> None:
    node = FakeNode({(0,): answered(True)})
    node.fault = NodeRefused("no.", code, words)
    simulator = Simulator(node, GUARD, KEEPER)
    assert isinstance(await simulator.simulate(b"\0", 500_000, BLOCK, NEXT), Simulated)
    node.asked.clear()
    await simulator.simulate(b"\0", 500_000, BLOCK, NEXT)
    assert [method for method, _ in node.asked] == asked_next


async def test_a_block_that_is_gone_is_not_taken_for_a_missing_method() -> None:
    node = FakeNode({(0,): answered(True)})
    node.fault = BlockGone("gone.", -32602, "header not found")
    with pytest.raises(BlockGone):
        await Simulator(node, GUARD, KEEPER).simulate(b"\0", 500_000, BLOCK, NEXT)
    assert node.asked == [("eth_simulateV1", (0,))]


async def test_a_pause_that_was_on_its_way_still_succeeds() -> None:
    node = FakeNode({tuple(pause_calldata()): SimulatedResult(True, b"", 30_000, "")})
    assert await Simulator(node, GUARD, KEEPER).still_succeeds(pause_calldata(), 500_000, BLOCK, NEXT)


@pytest.mark.parametrize(
    ("answer", "succeeds"),
    [
        (answered(True, True), True),
        (answered(True, False), False),
        (answered(False, False), False),
        (OUT_OF_GAS, False),
    ],
)
async def test_bytes_from_before_a_restart_are_good_only_with_every_rescue(
    answer: SimulatedResult, succeeds: bool
) -> None:
    simulator = Simulator(FakeNode({(0, 1): answer}), GUARD, KEEPER)
    assert await simulator.still_succeeds(b"\0\1", 500_000, BLOCK, NEXT) is succeeds


async def test_a_refusal_without_data_says_what_the_node_said() -> None:
    simulated = await Simulator(FakeNode({(0,): OUT_OF_GAS}), GUARD, KEEPER).simulate(b"\0", 500_000, BLOCK, NEXT)
    assert simulated == BatchRefused("out of gas", b"")
