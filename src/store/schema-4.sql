-- What people are to be told, in the order in which it happened. Whoever tells them keeps how far they have read.
CREATE TABLE alert (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        TEXT NOT NULL,
    body      TEXT NOT NULL
) STRICT;
