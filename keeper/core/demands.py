"""What rescues ask of donors, in the form in which sources are searched: demands, and the arcs that can serve them.

A recipient can be helped on several ways, more of this collateral or less of that debt. Each has an amount that does
alone what the whole rescue does; at one health all of this is linear, so half of one and half of another do it as well.
A demand is therefore one `UNIT`, and an arc brings a share of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from keeper.core.book import Account, Book, Keep, Way
from keeper.core.economics import HANDOVER_GAS, TRANSFER_GAS, transfer_gas
from keeper.core.plan import Stage, Transfer
from keeper.core.policy import DonorsOrder
from keeper.core.snapshot import SubaccountId
from keeper.core.stages import DUST_SHARE, GOAL_SLACK, donors_for, kept, kind_between
from keeper.core.units import WAD, Address, Wad

UNIT = 10**36
"""Finer than the raw units of any amount."""
CENT = WAD // 100
"""Capital that differs by less is taken for equal."""


class Cost(NamedTuple):
    """What sources cost, in the order in which it counts."""

    indebted: int = 0
    """Capital from donors with debt, in cents; 0 when the owner wants the least gas whoever gives."""
    gas: int = 0
    capital: int = 0
    """All of it, in cents."""


class Spent(NamedTuple):
    """A cost that still grows: capital in UNIT times WAD, so that nothing is rounded on the way."""

    indebted: int = 0
    gas: int = 0
    capital: int = 0

    def plus(self, more: "Spent") -> "Spent":
        return Spent(self.indebted + more.indebted, self.gas + more.gas, self.capital + more.capital)

    @property
    def cost(self) -> Cost:
        return Cost(self.indebted // (UNIT * CENT), self.gas, self.capital // (UNIT * CENT))


@dataclass(frozen=True, slots=True)
class Served:
    """A rescue whose sources may still change."""

    recipient: Account
    stage: Stage
    transfers: tuple[Transfer, ...]
    health_after: Wad
    """What the recipient ends with: no donor with debt may end with a smaller cushion."""

    def keep(self, donor: Account, least: Wad, bar: Wad, *, is_one_way: bool) -> Keep:
        """What a donor must be left with that gives to it: a health of `least` at least, and `bar` after its shock.

        On several ways each amount is rounded up, so the recipient may end slightly higher than it did.
        """
        reached = self.health_after if is_one_way else self.health_after + self.health_after // GOAL_SLACK
        demanded = kept(donor, self.recipient.cushion(reached), self.stage)
        return Keep(max(demanded.health, least), max(demanded.health_after_shock, bar))

    def way(self, transfer: Transfer) -> Way:
        """The way on which one of its transfers helps."""
        sought = transfer.token, transfer.is_repayment
        return next(way for way in self.recipient.ways if (way.token, way.is_repayment) == sought)


@dataclass(frozen=True, slots=True)
class Arc:
    """One donor on one way."""

    donor: Account
    way: Way
    keep: Keep
    """What it must be left with if it gives."""
    gas: int
    full_raw: int
    """What does alone what the rescue does."""
    capital: int
    """What that is worth."""
    indebted: int
    """The same if it counts as taken from a donor with debt, else 0."""

    def amount(self, share: int, *, is_mixed: bool) -> int:
        """What brings a share; rounded up by a unit and more when ways are mixed, for each rounds on its own."""
        exact = share * self.full_raw
        return -(-exact // UNIT) + 1 if is_mixed else (exact + UNIT // 2) // UNIT

    def share(self, amount_raw: int) -> int:
        return amount_raw * UNIT // self.full_raw

    def spent(self, share: int) -> Spent:
        return Spent(share * self.indebted, self.gas, share * self.capital)


@dataclass(frozen=True, slots=True)
class Demand:
    rescue: int
    """The place of its rescue."""
    stage: Stage
    arcs: tuple[Arc, ...]
    limits: Mapping[Way, int]
    """What may arrive on each way."""
    rooms: list[int] = field(default_factory=list[int])
    """What each arc can bring as long as nothing else is placed, raw units."""

    @property
    def is_within_reach(self) -> bool:
        shares = (arc.share(room) + 1 for arc, room in zip(self.arcs, self.rooms, strict=True) if room)
        return sum(shares) >= UNIT


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
    bar: Wad,
    order: DonorsOrder,
) -> list[Demand]:
    """One for each rescue, the largest first of those that may take the same token; rooms are not known yet."""
    recipients = {served.recipient.id for served in rescues}
    is_debt_free_first = order is DonorsOrder.DEBT_FREE_FIRST
    found: list[Demand] = []
    for place, (served, usable) in enumerate(zip(rescues, fulls, strict=True)):
        arcs: list[Arc] = []
        for way, full in usable.items():
            capital = served.recipient.capital(way, full)
            for donor in donors_for(book, served.recipient, way.token.address):
                if donor.id in recipients:
                    continue
                indebted = capital if is_debt_free_first and donor.has_debt else 0
                gas = transfer_gas(donor.id, kind_between(donor, served.recipient, way))
                keep = served.keep(donor, least.get(donor.id, 0), bar, is_one_way=len(usable) == 1)
                arcs.append(Arc(donor, way, keep, gas, full, capital, indebted))
        if is_debt_free_first:
            arcs = [arc for arc in arcs if not _is_dust(book, arc)]
        arcs.sort(key=lambda arc: (is_debt_free_first and arc.donor.has_debt, arc.donor.id))
        limits = {way: book.room(served.recipient, way) for way in usable}
        found.append(Demand(place, served.stage, tuple(arcs), limits))

    def largest_first(demand: Demand) -> tuple[str, int, int]:
        way = rescues[demand.rescue].way(rescues[demand.rescue].transfers[0])
        return way.token.address, -fulls[demand.rescue][way], demand.rescue

    return sorted(found, key=largest_first)


def _is_dust(book: Book, arc: Arc) -> bool:
    """Whether a debt-free donor has so little that it is not worth its gas."""
    if arc.donor.has_debt:
        return False
    return book.available(arc.donor, arc.way.token.address) * DUST_SHARE < arc.full_raw


def spent_on(rescues: Sequence[Served], indebted: frozenset[SubaccountId], order: DonorsOrder) -> Spent:
    """What the rescues' own transfers cost; `indebted`: the donors with debt."""
    spent = Spent()
    for served, transfer in ((each, transfer) for each in rescues for transfer in each.transfers):
        capital = served.recipient.capital(served.way(transfer), transfer.amount_raw) * UNIT
        counts = order is DonorsOrder.DEBT_FREE_FIRST and transfer.donor in indebted
        spent = spent.plus(Spent(capital if counts else 0, transfer_gas(transfer.donor, transfer.kind), capital))
    return spent


# Bounds ---------------------------------------------------------------------------------------------------------------


def least_gas(demand: Demand) -> int:
    """What it takes at least when nothing else is placed."""
    rooms = [(room, arc) for room, arc in zip(demand.rooms, demand.arcs, strict=True) if room]
    alone = [arc.gas for room, arc in rooms if room >= arc.full_raw]
    several, rest = 0, UNIT
    for share in sorted((arc.share(room) + 1 for room, arc in rooms), reverse=True):
        if rest <= 0:
            break
        several, rest = several + 1, rest - share
    return min([*alone, max(several, 2) * min(arc.gas for _, arc in rooms)])


def least_spent(demands: Sequence[Demand], alone: Sequence[int]) -> Spent:
    """What these demands take at least together; `alone`: the least gas of each."""
    capital = sum(UNIT * min(arc.capital for arc in demand.arcs) for demand in demands)
    return Spent(_least_indebted(demands), _least_gas_together(demands, alone), capital)


def _least_gas_together(demands: Sequence[Demand], alone: Sequence[int]) -> int:
    """No more demands are placed whole at donors whose transfers are cheap than have room there, the smallest first;
    any other takes two such transfers, or a dearer one. Only of those that have but one token to take."""
    cheap, dear, *_ = sorted({*TRANSFER_GAS.values(), *HANDOVER_GAS.values()})
    rooms: dict[Address, int] = {}
    candidates: list[tuple[int, Address]] = []
    for demand, gas in zip(demands, alone, strict=True):
        here: dict[Address, int] = {}
        for room, arc in zip(demand.rooms, demand.arcs, strict=True):
            if arc.gas == cheap:
                here[arc.way.token.address] = here.get(arc.way.token.address, 0) + room
        for token, room in here.items():
            rooms[token] = max(rooms.get(token, 0), room)
        if gas == cheap and len({arc.way for arc in demand.arcs}) == 1:
            candidates.append((demand.arcs[0].full_raw, demand.arcs[0].way.token.address))
    total = sum(alone)
    for amount, token in sorted(candidates):
        rooms[token] -= amount
        if rooms[token] < 0:
            total += min(dear, 2 * cheap) - cheap
    return total


def _least_indebted(demands: Sequence[Demand]) -> int:
    """What donors without debt cannot cover: of one token all demands together, else each for itself."""
    free: dict[Way, int] = {}
    asked: dict[Address, list[Arc]] = {}
    short = 0
    for demand in demands:
        if not any(arc.indebted for arc in demand.arcs):
            continue
        rooms = [(room, arc) for room, arc in zip(demand.rooms, demand.arcs, strict=True) if not arc.indebted]
        if len({arc.way for arc in demand.arcs}) > 1:
            covered = sum(arc.share(room) + 1 for room, arc in rooms)
            short += max(UNIT - covered, 0) * min(arc.capital for arc in demand.arcs)
            continue
        first = demand.arcs[0]
        asked.setdefault(first.way.token.address, []).append(first)
        free[first.way] = sum(room for room, _ in rooms)
    for token, arcs in asked.items():
        room = max(room for way, room in free.items() if way.token.address == token)
        missing = max(sum(arc.full_raw for arc in arcs) - room, 0)
        short += min(missing * UNIT * arc.capital // arc.full_raw for arc in arcs)
    return short


def orders(demands: list[Demand], most: int) -> Iterator[list[Demand]]:
    """Largest first; smallest first, for then as many as fit go where transfers are cheap; and some between."""
    yield demands
    yield demands[::-1]
    for start in range(1, min(len(demands), most - 1)):
        yield demands[start:] + demands[:start]
