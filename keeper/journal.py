"""What was seen, decided and sent, on disk before it is acted on.

One process writes, any number read. Every method that writes is one durable transaction (WAL, `synchronous=FULL`): when
it has returned, a crash or power cut does not undo it. On a full disk the reserve is given up for what a batch on its
way has to write and for nothing else; `is_out_of_space` then tells the daemon to send nothing new.
"""

import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar, assert_never

from keeper.core.fees import Fees
from keeper.core.intent import FINISHED, Abandoned, Attempt, Included, Intent, Outcome, Receipt, Refused, Reverted
from keeper.core.remedy import health_text
from keeper.errors import JournalError, JournalFull
from keeper.journal_files import Reserve, WriterLock
from keeper.journal_reader import (
    OUT_OF_SPACE,
    CycleRecord,
    Event,
    JournalReader,
    PlanRecord,
    PricePoint,
    RescueOutcome,
    VerdictNote,
    connect,
    named_faults,
    open_reader,
)
from keeper.journal_schema import migrate

__all__ = [
    "CycleRecord",
    "Event",
    "Journal",
    "JournalReader",
    "PlanRecord",
    "PricePoint",
    "RescueOutcome",
    "Retention",
    "VerdictNote",
    "open_reader",
    "open_writer",
]

DAY_SECONDS = 86_400
PRUNED_ROWS_MAX = 2_000
"""Per table and call, so that pruning never holds up a cycle."""

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Retention:
    """How long rows are kept, seconds. What is still on its way is never deleted."""

    cycles_seconds: int = 7 * DAY_SECONDS
    prices_seconds: int = 90 * DAY_SECONDS
    decisions_seconds: int = 365 * DAY_SECONDS


DEFAULT_RETENTION = Retention()
SEEN_PRICES_SECONDS = 3_600
"""What a price jumped from longer ago, nobody asks; the last one seen is kept."""


class Journal(JournalReader):
    """The one writer."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, lock: WriterLock, reserve: Reserve, retention: Retention
    ) -> None:
        super().__init__(connection, path)
        self._lock = lock
        self._reserve = reserve
        self._retention = retention
        self._last_verdicts = dict(self.latest_verdicts())
        self.is_out_of_space = not reserve.set_aside()
        """The reserve is used: what is on its way can still be recorded, nothing new must be sent."""

    def close(self) -> None:
        super().close()
        self._lock.release()

    def make_room(self) -> None:
        """Sets the reserve aside again once the disk has the space for it; call it before each cycle."""
        if self.is_out_of_space:
            self.is_out_of_space = not self._reserve.set_aside()

    def record_cycle(self, cycle: CycleRecord) -> tuple[str, ...]:
        """Records a cycle with its plan, if any, as one. Returns the ids of the subaccounts whose verdict changed."""
        changes = {id: note for id, note in cycle.verdicts.items() if not _is_same(self._last_verdicts.get(id), note)}
        self._write_routine(lambda: self._record_cycle(cycle, changes))
        self._last_verdicts.update(changes)
        return tuple(changes)

    def save_intent(self, intent: Intent, now: int) -> None:
        """Records an intent as it is now (`now` in unix seconds), with all of its attempts and its receipt.

        Call it before acting on the new state. Raises ValueError if bytes that were recorded are missing or different:
        what was signed may land and is never forgotten.
        """
        self._write_of_batch(lambda: self._save_intent(intent, now))

    def record_rescues(self, plan_id: str, rescues: Iterable[RescueOutcome], at: int) -> None:
        """Records what the rescues of a mined batch did, and that it was told, `at` (unix seconds); again after a
        reorganisation. A batch that reverted has none.

        Raises ValueError when no receipt was saved for the plan.
        """
        self._write_of_batch(lambda: self._record_rescues(plan_id, tuple(rescues), at))

    def record_event(self, kind: str, subject: str, sentence: str, now: int) -> None:
        """Something else that a person will want to find again: a start, a stop, a pause, an alarm."""
        self._write_routine(lambda: self._event(now, kind, subject, sentence))

    def prune(self, now: int) -> None:
        """Deletes a bounded number of rows that are older than their retention."""
        self._write_routine(lambda: self._prune(now))

    def _record_cycle(self, cycle: CycleRecord, changes: Mapping[str, VerdictNote]) -> None:
        run, block = self._connection.execute, cycle.block
        digest = sha256(cycle.topology.encode()).hexdigest()
        run("INSERT OR IGNORE INTO topologies VALUES (?, ?)", (digest, cycle.topology))
        inserted = run(
            "INSERT INTO cycles (block_number, block_hash, parent_hash, block_timestamp, base_fee_wei, gas_limit,"
            " snapshot_digest, topology_digest, reads) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                block.number,
                block.hash,
                block.parent_hash,
                block.timestamp,
                str(block.base_fee_wei),
                block.gas_limit,
                cycle.snapshot_digest,
                digest,
                zlib.compress(cycle.reads, 1),
            ),
        )
        # A feed answers for hours with the same round; only a new one is news.
        self._connection.executemany(
            "INSERT OR IGNORE INTO prices VALUES (?, ?, ?, ?, ?)",
            [(item.feed, item.updated_at, block.number, str(item.answer), item.decimals) for item in cycle.rounds],
        )
        self._connection.executemany(
            "INSERT OR REPLACE INTO seen_prices SELECT ?1, ?2, ?3, ?4 WHERE ?4 IS NOT"
            " (SELECT price FROM seen_prices WHERE subaccount = ?1 AND token = ?2 ORDER BY at DESC LIMIT 1)",
            [(str(id), token, block.timestamp, str(price)) for (id, token), price in cycle.prices.items()],
        )
        run("DELETE FROM disputed_prices")
        self._connection.executemany(
            "INSERT INTO disputed_prices VALUES (?, ?, ?)",
            [(str(id), token, str(price)) for (id, token), price in cycle.last_said.items()],
        )
        if cycle.plan:
            plan = cycle.plan
            values = (plan.policy, plan.history, plan.plan, json.dumps(plan.sentences))
            run(
                "INSERT INTO plans VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (plan.plan_id, inserted.lastrowid, block.timestamp, plan.lane.value, *values),
            )
            self._event(block.timestamp, "plan", plan.plan_id, " ".join(plan.sentences))
        for subaccount, note in changes.items():
            health = None if note.health is None else str(note.health)
            run(
                "INSERT INTO verdicts (at, block_number, subaccount, kind, sentence, health) VALUES (?, ?, ?, ?, ?, ?)",
                (block.timestamp, block.number, subaccount, note.kind, note.sentence, health),
            )
            self._event(block.timestamp, "verdict", subaccount, note.sentence)

    def _save_intent(self, intent: Intent, now: int) -> None:
        before = self.intent(intent.plan_id)
        if before and [(attempt.hash, attempt.raw) for attempt in before.attempts] != [
            (attempt.hash, attempt.raw) for attempt in intent.attempts[: len(before.attempts)]
        ]:
            raise ValueError(f"plan {intent.plan_id} lost bytes that were recorded for it")
        kind, reason = _outcome_columns(intent.outcome)
        floor = (None, None) if intent.fee_floor is None else _fee_columns(intent.fee_floor)
        self._connection.execute(
            "INSERT INTO intents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (plan_id) DO UPDATE SET"
            " lane = excluded.lane, nonce = excluded.nonce, deadline = excluded.deadline,"
            " fee_ceiling_wei = excluded.fee_ceiling_wei, floor_max_fee_wei = excluded.floor_max_fee_wei,"
            " floor_tip_wei = excluded.floor_tip_wei, state = excluded.state, outcome = excluded.outcome,"
            " reason = excluded.reason, changed_at = excluded.changed_at",
            (
                intent.plan_id,
                intent.lane.value,
                intent.nonce,
                intent.deadline,
                str(intent.fee_ceiling_wei),
                *floor,
                intent.state.value,
                kind,
                reason,
                now,
                now,
            ),
        )
        self._connection.executemany(
            "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (hash) DO UPDATE SET"
            " sent_at = excluded.sent_at",
            [_attempt_columns(intent.plan_id, position, each) for position, each in enumerate(intent.attempts)],
        )
        self._save_receipt(intent, now)
        if before is None or before.state is not intent.state or len(before.attempts) != len(intent.attempts):
            self._event(now, "intent", intent.plan_id, _sentence(intent))

    def _save_receipt(self, intent: Intent, now: int) -> None:
        receipt = _receipt_of(intent.outcome)
        if receipt is None:
            # Reorganised away: what it cost and did has not happened.
            self._connection.execute("DELETE FROM outcomes WHERE plan_id = ?", (intent.plan_id,))
            return
        self._connection.execute(
            "INSERT INTO outcomes (plan_id, hash, block_number, block_hash, succeeded, gas_used, gas_price_wei,"
            " seen_at, data_fee_wei) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (plan_id) DO UPDATE SET"
            # Included in another block it is news again.
            " told_at = iif(hash = excluded.hash AND block_hash = excluded.block_hash, told_at, NULL),"
            " hash = excluded.hash, block_number = excluded.block_number, block_hash = excluded.block_hash,"
            " succeeded = excluded.succeeded, gas_used = excluded.gas_used, gas_price_wei = excluded.gas_price_wei,"
            " data_fee_wei = excluded.data_fee_wei",
            (
                intent.plan_id,
                receipt.hash,
                receipt.block_number,
                receipt.block_hash,
                int(receipt.succeeded),
                receipt.gas_used,
                str(receipt.gas_price_wei),
                now,
                str(receipt.data_fee_wei),
            ),
        )

    def _record_rescues(self, plan_id: str, rescues: tuple[RescueOutcome, ...], at: int) -> None:
        if self._one("SELECT 1 FROM outcomes WHERE plan_id = ?", plan_id) is None:
            raise ValueError(f"plan {plan_id} has no receipt, so its rescues cannot have happened")
        self._connection.execute("UPDATE outcomes SET told_at = ? WHERE plan_id = ?", (at, plan_id))
        self._connection.execute("DELETE FROM rescues WHERE plan_id = ?", (plan_id,))
        for position, each in enumerate(rescues):
            healths = (str(each.health_before), str(each.health_after))
            self._connection.execute(
                "INSERT INTO rescues VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (plan_id, position, each.recipient, int(each.succeeded), *healths, each.reason, at),
            )
            self._event(at, "outcome", each.recipient, f"{each.label or each.recipient} {_done(each)}")

    def _event(self, at: int, kind: str, subject: str, sentence: str) -> None:
        self._connection.execute(
            "INSERT INTO events (at, kind, subject, sentence) VALUES (?, ?, ?, ?)", (at, kind, subject, sentence)
        )

    def _prune(self, now: int) -> None:
        cycles_before = now - self._retention.cycles_seconds
        decided_before = now - self._retention.decisions_seconds
        finished = ", ".join(f"'{state.value}'" for state in FINISHED)
        in_force = "SELECT subaccount, token, max(at) FROM seen_prices GROUP BY subaccount, token"
        for table, key, condition, limit in (
            ("cycles", "id", "block_timestamp < ? AND id NOT IN (SELECT cycle_id FROM plans)", cycles_before),
            ("topologies", "digest", "? AND digest NOT IN (SELECT topology_digest FROM cycles)", 1),
            ("prices", "(feed, updated_at, answer)", "updated_at < ?", now - self._retention.prices_seconds),
            (
                "seen_prices",
                "(subaccount, token, at)",
                f"at < ? AND (subaccount, token, at) NOT IN ({in_force})",
                now - SEEN_PRICES_SECONDS,
            ),
            (
                "verdicts",
                "id",
                "at < ? AND id NOT IN (SELECT max(id) FROM verdicts GROUP BY subaccount)",
                decided_before,
            ),
            ("plans", "plan_id", "at < ?", decided_before),
            ("intents", "plan_id", f"changed_at < ? AND state IN ({finished})", decided_before),
            ("events", "id", "at < ?", decided_before),
        ):
            columns = key.strip("()")
            self._connection.execute(
                f"DELETE FROM {table} WHERE {key} IN (SELECT {columns} FROM {table} WHERE {condition} LIMIT ?)",
                (limit, PRUNED_ROWS_MAX),
            )

    def _write_routine(self, work: Callable[[], ResultT]) -> ResultT:
        """Does `work` as one transaction, never in the space that is kept for a batch. Raises JournalFull."""
        if self.is_out_of_space:
            raise JournalFull(f"The disk of the journal {self._path} is full; free some space.")
        with named_faults(self._path):
            return self._transact(work)

    def _write_of_batch(self, work: Callable[[], ResultT]) -> ResultT:
        """Does `work` as one transaction; a full disk gives up the reserve and is tried once more."""
        with named_faults(self._path):
            try:
                return self._transact(work)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode not in OUT_OF_SPACE:
                    raise
                self.is_out_of_space = True
                if not self._reserve.release():
                    raise
                return self._transact(work)

    def _transact(self, work: Callable[[], ResultT]) -> ResultT:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            self._connection.execute("COMMIT")
        except BaseException:
            # A failed COMMIT may have rolled back by itself already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return result


def open_writer(path: Path, retention: Retention = Retention()) -> Journal:
    """Opens or makes the journal at `path` and brings it to the newest version.

    Raises JournalError when another process writes it, when a newer keeper wrote it, or when it cannot be used.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(path)
        # Positions, plans and signed bytes are nobody else's business; what SQLite puts beside it has the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise JournalError(f"The journal {path} cannot be made: {error.strerror}.") from None
    connection: sqlite3.Connection | None = None
    try:
        with named_faults(path):
            connection = connect(path.absolute().as_uri())
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            migrate(connection)
        return Journal(connection, path, lock, Reserve(path), retention)
    except BaseException:
        if connection is not None:
            connection.close()
        lock.release()
        raise


# Rows -----------------------------------------------------------------------------------------------------------------


def _is_same(known: VerdictNote | None, note: VerdictNote) -> bool:
    return known is not None and (known.kind, known.sentence) == (note.kind, note.sentence)


def _fee_columns(fees: Fees) -> tuple[str, str]:
    return str(fees.max_fee_wei), str(fees.tip_wei)


def _attempt_columns(plan_id: str, position: int, each: Attempt) -> tuple[Any, ...]:
    fees = _fee_columns(each.fees)
    return (each.hash, plan_id, position, each.raw, each.nonce, *fees, each.signed_at, each.sent_at)


def _done(rescue: RescueOutcome) -> str:
    if not rescue.succeeded:
        return f"was not rescued: {rescue.reason}"
    return f"was rescued: health {health_text(rescue.health_before)} → {health_text(rescue.health_after)}"


def _outcome_columns(outcome: Outcome | None) -> tuple[str | None, str | None]:
    match outcome:
        case None:
            return None, None
        case Included():
            return "included", None
        case Reverted():
            return "reverted", None
        case Refused(reason):
            return "refused", reason
        case Abandoned(reason):
            return "abandoned", reason
        case _:
            assert_never(outcome)


def _receipt_of(outcome: Outcome | None) -> Receipt | None:
    return outcome.receipt if isinstance(outcome, Included | Reverted) else None


def _sentence(intent: Intent) -> str:
    latest = f" as {intent.attempts[-1].hash}" if intent.attempts else ""
    reason = f": {intent.outcome.reason}" if isinstance(intent.outcome, Refused | Abandoned) else ""
    return f"{intent.lane.value} batch {intent.state.value}{latest}, nonce {intent.nonce}{reason}"
