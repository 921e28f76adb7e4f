"""Who gives what, for the least gas: the sources of rescues whose recipients and amounts are decided.

The problem. Recipient j is to get d(j,t) raw units of token t. Of x(i,j,t) >= 0 from donor i:

    sum over i of x(i,j,t) = d(j,t)
    i, with all that it gives taken away, keeps what every j that it gives to demands of it (`Served.keep`): those of
    normal rescues, which are carried out first, before any last stand; those of last stands at the end
    i, if it is in need itself, keeps the cushion that it was left with, in steps of a hundredth
    at most TRANSFERS_PER_RESCUE_MAX transfers into one j

Wanted is, in this order: the least sum of TRANSFER_GAS over all x > 0; the highest lowest health that a donor with debt
has after its own shock, in buckets of 100 bp; the lowest ids. How much moves is fixed.

The search places one demand after the other: whole at one donor, or by emptying donors until one covers the rest. Such
are the corners of the problem, where of every connected part at most one donor is not emptied. It goes back while a
bound says that less gas may be possible, and stops after a number of tries, never by a clock; then it starts again with
the demands in another order. All amounts are integers that the exact arithmetic allowed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from keeper.core.book import Account, Book, Keep
from keeper.core.economics import TRANSFER_GAS
from keeper.core.plan import Stage, Transfer
from keeper.core.snapshot import SubaccountId, Token
from keeper.core.stages import TRANSFERS_PER_RESCUE_MAX, donors_for, kept, kind_between, transfer_between
from keeper.core.units import WAD, Address, Wad

TRIES_MAX = 1_000
"""How often a search for less gas may try a donor for a demand, in each of its orders."""
BAR_TRIES_MAX = 400
"""The same for a search at the same gas that leaves donors better off."""
ORDERS_MAX = 14
"""In how many orders the demands are placed in a search for less gas; in one at the same gas, two."""
BUCKET = WAD // 100

Sources = list[tuple[Transfer, ...]]
"""The transfers of each rescue, in the order of the rescues."""


@dataclass(frozen=True, slots=True)
class Served:
    """A rescue whose sources may still change."""

    recipient: Account
    stage: Stage
    transfers: tuple[Transfer, ...]
    cushion: Wad
    """What the recipient ends with: no donor with debt may end with less."""

    def keep(self, donor: Account, least: Wad, bar: Wad) -> Keep:
        """What a donor must be left with that gives to it: a health of `least` at least, and `bar` after its shock."""
        demanded = kept(donor, self.cushion, self.stage)
        return Keep(max(demanded.health, least), max(demanded.health_after_shock, bar))


def cheapest(book: Book, rescues: Sequence[Served], least: Mapping[SubaccountId, Wad]) -> Sources:
    """The best sources that were found, with the totals that came in; those that came in where none are better.

    `book` is as before all of them. `least`: healths below which some donors must not end whomever they give to, for
    they are in need themselves.
    """
    best: Sources = [served.transfers for served in rescues]
    best = _Search(book, rescues, least, 0, _gas(best) - 1).found() or best
    # The bar is raised as long as the same gas allows it: by steps that double, then by halves.
    low, high, step = _lowest(book, best), None, 1
    while low is not None and (high is None or high - low > 1):
        bar = low + step if high is None else (low + high) // 2
        better = _Search(book, rescues, least, bar * BUCKET, _gas(best), is_first_enough=True).found()
        if better is None:
            high = bar
        else:
            best, step = better, 2 * step
            low = None if _lowest(book, better) is None else bar
    return best


def _gas(sources: Sources) -> int:
    return sum(TRANSFER_GAS[transfer.kind] for transfers in sources for transfer in transfers)


def _lowest(book: Book, sources: Sources) -> int | None:
    """The lowest health of a donor with debt after its shock, in whole buckets; None when no donor has debt."""
    after = book.fork()
    for transfer in (transfer for transfers in sources for transfer in transfers):
        after.move(transfer)
    tokens = {transfer.token.address for transfers in sources for transfer in transfers}
    givers = [donor for token in tokens for donor in book.donors[token] if donor.has_debt and donor.id in after.given]
    healths = [after.risk(donor, is_shocked=True).health_factor for donor in givers]
    return min(healths) // BUCKET if healths else None


@dataclass(frozen=True, slots=True)
class _Demand:
    rescue: int
    """The place of its rescue."""
    stage: Stage
    token: Token
    amount_raw: int
    donors: tuple[tuple[Account, Keep, int], ...]
    """Who may give, what it must be left with then, and the gas of that transfer; by id."""
    rooms: list[int] = field(default_factory=list[int])
    """What each of them can give as long as nobody else is given anything by it."""


@dataclass(frozen=True, slots=True)
class _Drawn:
    """What is taken from one donor so far, and what those that it gives to demand of it, by stage."""

    keeps: Mapping[Stage, Keep]
    amounts: Mapping[tuple[Stage, Address], int]

    def used(self, token: Address, stage: Stage = Stage.LAST_STAND) -> int:
        """What counts at a stage's limit: normal rescues come first, and what last stands take is no matter to them."""
        normal = self.amounts.get((Stage.NORMAL, token), 0)
        return normal if stage is Stage.NORMAL else normal + self.amounts.get((Stage.LAST_STAND, token), 0)

    def with_keep(self, stage: Stage, keep: Keep) -> "_Drawn":
        known = self.keeps.get(stage, keep)
        joined = Keep(max(known.health, keep.health), max(known.health_after_shock, keep.health_after_shock))
        return _Drawn({**self.keeps, stage: joined}, self.amounts)

    def by(self, stage: Stage, keep: Keep, token: Address, amount: int) -> "_Drawn":
        spot = (stage, token)
        return _Drawn(self.with_keep(stage, keep).keeps, {**self.amounts, spot: self.amounts.get(spot, 0) + amount})


_UNDRAWN = _Drawn({}, {})


class _Search:
    """Depth first through the demands, the largest first."""

    def __init__(
        self,
        book: Book,
        rescues: Sequence[Served],
        least: Mapping[SubaccountId, Wad],
        bar: Wad,
        gas_max: int,
        *,
        is_first_enough: bool = False,
    ):
        self._book = book
        self._rescues = rescues
        self._demands = _demands(book, rescues, least, bar)
        self._gas_max = gas_max
        self._is_first_enough = is_first_enough
        self._tries_max = BAR_TRIES_MAX if is_first_enough else TRIES_MAX
        self._tries = 0
        self._least: list[int] = []
        """The least gas of a demand and all after it, by the demand's place."""
        # What is placed so far.
        self._drawn: dict[SubaccountId, _Drawn] = {}
        self._counts = [0] * len(rescues)
        self._placed: list[tuple[_Demand, Account, int]] = []
        self._found: list[tuple[_Demand, Account, int]] | None = None
        for demand in self._demands:
            demand.rooms.extend(self._left(demand, donor, keep) for donor, keep, _ in demand.donors)

    def found(self) -> Sources | None:
        """The sources with the least gas, or the first ones, that take no more than the most allowed."""
        if any(sum(demand.rooms) < demand.amount_raw for demand in self._demands):
            return None
        for order in _orders(self._demands, 2 if self._is_first_enough else ORDERS_MAX):
            self._demands, self._tries = order, 0
            alone = [self._least_gas(demand) for demand in order]
            self._least = [_least_of(order[place:], alone[place:]) for place in range(len(order) + 1)]
            if order and not self._is_enough():
                self._place(0, self._demands[0].amount_raw, 0, 0)
        if self._found is None:
            return None
        transfers: list[list[Transfer]] = [[] for _ in self._rescues]
        for demand, donor, amount in self._found:
            recipient = self._rescues[demand.rescue].recipient
            transfers[demand.rescue].append(transfer_between(donor, recipient, demand.token, amount))
        return [tuple(sorted(each, key=lambda one: (-one.kind, one.donor))) for each in transfers]

    def _is_enough(self) -> bool:
        return self._is_first_enough and self._found is not None

    def _least_gas(self, demand: _Demand) -> int:
        """What it takes at least when nothing else is placed."""
        rooms = [(room, gas) for room, (_, _, gas) in zip(demand.rooms, demand.donors, strict=True)]
        alone = [gas for room, gas in rooms if room >= demand.amount_raw]
        several, rest = 0, demand.amount_raw
        for room, _ in sorted(rooms, reverse=True):
            if rest <= 0:
                break
            several, rest = several + 1, rest - room
        return min([*alone, max(several, 2) * min(gas for room, gas in rooms if room)])

    def _left(self, demand: _Demand, donor: Account, keep: Keep) -> int:
        """What the donor can still give of the demand's token when it must keep all that it is asked to."""
        drawn, token = self._drawn.get(donor.id, _UNDRAWN), demand.token.address
        if not donor.has_debt:
            return max(self._book.spare(donor, token, keep) - drawn.used(token), 0)
        after = drawn.with_keep(demand.stage, keep)
        lefts: list[int] = []
        if demand.stage is Stage.NORMAL:
            lefts.append(self._within(donor, token, after, Stage.NORMAL))
        if Stage.LAST_STAND in after.keeps:
            lefts.append(self._within(donor, token, after, Stage.LAST_STAND))
        return max(min(lefts), 0)

    def _within(self, donor: Account, token: Address, drawn: _Drawn, stage: Stage) -> int:
        """What a stage's limit leaves of a token. On straight lines: what other tokens took of the margin is gone."""
        keep = drawn.keeps[stage]
        spare = self._spare(donor, token, keep)
        left = spare - drawn.used(token, stage)
        for line in donor.subaccount.collateral:
            other = line.token.address
            used = 0 if other == token else drawn.used(other, stage)
            if used:
                left -= -(-spare * used // max(self._spare(donor, other, keep), 1))
        return left

    def _spare(self, donor: Account, token: Address, keep: Keep) -> int:
        """Our own limits are kept to the unit; the margin for a later block is for what guard and protocol demand."""
        demanded = self._book.spare(donor, token, Keep(donor.limits.hard_floor))
        return min(demanded, self._book.most(donor, token, keep))

    def _place(self, place: int, rest: int, gas: int, first: int) -> None:
        """Places what is left of a demand, and all after it; of its donors, only those from `first` on are emptied."""
        if rest == 0:
            if place + 1 == len(self._demands):
                self._found, self._gas_max = list(self._placed), gas - 1
                return
            self._place(place + 1, self._demands[place + 1].amount_raw, gas, 0)
            return
        demand = self._demands[place]
        if self._counts[demand.rescue] == TRANSFERS_PER_RESCUE_MAX:
            return
        after = self._least[place + 1]
        rooms = [
            (
                self._left(demand, donor, keep) if donor.id in self._drawn else demand.rooms[number],
                number,
                donor,
                keep,
                arc,
            )
            for number, (donor, keep, arc) in enumerate(demand.donors)
        ]
        self._tries += len(rooms)
        cheapest_arc = min((arc for room, *_, arc in rooms if room), default=0)
        whole = sorted((arc, room, number) for room, number, _, _, arc in rooms if room >= rest)
        emptied = sorted(
            (arc, -room, number) for room, number, _, _, arc in rooms if 0 < room < rest and number >= first
        )
        for arc, room, number in (*whole, *emptied):
            is_emptied = room < 0
            least = gas + arc + after + (cheapest_arc if is_emptied else 0)
            if least > self._gas_max or self._tries > self._tries_max or self._is_enough():
                continue
            amount = -room if is_emptied else rest
            _, _, donor, keep, _ = rooms[number]
            drawn = self._drawn.get(donor.id)
            self._drawn[donor.id] = (drawn or _UNDRAWN).by(demand.stage, keep, demand.token.address, amount)
            self._counts[demand.rescue] += 1
            self._placed.append((demand, donor, amount))
            self._place(place, rest - amount, gas + arc, number + 1)
            self._placed.pop()
            self._counts[demand.rescue] -= 1
            if drawn is None:
                del self._drawn[donor.id]
            else:
                self._drawn[donor.id] = drawn


def _least_of(demands: Sequence[_Demand], alone: Sequence[int]) -> int:
    """What these demands take at least together.

    No more of them are placed whole at donors whose transfers are cheap than have room there, the smallest first; any
    other takes two such transfers, or a dear one.
    """
    cheap, dear = min(TRANSFER_GAS.values()), max(TRANSFER_GAS.values())
    rooms: dict[Address, int] = {}
    for demand in demands:
        room = sum(room for room, (_, _, gas) in zip(demand.rooms, demand.donors, strict=True) if gas == cheap)
        rooms[demand.token.address] = max(rooms.get(demand.token.address, 0), room)
    total = sum(alone)
    candidates = [demand for demand, gas in zip(demands, alone, strict=True) if gas == cheap]
    for demand in sorted(candidates, key=lambda one: one.amount_raw):
        rooms[demand.token.address] -= demand.amount_raw
        if rooms[demand.token.address] < 0:
            total += min(dear, 2 * cheap) - cheap
    return total


def _orders(demands: list[_Demand], most: int) -> Iterator[list[_Demand]]:
    """Largest first; smallest first, for then as many as fit go where transfers are cheap; and some between."""
    yield demands
    yield demands[::-1]
    for start in range(1, min(len(demands), most - 1)):
        yield demands[start:] + demands[:start]


def _demands(book: Book, rescues: Sequence[Served], least: Mapping[SubaccountId, Wad], bar: Wad) -> list[_Demand]:
    """What each rescue brings of each token, the largest first within a token."""
    recipients = {served.recipient.id for served in rescues}
    found: list[_Demand] = []
    for place, served in enumerate(rescues):
        amounts: dict[Token, int] = {}
        for transfer in served.transfers:
            amounts[transfer.token] = amounts.get(transfer.token, 0) + transfer.amount_raw
        for token, amount in amounts.items():
            donors = [
                donor for donor in donors_for(book, served.recipient, token.address) if donor.id not in recipients
            ]
            sources = tuple(
                (
                    donor,
                    served.keep(donor, least.get(donor.id, 0), bar),
                    TRANSFER_GAS[kind_between(donor, served.recipient)],
                )
                for donor in sorted(donors, key=lambda donor: donor.id)
            )
            found.append(_Demand(place, served.stage, token, amount, sources))
    return sorted(found, key=lambda demand: (demand.token.address, -demand.amount_raw, demand.rescue))
