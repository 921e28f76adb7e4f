"""What earlier cycles add to a decision, read from the journal."""

from collections.abc import Iterable

from keeper.core.economics import HALF_LIFE_SECONDS, QUICK_HALF_LIFE_SECONDS, volatility_bps_per_day
from keeper.core.plan import History
from keeper.core.snapshot import SubaccountId
from keeper.core.units import Address
from keeper.journal_reader import JournalReader

VOLATILITY_SECONDS = 7 * 86_400
"""With weights that halve in a day, what is older counts for less than a hundredth."""
CONGESTION_SECONDS = 3_600
"""What fees and transactions did longer ago says nothing about the next block."""


def history_from_journal(
    journal: JournalReader, feeds: Iterable[Address], now: int, memory_seconds: int = 0
) -> History:
    """When each subaccount was last rescued, how much its prices move, what they were in the last `memory_seconds` and
    who disputes them, and how long transactions take; whoever plans adds what only it knows."""
    lately = now - CONGESTION_SECONDS
    volatilities = {feed: _volatility_bps(journal, feed, now) for feed in feeds}
    return History(
        last_rescues={SubaccountId.parse(id): last for id, last in journal.last_rescues().items()},
        volatility_bps_per_day={feed: bps for feed, bps in volatilities.items() if bps is not None},
        base_fee_low_wei=journal.base_fee_low_since(lately) or 0,
        inclusion_delay_seconds=journal.inclusion_delay_since(lately, now),
        waiting_since={SubaccountId.parse(id): at for id, at in journal.waiting_since().items()},
        prices=journal.prices_seen(memory_seconds) if memory_seconds else {},
        last_said=journal.last_said(),
    )


def _volatility_bps(journal: JournalReader, feed: Address, now: int) -> int | None:
    """The larger of what a slow and a quick average say."""
    rounds = [(point.updated_at, point.answer) for point in journal.price_history(feed, now - VOLATILITY_SECONDS)]
    found = [volatility_bps_per_day(rounds, half_life) for half_life in (HALF_LIFE_SECONDS, QUICK_HALF_LIFE_SECONDS)]
    return max((bps for bps in found if bps is not None), default=None)
