"""Who gets what when several are in need.

In order of rank everybody is brought to its target. When that leaves somebody worse off than it would be alone, donors
are contested. Then those are chosen whose saving is worth most (some are left out if need be), all of them are brought
to one common cushion as high as the donors allow, and what is left over goes out in order of rank again. The better of
both results wins, the first on a tie: loss avoided in the highest priority tier, then in the next, then how many live,
then the smallest cushion, then the next smallest. Last, the sources are chosen anew for the least cost
(`keeper.core.sourcing`), all healths as they are: donors, and which collateral comes or which debt is repaid.

The objective in full, each only among what is equal in those before it:

    1. per tier, from the highest: the sum of loss(j) over all j in need that end at or above survive(j)
    2. the number of those
    3. the sorted cushions min(cushion(j), cushion at trigger(j)), in steps of CUSHION_STEP, smallest first
    4. donors_order = "debt-free first": the least capital from donors with debt; "least gas": left out
    5. the least gas
    6. the least capital: a repayment takes (target debt - collateral) / target, less than any collateral
    7. the highest lowest health of a donor with debt after its own shock, in buckets of 100 bp
    8. the lowest ids

3 stands before cost because rescues that end at `survive` for the sake of some gas are made again at the next fall.

A pure function of the book; bounded by the counts below.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from keeper.core.book import Account, Book
from keeper.core.demands import Served
from keeper.core.plan import Stage, Transfer
from keeper.core.policy import DonorsOrder
from keeper.core.risk import health_at_cushion
from keeper.core.selection import Dying, worth_most
from keeper.core.snapshot import SubaccountId
from keeper.core.sourcing import cheapest
from keeper.core.stages import TRANSFERS_PER_RESCUE_MAX, Draft, last_stand, normal
from keeper.core.units import WAD, Address, Wad

CUSHION_GAIN_MIN = WAD // 10
"""A rescue of an account that is not about to die, and that ends below its trigger, must be worth a tenth of its shock:
else the same crumbs would move every cycle."""
SHARED_GAIN_MIN = WAD // 5
"""As much again when the donor gives up as much: else two accounts would pass the same collateral to and fro."""
CUSHION_STEP = WAD // 100
"""Cushions that differ by less are taken for equal: when two results are compared, and when something is left over."""
LEVELS = 64
"""How finely the common cushion is looked for, from nothing to the largest target."""
SUBSETS_OF_MAX = 4
"""Up to so many in need, every subset is tried; with more, the best of those that would die, and leaving out one."""
TOP_UPS = 2
ROUNDINGS_SHARE = 100
"""Rounding up, rescues take no more than a hundredth more than they need."""


@dataclass(frozen=True, slots=True)
class Need:
    """An account below its trigger that may be helped."""

    account: Account
    is_critical: bool
    before: Wad
    loss: int
    """What its liquidation takes, in one measure for all: USD (WAD), or relative to its collateral (WAD)."""

    def goal(self, cushion: Wad) -> Wad:
        """The health to bring it to for a cushion: no less than what saves it, no more than its target.

        One that is not critical and has that cushion needs nothing; if it gets something, then enough to end its need.
        """
        limits = self.account.limits
        wanted = health_at_cushion(cushion, self.account.settings.shock_bps)
        if not self.is_critical and wanted <= self.before:
            return self.before
        least = limits.survive if self.is_critical else max(limits.trigger, limits.survive)
        return min(max(wanted, least), limits.target)


@dataclass(frozen=True, slots=True)
class Funding:
    transfers: tuple[Transfer, ...]
    stage: Stage


@dataclass(slots=True)
class Run:
    """One way to serve the needs; what is funded is in order of execution."""

    book: Book
    funded: dict[SubaccountId, Funding] = field(default_factory=dict[SubaccountId, Funding])
    reachable: dict[SubaccountId, Wad] = field(default_factory=dict[SubaccountId, Wad])
    """The health that was within reach of those who got nothing."""

    def copy(self) -> "Run":
        # A book in a run is never moved in; serving puts another one in its place.
        return Run(self.book, dict(self.funded), dict(self.reachable))


@dataclass(frozen=True, slots=True)
class Triage:
    """How needs are served: the rules that hold for every account alike."""

    may_last_stand: bool
    margin_bps: int
    donors_order: DonorsOrder

    def decide(self, book: Book, needs: Sequence[Need]) -> Run:
        """Serves the needs, which come in order of rank, from a book without moves.

        Needs that no token connects do not compete for donors and are decided apart.
        """
        run = Run(book.asked(_most_taken(book, needs)))
        for group in _connected(book, needs):
            part = self._decide_group(run.book, group)
            run = Run(part.book, run.funded | part.funded, run.reachable | part.reachable)
        return run

    def _decide_group(self, book: Book, needs: Sequence[Need]) -> Run:
        top = max((need.account.cushion(need.account.limits.target) for need in needs), default=0)
        plain = self._topped_up(book, self._run(book, needs, top), needs, top)
        if not any(self._is_contested(book, plain, need, top) for need in needs):
            return self._sourced(book, plain, needs)
        saved = self._worth_saving(book, needs)
        level = self._common_cushion(book, saved, top)
        levelled = self._topped_up(book, self._run(book, saved, level), needs, top)
        return self._sourced(book, max(plain, levelled, key=lambda run: _worth(run, needs)), needs)

    # Contested donors -------------------------------------------------------------------------------------------------

    def _is_contested(self, book: Book, run: Run, need: Need, top: Wad) -> bool:
        """Whether it is worse off than if it were alone, by a threshold at least."""
        limits = need.account.limits
        thresholds = (limits.survive, limits.critical, limits.trigger)

        def passed(one: Run) -> int:
            health = one.book.health(need.account)
            return sum(health >= threshold for threshold in thresholds)

        reached = passed(run)
        return reached < len(thresholds) and passed(self._run(book, [need], top)) > reached

    def _worth_saving(self, book: Book, needs: Sequence[Need]) -> list[Need]:
        """The needs, in order of rank, that are worth most when everybody gets no more than what saves it."""
        # The run as it was before each need, and at its end.
        steps = [Run(book.fork())]
        for need in needs:
            steps.append(steps[-1].copy())
            self._serve(steps[-1], need, need.goal(0))
        best, saved = steps[-1], list(needs)
        if all(_is_alive(best, need) for need in needs):
            return saved
        # Without somebody who got nothing anyway everything stays as it is.
        served = [need for need in needs if need.account.id in best.funded]
        for left_out in self._exclusions(book, needs):
            if not any(need in served for need in left_out):
                continue
            rest = [need for need in needs if need not in left_out]
            first = needs.index(left_out[0])
            run = steps[first].copy()
            for need in rest[first:]:
                self._serve(run, need, need.goal(0))
            if _worth(run, needs) > _worth(best, needs):
                best, saved = run, rest
        return [need for need in saved if _is_alive(best, need)]

    def _exclusions(self, book: Book, needs: Sequence[Need]) -> Iterable[tuple[Need, ...]]:
        if len(needs) <= SUBSETS_OF_MAX:
            return itertools.chain.from_iterable(itertools.combinations(needs, count) for count in range(1, len(needs)))
        dying = [
            Dying(need.account, need.account.settings.priority, need.loss)
            for need in needs
            if need.before < need.account.limits.survive
        ]
        saved = worth_most(book, dying, is_last_stand=self.may_last_stand)
        lost = {one.account.id for one in dying} - saved
        proposed = [tuple(need for need in needs if need.account.id in lost)] if lost else []
        return itertools.chain(proposed, itertools.combinations(needs, 1))

    def _common_cushion(self, book: Book, saved: Sequence[Need], top: Wad) -> Wad:
        """The largest cushion to which all of them can be brought, in steps."""
        low, high = 0, LEVELS
        while high - low > 1:
            middle = (low + high) // 2
            level = top * middle // LEVELS
            low, high = (middle, high) if self._is_reached(book, saved, level) else (low, middle)
        return top * low // LEVELS

    def _is_reached(self, book: Book, saved: Sequence[Need], level: Wad) -> bool:
        """Whether all of them get to their goal for a cushion, and keep it when others are served."""
        run = Run(book.fork())
        for need in saved:
            goal = need.goal(level)
            self._serve(run, need, goal)
            if run.book.health(need.account) < goal:
                return False
        return all(run.book.health(need.account) >= need.goal(level) for need in saved)

    # One way ----------------------------------------------------------------------------------------------------------

    def _run(self, book: Book, needs: Iterable[Need], cushion: Wad) -> Run:
        run = Run(book.fork())
        for need in needs:
            self._serve(run, need, need.goal(cushion))
        return run

    def _topped_up(self, start: Book, run: Run, needs: Sequence[Need], top: Wad) -> Run:
        """With what is left given out in order of rank, as the next cycle would: else it would move it then.

        Whoever only got crumbs gives them back, the last in rank first, as long as there is one.
        """
        served = list(needs)
        while True:
            for _ in range(TOP_UPS):
                before = dict(run.funded)
                for need in served:
                    if run.book.health(need.account) < need.account.limits.trigger:
                        self._serve(run, need, need.goal(top))
                if run.funded == before:
                    break
            crumbs = [need for need in served if need.account.id in run.funded and not _is_worthwhile(run, need)]
            if not crumbs:
                return run
            served.remove(crumbs[-1])
            run = _without(run, crumbs[-1], start)

    def _serve(self, run: Run, need: Need, goal: Wad) -> None:
        """Adds what brings an account to a goal, or as near as is worth it, or nothing."""
        account = need.account
        before = run.book.health(account)
        if before >= goal or account.id in run.book.given:
            return
        earlier = run.funded.get(account.id)
        draft = self._draft(run.book, account, before, goal, earlier)
        if not _is_of_use(need, draft):
            if earlier is None:
                run.reachable[account.id] = draft.health_after
            return
        trial = run.book.fork()
        for transfer in draft.transfers:
            trial.move(transfer)
        if earlier is not None:
            is_dust = account.cushion(draft.health_after) - account.cushion(before) < CUSHION_STEP
            if is_dust or not _keeps_donors_above(trial, account, earlier.transfers):
                return
        run.book = trial
        # To the end: what is executed before it was sized without this draft's moves.
        run.funded.pop(account.id, None)
        run.funded[account.id] = _joined(earlier, draft)

    def _draft(self, book: Book, account: Account, before: Wad, goal: Wad, earlier: Funding | None) -> Draft:
        limits = account.limits
        transfers_max = TRANSFERS_PER_RESCUE_MAX - (len(earlier.transfers) if earlier else 0)
        enough = max(min(goal, limits.trigger), limits.survive)
        draft = normal(book, account, goal, enough, transfers_max)
        if draft.health_after >= enough or not self.may_last_stand or before >= limits.critical:
            return draft
        shared = last_stand(book, account, goal, limits.survive, self.margin_bps, transfers_max)
        return shared if shared.health_after > draft.health_after else draft

    def _sourced(self, start: Book, run: Run, needs: Sequence[Need]) -> Run:
        """The same rescues from the donors for which they cost least, if no other account in need pays for it."""
        accounts = {need.account.id: need.account for need in needs}
        rescues = [
            Served(accounts[id], funding.stage, funding.transfers, run.book.health(accounts[id]))
            for id, funding in sorted(run.funded.items(), key=lambda one: one[1].stage is Stage.LAST_STAND)
        ]
        least = {
            need.account.id: health_at_cushion(
                _steps(run, need.account) * CUSHION_STEP, need.account.settings.shock_bps
            )
            for need in needs
        }
        sources = cheapest(start, rescues, least, self.donors_order)
        sourced = Run(
            start.fork(),
            {
                served.recipient.id: Funding(transfers, served.stage)
                for served, transfers in zip(rescues, sources, strict=True)
            },
            run.reachable,
        )
        for served, transfers in zip(rescues, sources, strict=True):
            for transfer in transfers:
                sourced.book.move(transfer)
            # With ways mixed a recipient may end a rounding higher than what its donors were asked to stay above.
            if not _keeps_donors_above(sourced.book, served.recipient, transfers):
                return run
        return sourced if _worth(sourced, needs) >= _worth(run, needs) else run


def _is_of_use(need: Need, draft: Draft) -> bool:
    """Whether it saves: an account that is not critical can wait for a rescue that ends its need."""
    limits = need.account.limits
    if not draft.transfers or draft.health_after < limits.survive:
        return False
    return need.is_critical or draft.health_after >= limits.trigger


def _is_worthwhile(run: Run, need: Need) -> bool:
    """Whether all that an account got is more than crumbs."""
    limits, after = need.account.limits, run.book.health(need.account)
    if after >= limits.trigger or need.before < limits.survive:
        return True
    is_shared = run.funded[need.account.id].stage is Stage.LAST_STAND
    gain = need.account.cushion(after) - need.account.cushion(need.before)
    return gain >= (SHARED_GAIN_MIN if is_shared else CUSHION_GAIN_MIN)


def _without(run: Run, need: Need, start: Book) -> Run:
    """The run with nothing for one of its needs."""
    id = need.account.id
    kept = Run(start.fork(), {other: funding for other, funding in run.funded.items() if other != id}, run.reachable)
    kept.reachable[id] = run.book.health(need.account)
    for funding in kept.funded.values():
        for transfer in funding.transfers:
            kept.book.move(transfer)
    return kept


def _is_alive(run: Run, need: Need) -> bool:
    return run.book.health(need.account) >= need.account.limits.survive


def _worth(run: Run, needs: Sequence[Need]) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
    """See the head of this module; cushions count in steps, and no further than the trigger's."""
    tiers = sorted({need.account.settings.priority for need in needs}, reverse=True)
    alive = [need for need in needs if _is_alive(run, need)]
    return (
        tuple(sum(need.loss for need in alive if need.account.settings.priority == tier) for tier in tiers),
        len(alive),
        tuple(sorted(_steps(run, need.account) for need in needs)),
    )


def _steps(run: Run, account: Account) -> int:
    """Its cushion in steps, and no more than its trigger's."""
    return account.cushion(min(run.book.health(account), account.limits.trigger)) // CUSHION_STEP


def _most_taken(book: Book, needs: Sequence[Need]) -> dict[Address, int]:
    """What all of them together can take of each token, in whatever way they are helped, roundings included."""
    most: dict[Address, int] = {}
    for need in needs:
        for way in need.account.ways:
            token = way.token.address
            if token in book.donors:
                room, wanted = book.room(need.account, way), book.need(need.account, way, need.account.limits.target)
                most[token] = most.get(token, 0) + (room if wanted is None else min(wanted, room))
    return {token: amount + amount // ROUNDINGS_SHARE for token, amount in most.items()}


def _connected(book: Book, needs: Sequence[Need]) -> list[list[Need]]:
    """The needs in groups, each in order of rank: no token and no margin that several tokens are taken from is asked
    for by two of them."""
    donors = {donor.id: donor for donors in book.donors.values() for donor in donors if donor.has_debt}
    links: list[tuple[set[Address], list[Need]]] = [
        ({line.token.address for line in donor.subaccount.collateral}, [])
        for donor in donors.values()
        if len(donor.subaccount.collateral) > 1
    ]
    links += [
        ({way.token.address for way in need.account.ways if way.token.address in book.donors}, [need]) for need in needs
    ]
    groups: list[tuple[set[Address], list[Need]]] = []
    for tokens, linked in links:
        near = [group for group in groups if not group[0].isdisjoint(tokens)]
        joined = tokens.union(*(others for others, _ in near)), [*itertools.chain(*(each for _, each in near)), *linked]
        groups = [*(group for group in groups if group[0].isdisjoint(tokens)), joined]
    rank = {need.account.id: position for position, need in enumerate(needs)}
    ordered = [sorted(members, key=lambda need: rank[need.account.id]) for _, members in groups if members]
    return sorted(ordered, key=lambda members: rank[members[0].account.id])


def _keeps_donors_above(book: Book, account: Account, transfers: Iterable[Transfer]) -> bool:
    """Whether every earlier donor of a rescue still has at least the cushion of the account that it saved."""
    reached = account.cushion(book.health(account))
    donors = {
        donor.id: donor
        for transfer in transfers
        for donor in book.donors[transfer.token.address]
        if donor.id == transfer.donor and donor.has_debt
    }
    return all(donor.cushion(book.health(donor)) >= reached for donor in donors.values())


def _joined(earlier: Funding | None, draft: Draft) -> Funding:
    """One rescue out of two: amounts of the same donor, token and kind add up."""
    if earlier is None:
        return Funding(draft.transfers, draft.stage)
    joined: dict[tuple[SubaccountId, str, bool], Transfer] = {}
    for transfer in (*earlier.transfers, *draft.transfers):
        key = (transfer.donor, transfer.token.address, transfer.is_repayment)
        amount = transfer.amount_raw + (joined[key].amount_raw if key in joined else 0)
        joined[key] = Transfer(transfer.kind, transfer.donor, transfer.recipient, transfer.token, amount)
    is_last_stand = Stage.LAST_STAND in (earlier.stage, draft.stage)
    return Funding(tuple(joined.values()), Stage.LAST_STAND if is_last_stand else Stage.NORMAL)
