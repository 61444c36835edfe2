-- The first schema. Forward only: each change is a new file in this directory.

CREATE TABLE run (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    title       TEXT NOT NULL,
    task        TEXT,
    plan        TEXT NOT NULL,
    plan_sha256 TEXT NOT NULL,
    by_name     TEXT NOT NULL,
    by_key      TEXT NOT NULL,
    params      TEXT NOT NULL,
    hosts       TEXT NOT NULL,
    started_at  TEXT NOT NULL,
    ended_at    TEXT,
    outcome     TEXT
) STRICT;

-- The journal. `hash` covers `prev` and all other columns, so that no row can be changed, removed or
-- moved without breaking the chain. `epoch` is that of the writer, and only grows.
CREATE TABLE event (
    seq   INTEGER PRIMARY KEY,
    run   INTEGER NOT NULL REFERENCES run (id),
    epoch INTEGER NOT NULL,
    at    TEXT NOT NULL,
    host  TEXT,
    op    TEXT,
    body  TEXT NOT NULL,
    prev  TEXT NOT NULL,
    hash  TEXT NOT NULL
) STRICT;
CREATE INDEX event_by_run ON event (run, seq);
CREATE UNIQUE INDEX event_operation ON event (op) WHERE op IS NOT NULL;
CREATE TRIGGER event_only_grows_update BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
CREATE TRIGGER event_only_grows_delete BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;

-- Projections: written in the transaction of the event that causes them.
CREATE TABLE debt (
    host       TEXT NOT NULL,
    balancer   TEXT NOT NULL,
    run        INTEGER NOT NULL REFERENCES run (id),
    since      TEXT NOT NULL,
    intent_seq INTEGER NOT NULL,
    why        TEXT NOT NULL,
    paid_seq   INTEGER,
    PRIMARY KEY (host, balancer, intent_seq)
) STRICT;
CREATE INDEX debt_open ON debt (host, balancer) WHERE paid_seq IS NULL;

CREATE TABLE lease (
    scope TEXT PRIMARY KEY,
    run   INTEGER NOT NULL REFERENCES run (id),
    since TEXT NOT NULL
) STRICT;

CREATE TABLE release (
    host   TEXT PRIMARY KEY,
    task   TEXT NOT NULL,
    params TEXT NOT NULL,
    run    INTEGER NOT NULL REFERENCES run (id),
    at     TEXT NOT NULL
) STRICT;

-- One row: the epoch of the writing process.
CREATE TABLE owner (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL
) STRICT;
INSERT INTO owner (id, epoch) VALUES (1, 0);
