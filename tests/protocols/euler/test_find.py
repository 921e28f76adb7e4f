"""Which sub-accounts exist, and how what is in them is priced."""

import pytest
from pydantic import TypeAdapter

from keeper.core.policy import Pair
from keeper.core.snapshot import (
    Fresh,
    FreshnessUnverified,
    GuardProtocol,
    SubaccountId,
    Token,
)
from keeper.errors import ProtocolError
from keeper.protocols.base import Enrolment
from keeper.protocols.euler.adapter import EulerV2, discover
from keeper.protocols.euler.math import PROBE
from keeper.protocols.euler.topology import Leg
from tests.protocols.euler.fakes import (
    E_USDC,
    E_WETH,
    ETH_ORACLE,
    EVC,
    OF_ORACLE,
    OF_VAULT,
    ROUTER,
    SUB_0,
    SUB_3,
    USD,
    WAD,
    an_euler_chain,
    found,
    read,
    resolve,
    set_liquidity,
    set_quote,
    set_shares,
)
from tests.protocols.fakes import ETH_FEED, GUARD, OWNER, USDC, USDC_FEED, WETH, FakeChain, address

ID_0, ID_3 = SubaccountId("euler", "0"), SubaccountId("euler", "3")
OF_WETH, OF_USDC = Token(WETH, "WETH", 18), Token(USDC, "USDC", 6)
KEY_3 = "0x" + "3".zfill(64)


# Discovery ------------------------------------------------------------------------------------------------------------


def test_two_of_256_sub_accounts_are_found_in_eight_rounds() -> None:
    adapter, rounds = an_euler_chain().run(discover(EVC, OWNER, GUARD, [E_WETH, E_USDC]))
    assert rounds == 8
    assert [(one.id, one.account, one.label) for one in adapter.topology.positions] == [
        (ID_0, SUB_0, "euler 0 WETH"),
        (ID_3, SUB_3, "euler 3 WETH/USDC"),
    ]
    assert adapter.feeds() == [ETH_FEED, USDC_FEED]
    assert adapter.tokens() == [OF_WETH, OF_USDC, Token(USD, "USD", 18)]
    assert adapter.underlyings() == [WETH, USDC]
    assert adapter.pairs() == [Pair(ID_0, None, "WETH", ""), Pair(ID_3, 85 * WAD // 100, "WETH", "USDC")]
    assert adapter.enrolments()[1] == Enrolment(
        ID_3, "euler 3 WETH/USDC", GuardProtocol.EULER, OWNER, EVC, KEY_3, (E_WETH, E_USDC)
    )


def test_a_controller_is_found_that_was_not_named() -> None:
    adapter = found(an_euler_chain(), vaults=[E_WETH])
    assert [one.address for one in adapter.topology.vaults] == [E_WETH, E_USDC]
    assert adapter.topology.positions[1].controller == E_USDC


def test_shares_that_are_not_enabled_are_found_only_in_vaults_that_are_named() -> None:
    assert [one.number for one in found(an_euler_chain(), vaults=[]).topology.positions] == [3]


def test_the_last_of_256_sub_accounts_is_found() -> None:
    chain = an_euler_chain()
    chain.answer(E_WETH, OF_VAULT["balanceOf"], address(0xA1131), returns=[1])  # 0xce ^ 0xff is 0x31
    assert [one.number for one in found(chain).topology.positions] == [0, 3, 255]


def test_an_address_without_code_is_no_evc() -> None:
    with pytest.raises(ProtocolError, match="is not the Ethereum Vault Connector"):
        FakeChain().run(discover(EVC, OWNER, GUARD, []))


def test_a_vault_that_is_none_is_named() -> None:
    chain = an_euler_chain()
    chain.revert(E_WETH, OF_VAULT["unitOfAccount"], data=b"")
    with pytest.raises(ProtocolError, match=f"{E_WETH} is not an Euler vault: it knows no unitOfAccount"):
        found(chain)


def test_a_vault_of_another_evc_is_named() -> None:
    chain = an_euler_chain()
    chain.answer(E_USDC, OF_VAULT["EVC"], returns=[address(1)])
    with pytest.raises(ProtocolError, match=f"{E_USDC} belongs to another EVC than {EVC}"):
        found(chain)


def test_a_discount_of_everything_is_refused() -> None:
    chain = an_euler_chain()
    chain.answer(E_USDC, OF_VAULT["maxLiquidationDiscount"], returns=[10_000])
    with pytest.raises(ProtocolError, match="says that a liquidator's discount is 10000 basis points"):
        found(chain)


def test_it_is_read_back_from_json_as_it_was() -> None:
    adapter, kind = found(an_euler_chain()), TypeAdapter(EulerV2)
    assert kind.validate_json(kind.dump_json(adapter)) == adapter


# How prices are found -------------------------------------------------------------------------------------------------


def a_cross(chain: FakeChain, base: str) -> None:
    """The router asks 0x60 for WETH, which goes by 0x0C through 0x61 and 0x62; `base` is what it calls its own base."""
    resolve(chain, E_WETH, WETH, address(0x60))
    for getter, answer in (
        ("base", base),
        ("cross", address(0xC)),
        ("oracleBaseCross", address(0x61)),
        ("oracleCrossQuote", address(0x62)),
    ):
        chain.answer(address(0x60), OF_ORACLE[getter], returns=[answer])
    chain.answer(address(0x61), OF_ORACLE["rateProvider"], returns=[address(0x77)])
    chain.answer(address(0x62), OF_ORACLE["feed"], returns=[ETH_FEED])


def test_a_cross_adapter_is_asked_by_its_two_legs() -> None:
    chain = an_euler_chain()
    a_cross(chain, WETH)
    (route, _) = found(chain).topology.routes
    assert route.legs == (Leg(address(0x61), WETH, address(0xC)), Leg(address(0x62), address(0xC), USD))
    assert route.feeds == (ETH_FEED,)


def test_a_cross_adapter_the_other_way_round_is_asked_backwards() -> None:
    chain = an_euler_chain()
    a_cross(chain, USD)
    (route, _) = found(chain).topology.routes
    assert route.legs == (Leg(address(0x62), WETH, address(0xC)), Leg(address(0x61), address(0xC), USD))


def test_each_leg_of_a_cross_adapter_is_floored() -> None:
    """11 WETH and 7 wei by 0.3 and by 2,500: the third of a wei between them is lost."""
    chain = an_euler_chain()
    a_cross(chain, WETH)
    adapter = found(chain)
    set_quote(chain, address(0x61), WETH, address(0xC), 3 * PROBE // 10)
    set_quote(chain, address(0x62), address(0xC), USD, 10_000 * PROBE)
    set_shares(chain, SUB_3, E_WETH, 10 * WAD + 1)  # 11 WETH and 1 wei
    set_liquidity(chain, SUB_3, (28_050 * WAD, 20_000 * WAD), (26_400 * WAD, 20_000 * WAD))
    assert read(chain, adapter=adapter).margin.risk().collateral_value == 28_050 * WAD
    assert not any("rounds" in note for note in read(chain, adapter=adapter).notes)


def test_an_oracle_that_names_no_feed_leaves_the_age_unverified() -> None:
    chain = an_euler_chain()
    chain.revert(ETH_ORACLE, OF_ORACLE["feed"], data=b"")
    adapter = found(chain)
    assert adapter.feeds() == [USDC_FEED]
    assert read(chain, adapter=adapter).reading == FreshnessUnverified(
        "oracle 0x0000…0040 of eWETH in eUSDC does not name its price feeds, so their age cannot be judged"
    )


def test_a_feed_that_is_no_aggregator_is_not_named() -> None:
    chain = an_euler_chain()
    chain.answer(ETH_ORACLE, OF_ORACLE["feed"], returns=[address(0x99)])
    assert found(chain).feeds() == [USDC_FEED]


def test_a_router_that_prices_the_share_is_asked_for_the_share() -> None:
    chain = an_euler_chain()
    resolve(chain, E_WETH, E_WETH, ETH_ORACLE)
    set_quote(chain, ROUTER, E_WETH, USD, 2_750 * PROBE)
    one = read(chain, adapter=found(chain))
    assert one.margin.risk().collateral_value == 23_375 * WAD
    assert one.collateral[0].price == 2_500 * WAD - 1  # by way of shares, each step rounded down


def test_an_oracle_that_is_no_router_is_asked_for_the_share() -> None:
    chain = an_euler_chain()
    chain.revert(ROUTER, OF_ORACLE["resolveOracle"], WAD, E_WETH, USD, data=b"")
    set_quote(chain, ROUTER, E_WETH, USD, 2_750 * PROBE)
    adapter = found(chain)
    assert adapter.topology.routes[0].legs == (Leg(ROUTER, E_WETH, USD),)
    assert isinstance(read(chain, adapter=adapter).reading, FreshnessUnverified)


def test_what_is_itself_the_unit_needs_no_oracle() -> None:
    """A vault that counts in USDC: its debt is worth what it is, in 6 decimals, and values are WAD all the same."""
    chain = an_euler_chain()
    chain.answer(E_USDC, OF_VAULT["unitOfAccount"], returns=[USDC])
    resolve(chain, E_WETH, WETH, ETH_ORACLE, unit=USDC)
    set_quote(chain, ROUTER, WETH, USDC, 2_500 * PROBE // 10**12)
    set_liquidity(chain, SUB_3, (23_375 * 10**6, 20_000 * 10**6), (22_000 * 10**6, 20_000 * 10**6))
    adapter = found(chain)
    assert adapter.topology.routes[1].legs == ()
    one = read(chain, adapter=adapter)
    risk = one.margin.risk()
    assert (risk.collateral_value, risk.debt_value) == (23_375 * WAD, 20_000 * WAD)
    assert (risk.initial_collateral_value, risk.initial_debt_value) == (22_000 * WAD, 20_000 * WAD + 1)
    assert (one.unit, one.debts[0].price // WAD) == (OF_USDC, 1)
    assert one.reading == Fresh()
