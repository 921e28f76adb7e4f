"""Who gets what when several are in need.

In order of rank everybody is brought to its target. When that leaves somebody without who could have been saved alone,
or still critical, the donors are contested: then the set of accounts that saves most (priority tier first, then loss
avoided, then number) is found by leaving some out, all of it is brought to one common level as high as the donors
allow, and what is left over goes out in order of rank again. The better of both results wins, the first on a tie.

A pure function of the book; bounded by the counts below.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from keeper.core.book import Account, Book
from keeper.core.plan import Stage, Transfer
from keeper.core.risk import health_at_cushion
from keeper.core.snapshot import SubaccountId
from keeper.core.stages import TRANSFERS_PER_RESCUE_MAX, Draft, last_stand, normal
from keeper.core.units import WAD, Wad

CUSHION_GAIN_MIN = WAD // 10
"""A rescue of an account that is not about to die, and that ends below its trigger, must be worth a tenth of its shock:
else the same crumbs would move every cycle."""
LEVELS = 16
"""Steps between the least that saves an account and its target."""
SUBSETS_OF_MAX = 4
"""Up to so many in need, every subset is tried; with more, leaving out one at a time."""
TOP_UPS = 2


@dataclass(frozen=True, slots=True)
class Need:
    """An account below its trigger that may be helped."""

    account: Account
    is_critical: bool
    before: Wad
    loss: int
    """What its liquidation takes, in one measure for all: USD (WAD), or relative to its collateral (WAD)."""

    def goal(self, level: int) -> Wad:
        """The health to bring it to: from the least that saves it (level 0) to its target (`LEVELS`)."""
        limits = self.account.limits
        least = max(limits.trigger, limits.survive)
        if self.is_critical:
            gained = self.account.cushion(self.before) + CUSHION_GAIN_MIN
            least = max(limits.survive, health_at_cushion(gained, self.account.settings.shock_bps))
        least = min(least, limits.target)
        return least + (limits.target - least) * level // LEVELS


@dataclass(frozen=True, slots=True)
class Funding:
    transfers: tuple[Transfer, ...]
    stage: Stage


@dataclass(slots=True)
class Run:
    """One way to serve the needs."""

    book: Book
    funded: dict[SubaccountId, Funding] = field(default_factory=dict[SubaccountId, Funding])
    reachable: dict[SubaccountId, Wad] = field(default_factory=dict[SubaccountId, Wad])
    """The health that was within reach of those who got nothing."""


@dataclass(frozen=True, slots=True)
class Triage:
    """How needs are served: the rules that hold for every account alike."""

    may_last_stand: bool
    margin_bps: int

    def decide(self, book: Book, needs: Sequence[Need]) -> Run:
        """Serves the needs, which come in order of rank, from a book without moves."""
        plain = self._topped_up(self._run(book, needs, LEVELS), needs)
        if not any(self._is_contested(book, plain, need) for need in needs):
            return plain
        saved = self._largest_saved(book, needs)
        if not saved:
            return plain
        level = self._common_level(book, saved)
        levelled = self._topped_up(self._run(book, saved, level), needs)
        return max(plain, levelled, key=lambda run: self._worth(run, needs))

    # Contested donors -------------------------------------------------------------------------------------------------

    def _is_contested(self, book: Book, run: Run, need: Need) -> bool:
        """Whether it goes without, or stays critical, only because of the others."""
        critical = need.account.limits.critical
        if need.account.id in run.funded and run.book.health(need.account) >= critical:
            return False
        alone = self._run(book, [need], LEVELS)
        if need.account.id not in alone.funded:
            return False
        return need.account.id not in run.funded or alone.book.health(need.account) >= critical

    def _largest_saved(self, book: Book, needs: Sequence[Need]) -> list[Need]:
        """The needs, in order of rank, whose saving is worth most."""
        best = self._run(book, needs, 0)
        if len(best.funded) < len(needs):
            for left_out in _exclusions(needs, best.funded):
                run = self._run(book, [need for need in needs if need.account.id not in left_out], 0)
                best = max(best, run, key=lambda one: self._worth(one, needs))
        return [need for need in needs if need.account.id in best.funded]

    def _common_level(self, book: Book, saved: Sequence[Need]) -> int:
        """The highest level to which all of them can be brought."""
        low, high = 0, LEVELS + 1
        while high - low > 1:
            middle = (low + high) // 2
            run = self._run(book, saved, middle)
            is_reached = all(
                need.account.id in run.funded and run.book.health(need.account) >= need.goal(middle) for need in saved
            )
            low, high = (middle, high) if is_reached else (low, middle)
        return low

    @staticmethod
    def _worth(run: Run, needs: Iterable[Need]) -> tuple[object, ...]:
        """Loss avoided by priority tier from the highest, then how many are saved, then how many are out of danger."""
        needs = list(needs)
        tiers = sorted({need.account.settings.priority for need in needs}, reverse=True)
        saved = [need for need in needs if need.account.id in run.funded]
        return (
            tuple(sum(need.loss for need in saved if need.account.settings.priority == tier) for tier in tiers),
            len(saved),
            sum(run.book.health(need.account) >= need.account.limits.critical for need in needs),
        )

    # One way ----------------------------------------------------------------------------------------------------------

    def _run(self, book: Book, needs: Iterable[Need], level: int) -> Run:
        run = Run(book.fork())
        for need in needs:
            self._serve(run, need, need.goal(level))
        return run

    def _topped_up(self, run: Run, needs: Sequence[Need]) -> Run:
        """With what is left given out in order of rank, as the next cycle would: else it would move it then."""
        for _ in range(TOP_UPS):
            before = dict(run.funded)
            for need in needs:
                if run.book.health(need.account) < need.account.limits.trigger:
                    self._serve(run, need, need.goal(LEVELS))
            if run.funded == before:
                break
        return run

    def _serve(self, run: Run, need: Need, goal: Wad) -> None:
        """Adds what brings an account to a goal, or as near as is worth it, or nothing."""
        account = need.account
        earlier = run.funded.get(account.id)
        draft = self._draft(run.book, account, goal, earlier)
        if not self._is_worthwhile(run.book, account, goal, draft):
            if earlier is None:
                run.reachable[account.id] = draft.health_after
            return
        trial = run.book.fork()
        for transfer in draft.transfers:
            trial.move(transfer)
        if earlier is not None and not _keeps_donors_above(trial, account, earlier.transfers):
            return
        run.book = trial
        run.funded[account.id] = _joined(earlier, draft)

    def _draft(self, book: Book, account: Account, goal: Wad, earlier: Funding | None) -> Draft:
        limits = account.limits
        transfers_max = TRANSFERS_PER_RESCUE_MAX - (len(earlier.transfers) if earlier else 0)
        enough = max(min(goal, limits.trigger), limits.survive)
        draft = normal(book, account, goal, enough, transfers_max)
        if draft.health_after >= enough or not self.may_last_stand or book.health(account) >= limits.critical:
            return draft
        if transfers_max < TRANSFERS_PER_RESCUE_MAX:
            return draft
        shared = last_stand(book, account, goal, limits.survive, self.margin_bps)
        return shared if shared.health_after > draft.health_after else draft

    @staticmethod
    def _is_worthwhile(book: Book, account: Account, goal: Wad, draft: Draft) -> bool:
        limits = account.limits
        if not draft.transfers or draft.health_after < limits.survive:
            return False
        if draft.health_after >= min(goal, limits.trigger):
            return True
        before = book.health(account)
        if before >= limits.critical:
            return False  # it can wait for a rescue that ends its need
        gain = account.cushion(draft.health_after) - account.cushion(before)
        return before < limits.survive or gain >= CUSHION_GAIN_MIN


def _exclusions(needs: Sequence[Need], funded: Mapping[SubaccountId, Funding]) -> list[frozenset[SubaccountId]]:
    ids = [need.account.id for need in needs]
    if len(ids) <= SUBSETS_OF_MAX:
        return [frozenset(left_out) for count in range(1, len(ids)) for left_out in itertools.combinations(ids, count)]
    return [frozenset([id]) for id in ids if id in funded]


def _keeps_donors_above(book: Book, account: Account, transfers: Iterable[Transfer]) -> bool:
    """Whether every earlier donor of a rescue still has at least the cushion of the account that it saved."""
    reached = account.cushion(book.health(account))
    drawn = {transfer.donor for transfer in transfers}
    return all(
        donor.cushion(book.health(donor)) >= reached for donor in book.donors if donor.id in drawn and donor.has_debt
    )


def _joined(earlier: Funding | None, draft: Draft) -> Funding:
    """One rescue out of two: amounts of the same donor and token add up."""
    if earlier is None:
        return Funding(draft.transfers, draft.stage)
    joined: dict[tuple[SubaccountId, str], Transfer] = {}
    for transfer in (*earlier.transfers, *draft.transfers):
        key = (transfer.donor, transfer.token.address)
        amount = transfer.amount_raw + (joined[key].amount_raw if key in joined else 0)
        joined[key] = Transfer(transfer.kind, transfer.donor, transfer.recipient, transfer.token, amount)
    is_last_stand = Stage.LAST_STAND in (earlier.stage, draft.stage)
    return Funding(tuple(joined.values()), Stage.LAST_STAND if is_last_stand else Stage.NORMAL)
