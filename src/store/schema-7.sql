-- What is known of checks on hosts. A series is one check on one host, whoever looked.
CREATE TABLE series (
    id    INTEGER PRIMARY KEY,
    host  TEXT NOT NULL,
    name  TEXT NOT NULL,
    UNIQUE (host, name)
) STRICT;

-- The state of what is watched.
CREATE TABLE watched (
    series INTEGER PRIMARY KEY REFERENCES series (id),
    state  TEXT NOT NULL
) STRICT;

-- Each look: there are many, so each is a few numbers. Times are in milliseconds since 1970, verdicts those of Nagios.
CREATE TABLE sample (
    series  INTEGER NOT NULL REFERENCES series (id),
    at      INTEGER NOT NULL,
    verdict INTEGER NOT NULL,
    value   REAL,
    took_ms INTEGER NOT NULL,
    run     INTEGER,
    PRIMARY KEY (series, at)
) STRICT, WITHOUT ROWID;

-- Changes, with their words. They are kept longer than looks.
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
