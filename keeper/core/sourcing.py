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

    1. donors_order = "debt-free first": the least sum of v(j,w) x(i,j,w) over all i with debt, in steps of ten cents,
       for less is not worth a transfer; a debt-free donor with less than a hundredth of d(j,w) is not asked. "least
       gas": left out
    2. the least sum of `economics.transfer_gas` over all x > 0
    3. the least sum of v(j,w) x(i,j,w), in the same steps
    4. the highest lowest health that a donor with debt has after its own shock, in buckets of 100 bp
    5. the lowest ids

`keeper.core.search` looks for them, `keeper.core.bounds` says when to stop; the fourth is met by raising a bar under
the donors' healths as long as the cost allows it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from keeper.core.book import Book
from keeper.core.demands import BUCKET, CAPITAL_STEP, UNIT, Cost, Served, demands_of, fulls_of, spent_on
from keeper.core.plan import Transfer
from keeper.core.policy import DonorsOrder
from keeper.core.search import Placed, Search
from keeper.core.snapshot import SubaccountId
from keeper.core.stages import transfer_between
from keeper.core.units import Wad

FEW_ACCOUNTS = 24
"""Among so many the optimum is looked for; among more, what is found soon is near enough."""

ROUNDS = 3
"""How often a search may start, each from what the one before found."""

Sources = list[tuple[Transfer, ...]]
"""The transfers of each rescue, in the order of the rescues."""


def cheapest(book: Book, rescues: Sequence[Served], least: Mapping[SubaccountId, Wad], order: DonorsOrder) -> Sources:
    """The best sources that were found, with what came in done by them; those that came in where none are better.

    `book` is as before all of them. `least`: healths below which some donors must not end whomever they give to, for
    they are in need themselves.
    """
    best: Sources = [served.transfers for served in rescues]
    for _ in range(ROUNDS):
        best, is_new_start = _cheaper(book, rescues, least, order)
        if not is_new_start:
            break
        rescues = [replace(served, transfers=transfers) for served, transfers in zip(rescues, best, strict=True)]
    return best


def _cheaper(
    book: Book, rescues: Sequence[Served], least: Mapping[SubaccountId, Wad], order: DonorsOrder
) -> tuple[Sources, bool]:
    """The best that one search finds, and whether another should start from there."""
    best: Sources = [served.transfers for served in rescues]
    fulls = fulls_of(book, rescues)
    if fulls is None:
        return best, False
    givers = {donor.id: donor.has_debt for donors in book.donors.values() for donor in donors}
    indebted = frozenset(id for id, has_debt in givers.items() if has_debt)
    worth = spent_on(rescues, indebted, order)
    # Who takes nothing from donors with debt need not be told what they could give.
    is_debt_free = order is DonorsOrder.DEBT_FREE_FIRST and worth.indebted < CAPITAL_STEP * UNIT
    demands = demands_of(book, rescues, fulls, least, order, is_debt_free=is_debt_free)
    incoming = [[(one.donor, served.way(one), one.amount_raw) for one in served.transfers] for served in rescues]
    search = Search(book, demands, incoming, worth, is_of_many=len(givers) > FEW_ACCOUNTS)
    cost = search.cost(worth)
    found = search.better(cost)
    if found is not None:
        best, cost = _sources(rescues, found[0]), found[1]
    best, with_bar = _with_highest_bar(book, rescues, search, best, cost)
    # Under a bar the search goes another way, and may meet with what costs less.
    return best, with_bar[:2] < cost[:2]


def _with_highest_bar(
    book: Book, rescues: Sequence[Served], search: Search, best: Sources, cost: Cost
) -> tuple[Sources, Cost]:
    """Those that leave donors with debt best off, and what they cost, which is no more.

    The bar is raised as far as that allows: to where no bar can be higher, else by halves.
    """
    low, reached = _lowest(book, best), cost
    bar = 0 if low is None else search.health_max(cost) // BUCKET
    high = bar + 1
    while low is not None and high - low > 1:
        found = search.as_good(cost, bar * BUCKET)
        sources = [] if found is None else _sources(rescues, found[0])
        lowest = None if found is None else _lowest(book, sources)
        if found is None or (lowest is not None and lowest <= low):
            high = bar
        else:
            best, low, reached = sources, lowest, found[1]
        bar = (high + (low or 0)) // 2
    return best, reached


def _sources(rescues: Sequence[Served], placed: Sequence[Placed]) -> Sources:
    transfers: list[list[Transfer]] = [[] for _ in rescues]
    for demand, arc, amount in placed:
        transfers[demand.rescue].append(transfer_between(arc.donor, rescues[demand.rescue].recipient, arc.way, amount))
    return [tuple(sorted(each, key=lambda one: (-one.kind, one.donor, one.token.address))) for each in transfers]


def _lowest(book: Book, sources: Sources) -> int | None:
    """The lowest health of a donor with debt after its shock, in whole buckets; None when no donor has debt."""
    after = book.fork()
    for transfer in (transfer for transfers in sources for transfer in transfers):
        after.move(transfer)
    tokens = {transfer.token.address for transfers in sources for transfer in transfers}
    givers = [donor for token in tokens for donor in book.donors[token] if donor.has_debt and donor.id in after.given]
    healths = [after.risk(donor, is_shocked=True).health_factor for donor in givers]
    return min(healths) // BUCKET if healths else None
