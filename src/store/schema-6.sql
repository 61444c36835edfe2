-- Where looks at logs have ended: `who` looked at `host`, for `what`.
CREATE TABLE place (
    who       TEXT NOT NULL,
    host      TEXT NOT NULL,
    what      TEXT NOT NULL,
    inode     TEXT NOT NULL,
    offset    INTEGER NOT NULL,
    at        TEXT NOT NULL,
    PRIMARY KEY (who, host, what)
) STRICT, WITHOUT ROWID;
