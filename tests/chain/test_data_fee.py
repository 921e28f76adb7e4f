"""What rollups charge for bytes, by what their own contracts answer."""

import pytest

from keeper.chain.data_fee import (
    ARB_SYS,
    GAS_PRICE_ORACLE,
    NODE_INTERFACE,
    Rollup,
    find_rollup,
    read_data_fee,
)
from keeper.chain.fees import FeeOracle
from keeper.core.data_fee import DataFee
from keeper.core.snapshot import Block
from keeper.core.units import Address
from keeper.errors import BadAnswer
from tests.fakes import FakeFees, a_block

GET_L1_FEE = bytes.fromhex("49948e0e")
GAS_ESTIMATE_L1_COMPONENT = bytes.fromhex("77d488a2")


class RollupNode:
    """A node of a chain with code at these addresses, which answers every call with one number."""

    def __init__(self, *has_code: Address, answer: bytes = b"") -> None:
        self._has_code = has_code
        self._answer = answer
        self.calls: list[tuple[Address, bytes]] = []

    async def code(self, account: Address, block_hash: str) -> bytes:  # noqa: ARG002
        return b"\xfe" if account in self._has_code else b""

    async def call(self, to: Address, data: bytes, block_hash: str) -> bytes:  # noqa: ARG002
        self.calls.append((to, data))
        return self._answer


@pytest.mark.parametrize(
    ("has_code", "rollup"),
    [((), Rollup.NONE), ((GAS_PRICE_ORACLE,), Rollup.OP_STACK), ((ARB_SYS,), Rollup.ARBITRUM)],
)
async def test_a_rollup_is_known_by_the_contracts_that_only_it_has(
    has_code: tuple[Address, ...], rollup: Rollup
) -> None:
    assert await find_rollup(RollupNode(*has_code), "0x1") is rollup


async def test_the_op_stack_s_fee_is_asked_for_bytes_that_nothing_compresses_and_a_quarter_is_added() -> None:
    node = RollupNode(answer=(1_001).to_bytes(32))
    assert await read_data_fee(node, Rollup.OP_STACK, "0x1") == DataFee(wei_per_kilobyte=1_252)
    ((to, data),) = node.calls
    assert (to, data[:4]) == (GAS_PRICE_ORACLE, GET_L1_FEE)
    sample = data[68:1_068]
    assert len(set(sample)) > 200
    assert int.from_bytes(data[36:68]) == 1_000


async def test_arbitrum_s_part_of_the_gas_is_the_first_word_of_what_its_node_estimates() -> None:
    node = RollupNode(answer=(40_000).to_bytes(32) + (10**8).to_bytes(32) + (10**9).to_bytes(32))
    assert await read_data_fee(node, Rollup.ARBITRUM, "0x1") == DataFee(gas_per_kilobyte=50_000)
    ((to, data),) = node.calls
    assert (to, data[:4]) == (NODE_INTERFACE, GAS_ESTIMATE_L1_COMPONENT)


async def test_no_rollup_is_asked_nothing() -> None:
    node = RollupNode()
    assert await read_data_fee(node, Rollup.NONE, "0x1") == DataFee()
    assert node.calls == []


async def test_an_answer_that_is_no_number_is_the_node_s_fault() -> None:
    with pytest.raises(BadAnswer, match="getL1Fee answered 3 bytes"):
        await read_data_fee(RollupNode(answer=b"abc"), Rollup.OP_STACK, "0x1")


async def test_the_fee_for_bytes_is_part_of_the_market_and_asked_for_as_rarely_as_tips() -> None:
    asked: list[int] = []

    async def data_fee(block: Block) -> DataFee:
        asked.append(block.number)
        return DataFee(wei_per_kilobyte=7)

    oracle = FeeOracle(FakeFees(), 10**9, data_fee)
    for number in range(100, 115):
        await oracle.refresh(a_block(number))
    assert oracle.market(a_block(115)).data_fee == DataFee(wei_per_kilobyte=7)
    assert asked == [100, 110]
