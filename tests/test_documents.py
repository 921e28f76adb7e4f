"""What a program reads: whole ids, exact amounts as strings, and nothing that JSON cannot carry."""

import json
from dataclasses import replace

import pytest

from keeper.core.plan import History
from keeper.core.planner import make_plan
from keeper.core.snapshot import FeedRound, Unknown
from keeper.core.units import INFINITE_HEALTH, Address
from keeper.documents import (
    Document,
    feed_document,
    guard_document,
    health_document,
    plan_document,
    status_document,
    subaccount_document,
)
from keeper.report import spares
from tests.builders import (
    GUARD,
    KEEPER,
    NOON,
    OWNER,
    USDC,
    WETH,
    a_policy,
    a_snapshot,
    a_subaccount,
    a_wallet,
    wad,
)

ID = "0x" + "3a" * 32


def as_read(document: Document) -> Document:
    """Through JSON and back, as whoever reads it gets it."""
    return json.loads(json.dumps(document))


def test_a_health_is_a_string_and_nothing_without_debt() -> None:
    assert health_document(wad("1.1")) == "1100000000000000000"
    assert health_document(INFINITE_HEALTH - 1) == str(INFINITE_HEALTH - 1)
    assert health_document(INFINITE_HEALTH) is None


def test_a_subaccount_with_debt() -> None:
    account = a_subaccount(ID, weth="10", debt="10000")
    policy = a_policy(account)
    document = as_read(subaccount_document(account, policy.subaccounts[account.id], None, {WETH.address: 3 * 10**18}))
    assert document["id"] == f"morpho:{ID}"
    assert document["holder"] == OWNER
    assert document["collateral"] == [
        {
            "token": WETH.address,
            "symbol": "WETH",
            "decimals": 18,
            "amount_raw": "10000000000000000000",
            "price_wad": "2000000000000000000000",
            "spare_raw": "3000000000000000000",
            "needs_raw": "0",
        }
    ]
    assert document["debts"] == [
        {
            "token": USDC.address,
            "symbol": "USDC",
            "decimals": 6,
            "amount_raw": "10000000000",
            "price_wad": "1000000000000000000",
        }
    ]
    assert document["health_wad"] == "1720000000000000000"
    assert document["liquidation_price_wad"] == "1162790697674418604652"
    # It survives a fall of 1 - 1/1.72 = 41.86 %, 4.186 times its shock of 10 %.
    assert document["cushion_wad"].startswith("4186046511627906")
    assert document["policy"]["trigger"] == "1150000000000000000"
    assert document["policy"]["shock_bps"] == 1_000


def test_what_is_unknown_has_no_health() -> None:
    account = a_subaccount("a", debt="1", reading=Unknown("it reverts"))
    document = as_read(subaccount_document(account, None, None, {}))
    assert document["reading"] == "unknown: it reverts"
    assert "health_wad" not in document
    assert "policy" not in document


@pytest.mark.parametrize(("debt", "is_liquidatable"), [("17199.99", False), ("17200", False), ("17200.01", True)])
def test_an_account_is_liquidatable_when_it_owes_more_than_counts(debt: str, is_liquidatable: bool) -> None:
    """10 WETH at 2000 count 17,200 at an LLTV of 0.86."""
    document = as_read(subaccount_document(a_subaccount("a", weth="10", debt=debt), None, None, {}))
    assert document["liquidatable"] is is_liquidatable


def test_an_account_may_be_liquidatable_at_any_health() -> None:
    forced = replace(a_subaccount("a", health="2"), forced_liquidation="anybody may")
    document = as_read(subaccount_document(forced, None, None, {}))
    assert (document["liquidatable"], document["forced_liquidation"]) == (True, "anybody may")


def test_the_wallet_owes_nothing() -> None:
    document = as_read(subaccount_document(a_wallet("2"), None, None, {}))
    assert (document["id"], document["debts"], document["health_wad"]) == ("wallet", [], None)


def test_a_repayment_is_a_transfer_of_its_own_kind() -> None:
    poor, wallet = a_subaccount("poor", health="1.1"), a_wallet(collateral={USDC: "5000"})
    snapshot = a_snapshot(poor, wallet)
    document = as_read(plan_document(make_plan(snapshot, a_policy(poor, wallet), History()), snapshot))
    (transfer,) = document["rescues"][0]["transfers"]
    assert (transfer["kind"], transfer["donor"], transfer["symbol"]) == ("repay", "wallet", "USDC")


def test_a_plan_with_its_rescues_and_a_verdict_for_everybody() -> None:
    poor, rich = a_subaccount("poor", weth="10", health="1.1"), a_subaccount("rich", weth="40", health="3")
    snapshot = a_snapshot(poor, rich, usd_per_native=None)
    plan = make_plan(snapshot, a_policy(poor, rich), History())
    document = as_read(plan_document(plan, snapshot))
    assert document["lane"] == "routine"
    (rescue,) = document["rescues"]
    assert (rescue["recipient"], rescue["stage"], rescue["lane"]) == ("morpho:poor", "normal", "routine")
    (transfer,) = rescue["transfers"]
    assert (transfer["kind"], transfer["donor"], transfer["symbol"]) == ("native", "morpho:rich", "WETH")
    assert int(transfer["amount_raw"]) == plan.rescues[0].transfers[0].amount_raw
    assert [donor["subaccount"] for donor in rescue["donors"]] == ["morpho:rich"]
    assert document["verdicts"] == {
        "morpho:poor": {"verdict": "Rescue", "reason": "rescue"},
        "morpho:rich": {"verdict": "Healthy", "reason": "healthy"},
    }
    assert document["notes"] == [
        "no USD price for the native coin ([prices] native): whether routine rescues pay for their gas is not judged"
    ]


def test_a_status_names_everything_in_the_snapshots_order() -> None:
    snapshot = a_snapshot(a_subaccount("a", health="1.3"), a_wallet("2"))
    policy = a_policy(*snapshot.subaccounts)
    plan = make_plan(snapshot, policy, History())
    document = as_read(status_document(snapshot, policy, plan, spares(snapshot, policy)))
    assert document["block"] == {
        "chain_id": 31337,
        "number": 100,
        "hash": "0x" + "bb" * 32,
        "timestamp": NOON,
        "base_fee_wei": "0",
    }
    assert [each["id"] for each in document["subaccounts"]] == ["morpho:a", "wallet"]
    assert document["guard"]["address"] == GUARD
    assert document["guard"]["keeper"] == KEEPER
    assert document["guard"]["remaining_cap_raw"] == {WETH.address: "1000000000000000000000000"}
    assert document["keeper_balance_wei"] is None


def test_a_guard_that_cannot_be_used_is_its_problem() -> None:
    assert guard_document(None, "there is none") == {"problem": "there is none"}
    assert guard_document(None, None) is None


def test_a_feed_has_an_age() -> None:
    feed = FeedRound(Address("0x" + "fe" * 20), "ETH/USD", 2_500 * 10**8, 8, NOON - 90, None)
    assert as_read(feed_document(feed, NOON)) == {
        "feed": "0x" + "fe" * 20,
        "name": "ETH/USD",
        "answer": "250000000000",
        "decimals": 8,
        "age_seconds": 90,
        "heartbeat_seconds": None,
    }
    assert feed_document(replace(feed, heartbeat_seconds=3_600), NOON)["heartbeat_seconds"] == 3_600
