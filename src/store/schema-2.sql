-- `planned`: the release that a run puts on a host if the host ends released. `taken`: all releases of each host.

CREATE TABLE planned (
    run         INTEGER NOT NULL REFERENCES run (id),
    host        TEXT NOT NULL,
    task        TEXT NOT NULL,
    params      TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    PRIMARY KEY (run, host)
) STRICT;

CREATE TABLE taken (
    host        TEXT NOT NULL,
    run         INTEGER NOT NULL REFERENCES run (id),
    task        TEXT NOT NULL,
    params      TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    good        INTEGER NOT NULL,
    at          TEXT NOT NULL,
    PRIMARY KEY (host, run)
) STRICT;
INSERT INTO taken (host, run, task, params, fingerprint, good, at)
    SELECT host, run, task, params, '', 1, at FROM release;
DROP TABLE release;

-- Operators' marks on releases. The last mark counts; rows never change.
CREATE TABLE mark (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    task    TEXT NOT NULL,
    params  TEXT NOT NULL,
    bad     INTEGER NOT NULL,
    by_name TEXT NOT NULL,
    by_key  TEXT NOT NULL,
    reason  TEXT NOT NULL,
    at      TEXT NOT NULL
) STRICT;
