"""The search for sources: one demand after the other, whole at one donor, or by emptying donors until one covers the
rest.

Such are the corners of the problem: its transfers are a forest, and in every tree at most one donor is not emptied.
What is placed next is what the bounds (`keeper.core.bounds`) say may cost least; what they say cannot cost less than
the best that is known is not tried. A corner is found only in an order in which a donor's last demand comes last.

All demands are placed first, in two orders. Where the bounds leave hope for less, a few are then placed anew beside
the best that is known of all others: one that takes more than it would alone, with those that stand in its way; and
what the lot says, a few or all of them. All is counted, nothing is timed.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from keeper.core.book import Book, Way
from keeper.core.bounds import SCALE_BITS, Emptied, GasBound, best_prices, no_prices
from keeper.core.demands import BUCKET, CAPITAL_STEP, UNIT, Arc, Cost, Demand, Spent
from keeper.core.snapshot import SubaccountId
from keeper.core.stages import TRANSFERS_PER_RESCUE_MAX
from keeper.core.supply import Drawn, Supply
from keeper.core.units import Wad

NODES_OF_ALL = 1_200
"""How often a demand, or what is left of it, may be looked at while all are placed, times how many they are."""
NODES_OF_FEW = 40
"""How often while a few are."""
NODES_MIN = 20
"""For so many an attempt counts at least."""
NODES_MAX = 12_000
"""About how many there may be in a whole search for the optimum,"""
NODES_BY_SIZE = 96_000_000_000
"""and what they may be times the cube of demands times donors: with more of them each takes longer, and what is not
found makes less of a difference."""
NODES_OF_MANY = 1_000
"""How many where there are too many accounts to look for more than what is near it."""
EXHAUSTED = 8
"""Where both first orders hold nothing more, such a part of it."""
ORDERS = 2
"""In which all are placed first."""
FEW = 5
"""So many are placed anew at once."""
LOTS_MAX = 1_000
PRIME, ROOT = 65_537, 75
"""A prime and one of its primitive roots, whose powers are the lots."""

_STEP = CAPITAL_STEP * UNIT
"""In the units of `Spent`."""

Given = tuple[SubaccountId, Way, int]
"""Who gives, on which way, and how much."""

Placed = tuple[Demand, Arc, int]
"""How much an arc brings to a demand."""

_Put = tuple[int, int, int, int]
"""Demand, arc, amount, share."""

_Choice = tuple[tuple[int, int, int], bool, int, int, int, int]
"""How to go on, in the order in which it is tried: what it costs at least; whether the donor gives all that it has and
the demand needs more; its room, the smallest that is enough first, else the largest; the arc, its share, its amount."""


class _Undo(NamedTuple):
    """What there was before something was put."""

    emptied: Emptied | None
    drawn: Drawn | None


class Search:
    """Sources for demands; `incoming`: those that there are, by rescue, `worth`: what they cost."""

    def __init__(
        self,
        book: Book,
        demands: Sequence[Demand],
        incoming: Sequence[Sequence[Given]],
        worth: Spent,
        *,
        is_of_many: bool = False,
    ):
        self._demands = demands
        self._supply = Supply(book, demands)
        self._is_possible = bool(demands) and all(demand.arcs for demand in demands)
        is_counted = self._is_possible and worth.indebted >= _STEP
        self._prices = best_prices(demands, self._supply.caps) if is_counted else no_prices(demands)
        self._zero = self._prices.bound - _STEP // 2
        self._least_capital = [min((arc.capital for arc in demand.arcs), default=0) for demand in demands]
        self._least_gas = [min((arc.gas for arc in demand.arcs), default=0) for demand in demands]
        self._best: Sequence[_Put] = []
        # What is placed so far.
        self._counts = [0] * len(demands)
        self._placed: list[_Put] = []
        self._wanted = {pool: supply for pool, (_, supply) in self._prices.free.items()}
        """What is left in debt-free pools of which nothing may be left."""
        self._price = {pool: UNIT * price >> SCALE_BITS for pool, (price, _) in self._prices.free.items()}
        if self._is_possible:
            self._bound = GasBound(demands, self._prices)
            self._is_watched = [[self._bound.concerns(arc) for arc in demand.arcs] for demand in demands]
            self._best = self._as_put(incoming)
            donors = {arc.number for demand in demands for arc in demand.arcs}
            most = NODES_OF_MANY if is_of_many else NODES_MAX
            self._nodes_max = min(most, NODES_BY_SIZE // (len(donors) * len(demands)) ** 3)

    def _as_put(self, incoming: Sequence[Sequence[Given]]) -> list[_Put]:
        """Nothing when a donor gives that is not asked here."""
        puts: list[_Put] = []
        for number, demand in enumerate(self._demands):
            spots = {(arc.donor.id, arc.way): at for at, arc in enumerate(demand.arcs)}
            given = incoming[demand.rescue]
            if any((donor, way) not in spots for donor, way, _ in given):
                return []
            rest = UNIT
            for donor, way, amount in given:
                at = spots[donor, way]
                share = rest if (donor, way, amount) == given[-1] else min(demand.arcs[at].share(amount), rest)
                puts.append((number, at, amount, share))
                rest -= share
        return puts

    def cost(self, spent: Spent) -> Cost:
        """In steps, rounded so that what is within half a step of the bound is no more than it."""
        return Cost(max((spent.indebted - self._zero) // _STEP, 0), spent.gas, spent.capital // _STEP)

    def better(self, limit: Cost) -> tuple[list[Placed], Cost] | None:
        """Sources that cost less than the limit, the least that are found."""
        return self._searched(limit, 0)

    def as_good(self, cost: Cost, bar: Wad) -> tuple[list[Placed], Cost] | None:
        """Sources that cost no more, and leave no donor with debt below a health after its shock, about."""
        return self._searched(cost._replace(capital=cost.capital + 1), bar)

    def health_max(self, cost: Cost) -> Wad:
        """No sources of this cost leave every donor with debt that gives more than that after its shock, about."""
        slack = cost.gas - sum(self._least_gas)
        is_whole = slack < min(self._least_gas, default=0)
        """Whether no demand can be served by two."""
        found: list[Wad] = []
        highest = 0
        for demand, least in zip(self._demands, self._least_gas, strict=True):
            possible = [
                arc for arc in demand.arcs if arc.gas - least <= slack and (arc.room >= arc.full_raw or not is_whole)
            ]
            healths = [
                self._supply.health_after_shock(arc, arc.full_raw if is_whole else 0)
                for arc in possible
                if arc.donor.has_debt
            ]
            highest = max([highest, *healths])
            if healths and len(healths) == len(possible):
                found.append(max(healths))
        # Above all of them, donors with debt do not give at all.
        return min(found, default=highest + BUCKET)

    def _searched(self, limit: Cost, bar: Wad) -> tuple[list[Placed], Cost] | None:
        if not self._is_possible:
            return None
        self._rooms = [self._supply.rooms(demand, bar) for demand in self._demands]
        self._limit, self._is_first_enough, self._is_found = limit, bar > 0, False
        numbers = range(len(self._demands))
        self._set_order(numbers)
        least = Cost(0, self._bound.least_from(0), sum(self._least_capital) // CAPITAL_STEP)
        nodes_left = self._nodes_max
        is_cut = False
        for number, few in enumerate(self._attempts(numbers)):
            # Where capital alone may still be less, or a donor be left better off, it is not worth a long search.
            is_refinement = self._is_first_enough or least[:2] >= self._limit[:2]
            is_enough = least >= self._limit or (self._is_first_enough and self._is_found)
            if is_enough or nodes_left <= 0 or (is_refinement and number >= ORDERS):
                break
            is_short = self._is_first_enough or len(few) < len(numbers)
            used = self._go_through(few, NODES_OF_FEW if is_short else NODES_OF_ALL // len(few))
            nodes_left -= max(used, NODES_MIN)
            is_cut |= self._nodes_left < 0
            if number == ORDERS - 1 and not is_cut:
                nodes_left //= EXHAUSTED
        if not self._is_found:
            return None
        return [
            (self._demands[number], self._demands[number].arcs[at], amount) for number, at, amount, _ in self._best
        ], self._limit

    # What to try ------------------------------------------------------------------------------------------------------

    def _attempts(self, numbers: Sequence[int]) -> Iterator[Sequence[int]]:
        """Which demands to place anew, in their order."""
        yield numbers
        yield numbers[::-1]
        known = None
        for lot in self._by_lot(numbers):
            while known is not self._best:
                known = self._best
                for few in self._in_each_others_way(known):
                    yield few
                    if known is not self._best:
                        break
            yield lot

    def _in_each_others_way(self, puts: Sequence[_Put]) -> Iterator[Sequence[int]]:
        """One that takes more gas than it would alone, those first that do most, and the smallest of those that take
        from a donor that would be cheaper for it."""
        takers: dict[int, set[int]] = {}
        gas = [0] * len(self._demands)
        for number, at, _, _ in puts:
            arc = self._demands[number].arcs[at]
            takers.setdefault(arc.number, set()).add(number)
            gas[number] += arc.gas
        excess = [taken - least for taken, least in zip(gas, self._least_gas, strict=True)]
        for number in sorted(range(len(gas)), key=lambda number: -excess[number]):
            for arc in self._demands[number].arcs:
                if excess[number] > 0 and arc.gas < gas[number]:
                    others = sorted(takers.get(arc.number, set()) - {number})[1 - FEW :]
                    yield sorted([number, *others])

    def _by_lot(self, numbers: Sequence[int]) -> Iterator[Sequence[int]]:
        lot = 1
        for turn in range(LOTS_MAX):
            lots = [lot := lot * ROOT % PRIME for _ in numbers]
            order = sorted(numbers, key=lots.__getitem__)
            yield order[:FEW] if turn % 3 and self._best else order

    def _go_through(self, few: Sequence[int], nodes_max: int) -> int:
        """Places these demands in this order, beside the best that is known of all others; how many nodes that took."""
        kept = [put for put in self._best if put[0] not in few] if len(few) < len(self._demands) else []
        spent, charged = Spent(), self._prices.bound
        undo: list[_Undo] = []
        for put in kept:
            number, at, _, share = put
            spent = spent.by(self._demands[number].arcs[at], share)
            charged += share * self._prices.charges[number][at]
            undo.append(self._put(put))
        self._set_order(few)
        self._nodes_left = nodes_max
        self._place(0, UNIT, spent, charged, 0)
        while undo:
            self._take_back(undo.pop())
        return nodes_max - self._nodes_left

    def _set_order(self, order: Sequence[int]) -> None:
        """Sums, from the last demand to the first, what all from there on take."""
        self._order = order
        self._bound.set_order(order)
        self._capital_after = [0]
        self._wanted_after: list[dict[int, int]] = [dict.fromkeys(self._wanted, 0)]
        """Of the pools of which nothing may be left."""
        self._fulls: list[dict[int, int]] = []
        for number in reversed(order):
            full = {arc.pool: arc.full_raw for arc in self._demands[number].arcs if arc.pool in self._wanted}
            wanted = self._wanted_after[-1]
            self._fulls.append(full)
            self._wanted_after.append({pool: amount + full.get(pool, 0) for pool, amount in wanted.items()})
            self._capital_after.append(self._capital_after[-1] + UNIT * self._least_capital[number])
        for sums in (self._capital_after, self._wanted_after, self._fulls):
            sums.reverse()

    # The search -------------------------------------------------------------------------------------------------------

    def _place(self, place: int, rest: int, spent: Spent, charged: int, first: int) -> None:
        """Places what is left of a demand, and all after it; of its donors, only those from `first` on are emptied.

        `charged`: the bound for the capital from donors with debt, with what was placed so far.
        """
        if rest == 0:
            place, rest, first = place + 1, UNIT, 0
        if place == len(self._order):
            cost = self.cost(spent)
            if cost < self._limit:
                self._best, self._limit, self._is_found = list(self._placed), cost, True
            return
        number = self._order[place]
        self._nodes_left -= 1
        arcs, charges = self._demands[number].arcs, self._prices.charges[number]
        for least, _, _, at, share, amount in self._next(place, rest, spent, charged, first):
            if self._nodes_left < 0 or least >= self._limit or (self._is_first_enough and self._is_found):
                return
            arc = arcs[at]
            more = spent.by(arc, share)
            undo = self._put((number, at, amount, share))
            self._place(place, rest - share, more, charged + share * charges[at], at + 1)
            self._take_back(undo)

    def _next(self, place: int, rest: int, spent: Spent, charged: int, first: int) -> list[_Choice]:
        """What may be placed next and cost less than the limit."""
        number, after = self._order[place], place + 1
        demand, supply, bound = self._demands[number], self._supply, self._bound
        touched, caps = supply.touched, supply.caps
        is_begun = rest < UNIT
        arrived = dict[int, int]()
        if is_begun:
            before = self._placed[-self._counts[number] :]
            if len(before) == TRANSFERS_PER_RESCUE_MAX:
                return []
            for _, at, amount, _ in before:
                kind = demand.arcs[at].kind
                arrived[kind] = arrived.get(kind, 0) + amount
        is_mixed = len(arrived) > 1
        gas_after = spent.gas + bound.least_from(after)
        gas_with_more = gas_after + self._least_gas[number]
        capital_after = spent.capital + self._capital_after[after]
        capital_least = self._least_capital[number]
        charged -= self._zero
        over = self._left_over(place)
        wasted = sum(raw * price for _, raw, price, _ in over)
        limit = self._limit
        indebted_max, gas_max, _ = limit
        choices: list[_Choice] = []
        for at, (arc, alone, charge, is_watched) in enumerate(
            zip(demand.arcs, self._rooms[number], self._prices.charges[number], self._is_watched[number], strict=True)
        ):
            room = supply.room(demand, arc, alone) if arc.number in touched else alone
            amount = arc.full_raw
            if is_begun:
                kind = arc.kind
                if kind in arrived:
                    room = min(room, arc.limit_raw - arrived[kind])
                amount = arc.amount(rest, is_mixed=is_mixed or kind not in arrived)
            if caps[arc.token] < room:
                room = caps[arc.token]
            is_emptied = room < amount
            if is_emptied:
                if at < first or room <= 0:
                    continue
                amount, share = room, min(room * UNIT // arc.full_raw, rest)
                if not share:
                    continue
                gas = arc.gas + gas_with_more
            else:
                share = rest
                gas = arc.gas + gas_after
            if is_watched:
                gas += bound.change(after, arc, amount)
            left = rest - share
            total = charged + share * charge
            if over:
                total += self._wasted(over, arc.pool, amount, left) if left or arc.pool in self._wanted else wasted
            indebted = total // _STEP if total > 0 else 0
            if indebted > indebted_max or (gas > gas_max and indebted == indebted_max):
                continue
            capital = capital_after + share * arc.capital + left * capital_least
            least = (indebted, gas, capital // _STEP)
            if least < limit:
                choices.append((least, is_emptied, -room if is_emptied else room, at, share, amount))
        choices.sort()
        return choices

    def _left_over(self, place: int) -> list[tuple[int, int, int, int]]:
        """What no demand after this one can take of pools of which nothing may be left: pool, raw units, the price of
        one, and what all of this demand takes."""
        wanted, fulls = self._wanted_after[place + 1], self._fulls[place]
        return [
            (pool, left - wanted[pool], self._price[pool], fulls.get(pool, 0))
            for pool, left in self._wanted.items()
            if left > wanted[pool]
        ]

    def _wasted(self, over: Sequence[tuple[int, int, int, int]], taken: int, amount: int, left: int) -> int:
        """What it costs that nobody takes that: neither this arc, nor others for what is left of its demand."""
        wasted = 0
        for pool, raw, price, full in over:
            unused = raw - left * full // UNIT - (amount if pool == taken else 0)
            if unused > 0:
                wasted += unused * price
        return wasted

    def _put(self, put: _Put) -> _Undo:
        number, at, amount, _ = put
        demand = self._demands[number]
        arc = demand.arcs[at]
        self._counts[number] += 1
        self._placed.append(put)
        if arc.pool in self._wanted:
            self._wanted[arc.pool] -= amount
        return _Undo(self._bound.draw(arc, amount), self._supply.take(demand, arc, amount))

    def _take_back(self, undo: _Undo) -> None:
        """Takes back the last that was put."""
        number, at, amount, _ = self._placed.pop()
        arc = self._demands[number].arcs[at]
        self._counts[number] -= 1
        if arc.pool in self._wanted:
            self._wanted[arc.pool] += amount
        self._bound.undo(arc, amount, undo.emptied)
        self._supply.give_back(arc, amount, undo.drawn)
