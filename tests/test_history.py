"""What the journal knows of earlier cycles, as a decision wants it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.core.intent import Attempt, Fees, Included, Intent, Receipt, State
from keeper.core.plan import History, Lane
from keeper.core.snapshot import Block, FeedRound, SubaccountId
from keeper.core.units import Address
from keeper.history import history_from_journal
from keeper.journal import CycleRecord, Journal, VerdictNote, open_writer

FEED = Address("0x" + "fe" * 20)
GWEI = 10**9
NOW = 1_800_000_000
HOUR = 3_600
A = SubaccountId("morpho", "a")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = open_writer(tmp_path / "keeper.sqlite")
    yield journal
    journal.close()


def see(
    journal: Journal,
    ago: int,
    *,
    base_fee_gwei: int = 10,
    answer: int | None = None,
    verdict: tuple[str, str] | None = None,
) -> None:
    at = NOW - ago
    block = Block(at, f"0x{at:064x}", f"0x{at - 1:064x}", at, base_fee_gwei * GWEI, 30_000_000)
    rounds = () if answer is None else (FeedRound(FEED, "ETH/USD", answer, 8, at, HOUR),)
    notes = {} if verdict is None else {str(A): VerdictNote(*verdict, None)}
    journal.record_cycle(CycleRecord(block, "0xd1", "{}", b"", rounds, notes))


def send(journal: Journal, plan_id: str, signed_ago: int, seen_ago: int | None) -> None:
    signed = NOW - signed_ago
    attempt = Attempt(f"0x{plan_id}", b"raw", 5, Fees(GWEI, GWEI), signed, signed)
    intent = Intent(plan_id, Lane.ROUTINE, 5, signed + 300, GWEI, state=State.BROADCAST, attempts=(attempt,))
    journal.save_intent(intent, signed)
    if seen_ago is not None:
        receipt = Receipt(attempt.hash, 101, "0xb1", True, 200_000, GWEI)
        mined = Intent(
            plan_id,
            Lane.ROUTINE,
            5,
            signed + 300,
            GWEI,
            state=State.MINED,
            attempts=(attempt,),
            outcome=Included(receipt),
        )
        journal.save_intent(mined, NOW - seen_ago)


def history(journal: Journal) -> History:
    return history_from_journal(journal, [FEED], NOW)


def test_an_empty_journal_knows_nothing(journal: Journal) -> None:
    assert history(journal) == History()


@pytest.mark.parametrize(("ago", "low"), [(HOUR - 1, 9), (HOUR, 9), (HOUR + 1, 10)])
def test_the_lowest_base_fee_is_that_of_the_last_hour(journal: Journal, ago: int, low: int) -> None:
    see(journal, ago, base_fee_gwei=9)
    see(journal, 12, base_fee_gwei=100)
    see(journal, 0, base_fee_gwei=10)
    assert history(journal).base_fee_low_wei == low * GWEI


@pytest.mark.parametrize(("seen_ago", "delay"), [(HOUR, 120), (HOUR + 1, 0)])
def test_how_long_a_transaction_took_is_known_for_an_hour(journal: Journal, seen_ago: int, delay: int) -> None:
    send(journal, "aa", seen_ago + 120, seen_ago)
    assert history(journal).inclusion_delay_seconds == delay


def test_a_transaction_that_still_waits_has_taken_that_long_already(journal: Journal) -> None:
    send(journal, "aa", 1_000, 976)
    send(journal, "bb", 90, None)
    assert history(journal).inclusion_delay_seconds == 90


def test_a_crash_is_believed_before_a_days_average_has_seen_half_of_it(journal: Journal) -> None:
    """Two days of half a per cent an hour, then a twentieth lost every ten minutes of the last hour: the average of a
    day alone says 12.17 %."""
    price = 300_000
    for hour in range(48, 1, -1):
        price = price * (201 if hour % 2 else 199) // 200
        see(journal, hour * HOUR, answer=price)
    calm = history(journal).volatility_bps_per_day[FEED]
    for step in range(6):
        price = price * 95 // 100
        see(journal, HOUR - 600 * step, answer=price)
    assert calm == 246
    assert history(journal).volatility_bps_per_day[FEED] == 3_165


def test_a_rescue_waits_since_its_verdict_said_so_first(journal: Journal) -> None:
    see(journal, 60, verdict=("Watching", "watching"))
    see(journal, 48, verdict=("Waiting", "waiting: until 12:00"))
    see(journal, 36, verdict=("Waiting", "waiting: until 12:00"))
    assert history(journal).waiting_since == {A: NOW - 48}
    see(journal, 24, verdict=("Rescue", "rescue"))
    assert history(journal).waiting_since == {}
