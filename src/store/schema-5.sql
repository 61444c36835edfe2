-- Notifications. For each channel: how far it has read alerts, and its state.
CREATE TABLE teller (
    channel TEXT PRIMARY KEY,
    cursor  INTEGER NOT NULL,
    log     TEXT NOT NULL
) STRICT;

-- Open incidents of each channel.
CREATE TABLE incident (
    channel  TEXT NOT NULL REFERENCES teller (channel) ON DELETE CASCADE,
    name     TEXT NOT NULL,
    top      TEXT NOT NULL,
    body     TEXT NOT NULL,
    PRIMARY KEY (channel, name, top)
) STRICT;

-- Messages: written in the transaction of their cause, delivered afterwards.
CREATE TABLE notice (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    channel      TEXT NOT NULL,
    key          TEXT NOT NULL,
    at           TEXT NOT NULL,
    body         TEXT NOT NULL,
    tries        INTEGER NOT NULL DEFAULT 0,
    next_try     TEXT NOT NULL,
    trouble      TEXT,
    delivered_at TEXT,
    gave_up_at   TEXT,
    UNIQUE (channel, key)
) STRICT;
CREATE INDEX notice_waiting ON notice (channel, id) WHERE delivered_at IS NULL AND gave_up_at IS NULL;
