"""What the journal keeps of a decision comes back as it was, so that the decision can be made again."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.core.data_fee import DataFee
from keeper.core.plan import History, InFlight, Lane, LastRescue, PriceSeen
from keeper.core.planner import make_plan
from keeper.core.policy import AccountSettings, DonorsOrder, Pair, PolicySettings, PriceLimits, resolve
from keeper.core.snapshot import SubaccountId
from keeper.core.units import WAD, Address
from keeper.records import history_from_json, history_to_json, policy_from_json, policy_to_json
from tests.builders import NOON, a_policy, a_snapshot, a_subaccount, a_wallet, wad

NEAR = SubaccountId("morpho", "0x3a85")
FEED = Address("0x" + "fe" * 20)


def test_a_policy_comes_back_whole() -> None:
    policy = resolve(
        PolicySettings(
            AccountSettings(trigger=wad("1.16"), accept_unchecked_age=True),
            {"morpho:0x3a": AccountSettings(shock_bps=1_234, priority=7, never_donate=True)},
            last_stand=False,
            inclusion_seconds=24,
            rate_margin=WAD // 3,
            amount_margin_bps=2,
            cooldown_seconds=61,
            min_benefit_multiple=5,
            donors_order=DonorsOrder.LEAST_GAS,
            volatility_min_bps=123,
            prices=PriceLimits(300, 1_500, 60),
        ),
        [Pair(NEAR, wad("0.86"), "WETH", "USDC"), Pair(SubaccountId("wallet"))],
    )
    assert policy_from_json(policy_to_json(policy)) == policy


@pytest.mark.parametrize(
    "history",
    [
        History(),
        History(protect_only=True),
        History(
            {NEAR: LastRescue(NOON, wad("1.2499"))},
            InFlight("0x01", Lane.CRITICAL, frozenset({NEAR, SubaccountId("wallet")})),
            {FEED: 345},
            2**70,
            base_fee_low_wei=2**71,
            inclusion_delay_seconds=77,
            waiting_since={NEAR: NOON},
        ),
        History(prices={(NEAR, FEED): (PriceSeen(NOON, 2**80), PriceSeen(NOON + 12, 1))}),
        History(last_said={(NEAR, FEED): 2**80}),
        History(data_fee=DataFee(2**60, 7)),
        History(in_flight=InFlight("0x02", Lane.ROUTINE, frozenset(), may_be_replaced=True)),
    ],
    ids=["empty", "protect-only", "full", "prices", "last said", "bytes", "a batch found at the start"],
)
def test_a_history_comes_back_whole(history: History) -> None:
    assert history_from_json(history_to_json(history)) == history


def test_what_was_written_before_prices_were_disputed_is_still_read() -> None:
    policy = json.loads(policy_to_json(a_policy()))
    del policy["prices"]
    assert policy_from_json(json.dumps(policy)).prices == PriceLimits()
    history = json.loads(history_to_json(History(gas_price_wei=7)))
    del history["prices"], history["last_said"], history["data_fee"]
    assert history_from_json(json.dumps(history)) == History(gas_price_wei=7)


@settings(deadline=None)
@given(
    at=st.integers(0, 2**40),
    health=st.integers(0, 2**128),
    key=st.text("0123456789abcdef", min_size=1, max_size=64),
    price=st.integers(0, 2**80),
)
def test_numbers_of_any_size_come_back_exactly(at: int, health: int, key: str, price: int) -> None:
    history = History({SubaccountId("morpho", key): LastRescue(at, health)}, gas_price_wei=price)
    assert history_from_json(history_to_json(history)) == history


def test_the_same_plan_follows_from_what_was_kept() -> None:
    poor, rich = a_subaccount("poor", health="1.1"), a_subaccount("rich", weth="40", health="3")
    snapshot = a_snapshot(poor, rich, a_wallet("0.5"))
    policy = a_policy(*snapshot.subaccounts)
    history = History(gas_price_wei=10**9)
    plan = make_plan(snapshot, policy, history)
    assert plan.rescues
    kept = policy_from_json(policy_to_json(policy)), history_from_json(history_to_json(history))
    assert make_plan(snapshot, *kept) == plan
    paused = replace(history, protect_only=True)
    assert make_plan(snapshot, policy, history_from_json(history_to_json(paused))) != plan, (
        "and it is not the same for any"
    )
