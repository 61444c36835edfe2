-- The last facts of each host. `endpoint` is who was asked: a name may lead to another machine by now.
CREATE TABLE facts (
    host      TEXT PRIMARY KEY,
    endpoint  TEXT NOT NULL,
    run       INTEGER NOT NULL REFERENCES run (id),
    at        TEXT NOT NULL,
    body      TEXT NOT NULL
) STRICT;

-- Which steps of runs under way bring facts: events name a step by its number.
CREATE TABLE look (
    run       INTEGER NOT NULL REFERENCES run (id),
    host      TEXT NOT NULL,
    step      INTEGER NOT NULL,
    endpoint  TEXT NOT NULL,
    PRIMARY KEY (run, host, step)
) STRICT, WITHOUT ROWID;
