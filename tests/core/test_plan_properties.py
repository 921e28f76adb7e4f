"""What holds for every plan, whatever the book: searched for counter-examples rather than shown by example."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.core.plan import History, Plan, Stage
from keeper.core.planner import make_plan
from keeper.core.policy import AccountSettings, Pair, Policy, PolicySettings, resolve
from keeper.core.risk import cushion
from keeper.core.snapshot import Snapshot, Subaccount, Token
from keeper.core.units import WAD
from tests.builders import DAI, USDC, WBTC, WETH, WSTETH, a_snapshot, a_subaccount, a_wallet, after_plan, wad

PAIRS: tuple[tuple[Token, Token, str], ...] = (
    (WETH, USDC, "0.86"),
    (WETH, DAI, "0.77"),
    (WBTC, USDC, "0.86"),
    (WBTC, WETH, "0.86"),
    (WSTETH, WETH, "0.945"),
)
LLTV = {f"{index}": wad(lltv) for index, (_, _, lltv) in enumerate(PAIRS)}

healths = st.one_of(
    st.none(),
    st.integers(9_500, 13_500).map(lambda bps: f"{bps / 10_000:.4f}"),
    st.integers(10_000, 30_000).map(lambda bps: f"{bps / 10_000:.4f}"),
    st.sampled_from(["1", "1.04", "1.08", "1.15", "1.25", "1.3"]),
)
amounts = st.one_of(
    st.integers(1, 100).map(str),
    st.integers(1, 10**9).map(lambda raw: f"{raw / 10**8:.8f}"),
    st.sampled_from(["0", "0.00000001", "1000000"]),
)


@st.composite
def books(draw: st.DrawFn, size_max: int = 6) -> tuple[Subaccount, ...]:
    accounts: list[Subaccount] = []
    for index in range(draw(st.integers(1, size_max))):
        pair = draw(st.integers(0, len(PAIRS) - 1))
        token, debt_token, lltv = PAIRS[pair]
        accounts.append(
            a_subaccount(
                f"{pair}.{index}",
                collateral={token: draw(amounts)},
                debt_token=debt_token,
                health=draw(healths),
                lltv=lltv,
                rate=draw(st.sampled_from(["0", "0.05", "1"])),
                movable=draw(st.sampled_from([None, None, None, "0", "0.5"])),
                penalty_bps=draw(st.sampled_from([262, 438, 1500])),
            )
        )
    if draw(st.booleans()):
        accounts.append(a_wallet(collateral={WETH: draw(amounts), WBTC: draw(amounts)}))
    return tuple(accounts)


def policy_of(book: tuple[Subaccount, ...], last_stand: bool, priorities: tuple[int, ...] = ()) -> Policy:
    pairs = [Pair(account.id, LLTV.get(account.id.key.split(".")[0])) for account in book]
    overrides = {
        str(account.id): AccountSettings(priority=priority) for account, priority in zip(book, priorities, strict=False)
    }
    return resolve(PolicySettings(overrides=overrides, last_stand=last_stand, min_benefit_multiple=0), pairs)


cases = st.tuples(books(), st.booleans(), st.lists(st.integers(0, 1), max_size=6).map(tuple))
CHECKED = settings(max_examples=150, deadline=None)


def planned(case: tuple[tuple[Subaccount, ...], bool, tuple[int, ...]]) -> tuple[Snapshot, Policy, Plan]:
    book, last_stand, priorities = case
    snapshot, policy = a_snapshot(*book), policy_of(book, last_stand, priorities)
    return snapshot, policy, make_plan(snapshot, policy, History())


def inclusion_health(snapshot: Snapshot, policy: Policy, account: Subaccount) -> int:
    return snapshot.subaccount(account.id).margin.risk({}, policy.inclusion).health_factor


@CHECKED
@given(cases)
def test_every_subaccount_gets_a_verdict(case: tuple[tuple[Subaccount, ...], bool, tuple[int, ...]]) -> None:
    snapshot, _, plan = planned(case)
    assert list(plan.verdicts) == [account.id for account in snapshot.subaccounts]


@CHECKED
@given(cases)
def test_no_donor_ends_below_its_limits(case: tuple[tuple[Subaccount, ...], bool, tuple[int, ...]]) -> None:
    snapshot, policy, plan = planned(case)
    result = after_plan(snapshot, plan)
    stage_of = {transfer.donor: rescue.stage for rescue in plan.rescues for transfer in rescue.transfers}
    for rescue in plan.rescues:
        for transfer in rescue.transfers:
            donor = snapshot.subaccount(transfer.donor)
            if not donor.has_debt:
                continue
            thresholds = policy.subaccounts[donor.id].thresholds
            after = inclusion_health(result, policy, donor)
            assert after >= thresholds.hard_floor
            if any(
                transfer.donor == donor.id and other.stage is Stage.LAST_STAND
                for other in plan.rescues
                for transfer in other.transfers
            ):
                continue
            assert stage_of[donor.id] is Stage.NORMAL
            assert after >= thresholds.floor
            shocked = result.subaccount(donor.id).margin.risk(
                {}, policy.inclusion, {donor.collateral[0].token.address: policy.subaccounts[donor.id].shock_bps}
            )
            assert shocked.health_factor >= thresholds.trigger


@CHECKED
@given(cases)
def test_no_rescue_ends_below_survive(case: tuple[tuple[Subaccount, ...], bool, tuple[int, ...]]) -> None:
    snapshot, policy, plan = planned(case)
    result = after_plan(snapshot, plan)
    for rescue in plan.rescues:
        survive = policy.subaccounts[rescue.recipient].thresholds.survive
        assert inclusion_health(result, policy, result.subaccount(rescue.recipient)) >= survive
        assert rescue.min_health_after >= survive


@CHECKED
@given(cases)
def test_no_donor_ends_with_a_smaller_cushion_than_whom_it_saved(
    case: tuple[tuple[Subaccount, ...], bool, tuple[int, ...]],
) -> None:
    _, policy, plan = planned(case)
    for rescue in plan.rescues:
        reached = cushion(rescue.effect.after, policy.subaccounts[rescue.recipient].shock_bps)
        for effect in rescue.donors:
            assert cushion(effect.after, policy.subaccounts[effect.subaccount].shock_bps) >= reached


@CHECKED
@given(cases)
def test_tokens_are_conserved(case: tuple[tuple[Subaccount, ...], bool, tuple[int, ...]]) -> None:
    snapshot, _, plan = planned(case)
    result = after_plan(snapshot, plan)

    def totals(of: Snapshot) -> dict[str, int]:
        found: dict[str, int] = {}
        for line in (line for account in of.subaccounts for line in account.collateral):
            found[line.token.symbol] = found.get(line.token.symbol, 0) + line.amount_raw
        return found

    assert totals(result) == totals(snapshot)
    assert all(line.amount_raw >= 0 for account in result.subaccounts for line in account.collateral)
    assert all(transfer.amount_raw > 0 for rescue in plan.rescues for transfer in rescue.transfers)


@CHECKED
@given(cases)
def test_nothing_is_moved_through_an_account(case: tuple[tuple[Subaccount, ...], bool, tuple[int, ...]]) -> None:
    _, _, plan = planned(case)
    rescued = [rescue.recipient for rescue in plan.rescues]
    assert len(set(rescued)) == len(rescued)
    for position, rescue in enumerate(plan.rescues):
        assert not {transfer.donor for transfer in rescue.transfers} & set(rescued[: position + 1])


@CHECKED
@given(cases)
def test_planning_from_the_result_plans_nothing(case: tuple[tuple[Subaccount, ...], bool, tuple[int, ...]]) -> None:
    snapshot, policy, plan = planned(case)
    again = make_plan(after_plan(snapshot, plan), policy, History())
    assert again.rescues == ()


@CHECKED
@given(cases)
def test_the_same_inputs_give_the_same_plan(case: tuple[tuple[Subaccount, ...], bool, tuple[int, ...]]) -> None:
    assert planned(case)[2] == planned(case)[2]


@CHECKED
@given(books())
def test_a_healthy_book_plans_nothing(book: tuple[Subaccount, ...]) -> None:
    policy = policy_of(book, last_stand=True)
    healthy = tuple(
        account
        for account in book
        if account.margin.risk({}, policy.inclusion).health_factor >= policy.subaccounts[account.id].thresholds.trigger
    )
    assert make_plan(a_snapshot(*healthy), policy, History()).rescues == ()


@CHECKED
@given(books(size_max=4), amounts)
def test_adding_a_donor_never_saves_fewer(book: tuple[Subaccount, ...], amount: str) -> None:
    """Of equal rank: losses are taken equal, so that the number is what counts."""
    book = tuple(replace(account, penalty_bps=0) for account in book)
    newcomer = a_subaccount("0.new", weth=amount)
    policy = policy_of((*book, newcomer), last_stand=False)
    without = make_plan(a_snapshot(*book), policy, History())
    joined = make_plan(a_snapshot(*book, newcomer), policy, History())
    assert len(joined.rescues) >= len(without.rescues)


@CHECKED
@given(cases)
def test_zero_prices_and_dust_do_not_break_a_plan(case: tuple[tuple[Subaccount, ...], bool, tuple[int, ...]]) -> None:
    book, last_stand, priorities = case
    worthless = tuple(
        a_subaccount(account.id.key, weth="1", prices={WETH: "0"}, debt="1") if index == 0 else account
        for index, account in enumerate(book)
    )
    snapshot, policy = a_snapshot(*worthless), policy_of(worthless, last_stand, priorities)
    plan = make_plan(snapshot, policy, History())
    assert all(rescue.recipient != worthless[0].id for rescue in plan.rescues)
    assert WAD not in {transfer.amount_raw for rescue in plan.rescues for transfer in rescue.transfers} or plan.rescues
