"""Which routine rescues pay for their gas, and which wait for company."""

import pytest

from keeper.core import verdict
from keeper.core.data_fee import NO_DATA_FEE, DataFee
from keeper.core.plan import History, Plan
from keeper.core.planner import make_plan
from keeper.core.snapshot import Subaccount, SubaccountId
from tests.builders import NOON, a_policy, a_snapshot, a_subaccount, a_wallet

A, B = SubaccountId("morpho", "a"), SubaccountId("morpho", "b")
GWEI = 10**9


def plan_for(
    *book: Subaccount, gwei: int = 100, timestamp: int = NOON, since: int | None = None, data_fee: DataFee = NO_DATA_FEE
) -> Plan:
    """At 100 gwei a batch's own 30,000 gas cost 6 USD."""
    history = History(gas_price_wei=gwei * GWEI, waiting_since={} if since is None else {A: since}, data_fee=data_fee)
    return make_plan(a_snapshot(*book, timestamp=timestamp), a_policy(*book), history)


def in_need(health: str = "1.149", weth: str = "170") -> Subaccount:
    """A liquidation takes 12,700 USD of it; in five minutes there is at most a chance of one in ten thousand."""
    return a_subaccount("a", weth=weth, health=health)


def near_its_trigger(health: str = "1.1501") -> Subaccount:
    return a_subaccount("b", health=health)


def test_a_rescue_waits_for_another_that_is_likely_within_minutes() -> None:
    plan = plan_for(in_need(), near_its_trigger(), a_wallet("1000"))
    assert plan.verdicts[A] == verdict.Waiting(NOON + 300)
    assert plan.rescues == ()


@pytest.mark.parametrize(
    "book",
    [
        (in_need(), a_wallet("1000")),
        (in_need(), near_its_trigger("1.2"), a_wallet("1000")),
        (in_need("1.07"), near_its_trigger(), a_wallet("1000")),
        (in_need(weth="1000"), near_its_trigger(), a_wallet("1000")),
    ],
    ids=["nobody may join", "nobody is near", "it is critical", "too much is at stake"],
)
def test_a_rescue_does_not_wait_in_vain_or_in_danger(book: tuple[Subaccount, ...]) -> None:
    assert plan_for(*book).verdicts[A] == verdict.Rescue()


def test_a_cheap_batch_waits_for_nobody() -> None:
    assert plan_for(in_need(), near_its_trigger(), a_wallet("1000"), gwei=1).verdicts[A] == verdict.Rescue()


@pytest.mark.parametrize(("seconds", "waits"), [(60, True), (299, False), (300, False), (301, False)])
def test_it_waits_for_five_minutes_at_most(seconds: int, waits: bool) -> None:
    """With a second left nobody is likely to come any more."""
    plan = plan_for(in_need(), near_its_trigger(), a_wallet("1000"), timestamp=NOON + seconds, since=NOON)
    assert plan.verdicts[A] == (verdict.Waiting(NOON + 300) if waits else verdict.Rescue())


def test_without_a_price_of_gas_nothing_waits() -> None:
    book = (in_need(), near_its_trigger(), a_wallet("1000"))
    plan = make_plan(a_snapshot(*book, usd_per_native=None), a_policy(*book), History(gas_price_wei=100 * GWEI))
    assert plan.verdicts[A] == verdict.Rescue()


def test_rescues_in_one_batch_share_its_own_cost() -> None:
    """Alone each would pay for 30,000 gas more than what it adds; of three each pays for a third."""
    three = [a_subaccount(key, weth="0.85", health="1.12") for key in "abc"]
    alone = plan_for(three[0], a_wallet("1000"), gwei=2)
    together = plan_for(*three, a_wallet("1000"), gwei=2)
    costs = [found.cost_usd for found in alone.verdicts.values() if isinstance(found, verdict.Uneconomic)]
    shared = [found.cost_usd for found in together.verdicts.values() if isinstance(found, verdict.Uneconomic)]
    assert (costs, shared) == ([76 * 10**16], [68 * 10**16] * 3)


def test_the_bytes_of_a_rescue_have_to_pay_on_a_rollup() -> None:
    """604 bytes at 0.001 ETH a kilobyte are 1.208 USD on top of what gas costs."""
    book = (a_subaccount("a", weth="0.85", health="1.12"), a_wallet("1000"))
    costs = [
        found.cost_usd
        for data_fee in (NO_DATA_FEE, DataFee(wei_per_kilobyte=10**15))
        for found in plan_for(*book, gwei=2, data_fee=data_fee).verdicts.values()
        if isinstance(found, verdict.Uneconomic)
    ]
    assert costs == [76 * 10**16, 76 * 10**16 + 1_208 * 10**15]
