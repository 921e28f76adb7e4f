"""Prices that wander around the thresholds do not move the same collateral to and fro."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from keeper.core.imagined import after_shock, after_transfers
from keeper.core.plan import History, LastRescue, Transfer
from keeper.core.planner import make_plan
from keeper.core.policy import Pair, PolicySettings, resolve
from keeper.core.snapshot import Subaccount, SubaccountId, Token
from keeper.core.units import Address
from tests.builders import DAI, NOON, USDC, WBTC, WETH, a_snapshot, a_subaccount, a_wallet, wad

ETH_FEED, BTC_FEED = Address("0x" + "e1" * 20), Address("0x" + "b1" * 20)
BLOCKS = 300
BLOCK_SECONDS = 300


def an_account(protocol: str, key: str, token: Token, amount: str, health: str, debt_token: Token = USDC) -> Subaccount:
    feed = BTC_FEED if token == WBTC else ETH_FEED
    return a_subaccount(
        key, protocol=protocol, collateral={token: amount}, health=health, debt_token=debt_token, feeds=(feed,)
    )


def several_protocols() -> tuple[Subaccount, ...]:
    """Two thirds of the way between trigger and target, some of them floors apart, and little in the wallet."""
    return (
        an_account("morpho", "0xa", WETH, "10", "1.16"),
        an_account("morpho", "0xb", WETH, "20", "1.32", DAI),
        an_account("aave", "0xc", WETH, "30", "1.24"),
        an_account("aave", "0xd", WBTC, "1", "1.17"),
        an_account("euler", "1", WBTC, "0.5", "1.35"),
        an_account("euler", "2", WETH, "5", "1.5"),
        a_wallet("0.3"),
    )


def walked(book: Sequence[Subaccount], volatility_bps: int, seed: int) -> list[Transfer]:
    """What moves while both prices wander, with the deviation that the keeper measured, and without a cooldown."""
    draw = random.Random(seed)
    sigma = volatility_bps / 10_000 * math.sqrt(BLOCK_SECONDS / 86_400)
    policy = resolve(
        PolicySettings(cooldown_seconds=0, min_benefit_multiple=0), [Pair(one.id, wad("0.86")) for one in book]
    )
    start = a_snapshot(*book)
    prices = {"WETH": 1.0, "WBTC": 1.0}
    made: list[Transfer] = []
    last: dict[SubaccountId, LastRescue] = {}
    for number in range(BLOCKS):
        prices = {symbol: price * math.exp(draw.gauss(0, sigma)) for symbol, price in prices.items()}
        at = NOON + number * BLOCK_SECONDS
        now = after_shock(
            after_transfers(start, made), {one: round((price - 1) * 10_000) for one, price in prices.items()}
        )
        now = replace(now, block=replace(now.block, timestamp=at))
        history = History(last, volatility_bps_per_day=dict.fromkeys((ETH_FEED, BTC_FEED), volatility_bps))
        plan = make_plan(now, policy, history)
        for rescue in plan.rescues:
            made += rescue.transfers
            last[rescue.recipient] = LastRescue(at, rescue.effect.after)
    return made


def round_trips(made: Sequence[Transfer]) -> int:
    """How often a token went back to whom it came from."""
    seen: set[tuple[SubaccountId, SubaccountId, Token]] = set()
    trips = 0
    for one in made:
        if one.is_repayment:
            continue
        back = (one.recipient, one.donor, one.token)
        if back in seen:
            trips += 1
            seen.discard(back)
        seen.add((one.donor, one.recipient, one.token))
    return trips


@pytest.mark.parametrize(
    ("volatility_bps", "seed", "transfers", "trips"),
    [(500, 1, 1, 0), (900, 2, 4, 0), (2_000, 2, 8, 0)],
)
def test_a_walk_across_the_thresholds_moves_nothing_to_and_fro(
    volatility_bps: int, seed: int, transfers: int, trips: int
) -> None:
    """A day of blocks of five minutes: as calm as the thresholds were made for, rough, and a crash."""
    made = walked(several_protocols(), volatility_bps, seed)
    assert (len(made), round_trips(made)) == (transfers, trips)
