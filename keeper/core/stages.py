"""The two stages of a donation: what a recipient can get, and from whom.

A recipient is helped with more of a collateral or with less of a debt, on the way that takes less capital for the same
health first, then on the next for what is missing.

Normal: donors without debt first, then those with debt, each down to its floor and no further than its trigger after a
shock. Best fit: the smallest donor that covers the rest alone, else the largest, so that few accounts are touched.

Last stand: donors and recipient share a cushion. Every donor is drawn down to one common cushion, like water to one
level, as long as the recipient stays at or below it and no donor passes its hard floor. Solved on straight lines, then
checked with the exact arithmetic.

No stage leaves a donor with a smaller cushion than the account that it saved.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keeper.core.book import Account, Book, Keep, Way
from keeper.core.plan import Kind, Stage, Transfer
from keeper.core.risk import health_at_cushion
from keeper.core.snapshot import SubaccountId
from keeper.core.units import BPS, INFINITE_HEALTH, WAD, Address, Wad, mul_div_down

TRANSFERS_PER_RESCUE_MAX = 8
"""MAX_TRANSFERS of the guard."""
DUST_SHARE = 100
"""A transfer of less than a hundredth of a rescue costs gas like any other: left out when the rescue can do so."""
LEVEL_BITS = 24
"""How finely the common cushion is looked for; the exact arithmetic decides afterwards."""
GOAL_SLACK = 10**6
"""A goal is overshot by a millionth rather than missed by a rounding."""
SHARE_ROUNDS = 12
"""How closely the share that is given is looked for where straight lines mislead: to a few basis points."""


@dataclass(frozen=True, slots=True)
class Draft:
    """The transfers of a rescue and the health that they reach."""

    transfers: tuple[Transfer, ...]
    stage: Stage
    health_after: Wad


def donors_for(book: Book, recipient: Account, token: Address) -> list[Account]:
    """Who may give this token to this recipient, margins aside.

    On a price that cannot be trusted, the donor's own or the recipient's, nothing leaves an account with debt.
    """
    is_trusted, received = recipient.is_trusted, book.received
    return [
        donor
        for donor in book.donors.get(token, ())
        if donor.id not in received
        and donor.id != recipient.id
        and (not donor.has_debt or (is_trusted and donor.is_trusted))
    ]


# Normal ---------------------------------------------------------------------------------------------------------------


def by_capital(book: Book, recipient: Account, health: Wad) -> list[Way]:
    """The ways to bring a recipient to a health, the one that takes the least capital for it first.

    For a health h, a collateral that counts for a share w takes (h debt - collateral) / w, a repayment takes
    (h debt - collateral) / h: less, as no collateral counts for more than it is worth.
    """
    ways = [way for way in recipient.ways if way.token.address in book.donors]
    if len(ways) < 2:
        return ways

    def capital(way: Way) -> tuple[bool, int]:
        need = book.need(recipient, way, health)
        return need is None, 0 if need is None else way.value(need)

    return sorted(ways, key=capital)


def normal(
    book: Book,
    recipient: Account,
    goal: Wad,
    least: Wad,
    transfers_max: int = TRANSFERS_PER_RESCUE_MAX,
    ways: Sequence[Way] = (),
) -> Draft:
    """As much of what brings the recipient to `goal` as donors can spare at their floors; possibly nothing.

    On these ways one after the other, by capital unless said. Transfers that are dust are left out unless the recipient
    ends below `least` without them.
    """
    trial = book.fork()
    chosen: list[Transfer] = []
    worthwhile: list[Transfer] = []
    # One part in 10^4 above the goal: the recipient's exact amount is rounded up, and its cushion with it.
    cushion = recipient.cushion(goal + goal // BPS)
    ways = ways or by_capital(book, recipient, goal)
    alone = {way: _wanted(book, recipient, way, goal) for way in ways}
    for has_debt in (False, True):
        for way in ways:
            rest = _wanted(trial, recipient, way, goal) if chosen else alone[way]
            donors = donors_for(book, recipient, way.token.address) if rest else []
            spares = [
                (trial.spare(donor, way.token.address, kept(donor, cushion, Stage.NORMAL)), donor)
                for donor in donors
                if donor.has_debt is has_debt
            ]
            pool = [one for one in spares if one[0]]
            while rest and pool and len(chosen) < transfers_max:
                spare, donor = best = _best_fit(pool, rest)
                pool.remove(best)
                transfer = transfer_between(donor, recipient, way, min(spare, rest))
                rest -= transfer.amount_raw
                trial.move(transfer)
                chosen.append(transfer)
                if transfer.amount_raw * DUST_SHARE >= alone[way]:
                    worthwhile.append(transfer)
    if len(worthwhile) < len(chosen):
        draft = _draft(book, recipient, worthwhile)
        if draft.health_after >= least:
            return draft
    return Draft(tuple(chosen), Stage.NORMAL, trial.health(recipient))


def _wanted(book: Book, recipient: Account, way: Way, goal: Wad) -> int:
    """What may still arrive of what brings it to a goal on this way alone."""
    room = book.room(recipient, way)
    need = book.need(recipient, way, goal) if room else 0
    return room if need is None else min(need, room)


def _draft(book: Book, recipient: Account, transfers: Sequence[Transfer]) -> Draft:
    trial = book.fork()
    for transfer in transfers:
        trial.move(transfer)
    return Draft(tuple(transfers), Stage.NORMAL, trial.health(recipient))


def kept(donor: Account, recipient_cushion: Wad, stage: Stage) -> Keep:
    """What a donor with debt must be left with when it gives to one that ends with this cushion."""
    limits = donor.limits
    least = health_at_cushion(recipient_cushion, donor.settings.shock_bps)
    if stage is Stage.LAST_STAND:
        return Keep(max(limits.hard_floor, least))
    return Keep(max(limits.floor, least), limits.trigger)


def _best_fit(pool: Iterable[tuple[int, Account]], rest: int) -> tuple[int, Account]:
    """The smallest that covers the rest alone, else the largest; the lowest id of equals."""
    return min(pool, key=lambda one: (one[0] < rest, one[0] if one[0] >= rest else -one[0], one[1].id))


# Last stand -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Source:
    """What one donor can bring in, as a straight line between nothing and its limit."""

    donor: Account
    way: Way
    limit_raw: int
    """The most that may leave: down to its hard floor."""
    collateral_value: Wad
    debt_value: Wad
    value_lost: Wad
    """At the limit, in the donor's unit of account."""
    value_gained: Wad
    """At the limit, what it adds to the recipient's collateral, in the recipient's."""
    value_repaid: Wad
    """At the limit, what it takes off the recipient's debt."""

    def amount_at(self, health: Wad) -> int:
        """What it gives when drawn down to a health; donors without debt have nothing to keep."""
        if not self.donor.has_debt:
            return self.limit_raw
        if health >= INFINITE_HEALTH:
            return 0
        above = self.collateral_value - -(-self.debt_value * health // WAD)
        if above <= 0:
            return 0
        return self.limit_raw if above >= self.value_lost else above * self.limit_raw // self.value_lost

    def brought(self, amount_raw: int) -> tuple[Wad, Wad]:
        """What an amount adds to the recipient's collateral, and what it takes off its debt."""
        gained = mul_div_down(self.value_gained, amount_raw, self.limit_raw)
        return gained, mul_div_down(self.value_repaid, amount_raw, self.limit_raw)


def _amounts_at(sources: Sequence[_Source], cushion: Wad) -> list[int]:
    """What each gives when all are drawn down to one cushion."""
    shocks = {source.donor.settings.shock_bps for source in sources}
    health = {shock: health_at_cushion(cushion, shock) for shock in shocks}
    return [source.amount_at(health[source.donor.settings.shock_bps]) for source in sources]


def last_stand(
    book: Book,
    recipient: Account,
    goal: Wad,
    least: Wad,
    margin_bps: int,
    transfers_max: int = TRANSFERS_PER_RESCUE_MAX,
    ways: Sequence[Way] = (),
) -> Draft:
    """The largest cushion that recipient and donors can share, up to `goal`; possibly nothing.

    Transfers that are dust are left out unless the recipient ends below `least` without them.
    """
    sources = _sources(book, recipient, transfers_max, ways)
    level = _common_cushion(book, recipient, goal, margin_bps, sources)
    amounts = list(zip(sources, _amounts_at(sources, level), strict=True))
    brought = [sum(source.brought(amount)) for source, amount in amounts]
    worthwhile = [one for one, value in zip(amounts, brought, strict=True) if value * DUST_SHARE >= sum(brought)]
    draft = _checked(book, recipient, worthwhile)
    if draft.health_after < least and len(worthwhile) < len(amounts):
        return _checked(book, recipient, amounts)
    return draft


def _sources(book: Book, recipient: Account, most: int, ways: Sequence[Way]) -> list[_Source]:
    """Who could bring in how much, `most` of them: those without debt first, then by the health that they lead to.

    Each on the way on which it helps most, or on the first of those given.
    """
    before = book.health(recipient)
    best: dict[SubaccountId, tuple[Wad, int, Account, Way]] = {}
    for way in ways or recipient.ways:
        token = way.token.address
        room = book.room(recipient, way)
        if not room:
            continue
        for donor in donors_for(book, recipient, token):
            limit = min(book.spare(donor, token, Keep(donor.limits.hard_floor)), room)
            if not limit:
                continue
            reached = book.helped(recipient, way, limit).health_factor
            if reached > before and (donor.id not in best or (not ways and best[donor.id][0] < reached)):
                best[donor.id] = reached, limit, donor, way
    chosen = sorted(best.values(), key=lambda one: (one[2].has_debt, -one[0], one[2].id))[:most]
    return [_source(book, recipient, limit, donor, way) for _, limit, donor, way in chosen]


def _source(book: Book, recipient: Account, limit: int, donor: Account, way: Way) -> _Source:
    risk, lost = book.risk(donor), 0
    if donor.has_debt:
        lost = risk.collateral_value - book.risk(donor, way.token.address, -limit).collateral_value
    before, after = book.risk(recipient), book.helped(recipient, way, limit)
    gained, repaid = after.collateral_value - before.collateral_value, before.debt_value - after.debt_value
    return _Source(donor, way, limit, risk.collateral_value, risk.debt_value, max(lost, 1), gained, repaid)


def _common_cushion(book: Book, recipient: Account, goal: Wad, margin_bps: int, sources: Sequence[_Source]) -> Wad:
    """The lowest cushion to draw donors down to: the recipient then has no more than that, and no more than `goal`.

    The margin keeps the donors above the recipient when its interest runs slower than theirs.
    """
    ceiling = goal + goal // GOAL_SLACK
    risk = book.risk(recipient)
    room = {way: book.room(recipient, way) for way in recipient.ways}

    def is_high_enough(cushion: Wad) -> bool:
        left = dict(room)
        held, owed = risk.collateral_value, risk.debt_value
        for source, wanted in zip(sources, _amounts_at(sources, cushion), strict=True):
            amount = min(wanted, left[source.way])
            left[source.way] -= amount
            gained, repaid = source.brought(amount)
            held, owed = held + gained, owed - repaid
        health = mul_div_down(held, WAD, owed)
        return health <= ceiling and recipient.cushion(health) * (BPS + margin_bps) <= cushion * BPS

    cushions = [source.donor.cushion(book.health(source.donor)) for source in sources if source.donor.has_debt]
    low, high = 0, max(cushions, default=0)
    while high - low > max(high >> LEVEL_BITS, 1):
        middle = (low + high) // 2
        if is_high_enough(middle):
            high = middle
        else:
            low = middle
    return high


def _checked(book: Book, recipient: Account, amounts: Sequence[tuple[_Source, int]]) -> Draft:
    """These amounts, those of donors with debt reduced until none has a smaller cushion than the recipient.

    Straight lines are nearly right, so all of them is tried first; where they mislead, the share is looked for.
    """
    draft = _kept_above(book, recipient, amounts, BPS)
    if draft is not None:
        return draft
    best = Draft((), Stage.LAST_STAND, book.health(recipient))
    low, high = 0, BPS
    for _ in range(SHARE_ROUNDS):
        middle = (low + high) // 2
        draft = _kept_above(book, recipient, amounts, middle)
        if draft is None:
            high = middle
        else:
            low, best = middle, draft
    return best


def _kept_above(book: Book, recipient: Account, amounts: Sequence[tuple[_Source, int]], share_bps: int) -> Draft | None:
    """The draft with this share of what donors with debt give; None when one of them ends below the recipient."""
    trial = book.fork()
    chosen: list[Transfer] = []
    for source, full in amounts:
        amount = full if not source.donor.has_debt else full * share_bps // BPS
        amount = min(amount, trial.room(recipient, source.way))
        if amount:
            chosen.append(transfer_between(source.donor, recipient, source.way, amount))
            trial.move(chosen[-1])
    after = trial.health(recipient)
    reached = recipient.cushion(after)
    drawn = {transfer.donor for transfer in chosen}
    is_above = all(
        source.donor.cushion(trial.health(source.donor)) >= reached for source, _ in amounts if source.donor.id in drawn
    )
    return Draft(tuple(chosen), Stage.LAST_STAND, after) if is_above else None


def kind_between(donor: Account, recipient: Account, way: Way) -> Kind:
    if way.is_repayment:
        return Kind.REPAY
    given, taken = (one.subaccount.line(way.token.address) for one in (donor, recipient))
    is_alike = given is not None and taken is not None and given.form is not None and given.form == taken.form
    return Kind.NATIVE if is_alike else Kind.CROSS


def transfer_between(donor: Account, recipient: Account, way: Way, amount_raw: int) -> Transfer:
    return Transfer(kind_between(donor, recipient, way), donor.id, recipient.id, way.token, amount_raw)
