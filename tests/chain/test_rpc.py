"""What nodes say besides the right answer, in their own words."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from keeper.chain.pace import Limits
from keeper.chain.pool import open_pool
from keeper.chain.reader import Reader, Reading
from keeper.chain.rpc import Rpc
from keeper.core.units import Address
from keeper.errors import BadAnswer, BlockGone, CallReverted, NodeRefused, RateLimited, UnreadableResult
from keeper.protocols.base import Call
from scripts.storms.wire import Fault, Refusal, Wire, wire
from tests.fakes import FakeClock, FakeWanted, a_block

pytestmark = pytest.mark.loopback

SOMEBODY = Address("0x" + "11" * 20)
HASH = "0x" + "aa" * 32
BLOCK_HASH = "0x" + "bb" * 32
HEADER = {
    "number": "0x10",
    "hash": BLOCK_HASH.upper().replace("0X", "0x"),
    "parentHash": "0x" + "cc" * 32,
    "timestamp": "0x64",
    "baseFeePerGas": "0x7",
    "gasLimit": "0x1c9c380",
}
RECEIPT: dict[str, Any] = {
    "transactionHash": HASH,
    "blockNumber": "0x10",
    "blockHash": BLOCK_HASH,
    "status": "0x1",
    "gasUsed": "0x5208",
    "effectiveGasPrice": "0x3b9aca00",
    "logs": [],
}


@pytest.fixture
async def node() -> AsyncGenerator[Wire]:
    async with wire(answers={"eth_chainId": "0x1"}) as server:
        yield server


@pytest.fixture
async def rpc(node: Wire) -> AsyncGenerator[Rpc]:
    async with open_pool(node.url, 1, Limits(requests_per_second=1000)) as pool:
        yield Rpc(pool)


async def test_a_call_is_pinned_by_hash_and_only_while_canonical(node: Wire, rpc: Rpc) -> None:
    node.answers["eth_call"] = "0x2a"
    assert await rpc.call(SOMEBODY, b"\1", BLOCK_HASH, gas=7, sender=SOMEBODY) == b"\x2a"
    assert node.requests[0].params == [
        {"to": SOMEBODY, "data": "0x01", "gas": "0x7", "from": SOMEBODY},
        {"blockHash": BLOCK_HASH, "requireCanonical": True},
    ]


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(3, "execution reverted", "0x01020304"),  # geth, reth, anvil
        Refusal(-32000, "execution reverted", "0x01020304"),  # erigon
        Refusal(-32015, "VM execution error.", "Reverted 0x01020304"),  # nethermind, openethereum
        Refusal(-32000, "execution reverted", {"data": "0x01020304"}),
    ],
)
async def test_a_revert_is_one_in_every_node_s_words(node: Wire, rpc: Rpc, refusal: Refusal) -> None:
    node.inject("eth_call", refusal)
    with pytest.raises(CallReverted, match="0x01020304") as caught:
        await rpc.call(SOMEBODY, b"", BLOCK_HASH)
    assert caught.value.data == bytes.fromhex("01020304")


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(-32000, "header not found"),  # geth
        Refusal(-32000, "header for hash not found"),  # geth, erigon
        Refusal(-32000, f"hash {BLOCK_HASH} is not currently canonical"),  # geth
        Refusal(-32001, "block not found: hash 0xbb"),  # reth
        Refusal(-32001, "Resource not found"),  # anvil
        Refusal(-32602, "BlockOutOfRangeError: block height is 1 but requested was 153"),  # anvil
    ],
)
async def test_a_block_that_is_gone_is_named_in_every_node_s_words(node: Wire, rpc: Rpc, refusal: Refusal) -> None:
    node.inject("eth_call", refusal)
    with pytest.raises(BlockGone):
        await rpc.call(SOMEBODY, b"", BLOCK_HASH)


async def test_a_node_that_takes_no_block_hash_is_refused_and_not_worked_around(node: Wire, rpc: Rpc) -> None:
    node.inject("eth_call", Refusal(-32602, "invalid argument 1: json: cannot unmarshal object into string"))
    with pytest.raises(NodeRefused, match="cannot unmarshal object"):
        await rpc.call(SOMEBODY, b"", BLOCK_HASH)
    assert node.count("eth_call") == 1


async def test_any_other_refusal_carries_the_node_s_code_and_words(node: Wire, rpc: Rpc) -> None:
    node.inject("eth_call", Refusal(-32042, "not \x1b[31mtoday"))
    with pytest.raises(NodeRefused, match=r"refused eth_call: not \[31mtoday \(code -32042\)") as caught:
        await rpc.call(SOMEBODY, b"", BLOCK_HASH)
    assert (caught.value.code, caught.value.reason) == (-32042, "not [31mtoday")


async def test_a_block_s_hashes_come_in_lower_case(node: Wire, rpc: Rpc) -> None:
    node.answers["eth_getBlockByNumber"] = HEADER
    head = await rpc.head()
    assert (head.number, head.hash, head.base_fee_wei, head.gas_limit) == (16, BLOCK_HASH, 7, 30_000_000)


@pytest.mark.parametrize(
    "header",
    [
        HEADER | {"baseFeePerGas": None},
        HEADER | {"number": 16},
        HEADER | {"hash": None},
        {key: value for key, value in HEADER.items() if key != "timestamp"},
        [],
        "0x",
    ],
)
async def test_half_a_block_is_no_block(node: Wire, rpc: Rpc, header: Any) -> None:
    node.answers["eth_getBlockByNumber"] = header
    with pytest.raises(BadAnswer):
        await rpc.head()


async def test_a_receipt_of_another_transaction_is_not_taken(node: Wire, rpc: Rpc) -> None:
    node.answers["eth_getTransactionReceipt"] = RECEIPT | {"transactionHash": "0x" + "dd" * 32}
    with pytest.raises(BadAnswer, match="receipt of another transaction"):
        await rpc.receipt(HASH)


@pytest.mark.parametrize(("status", "succeeded"), [("0x1", True), ("0x0", False)])
async def test_a_receipt_says_whether_it_succeeded(node: Wire, rpc: Rpc, status: str, succeeded: bool) -> None:
    node.answers["eth_getTransactionReceipt"] = RECEIPT | {"status": status}
    mined = await rpc.receipt(HASH)
    assert mined is not None
    assert (mined.receipt.succeeded, mined.receipt.cost_wei) == (succeeded, 21_000 * 10**9)


async def test_no_receipt_is_none(node: Wire, rpc: Rpc) -> None:
    node.answers["eth_getTransactionReceipt"] = None
    assert await rpc.receipt(HASH) is None


@pytest.mark.parametrize(
    "history",
    [
        {"baseFeePerGas": [], "reward": []},
        {"baseFeePerGas": ["0x1", "0x1"], "reward": [["0x1"]]},
        {"baseFeePerGas": None},
    ],
)
async def test_a_fee_history_with_gaps_is_not_taken(node: Wire, rpc: Rpc, history: Any) -> None:
    node.answers["eth_feeHistory"] = history
    with pytest.raises(BadAnswer):
        await rpc.fee_history(1, (50, 90))


async def test_logs_are_asked_for_in_bounded_ranges(node: Wire, rpc: Rpc) -> None:
    node.answers["eth_getLogs"] = []
    await rpc.logs(SOMEBODY, [], 1, 4_500)
    asked = [
        (int(each.params[0]["fromBlock"], 16), int(each.params[0]["toBlock"], 16))
        for each in node.requests
        if each.method == "eth_getLogs"
    ]
    assert asked == [(1, 2_000), (2_001, 4_000), (4_001, 4_500)]


async def test_a_range_that_a_provider_finds_too_wide_is_narrowed(node: Wire, rpc: Rpc) -> None:
    def at_most_100(params: list[Any]) -> Any:
        width = int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1
        return [] if width <= 100 else Refusal(-32005, "query returned more than 10000 results")

    node.answers["eth_getLogs"] = at_most_100
    assert await rpc.logs(SOMEBODY, [], 1, 300) == ()


async def test_a_single_block_of_logs_that_is_refused_is_a_fault(node: Wire, rpc: Rpc) -> None:
    node.inject("eth_getLogs", *[Refusal(-32000, "no logs here")] * 10)
    with pytest.raises(NodeRefused, match="no logs here"):
        await rpc.logs(SOMEBODY, [], 1, 300)


@pytest.mark.parametrize("answer", ["0x", "0x00", "no hex", None, 7])
async def test_a_read_whose_answer_is_no_bytes_of_multicall_is_a_fault(node: Wire, rpc: Rpc, answer: Any) -> None:
    node.answers["eth_call"] = answer
    with pytest.raises(UnreadableResult, match=r"Multicall3|bytes|hexadecimal"):
        await Reader(rpc).aggregate([Call(SOMEBODY, b"")], a_block())


@pytest.mark.parametrize(("refusals", "waited"), [(0, 0.0), (1, 0.1), (2, 0.4)])
async def test_a_node_that_is_a_moment_behind_is_waited_for(node: Wire, rpc: Rpc, refusals: int, waited: float) -> None:
    clock = FakeClock()
    node.answers["eth_call"] = "0x2a"
    node.inject("eth_call", *[Refusal(-32000, "header not found")] * refusals)
    assert await Reader(rpc, clock=clock).read(FakeWanted(), a_block()) == Reading(b"\x2a")
    assert clock.monotonic() == pytest.approx(waited)


async def test_besu_s_code_for_a_nonce_that_is_too_low_is_that_of_no_missing_block(node: Wire, rpc: Rpc) -> None:
    node.inject("eth_sendRawTransaction", Refusal(-32001, "Nonce too low"))
    with pytest.raises(NodeRefused, match="Nonce too low") as caught:
        await rpc.send_raw(b"\x01")
    assert not isinstance(caught.value, BlockGone)


async def test_a_block_that_does_not_come_back_is_given_up(node: Wire, rpc: Rpc) -> None:
    node.inject("eth_call", *[Refusal(-32000, "header not found")] * 9)
    with pytest.raises(BlockGone):
        await Reader(rpc, clock=FakeClock()).read(FakeWanted(), a_block())
    assert node.count("eth_call") == 3


async def test_a_rate_limit_inside_a_good_http_answer_is_one(node: Wire, rpc: Rpc) -> None:
    node.inject("eth_call", Fault.LIMIT_EXCEEDED)
    with pytest.raises(RateLimited):
        await rpc.call(SOMEBODY, b"", BLOCK_HASH)


async def test_the_newest_final_block_is_told_where_the_node_knows_of_one(node: Wire, rpc: Rpc) -> None:
    def answer(params: list[Any]) -> Any:
        return HEADER if params == ["finalized", False] else None

    node.answers["eth_getBlockByNumber"] = answer
    assert await rpc.finalized_number() == int(HEADER["number"], 16)


@pytest.mark.parametrize("refusal", [Refusal(-32602, "unknown block tag"), Refusal(-39001, "unknown block"), None])
async def test_a_node_without_a_final_block_is_no_fault(node: Wire, rpc: Rpc, refusal: Refusal | None) -> None:
    node.answers["eth_getBlockByNumber"] = refusal
    assert await rpc.finalized_number() is None
