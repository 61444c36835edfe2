-- Where a chain begins: retention has removed its rows up to this one. `hash` is that of this row, which the next one names.
CREATE TABLE chain_start (
    chain TEXT PRIMARY KEY,
    seq   INTEGER NOT NULL,
    hash  TEXT NOT NULL,
    at    TEXT NOT NULL,
    -- The last removed run.
    run   INTEGER
) STRICT;
DROP TRIGGER event_only_grows_delete;
CREATE TRIGGER event_only_grows_delete BEFORE DELETE ON event
WHEN old.seq > ifnull((SELECT seq FROM chain_start WHERE chain = 'event'), 0)
BEGIN SELECT RAISE(ABORT, 'the journal only grows'); END;
DROP TRIGGER audit_is_kept;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
WHEN old.seq > ifnull((SELECT seq FROM chain_start WHERE chain = 'audit'), 0)
BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END;

-- Removing a run looks for what refers to it.
CREATE INDEX debt_of_run ON debt (run);
CREATE INDEX request_of_run ON request_key (run);

-- The releases and facts of hosts stay when the run that they come from is removed.
CREATE TABLE taken_of_any_run (
    host        TEXT NOT NULL,
    run         INTEGER NOT NULL,
    task        TEXT NOT NULL,
    params      TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    good        INTEGER NOT NULL,
    at          TEXT NOT NULL,
    goes_back   INTEGER NOT NULL,
    -- A rollback from it was started and failed.
    rollback_failed INTEGER NOT NULL,
    PRIMARY KEY (host, run)
) STRICT;
INSERT INTO taken_of_any_run (host, run, task, params, fingerprint, good, at, goes_back, rollback_failed)
    SELECT taken.host, taken.run, taken.task, taken.params, fingerprint, good, taken.at, goes_back,
        NOT good AND EXISTS (SELECT 1 FROM event WHERE event.run = taken.run AND event.host = taken.host
            AND substr(body, 1, 26) = '{"type":"rollback-started"')
    FROM taken JOIN run ON run.id = taken.run;
DROP TABLE taken;
ALTER TABLE taken_of_any_run RENAME TO taken;

CREATE TABLE facts_of_any_run (
    host     TEXT PRIMARY KEY,
    endpoint TEXT NOT NULL,
    run      INTEGER NOT NULL,
    at       TEXT NOT NULL,
    body     TEXT NOT NULL
) STRICT;
INSERT INTO facts_of_any_run (host, endpoint, run, at, body) SELECT host, endpoint, run, at, body FROM facts;
DROP TABLE facts;
ALTER TABLE facts_of_any_run RENAME TO facts;
