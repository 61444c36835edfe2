-- The last facts of each host. `endpoint` is the machine that was observed: the name may now lead to another one.
CREATE TABLE facts (
    host      TEXT PRIMARY KEY,
    endpoint  TEXT NOT NULL,
    run       INTEGER NOT NULL REFERENCES run (id),
    at        TEXT NOT NULL,
    body      TEXT NOT NULL
) STRICT;

-- The steps of runs under way that gather facts: events name a step by its number.
CREATE TABLE look (
    run       INTEGER NOT NULL REFERENCES run (id),
    host      TEXT NOT NULL,
    step      INTEGER NOT NULL,
    endpoint  TEXT NOT NULL,
    PRIMARY KEY (run, host, step)
) STRICT, WITHOUT ROWID;
