"""What rescues ask of donors, in the form in which sources are searched: demands, and the arcs that can serve them.

A recipient can be helped on several ways, more of this collateral or less of that debt. Each has an amount that does
alone what the whole rescue does; at one health all of this is linear, so half of one and half of another do it as well.
A demand is therefore one `UNIT`, and an arc brings a share of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from keeper.core.book import Account, Book, Keep, Way
from keeper.core.economics import transfer_gas
from keeper.core.plan import Stage, Transfer
from keeper.core.policy import DonorsOrder
from keeper.core.snapshot import SubaccountId
from keeper.core.stages import DUST_SHARE, GOAL_SLACK, donors_for, kept, kind_between
from keeper.core.units import WAD, Address, Wad

UNIT = 10**36
"""Finer than the raw units of any amount."""
CAPITAL_STEP = WAD // 10
"""Capital that differs by less is taken for equal: ten cents are not worth the gas of a transfer."""
BUCKET = WAD // 100
"""Healths after a shock that differ by less are taken for equal."""


_NOTHING = Keep(0)
"""What donors without debt must keep."""


class Cost(NamedTuple):
    """What sources cost, in the order in which it counts."""

    indebted: int = 0
    """Capital from donors with debt, in steps above what cannot be less; 0 when the owner wants the least gas whoever
    gives."""
    gas: int = 0
    capital: int = 0
    """All of it, in steps."""


@dataclass(frozen=True, slots=True)
class Served:
    """A rescue whose sources may still change."""

    recipient: Account
    stage: Stage
    transfers: tuple[Transfer, ...]
    health_after: Wad
    """What the recipient ends with: no donor with debt may end with a smaller cushion."""

    def cushion(self, *, is_one_way: bool) -> Wad:
        """What every donor with debt must be left with.

        On several ways each amount is rounded up, so the recipient may end slightly higher than it did.
        """
        reached = self.health_after if is_one_way else self.health_after + self.health_after // GOAL_SLACK
        return self.recipient.cushion(reached)

    def way(self, transfer: Transfer) -> Way:
        """The way on which one of its transfers helps."""
        sought = transfer.token, transfer.is_repayment
        return next(way for way in self.recipient.ways if (way.token, way.is_repayment) == sought)


class Arc(NamedTuple):
    """One donor on one way."""

    donor: Account
    number: int
    """Of the donor, among all."""
    way: Way
    token: int
    """The number of its token, among all."""
    kind: int
    """The number of its way: twice the token's, and one more for a repayment."""
    limit_raw: int
    """What may arrive on its way."""
    pool: int
    """Donors whose amounts are alike: twice the token, and one more if they are counted as donors with debt."""
    keep: Keep
    """What it must be left with if it gives."""
    spot: int
    """Where it gives from: arcs of one spot have the same left, whatever was taken."""
    gas: int
    full_raw: int
    """What does alone what the rescue does."""
    capital: int
    """What that is worth."""
    indebted: int
    """The same if it counts as taken from a donor with debt, else 0."""
    room: int
    """What it can bring as long as nothing else is placed, raw units."""

    def amount(self, share: int, *, is_mixed: bool) -> int:
        """What brings a share; rounded up by a unit and more when ways are mixed, for each rounds on its own."""
        exact = share * self.full_raw
        return -(-exact // UNIT) + 1 if is_mixed else (exact + UNIT // 2) // UNIT

    def share(self, amount_raw: int) -> int:
        return amount_raw * UNIT // self.full_raw


class Spent(NamedTuple):
    """A cost that still grows: capital in UNIT times WAD, so that nothing is rounded on the way."""

    indebted: int = 0
    gas: int = 0
    capital: int = 0

    def by(self, arc: Arc, share: int) -> "Spent":
        return Spent(self.indebted + share * arc.indebted, self.gas + arc.gas, self.capital + share * arc.capital)


@dataclass(frozen=True, slots=True)
class Demand:
    rescue: int
    """The place of its rescue."""
    stage: Stage
    arcs: tuple[Arc, ...]
    limits: Mapping[Way, int]
    """What may arrive on each way."""


Fulls = Sequence[Mapping[Way, int]]
"""For each rescue and way the amount that does alone what the rescue does."""


def fulls_of(book: Book, rescues: Sequence[Served]) -> Fulls | None:
    """None when what a rescue takes cannot be put like that."""
    found: list[Mapping[Way, int]] = []
    for served in rescues:
        brought: dict[Way, int] = {}
        for transfer in served.transfers:
            way = served.way(transfer)
            brought[way] = brought.get(way, 0) + transfer.amount_raw
        if len(brought) == 1 and len(served.recipient.ways) == 1:
            found.append(brought)
            continue
        fulls = {
            way: book.need(served.recipient, way, served.health_after)
            for way in served.recipient.ways
            if way in brought or donors_for(book, served.recipient, way.token.address)
        }
        usable = {way: full for way, full in fulls.items() if full}
        if len(brought) == 1:
            usable |= brought
        if not brought.keys() <= usable.keys():
            return None
        found.append(usable)
    return found


def demands_of(
    book: Book,
    rescues: Sequence[Served],
    fulls: Fulls,
    least: Mapping[SubaccountId, Wad],
    order: DonorsOrder,
    *,
    is_debt_free: bool,
) -> list[Demand]:
    """One for each rescue, the largest first of those that may take the same token; `is_debt_free`: donors with debt
    are not asked."""
    recipients = {served.recipient.id for served in rescues}
    is_debt_free_first = order is DonorsOrder.DEBT_FREE_FIRST
    rooms = _Rooms(book, least)
    numbers: dict[SubaccountId, int] = {}
    tokens: dict[Address, int] = {}
    spots: dict[tuple[int, int, Keep, Stage | None], int] = {}
    found: list[Demand] = []
    for place, (served, usable) in enumerate(zip(rescues, fulls, strict=True)):
        arcs: list[Arc] = []
        limits = {way: book.room(served.recipient, way) for way in usable}
        cushion = served.cushion(is_one_way=len(usable) == 1)
        for way, full in usable.items():
            token = way.token.address
            capital = served.recipient.capital(way, full)
            for donor in donors_for(book, served.recipient, token):
                if (donor.has_debt and is_debt_free) or donor.id in recipients:
                    continue
                keep, room = rooms.of(donor, token, cushion, served.stage)
                if not room or (is_debt_free_first and not donor.has_debt and room * DUST_SHARE < full):
                    continue
                gas = transfer_gas(donor.id, kind_between(donor, served.recipient, way))
                indebted = capital if is_debt_free_first and donor.has_debt else 0
                number, kind = numbers.setdefault(donor.id, len(numbers)), tokens.setdefault(token, len(tokens))
                arcs.append(
                    Arc(
                        donor=donor,
                        number=number,
                        way=way,
                        token=kind,
                        kind=2 * kind + way.is_repayment,
                        limit_raw=limits[way],
                        pool=2 * kind + (indebted > 0),
                        keep=keep,
                        spot=spots.setdefault(
                            (number, kind, keep, served.stage if donor.has_debt else None), len(spots)
                        ),
                        gas=gas,
                        full_raw=full,
                        capital=capital,
                        indebted=indebted,
                        room=min(room, limits[way], book.cap(token)),
                    )
                )
        arcs.sort(key=lambda arc: (arc.indebted > 0, arc.donor.id))
        found.append(Demand(place, served.stage, tuple(arcs), limits))

    def largest_first(demand: Demand) -> tuple[str, int, int]:
        way = rescues[demand.rescue].way(rescues[demand.rescue].transfers[0])
        return way.token.address, -fulls[demand.rescue][way], demand.rescue

    return sorted(found, key=largest_first)


class _Rooms:
    """What donors can give, each worked out once."""

    def __init__(self, book: Book, least: Mapping[SubaccountId, Wad]):
        self._book = book
        self._least = least
        """Healths below which some donors must not end whomever they give to."""
        self._keeps: dict[tuple[Account, Wad, Stage], Keep] = {}
        self._rooms: dict[tuple[Account, Address, Keep], int] = {}

    def of(self, donor: Account, token: Address, cushion: Wad, stage: Stage) -> tuple[Keep, int]:
        """What a donor must be left with that gives to one with this cushion, and what it then can give."""
        if not donor.has_debt:
            return _NOTHING, self._book.available(donor, token)
        keep = self._keeps.get((donor, cushion, stage))
        if keep is None:
            demanded = kept(donor, cushion, stage)
            keep = Keep(max(demanded.health, self._least.get(donor.id, 0)), demanded.health_after_shock)
            self._keeps[donor, cushion, stage] = keep
        room = self._rooms.get((donor, token, keep))
        if room is None:
            room = self._rooms[donor, token, keep] = spare_of(self._book, donor, token, keep)
        return keep, room


def spare_of(book: Book, donor: Account, token: Address, keep: Keep) -> int:
    """Our own limits are kept to the unit; the margin for a later block is for what guard and protocol demand."""
    most, by_hard_floor = book.most(donor, token, keep), Keep(donor.limits.hard_floor)
    if most == book.within_reach(donor, token) < book.available(donor, token):
        return book.spare(donor, token, keep)
    can_all = book.can_spare(donor, token, by_hard_floor, most)
    return most if can_all else min(most, book.spare(donor, token, by_hard_floor))


def spent_on(rescues: Sequence[Served], indebted: frozenset[SubaccountId], order: DonorsOrder) -> Spent:
    """What the rescues' own transfers cost; `indebted`: the donors with debt."""
    taken = gas = capital = 0
    for served, transfer in ((each, transfer) for each in rescues for transfer in each.transfers):
        worth = served.recipient.capital(served.way(transfer), transfer.amount_raw) * UNIT
        capital += worth
        gas += transfer_gas(transfer.donor, transfer.kind)
        if order is DonorsOrder.DEBT_FREE_FIRST and transfer.donor in indebted:
            taken += worth
    return Spent(taken, gas, capital)
