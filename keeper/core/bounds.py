"""What sources cannot cost less than: where a search may stop, and what it need not try.

Capital from donors with debt. Donors of one token, with debt or without, are a pool; what a set of demands can get from
a pool together is a row. With a price p(r) for a raw unit of every row r, no sources take less than

    sum over j of q(j)  -  sum over r of p(r) s(r)

where s(r) is what the row has, and q(j) the least, over the pools, of c(j) + f(j) times the prices of the rows that
hold j there: c(j) is what counts of all of demand j, f(j) the raw units that it takes. This holds for any prices
(Lagrange), and those of the linear program leave no gap. A share of an arc then costs its charge, c + p f - q >= 0,
more than the bound, and what is left of a row its price: that is what a search adds up. The prices come out of floating
point and are then taken for the integers that they are; the bound is exact for those.

Gas. A demand takes one transfer, and one more for every donor that is emptied for it. Debt-free donors that have a
price are all emptied. The transfers are a forest (`keeper.core.search`), so each demand and each of these donors has
one of its own. Those out of a wallet are cheap; but no more demands get one than fit into the wallet, the smallest
first, and one more for each donor that is emptied for a demand beside it.
"""

from bisect import bisect_right
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import NamedTuple

from keeper.core import linear
from keeper.core.demands import CAPITAL_STEP, UNIT, Arc, Demand
from keeper.core.economics import HANDOVER_GAS, TRANSFER_GAS

SCALE_BITS = 96
"""A price is one of 2^96 raw units."""
FRACTION_BITS = 52
"""Of a float."""
GAS_STEP = gcd(*TRANSFER_GAS.values(), *HANDOVER_GAS.values())
"""Of which all that transfers take is a multiple."""
UNMET_TIMES = 10_000
"""What is not brought at all counts as so many times the dearest demand."""


# Capital --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prices:
    """Of what donors can give; capital in WAD."""

    bound: int
    """The least capital from donors with debt, in UNIT times WAD."""
    charges: Sequence[Sequence[int]]
    """What the whole of a demand costs more than the bound has it, by its arcs."""
    free: Mapping[int, tuple[int, int]]
    """The debt-free pools of which nothing may be left: the price of a raw unit, scaled, and what they have."""

    def is_nothing(self, pool: int, amount: int) -> bool:
        """Whether so much may be left of a debt-free pool all the same."""
        return abs(amount) * self.free[pool][0] >> SCALE_BITS <= CAPITAL_STEP


class _Row(NamedTuple):
    pool: int
    demands: frozenset[int]
    supply: int
    """Raw units."""


def no_prices(demands: Sequence[Demand]) -> Prices:
    """When capital from donors with debt does not count."""
    return Prices(0, [[0] * len(demand.arcs) for demand in demands], {})


def best_prices(demands: Sequence[Demand], caps: Mapping[int, int]) -> Prices:
    """`caps`: what may move of each token."""
    rows = _rows(demands, caps)
    dearest = max(arc.capital for demand in demands for arc in demand.arcs)
    places: list[dict[int, list[int]]] = [{} for _ in demands]
    """By demand and pool, the rows that hold it."""
    for place, row in enumerate(rows):
        for number in row.demands:
            places[number].setdefault(row.pool, []).append(place)
    columns: list[linear.Column] = []
    for number, demand in enumerate(demands):
        options = {(arc.pool, arc.full_raw): arc.indebted for arc in demand.arcs}
        for (pool, full), cost in options.items():
            shares = [(len(demands) + place, full / rows[place].supply) for place in places[number][pool]]
            columns.append(linear.Column(cost / dearest - UNMET_TIMES, [(number, 1.0), *shares]))
    duals = linear.prices(columns, len(demands) + len(rows))[len(demands) :]
    prices = [
        (int(dual * 2**FRACTION_BITS) * dearest << SCALE_BITS - FRACTION_BITS) // row.supply
        for dual, row in zip(duals, rows, strict=True)
    ]
    bound = -sum(price * row.supply for price, row in zip(prices, rows, strict=True)) * UNIT >> SCALE_BITS
    charges: list[list[int]] = []
    for demand, here in zip(demands, places, strict=True):
        of_pool = {pool: sum(prices[place] for place in held) for pool, held in here.items()}
        costs = [arc.indebted + (of_pool[arc.pool] * arc.full_raw >> SCALE_BITS) for arc in demand.arcs]
        least = min([UNMET_TIMES * dearest, *costs])
        charges.append([cost - least for cost in costs])
        bound += UNIT * least
    whole = {row.pool: (price, row.supply) for price, row in zip(prices, rows, strict=True)}
    return Prices(bound, charges, {pool: found for pool, found in whole.items() if found[0] and not pool & 1})


def _rows(demands: Sequence[Demand], caps: Mapping[int, int]) -> list[_Row]:
    """For each pool the demand to which it can bring least, then with the next, and so on to all of them.

    A donor gives to several demands together no more than to the one to which it may give most.
    """
    brought: dict[int, dict[int, dict[int, int]]] = {}
    for number, demand in enumerate(demands):
        for arc in demand.arcs:
            brought.setdefault(arc.pool, {}).setdefault(number, {})[arc.number] = arc.room
    rows: list[_Row] = []
    for pool, rooms in brought.items():
        most: dict[int, int] = {}
        members: list[int] = []
        supply = 0
        for number in sorted(rooms, key=lambda number: (sum(rooms[number].values()), number)):
            for donor, room in rooms[number].items():
                most[donor] = max(most.get(donor, 0), room)
            grown = min(sum(most.values()), caps[pool >> 1])
            if members and grown > supply:
                rows.append(_Row(pool, frozenset(members), supply))
            members.append(number)
            supply = grown
        rows.append(_Row(pool, frozenset(members), supply))
    return rows


# Gas ------------------------------------------------------------------------------------------------------------------


class Emptied(NamedTuple):
    """A donor of a token of which nothing may be left."""

    gas: int
    left: int


class GasBound:
    """The least gas of all demands from a place on, in one order, as donors are drawn on."""

    def __init__(self, demands: Sequence[Demand], prices: Prices):
        arcs = [arc for demand in demands for arc in demand.arcs]
        gases = sorted({arc.gas for arc in arcs})
        self._prices = prices
        self._cheap = gases[0]
        self._emptied = _to_be_emptied(arcs, prices)
        self._emptied_gas = sum(each.gas for each in self._emptied.values())
        self._helpers: dict[int, int] = {}
        """How many of them do not give cheaply, by token."""
        self._help: dict[int, int] = {}
        """What is left in those."""
        for (_, token), each in self._emptied.items():
            if each.gas > self._cheap:
                self._helpers[token] = self._helpers.get(token, 0) + 1
                self._help[token] = self._help.get(token, 0) + each.left
        wallets: dict[tuple[int, int], int] = {}
        for arc in arcs:
            if arc.gas == self._cheap:
                spot = arc.number, arc.token
                wallets[spot] = max(wallets.get(spot, 0), arc.room)
        self._wallets: dict[int, int] = {}
        """What is left where transfers are cheap, by token."""
        for (_, token), room in wallets.items():
            self._wallets[token] = self._wallets.get(token, 0) + room
        self._alone = [_least(demand, self._emptied) for demand in demands]
        self._small: list[tuple[int, int] | None] = []
        """The token that a demand takes out of wallets, if one, and how much."""
        is_one_cheap = True
        for demand, alone in zip(demands, self._alone, strict=True):
            cheap = [(arc.token, arc.full_raw) for arc in demand.arcs if arc.gas == self._cheap]
            is_small = alone == self._cheap and len(set(cheap)) == 1
            self._small.append(cheap[0] if is_small else None)
            if is_small and len(cheap) > 1:
                is_one_cheap = False
        self._dearer = gases[1] - gases[0] if len(gases) > 1 else 0
        """What a demand takes more that no cheap transfer serves alone: a dearer one does, or two cheap ones do."""
        if not is_one_cheap:
            self._dearer = min(self._dearer, self._cheap)
        self.set_order(range(len(demands)))

    def set_order(self, order: Sequence[int]) -> None:
        after = [0]
        sums: list[dict[int, list[int]]] = [{}]
        amounts: dict[int, list[int]] = {}
        for number in reversed(order):
            after.append(after[-1] + self._alone[number])
            small, here = self._small[number], sums[-1]
            if small is not None:
                token, amount = small
                amounts[token] = sorted([*amounts.get(token, []), amount])
                total = 0
                here = {**here, token: [total := total + each for each in amounts[token]]}
            sums.append(here)
        self._after, self._sums = after[::-1], sums[::-1]

    def least_from(self, place: int) -> int:
        gas = self._after[place] + self._emptied_gas
        self._unserved = {
            token: _unserved(sums, self._wallets[token], self._helpers.get(token, 0), self._help.get(token, 0))
            for token, sums in self._sums[place].items()
        }
        for unserved in self._unserved.values():
            gas += self._dearer * unserved
        return gas

    def change(self, place: int, arc: Arc, amount: int) -> int:
        """By how much more that is, the last that was asked for, once an arc brings something."""
        token, change = arc.token, 0
        helpers, help_ = self._helpers.get(token, 0), self._help.get(token, 0)
        is_cheap = arc.gas == self._cheap
        emptied = self._emptied.get((arc.number, token))
        if emptied is not None:
            is_gone = self._prices.is_nothing(arc.pool, emptied.left - amount)
            if not is_cheap:
                help_ -= amount
                helpers -= is_gone
            if is_gone:
                change -= emptied.gas
        if token in self._unserved:
            left = self._wallets[token] - amount if is_cheap else self._wallets[token]
            unserved = _unserved(self._sums[place][token], left, helpers, help_)
            change += self._dearer * (unserved - self._unserved[token])
        return change

    def concerns(self, arc: Arc) -> bool:
        """Whether the bound changes when an arc brings something."""
        return arc.gas == self._cheap or (arc.number, arc.token) in self._emptied

    def draw(self, arc: Arc, amount: int) -> Emptied | None:
        """Takes an amount out; what comes back is to be given to `undo`."""
        spot = arc.number, arc.token
        before = self._emptied.get(spot)
        is_cheap = arc.gas == self._cheap
        if is_cheap:
            self._wallets[arc.token] -= amount
        if before is not None:
            is_gone = self._prices.is_nothing(arc.pool, before.left - amount)
            if not is_cheap:
                self._help[arc.token] -= amount
                self._helpers[arc.token] -= is_gone
            if is_gone:
                del self._emptied[spot]
                self._emptied_gas -= before.gas
            else:
                self._emptied[spot] = Emptied(before.gas, before.left - amount)
        return before

    def undo(self, arc: Arc, amount: int, before: Emptied | None) -> None:
        spot = arc.number, arc.token
        is_cheap = arc.gas == self._cheap
        if is_cheap:
            self._wallets[arc.token] += amount
        if before is not None:
            was_gone = spot not in self._emptied
            if not is_cheap:
                self._help[arc.token] += amount
                self._helpers[arc.token] += was_gone
            if was_gone:
                self._emptied_gas += before.gas
            self._emptied[spot] = before


def _unserved(sums: Sequence[int], left: int, helpers: int, help_: int) -> int:
    """How many demands, whose sums these are, get no cheap transfer; `helpers`: donors emptied for one beside it."""
    fitting = bisect_right(sums, left)
    if helpers:
        fitting = min(fitting + helpers, bisect_right(sums, left + help_))
    return max(len(sums) - fitting, 0)


def _to_be_emptied(arcs: Sequence[Arc], prices: Prices) -> dict[tuple[int, int], Emptied]:
    """The debt-free donors of which nothing may be left, unless they have just what a demand takes: then one transfer
    serves both."""
    found: dict[tuple[int, int], Emptied] = {}
    for arc in arcs:
        if arc.pool in prices.free:
            known = found.get((arc.number, arc.token), Emptied(arc.gas, 0))
            found[arc.number, arc.token] = Emptied(min(known.gas, arc.gas), max(known.left, arc.room))
    fitting = {
        (arc.number, arc.token)
        for arc in arcs
        if arc.pool in prices.free and prices.is_nothing(arc.pool, found[arc.number, arc.token].left - arc.full_raw)
    }
    return {
        (donor, token): each
        for (donor, token), each in found.items()
        if (donor, token) not in fitting and not prices.is_nothing(2 * token, each.left)
    }


def _least(demand: Demand, emptied: Container[tuple[int, int]]) -> int:
    """What it takes at least when nothing else is placed, besides transfers that count for those that are emptied."""
    counted = [arc for arc in demand.arcs if (arc.number, arc.token) in emptied]
    rest = UNIT - sum(_share_max(arc) for arc in counted)
    if rest <= 0:
        return min(arc.gas for arc in demand.arcs)
    shares = [(_share_max(arc), arc.gas) for arc in demand.arcs if (arc.number, arc.token) not in emptied]
    if not shares:
        return min(arc.gas for arc in counted)
    alone = min((gas for share, gas in shares if share >= rest), default=None)
    # Each gives once.
    several = sum(sorted(gas for _, gas in shares)[: max(_fewest(shares, rest), 2)])
    # Parts of transfers, those first that bring most for their gas: no whole ones cost less.
    in_parts = 0
    for share, gas in sorted(shares, key=lambda one: one[1] * UNIT // one[0]):
        part = min(share, rest)
        in_parts, rest = in_parts + gas * part // share, rest - part
    together = max(several, -(-in_parts // GAS_STEP) * GAS_STEP)
    return together if alone is None else min(alone, together)


def _share_max(arc: Arc) -> int:
    return min(arc.share(arc.room) + 1, UNIT)


def _fewest(shares: Sequence[tuple[int, int]], rest: int) -> int:
    """How many it takes at least for so much of a demand."""
    count = 0
    for share, _ in sorted(shares, reverse=True):
        if rest <= 0:
            break
        count, rest = count + 1, rest - share
    return count
