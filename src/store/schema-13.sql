-- Leases of operators. Those that ended stay on record; one whose time is over has no end.
CREATE TABLE operator_lease (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    -- The operator's words and the resolved hosts, as JSON.
    body     TEXT NOT NULL,
    is_hold  INTEGER NOT NULL,
    until    TEXT,
    ended_at TEXT,
    ended_by TEXT,
    why      TEXT
) STRICT;
CREATE INDEX operator_lease_open ON operator_lease (id) WHERE ended_at IS NULL;
