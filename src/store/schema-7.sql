-- Results of checks. A series is one check on one host, for all kinds of runs.
CREATE TABLE series (
    id    INTEGER PRIMARY KEY,
    host  TEXT NOT NULL,
    name  TEXT NOT NULL,
    UNIQUE (host, name)
) STRICT;

-- The states of watched checks.
CREATE TABLE watched (
    series INTEGER PRIMARY KEY REFERENCES series (id),
    state  TEXT NOT NULL
) STRICT;

-- One row for each probe: only a few numbers, because there are many rows. Times are in milliseconds since 1970; verdicts
-- are Nagios' exit statuses.
CREATE TABLE sample (
    series  INTEGER NOT NULL REFERENCES series (id),
    at      INTEGER NOT NULL,
    verdict INTEGER NOT NULL,
    value   REAL,
    took_ms INTEGER NOT NULL,
    run     INTEGER,
    PRIMARY KEY (series, at)
) STRICT, WITHOUT ROWID;

-- Changes, with their texts. They are kept longer than samples.
CREATE TABLE turn (
    id     INTEGER PRIMARY KEY,
    series INTEGER NOT NULL REFERENCES series (id),
    at     INTEGER NOT NULL,
    body   TEXT NOT NULL
) STRICT;
CREATE INDEX turn_by_series ON turn (series, at);

CREATE TABLE downtime (
    id    INTEGER PRIMARY KEY AUTOINCREMENT,
    body  TEXT NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0
) STRICT;
