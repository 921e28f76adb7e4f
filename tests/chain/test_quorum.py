"""What a keeper believes of several endpoints of which some fail, lag or lie."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from keeper.chain.answers import SimulatedCall
from keeper.chain.node import Node
from keeper.chain.pace import Limits
from keeper.chain.pool import Behind, EndpointPool, Event, Quarantined
from keeper.chain.quorum import QuorumRpc
from keeper.chain.reader import Reader
from keeper.core.snapshot import Block
from keeper.core.units import Address
from keeper.errors import BlockGone, CallReverted, ChainError, EndpointsDisagree, NodeUnreachable
from keeper.protocols.multicall import join_answers
from tests.fakes import FakeClock, FakeProvider, FakeWanted, a_block

SOMEBODY = Address("0x" + "11" * 20)
HASH = "0x" + "ab" * 32
DOWN = NodeUnreachable("it is down.", was_asked=False)
LIMITS = Limits(requests_per_second=10_000, timeout_seconds=5)
NOW = 1_700_000_000


def header(block: Block) -> dict[str, str]:
    return {
        "number": hex(block.number),
        "hash": block.hash,
        "parentHash": block.parent_hash,
        "timestamp": hex(block.timestamp),
        "baseFeePerGas": hex(block.base_fee_wei),
        "gasLimit": hex(block.gas_limit),
    }


def chain(*blocks: Block) -> Callable[[Sequence[Any]], Any]:
    """eth_getBlockByNumber of a node that has these blocks, the last one being its newest."""
    by_number = {hex(block.number): header(block) for block in blocks}

    def answer(params: Sequence[Any]) -> Any:
        return header(blocks[-1]) if params[0] == "latest" else by_number.get(params[0])

    return answer


class Endpoints:
    """Providers named a, b, c, … and the chain as a quorum of them tells it."""

    def __init__(self, answers: Sequence[dict[str, Any]], quorum: int = 2) -> None:
        self.clock = FakeClock()
        self.providers = [FakeProvider("abcdef"[place], each) for place, each in enumerate(answers)]
        self.nodes = [Node(provider, 1, LIMITS, self.clock) for provider in self.providers]
        self.events: list[Event] = []
        self.pool = EndpointPool(self.nodes, self.events.append)
        self.rpc = QuorumRpc(self.pool, quorum, block_seconds=12, clock=self.clock)

    @property
    def quarantines(self) -> list[tuple[str, str, float]]:
        return [
            (event.node.label, event.says, event.seconds) for event in self.events if isinstance(event, Quarantined)
        ]

    def tell(self, method: str, *answers: Any) -> None:
        for provider, answer in zip(self.providers, answers, strict=True):
            provider.answers[method] = answer


def telling(method: str, *answers: Any, quorum: int = 2) -> Endpoints:
    return Endpoints([{method: answer} for answer in answers], quorum)


# The read -------------------------------------------------------------------------------------------------------------


async def read(endpoints: Endpoints, number: int = 100, length: int | None = None) -> tuple[bytes, str | None]:
    """`length`: of an answer that can be one; None: any."""
    reading = await Reader(endpoints.rpc, clock=endpoints.clock).read(FakeWanted(length=length), a_block(number))
    return reading.answer, reading.problem


@pytest.mark.parametrize("answers", [("0x2a", "0x2a"), ("0x2a", "0x2a", DOWN), ("0x2a", DOWN, "0x2a")])
async def test_what_a_quorum_reads_is_what_is_decided_on(answers: Sequence[Any]) -> None:
    assert await read(telling("eth_call", *answers)) == (b"\x2a", None)


async def test_every_endpoint_is_asked_for_it_once() -> None:
    endpoints = telling("eth_call", "0x2a", "0x2a", "0x2a")
    await read(endpoints)
    assert [provider.asked.count("eth_call") for provider in endpoints.providers] == [1, 1, 1]


async def test_a_quorum_does_not_wait_for_an_endpoint_that_hangs() -> None:
    endpoints = telling("eth_call", "0x2a", "0x2a", "0x2a")
    endpoints.providers[0].held.clear()
    async with asyncio.timeout(1):
        assert await read(endpoints) == (b"\x2a", None)
    await endpoints.rpc.aclose()


@pytest.mark.parametrize("lie", ["0x2b", (3, "execution reverted", "0x")])
async def test_an_endpoint_that_contradicts_a_quorum_is_quarantined_and_named(lie: Any) -> None:
    endpoints = telling("eth_call", lie, "0x2a", "0x2a")
    assert await read(endpoints) == (b"\x2a", None)
    says = "a contradicts a quorum of the endpoints about the state at block 100"
    assert endpoints.quarantines == [("a", says, 60.0)]


async def test_an_endpoint_that_contradicts_late_is_quarantined_as_well() -> None:
    endpoints = telling("eth_call", "0x2b", "0x2a", "0x2a")
    endpoints.providers[0].held.clear()
    await read(endpoints)
    assert endpoints.quarantines == []
    endpoints.providers[0].held.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert [label for label, _, _ in endpoints.quarantines] == ["a"]


async def test_endpoints_that_garble_the_same_do_not_outvote_one_that_can_be_read() -> None:
    endpoints = telling("eth_call", "0x2a2b", "0x2a", "0x2a")
    answer, problem = await read(endpoints, length=2)
    assert answer == b"\x2a\x2b"
    assert problem == (
        "Only a told the state at block 100, and 2 endpoints have to agree: b answered eth_call with what cannot be "
        "read: It has 1 bytes in block 100."
    )
    assert endpoints.quarantines == []


@pytest.mark.parametrize("is_late", [False, True])
async def test_an_endpoint_that_garbles_what_a_quorum_reads_is_quarantined_and_named(is_late: bool) -> None:
    endpoints = telling("eth_call", "0x2a", "0x2a2b", "0x2a2b")
    if is_late:
        endpoints.providers[0].held.clear()
    assert await read(endpoints, length=2) == (b"\x2a\x2b", None)
    endpoints.providers[0].held.set()
    for _ in range(10):
        await asyncio.sleep(0)
    says = "a answered eth_call with what cannot be read: It has 1 bytes in block 100"
    assert endpoints.quarantines == [("a", says, 60.0)]


async def test_a_quarantined_endpoint_is_not_asked_until_its_time_is_over_and_longer_the_next_time() -> None:
    endpoints = telling("eth_call", "0x2b", "0x2a", "0x2a")
    liar = endpoints.providers[0]
    await read(endpoints)
    endpoints.clock.advance(59)
    await read(endpoints)
    assert liar.asked.count("eth_call") == 1
    for _ in range(5):
        endpoints.clock.advance(700)
        await read(endpoints)
    assert [seconds for _, _, seconds in endpoints.quarantines] == [60, 60, 60, 60, 60, 60]
    endpoints.clock.advance(61)
    await read(endpoints)
    endpoints.clock.advance(121)
    await read(endpoints)
    assert [seconds for _, _, seconds in endpoints.quarantines][-2:] == [120, 240]


@pytest.mark.parametrize("fault", [DOWN, (-32000, "header not found"), (-32005, "limit exceeded")])
async def test_an_endpoint_that_fails_or_lags_does_not_contradict(fault: Any) -> None:
    endpoints = telling("eth_call", fault, "0x2a", "0x2a")
    assert await read(endpoints) == (b"\x2a", None)
    assert endpoints.quarantines == []


async def test_the_word_of_too_few_is_told_as_that() -> None:
    answer, problem = await read(telling("eth_call", DOWN, "0x2a"))
    assert answer == b"\x2a"
    assert problem == "Only b told the state at block 100, and 2 endpoints have to agree: it is down."


async def test_two_that_contradict_each_other_are_both_heard_and_neither_is_quarantined() -> None:
    endpoints = telling("eth_call", "0x2b", "0x2a")
    answer, problem = await read(endpoints)
    assert answer == join_answers([b"\x2b", b"\x2a"])
    assert problem == (
        "The endpoints contradict each other about the state at block 100 (a, b), and no 2 say the same."
    )
    assert endpoints.quarantines == []


async def test_what_most_say_comes_first_when_that_is_not_enough() -> None:
    answer, problem = await read(telling("eth_call", "0x2b", "0x2a", "0x2a", quorum=3))
    assert answer == join_answers([b"\x2a", b"\x2b"])
    assert problem is not None


async def test_when_nobody_answers_the_fault_is_told_and_a_block_that_is_gone_before_any_other() -> None:
    with pytest.raises(NodeUnreachable, match=r"it is down\."):
        await read(telling("eth_call", DOWN, DOWN))
    with pytest.raises(BlockGone):
        await read(telling("eth_call", DOWN, (-32000, "header not found")))


async def test_an_endpoint_that_is_known_to_be_down_is_not_waited_for_as_long_as_the_others() -> None:
    endpoints = telling("eth_call", "0x2a", "0x2a")
    for _ in range(6):
        endpoints.nodes[0].disappoints()
    endpoints.nodes[0].timeout_seconds = 0.05
    endpoints.providers[0].held.clear()
    async with asyncio.timeout(1):
        _, problem = await read(endpoints)
    assert problem is not None
    assert problem.endswith("a did not answer within 0.01 s, and not before either.")


# The head -------------------------------------------------------------------------------------------------------------

A99, A100, A101, A102 = (a_block(number, timestamp=NOW) for number in (99, 100, 101, 102))
B101 = a_block(101, fork="b", parent=A100.hash, timestamp=NOW)
FAR = a_block(10**9, fork="b", timestamp=NOW)
BLOCK = "eth_getBlockByNumber"


@pytest.mark.parametrize(
    ("newest", "expected"),
    [
        ((A101, A101), A101),
        ((A102, A101), A101),  # the parent of one is the other's newest
        ((A102, A101, A101), A101),
        ((A102, A102, A101), A102),
        ((FAR, A101, A101), A101),
        ((B101, A101, A101), A101),
        ((DOWN, A101, A101), A101),
    ],
)
async def test_the_head_is_the_highest_that_a_quorum_knows(newest: Sequence[Any], expected: Block) -> None:
    answers = [chain(block) if isinstance(block, Block) else block for block in newest]
    assert await telling(BLOCK, *answers).rpc.head() == expected


async def test_an_endpoint_that_is_far_ahead_is_asked_for_the_block_that_the_others_have() -> None:
    endpoints = telling(BLOCK, chain(A100, a_block(107, timestamp=NOW)), chain(A100))
    assert await endpoints.rpc.head() == A100
    assert endpoints.providers[0].asked.count(BLOCK) == 2


async def test_without_anybody_in_between_each_endpoint_is_asked_for_one_header() -> None:
    endpoints = telling(BLOCK, chain(A101), chain(A102), chain(A102))
    await endpoints.rpc.head()
    assert [provider.asked.count(BLOCK) for provider in endpoints.providers] == [1, 1, 1]


async def test_a_new_head_does_not_wait_for_an_endpoint_that_hangs() -> None:
    endpoints = telling(BLOCK, chain(A101), chain(A101), chain(A101))
    endpoints.providers[1].held.clear()
    async with asyncio.timeout(1):
        assert await endpoints.rpc.head() == A101
    await endpoints.rpc.aclose()


async def test_a_reorganisation_counts_when_a_quorum_has_it() -> None:
    endpoints = telling(BLOCK, chain(A101), chain(A101), chain(A101))
    await endpoints.rpc.head()
    endpoints.tell(BLOCK, chain(B101), chain(A101), chain(A101))
    assert await endpoints.rpc.head() == A101
    endpoints.tell(BLOCK, chain(B101), chain(A101), chain(B101))
    assert await endpoints.rpc.head() == B101


async def test_an_endpoint_that_stands_still_stops_the_others_for_two_and_a_half_blocks() -> None:
    endpoints = telling(BLOCK, chain(A100), chain(A100))
    assert await endpoints.rpc.head() == A100
    endpoints.tell(BLOCK, chain(A99, A100, A101, A102), chain(A100))
    assert await endpoints.rpc.head() == A100
    endpoints.clock.advance(30)
    assert await endpoints.rpc.head() == A100
    endpoints.clock.advance(1)
    assert await endpoints.rpc.head() == A102, "by the word of one, and what is read there is the word of one"
    after = a_block(103, timestamp=NOW)
    endpoints.tell(BLOCK, chain(A99, A100, A101, A102, after), chain(A100))
    assert await endpoints.rpc.head() == after, "and from then on without waiting"
    endpoints.tell(BLOCK, chain(A102, after), chain(A102, after))
    assert await endpoints.rpc.head() == after


async def test_a_shorter_chain_is_the_head_when_a_quorum_has_gone_over_to_it() -> None:
    endpoints = telling(BLOCK, chain(A102), chain(A102), chain(A102))
    assert await endpoints.rpc.head() == A102
    endpoints.tell(BLOCK, chain(B101), chain(A102), chain(A102))
    assert await endpoints.rpc.head() == A102
    endpoints.tell(BLOCK, chain(B101), chain(B101), chain(A102))
    assert await endpoints.rpc.head() == B101


async def test_while_too_few_can_be_reached_those_that_can_are_followed() -> None:
    endpoints = telling(BLOCK, chain(A100), DOWN, DOWN)
    assert await endpoints.rpc.head() == A100
    endpoints.tell(BLOCK, chain(A101), DOWN, DOWN)
    assert await endpoints.rpc.head() == A101


async def test_of_two_that_contradict_each_other_the_nearer_head_is_looked_at() -> None:
    endpoints = telling(BLOCK, chain(A100), chain(A100))
    await endpoints.rpc.head()
    endpoints.tell(BLOCK, chain(FAR), chain(A101))
    endpoints.clock.advance(31)
    assert await endpoints.rpc.head() == A101


async def follow(endpoints: Endpoints, heads: int, straying: Callable[[int], Block]) -> None:
    """So many heads, one after the other, that b and c tell while a tells something else."""
    for number in range(101, 101 + heads):
        block = a_block(number, timestamp=NOW)
        endpoints.tell(BLOCK, chain(straying(number)), chain(block), chain(block))
        endpoints.clock.advance(12)
        assert await endpoints.rpc.head() == block
        await asyncio.sleep(0)


@pytest.mark.parametrize(("heads", "is_told"), [(4, False), (5, True)])
async def test_an_endpoint_whose_blocks_are_others_is_quarantined_after_five_heads(heads: int, is_told: bool) -> None:
    endpoints = telling(BLOCK, chain(A100), chain(A100), chain(A100))
    await follow(endpoints, heads, lambda number: a_block(number, fork="b", timestamp=NOW))
    says = "a contradicts a quorum of the endpoints about block 105"
    assert endpoints.quarantines == ([("a", says, 60.0)] if is_told else [])


@pytest.mark.parametrize(("heads", "is_told"), [(7, False), (8, True)])
async def test_an_endpoint_that_stands_still_is_told_five_heads_after_it_fell_behind(heads: int, is_told: bool) -> None:
    endpoints = telling(BLOCK, chain(A100), chain(A100), chain(A100))
    await follow(endpoints, heads, lambda _: A100)
    told = [event.says for event in endpoints.events if isinstance(event, Behind)]
    says = "a has not told of a block near 108, which a quorum of the endpoints knows, for 5 heads; it is behind, or "
    assert told == ([f"{says}stands still."] if is_told else [])
    assert endpoints.quarantines == []


async def test_an_endpoint_that_comes_back_in_between_is_not_told() -> None:
    endpoints = telling(BLOCK, chain(A100), chain(A100), chain(A100))
    await follow(endpoints, 12, lambda number: A100 if number % 4 else a_block(number, timestamp=NOW))
    assert [event for event in endpoints.events if isinstance(event, Behind)] == []


async def test_when_no_endpoint_tells_a_head_that_is_the_fault() -> None:
    with pytest.raises(NodeUnreachable):
        await telling(BLOCK, DOWN, DOWN).rpc.head()


# What changes from one moment to the next -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (("0x5", "0x5", "0x5"), 5),
        (("0x3e8", "0x5", "0x5"), 5),  # one that lies about the future
        (("0x0", "0x5", "0x5"), 5),  # and about the past
        (("0x6", "0x6", "0x5"), 6),  # one is behind
        ((DOWN, "0x6", "0x5"), 5),
        ((DOWN, DOWN, "0x5"), 5),
    ],
)
async def test_a_nonce_is_what_a_quorum_says_at_the_least(told: Sequence[Any], expected: int) -> None:
    assert await telling("eth_getTransactionCount", *told).rpc.transaction_count(SOMEBODY) == expected


def receipt(block_hash: str, status: str = "0x1") -> dict[str, Any]:
    return {
        "transactionHash": HASH,
        "blockNumber": "0x64",
        "blockHash": block_hash,
        "status": status,
        "gasUsed": "0x5208",
        "effectiveGasPrice": "0x1",
        "logs": [],
    }


INCLUDED = receipt(A100.hash)


@pytest.mark.parametrize(
    ("told", "block_hash"),
    [
        ((INCLUDED, INCLUDED, None), A100.hash),  # one withholds it
        ((receipt(A99.hash), None, None), None),  # one makes it up
        ((receipt(A99.hash, "0x0"), INCLUDED, INCLUDED), A100.hash),
        ((INCLUDED, None), None),  # one has the block a moment earlier
        ((INCLUDED, DOWN), A100.hash),
    ],
)
async def test_a_receipt_is_what_a_quorum_says(told: Sequence[Any], block_hash: str | None) -> None:
    endpoints = telling("eth_getTransactionReceipt", *told)
    mined = await endpoints.rpc.receipt(HASH)
    assert (None if mined is None else mined.receipt.block_hash) == block_hash
    assert endpoints.quarantines == []


async def test_what_is_final_is_what_a_quorum_has_as_final() -> None:
    blocks = [header(a_block(number)) for number in (90, 70, 80)]
    assert await telling(BLOCK, *blocks).rpc.finalized_number() == 80
    assert await telling(BLOCK, blocks[0], None).rpc.finalized_number() == 90
    assert await telling(BLOCK, None, None).rpc.finalized_number() is None


async def test_fees_are_those_in_the_middle() -> None:
    histories = [{"baseFeePerGas": [hex(fee)], "reward": []} for fee in (7, 10**18, 9)]
    assert (await telling("eth_feeHistory", *histories).rpc.fee_history(1, (50,))).base_fees_wei == (9,)


# Trying out -----------------------------------------------------------------------------------------------------------

CALL = SimulatedCall(SOMEBODY, SOMEBODY, b"", 1)


def simulated(data: str, gas_used: str = "0x1", status: str = "0x1") -> list[Any]:
    return [{"calls": [{"status": status, "returnData": data, "gasUsed": gas_used}]}]


async def try_out(endpoints: Endpoints) -> bytes:
    (result,) = await endpoints.rpc.simulate_v1([CALL], A100.hash, NOW)
    return result.data if result.succeeded else b""


async def test_a_batch_is_tried_out_at_all_endpoints_and_one_that_refuses_it_falsely_stops_nothing() -> None:
    refused = simulated("0x", status="0x0")
    assert await try_out(telling("eth_simulateV1", refused, simulated("0x2a"), simulated("0x2a", "0x9"))) == b"\x2a"


async def test_without_a_quorum_it_has_to_succeed_at_every_endpoint_in_reach() -> None:
    assert await try_out(telling("eth_simulateV1", DOWN, simulated("0x2a"))) == b"\x2a"
    with pytest.raises(EndpointsDisagree, match="contradict each other about what the batch would do"):
        await try_out(telling("eth_simulateV1", simulated("0x", status="0x0"), simulated("0x2a")))
    with pytest.raises(EndpointsDisagree, match=r"and not every endpoint: a does not have the block asked for"):
        await try_out(telling("eth_simulateV1", (-32000, "header not found"), simulated("0x2a")))


async def test_endpoints_that_cannot_simulate_are_asked_by_call_as_are_then_all() -> None:
    with pytest.raises(ChainError, match="Method not found"):
        await try_out(telling("eth_simulateV1", (-32601, "Method not found"), simulated("0x2a")))
    enough = telling("eth_simulateV1", (-32601, "Method not found"), simulated("0x2a"), simulated("0x2a"))
    assert await try_out(enough) == b"\x2a"


async def test_a_call_that_a_quorum_says_reverts_does() -> None:
    revert = (3, "execution reverted", "0x01020304")
    with pytest.raises(CallReverted, match="0x01020304"):
        await telling("eth_call", revert, revert, "0x2a").rpc.call(SOMEBODY, b"", A100.hash)
