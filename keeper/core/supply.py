"""What donors can still give while sources are searched, as amounts are taken and given back.

All amounts are integers that the exact arithmetic allowed for a donor from which nothing was taken; what was taken of
another token, and how far a shock may lower a health, is on straight lines.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from keeper.core.book import Book, Keep
from keeper.core.demands import Arc, Demand, spare_of
from keeper.core.plan import Stage
from keeper.core.units import INFINITE_HEALTH, WAD, Wad


class Drawn(NamedTuple):
    """What is taken from a donor with debt so far, by token, and what those that it gives to demand of it."""

    normal: Keep | None
    """Normal rescues, which are carried out first: what last stands take is no matter to them."""
    last: Keep | None
    by_normal: Mapping[int, int]
    by_all: Mapping[int, int]
    left: dict[int, int]
    """What that leaves, by spot, once it was asked for."""

    def by(self, demand: Demand, arc: Arc, amount: int) -> "Drawn":
        token = arc.token
        by_all = {**self.by_all, token: self.by_all.get(token, 0) + amount}
        if demand.stage is Stage.LAST_STAND:
            return Drawn(self.normal, _stricter(self.last, arc.keep), self.by_normal, by_all, {})
        by_normal = {**self.by_normal, token: self.by_normal.get(token, 0) + amount}
        return Drawn(_stricter(self.normal, arc.keep), self.last, by_normal, by_all, {})


_UNDRAWN = Drawn(None, None, {}, {}, {})


class _Fall(NamedTuple):
    """A donor with debt after its shock, on a straight line from giving nothing to all of a token within reach."""

    collateral: Wad
    debt: Wad
    lost: Wad
    """When all of it leaves."""
    within_reach: int
    """Raw units."""


def _stricter(known: Keep | None, keep: Keep) -> Keep:
    if known is None or known == keep:
        return keep
    return Keep(max(known.health, keep.health), max(known.health_after_shock, keep.health_after_shock))


class Supply:
    """What is left."""

    def __init__(self, book: Book, demands: Sequence[Demand]):
        arcs = [arc for demand in demands for arc in demand.arcs]
        self._book = book
        self._tokens = {arc.token: arc.way.token.address for arc in arcs}
        self.caps = {number: book.cap(token) for number, token in self._tokens.items()}
        """What may still move of each token."""
        self.touched: dict[int, int] = {}
        """How many amounts are taken from a donor."""
        self._held = {
            arc.spot: book.available(arc.donor, self._tokens[arc.token]) for arc in arcs if not arc.donor.has_debt
        }
        """What debt-free donors have left, by spot."""
        self._drawn: dict[int, Drawn] = {}
        self._bar: Wad = 0
        self._spares: dict[tuple[int, int, Keep], int] = {}
        self._falls: dict[tuple[int, int], _Fall] = {}

    def rooms(self, demand: Demand, bar: Wad) -> list[int]:
        """What each arc can bring as long as nothing is taken; `bar`: the health after its shock that is left to every
        donor with debt from now on."""
        if bar != self._bar:
            self._bar, self._spares = bar, {}
        if not bar:
            return [arc.room for arc in demand.arcs]
        return [
            min(arc.room, self._above_bar(arc, arc.token)) if arc.donor.has_debt else arc.room for arc in demand.arcs
        ]

    def health_after_shock(self, arc: Arc, amount: int) -> Wad:
        """What a donor with debt that gives nothing else is left with, about."""
        fall = self._fall(arc, arc.token)
        if not fall.debt:  # what it owes is worth nothing, as dust on Aave 3.0 is
            return INFINITE_HEALTH
        lost = fall.lost * amount // fall.within_reach if amount else 0
        return (fall.collateral - lost) * WAD // fall.debt

    def room(self, demand: Demand, arc: Arc, room: int) -> int:
        """What is left of an arc's room once something was taken from its donor, who must keep all that it is asked
        to."""
        if not arc.donor.has_debt:
            return min(room, self._held[arc.spot])
        drawn = self._drawn[arc.number]
        left = drawn.left.get(arc.spot)
        if left is None:
            left = drawn.left[arc.spot] = self._left(demand, arc, drawn)
        return min(room, left)

    def _left(self, demand: Demand, arc: Arc, drawn: Drawn) -> int:
        if demand.stage is Stage.LAST_STAND:
            return self._within(arc, _stricter(drawn.last, arc.keep), drawn.by_all)
        left = self._within(arc, _stricter(drawn.normal, arc.keep), drawn.by_normal)
        return left if drawn.last is None else min(left, self._within(arc, drawn.last, drawn.by_all))

    def take(self, demand: Demand, arc: Arc, amount: int) -> Drawn | None:
        """What comes back is to be given to `give_back`."""
        number = arc.number
        before = self._drawn.get(number)
        self.caps[arc.token] -= amount
        self.touched[number] = self.touched.get(number, 0) + 1
        if arc.donor.has_debt:
            self._drawn[number] = (before or _UNDRAWN).by(demand, arc, amount)
        else:
            self._held[arc.spot] -= amount
        return before

    def give_back(self, arc: Arc, amount: int, before: Drawn | None) -> None:
        number = arc.number
        self.caps[arc.token] += amount
        self.touched[number] -= 1
        if not self.touched[number]:
            del self.touched[number]
        if not arc.donor.has_debt:
            self._held[arc.spot] += amount
        elif before is None:
            del self._drawn[number]
        else:
            self._drawn[number] = before

    def _within(self, arc: Arc, keep: Keep, used: Mapping[int, int]) -> int:
        """What a limit leaves of a token: what other tokens took of the margin is gone."""
        spare = self._spare(arc, arc.token, keep)
        left = spare - used.get(arc.token, 0)
        for token, amount in used.items():
            if token != arc.token:
                left -= -(-spare * amount // max(self._spare(arc, token, keep), 1))
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
        """What it can give of a token until its health after its shock is the bar's."""
        fall = self._fall(arc, token)
        if not self._bar:
            return fall.within_reach
        above = fall.collateral - fall.debt * self._bar // WAD
        if above >= fall.lost:
            return fall.within_reach
        return above * fall.within_reach // fall.lost if above > 0 else 0

    def _fall(self, arc: Arc, token: int) -> _Fall:
        known = self._falls.get((arc.number, token))
        if known is None:
            donor, address = arc.donor, self._tokens[token]
            reach, risk = self._book.within_reach(donor, address), self._book.risk(donor, is_shocked=True)
            left = self._book.risk_without(donor, address, reach, is_shocked=True)
            known = self._falls[arc.number, token] = _Fall(
                risk.collateral_value, risk.debt_value, risk.collateral_value - left.collateral_value, reach
            )
        return known
