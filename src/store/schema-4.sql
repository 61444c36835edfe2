-- Alerts, in the order in which they happened. Each channel stores how far it has read.
CREATE TABLE alert (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        TEXT NOT NULL,
    body      TEXT NOT NULL
) STRICT;
