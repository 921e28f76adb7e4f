"""The Aave market of the local chain is the real thing, in 3.6 and in 3.0, where they agree and where they do not."""

import pytest

from scripts.localchain import aave, world
from scripts.localchain.aave import V30, V36, AaveDeployment
from scripts.localchain.abi import decode_words, encode_call, selector
from scripts.localchain.devnet import Devnet
from scripts.localchain.node import NodeError
from scripts.localchain.world import DEPLOYER, KEEPER, LIQUIDATOR, OWNER, STRANGER, Person

pytestmark = pytest.mark.devnet

YEAR_SECONDS = 365 * 86_400
SECONDS = 1e-6
"""The clock of the chain is that of the machine, so what is read may hold a few seconds of interest: 3e-10 a second."""
NO_DEBT = 2**256 - 1
EMODE = world.ETH_CORRELATED.id


@pytest.fixture
def v36(devnet: Devnet) -> AaveDeployment:
    return devnet.deployment.aave


@pytest.fixture
def v30(devnet: Devnet) -> AaveDeployment:
    return aave.deploy_v30(devnet.node, devnet.deployment.tokens, devnet.deployment.feeds)


@pytest.fixture(params=[V36, V30])
def market(request: pytest.FixtureRequest) -> AaveDeployment:
    """For what both versions do."""
    return request.getfixturevalue({V36: "v36", V30: "v30"}[request.param])


def weth(amount: float) -> int:
    return int(amount * 10**18)


def usdc(amount: int) -> int:
    return amount * 10**6


def refusal(devnet: Devnet, sender: Person, to: str, signature: str, *arguments: object) -> bytes:
    """What the chain answers to a call that it refuses."""
    with pytest.raises(NodeError) as refused:
        devnet.node.call(to, encode_call(signature, *arguments), sender=sender.address)
    return refused.value.data


def refusal_of_transfer(devnet: Devnet, market: AaveDeployment, symbol: str, amount_raw: int) -> bytes:
    return refusal(
        devnet, OWNER, market.a_tokens[symbol], "transfer(address,uint256)", STRANGER.address, amount_raw
    )  # fmt: skip


# What stands on it ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "revision"), [("v36", 10), ("v30", 1)])
def test_a_pool_says_which_revision_it_is(
    devnet: Devnet, request: pytest.FixtureRequest, version: str, revision: int
) -> None:
    pool = request.getfixturevalue(version).pool
    assert decode_words(["uint256"], devnet.node.call(pool, encode_call("POOL_REVISION()"))) == (revision,)


@pytest.mark.parametrize(
    ("symbol", "decimals", "ltv_bps", "threshold_bps", "bonus_bps"),
    [
        ("WETH", 18, 8_050, 8_300, 10_500),
        ("USDC", 6, 7_500, 7_800, 10_450),
        ("DAI", 18, 6_300, 7_700, 10_500),
        ("WBTC", 8, 7_300, 7_800, 10_600),
        ("wstETH", 18, 7_850, 8_100, 10_600),
    ],
)
def test_the_reserves_have_the_parameters_of_mainnet(
    devnet: Devnet, v36: AaveDeployment, symbol: str, decimals: int, ltv_bps: int, threshold_bps: int, bonus_bps: int
) -> None:
    answer = devnet.node.call(
        v36.data_provider, encode_call("getReserveConfigurationData(address)", v36.tokens[symbol])
    )
    found = decode_words(["uint256"] * 5 + ["bool"] * 5, answer)
    assert found[:4] == (decimals, ltv_bps, threshold_bps, bonus_bps)
    is_collateral, is_borrowable, _, is_active, is_frozen = found[5:]
    assert (is_collateral, is_borrowable, is_active, is_frozen) == (True, True, True, False)


@pytest.mark.parametrize(("symbol", "price"), [("WETH", 2_500), ("WBTC", 60_000), ("USDC", 1), ("wstETH", 3_000)])
def test_a_reserve_is_priced_in_usd_with_eight_decimals(
    devnet: Devnet, market: AaveDeployment, symbol: str, price: int
) -> None:
    assert aave.price_usd(devnet.node, market, symbol) == price * 10**8


def test_the_price_of_wsteth_names_the_feeds_that_it_is_made_of(devnet: Devnet, v36: AaveDeployment) -> None:
    def address(to: str, signature: str, *arguments: object) -> str:
        return decode_words(["address"], devnet.node.call(to, encode_call(signature, *arguments)))[0]

    source = address(v36.oracle, "getSourceOfAsset(address)", v36.tokens["wstETH"])
    assert address(source, "RATIO_PROVIDER()") == devnet.deployment.feeds["wstETH/ETH"]
    assert address(source, "BASE_TO_USD_AGGREGATOR()") == devnet.deployment.feeds["ETH/USD"]


def test_nobody_but_the_deployer_has_an_account(devnet: Devnet, v36: AaveDeployment) -> None:
    assert aave.account(devnet.node, v36, OWNER.address).collateral_usd == 0
    lender = aave.account(devnet.node, v36, DEPLOYER.address)
    assert lender.health > 1_100_000_000_000_000_000


# Accounts -------------------------------------------------------------------------------------------------------------


def test_an_account_has_a_health_once_it_owes(devnet: Devnet, market: AaveDeployment) -> None:
    aave.supply(devnet.node, market, OWNER, "WETH", weth(10))
    before = aave.account(devnet.node, market, OWNER.address)
    assert before.collateral_usd == pytest.approx(25_000 * 10**8, rel=SECONDS)
    assert (before.threshold_bps, before.ltv_bps, before.health) == (8_300, 8_050, NO_DEBT)
    aave.borrow(devnet.node, market, OWNER, "USDC", usdc(10_000))
    after = aave.account(devnet.node, market, OWNER.address)
    assert after.debt_usd == pytest.approx(10_000 * 10**8, rel=SECONDS)
    assert after.health == pytest.approx(2_075_000_000_000_000_000, rel=SECONDS)
    assert after.available_borrows_usd == pytest.approx(10_125 * 10**8, rel=SECONDS)


def test_what_was_borrowed_has_been_spent(devnet: Devnet, v36: AaveDeployment) -> None:
    aave.open_account(devnet.node, v36, OWNER, {"WETH": weth(10)}, {"USDC": usdc(10_000)})
    answer = devnet.node.call(v36.tokens["USDC"], encode_call("balanceOf(address)", OWNER.address))
    assert decode_words(["uint256"], answer) == (0,)


def test_a_year_costs_a_few_percent(devnet: Devnet, market: AaveDeployment) -> None:
    aave.open_account(devnet.node, market, OWNER, {"WETH": weth(10)}, {"USDC": usdc(10_000)})
    devnet.chain.warp(YEAR_SECONDS)
    seen = aave.account(devnet.node, market, OWNER.address)
    assert 10_360 * 10**8 < seen.debt_usd < 10_390 * 10**8
    assert 25_200 * 10**8 < seen.collateral_usd < 25_300 * 10**8


def test_more_than_the_ltv_allows_is_not_lent(devnet: Devnet, market: AaveDeployment) -> None:
    aave.supply(devnet.node, market, OWNER, "WETH", weth(10))
    with pytest.raises(NodeError):
        aave.borrow(devnet.node, market, OWNER, "USDC", usdc(20_126))
    aave.borrow(devnet.node, market, OWNER, "USDC", usdc(20_124))


def test_a_crash_makes_an_account_liquidatable(devnet: Devnet, market: AaveDeployment) -> None:
    aave.open_account(devnet.node, market, OWNER, {"WETH": weth(10)}, {"USDC": usdc(15_000)})
    with pytest.raises(NodeError):
        aave.liquidate(devnet.node, market, LIQUIDATOR, OWNER.address, "WETH", "USDC", usdc(5_000))
    devnet.chain.set_price("WETH", "-30%")
    before = aave.account(devnet.node, market, OWNER.address)
    assert before.health == pytest.approx(968_333_333_333_333_333, rel=SECONDS)
    aave.liquidate(devnet.node, market, LIQUIDATOR, OWNER.address, "WETH", "USDC", usdc(5_000))
    after = aave.account(devnet.node, market, OWNER.address)
    assert after.debt_usd == pytest.approx(10_000 * 10**8, rel=SECONDS)
    # 5,000 USDC and 5 % on them, of 17,500 that the collateral was worth.
    assert after.collateral_usd == pytest.approx(12_250 * 10**8, rel=SECONDS)


def test_without_a_price_nobody_knows_how_an_account_is(devnet: Devnet, market: AaveDeployment) -> None:
    aave.open_account(devnet.node, market, OWNER, {"wstETH": weth(10)}, {"USDC": usdc(10_000)})
    devnet.chain.set_round("wstETH", 0, devnet.node.timestamp())
    with pytest.raises(NodeError):
        aave.account(devnet.node, market, OWNER.address)


def test_a_stale_price_is_as_good_as_any_to_aave(devnet: Devnet, market: AaveDeployment) -> None:
    aave.open_account(devnet.node, market, OWNER, {"WETH": weth(10)}, {"USDC": usdc(10_000)})
    devnet.chain.warp(30 * 86_400)
    assert aave.account(devnet.node, market, OWNER.address).collateral_usd >= 25_000 * 10**8


# Transfers of aTokens -------------------------------------------------------------------------------------------------


def test_a_received_asset_is_collateral_at_once_on_3_0(devnet: Devnet, v30: AaveDeployment) -> None:
    aave.supply(devnet.node, v30, OWNER, "WETH", weth(10))
    aave.transfer(devnet.node, v30, OWNER, "WETH", STRANGER.address, weth(4))
    assert aave.is_used_as_collateral(devnet.node, v30, STRANGER.address, "WETH")
    seen = aave.account(devnet.node, v30, STRANGER.address)
    assert seen.collateral_usd == pytest.approx(10_000 * 10**8, rel=SECONDS)


def test_a_received_asset_is_collateral_on_3_6_when_the_account_says_so(devnet: Devnet, v36: AaveDeployment) -> None:
    aave.supply(devnet.node, v36, OWNER, "WETH", weth(10))
    aave.transfer(devnet.node, v36, OWNER, "WETH", STRANGER.address, weth(4))
    assert not aave.is_used_as_collateral(devnet.node, v36, STRANGER.address, "WETH")
    assert aave.account(devnet.node, v36, STRANGER.address).collateral_usd == 0
    aave.use_as_collateral(devnet.node, v36, STRANGER, "WETH", True)
    seen = aave.account(devnet.node, v36, STRANGER.address)
    assert seen.collateral_usd == pytest.approx(10_000 * 10**8, rel=SECONDS)


def test_on_3_6_a_position_manager_may_say_so_for_the_account(devnet: Devnet, v36: AaveDeployment) -> None:
    aave.supply(devnet.node, v36, OWNER, "WETH", weth(10))
    aave.transfer(devnet.node, v36, OWNER, "WETH", STRANGER.address, weth(4))
    enable = "setUserUseReserveAsCollateralOnBehalfOf(address,bool,address)"
    arguments = (v36.tokens["WETH"], True, STRANGER.address)
    assert refusal(devnet, KEEPER, v36.pool, enable, *arguments) == selector("CallerNotPositionManager()")
    devnet.chain.send(STRANGER, v36.pool, "approvePositionManager(address,bool)", KEEPER.address, True)
    devnet.chain.send(KEEPER, v36.pool, enable, *arguments)
    assert aave.is_used_as_collateral(devnet.node, v36, STRANGER.address, "WETH")


def test_an_asset_that_the_account_uses_already_counts_on_arrival(devnet: Devnet, market: AaveDeployment) -> None:
    aave.supply(devnet.node, market, OWNER, "WETH", weth(10))
    aave.supply(devnet.node, market, STRANGER, "WETH", weth(1))
    aave.transfer(devnet.node, market, OWNER, "WETH", STRANGER.address, weth(4))
    seen = aave.account(devnet.node, market, STRANGER.address)
    assert seen.collateral_usd == pytest.approx(12_500 * 10**8, rel=SECONDS)


def test_an_account_gives_until_its_health_is_one_and_no_further(devnet: Devnet, market: AaveDeployment) -> None:
    """Below the LTV, which only borrowing asks for: 6,000 needs 7,228.92 at 83 %, which are 2.8916 WETH."""
    aave.open_account(devnet.node, market, OWNER, {"WETH": weth(10)}, {"USDC": usdc(6_000)})
    with pytest.raises(NodeError):
        aave.transfer(devnet.node, market, OWNER, "WETH", STRANGER.address, weth(7.109))
    aave.transfer(devnet.node, market, OWNER, "WETH", STRANGER.address, weth(7.108))
    assert aave.account(devnet.node, market, OWNER.address).health == pytest.approx(10**18, rel=1e-3)


# Caps, freezes and pauses ---------------------------------------------------------------------------------------------


def test_a_full_reserve_takes_no_more_but_its_atokens_still_move(devnet: Devnet, v36: AaveDeployment) -> None:
    aave.set_supply_cap(devnet.node, v36, "WETH", 2_011)
    aave.supply(devnet.node, v36, OWNER, "WETH", weth(10))
    supply = (v36.tokens["WETH"], weth(2), OWNER.address, 0)
    refused = refusal(devnet, OWNER, v36.pool, "supply(address,uint256,address,uint16)", *supply)
    assert refused == selector("SupplyCapExceeded()")
    aave.transfer(devnet.node, v36, OWNER, "WETH", STRANGER.address, weth(9))  # a wei of a supply stays with the pool


def test_a_frozen_reserve_takes_no_more_but_its_atokens_still_move(devnet: Devnet, market: AaveDeployment) -> None:
    aave.supply(devnet.node, market, OWNER, "WETH", weth(10))
    aave.set_frozen(devnet.node, market, "WETH", True)
    with pytest.raises(NodeError):
        aave.supply(devnet.node, market, OWNER, "WETH", weth(1))
    aave.transfer(devnet.node, market, OWNER, "WETH", STRANGER.address, weth(4))
    aave.set_frozen(devnet.node, market, "WETH", False)
    aave.supply(devnet.node, market, OWNER, "WETH", weth(1))


@pytest.mark.parametrize(("version", "ltv_bps"), [("v36", 0), ("v30", 8_050)])
def test_a_freeze_takes_the_ltv_away_on_3_6_and_never_the_threshold(
    devnet: Devnet, request: pytest.FixtureRequest, version: str, ltv_bps: int
) -> None:
    market: AaveDeployment = request.getfixturevalue(version)
    aave.supply(devnet.node, market, OWNER, "WETH", weth(10))
    aave.set_frozen(devnet.node, market, "WETH", True)
    seen = aave.account(devnet.node, market, OWNER.address)
    assert (seen.ltv_bps, seen.threshold_bps) == (ltv_bps, 8_300)


def test_on_3_6_a_thawed_reserve_has_no_ltv_until_it_is_given_back(devnet: Devnet, v36: AaveDeployment) -> None:
    aave.supply(devnet.node, v36, OWNER, "WETH", weth(10))
    aave.set_frozen(devnet.node, v36, "WETH", True)
    aave.set_frozen(devnet.node, v36, "WETH", False)
    assert aave.account(devnet.node, v36, OWNER.address).ltv_bps == 0
    devnet.chain.send(DEPLOYER, v36.configurator, "setReserveLtvzero(address,bool)", v36.tokens["WETH"], False)
    assert aave.account(devnet.node, v36, OWNER.address).ltv_bps == 8_050


def test_collateral_without_ltv_has_to_leave_first(devnet: Devnet, v36: AaveDeployment) -> None:
    aave.open_account(devnet.node, v36, OWNER, {"WETH": weth(10), "WBTC": 10**8}, {"USDC": usdc(10_000)})
    aave.set_frozen(devnet.node, v36, "WETH", True)
    assert refusal_of_transfer(devnet, v36, "WBTC", 10**7) == selector("LtvValidationFailed()")
    aave.transfer(devnet.node, v36, OWNER, "WETH", STRANGER.address, weth(1))


def test_on_3_6_a_received_asset_without_ltv_cannot_become_collateral(devnet: Devnet, v36: AaveDeployment) -> None:
    aave.supply(devnet.node, v36, OWNER, "WETH", weth(10))
    aave.transfer(devnet.node, v36, OWNER, "WETH", STRANGER.address, weth(4))
    aave.set_frozen(devnet.node, v36, "WETH", True)
    refused = refusal(
        devnet, STRANGER, v36.pool, "setUserUseReserveAsCollateral(address,bool)", v36.tokens["WETH"], True
    )
    assert refused == selector("UserInIsolationModeOrLtvZero()")


def test_nothing_moves_in_a_paused_reserve(devnet: Devnet, v36: AaveDeployment) -> None:
    aave.open_account(devnet.node, v36, OWNER, {"WETH": weth(10)}, {"USDC": usdc(15_000)})
    aave.set_paused(devnet.node, v36, "WETH", True)
    paused = selector("ReservePaused()")
    assert refusal_of_transfer(devnet, v36, "WETH", 1) == paused
    supply = (v36.tokens["WETH"], weth(1), OWNER.address, 0)
    assert refusal(devnet, OWNER, v36.pool, "supply(address,uint256,address,uint16)", *supply) == paused
    devnet.chain.set_price("WETH", "-30%")
    with pytest.raises(NodeError):
        aave.liquidate(devnet.node, v36, LIQUIDATOR, OWNER.address, "WETH", "USDC", usdc(5_000))
    aave.set_paused(devnet.node, v36, "WETH", False)
    aave.liquidate(devnet.node, v36, LIQUIDATOR, OWNER.address, "WETH", "USDC", usdc(5_000))


# Efficiency modes -----------------------------------------------------------------------------------------------------


def test_an_emode_raises_the_thresholds_of_its_assets(devnet: Devnet, market: AaveDeployment) -> None:
    aave.open_account(devnet.node, market, OWNER, {"wstETH": weth(10)}, {"WETH": weth(9)})
    before = aave.account(devnet.node, market, OWNER.address)
    assert (before.ltv_bps, before.threshold_bps) == (7_850, 8_100)
    assert before.health == pytest.approx(1_080_000_000_000_000_000, rel=SECONDS)
    aave.choose_emode(devnet.node, market, OWNER, EMODE)
    after = aave.account(devnet.node, market, OWNER.address)
    assert (after.ltv_bps, after.threshold_bps) == (9_300, 9_500)
    assert after.health == pytest.approx(1_266_666_666_666_666_666, rel=SECONDS)


def test_an_emode_leaves_the_thresholds_of_other_assets(devnet: Devnet, market: AaveDeployment) -> None:
    aave.supply(devnet.node, market, OWNER, "WBTC", 10**8)
    aave.choose_emode(devnet.node, market, OWNER, EMODE)
    assert aave.account(devnet.node, market, OWNER.address).threshold_bps == 7_800


def test_an_emode_is_not_for_debt_outside_of_it(devnet: Devnet, market: AaveDeployment) -> None:
    aave.open_account(devnet.node, market, OWNER, {"wstETH": weth(10)}, {"USDC": usdc(10_000)})
    with pytest.raises(NodeError):
        aave.choose_emode(devnet.node, market, OWNER, EMODE)
