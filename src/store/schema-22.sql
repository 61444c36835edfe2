-- How each host ended in each run, beside the journal and the plans, so that nothing large is read for many runs. A line is one
-- host in all runs of one task or command.
CREATE TABLE run_subject (
    run     INTEGER PRIMARY KEY REFERENCES run (id),
    subject TEXT NOT NULL
) STRICT;
INSERT INTO run_subject (run, subject)
    SELECT id, CASE
        WHEN task IS NOT NULL THEN 'task ' || task
        WHEN title GLOB 'retry [0-9]*: *' THEN substr(title, instr(title, ': ') + 2)
        ELSE title END FROM run
    WHERE task IS NOT NULL OR title GLOB 'check *' OR title GLOB 'run *'
        OR title GLOB 'retry [0-9]*: check *' OR title GLOB 'retry [0-9]*: run *';

CREATE TABLE host_line (
    id      INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    host    TEXT NOT NULL,
    UNIQUE (subject, host)
) STRICT;
CREATE TABLE host_end (
    line  INTEGER NOT NULL REFERENCES host_line (id),
    run   INTEGER NOT NULL REFERENCES run (id),
    seq   INTEGER NOT NULL,
    at_s  INTEGER NOT NULL,
    ended TEXT NOT NULL,
    PRIMARY KEY (line, run)
) STRICT, WITHOUT ROWID;
CREATE INDEX host_end_of_run ON host_end (run, ended, line);

-- Runs of earlier builds. The type is the first field of a body.
INSERT OR IGNORE INTO host_line (subject, host)
    SELECT subject, host FROM event JOIN run_subject ON run_subject.run = event.run
    WHERE host IS NOT NULL AND substr(body, 1, 22) = '{"type":"host-settled"';
INSERT OR REPLACE INTO host_end (line, run, seq, at_s, ended)
    SELECT host_line.id, event.run, event.seq, ifnull(unixepoch(event.at), 0), json_extract(event.body, '$.end')
    FROM event JOIN run_subject ON run_subject.run = event.run
    JOIN host_line ON host_line.subject = run_subject.subject AND host_line.host = event.host
    WHERE substr(body, 1, 22) = '{"type":"host-settled"' ORDER BY event.seq;

-- The list of runs without the plans, which are in front of some of these columns in the rows.
CREATE INDEX run_list ON run (id, title, by_name, started_at, ended_at, outcome, hosts, kind, goes_back);
