"""What earlier cycles add to a decision, read from the journal."""

from collections.abc import Iterable

from keeper.core.economics import volatility_bps_per_day
from keeper.core.plan import History
from keeper.core.snapshot import SubaccountId
from keeper.core.units import Address
from keeper.journal_reader import JournalReader

VOLATILITY_SECONDS = 7 * 86_400
"""With weights that halve in a day, what is older counts for less than a hundredth."""


def history_from_journal(
    journal: JournalReader, feeds: Iterable[Address], now: int, memory_seconds: int = 0
) -> History:
    """When each subaccount was last rescued, how much its prices move, and what they were in the last `memory_seconds`;
    whoever plans adds what only it knows."""
    volatilities = {
        feed: volatility_bps_per_day(
            [(point.updated_at, point.answer) for point in journal.price_history(feed, now - VOLATILITY_SECONDS)]
        )
        for feed in feeds
    }
    return History(
        last_rescues={SubaccountId.parse(id): last for id, last in journal.last_rescues().items()},
        volatility_bps_per_day={feed: bps for feed, bps in volatilities.items() if bps is not None},
        prices=journal.prices_seen(memory_seconds) if memory_seconds else {},
    )
