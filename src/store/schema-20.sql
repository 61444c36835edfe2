-- Requests of programs that have started a run: the same request again gets the same run.
CREATE TABLE request_key (
    by_name TEXT NOT NULL,
    key     TEXT NOT NULL,
    digest  TEXT NOT NULL,
    run     INTEGER NOT NULL REFERENCES run (id),
    PRIMARY KEY (by_name, key)
) STRICT, WITHOUT ROWID;
