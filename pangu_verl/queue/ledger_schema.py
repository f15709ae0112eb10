"""The tables of a ledger.

``place`` is a group's order of admission; ``lease_owner`` and ``lease_s`` are of its latest lease, ended or not;
``segments`` are packed by ``ledger_rows``. Invariants: ``spent`` holds for good the keys of groups whose records were
pruned, so that no key is admitted twice in a run; a column changes its meaning only with a new ``FORMAT``.
"""

from __future__ import annotations

#: "PnLg" in ASCII: tells a ledger from other SQLite files.
APPLICATION_ID = 0x506E4C67
FORMAT = 1

TABLES = """
CREATE TABLE facts (
    name TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE groups (
    place INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    task TEXT NOT NULL,
    trajectories INTEGER NOT NULL CHECK (trajectories > 0),
    data_row INTEGER,
    expected_tokens REAL,
    pass_rate REAL,
    admitted_version INTEGER NOT NULL,
    state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 4),
    started_version INTEGER,
    attempt INTEGER NOT NULL,
    evictions INTEGER NOT NULL DEFAULT 0,
    consumed_step INTEGER,
    priority REAL NOT NULL DEFAULT 0,
    lease_owner TEXT,
    lease_s REAL
) STRICT;

CREATE INDEX waiting_by_priority ON groups (priority DESC, place) WHERE state = 0;

CREATE TABLE members (
    place INTEGER NOT NULL,
    member INTEGER NOT NULL,
    reward REAL,
    segments BLOB NOT NULL,
    PRIMARY KEY (place, member)
) STRICT, WITHOUT ROWID;

CREATE TABLE spent (
    key TEXT PRIMARY KEY,
    step INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

#: Ends of leases on the monotonic clock of the process that holds the ledger: worthless to the next, so never on disk.
LEASE_ENDS = "CREATE TEMP TABLE lease_ends (place INTEGER PRIMARY KEY, end_s REAL NOT NULL) STRICT"
