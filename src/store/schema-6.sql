-- Offsets at which log probes ended: `who` probed `host`, for the check `what`.
CREATE TABLE place (
    who       TEXT NOT NULL,
    host      TEXT NOT NULL,
    what      TEXT NOT NULL,
    inode     TEXT NOT NULL,
    offset    INTEGER NOT NULL,
    at        TEXT NOT NULL,
    PRIMARY KEY (who, host, what)
) STRICT, WITHOUT ROWID;
