"""Who can be saved when not everybody can: the subset whose liquidation would take most.

The problem. Those that would die, each with a loss, a tier and the amount d(j) of a token that brings it to `survive`.
What donors can give depends on the cushion that they must keep, the largest that one of those saved ends with:

    for every token:  sum of d(j) over those saved  <=  what all donors can give, and the guard's cap
                      sum of d(j) over those whose own price cannot be trusted  <=  what donors without debt can give

Wanted is the largest loss avoided in the highest tier, then in the next. It is a knapsack: depth first, those first
that save most for what they take, with the fractional bound, and a number of nodes at most. On straight lines, so it
only proposes; what it proposes is carried out with the exact arithmetic and held against the other proposals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keeper.core.book import Account, Book
from keeper.core.plan import Stage
from keeper.core.snapshot import SubaccountId
from keeper.core.stages import kept
from keeper.core.units import WAD, Address, Wad

NODES_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Dying:
    """An account below `survive`, and what saving it is worth."""

    account: Account
    tier: int
    loss: int


@dataclass(frozen=True, slots=True)
class _Item:
    dying: Dying
    token: Address
    amount_raw: int
    cushion: Wad
    """What it ends with at `survive`."""

    @property
    def worth(self) -> int:
        """Of a whole token's worth of raw units of it."""
        return self.dying.loss * WAD // self.amount_raw


def worth_most(book: Book, dying: Sequence[Dying], *, is_last_stand: bool) -> frozenset[SubaccountId]:
    """The subset to try to save; those that no amount saves are never in it."""
    items = [item for item in (_item(book, one) for one in dying) if item is not None]
    items.sort(key=lambda item: (-item.dying.tier, -item.worth, item.dying.account.id))
    return _Knapsack(book, items, {one.account.id for one in dying}, is_last_stand).solved()


def _item(book: Book, dying: Dying) -> _Item | None:
    account = dying.account
    for way in account.ways:
        need = book.need(account, way, account.limits.survive)
        if need and need <= book.room(account, way):
            return _Item(dying, way.token.address, need, account.cushion(account.limits.survive))
    return None


class _Knapsack:
    def __init__(self, book: Book, items: Sequence[_Item], dying: set[SubaccountId], is_last_stand: bool):
        self._book = book
        self._items = items
        self._dying = dying
        self._stage = Stage.LAST_STAND if is_last_stand else Stage.NORMAL
        self._pools: dict[tuple[Address, Wad, bool], int] = {}
        self._nodes = 0
        self._tiers = sorted({item.dying.tier for item in items}, reverse=True)
        self._best: tuple[tuple[int, ...], frozenset[SubaccountId]] = ((0,) * len(self._tiers), frozenset())

    def solved(self) -> frozenset[SubaccountId]:
        self._search(0, [])
        return self._best[1]

    def _search(self, place: int, taken: list[_Item]) -> None:
        self._nodes += 1
        worth = self._worth(taken)
        if worth > self._best[0]:
            self._best = worth, frozenset(item.dying.account.id for item in taken)
        if place == len(self._items) or self._nodes > NODES_MAX or self._bound(place, taken) <= self._best[0]:
            return
        more = [*taken, self._items[place]]
        if self._is_covered(more):
            self._search(place + 1, more)
        self._search(place + 1, taken)

    def _worth(self, taken: Sequence[_Item]) -> tuple[int, ...]:
        return tuple(sum(item.dying.loss for item in taken if item.dying.tier == tier) for tier in self._tiers)

    def _bound(self, place: int, taken: Sequence[_Item]) -> tuple[int, ...]:
        """No less than what any completion is worth: parts of accounts may be saved, at the level of those taken."""
        level = max((item.cushion for item in taken), default=0)
        left: dict[Address, int] = {}
        for item in taken:
            left[item.token] = left.get(item.token, self._pool(item.token, level)) - item.amount_raw
        worth = dict(zip(self._tiers, self._worth(taken), strict=True))
        for item in self._items[place:]:
            room = left.get(item.token)
            if room is None:
                room = self._pool(item.token, level)
            part = min(room, item.amount_raw)
            left[item.token] = room - part
            worth[item.dying.tier] += -(-item.dying.loss * part // item.amount_raw)
        return tuple(worth[tier] for tier in self._tiers)

    def _is_covered(self, taken: Sequence[_Item]) -> bool:
        level = max(item.cushion for item in taken)
        for token in {item.token for item in taken}:
            amounts = [(item.amount_raw, item.dying.account.is_trusted) for item in taken if item.token == token]
            if sum(amount for amount, _ in amounts) > self._pool(token, level):
                return False
            untrusted = sum(amount for amount, is_trusted in amounts if not is_trusted)
            if untrusted > self._pool(token, level, is_free=True):
                return False
        return True

    def _pool(self, token: Address, level: Wad, *, is_free: bool = False) -> int:
        """What all donors, or those without debt, can give of a token at a cushion; no more than the guard's cap."""
        key = (token, level, is_free)
        if key not in self._pools:
            donors = [
                donor
                for donor in self._book.donors.get(token, ())
                if donor.id not in self._dying
                and (donor.is_trusted or not donor.has_debt)
                and not (is_free and donor.has_debt)
            ]
            given = sum(self._book.spare(donor, token, kept(donor, level, self._stage)) for donor in donors)
            self._pools[key] = min(given, self._book.cap(token))
        return self._pools[key]
