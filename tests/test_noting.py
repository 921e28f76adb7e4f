"""Who a batch was for is known for as long as something may still be said about it, and no longer."""

from dataclasses import replace
from pathlib import Path

from prometheus_client import CollectorRegistry

from keeper.alerts import Alerts
from keeper.chain.batch import Change
from keeper.core.intent import Abandoned, Included, Intent, Receipt, Refused, State
from keeper.core.plan import Lane
from keeper.core.snapshot import SubaccountId
from keeper.journal import open_writer
from keeper.noting import REMEMBERED_BATCHES, Notes
from keeper.telemetry import Metrics
from tests.builders import a_snapshot

A = SubaccountId("morpho", "a")
SENT = Intent("0x01", Lane.ROUTINE, 5, deadline=2_000, fee_ceiling_wei=10**9, state=State.BROADCAST)
INCLUDED = Included(Receipt("0xaa", 101, "0xb101", True, 200_000, 10**9))


def test_recipients_are_known_until_nothing_can_happen_to_their_batch(tmp_path: Path) -> None:
    metrics = Metrics(CollectorRegistry())
    journal = open_writer(tmp_path / "keeper.sqlite")
    notes = Notes(journal, Alerts(None, {}, metrics, 900, 3_600), metrics)
    for intent, are_known in (
        (SENT, True),
        (replace(SENT, state=State.MINED, outcome=INCLUDED), True),
        (replace(SENT, state=State.ABANDONED, outcome=Abandoned("its deadline passed")), True),
        (replace(SENT, state=State.FINAL, outcome=INCLUDED), False),
        (replace(SENT, state=State.ABANDONED, outcome=Refused("the node refuses it")), False),
    ):
        notes.expect("0x01", (A,))
        notes.note(Change(intent, "did"), a_snapshot())
        assert (notes.recipients("0x01") == (A,)) is are_known
    for number in range(REMEMBERED_BATCHES + 1):
        notes.expect(f"plan {number}", (A,))
    assert notes.recipients("plan 0") == ()
    assert notes.recipients("plan 1") == (A,)
    journal.close()
