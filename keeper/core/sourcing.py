"""Who gives what: the sources of rescues whose recipients are decided, and how much each of them is helped.

The problem. Recipient j is to be brought to a health h(j) on its ways w: d(j,w) raw units would do it alone, of a
collateral (h debt - collateral) / weight, of a repaid debt (h debt - collateral) / h. Of x(i,j,w) >= 0 from donor i:

    sum over i and w of x(i,j,w) / d(j,w) = 1
    no more of a token than the guard's cap, nor on a way than may arrive on it
    i, with all that it gives taken away, keeps what every j that it gives to demands of it (`Served.keep`): those of
    normal rescues, which are carried out first, before any last stand; those of last stands at the end
    i, if it is in need itself, keeps the cushion that it was left with, in steps of a hundredth
    at most TRANSFERS_PER_RESCUE_MAX transfers into one j

Wanted is, in this order, with v(j,w) what a raw unit is worth:

    1. donors_order = "debt-free first": the least sum of v(j,w) x(i,j,w) over all i with debt, to the cent; a debt-free
       donor with less than a hundredth of d(j,w) is not asked. "least gas": left out
    2. the least sum of `economics.transfer_gas` over all x > 0
    3. the least sum of v(j,w) x(i,j,w), to the cent
    4. the highest lowest health that a donor with debt has after its own shock, in buckets of 100 bp
    5. the lowest ids

The search places one demand after the other: whole at one donor, or by emptying donors until one covers the rest. Such
are the corners of the problem, where of every connected part at most one donor is not emptied. It goes back while a
bound says that a lower cost may be possible, and stops after a number of tries, never by a clock; then it starts again
with the demands in another order. All amounts are integers that the exact arithmetic allowed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keeper.core.book import Account, Book, Keep, Way
from keeper.core.demands import (
    UNIT,
    Arc,
    Cost,
    Demand,
    Fulls,
    Served,
    Spent,
    demands_of,
    fulls_of,
    least_gas,
    least_spent,
    orders,
    spent_on,
)
from keeper.core.plan import Stage, Transfer
from keeper.core.policy import DonorsOrder
from keeper.core.snapshot import SubaccountId
from keeper.core.stages import TRANSFERS_PER_RESCUE_MAX, transfer_between
from keeper.core.units import WAD, Address, Wad

TRIES_MAX = 2_000
"""How often a search for a lower cost may try a donor for a demand, in each of its orders."""
BAR_TRIES_MAX = 400
"""The same for a search at the same cost that leaves donors better off."""
ORDERS_MAX = 14
"""In how many orders the demands are placed in a search for a lower cost."""
FEW_ORDERS = 2
"""The same in one at the same cost, and where only less capital is possible."""
BUCKET = WAD // 100

Sources = list[tuple[Transfer, ...]]
"""The transfers of each rescue, in the order of the rescues."""


def cheapest(book: Book, rescues: Sequence[Served], least: Mapping[SubaccountId, Wad], order: DonorsOrder) -> Sources:
    """The best sources that were found, with what came in done by them; those that came in where none are better.

    `book` is as before all of them. `least`: healths below which some donors must not end whomever they give to, for
    they are in need themselves.
    """
    best: Sources = [served.transfers for served in rescues]
    fulls = fulls_of(book, rescues)
    if fulls is None:
        return best
    indebted = frozenset(donor.id for donors in book.donors.values() for donor in donors if donor.has_debt)
    cost = spent_on(rescues, indebted, order).cost
    problem = _Problem(book, rescues, fulls, least, order)
    found = _Search(problem, 0, cost).found()
    best, cost = found or (best, cost)
    # The bar is raised as long as the same cost allows it: by steps that double, then by halves.
    as_good = cost._replace(capital=cost.capital + 1)
    low, high, step = _lowest(book, best), None, 1
    while low is not None and (high is None or high - low > 1):
        bar = low + step if high is None else (low + high) // 2
        better = _Search(problem, bar * BUCKET, as_good, is_first_enough=True).found()
        if better is None:
            high = bar
        else:
            best, step = better[0], 2 * step
            low = None if _lowest(book, best) is None else bar
    return best


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
class _Problem:
    book: Book
    rescues: Sequence[Served]
    fulls: Fulls
    least: Mapping[SubaccountId, Wad]
    order: DonorsOrder

    def demands(self, bar: Wad) -> list[Demand]:
        return demands_of(self.book, self.rescues, self.fulls, self.least, bar, self.order)


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

    def __init__(self, problem: _Problem, bar: Wad, limit: Cost, *, is_first_enough: bool = False):
        self._book = problem.book
        self._rescues = problem.rescues
        self._demands = problem.demands(bar)
        self._limit = limit
        """Only what costs less is looked for."""
        self._is_one_way = all(len(demand.limits) == 1 for demand in self._demands)
        """Then how much of each token moves is fixed, and no limit can be passed."""
        self._is_first_enough = is_first_enough
        self._tries_max = BAR_TRIES_MAX if is_first_enough else TRIES_MAX
        self._tries = 0
        self._least: list[Spent] = []
        """The least that a demand and all after it take, by the demand's place."""
        # What is placed so far.
        self._drawn: dict[SubaccountId, _Drawn] = {}
        self._counts = [0] * len(problem.rescues)
        self._moved: dict[Address, int] = {}
        self._arrived: dict[tuple[int, Way], int] = {}
        self._placed: list[tuple[Demand, Arc, int]] = []
        self._found: list[tuple[Demand, Arc, int]] | None = None
        for demand in self._demands:
            demand.rooms.extend(self._left(demand, arc) for arc in demand.arcs)

    def found(self) -> tuple[Sources, Cost] | None:
        """The sources of the least cost, or the first ones, below the limit."""
        if not all(demand.is_within_reach for demand in self._demands):
            return None
        gas = {demand.rescue: least_gas(demand) for demand in self._demands}
        bound = least_spent(self._demands, [gas[demand.rescue] for demand in self._demands]).cost
        for number, order in enumerate(orders(self._demands, ORDERS_MAX)):
            is_last_wish = self._is_first_enough or bound[:-1] >= self._limit[:-1]
            if bound >= self._limit or self._is_enough() or (is_last_wish and number >= FEW_ORDERS):
                break
            self._demands, self._tries = order, 0
            alone = [gas[demand.rescue] for demand in order]
            self._least = [least_spent(order[place:], alone[place:]) for place in range(len(order) + 1)]
            if order:
                self._place(0, UNIT, Spent(), 0)
        if self._found is None:
            return None
        transfers: list[list[Transfer]] = [[] for _ in self._rescues]
        for demand, arc, amount in self._found:
            recipient = self._rescues[demand.rescue].recipient
            transfers[demand.rescue].append(transfer_between(arc.donor, recipient, arc.way, amount))
        ordered = [tuple(sorted(each, key=lambda one: (-one.kind, one.donor, one.token.address))) for each in transfers]
        return ordered, self._limit

    def _is_enough(self) -> bool:
        return self._is_first_enough and self._found is not None

    # What is left -----------------------------------------------------------------------------------------------------

    def _room(self, demand: Demand, number: int) -> int:
        arc = demand.arcs[number]
        if self._is_one_way and arc.donor.id not in self._drawn:
            return demand.rooms[number]
        return self._left(demand, arc)

    def _left(self, demand: Demand, arc: Arc) -> int:
        """What an arc can still bring: its donor must keep all that it is asked to, and no limit is passed."""
        donor, token = arc.donor, arc.way.token.address
        arrived = self._arrived.get((demand.rescue, arc.way), 0)
        within = min(demand.limits[arc.way] - arrived, self._book.cap(token) - self._moved.get(token, 0))
        drawn = self._drawn.get(donor.id, _UNDRAWN)
        if not donor.has_debt:
            return max(min(self._book.spare(donor, token, arc.keep) - drawn.used(token), within), 0)
        after = drawn.with_keep(demand.stage, arc.keep)
        lefts = [within]
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

    # The search -------------------------------------------------------------------------------------------------------

    def _place(self, place: int, rest: int, spent: Spent, first: int) -> None:
        """Places what is left of a demand, and all after it; of its donors, only those from `first` on are emptied."""
        if rest == 0:
            if place + 1 == len(self._demands):
                self._found, self._limit = list(self._placed), spent.cost
            else:
                self._place(place + 1, UNIT, spent, 0)
            return
        demand = self._demands[place]
        count = self._counts[demand.rescue]
        if count == TRANSFERS_PER_RESCUE_MAX:
            return
        ways = {arc.way for _, arc, _ in self._placed[len(self._placed) - count :]} if count else set[Way]()
        # What each arc can bring: all of the rest, or less.
        whole: list[tuple[int, int, int, int, int]] = []
        emptied: list[tuple[int, int, int, int, int]] = []
        free, gas = 0, 0
        for number, arc in enumerate(demand.arcs):
            room = self._room(demand, number)
            if not room:
                continue
            gas = min(gas or arc.gas, arc.gas)
            amount = arc.amount(rest, is_mixed=bool(ways - {arc.way}))
            share = min(arc.share(room), rest)
            free += 0 if arc.indebted else share + 1
            if room >= amount:
                whole.append((arc.indebted, arc.gas, arc.capital, room, number))
            elif number >= first and share:
                emptied.append((arc.indebted, arc.gas, arc.capital, -share, number))
        self._tries += len(demand.arcs)
        after = self._least[place + 1]
        capital = min(arc.capital for arc in demand.arcs)
        short = max(rest - free, 0) * capital if any(arc.indebted for arc in demand.arcs) else 0
        for _, _, _, size, number in (*sorted(whole), *sorted(emptied)):
            if self._tries > self._tries_max or self._is_enough():
                return
            arc, is_emptied = demand.arcs[number], size < 0
            share = -size if is_emptied else rest
            more = arc.spent(share)
            least = Spent(
                spent.indebted + max(more.indebted, short) + after.indebted,
                spent.gas + more.gas + after.gas + (gas if is_emptied else 0),
                spent.capital + more.capital + (rest - share) * capital + after.capital,
            )
            if least.cost >= self._limit:
                continue
            amount = self._room(demand, number) if is_emptied else arc.amount(rest, is_mixed=bool(ways - {arc.way}))
            drawn = self._drawn.get(arc.donor.id)
            self._put(demand, arc, amount)
            self._place(place, rest - share, spent.plus(more), number + 1)
            self._take_back(drawn)

    def _put(self, demand: Demand, arc: Arc, amount: int) -> None:
        token, into = arc.way.token.address, (demand.rescue, arc.way)
        drawn = self._drawn.get(arc.donor.id, _UNDRAWN)
        self._drawn[arc.donor.id] = drawn.by(demand.stage, arc.keep, token, amount)
        self._moved[token] = self._moved.get(token, 0) + amount
        self._arrived[into] = self._arrived.get(into, 0) + amount
        self._counts[demand.rescue] += 1
        self._placed.append((demand, arc, amount))

    def _take_back(self, drawn: _Drawn | None) -> None:
        """Takes back the last that was put, with what was taken from its donor before."""
        demand, arc, amount = self._placed.pop()
        self._counts[demand.rescue] -= 1
        self._moved[arc.way.token.address] -= amount
        self._arrived[demand.rescue, arc.way] -= amount
        if drawn is None:
            del self._drawn[arc.donor.id]
        else:
            self._drawn[arc.donor.id] = drawn
