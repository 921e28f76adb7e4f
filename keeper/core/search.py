"""The search for sources: one demand after the other, whole at one donor, or by emptying donors until one covers the
rest.

Such are the corners of the problem: its transfers are a forest, and in every tree at most one donor is not emptied.
What is placed next is what the bounds (`keeper.core.bounds`) say may cost least; what they say cannot cost less than
the best that is known is not tried. A corner is found only in an order in which a donor's last demand comes last, so
that several orders are gone through. All is counted, nothing is timed; all amounts are integers that the exact
arithmetic allowed.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from keeper.core.book import Book, Keep
from keeper.core.bounds import SCALE_BITS, Emptied, GasBound, best_prices, no_prices
from keeper.core.demands import CAPITAL_STEP, UNIT, Arc, Cost, Demand, Spent, spare_of
from keeper.core.plan import Stage
from keeper.core.stages import TRANSFERS_PER_RESCUE_MAX
from keeper.core.units import WAD, Wad

NODES_MAX = 100
"""How often a demand, or what is left of it, may be looked at in one order; more where there are fewer orders."""
NODES_IN_ALL_MAX = 10_000
"""In all orders, about."""
LOTS_MAX = 100
"""How many orders are drawn by lot in a search for sources of less cost."""
FEW_ORDERS = 3
"""In how many where only less capital is possible, and where donors are to be left better off."""
HOPELESS_AFTER = 8
"""In how many there must be any sources at all for the search to go on."""
PRIME, ROOT = 65_537, 75
"""A prime and one of its primitive roots, whose powers are the lots that decide about the order of demands."""

_STEP = CAPITAL_STEP * UNIT
"""In the units of `Spent`."""

Placed = tuple[Demand, Arc, int]
"""How much an arc brings to a demand."""


class _Drawn(NamedTuple):
    """What is taken from a donor with debt so far, and what those that it gives to demand of it, by stage."""

    keeps: Mapping[Stage, Keep]
    amounts: Mapping[tuple[Stage, int], int]

    def used(self, token: int, stage: Stage) -> int:
        """What counts at a stage's limit: normal rescues come first, and what last stands take is no matter to them."""
        normal = self.amounts.get((Stage.NORMAL, token), 0)
        return normal if stage is Stage.NORMAL else normal + self.amounts.get((Stage.LAST_STAND, token), 0)

    def keep(self, stage: Stage, keep: Keep) -> Keep:
        """What it must be left with once it is asked for one more."""
        known = self.keeps.get(stage, keep)
        return Keep(max(known.health, keep.health), max(known.health_after_shock, keep.health_after_shock))

    def by(self, stage: Stage, arc: Arc, amount: int) -> "_Drawn":
        spot = (stage, arc.token)
        keeps = {**self.keeps, stage: self.keep(stage, arc.keep)}
        return _Drawn(keeps, {**self.amounts, spot: self.amounts.get(spot, 0) + amount})


_UNDRAWN = _Drawn({}, {})


_Choice = tuple[tuple[int, int, int], bool, int, int, int, int]
"""How to go on, in the order in which it is tried: what it costs at least; whether the donor gives all that it has and
the demand needs more; its room, the smallest that is enough first, else the largest; the arc, its share, its amount."""


class _Undo(NamedTuple):
    """What there was before something was put."""

    emptied: Emptied | None
    drawn: _Drawn | None
    taken: int | None


class Search:
    """Sources for demands; `worth`: what the incoming ones cost."""

    def __init__(self, book: Book, demands: Sequence[Demand], worth: Spent):
        is_counted = worth.indebted >= _STEP
        if not is_counted:
            demands = [replace(each, arcs=tuple(arc for arc in each.arcs if not arc.indebted)) for each in demands]
        tokens = {arc.token: arc.way.token.address for demand in demands for arc in demand.arcs}
        self._book = book
        self._demands = demands
        self._tokens = tokens
        self._caps = {number: book.cap(token) for number, token in tokens.items()}
        """What may still move of each token."""
        self._is_possible = bool(demands) and all(demand.arcs for demand in demands)
        self._prices = best_prices(demands, self._caps) if is_counted and self._is_possible else no_prices(demands)
        self._zero = self._prices.bound - _STEP // 2
        self._spares: dict[tuple[int, int, Keep], int] = {}
        self._falls: dict[tuple[int, int], tuple[int, int, int]] = {}
        self._nodes_max = max(NODES_MAX, NODES_IN_ALL_MAX // min(math.factorial(len(demands)), LOTS_MAX))
        self._best_order = tuple(range(len(demands)))
        self._has_sources = False
        self._capital = [min((arc.capital for arc in demand.arcs), default=0) for demand in demands]
        # What is placed so far.
        self._taken: dict[tuple[int, int], int] = {}
        """From debt-free donors, by token."""
        self._drawn: dict[int, _Drawn] = {}
        self._touched: dict[int, int] = {}
        """How many amounts were taken from a donor."""
        self._arrived: dict[tuple[int, int, bool], int] = {}
        self._counts = [0] * len(demands)
        self._placed: list[tuple[int, int, int]] = []
        """Demand, arc, amount."""
        self._supply = {pool: supply for pool, (_, supply) in self._prices.free.items()}
        """What is left in debt-free pools of which nothing may be left."""
        if self._is_possible:
            self._bound = GasBound(demands, self._prices)
            self._set_order(self._best_order)

    def cost(self, spent: Spent) -> Cost:
        """In steps, rounded so that what is within half a step of the bound is no more than it."""
        return Cost(max((spent.indebted - self._zero) // _STEP, 0), spent.gas, spent.capital // _STEP)

    def better(self, limit: Cost) -> tuple[list[Placed], Cost] | None:
        """Sources that cost less than the limit, the least that are found."""
        return self._searched(limit, 0)

    def as_good(self, cost: Cost, bar: Wad) -> tuple[list[Placed], Cost] | None:
        """Sources that cost no more, and leave no donor with debt below a health after its shock, about."""
        return self._searched(cost._replace(capital=cost.capital + 1), bar)

    def _searched(self, limit: Cost, bar: Wad) -> tuple[list[Placed], Cost] | None:
        if not self._is_possible:
            return None
        self._start(limit, bar, is_first_enough=bar > 0)
        bound = Cost(0, self._bound.least_from(0), sum(self._capital) // CAPITAL_STEP)
        for number, order in enumerate(self._orders()):
            if bound >= self._limit or (number >= FEW_ORDERS and (bar or bound[:2] >= self._limit[:2])):
                break
            if number == HOPELESS_AFTER and not self._has_any():
                break
            self._go_through(order)
        return None if self._found is None else (self._found, self._limit)

    def _has_any(self) -> bool:
        """Whether there seem to be any sources, whatever they cost."""
        if self._has_sources:
            return True
        limit = self._limit
        self._start(Cost(UNIT), 0, is_first_enough=True)
        for order in itertools.islice(self._orders(), HOPELESS_AFTER):
            self._go_through(order)
        self._start(limit, 0, is_first_enough=False)
        return self._has_sources

    def _start(self, limit: Cost, bar: Wad, *, is_first_enough: bool) -> None:
        """`bar`: the health after its shock that is left to every donor with debt."""
        if bar:
            self._spares = {}
        self._bar = bar
        self._rooms = [
            [min(arc.room, self._above_bar(arc, arc.token)) if bar else arc.room for arc in demand.arcs]
            for demand in self._demands
        ]
        self._limit = limit
        self._is_first_enough = is_first_enough
        self._found: list[Placed] | None = None

    def _go_through(self, order: tuple[int, ...]) -> None:
        if not (self._is_first_enough and self._found):
            self._set_order(order)
            self._nodes = 0
            self._place(0, UNIT, Spent(), self._prices.bound, 0)

    # Orders -----------------------------------------------------------------------------------------------------------

    def _orders(self) -> Iterator[tuple[int, ...]]:
        """The best known, the smallest first, the largest first with some put off, and some by lot; each once."""
        numbers = tuple(range(len(self._demands)))
        put_off = (numbers[start:] + numbers[:start] for start in range(1, len(numbers) - 1))
        known = set[tuple[int, ...]]()
        for order in itertools.chain([self._best_order, numbers[::-1]], put_off, self._by_lot(numbers)):
            if order not in known:
                known.add(order)
                yield order

    def _by_lot(self, numbers: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """By turns any order, and the best known with one demand moved."""
        lot = 1
        for _ in range(LOTS_MAX // 2):
            lots = [lot := lot * ROOT % PRIME for _ in numbers]
            yield tuple(sorted(numbers, key=lots.__getitem__))
            best = list(self._best_order)
            moved = best.pop(lots[0] % len(numbers))
            best.insert(lots[-1] % len(numbers), moved)
            yield tuple(best)

    def _set_order(self, order: tuple[int, ...]) -> None:
        """Sums, from the last demand to the first, what all from there on take."""
        self._order = order
        self._bound.set_order(order)
        self._capital_after = [0]
        self._wanted_after: list[dict[int, int]] = [dict.fromkeys(self._supply, 0)]
        """Of the pools of which nothing may be left."""
        self._fulls: list[dict[int, int]] = []
        for number in reversed(order):
            full = {arc.pool: arc.full_raw for arc in self._demands[number].arcs if arc.pool in self._supply}
            wanted = self._wanted_after[-1]
            self._fulls.append(full)
            self._wanted_after.append({pool: amount + full.get(pool, 0) for pool, amount in wanted.items()})
            self._capital_after.append(self._capital_after[-1] + UNIT * self._capital[number])
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
            self._has_sources = True
            cost = self.cost(spent)
            if cost < self._limit:
                self._found = [
                    (self._demands[number], self._demands[number].arcs[at], amount)
                    for number, at, amount in self._placed
                ]
                self._limit, self._best_order = cost, self._order
            return
        number = self._order[place]
        self._nodes += 1
        for least, _, _, at, share, amount in self._next(place, rest, spent, charged, first):
            if self._nodes > self._nodes_max or least >= self._limit or (self._is_first_enough and self._found):
                return
            arc = self._demands[number].arcs[at]
            more = Spent(
                spent.indebted + share * arc.indebted, spent.gas + arc.gas, spent.capital + share * arc.capital
            )
            undo = self._put(number, at, amount)
            self._place(place, rest - share, more, charged + share * self._prices.charges[number][at], at + 1)
            self._take_back(undo)

    def _next(self, place: int, rest: int, spent: Spent, charged: int, first: int) -> list[_Choice]:
        """What may be placed next and cost less than the limit."""
        number, after = self._order[place], place + 1
        demand, charges = self._demands[number], self._prices.charges[number]
        before = self._placed[len(self._placed) - self._counts[number] :] if rest < UNIT else ()
        if len(before) == TRANSFERS_PER_RESCUE_MAX:
            return []
        ways = {demand.arcs[at].way for _, at, _ in before}
        least_gas = min(arc.gas for arc in demand.arcs)
        gas_after = spent.gas + self._bound.least_from(after)
        capital_after = spent.capital + self._capital_after[after]
        over = self._left_over(place)
        indebted_max, limit = self._limit.indebted, self._limit
        choices: list[_Choice] = []
        for at, (arc, charge) in enumerate(zip(demand.arcs, charges, strict=True)):
            room = self._rooms[number][at]
            if len(demand.limits) > 1 or arc.number in self._touched or self._caps[arc.token] < room:
                room = self._room(number, arc, room)
            amount = arc.full_raw if rest == UNIT else arc.amount(rest, is_mixed=not ways <= {arc.way})
            is_emptied = room < amount
            share = rest
            if is_emptied:
                if at < first or room <= 0:
                    continue
                amount, share = room, min(arc.share(room), rest)
                if not share:
                    continue
            left = rest - share
            total = charged + share * charge
            if over:
                total += self._wasted(place, over, arc, amount, left)
            indebted = max((total - self._zero) // _STEP, 0)
            if indebted > indebted_max:
                continue
            gas = arc.gas + (least_gas if is_emptied else 0)
            if self._bound.concerns(arc):
                drawn = self._bound.draw(arc, amount)
                gas += spent.gas + self._bound.least_from(after)
                self._bound.undo(arc, amount, drawn)
            else:
                gas += gas_after
            capital = capital_after + share * arc.capital + left * self._capital[number]
            least = (indebted, gas, capital // _STEP)
            if least < limit:
                choices.append((least, is_emptied, -room if is_emptied else room, at, share, amount))
        choices.sort()
        return choices

    def _left_over(self, place: int) -> list[tuple[int, int]]:
        """What no demand after this one can take of pools of which nothing may be left."""
        wanted = self._wanted_after[place + 1]
        return [(pool, left - wanted[pool]) for pool, left in self._supply.items() if left > wanted[pool]]

    def _wasted(self, place: int, over: Sequence[tuple[int, int]], arc: Arc, amount: int, left: int) -> int:
        """What it costs that nobody takes that: neither this arc, nor others for what is left of its demand."""
        wasted = 0
        for pool, raw in over:
            by_others = left * self._fulls[place].get(pool, 0) // UNIT
            unused = raw - by_others - (amount if pool == arc.pool else 0)
            if unused > 0:
                wasted += UNIT * (unused * self._prices.free[pool][0] >> SCALE_BITS)
        return wasted

    # What is left -----------------------------------------------------------------------------------------------------

    def _room(self, number: int, arc: Arc, room: int) -> int:
        """What an arc can still bring: its donor must keep all that it is asked to, and no limit is passed."""
        demand = self._demands[number]
        room = min(room, self._caps[arc.token])
        if len(demand.limits) > 1:
            room = min(room, demand.limits[arc.way] - self._arrived.get((number, arc.token, arc.way.is_repayment), 0))
        if not arc.donor.has_debt:
            taken = self._taken.get((arc.number, arc.token))
            return room if taken is None else min(room, self._spare(arc, arc.token, arc.keep) - taken)
        drawn = self._drawn.get(arc.number)
        if drawn is None:
            return room
        keep = drawn.keep(demand.stage, arc.keep)
        if demand.stage is Stage.NORMAL:
            room = min(room, self._within(arc, drawn, Stage.NORMAL, keep))
        last = keep if demand.stage is Stage.LAST_STAND else drawn.keeps.get(Stage.LAST_STAND)
        return room if last is None else min(room, self._within(arc, drawn, Stage.LAST_STAND, last))

    def _within(self, arc: Arc, drawn: _Drawn, stage: Stage, keep: Keep) -> int:
        """What a stage's limit leaves of a token. On straight lines: what other tokens took of the margin is gone."""
        spare = self._spare(arc, arc.token, keep)
        left = spare - drawn.used(arc.token, stage)
        for token in {token for _, token in drawn.amounts if token != arc.token}:
            left -= -(-spare * drawn.used(token, stage) // max(self._spare(arc, token, keep), 1))
        return left

    def _spare(self, arc: Arc, token: int, keep: Keep) -> int:
        """What its donor can give of a token while it keeps what it must."""
        key = arc.number, token, keep
        known = self._spares.get(key)
        if known is None:
            known = self._spares[key] = min(
                spare_of(self._book, arc.donor, self._tokens[token], keep), self._above_bar(arc, token)
            )
        return known

    def _above_bar(self, arc: Arc, token: int) -> int:
        """What it can give of a token until its health after its shock is the bar's, on a straight line."""
        donor, address = arc.donor, self._tokens[token]
        available = self._book.available(donor, address)
        if not self._bar or not donor.has_debt:
            return available
        known = self._falls.get((arc.number, token))
        if known is None:
            risk = self._book.risk(donor, is_shocked=True)
            lost = risk.collateral_value - self._book.risk(donor, address, -available, is_shocked=True).collateral_value
            known = self._falls[arc.number, token] = risk.collateral_value, risk.debt_value, lost
        collateral, debt, lost = known
        above = collateral - debt * self._bar // WAD
        return max(min(available, above * available // lost if lost else available), 0)

    def _put(self, number: int, at: int, amount: int) -> _Undo:
        demand = self._demands[number]
        arc = demand.arcs[at]
        undo = _Undo(
            self._bound.draw(arc, amount), self._drawn.get(arc.number), self._taken.get((arc.number, arc.token))
        )
        self._move(number, arc, amount)
        self._counts[number] += 1
        self._touched[arc.number] = self._touched.get(arc.number, 0) + 1
        self._placed.append((number, at, amount))
        if arc.donor.has_debt:
            self._drawn[arc.number] = (undo.drawn or _UNDRAWN).by(demand.stage, arc, amount)
        else:
            self._taken[arc.number, arc.token] = (undo.taken or 0) + amount
        return undo

    def _take_back(self, undo: _Undo) -> None:
        """Takes back the last that was put."""
        number, at, amount = self._placed.pop()
        arc = self._demands[number].arcs[at]
        self._bound.undo(arc, amount, undo.emptied)
        self._move(number, arc, -amount)
        self._counts[number] -= 1
        self._touched[arc.number] -= 1
        if not self._touched[arc.number]:
            del self._touched[arc.number]
        if undo.drawn is not None:
            self._drawn[arc.number] = undo.drawn
        else:
            self._drawn.pop(arc.number, None)
        if undo.taken is not None:
            self._taken[arc.number, arc.token] = undo.taken
        else:
            self._taken.pop((arc.number, arc.token), None)

    def _move(self, number: int, arc: Arc, amount: int) -> None:
        into = number, arc.token, arc.way.is_repayment
        self._arrived[into] = self._arrived.get(into, 0) + amount
        self._caps[arc.token] -= amount
        if arc.pool in self._supply:
            self._supply[arc.pool] -= amount
