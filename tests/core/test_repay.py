"""A rescue by repaying: what is owed is worth less than the collateral that would do the same.

10 WETH at 2000 that count for 86 % and a health of 1.1 owe 15,636.36 USDC. To the target of 1.25 are missing 1.3636
WETH, which are worth 2,727, or a repayment of 1,876.36 USDC: 15,636.36 - 17,200 / 1.25. Interest until inclusion is
left out.
"""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from keeper.core.book import Account, Book
from keeper.core.imagined import after_transfers
from keeper.core.plan import History, Kind, Plan, Rescue, Transfer
from keeper.core.planner import make_plan
from keeper.core.snapshot import NOTHING, Snapshot, Subaccount, SubaccountId, Token
from keeper.core.verdict import Unfunded
from tests.builders import DAI, USDC, WBTC, WETH, a_policy, a_snapshot, a_subaccount, a_wallet, after_plan, raw, wad

NEEDY = a_subaccount("needy", health="1.1")


def planned(*book: Subaccount, caps: Mapping[Token, str] | None = None) -> tuple[Snapshot, Plan]:
    snapshot = a_snapshot(*book, caps=caps)
    policy = a_policy(*book, min_benefit_multiple=0, inclusion_seconds=0)
    return snapshot, make_plan(snapshot, policy, History())


def moves(rescue: Rescue) -> list[tuple[str, str, str, int]]:
    """Kind, donor, symbol and hundredths of a token."""
    return [
        (
            each.kind.name,
            each.donor.key or "wallet",
            each.token.symbol,
            each.amount_raw * 100 // 10**each.token.decimals,
        )
        for each in rescue.transfers
    ]


def only_rescue(*book: Subaccount, caps: Mapping[Token, str] | None = None) -> list[tuple[str, str, str, int]]:
    (rescue,) = planned(*book, caps=caps)[1].rescues
    return moves(rescue)


def usdc(amount: str, key: str = "usdc") -> Subaccount:
    """An account that was supplied with USDC and owes nothing."""
    return a_subaccount(key, collateral={USDC: amount}, debt_token=DAI)


def test_a_debt_token_in_the_wallet_repays_the_debt() -> None:
    snapshot, plan = planned(NEEDY, a_wallet(collateral={USDC: "5000"}))
    (rescue,) = plan.rescues
    assert moves(rescue) == [("REPAY", "wallet", "USDC", 187_636)]
    after = after_plan(snapshot, plan)
    assert wad("1.25") <= after.subaccount(NEEDY.id).margin.risk().health_factor < wad("1.2500001")
    assert after.subaccount(NEEDY.id).debts[0].amount_raw == raw(USDC, "13760")
    assert after.subaccount(NEEDY.id).collateral == NEEDY.collateral


def test_repaying_is_preferred_to_collateral_that_is_worth_more() -> None:
    assert only_rescue(NEEDY, a_wallet(collateral={WETH: "5", USDC: "5000"})) == [("REPAY", "wallet", "USDC", 187_636)]


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ("100", [("CROSS", "wallet", "WETH", 136)]),  # one transfer of WETH is cheaper than two
        ("1850", [("CROSS", "wallet", "WETH", 136)]),
        ("1876", [("REPAY", "wallet", "USDC", 187_600)]),  # what is missing is less than a hundredth
        ("1876.37", [("REPAY", "wallet", "USDC", 187_636)]),
        ("1900", [("REPAY", "wallet", "USDC", 187_636)]),
    ],
)
def test_a_debt_token_that_is_not_enough_is_left_where_collateral_is(
    held: str, expected: list[tuple[str, str, str, int]]
) -> None:
    assert only_rescue(NEEDY, a_wallet(collateral={WETH: "5", USDC: held})) == expected


def test_what_a_repayment_leaves_missing_is_made_up_by_collateral() -> None:
    """938.18 USDC are half of it, 0.6818 WETH the other half."""
    wallet = a_wallet(collateral={WETH: "1", USDC: "938.18"})
    assert only_rescue(NEEDY, wallet) == [("REPAY", "wallet", "USDC", 93_818), ("CROSS", "wallet", "WETH", 68)]


def test_a_debt_token_that_is_supplied_elsewhere_repays_too() -> None:
    assert only_rescue(NEEDY, usdc("5000")) == [("REPAY", "usdc", "USDC", 187_636)]


@pytest.mark.parametrize(
    ("health", "floor_left"),
    [("1.5", "1.3"), ("1.31", None)],  # the latter could give 0.8 % of its collateral above its floor: too little
)
def test_a_donor_with_debt_keeps_its_floor_when_it_repays(health: str, floor_left: str | None) -> None:
    indebted = a_subaccount("donor", collateral={USDC: "10000"}, debt_token=DAI, health=health)
    snapshot, plan = planned(NEEDY, indebted)
    if floor_left is None:
        assert isinstance(plan.verdicts[NEEDY.id], Unfunded)
        return
    (rescue,) = plan.rescues
    assert rescue.transfers[0].kind is Kind.REPAY
    left = after_plan(snapshot, plan).subaccount(indebted.id).margin.risk().health_factor
    assert wad(floor_left) <= left < wad("1.31")


def test_the_cap_of_the_debt_token_limits_what_is_repaid() -> None:
    """1,000 USDC bring it to 1.1752, above the trigger: 17,200 / 14,636.36."""
    book = NEEDY, a_wallet(collateral={USDC: "5000"})
    assert only_rescue(*book, caps={USDC: "1000"}) == [("REPAY", "wallet", "USDC", 100_000)]
    assert only_rescue(*book, caps={USDC: "1876.37"}) == [("REPAY", "wallet", "USDC", 187_636)]


def test_a_debt_that_the_guard_does_not_know_is_not_repaid() -> None:
    snapshot, _ = planned(NEEDY, a_wallet(collateral={USDC: "5000"}))
    assert snapshot.guard is not None
    first, *others = snapshot.guard.accounts
    guard = replace(snapshot.guard, accounts=(replace(first, assets=(WETH.address,)), *others))
    plan = make_plan(replace(snapshot, guard=guard), a_policy(*snapshot.subaccounts), History())
    assert plan.rescues == ()


def test_planning_on_the_result_of_a_repayment_plans_nothing() -> None:
    snapshot, plan = planned(NEEDY, usdc("700"), a_wallet(collateral={USDC: "900"}))
    assert plan.rescues
    after = after_plan(snapshot, plan)
    policy = a_policy(*after.subaccounts, min_benefit_multiple=0, inclusion_seconds=0)
    assert make_plan(after, policy, History()).rescues == ()


def test_a_token_that_is_collateral_and_debt_counts_apart() -> None:
    """5 WETH more as collateral are not 5 WETH less of debt: 1.6 WETH of 10 are repaid, none is added."""
    both = a_subaccount("both", collateral={WETH: "2", WBTC: "0.4"}, debt_token=WETH, health="1.1")
    snapshot, plan = planned(both, a_wallet("5"))
    (rescue,) = plan.rescues
    assert [each.kind for each in rescue.transfers] == [Kind.REPAY]
    after = after_transfers(snapshot, rescue.transfers).subaccount(both.id)
    assert after.line(WETH.address) == both.line(WETH.address)
    assert after.debts[0].amount_raw == both.debts[0].amount_raw - rescue.transfers[0].amount_raw


def test_a_last_stand_repays_from_a_donor_with_debt() -> None:
    """1.01 and 1.2 share what is between them; both live."""
    dying = a_subaccount("dying", health="1.01")
    donor = a_subaccount("donor", collateral={USDC: "20000"}, debt_token=DAI, health="1.2")
    snapshot, plan = planned(dying, donor)
    (rescue,) = plan.rescues
    assert [(each.kind, each.token) for each in rescue.transfers] == [(Kind.REPAY, USDC)]
    after = after_plan(snapshot, plan)
    saved, gave = (after.subaccount(id).margin.risk().health_factor for id in (dying.id, donor.id))
    assert wad("1.09") < saved <= gave < wad("1.12")


@pytest.mark.parametrize(("cap", "room"), [("14849", "14849"), ("14850", "14850"), ("20000", "14850")])
def test_a_hundredth_of_a_debt_is_never_repaid(cap: str, room: str) -> None:
    """Of 15,000 USDC."""
    owing = a_subaccount("owing", debt="15000")
    settings = a_policy(owing).subaccounts[owing.id]
    account = Account(owing, settings, settings.thresholds, NOTHING, frozenset({USDC.address}))
    book = Book((), {USDC.address: raw(USDC, cap)}, a_policy().inclusion, 1)
    repaying = account.ways[-1]
    assert repaying.is_repayment
    assert book.room(account, repaying) == raw(USDC, room)
    book.move(Transfer(Kind.REPAY, SubaccountId("wallet"), owing.id, USDC, raw(USDC, "14000")))
    assert book.room(account, repaying) == raw(USDC, room) - raw(USDC, "14000")
