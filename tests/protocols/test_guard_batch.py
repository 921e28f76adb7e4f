from collections.abc import Sequence
from dataclasses import replace

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.plan import Effect, Kind, Lane, Plan, Rescue, Stage, Transfer
from keeper.core.snapshot import Snapshot, SubaccountId, Token
from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.protocols.guard_batch import (
    budgets,
    encode_rebalance,
    keeper_selectors,
    pause_calldata,
    plan_id,
    plan_sequence,
    simulated_gas,
    transaction_gas,
)
from keeper.protocols.portfolio import discover
from tests.protocols.fakes import BLOCK, MARKET, SETTINGS, USDC, WBTC, WETH, FakeChain, a_chain, set_guard

MORPHO_ID, WALLET_ID = SubaccountId("morpho", MARKET), SubaccountId("wallet")
WETH_TOKEN = Token(WETH, "WETH", 18)
ID = b"\x2a" * 32
TYPES = ["bytes32", "uint256", "(uint16,uint128,uint32,(uint8,uint16,uint8,uint8,uint128)[])[]"]


def a_snapshot(chain: FakeChain | None = None) -> Snapshot:
    chain = chain or a_chain()
    portfolio, _ = chain.run(discover(SETTINGS))
    return portfolio.decode(BLOCK, chain.aggregate(portfolio.calls))


SNAPSHOT = a_snapshot()


def a_rescue(*amounts_raw: int, min_health_after: int = 11 * 10**17, token: Token = WETH_TOKEN) -> Rescue:
    transfers = tuple(Transfer(Kind.CROSS, WALLET_ID, MORPHO_ID, token, amount) for amount in amounts_raw)
    effect = Effect(MORPHO_ID, 0, 0, 0)
    return Rescue(MORPHO_ID, transfers, Stage.NORMAL, Lane.ROUTINE, min_health_after, effect, (), None)


def a_plan(*rescues: Rescue) -> Plan:
    return Plan(BLOCK, rescues, {})


# The id ---------------------------------------------------------------------------------------------------------------


def test_a_plan_id_is_a_sequence_number_and_a_digest() -> None:
    id = plan_id(42, bytes(range(32)))
    assert id.hex() == "000000000000002a" + bytes(range(24)).hex()
    assert plan_sequence(id) == 42


@pytest.mark.parametrize("sequence", [1, 2**64 - 1])
def test_a_sequence_number_fills_64_bits(sequence: int) -> None:
    assert plan_sequence(plan_id(sequence, b"\xff" * 24)) == sequence


def test_a_sequence_number_beyond_64_bits_cannot_be_expressed() -> None:
    with pytest.raises(OverflowError):
        plan_id(2**64, bytes(24))


# The calldata ---------------------------------------------------------------------------------------------------------


def test_a_batch_names_accounts_and_assets_by_enrolment() -> None:
    data = encode_rebalance(a_plan(a_rescue(10**18)), SNAPSHOT, ID, 1_700_000_060, [500_000])
    expected = encode(TYPES, [ID, 1_700_000_060, [(1, 11 * 10**17, 500_000, [(1, 0, 0, 0, 10**18)])]])
    assert data[4:] == expected
    assert data[:4] in keeper_selectors()


def test_a_repayment_names_the_debt_by_its_place_among_the_recipients_assets() -> None:
    """The wallet has the token as its first asset, the recipient as its second: (collateral, loan)."""
    guard = SNAPSHOT.guard
    assert guard is not None
    wallet, market = guard.accounts
    loan = Token(USDC, "USDC", 6)
    wallet = replace(wallet, assets=(USDC, *wallet.assets))
    snapshot = replace(SNAPSHOT, guard=replace(guard, accounts=(wallet, market)))
    transfer = Transfer(Kind.REPAY, WALLET_ID, MORPHO_ID, loan, 10**9)
    rescue = replace(a_rescue(), transfers=(transfer,))
    data = encode_rebalance(a_plan(rescue), snapshot, ID, 1_700_000_060, [500_000])
    assert data[4:] == encode(TYPES, [ID, 1_700_000_060, [(1, 11 * 10**17, 500_000, [(2, 0, 0, 1, 10**9)])]])


def test_of_two_assets_with_one_underlying_the_one_that_is_held_is_named() -> None:
    """The recipient's WETH is in its second vault; before the vault is enrolled, that cannot be expressed."""
    guard = SNAPSHOT.guard
    assert guard is not None
    wallet, market = guard.accounts
    first, second = Address("0x" + "e1" * 20), Address("0x" + "e2" * 20)
    recipient = SNAPSHOT.subaccount(MORPHO_ID)
    in_second = replace(recipient, collateral=(replace(recipient.collateral[0], form=second),))
    subaccounts = tuple(in_second if one is recipient else one for one in SNAPSHOT.subaccounts)

    def a_snapshot_with(*vaults: Address) -> Snapshot:
        enrolled = replace(market, assets=(WETH,) * len(vaults), forms=vaults)
        return replace(SNAPSHOT, subaccounts=subaccounts, guard=replace(guard, accounts=(wallet, enrolled)))

    data = encode_rebalance(a_plan(a_rescue(10**18)), a_snapshot_with(first, second), ID, 1_700_000_060, [500_000])
    assert data[4:] == encode(TYPES, [ID, 1_700_000_060, [(1, 11 * 10**17, 500_000, [(1, 0, 0, 1, 10**18)])]])
    with pytest.raises(ProtocolError, match=f"does not have {WETH} held as {second} as an asset"):
        encode_rebalance(a_plan(a_rescue(10**18)), a_snapshot_with(first), ID, 0, [500_000])


AMOUNTS = st.lists(st.lists(st.integers(1, 2**128 - 1), max_size=8), max_size=16)


@given(AMOUNTS, st.integers(0, 2**64), st.integers(0, 2**128 - 1), st.integers(0, 2**32 - 1))
def test_calldata_is_to_the_byte_what_eth_abi_makes(
    amounts: Sequence[Sequence[int]], deadline: int, health: int, gas: int
) -> None:
    plan = a_plan(*(a_rescue(*each, min_health_after=health) for each in amounts))
    rescues = [(1, health, gas, [(1, 0, 0, 0, amount) for amount in each]) for each in amounts]
    data = encode_rebalance(plan, SNAPSHOT, ID, deadline, [gas] * len(amounts))
    assert data[4:] == encode(TYPES, [ID, deadline, rescues])


def test_a_budget_must_be_given_for_every_rescue() -> None:
    with pytest.raises(ValueError, match="zip"):
        encode_rebalance(a_plan(a_rescue(1), a_rescue(1)), SNAPSHOT, ID, 0, [1])


def test_a_subaccount_that_is_not_enrolled_cannot_be_expressed() -> None:
    chain = a_chain()
    set_guard(chain, retired=True)
    with pytest.raises(ProtocolError, match=f"{MORPHO_ID} is not enrolled in the guard"):
        encode_rebalance(a_plan(a_rescue(1)), a_snapshot(chain), ID, 0, [1])


def test_a_token_that_is_not_enrolled_cannot_be_expressed() -> None:
    with pytest.raises(ProtocolError, match=f"account 0 of the guard does not have {WBTC} as an asset"):
        encode_rebalance(a_plan(a_rescue(1, token=Token(WBTC, "WBTC", 8))), SNAPSHOT, ID, 0, [1])


def test_without_a_guard_nothing_can_be_expressed() -> None:
    chain = a_chain()
    set_guard(chain, owner=WETH)
    with pytest.raises(ProtocolError, match="belongs to"):
        encode_rebalance(a_plan(a_rescue(1)), a_snapshot(chain), ID, 0, [1])


def test_the_hot_key_has_two_selectors() -> None:
    assert pause_calldata().hex() == "8456cb59"
    assert {selector.hex() for selector in keeper_selectors()} == {"8456cb59", "f9aa9733"}


# The gas --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("used", "gas"), [(0, 60_000), (170_000, 315_000), (170_001, 315_001)])
def test_a_rescues_budget_leaves_room_over_what_it_took(used: int, gas: int) -> None:
    assert budgets([a_rescue(1)], [used]) == [gas]


def between(donor: str, recipient: str) -> Rescue:
    of, to = SubaccountId.parse(donor), SubaccountId.parse(recipient)
    transfer = Transfer(Kind.CROSS, of, to, WETH_TOKEN, 1)
    return replace(a_rescue(), recipient=to, transfers=(transfer,))


def test_a_budget_has_room_for_entering_what_an_earlier_rescue_had_entered_in_the_simulation() -> None:
    """Should that one fail by then, its reads are cold again."""
    rescues = [
        between("aave:0xa", "venus:0xc/0xa"),
        between("aave:0xb", "morpho:0x1"),
        between("venus:0xc/0xb", "euler:1"),
        between("venus:0xd/0xa", "aave:0xc"),
        between("wallet", "morpho:0x2"),
    ]
    assert budgets(rescues, [800_000, 200_000, 500_000, 600_000, 120_000]) == [
        1_260_000,
        360_000 + 125_000,
        810_000 + 245_000,
        960_000 + 125_000,
        240_000,
    ]


def test_the_simulation_gets_more_than_any_rescue_takes_and_two_million_more_where_there_is_room() -> None:
    assert simulated_gas([], 30_000_000) == []
    assert simulated_gas([a_rescue(1), a_rescue(*[1] * 8)], 30_000_000) == [3_000_000, 5_100_000]


@pytest.mark.parametrize(
    ("block_gas", "each"),
    [
        (140_000_000, 2_812_500),
        (50_000_000, 2_812_500),
        (49_999_990, 2_812_499),
        (30_000_000, 1_687_500),
        (17_777_778, 1_000_000),
        (10_000_000, 1_000_000),
    ],
)
def test_of_many_rescues_together_the_simulation_gets_what_block_and_node_have(block_gas: int, each: int) -> None:
    assert simulated_gas([a_rescue(1)] * 16, block_gas) == [each] * 16


def test_a_transactions_gas_covers_every_budget_in_full() -> None:
    # 100 bytes, 40 of them zero: 21,000 + 40 * 4 + 60 * 16, then 30,000 + 2 * (12,000 + 2,000) around the budgets,
    # 300,000 / 63 that a call leaves behind, rounded up, and the 30,000 that the guard wants to keep.
    data = bytes(40) + b"\x01" * 60
    plan = a_plan(a_rescue(1), a_rescue(1))
    assert transaction_gas(data, plan, [300_000, 200_000]) == 22_120 + 58_000 + 500_000 + 4_762 + 30_000
