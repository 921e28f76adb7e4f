"""The journal forgets nothing that may still land, and says who holds it."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keeper.core.fees import Fees
from keeper.core.intent import TABLE, Abandoned, Attempt, Event, Included, Intent, Receipt, Refused, Reverted, State
from keeper.core.plan import Lane, LastRescue, PriceOf, PriceSeen
from keeper.core.snapshot import Block, FeedRound, SubaccountId
from keeper.core.units import Address
from keeper.errors import JournalError, JournalFull
from keeper.journal import (
    CycleRecord,
    Journal,
    PlanRecord,
    PricePoint,
    RescueOutcome,
    Retention,
    VerdictNote,
    open_reader,
    open_writer,
)
from keeper.journal_files import Reserve, WriterLock
from keeper.journal_reader import connect
from keeper.journal_schema import MIGRATIONS, migrate

DAY = 86_400
FEED = Address("0x" + "fe" * 20)
GWEI = 10**9
WAD = 10**18


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keeper.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = open_writer(path)
    yield journal
    journal.close()


def a_block(number: int = 100, timestamp: int = 1_000) -> Block:
    return Block(number, f"0x{number:064x}", f"0x{number - 1:064x}", timestamp, 30 * GWEI, 30_000_000)


def a_cycle(
    block: Block | None = None,
    rounds: tuple[FeedRound, ...] = (),
    verdicts: dict[str, VerdictNote] | None = None,
    plan: PlanRecord | None = None,
    topology: str = '{"markets": 3}',
) -> CycleRecord:
    return CycleRecord(block or a_block(), "0xd1", topology, b"\x00\x01reads", rounds, verdicts or {}, plan)


def a_plan(plan_id: str = "0xaa") -> PlanRecord:
    return PlanRecord(plan_id, Lane.ROUTINE, '{"p": 1}', '{"h": 2}', '{"r": []}', ("Move 1 WETH.", "Keep 2 WETH."))


def a_round(answer: int, updated_at: int) -> FeedRound:
    return FeedRound(FEED, "ETH/USD", answer, 8, updated_at, 3600)


def an_intent(plan_id: str = "0xaa", nonce: int = 5, state: State = State.PLANNED) -> Intent:
    return Intent(plan_id, Lane.ROUTINE, nonce, deadline=2_000, fee_ceiling_wei=400 * GWEI, state=state)


def an_attempt(name: str = "0x01", nonce: int = 5, max_fee_gwei: int = 60, sent_at: int | None = None) -> Attempt:
    return Attempt(name, b"raw " + name.encode(), nonce, Fees(max_fee_gwei * GWEI, GWEI), 1_000, sent_at)


def a_receipt(name: str = "0x01", gas_used: int = 200_000, gas_price_gwei: int = 40, succeeded: bool = True) -> Receipt:
    return Receipt(name, 101, "0xb101", succeeded, gas_used, gas_price_gwei * GWEI)


# What was decided -----------------------------------------------------------------------------------------------------


def test_a_plan_comes_back_with_everything_that_it_was_made_from(journal: Journal) -> None:
    journal.record_cycle(a_cycle(plan=a_plan()))

    cycle = journal.cycle_of("0xaa")

    assert cycle == a_cycle(plan=a_plan())


def test_a_plan_that_is_not_there_is_named(journal: Journal) -> None:
    with pytest.raises(JournalError, match="no plan 0xbb with its reads"):
        journal.cycle_of("0xbb")


@pytest.mark.parametrize("written", ["0xaa1", "0xAA12", "0xaa…34", "last"])
def test_a_plan_is_found_by_a_beginning_of_its_id_or_as_the_last(journal: Journal, written: str) -> None:
    journal.record_cycle(a_cycle(plan=a_plan("0xab34")))
    journal.record_cycle(a_cycle(a_block(101, 2_000), plan=a_plan("0xaa1234")))
    assert journal.plan_id_of(written) == "0xaa1234"


def test_which_plan_is_meant_must_be_clear(journal: Journal) -> None:
    with pytest.raises(
        JournalError, match="The journal holds no plan last; `keeper journal` lists those that it holds"
    ):
        journal.plan_id_of("last")
    journal.record_cycle(a_cycle(plan=a_plan("0xab34")))
    journal.record_cycle(a_cycle(a_block(101, 2_000), plan=a_plan("0xaa34")))
    with pytest.raises(JournalError, match="0xa could be any of 2 plans; write more of the id"):
        journal.plan_id_of("0xa")
    with pytest.raises(JournalError, match="The journal holds no plan 0xab3…5"):
        journal.plan_id_of("0xab3…5")


def test_a_plan_id_is_recorded_once_and_its_cycle_with_it_or_not_at_all(journal: Journal) -> None:
    journal.record_cycle(a_cycle(plan=a_plan()))

    with pytest.raises(JournalError, match="cannot be used: UNIQUE"):
        journal.record_cycle(a_cycle(a_block(101), rounds=(a_round(2000, 950),), plan=a_plan()))

    assert journal.cycle_of("0xaa").block.number == 100
    assert journal.price_history(FEED, 0) == ()


def test_a_verdict_is_recorded_when_it_changes_and_not_when_only_its_health_does(journal: Journal) -> None:
    watching = VerdictNote("Watching", "between trigger and target", 115 * WAD // 100)

    changes = [
        journal.record_cycle(a_cycle(a_block(100), verdicts={"morpho:0x1": watching, "wallet": watching})),
        journal.record_cycle(a_cycle(a_block(101), verdicts={"morpho:0x1": replace(watching, health=None)})),
        journal.record_cycle(a_cycle(a_block(102), verdicts={"morpho:0x1": replace(watching, sentence="other")})),
        journal.record_cycle(a_cycle(a_block(103), verdicts={"morpho:0x1": replace(watching, kind="Blocked")})),
    ]

    assert changes == [("morpho:0x1", "wallet"), (), ("morpho:0x1",), ("morpho:0x1",)]
    assert journal.latest_verdicts() == {
        "morpho:0x1": VerdictNote("Blocked", "between trigger and target", 115 * WAD // 100),
        "wallet": watching,
    }


def test_a_price_is_recorded_once_per_round_and_larger_than_64_bits(journal: Journal) -> None:
    journal.record_cycle(a_cycle(a_block(100), rounds=(a_round(2_000 * 10**8, 900),)))
    journal.record_cycle(a_cycle(a_block(101), rounds=(a_round(2_000 * 10**8, 900),)))
    journal.record_cycle(a_cycle(a_block(102), rounds=(a_round(2**100, 1_000),)))

    assert journal.price_history(FEED, 0) == (PricePoint(900, 200_000_000_000, 8), PricePoint(1_000, 2**100, 8))
    assert journal.price_history(FEED, 901) == (PricePoint(1_000, 2**100, 8),)
    assert journal.price_history(FEED, 1_001) == ()


# What was sent --------------------------------------------------------------------------------------------------------


def test_an_intent_comes_back_as_it_was_saved_in_every_state(journal: Journal) -> None:
    planned = replace(an_intent(), fee_floor=Fees(2**70, 3))
    signed = planned.signed(an_attempt())
    broadcast = signed.broadcast(1_010)
    bumped = broadcast.signed(an_attempt("0x02", max_fee_gwei=68)).broadcast(1_040)
    states = [
        planned,
        signed,
        broadcast,
        bumped,
        replace(bumped, state=State.MINED, outcome=Included(a_receipt("0x01"))),
        replace(bumped, state=State.BROADCAST, outcome=None),
        replace(bumped, state=State.MINED, outcome=Reverted(a_receipt("0x02", succeeded=False))),
        replace(bumped, state=State.FINAL, outcome=Reverted(a_receipt("0x02", succeeded=False))),
        replace(bumped, state=State.ABANDONED, outcome=Abandoned("its deadline passed")),
        bumped.replaced("0xbb"),
        replace(bumped, state=State.MINED, outcome=Included(a_receipt("0x01"))),
    ]
    for intent in states:
        journal.save_intent(intent, now=1_000)

        assert journal.intent("0xaa") == intent


def test_a_refused_intent_keeps_its_reason(journal: Journal) -> None:
    journal.save_intent(an_intent().refused("the simulation says HealthTooLow"), now=1_000)

    saved = journal.intent("0xaa")
    assert saved is not None
    assert saved.outcome == Refused("the simulation says HealthTooLow")


@pytest.mark.parametrize(
    ("state", "is_open"),
    [
        (State.PLANNED, True),
        (State.SIGNED, True),
        (State.BROADCAST, True),
        (State.MINED, True),
        (State.FINAL, False),
        (State.REPLACED, False),
        (State.ABANDONED, False),
    ],
)
def test_an_intent_is_open_until_it_is_settled(journal: Journal, state: State, is_open: bool) -> None:
    journal.save_intent(an_intent(state=state), now=1_000)

    assert bool(journal.open_intents()) is is_open


def test_bytes_that_may_still_land_are_found_by_nonce_whatever_the_state(journal: Journal) -> None:
    for nonce, state in ((4, State.FINAL), (5, State.ABANDONED), (6, State.BROADCAST)):
        attempt = an_attempt(f"0x{nonce}", nonce)
        journal.save_intent(replace(an_intent(f"0xa{nonce}", nonce, state), attempts=(attempt,)), now=1_000)

    assert [intent.plan_id for intent in journal.intents_from_nonce(5)] == ["0xa5", "0xa6"]


def test_signed_bytes_cannot_be_forgotten_or_changed(journal: Journal) -> None:
    signed = an_intent().signed(an_attempt())
    journal.save_intent(signed, now=1_000)

    for other in ((), (replace(an_attempt(), raw=b"other"),), (an_attempt("0x02"),)):
        with pytest.raises(ValueError, match="plan 0xaa lost bytes"):
            journal.save_intent(replace(signed, attempts=other), now=1_000)

    assert journal.intent("0xaa") == signed


def test_gas_spent_counts_receipts_seen_in_the_window_and_not_those_reorganised_away(journal: Journal) -> None:
    for plan_id, name, nonce, now in (("0xa1", "0x1", 1, 900), ("0xa2", "0x2", 2, 1_000), ("0xa3", "0x3", 3, 1_100)):
        signed = an_intent(plan_id, nonce).signed(an_attempt(name, nonce))
        journal.save_intent(replace(signed, state=State.MINED, outcome=Included(a_receipt(name))), now=now)
        if plan_id == "0xa3":
            journal.save_intent(replace(signed, state=State.BROADCAST), now=now)

    # 200,000 gas at 40 gwei each.
    assert journal.spent_since(900) == 16_000_000_000_000_000
    assert journal.spent_since(901) == 8_000_000_000_000_000
    assert journal.spent_since(1_001) == 0


def test_a_receipt_seen_again_counts_from_when_it_was_first_seen(journal: Journal) -> None:
    mined = replace(an_intent().signed(an_attempt()), state=State.MINED, outcome=Included(a_receipt()))
    journal.save_intent(mined, now=1_000)
    journal.save_intent(replace(mined, state=State.FINAL), now=2_000)

    assert journal.spent_since(1_001) == 0


def test_rescues_are_kept_per_plan_and_the_last_that_took_effect_per_recipient(journal: Journal) -> None:
    for plan_id, nonce, at, succeeded in (("0xa1", 1, 500, True), ("0xa2", 2, 600, True), ("0xa3", 3, 700, False)):
        attempt = an_attempt(f"0x{nonce}", nonce)
        mined = replace(an_intent(plan_id, nonce).signed(attempt), state=State.MINED)
        journal.save_intent(replace(mined, outcome=Included(a_receipt(attempt.hash))), now=at)
        rescue = RescueOutcome("morpho:0x1", succeeded, 104 * WAD // 100, 125 * WAD // 100, "" if succeeded else "cap")
        journal.record_rescues(plan_id, [rescue, replace(rescue, recipient=f"morpho:{plan_id}")], at)

    assert journal.last_rescues() == {
        "morpho:0x1": LastRescue(600, 1_250_000_000_000_000_000),
        "morpho:0xa1": LastRescue(500, 1_250_000_000_000_000_000),
        "morpho:0xa2": LastRescue(600, 1_250_000_000_000_000_000),
    }
    assert journal.rescues_of("0xa1") == (
        RescueOutcome("morpho:0x1", True, 1_040_000_000_000_000_000, 1_250_000_000_000_000_000),
        RescueOutcome("morpho:0xa1", True, 1_040_000_000_000_000_000, 1_250_000_000_000_000_000),
    )


def test_what_a_rescue_did_is_told_by_the_accounts_label_with_its_healths(journal: Journal) -> None:
    mined = replace(an_intent().signed(an_attempt()), state=State.MINED, outcome=Included(a_receipt()))
    journal.save_intent(mined, now=500)
    rescues = [
        RescueOutcome("morpho:0x1", True, 107 * WAD // 100, 125 * WAD // 100, label="WETH/USDC 86%"),
        RescueOutcome("morpho:0x2", False, 0, 0, "its donor's health is below the floor", "WBTC/USDC 86%"),
        RescueOutcome("morpho:0x3", True, WAD, 2 * WAD),
    ]
    journal.record_rescues("0xaa", rescues, 500)
    assert [event.sentence for event in journal.events() if event.kind == "outcome"] == [
        "WETH/USDC 86% was rescued: health 1.0700 → 1.2500",
        "WBTC/USDC 86% was not rescued: its donor's health is below the floor",
        "morpho:0x3 was rescued: health 1.0000 → 2.0000",
    ]


def test_rescues_go_when_their_block_is_reorganised_away(journal: Journal) -> None:
    signed = an_intent().signed(an_attempt())
    journal.save_intent(replace(signed, state=State.MINED, outcome=Included(a_receipt())), now=500)
    journal.record_rescues("0xaa", [RescueOutcome("morpho:0x1", True, WAD, 2 * WAD)], 500)

    journal.save_intent(replace(signed, state=State.BROADCAST), now=510)

    assert journal.last_rescues() == {}


def test_rescues_without_a_receipt_are_refused(journal: Journal) -> None:
    journal.save_intent(an_intent(), now=500)

    with pytest.raises(ValueError, match="no receipt"):
        journal.record_rescues("0xaa", [RescueOutcome("morpho:0x1", True, WAD, 2 * WAD)], 500)


# What people read -----------------------------------------------------------------------------------------------------


def test_events_tell_the_story_in_order_and_can_be_followed(journal: Journal) -> None:
    journal.record_event("start", "keeper", "started", now=900)
    note = VerdictNote("Rescue", "a rescue is on its way", None)
    journal.record_cycle(a_cycle(verdicts={"wallet": note}, plan=a_plan()))
    intent = an_intent().signed(an_attempt())
    journal.save_intent(intent, now=1_001)
    journal.save_intent(intent.broadcast(1_002), now=1_002)
    journal.save_intent(intent.broadcast(1_020), now=1_020)

    events = journal.events()

    assert [(event.at, event.kind, event.subject) for event in events] == [
        (900, "start", "keeper"),
        (1_000, "plan", "0xaa"),
        (1_000, "verdict", "wallet"),
        (1_001, "intent", "0xaa"),
        (1_002, "intent", "0xaa"),
    ]
    assert [event.sentence for event in events[-2:]] == [
        "routine batch signed as 0x01, nonce 5",
        "routine batch broadcast as 0x01, nonce 5",
    ]
    assert journal.events(since=1_002) == events[-1:]
    assert journal.events(after_id=events[2].id) == events[3:]
    assert journal.events(limit=2) == events[-2:]


def test_a_reader_sees_what_a_running_writer_committed_and_cannot_write(journal: Journal, path: Path) -> None:
    reader = open_reader(path)
    journal.save_intent(an_intent(), now=1_000)

    assert reader.open_intents() == (an_intent(),)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connect(f"{path.as_uri()}?mode=ro").execute("DELETE FROM intents")
    reader.close()


# Who may write --------------------------------------------------------------------------------------------------------


def test_a_second_writer_is_told_which_process_holds_the_journal(journal: Journal, path: Path) -> None:
    with pytest.raises(JournalError, match=rf"in use by process {os.getpid()}; stop that daemon"):
        open_writer(path)

    journal.close()
    open_writer(path).close()


def test_a_reader_is_told_when_there_is_no_journal(path: Path) -> None:
    with pytest.raises(JournalError, match=r"no journal at .*keeper.sqlite yet; `keeper run` makes one"):
        open_reader(path)


def test_a_file_that_is_no_journal_is_named(path: Path) -> None:
    path.write_bytes(b"this is not a database, whatever its name says" * 100)

    with pytest.raises(JournalError, match=r"keeper.sqlite is damaged .*move it aside"):
        open_writer(path)
    with pytest.raises(JournalError, match=r"keeper.sqlite is damaged"):
        open_reader(path)


def test_a_journal_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(JournalError, match=r"file/keeper.sqlite cannot be made: "):
        open_writer(tmp_path / "file" / "keeper.sqlite")


# What a crash leaves --------------------------------------------------------------------------------------------------

SAVE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from keeper.journal import open_writer
from tests.test_journal import an_attempt, an_intent

journal = open_writer(Path(sys.argv[1]))
journal.save_intent(an_intent().signed(an_attempt()), now=1_000)
os.kill(os.getpid(), signal.SIGKILL)
"""


def run_python(script: str, *arguments: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parent.parent)
    return subprocess.run(
        [*prefix, sys.executable, "-c", script, *arguments], cwd=root, capture_output=True, text=True, check=False
    )


def test_signed_bytes_survive_kill_9_and_free_the_lock(path: Path) -> None:
    died = run_python(SAVE_AND_DIE, str(path))
    assert died.returncode == -signal.SIGKILL, died.stderr

    journal = open_writer(path)

    assert journal.open_intents() == (an_intent().signed(an_attempt()),)
    journal.close()


# A full disk ----------------------------------------------------------------------------------------------------------


class PageReserve(Reserve):
    """A reserve inside the database's page limit: its release is what makes room."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        super().__init__(path)
        self._connection = connection
        self._is_set_aside = True

    def set_aside(self) -> bool:
        pages = self._connection.execute("PRAGMA page_count").fetchone()[0]
        self._connection.execute(f"PRAGMA max_page_count = {pages}")
        return True

    def release(self) -> bool:
        had, self._is_set_aside = self._is_set_aside, False
        if had:
            pages = self._connection.execute("PRAGMA page_count").fetchone()[0]
            self._connection.execute(f"PRAGMA max_page_count = {pages + 20}")
        return had


def test_a_full_disk_still_takes_a_batch_and_then_says_so(path: Path) -> None:
    open_writer(path).close()
    connection = connect(path.as_uri())
    journal = Journal(connection, path, WriterLock(path), PageReserve(connection, path), Retention())
    signed = an_intent().signed(replace(an_attempt(), raw=bytes(20_000)))
    assert not journal.is_out_of_space

    journal.save_intent(signed, now=1_000)

    assert journal.is_out_of_space
    assert journal.open_intents() == (signed,)
    with pytest.raises(JournalError, match=r"disk of the journal .* is full; free some space"):
        journal.save_intent(signed.signed(replace(an_attempt("0x02"), raw=bytes(200_000))), now=1_000)
    assert journal.open_intents() == (signed,)
    journal.close()


def test_on_a_full_disk_only_a_batch_gets_the_space_that_is_kept_for_it(path: Path) -> None:
    """A record of a calm day must not use up what a rescue will need; a disk with room again gives it back."""
    open_writer(path).close()
    connection = connect(path.as_uri())
    journal = Journal(connection, path, WriterLock(path), PageReserve(connection, path), Retention())
    large = a_cycle(topology="x" * 20_000)

    for _ in range(2):
        with pytest.raises(JournalFull, match=r"disk of the journal .* is full; free some space\.$"):
            journal.record_cycle(large)
    assert not journal.is_out_of_space, "the reserve is still there"

    journal.save_intent(an_intent().signed(replace(an_attempt(), raw=bytes(20_000))), now=1_000)
    assert journal.is_out_of_space
    with pytest.raises(JournalFull):
        journal.record_event("start", "keeper", "not in the space of the batch", now=1_000)

    journal.make_room()
    assert not journal.is_out_of_space
    journal.close()


def test_a_reserve_is_not_tried_on_a_disk_that_has_no_room_for_it(path: Path) -> None:
    reserve = Reserve(path, size=2**60)
    assert not reserve.set_aside()
    assert list(path.parent.iterdir()) == []


def test_nobody_else_may_read_the_journal(path: Path) -> None:
    path.touch(0o644)
    journal = open_writer(path)
    journal.save_intent(an_intent(), now=500)
    modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir() if "reserve" not in each.name}
    journal.close()
    assert modes == dict.fromkeys(
        ("keeper.sqlite", "keeper.sqlite-wal", "keeper.sqlite-shm", "keeper.sqlite.lock"), 0o600
    )


FILL_THE_DISK = """
import sys
from pathlib import Path
from keeper.errors import JournalError
from keeper.journal import open_writer
from tests.test_journal import an_attempt, an_intent

folder = Path(sys.argv[1])
room = folder / "room"


def fill(name: str) -> None:
    try:
        with (folder / name).open("wb", buffering=0) as other:
            while True:
                other.write(bytes(4096))
    except OSError:
        pass


room.write_bytes(bytes(2**20))
journal = open_writer(folder / "keeper.sqlite")
assert not journal.is_out_of_space

fill("first")
signed = an_intent().signed(an_attempt())
journal.save_intent(signed, now=1_000)
print("out of space" if journal.is_out_of_space else "space", len(journal.open_intents()))

fill("second")
try:
    for number in range(1_000):
        journal.save_intent(signed.broadcast(number), now=number)
except JournalError as error:
    print(error)
journal.close()

room.unlink()
journal = open_writer(folder / "keeper.sqlite")
print("out of space" if journal.is_out_of_space else "space", len(journal.open_intents()))
"""

IN_A_SMALL_FOLDER = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
MOUNT = 'mount -t tmpfs -o size=12m tmpfs "$0" && exec "$@"'


def can_mount(folder: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run([*IN_A_SMALL_FOLDER, MOUNT, str(folder), "true"], capture_output=True, check=False)
    return done.returncode == 0


def test_a_really_full_file_system_still_takes_a_batch(tmp_path: Path) -> None:
    if not can_mount(tmp_path):
        pytest.skip("this machine lets nobody mount a small file system; the page limit above stands for it")

    done = run_python(FILL_THE_DISK, str(tmp_path), prefix=(*IN_A_SMALL_FOLDER, MOUNT, str(tmp_path)))

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "out of space 1",
        f"The disk of the journal {tmp_path}/keeper.sqlite is full; free some space.",
        "out of space 1",
    ]


# Versions -------------------------------------------------------------------------------------------------------------

NEXT = "ALTER TABLE intents ADD COLUMN note TEXT NOT NULL DEFAULT 'kept'"


def test_an_older_journal_is_brought_forward_with_its_rows(journal: Journal, path: Path) -> None:
    journal.save_intent(an_intent(), now=1_000)
    journal.close()
    connection = connect(path.as_uri())

    migrate(connection, (*MIGRATIONS, NEXT))
    migrate(connection, (*MIGRATIONS, NEXT))

    assert [tuple(row) for row in connection.execute("SELECT plan_id, note FROM intents")] == [("0xaa", "kept")]
    assert connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS) + 1
    connection.close()
    with pytest.raises(JournalError, match=r"version \d+ and this keeper knows up to \d+: it was written by a newer"):
        open_writer(path)
    with pytest.raises(JournalError, match=r"newer keeper"):
        open_reader(path)


def test_a_migration_that_fails_leaves_the_journal_as_it_was(journal: Journal, path: Path) -> None:
    journal.save_intent(an_intent(), now=1_000)
    journal.close()
    connection = connect(path.as_uri())

    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, (*MIGRATIONS, "DROP TABLE intents; SELECT nonsense FROM nowhere"))
    connection.close()

    again = open_writer(path)
    assert again.open_intents() == (an_intent(),)
    again.close()


def test_a_reader_leaves_bringing_it_forward_to_the_daemon(path: Path) -> None:
    connect(path.as_uri()).execute("CREATE TABLE old (id)").connection.close()

    with pytest.raises(JournalError, match="from an older keeper; `keeper run` brings it up to date"):
        open_reader(path)


# Retention ------------------------------------------------------------------------------------------------------------


def test_rows_go_when_their_time_is_over_and_not_before(journal: Journal) -> None:
    journal.record_cycle(a_cycle(a_block(1, 0), rounds=(a_round(1, 0),), verdicts={"wallet": VerdictNote("A", "a", 1)}))
    journal.record_cycle(a_cycle(a_block(2, 0), plan=a_plan(), topology="with a plan"))
    journal.record_cycle(a_cycle(a_block(3, 10), verdicts={"wallet": VerdictNote("B", "b", 1)}, topology="later"))

    journal.prune(90 * DAY)
    assert journal.price_history(FEED, 0) == (PricePoint(0, 1, 8),)
    assert journal.cycle_of("0xaa").topology == "with a plan"

    journal.prune(90 * DAY + 1)
    assert journal.price_history(FEED, 0) == ()

    journal.prune(365 * DAY)
    assert journal.cycle_of("0xaa").block.number == 2
    assert len(journal.events()) == 3

    journal.prune(365 * DAY + 1)
    with pytest.raises(JournalError):
        journal.cycle_of("0xaa")
    assert [event.sentence for event in journal.events()] == ["b"]
    assert journal.latest_verdicts()["wallet"].kind == "B"


# Prices seen ----------------------------------------------------------------------------------------------------------

NEAR: PriceOf = (SubaccountId("morpho", "0x3a85"), Address("0x" + "01" * 20))


def see(journal: Journal, at: int, price: int | None) -> None:
    prices = {} if price is None else {NEAR: price}
    journal.record_cycle(replace(a_cycle(a_block(at, at)), prices=prices))


def test_a_price_is_kept_from_when_it_was_first_seen_and_ends_where_it_was_seen_last(journal: Journal) -> None:
    assert journal.prices_seen(120) == {}
    for at, price in ((1_000, 7 * 2**70), (1_012, 7 * 2**70), (1_024, 8), (1_036, 8)):
        see(journal, at, price)
    assert journal.prices_seen(120) == {NEAR: (PriceSeen(1_000, 7 * 2**70), PriceSeen(1_024, 8), PriceSeen(1_036, 8))}


def test_a_price_that_came_back_is_seen_again(journal: Journal) -> None:
    for at, price in ((1_000, 7), (1_012, 8), (1_024, 7)):
        see(journal, at, price)
    assert [one.price for one in journal.prices_seen(120)[NEAR]] == [7, 8, 7, 7]


@pytest.mark.parametrize(("seconds", "prices"), [(12, [8, 8]), (23, [8, 8]), (24, [7, 8, 8])])
def test_what_no_longer_held_so_long_ago_is_not_told(journal: Journal, seconds: int, prices: list[int]) -> None:
    for at, price in ((1_000, 6), (1_012, 7), (1_024, 8), (1_048, 8)):
        see(journal, at, price)
    assert [one.price for one in journal.prices_seen(seconds)[NEAR]] == prices


def test_prices_seen_survive_a_restart_and_go_after_an_hour_but_for_the_last(journal: Journal, path: Path) -> None:
    for at, price in ((1_000, 7), (1_012, 8)):
        see(journal, at, price)
    journal.close()
    again = open_writer(path)
    again.prune(1_000 + 3_600)
    assert len(again.prices_seen(120)[NEAR]) == 3
    again.prune(1_000 + 3_601)
    assert again.prices_seen(120)[NEAR] == (PriceSeen(1_012, 8), PriceSeen(1_012, 8))
    again.prune(500_000)
    assert again.prices_seen(120)[NEAR] == (PriceSeen(1_012, 8), PriceSeen(1_012, 8))
    again.close()


def test_cycles_without_a_plan_go_first(journal: Journal, path: Path) -> None:
    for number in (1, 2):
        journal.record_cycle(a_cycle(a_block(number, 0), plan=a_plan() if number == 1 else None, topology=str(number)))
    count = connect(f"{path.as_uri()}?mode=ro")

    journal.prune(7 * DAY)
    assert [row[0] for row in count.execute("SELECT block_number FROM cycles")] == [1, 2]

    journal.prune(7 * DAY + 1)
    assert [row[0] for row in count.execute("SELECT block_number FROM cycles")] == [1]
    assert [row[0] for row in count.execute("SELECT json FROM topologies")] == ["1"]
    count.close()


def test_what_may_still_land_is_kept_however_old(journal: Journal) -> None:
    signed = an_intent().signed(an_attempt())
    journal.save_intent(signed, now=0)
    journal.save_intent(replace(an_intent("0xbb"), state=State.ABANDONED, outcome=Abandoned("old")), now=0)

    journal.prune(1_000 * DAY)

    assert journal.intent("0xaa") == signed
    assert journal.intent("0xbb") is None


def test_a_receipt_is_untold_until_its_rescues_are_recorded_and_again_in_another_block(journal: Journal) -> None:
    mined = replace(an_intent(), attempts=(an_attempt(),), state=State.MINED, outcome=Included(a_receipt()))
    assert journal.untold_intents() == ()
    journal.save_intent(mined, now=1_000)
    assert journal.untold_intents() == (mined,)
    journal.record_rescues(mined.plan_id, (), at=1_000)
    journal.save_intent(replace(mined, state=State.FINAL), now=1_100)
    assert journal.untold_intents() == ()
    elsewhere = replace(mined, outcome=Included(replace(a_receipt(), block_hash="0xother")))
    journal.save_intent(elsewhere, now=1_200)
    assert journal.untold_intents() == (elsewhere,)


def test_what_a_rollup_took_for_the_bytes_counts_as_spent(journal: Journal) -> None:
    receipt = replace(a_receipt(), data_fee_wei=7)
    mined = replace(an_intent(), attempts=(an_attempt(),), state=State.MINED, outcome=Included(receipt))
    journal.save_intent(mined, now=1_000)
    assert journal.intent(mined.plan_id) == mined
    assert journal.spent_since(0) == 8_000_000_000_000_007


# Any history ----------------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.sampled_from(["sign", "send", "mine", "reorganise", "settle", "abandon", "prune"]), st.integers(0, 2)),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_after_any_history_the_journal_holds_exactly_the_intents_that_were_saved(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("history") / "keeper.sqlite"
    journal = open_writer(path)
    intents = {f"0xa{index}": an_intent(f"0xa{index}", index) for index in range(3)}
    for now, (step, index) in enumerate(steps):
        plan_id = f"0xa{index}"
        intent = intents[plan_id]
        attempts = len(intent.attempts)
        receipt = a_receipt(intent.attempts[-1].hash) if intent.attempts else None
        match step:
            case "sign" if Event.SIGNED in TABLE[intent.state]:
                intent = intent.signed(an_attempt(f"{plan_id}-{attempts}", index, 60 + attempts))
            case "send" if intent.attempts and Event.ACCEPTED in TABLE[intent.state]:
                intent = intent.broadcast(now)
            case "mine" if receipt:
                intent = replace(intent, state=State.MINED, outcome=Included(receipt))
            case "reorganise" if intent.attempts:
                intent = replace(intent, state=State.BROADCAST, outcome=None)
            case "settle" if receipt:
                intent = replace(intent, state=State.FINAL, outcome=Reverted(receipt))
            case "abandon":
                intent = replace(intent, state=State.ABANDONED, outcome=Abandoned("given up"))
            case _:
                journal.prune(now)
        intents[plan_id] = intent
        journal.save_intent(intent, now)
    journal.close()

    reader = open_reader(path)
    saved = {f"0xa{index}" for _, index in steps}
    assert {plan_id: reader.intent(plan_id) for plan_id in saved} == {plan_id: intents[plan_id] for plan_id in saved}
    paid = sum(isinstance(intents[plan_id].outcome, Included | Reverted) for plan_id in saved)
    assert reader.spent_since(0) == paid * 8_000_000_000_000_000
    reader.close()


def test_who_disputes_a_price_is_known_until_a_cycle_without_it(journal: Journal, path: Path) -> None:
    cycle = replace(a_cycle(), last_said={NEAR: 7 * 2**70})
    journal.record_cycle(cycle)
    journal.close()
    again = open_writer(path)
    assert again.last_said() == {NEAR: 7 * 2**70}
    again.record_cycle(replace(cycle, block=a_block(101), last_said={}))
    assert again.last_said() == {}
    again.close()
