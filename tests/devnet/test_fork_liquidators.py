"""What the rehearsal's liquidators take on Venus and Euler, just above the line, just below it and far below."""

from collections.abc import Generator, Mapping
from dataclasses import replace

import pytest

from keeper.protocols.portfolio import EulerSettings, Portfolio, VenusSettings, discover
from scripts.localchain import euler, venus
from scripts.localchain.abi import decode_words, encode_call
from scripts.localchain.devnet import Devnet, running
from scripts.localchain.euler import EulerDeployment
from scripts.localchain.venus import VenusDeployment
from scripts.localchain.world import STRANGER
from scripts.rehearsal.liquidators import LIQUIDATOR, Liquidation, Liquidators
from tests.protocols.on_chain import as_address, read_snapshot, run_discovery, settings_of

pytestmark = pytest.mark.devnet

RAW = {"WETH": 10**18, "WBTC": 10**8, "USDC": 10**6}


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Generator[Devnet]:
    """Of its own, because from now on anybody may send."""
    with running(tmp_path_factory.mktemp("liquidators")) as devnet:
        devnet.node.let_anybody_send()
        yield devnet


@pytest.fixture
def live(chain: Devnet) -> Generator[Devnet]:
    snapshot = chain.node.snapshot()
    yield chain
    chain.node.revert(snapshot)


@pytest.fixture
def pool(live: Devnet) -> VenusDeployment:
    return venus.deploy(live.node, live.deployment.tokens, live.deployment.feeds)


@pytest.fixture
def connector(live: Devnet) -> EulerDeployment:
    return euler.deploy(live.node, live.deployment.tokens, live.deployment.feeds)


def struck(live: Devnet, protocol: VenusSettings | EulerSettings, weth_usd: int) -> list[Liquidation]:
    """What is taken of the stranger's account once ETH is at this price."""
    settings = replace(settings_of(live), owner=as_address(STRANGER.address), guard=None, protocols=(protocol,))
    portfolio: Portfolio = run_discovery(live.node, discover(settings))
    liquidators = Liquidators(live.node, portfolio.topology)
    assert liquidators.problems == []
    # An account on Euler cannot be liquidated in the second in which it borrowed.
    live.node.warp(2)
    live.chain.set_round("WETH", weth_usd * 10**8, live.node.timestamp())
    return liquidators.strike(read_snapshot(live.node, portfolio))


def on_venus(pool: VenusDeployment) -> VenusSettings:
    return VenusSettings(as_address(pool.comptroller), (as_address(STRANGER.address),), ())


def totals(liquidations: list[Liquidation]) -> tuple[dict[str, float], dict[str, float]]:
    """Whole tokens seized and repaid, by symbol."""

    def total(parts: list[Mapping[str, float]]) -> dict[str, float]:
        return {
            symbol: sum(part.get(symbol, 0) for part in parts) for symbol in {each for part in parts for each in part}
        }

    def whole(one: Liquidation) -> tuple[dict[str, float], dict[str, float]]:
        seized, repaid = (
            {token.symbol: raw / 10**token.decimals for token, raw in part.items()}
            for part in (one.seized_raw, one.repaid_raw)
        )
        return seized, repaid

    sides = [whole(one) for one in liquidations]
    return total([seized for seized, _ in sides]), total([repaid for _, repaid in sides])


# Venus, where half of a debt is repaid at a time for 110 % of its worth -----------------------------------------------


@pytest.fixture
def account(live: Devnet, pool: VenusDeployment) -> VenusSettings:
    """10 WETH, of which 85 % count, against 15,000 USDC: the line is at 1,764.71 USD."""
    venus.open_account(live.node, pool, STRANGER, {"WETH": 10 * RAW["WETH"]}, {"USDC": 15_000 * RAW["USDC"]})
    return on_venus(pool)


def test_nobody_takes_anything_of_an_account_on_venus_above_its_line(live: Devnet, account: VenusSettings) -> None:
    assert struck(live, account, 1_765) == []


def test_below_its_line_the_close_factors_part_is_taken_once(live: Devnet, account: VenusSettings) -> None:
    (one,) = struck(live, account, 1_764)
    seized, repaid = totals([one])
    assert seized == pytest.approx({"WETH": 4.676871}, rel=1e-5)
    assert repaid == pytest.approx({"USDC": 7_500}, rel=1e-5)


def test_an_account_that_stays_below_is_struck_until_nothing_is_left(live: Devnet, account: VenusSettings) -> None:
    liquidations = struck(live, account, 1_500)
    assert len(liquidations) >= 4
    seized, repaid = totals(liquidations)
    assert seized == pytest.approx({"WETH": 10}, rel=1e-5)
    assert repaid == pytest.approx({"USDC": 13_636.3636}, rel=1e-5)


def test_where_liquidation_is_forced_all_of_a_healthy_account_may_be_repaid(
    live: Devnet, pool: VenusDeployment, account: VenusSettings
) -> None:
    venus.force_liquidation(live.node, pool, "USDC")
    (one,) = struck(live, account, 2_500)
    seized, repaid = totals([one])
    assert seized == pytest.approx({"WETH": 6.6}, rel=1e-5)
    assert repaid == pytest.approx({"USDC": 15_000}, rel=1e-5)


@pytest.fixture
def small(live: Devnet, pool: VenusDeployment) -> VenusSettings:
    """0.05 WETH against 80 USDC: at its line it is worth less than the 100 USD below which all is liquidated."""
    venus.open_account(live.node, pool, STRANGER, {"WETH": RAW["WETH"] // 20}, {"USDC": 80 * RAW["USDC"]})
    return on_venus(pool)


@pytest.mark.parametrize(
    ("weth_usd", "seized", "repaid"),
    [
        (1_883, {}, {}),
        # 88 USD for all of the debt.
        (1_880, {"WETH": 0.0468085}, {"USDC": 80}),
        # 80 USD do not pay for 88: all of them for ten elevenths, and the pool forgives the rest.
        (1_600, {"WETH": 0.05}, {"USDC": 72.727272}),
    ],
)
def test_a_small_account_is_liquidated_whole_or_healed(
    live: Devnet, small: VenusSettings, weth_usd: int, seized: dict[str, float], repaid: dict[str, float]
) -> None:
    assert totals(struck(live, small, weth_usd)) == (pytest.approx(seized, rel=1e-5), pytest.approx(repaid, rel=1e-5))


def test_what_one_collateral_of_a_small_account_does_not_pay_for_another_does(
    live: Devnet, pool: VenusDeployment
) -> None:
    """64.5 USD in WETH pay for 58.64 USDC; the other 21.36 are worth 23.5 USD in WBTC."""
    held = {"WETH": 3 * RAW["WETH"] // 100, "WBTC": 5 * RAW["WBTC"] // 10_000}
    venus.open_account(live.node, pool, STRANGER, held, {"USDC": 80 * RAW["USDC"]})
    (one,) = struck(live, on_venus(pool), 2_150)
    seized, repaid = totals([one])
    assert seized == pytest.approx({"WETH": 0.03, "WBTC": 0.00039167}, rel=1e-4)
    assert repaid == pytest.approx({"USDC": 80}, rel=1e-5)


# Euler, where the discount grows with the depth below the line, up to 15 % --------------------------------------------


@pytest.fixture
def sub_account(live: Devnet, connector: EulerDeployment) -> EulerSettings:
    """10 WETH, of which 85 % count, against 15,000 USDC: the line is at 1,764.71 USD."""
    euler.deposit(live.node, connector, STRANGER, 1, "WETH", 10 * RAW["WETH"])
    euler.borrow(live.node, connector, STRANGER, 1, "USDC", 15_000 * RAW["USDC"], ("WETH",))
    return EulerSettings(as_address(connector.evc), ())


def test_nobody_takes_anything_of_a_sub_account_above_its_line(live: Devnet, sub_account: EulerSettings) -> None:
    assert struck(live, sub_account, 1_765) == []


def test_just_below_its_line_a_sub_account_is_rid_of_its_debt_at_hardly_a_discount(
    live: Devnet, connector: EulerDeployment, sub_account: EulerSettings
) -> None:
    (one,) = struck(live, sub_account, 1_764)
    seized, repaid = totals([one])
    assert seized == pytest.approx({"WETH": 8.506804}, rel=1e-5)
    assert repaid == pytest.approx({"USDC": 15_000}, rel=1e-5)
    # The liquidators repaid what they took over, and nothing binds them for the next time.
    asked = encode_call("getControllers(address)", LIQUIDATOR)
    assert decode_words(["address[]"], live.node.call(connector.evc, asked)) == ((),)


def test_far_below_all_of_the_collateral_is_taken_at_the_largest_discount(
    live: Devnet, sub_account: EulerSettings
) -> None:
    (one,) = struck(live, sub_account, 1_300)
    seized, repaid = totals([one])
    assert seized == pytest.approx({"WETH": 10}, rel=1e-5)
    assert repaid == pytest.approx({"USDC": 11_050}, rel=1e-5)
