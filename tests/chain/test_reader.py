"""The single read where a node does not grant it whole, or one call takes the gas of the others."""

from collections.abc import Sequence
from typing import Any

import pytest

from keeper.chain.node import Node
from keeper.chain.pace import Limits
from keeper.chain.pool import EndpointPool, Event, Quarantined
from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc
from keeper.core.snapshot import Block
from keeper.core.units import Address
from keeper.errors import BadAnswer, ChainError, NodeRefused, UnreadableResult
from keeper.protocols.base import Call, CallResult
from keeper.protocols.multicall import (
    MULTICALL3,
    decode_aggregate3,
    decode_calls,
    encode_aggregate3,
    encode_results,
)
from tests.fakes import FakeClock, FakeProvider, a_block

BLOCK = a_block()
BURNER = Address("0x" + "ff" * 20)
OUT_OF_GAS = (-32000, "out of gas")


def of(contract: int, data: int = 0) -> Call:
    return Call(Address(f"0x{contract:040x}"), data.to_bytes(1))


class Multicall:
    """A node with Multicall3: each call takes 100,000 gas and answers with its own data, one to the burner takes all
    but a sixty-fourth of what is left and fails."""

    def __init__(self, *, gas: int = 10**9, calls_max: int = 10**9, too_much: Any = OUT_OF_GAS) -> None:
        self.gas = gas
        self.calls_max = calls_max
        self.too_much = too_much
        self.time = BLOCK.timestamp
        self.asked: list[list[Call]] = []
        """Without the question for the time that is put in front of a part."""
        provider = FakeProvider("node", {"eth_call": self._answer})
        self.rpc = Rpc(EndpointPool([Node(provider, 1, Limits(requests_per_second=10_000))]))

    def _answer(self, params: Sequence[Any]) -> Any:
        calls = decode_calls(bytes.fromhex(params[0]["data"][2:]))
        self.asked.append([call for call in calls if call.to != MULTICALL3])
        left, results = self.gas, list[CallResult]()
        for call in calls:
            if call.to == MULTICALL3:
                results.append(CallResult(True, self.time.to_bytes(32)))
            elif call.to == BURNER:
                left //= 64
                results.append(CallResult(False, b""))
            elif left < 100_000:
                results.append(CallResult(False, b""))
            else:
                left -= 100_000
                results.append(CallResult(True, call.data))
        return self.too_much if len(self.asked[-1]) > self.calls_max else f"0x{encode_results(results).hex()}"

    async def read(self, calls: Sequence[Call], reader: Reader | None = None) -> list[CallResult]:
        return await (reader or self.reader()).aggregate(calls, BLOCK)

    def reader(self) -> Reader:
        return Reader(self.rpc, clock=FakeClock())


def given(calls: Sequence[Call]) -> list[CallResult]:
    return [CallResult(True, call.data) for call in calls]


EIGHT = [of(contract, contract) for contract in range(1, 9)]


async def test_a_read_that_is_granted_is_one_request() -> None:
    node = Multicall()
    assert await node.read(EIGHT) == given(EIGHT)
    assert node.asked == [EIGHT]


@pytest.mark.parametrize(
    "refusal",
    [
        OUT_OF_GAS,
        (-32000, "gas limit is too low"),
        (-32600, "request body too large"),
        (-32008, "Response size exceeded the limit"),
        NodeRefused("too large", code=413),
    ],
)
async def test_a_read_that_is_too_much_is_cut_in_halves_until_it_is_granted(refusal: Any) -> None:
    node = Multicall(calls_max=2, too_much=refusal)
    assert await node.read(EIGHT) == given(EIGHT)
    assert [len(calls) for calls in node.asked] == [8, 4, 2, 2, 4, 2, 2]


async def test_where_it_is_cut_is_remembered() -> None:
    node = Multicall(calls_max=2)
    reader = node.reader()
    await node.read(EIGHT, reader)
    node.asked.clear()
    assert await node.read(EIGHT, reader) == given(EIGHT)
    assert [len(calls) for calls in node.asked] == [2, 2, 2, 2]


async def test_calls_to_one_contract_are_never_parted() -> None:
    """Interest accrued by one of them is in the answers of those after it."""
    calls = [of(1, 1), of(1, 2), of(1, 3), of(2, 4), of(3, 5), of(3, 6), of(3, 7)]
    node = Multicall(calls_max=4)
    assert await node.read(calls) == given(calls)
    assert [[call.data[0] for call in part] for part in node.asked] == [[1, 2, 3, 4, 5, 6, 7], [1, 2, 3], [4, 5, 6, 7]]


async def test_calls_that_are_granted_in_no_way_are_unknown_and_the_others_are_known() -> None:
    calls = [of(1, 1), *[of(2, data) for data in range(2, 7)], of(3, 7)]
    node = Multicall(calls_max=4)
    assert await node.read(calls) == [*given(calls[:1]), *[CallResult(False, b"")] * 5, *given(calls[-1:])]


async def test_a_node_that_grants_nothing_is_a_sentence() -> None:
    with pytest.raises(ChainError, match="grants the gas for none of 8 calls; use a node that allows more"):
        await Multicall(calls_max=0).read(EIGHT)
    with pytest.raises(ChainError, match="does not grant the gas for a read of"):
        await Multicall(calls_max=0).read([of(1), of(1)])


async def test_another_refusal_is_no_reason_to_cut() -> None:
    node = Multicall(calls_max=0, too_much=(-32000, "busy"))
    with pytest.raises(NodeRefused, match="busy"):
        await node.read(EIGHT)
    assert len(node.asked) == 1


async def test_a_part_of_another_block_is_no_answer() -> None:
    node = Multicall(calls_max=4)
    node.time += 1
    with pytest.raises(UnreadableResult, match="It is a part of a read for another block than 100"):
        await node.read(EIGHT)


# Answers that cannot be read ------------------------------------------------------------------------------------------


class OfTheBlock:
    """A read of `EIGHT` with the block's time in front, as a cycle's is."""

    calldata = encode_aggregate3([Call(MULTICALL3, b""), *EIGHT])

    def check(self, block: Block, answer: bytes) -> None:
        if int.from_bytes(decode_aggregate3(answer, 9)[0].data) != block.timestamp:
            raise BadAnswer("It is of another block.")


GOOD = encode_results([CallResult(True, BLOCK.timestamp.to_bytes(32)), *given(EIGHT)])
GARBLED = {
    "truncated by a word": GOOD[:-32],
    "truncated inside a word": GOOD[:-1],
    "misaligned": GOOD[32:],
    "a word too many": GOOD + bytes(32),
    "a result missing": encode_results([CallResult(True, BLOCK.timestamp.to_bytes(32)), *given(EIGHT[1:])]),
    "no results": encode_results([]),
    "empty": b"",
    "of another block": encode_results([CallResult(True, (BLOCK.timestamp + 12).to_bytes(32)), *given(EIGHT)]),
}


class Pair:
    """Endpoints a and b, of which a is asked first; what happens to them is heard."""

    def __init__(self, *answers: bytes) -> None:
        self.clock, self.heard = FakeClock(), list[Event]()
        self.providers = [
            FakeProvider("ab"[place], {"eth_call": f"0x{answer.hex()}"}) for place, answer in enumerate(answers)
        ]
        self.nodes = [Node(each, 1, Limits(requests_per_second=10_000), self.clock) for each in self.providers]
        self.reader = Reader(Rpc(EndpointPool(self.nodes, self.heard.append)), clock=self.clock)

    async def read(self) -> bytes:
        return (await self.reader.read(OfTheBlock(), BLOCK)).answer

    @property
    def asked(self) -> list[int]:
        return [each.asked.count("eth_call") for each in self.providers]

    @property
    def quarantined(self) -> list[tuple[str, float]]:
        return [(each.node.label, each.seconds) for each in self.heard if isinstance(each, Quarantined)]


@pytest.mark.parametrize("garbled", GARBLED.values(), ids=GARBLED)
async def test_an_endpoint_that_garbles_the_read_is_passed_over_and_quarantined(garbled: bytes) -> None:
    pair = Pair(garbled, GOOD)
    assert await pair.read() == GOOD
    assert pair.asked == [1, 1]
    assert pair.quarantined == [("a", 60.0)]
    assert await pair.read() == GOOD
    assert pair.asked == [1, 2], "in quarantine it is not asked"


async def test_a_result_that_is_no_bytes_is_garbled_as_well() -> None:
    pair = Pair(GOOD, GOOD)
    pair.providers[0].answers["eth_call"] = "0x2"
    assert await pair.read() == GOOD
    assert pair.quarantined == [("a", 60.0)]


async def test_who_garbled_it_is_asked_again_when_nobody_else_answers() -> None:
    pair = Pair(GARBLED["empty"], GOOD)
    await pair.read()
    for provider, answer in zip(pair.providers, (GOOD, GARBLED["misaligned"]), strict=True):
        provider.answers["eth_call"] = f"0x{answer.hex()}"
    assert await pair.read() == GOOD


async def test_what_all_garble_is_a_fault_that_names_the_first_and_quarantines_nobody() -> None:
    pair = Pair(GARBLED["a result missing"], GARBLED["empty"])
    with pytest.raises(UnreadableResult, match=r"^a answered eth_call with what cannot be read: Multicall3 did not "):
        await pair.read()
    assert pair.quarantined == []
    assert [node.failing for node in pair.nodes] == [0.125, 0.125], "and counts as failing, all the same"


async def test_a_call_that_burns_the_gas_starves_no_other() -> None:
    calls = [*EIGHT[:4], Call(BURNER, b""), *EIGHT[4:]]
    node = Multicall(gas=2_000_000)
    reader = node.reader()
    expected = [*given(EIGHT[:4]), CallResult(False, b""), *given(EIGHT[4:])]
    assert await node.read(calls, reader) == expected
    node.asked.clear()
    assert await node.read(calls, reader) == expected
    assert [len(part) for part in node.asked] == [4, 1, 4], "remembered"


async def test_two_calls_that_burn_the_gas_starve_no_other_either() -> None:
    calls = [*EIGHT[:3], Call(BURNER, b""), *EIGHT[3:6], Call(BURNER, b""), *EIGHT[6:]]
    results = await Multicall(gas=2_000_000).read(calls)
    assert [result.success for result in results] == [True] * 3 + [False] + [True] * 3 + [False] + [True] * 2


async def test_calls_that_fail_wherever_they_are_cut_are_tried_apart_once() -> None:
    calls = [Call(BURNER, b""), of(1, 1), Call(BURNER, b"")]
    node = Multicall()
    reader = node.reader()
    expected = [CallResult(False, b""), *given([of(1, 1)]), CallResult(False, b"")]
    assert await node.read(calls, reader) == expected
    node.asked.clear()
    assert await node.read(calls, reader) == expected
    assert [len(part) for part in node.asked] == [3]
