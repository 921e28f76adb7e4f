"""The journal's tables, and how an older journal becomes a newer one: forwards only, one transaction a step."""

import sqlite3

from keeper.errors import JournalError

# Amounts in wei, raw units and answers are text: they may exceed the 63 bits of an SQLite integer.
_TABLES = """
CREATE TABLE topologies (
    digest TEXT PRIMARY KEY,
    json TEXT NOT NULL
) STRICT;

CREATE TABLE cycles (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    block_number INTEGER NOT NULL,
    block_hash TEXT NOT NULL,
    parent_hash TEXT NOT NULL,
    block_timestamp INTEGER NOT NULL,
    base_fee_wei TEXT NOT NULL,
    gas_limit INTEGER NOT NULL,
    snapshot_digest TEXT NOT NULL,
    topology_digest TEXT NOT NULL REFERENCES topologies (digest),
    reads BLOB NOT NULL
) STRICT;
CREATE INDEX cycles_by_time ON cycles (block_timestamp);

CREATE TABLE prices (
    feed TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    block_number INTEGER NOT NULL,
    answer TEXT NOT NULL,
    decimals INTEGER NOT NULL,
    PRIMARY KEY (feed, updated_at, answer)
) STRICT, WITHOUT ROWID;
CREATE INDEX prices_by_time ON prices (updated_at);

CREATE TABLE verdicts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    block_number INTEGER NOT NULL,
    subaccount TEXT NOT NULL,
    kind TEXT NOT NULL,
    sentence TEXT NOT NULL,
    health TEXT
) STRICT;
CREATE INDEX verdicts_by_subaccount ON verdicts (subaccount, id);
CREATE INDEX verdicts_by_time ON verdicts (at);

CREATE TABLE plans (
    plan_id TEXT PRIMARY KEY,
    cycle_id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    lane TEXT NOT NULL,
    policy TEXT NOT NULL,
    history TEXT NOT NULL,
    plan TEXT NOT NULL,
    sentences TEXT NOT NULL
) STRICT;
CREATE INDEX plans_by_time ON plans (at);

CREATE TABLE intents (
    plan_id TEXT PRIMARY KEY,
    lane TEXT NOT NULL,
    nonce INTEGER NOT NULL,
    deadline INTEGER NOT NULL,
    fee_ceiling_wei TEXT NOT NULL,
    floor_max_fee_wei TEXT,
    floor_tip_wei TEXT,
    state TEXT NOT NULL,
    outcome TEXT,
    reason TEXT,
    planned_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX intents_by_state ON intents (state);
CREATE INDEX intents_by_nonce ON intents (nonce);

CREATE TABLE attempts (
    hash TEXT PRIMARY KEY,
    plan_id TEXT NOT NULL REFERENCES intents (plan_id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    raw BLOB NOT NULL,
    nonce INTEGER NOT NULL,
    max_fee_wei TEXT NOT NULL,
    tip_wei TEXT NOT NULL,
    signed_at INTEGER NOT NULL,
    sent_at INTEGER,
    UNIQUE (plan_id, position)
) STRICT;

CREATE TABLE outcomes (
    plan_id TEXT PRIMARY KEY REFERENCES intents (plan_id) ON DELETE CASCADE,
    hash TEXT NOT NULL,
    block_number INTEGER NOT NULL,
    block_hash TEXT NOT NULL,
    succeeded INTEGER NOT NULL,
    gas_used INTEGER NOT NULL,
    gas_price_wei TEXT NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT;
CREATE INDEX outcomes_by_time ON outcomes (seen_at);

CREATE TABLE rescues (
    plan_id TEXT NOT NULL REFERENCES outcomes (plan_id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    succeeded INTEGER NOT NULL,
    health_before TEXT NOT NULL,
    health_after TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (plan_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX rescues_by_recipient ON rescues (recipient, at);

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    sentence TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_time ON events (at);
"""

_TOLD = """
ALTER TABLE outcomes ADD COLUMN data_fee_wei TEXT NOT NULL DEFAULT '0';
ALTER TABLE outcomes ADD COLUMN told_at INTEGER;
UPDATE outcomes SET told_at = seen_at;
"""
"""What a rollup takes for a transaction's bytes, and whether anybody was told of a receipt."""

_SEEN_PRICES = """
CREATE TABLE seen_prices (
    subaccount TEXT NOT NULL,
    token TEXT NOT NULL,
    at INTEGER NOT NULL,
    price TEXT NOT NULL,
    PRIMARY KEY (subaccount, token, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_prices_by_time ON seen_prices (at);
"""
"""What each account's protocol took a token for, WAD in its unit of account, from a block on."""

_DISPUTED_PRICES = """
CREATE TABLE disputed_prices (
    subaccount TEXT NOT NULL,
    token TEXT NOT NULL,
    price TEXT NOT NULL,
    PRIMARY KEY (subaccount, token)
) STRICT, WITHOUT ROWID;
"""
"""What a second source said last of a price that it disputes now, WAD in the account's unit of account."""

MIGRATIONS: tuple[str, ...] = (_TABLES, _TOLD, _SEEN_PRICES, _DISPUTED_PRICES)
"""Step i brings a journal from version i to i + 1. A step that was released is never changed."""


def migrate(connection: sqlite3.Connection, migrations: tuple[str, ...] = MIGRATIONS) -> None:
    """Brings a journal to the newest version. Raises JournalError for one that a newer keeper wrote."""
    for version in range(check_version(connection, migrations), len(migrations)):
        # One script, one transaction: a keeper killed in the middle finds the version it had.
        connection.executescript(f"BEGIN IMMEDIATE;{migrations[version]};PRAGMA user_version = {version + 1};COMMIT;")


def check_version(connection: sqlite3.Connection, migrations: tuple[str, ...] = MIGRATIONS) -> int:
    """The journal's version. Raises JournalError for one that a newer keeper wrote."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        raise JournalError(
            f"The journal has version {version} and this keeper knows up to {len(migrations)}: "
            "it was written by a newer keeper; install that one."
        )
    return version
