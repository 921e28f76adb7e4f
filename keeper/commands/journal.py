"""`keeper journal`: what was seen, decided and sent, oldest first."""

import json
import time
from collections.abc import Sequence
from pathlib import Path

from keeper.commands.answer import Answer
from keeper.config import load_config
from keeper.config_values import parse_seconds
from keeper.errors import ConfigError
from keeper.journal_reader import Event, JournalReader, open_reader
from keeper.report import short, time_text, with_short_ids

FOLLOW_SECONDS = 0.5
EVENTS_MAX = 1_000_000
"""More than a journal keeps."""
SENT = ("intent", "outcome")


def journal(config_path: Path, *, since: str, follow: bool, as_json: bool) -> Answer:
    """With `follow` it prints until it is interrupted, and then answers nothing more."""
    try:
        seconds = parse_seconds(since)
    except ValueError as problem:
        raise ConfigError(f"--since is {since!r}: {problem}.") from None
    reader = open_reader(load_config(config_path).journal.path)
    try:
        now = int(time.time())
        events = _told(reader.events(now - seconds, limit=EVENTS_MAX))
        if follow:
            return _follow(reader, events, now - seconds, as_json)
        lines = [_line(event, now) for event in events] or [f"Nothing in the last {since}."]
        return Answer(lines, [_document(event) for event in events])
    finally:
        reader.close()


def _told(events: Sequence[Event]) -> list[Event]:
    """What was sent is durable before the cycle that decided it; the decision is told first."""
    return sorted(events, key=lambda event: (event.at, event.kind in SENT))


def _follow(reader: JournalReader, events: Sequence[Event], since: int, as_json: bool) -> Answer:
    try:
        while True:
            for event in events:
                print(json.dumps(_document(event)) if as_json else _line(event, int(time.time())), flush=True)
            last_id = max((event.id for event in events), default=0)
            events = ()
            while not events:
                time.sleep(FOLLOW_SECONDS)
                events = _told(reader.events(since, last_id))
    except KeyboardInterrupt:
        return Answer([], None)


def _line(event: Event, now: int) -> str:
    return f"{time_text(event.at, now)}  {event.kind:8} {short(event.subject):18}  {with_short_ids(event.sentence)}"


def _document(event: Event) -> dict[str, object]:
    return {
        "id": event.id,
        "at": event.at,
        "kind": event.kind,
        "subject": event.subject,
        "sentence": event.sentence,
    }
