-- A check is its set and its name. Rows from before have no set: which one it is, only the configuration says (`adopt.rs`).
-- The contact of a host has none either; it is called `reachable`.
CREATE TABLE series_of_sets (
    id       INTEGER PRIMARY KEY,
    host     TEXT NOT NULL,
    set_name TEXT NOT NULL,
    name     TEXT NOT NULL,
    UNIQUE (host, set_name, name)
) STRICT;
INSERT INTO series_of_sets (id, host, set_name, name) SELECT id, host, '', name FROM series;
DROP TABLE series;
ALTER TABLE series_of_sets RENAME TO series;

CREATE TABLE place_of_sets (
    who       TEXT NOT NULL,
    host      TEXT NOT NULL,
    set_name  TEXT NOT NULL,
    what      TEXT NOT NULL,
    inode     TEXT NOT NULL,
    offset    INTEGER NOT NULL,
    at        TEXT NOT NULL,
    PRIMARY KEY (who, host, set_name, what)
) STRICT, WITHOUT ROWID;
INSERT INTO place_of_sets (who, host, set_name, what, inode, offset, at)
    SELECT who, host, '', what, inode, offset, at FROM place;
DROP TABLE place;
ALTER TABLE place_of_sets RENAME TO place;

CREATE TABLE incident_of_sets (
    channel  TEXT NOT NULL REFERENCES teller (channel) ON DELETE CASCADE,
    set_name TEXT NOT NULL,
    name     TEXT NOT NULL,
    top      TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (channel, set_name, name, top)
) STRICT;
INSERT INTO incident_of_sets (channel, set_name, name, top, body) SELECT channel, '', name, top, body FROM incident;
DROP TABLE incident;
ALTER TABLE incident_of_sets RENAME TO incident;
