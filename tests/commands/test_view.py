"""What a verb assumes before it looks: prices that fall together, and what can be done by hand."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from keeper.by_hand import by_hand
from keeper.commands.view import as_spelt, with_companions
from keeper.core.plan import History
from keeper.core.planner import make_plan
from keeper.core.policy import Pair
from keeper.core.snapshot import Subaccount, SubaccountId, Token, Unknown
from keeper.core.units import Address
from keeper.errors import ConfigError
from keeper.protocols.abi import interface
from keeper.protocols.euler.math import PROBE
from keeper.protocols.morpho.adapter import Market, MorphoBlue
from keeper.protocols.portfolio import Portfolio, Topology
from keeper.report import shortage_sentences, shortages
from tests.builders import GUARD, MORPHO, OWNER, USDC, WETH, a_policy, a_snapshot, a_subaccount, a_wallet, raw, wad
from tests.protocols.euler.fakes import E_WETH, ROUTER, SUB_3, USD, an_euler_chain, found, read
from tests.protocols.fakes import OWNER as EULER_OWNER
from tests.protocols.fakes import USDC as VENUS_USDC
from tests.protocols.fakes import WETH as EULER_WETH
from tests.protocols.venus.fakes import MARKETS, a_venus_chain, set_market
from tests.protocols.venus.fakes import read as read_on_venus

ID = "0x" + "3a" * 32
ORACLE = Address("0x" + "0c" * 20)
IRM = Address("0x" + "1c" * 20)
VOLATILE = Pair(SubaccountId("morpho", "1"), wad("0.86"), "WETH", "USDC")
CORRELATED = Pair(SubaccountId("morpho", "2"), wad("0.945"), "wstETH", "WETH")


@pytest.mark.parametrize(
    ("said", "assumed"),
    [
        ({}, {}),
        ({"WBTC": -500}, {"WBTC": -500}),
        ({"WETH": -1_200}, {"wstETH": -1_200, "WETH": -1_200}),
        ({"wstETH": -300}, {"wstETH": -300}),
        ({"WETH": -1_200, "wstETH": -1_500}, {"WETH": -1_200, "wstETH": -1_500}),
        ({"USDC": -100}, {"USDC": -100}),
    ],
)
def test_what_moves_together_falls_together_unless_said(said: Mapping[str, int], assumed: Mapping[str, int]) -> None:
    assert with_companions(said, [VOLATILE, CORRELATED, Pair(SubaccountId("wallet"))]) == assumed


@pytest.mark.parametrize(
    ("written", "spelt"),
    [
        ({"weth": -1}, {"WETH": -1}),
        ({"WSTETH": -1, "Weth": -2}, {"wstETH": -1, "WETH": -2}),
        ({"dai": -1}, {"dai": -1}),
    ],
)
def test_a_symbol_is_known_however_it_is_spelt(written: Mapping[str, int], spelt: Mapping[str, int]) -> None:
    assert as_spelt("--shock", written, ["WETH", "wstETH", "DAI", "dai"]) == spelt


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"ETH": -1}, "--shock names ETH, which no account here holds or owes; there are DAI, WETH, dai."),
        ({"Dai": -1}, "--shock names Dai, which no account here holds or owes; there are DAI, dai."),
        ({"WETH": -1, "weth": -2}, "--shock names WETH twice."),
    ],
)
def test_a_symbol_of_nothing_and_one_that_is_not_clear_are_refused(written: Mapping[str, int], says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        as_spelt("--shock", written, ["WETH", "DAI", "dai"])
    assert str(refused.value) == says


def portfolio(collateral: Token = WETH) -> Portfolio:
    market = Market(ID, USDC, collateral, ORACLE, IRM, wad("0.86"), ())
    return Portfolio(
        Topology(31337, OWNER, GUARD, None, (MorphoBlue(MORPHO, OWNER, GUARD, (market,)),), (), 0, {}, None)
    )


@pytest.mark.parametrize(
    ("in_wallet", "amount", "whence"),
    [
        ("0", "1", "once the wallet holds it"),
        ("0.25", "0.25", "which the wallet holds"),
        ("7", "7", "which the wallet"),
    ],
)
def test_the_owner_can_supply_what_the_wallet_holds_or_a_tenth_more(in_wallet: str, amount: str, whence: str) -> None:
    broken = a_subaccount(ID, weth="10", debt="1", reading=Unknown("its oracle reverts"))
    snapshot = a_snapshot(broken, a_wallet(in_wallet))
    plan = make_plan(snapshot, a_policy(*snapshot.subaccounts), History())
    (way,) = by_hand(portfolio(), snapshot, plan)
    assert way.subaccount == broken.id
    assert f"supply {amount} WETH ({whence}" in way.says
    (approved_to, approval), (supplied_to, supply) = way.calls
    assert (approved_to, supplied_to) == (WETH.address, MORPHO)
    assert approval == interface("ERC20")["approve"].encode(MORPHO, raw(WETH, amount))
    params = (USDC.address, WETH.address, ORACLE, IRM, wad("0.86"))
    assert supply == interface("Morpho")["supplyCollateral"].encode(params, raw(WETH, amount), OWNER, b"")
    assert way.cast_lines(OWNER)[1] == f"cast send --rpc-url $ETH_RPC_URL --from {OWNER} {MORPHO} 0x{supply.hex()}"


def test_a_sub_account_of_eulers_gets_a_deposit_into_the_vault_that_it_holds() -> None:
    """Without an oracle its 11 WETH are known and not their worth; the wallet holds 2."""
    chain = an_euler_chain()
    adapter = found(chain)
    chain.revert(ROUTER, interface("EulerOracle")["getQuote"], PROBE, EULER_WETH, USD, data=b"")
    broken = read(chain, adapter=adapter)
    assert isinstance(broken.reading, Unknown)
    line = broken.collateral[0]
    wallet = replace(a_wallet("2"), collateral=(replace(a_wallet("2").collateral[0], token=line.token),))
    snapshot = a_snapshot(broken, wallet)
    plan = make_plan(snapshot, a_policy(*snapshot.subaccounts), History())
    on_euler = Portfolio(Topology(31337, EULER_OWNER, GUARD, None, (adapter,), (), 0, {}, None))
    (way,) = by_hand(on_euler, snapshot, plan)
    deposit = interface("EulerVault")["deposit"].encode(2 * 10**18, SUB_3)
    assert way.calls[1] == (E_WETH, deposit)
    assert way.calls[0] == (EULER_WETH, interface("ERC20")["approve"].encode(E_WETH, 2 * 10**18))


def test_a_debt_that_anybody_may_liquidate_gets_its_repayment_whatever_the_health() -> None:
    """17,000 USDC are owed on Venus, a thousandth more is repaid for the interest; the health is 1.25."""
    chain = a_venus_chain()
    set_market(chain, VENUS_USDC, is_forced=True)
    subaccount = read_on_venus(chain)
    policy, snapshot = a_policy(subaccount), a_snapshot(subaccount)
    (way,) = by_hand(portfolio(), snapshot, make_plan(snapshot, policy, History()))
    market = MARKETS[VENUS_USDC]
    assert "repay 17,017.1 USDC (the wallet holds 0 USDC), interest until then included" in way.says
    assert way.calls == [
        (VENUS_USDC, interface("ERC20")["approve"].encode(market, 17_017_000_001)),
        (market, interface("VToken")["repayBorrowBehalf"].encode(subaccount.holder, 17_017_000_001)),
    ]
    (needs,) = shortage_sentences(snapshot, policy)
    assert needs.endswith("needs 17,000 USDC repaid: no collateral keeps it from being liquidated")
    assert shortages(subaccount, policy.subaccounts[subaccount.id]) == {}


@pytest.mark.parametrize(
    "accounts",
    [
        (a_subaccount(ID, health="1.05"),),
        (read_on_venus(a_venus_chain()),),
        (a_subaccount(ID, reading=Unknown("it reverts")),),
        (a_subaccount("0x" + "4b" * 32, debt="1", reading=Unknown("it reverts")),),
    ],
    ids=["the keeper can help", "nobody forces it", "nothing is owed", "of no market that is known"],
)
def test_nothing_is_to_be_done_by_hand(accounts: tuple[Subaccount, ...]) -> None:
    snapshot = a_snapshot(*accounts)
    plan = make_plan(snapshot, a_policy(*snapshot.subaccounts), History())
    assert by_hand(portfolio(), snapshot, plan) == []
