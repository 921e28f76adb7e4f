"""Decides: one verdict for every subaccount, and the rescues of this cycle.

`make_plan` is pure, deterministic and bounded by counts, never by a clock:

1. Who is in need, and who cannot be helped and why.
2. Who gets what (`keeper.core.triage`), in order of priority, then of the loss at stake, and from whom.
3. Every rescue is assessed once more with exact arithmetic in execution order. A routine one that does not pay for its
   gas is left out and the rest planned anew; what pays may wait for company (`keeper.core.worth`).

Thresholds are those of the moment (`keeper.core.urgency`). Widened ones build buffers early, and hold as long as nobody
is worse off for it: when the owner's own would rescue somebody whom they leave, the owner's own hold.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from keeper.core import economics, verdict
from keeper.core.book import Account, Book
from keeper.core.disputes import as_judged, disputes_in, distrust
from keeper.core.forms import across_protocols
from keeper.core.plan import Dispute, Effect, History, InFlight, Lane, Plan, Rescue, Stage, Urgency
from keeper.core.policy import Policy, Thresholds, enforced
from keeper.core.remedy import health_text, remedy
from keeper.core.snapshot import NOTHING, GuardState, Snapshot, Subaccount, SubaccountId, Unknown
from keeper.core.triage import Funding, Need, Run, Triage
from keeper.core.units import BPS, WAD, Address, Wad, mul_div_down
from keeper.core.urgency import limits_now, soon_seconds, volatility_of, widenings
from keeper.core.verdict import Verdict
from keeper.core.worth import NOT_JUDGED, uneconomic, waiting

RESCUES_PER_BATCH_MAX = 16
"""MAX_RESCUES of the guard: more would not fit into a block's gas on every chain."""


FALL_SINCE_RESCUE_BPS = 100
"""An account that lost a hundredth of its health since it was rescued does not cool down any longer."""


def make_plan(snapshot: Snapshot, policy: Policy, history: History) -> Plan:
    """The rescues to send now and a verdict for every subaccount of the snapshot."""
    plan = _planned(_Planning(snapshot, policy, history, is_widened=True), history.in_flight)
    if not plan.is_widened or all(_is_served(decided) for decided in plan.verdicts.values()):
        return plan
    own = _planned(_Planning(snapshot, policy, history, is_widened=False), history.in_flight)
    is_better = {rescue.recipient for rescue in own.rescues} - {rescue.recipient for rescue in plan.rescues}
    return own if is_better else plan


def _is_served(decided: Verdict) -> bool:
    return not isinstance(decided, verdict.Unfunded | verdict.Blocked)


def _planned(planning: "_Planning", in_flight: InFlight | None) -> Plan:
    """With what is on its way: nobody is planned for twice, unless by a batch that takes the other's place."""
    waiting_for = frozenset[SubaccountId]() if in_flight is None else in_flight.recipients
    if in_flight is not None and in_flight.may_be_replaced:
        # A critical batch takes the place of the one in flight, so it must serve that one's recipients too. Planned
        # first: who waits for a batch that is stuck may be all that is critical.
        plan = planning.plan(frozenset())
        takes_its_place = plan.lane is Lane.CRITICAL or (in_flight.is_stuck and in_flight.lane is Lane.ROUTINE)
        if plan.rescues and takes_its_place:
            return plan
    plan = planning.plan(waiting_for)
    if in_flight is not None and plan.rescues and plan.lane is Lane.CRITICAL:
        return planning.plan(frozenset())
    return plan


@dataclass(frozen=True, slots=True)
class _Case:
    """A need with what the verdict and the economics want to know about it."""

    need: Need
    lane: Lane
    loss_usd: Wad | None

    @property
    def id(self) -> SubaccountId:
        return self.need.account.id


class _Planning:
    """One cycle's inputs, and what follows from them for every account."""

    def __init__(
        self,
        snapshot: Snapshot,
        policy: Policy,
        history: History,
        *,
        is_widened: bool,
        by_own_price: frozenset[SubaccountId] = frozenset(),
    ):
        """`by_own_price`: whose disputed prices are taken for their own oracle's after all."""
        self._is_widened = is_widened
        self._by_own_price = by_own_price
        self._snapshot = snapshot
        self._policy = policy
        self._history = history
        self._disputes = disputes_in(snapshot, policy.prices, history)
        units = {subaccount.unit.address for subaccount in snapshot.subaccounts if subaccount.unit is not None}
        usd = {unit: snapshot.usd_per_unit[unit] for unit in units if unit in snapshot.usd_per_unit}
        self._accounts: dict[SubaccountId, Account] = {}
        for subaccount in across_protocols(snapshot.subaccounts):
            if subaccount.id not in policy.subaccounts:
                continue
            limits = limits_now(subaccount, snapshot, policy, history, is_widened=is_widened)
            dispute = self._bounded(self._disputes.get(subaccount.id))
            self._accounts[subaccount.id] = _account(
                subaccount, policy, snapshot.guard, limits, usd if len(usd) == len(units) else {}, dispute
            )
        self._widenings = widenings(snapshot, policy, history) if is_widened else ()
        caps = NOTHING if snapshot.guard is None else snapshot.guard.remaining_cap_raw
        donors = [account for account in self._accounts.values() if self._may_give(account)]
        self._book = Book(donors, caps, policy.inclusion, policy.amount_margin_bps)
        self._triage = Triage(policy.last_stand, policy.amount_margin_bps, policy.donors_order)
        self._notes: list[str] = []

    def plan(self, waiting_for: frozenset[SubaccountId]) -> Plan:
        """The plan, with the subaccounts in `waiting_for` served already by a batch on its way."""
        self._notes = [*self._widenings, *distrust(self._snapshot, self._disputes)]
        verdicts: dict[SubaccountId, Verdict] = {}
        due: list[tuple[Account, Wad]] = []
        for subaccount in self._snapshot.subaccounts:
            found = self._judged(subaccount, waiting_for)
            if isinstance(found, int):
                due.append((self._accounts[subaccount.id], found))
            else:
                verdicts[subaccount.id] = found
        cases = self._ranked(due)
        # Of the same rank or not: who would die cannot wait for the next batch as the others can.
        by_urgency = sorted(cases, key=lambda case: case.need.before >= case.need.account.limits.survive)
        waiting = {case.id for case in by_urgency[RESCUES_PER_BATCH_MAX:]}
        verdicts |= {
            id: verdict.Blocked(f"the batch is full: it holds {RESCUES_PER_BATCH_MAX} rescues, and this one comes next")
            for id in waiting
        }
        rescues = self._decided([case for case in cases if case.id not in waiting], verdicts)
        out_of_reach = self._out_of_reach(verdicts)
        if out_of_reach:
            by_own_price = self._by_own_price | out_of_reach
            inputs = self._snapshot, self._policy, self._history
            return _Planning(*inputs, is_widened=self._is_widened, by_own_price=by_own_price).plan(waiting_for)
        ordered = {subaccount.id: verdicts[subaccount.id] for subaccount in self._snapshot.subaccounts}
        return Plan(self._snapshot.block, rescues, ordered, tuple(self._notes), bool(self._widenings), self._disputes)

    def _bounded(self, dispute: Dispute | None) -> Dispute | None:
        """A dispute as it is judged by: without the worse prices where help is out of reach by them."""
        if dispute is None or dispute.subaccount not in self._by_own_price:
            return dispute
        return replace(dispute, falls_bps=NOTHING)

    def _out_of_reach(self, verdicts: Mapping[SubaccountId, Verdict]) -> frozenset[SubaccountId]:
        """Who cannot be saved by the worse price. Its protocol liquidates by its own oracle's, so what saves it by that
        is not held back."""
        return frozenset(
            id
            for id, dispute in self._disputes.items()
            if dispute.falls_bps and id not in self._by_own_price and isinstance(verdicts.get(id), verdict.Unfunded)
        )

    # Who is in need ---------------------------------------------------------------------------------------------------

    def _judged(self, subaccount: Subaccount, waiting_for: frozenset[SubaccountId]) -> Verdict | Wad:
        """The verdict, or the health at inclusion of one that is due."""
        if isinstance(subaccount.reading, Unknown):
            return verdict.Unknown(subaccount.reading.reason)
        guard = self._snapshot.guard
        if guard is not None and (subaccount.guard_index is None or guard.account(subaccount.guard_index) is None):
            return verdict.NotProtected()
        if subaccount.forced_liquidation is not None:
            # No health helps against it, so none is looked at.
            return verdict.Blocked(subaccount.forced_liquidation)
        account = self._accounts.get(subaccount.id)
        if account is None:
            return verdict.Unknown("no thresholds are known for it yet; they come with the next look at the topology")
        if not subaccount.has_debt:
            return verdict.Healthy()
        health = self._book.health(account)
        if health >= account.limits.target:
            return verdict.Healthy()
        if health >= account.limits.trigger:
            return verdict.Watching()
        if subaccount.id in waiting_for:
            return verdict.Rescue(in_flight=True)
        if subaccount.id in self._disputes and _is_above_ceiling(subaccount, account):
            # In need by the worse price alone, and the guard, which measures by the protocol's own, would refuse.
            return verdict.Watching()
        obstacle = self._obstacle(subaccount, account, guard)
        if obstacle is not None:
            return verdict.Watching() if self._is_early(account, health) else verdict.Blocked(obstacle)
        until = self._cooling_until(account, health)
        return health if until is None else verdict.CoolingDown(until)

    def _cooling_until(self, account: Account, health: Wad) -> int | None:
        """When a routine rescue may follow the last one, if not yet.

        Only one that ended its need is followed by a cooldown, and only as long as nothing got worse: who got too
        little, or fell since, waits for nothing.
        """
        last = self._history.last_rescues.get(account.id)
        if last is None or health < account.limits.critical or last.health_after < account.limits.trigger:
            return None
        if health * BPS < last.health_after * (BPS - FALL_SINCE_RESCUE_BPS):
            return None
        until = last.at + self._policy.cooldown_seconds
        return until if until > self._snapshot.block.timestamp else None

    def _obstacle(self, subaccount: Subaccount, account: Account, guard: GuardState | None) -> str | None:
        """What forbids to put anything into an account that is due."""
        if guard is None:
            return self._snapshot.guard_problem or "no guard is configured; run `keeper setup`"
        if guard.is_paused:
            return "the guard is paused; only its owner can unpause it"
        if subaccount.cannot_receive is not None:
            return subaccount.cannot_receive
        if _is_above_ceiling(subaccount, account):
            now = subaccount.margin.risk().health_factor
            return (
                f"the guard puts nothing into it from its rescue ceiling {health_text(account.limits.rescue_ceiling)} "
                f"upwards, and its health is {health_text(now)}; the owner should raise the ceiling above the trigger"
            )
        if economics.equity(subaccount) <= 0:
            return (
                "its collateral is worth no more than its debt, so what is moved in would pay the lenders' loss; repay "
                "or add to it by hand if you want it saved all the same"
            )
        tokens = [way.token for way in account.ways if not way.is_repayment or way.token.address in self._book.donors]
        if tokens and not any(guard.remaining_cap_raw.get(token.address) for token in tokens):
            symbols = ", ".join(token.symbol for token in tokens)
            if all(token.address not in guard.remaining_cap_raw for token in tokens):
                return (
                    f"the guard has no cap for {symbols}, so nothing of it may move; the owner has to set one (setCaps)"
                )
            return f"the guard's cap for {symbols} is used up in this window; wait, or let the owner raise it"
        return None

    def _may_give(self, account: Account) -> bool:
        """Whether anything may leave it at all; its margin is another question."""
        subaccount, guard = account.subaccount, self._snapshot.guard
        return (
            guard is not None
            and subaccount.guard_index is not None
            and guard.account(subaccount.guard_index) is not None
            and subaccount.cannot_give is None
            and not account.settings.never_donate
            and not isinstance(subaccount.reading, Unknown)
            and not (subaccount.has_debt and (self._history.protect_only or self._snapshot.sequencer_problem))
        )

    def _ranked(self, due: Sequence[tuple[Account, Wad]]) -> list[_Case]:
        """By priority, then by the loss at stake: in USD when all of them have a price, else relative to themselves."""
        usd = {account.id: economics.loss_usd(self._snapshot, account.subaccount) for account, _ in due}
        missing = sorted(str(id) for id, loss in usd.items() if loss is None)
        if missing:
            self._notes.append(f"no USD price for the debt of {', '.join(missing)}: losses are compared relatively")
        cases: list[_Case] = []
        for account, health in due:
            loss = usd[account.id]
            rank = _relative_loss(self._book, account) if missing or loss is None else loss
            is_critical = health < account.limits.critical
            need = Need(account, is_critical, health, rank)
            cases.append(_Case(need, Lane.CRITICAL if is_critical else Lane.ROUTINE, loss))
        return sorted(cases, key=lambda case: (-case.need.account.settings.priority, -case.need.loss, case.id))

    # Who gets what ----------------------------------------------------------------------------------------------------

    def _decided(self, cases: Sequence[_Case], verdicts: dict[SubaccountId, Verdict]) -> tuple[Rescue, ...]:
        """The rescues for these cases; writes the verdict of each of them."""
        left = list(cases)
        while True:
            run = self._triage.decide(self._book, [case.need for case in left])
            rescues: list[Rescue] = []
            book = self._book.fork()
            by_id = {case.id: case for case in left}
            verdicts |= {case.id: self._left(case, run) for case in left if case.id not in run.funded}
            for id, funding in run.funded.items():
                case = by_id[id]
                assessed, book = self._assessed(book, case, funding)
                if isinstance(assessed, Rescue):
                    verdicts[case.id] = verdict.Rescue()
                    rescues.append(assessed)
                else:
                    verdicts[case.id] = assessed
            if rescues and self._snapshot.usd_per_native is None:
                self._note(NOT_JUDGED)
            market = self._snapshot, self._policy, self._history
            dropped = uneconomic(rescues, *market)
            if not dropped:
                put_off = waiting(rescues, self._watched(verdicts), *market)
                verdicts |= put_off
                return () if put_off else tuple(rescues)
            verdicts |= dropped
            left = [case for case in left if case.id not in dropped]

    def _assessed(self, book: Book, case: _Case, funding: Funding) -> tuple[Rescue | verdict.Blocked, Book]:
        """The rescue as it will be after those before it, or what is wrong with it, and the book after it."""
        recipient = case.need.account
        after = book.fork()
        for transfer in funding.transfers:
            after.move(transfer)
        effect = _effect(book, after, recipient)
        donors = [self._accounts[id] for id in dict.fromkeys(transfer.donor for transfer in funding.transfers)]
        indebted = [donor for donor in donors if donor.has_debt]
        effects = tuple(_effect(book, after, donor) for donor in indebted)
        problem = None
        if effect.after < recipient.limits.survive:
            problem = f"it would end at {health_text(effect.after)}, below {health_text(recipient.limits.survive)}"
        reached = recipient.cushion(effect.after)
        for donor, donor_effect in zip(indebted, effects, strict=True):
            least = donor.limits.hard_floor if funding.stage is Stage.LAST_STAND else donor.limits.floor
            if donor_effect.after < least or not after.risk(donor).lets_collateral_leave:
                problem = (
                    f"{donor.id} would end at {health_text(donor_effect.after)} and must keep {health_text(least)}"
                )
            elif donor.cushion(donor_effect.after) < reached:
                problem = f"{donor.id} would end with a smaller cushion than the account that it saves"
        if problem is not None:
            return verdict.Blocked(f"its rescue fails the exact check: {problem}"), book
        # Prices may fall by a whole shock on the way: what then still survives is better than nothing.
        min_health_after = max(
            mul_div_down(min(effect.after_shock, effect.after), BPS - self._policy.amount_margin_bps, BPS),
            recipient.limits.survive,
        )
        rescue = Rescue(
            recipient.id,
            funding.transfers,
            funding.stage,
            case.lane,
            min_health_after,
            effect,
            effects,
            case.loss_usd,
            Urgency(
                volatility_of(recipient.subaccount, self._policy, self._history).bps,
                recipient.limits.trigger,
                soon_seconds(self._policy, self._history, self._snapshot.block),
            ),
        )
        return rescue, after

    def _left(self, case: _Case, run: Run) -> Verdict:
        """The verdict of who gets nothing."""
        account = case.need.account
        if self._is_early(account, case.need.before):
            return verdict.Watching()
        unit = account.subaccount.unit
        usd = None if unit is None else self._snapshot.usd_per_unit.get(unit.address)
        return remedy(self._book, account, run.reachable.get(account.id, case.need.before), usd)

    def _is_early(self, account: Account, health: Wad) -> bool:
        """Whether it is due only because its trigger is widened."""
        own = enforced(account.settings.thresholds, self._snapshot.guard, account.subaccount.guard_index)
        return health >= max(own.trigger, account.limits.critical)

    def _watched(self, verdicts: Mapping[SubaccountId, Verdict]) -> Iterator[tuple[SubaccountId, Wad, Wad]]:
        for id, decided in verdicts.items():
            if isinstance(decided, verdict.Watching):
                account = self._accounts[id]
                yield id, self._book.health(account), account.limits.trigger

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)


def _account(
    subaccount: Subaccount,
    policy: Policy,
    guard: GuardState | None,
    limits: Thresholds,
    usd_per_unit: Mapping[Address, Wad],
    dispute: Dispute | None,
) -> Account:
    settings, index = policy.subaccounts[subaccount.id], subaccount.guard_index
    enrolled = None if guard is None or index is None else guard.account(index)
    judged, limits = as_judged(subaccount, limits, dispute)
    return Account(
        judged,
        settings,
        limits,
        shock(subaccount, settings.shock_bps),
        frozenset[Address]() if enrolled is None else frozenset(enrolled.assets),
        WAD if subaccount.unit is None else usd_per_unit.get(subaccount.unit.address, WAD),
    )


def _is_above_ceiling(subaccount: Subaccount, account: Account) -> bool:
    """Whether the guard puts nothing into it, by the protocol's own price."""
    return subaccount.margin.risk().is_at_least(account.limits.rescue_ceiling)


def shock(subaccount: Subaccount, shock_bps: int) -> dict[Address, int]:
    """The fall that an account is tested against: of each token that it has more of than it owes.

    A price is one for both sides, so a fall of what it owes more of would only make it look better.
    """
    return dict.fromkeys(subaccount.net_held, shock_bps)


def _effect(before: Book, after: Book, account: Account) -> Effect:
    shocked = after.risk(account, is_shocked=True).health_factor
    return Effect(account.id, before.health(account), after.health(account), shocked)


def _relative_loss(book: Book, account: Account) -> int:
    """The share of its collateral that a liquidation takes, WAD: the penalty on the debt over the collateral."""
    risk = book.risk(account)
    if risk.collateral_value == 0:
        return 0
    taken_bps = economics.taken_share_bps(account.subaccount, min(risk.health_factor, WAD))
    return taken_bps * WAD * risk.debt_value // (BPS * risk.collateral_value)
