"""What the OP stack's real contract charges for bytes, and what the keeper makes of it."""

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing

import pytest

from keeper.chain.data_fee import GAS_PRICE_ORACLE, Rollup, find_rollup, read_data_fee
from keeper.chain.pace import Limits
from keeper.chain.pool import open_pool
from keeper.chain.rpc import Rpc
from keeper.core.data_fee import DataFee
from scripts.localchain.abi import artefact, decode_words, encode_call, selector
from scripts.localchain.devnet import Devnet
from scripts.localchain.node import Node
from tests.commands.shell import keeper, keeper_process

pytestmark = pytest.mark.devnet

L1_BLOCK = "0x4200000000000000000000000000000000000015"
DEPOSITOR = "0xDeaDDEaDDeAdDeAdDEAdDEaddeAddEAdDEAd0001"
BASE_FEE_SCALAR, BLOB_BASE_FEE_SCALAR = 5_227, 1_014_213
"""OP Mainnet's."""
GWEI = 10**9


@pytest.fixture
def op_chain(devnet: Devnet) -> Devnet:
    """The local chain with the predeploys of an OP chain after Ecotone, before Fjord."""
    node = devnet.node
    node.set_code(GAS_PRICE_ORACLE, artefact("OpGasPriceOracle").runtime_code)
    node.set_code(L1_BLOCK, artefact("OpL1Block").runtime_code)
    node.request("anvil_impersonateAccount", DEPOSITOR)
    node.set_balance(DEPOSITOR, 10**18)
    node.transact(DEPOSITOR, GAS_PRICE_ORACLE, encode_call("setEcotone()"))
    set_l1_fees(node, base_fee_wei=30 * GWEI, blob_base_fee_wei=2 * GWEI)
    return devnet


def set_l1_fees(node: Node, *, base_fee_wei: int, blob_base_fee_wei: int) -> None:
    """As the chain itself does with each block of the chain below; its arguments are packed."""
    scalars = BASE_FEE_SCALAR.to_bytes(4) + BLOB_BASE_FEE_SCALAR.to_bytes(4)
    sequence_time_and_number = bytes(24)
    fees = base_fee_wei.to_bytes(32) + blob_base_fee_wei.to_bytes(32)
    hash_and_batcher = bytes(64)
    packed = selector("setL1BlockValuesEcotone()") + scalars + sequence_time_and_number + fees + hash_and_batcher
    node.transact(DEPOSITOR, L1_BLOCK, packed)


def activate_fjord(devnet: Devnet) -> None:
    devnet.node.transact(DEPOSITOR, GAS_PRICE_ORACLE, encode_call("setFjord()"))


@pytest.fixture
async def rpc(devnet: Devnet) -> AsyncGenerator[Rpc]:
    async with open_pool(devnet.url, 31337, Limits(requests_per_second=1000)) as pool:
        yield Rpc(pool)


async def data_fee(rpc: Rpc) -> DataFee:
    return await read_data_fee(rpc, Rollup.OP_STACK, (await rpc.head()).hash)


def signed(devnet: Devnet) -> bytes:
    """The one transaction that the keeper signed."""
    with closing(sqlite3.connect(devnet.folder / "keeper.sqlite")) as journal:
        ((raw,),) = journal.execute("SELECT raw FROM attempts")
    return bytes(raw)


async def test_the_chain_is_known_by_its_predeploy(op_chain: Devnet, rpc: Rpc) -> None:
    assert op_chain.node.code(GAS_PRICE_ORACLE)
    assert await find_rollup(rpc, (await rpc.head()).hash) is Rollup.OP_STACK


async def test_an_ordinary_chain_is_no_rollup(devnet: Devnet, rpc: Rpc) -> None:
    assert not devnet.node.code(GAS_PRICE_ORACLE)
    assert await find_rollup(rpc, (await rpc.head()).hash) is Rollup.NONE


async def test_a_kilobyte_costs_what_the_contract_says_and_a_quarter(op_chain: Devnet, rpc: Rpc) -> None:
    # 992 bytes of 16 gas, 8 of 4, 68 of a signature, at (5227 x 16 x 30 gwei + 1014213 x 2 gwei) / (16 x 10^6) a gas.
    assert await data_fee(rpc) == DataFee(wei_per_kilobyte=4_818_703_932_000 + 1_204_675_983_000)
    activate_fjord(op_chain)
    # FastLZ makes 1032 bytes of it: (836500 x (1032 + 68) - 42585600) x (the same sum) / 10^12.
    assert await data_fee(rpc) == DataFee(wei_per_kilobyte=3_981_848_422_658 + 995_462_105_665)


@pytest.mark.parametrize("is_fjord", [False, True], ids=["Ecotone", "Fjord"])
async def test_a_rescue_is_charged_less_than_was_reckoned(op_chain: Devnet, rpc: Rpc, is_fjord: bool) -> None:
    if is_fjord:
        activate_fjord(op_chain)
    op_chain.chain.set_price("WETH", "-8%")
    ran = keeper_process("run --once", config=op_chain.config)
    assert ran.code == 0, ran.err
    raw = signed(op_chain)
    answer = op_chain.node.call(GAS_PRICE_ORACLE, encode_call("getL1Fee(bytes)", raw))
    (charged_wei,) = decode_words(["uint256"], answer)
    assert 0 < charged_wei < (await data_fee(rpc)).wei(len(raw))


def test_a_rescue_whose_bytes_cost_more_than_it_saves_is_left(op_chain: Devnet) -> None:
    # 1.32 ETH for a kilobyte, and gas for next to nothing.
    set_l1_fees(op_chain.node, base_fee_wei=10**6 * GWEI, blob_base_fee_wei=10**6 * GWEI)
    op_chain.chain.set_price("WETH", "-8%")
    ran = keeper_process("run --once", config=op_chain.config)
    assert ran.code == 0, ran.err
    assert "uneconomic: costs $" in ran.out


def test_gas_money_lasts_for_fewer_rescues_where_their_bytes_cost(op_chain: Devnet) -> None:
    # 1.32 ETH for a kilobyte, and gas for next to nothing.
    set_l1_fees(op_chain.node, base_fee_wei=10**6 * GWEI, blob_base_fee_wei=10**6 * GWEI)
    says = "the hot key has 2 ETH left for gas, enough for 1 rescue at today's fees"
    assert f"\n{says}\n" in keeper("status", config=op_chain.config).out
    (gas,) = (
        each for each in keeper("check --json", config=op_chain.config).document["findings"] if each["subject"] == "gas"
    )
    assert (gas["grade"], gas["says"]) == ("warning", says)


def test_what_the_bytes_cost_counts_against_the_days_budget(op_chain: Devnet) -> None:
    # Twice as much, and whoever is critical is rescued whatever it costs, within the budget.
    set_l1_fees(op_chain.node, base_fee_wei=2 * 10**6 * GWEI, blob_base_fee_wei=2 * 10**6 * GWEI)
    op_chain.chain.set_price("WETH", "-13%")
    ran = keeper_process("run --once", config=op_chain.config)
    assert ran.code == 1
    assert "refused: it would cost up to" in ran.out
    assert ran.out.endswith("raise [fees] daily_budget.\n")
