-- Rights for a time: requests, grants, and those that are over, which stay on record.
CREATE TABLE temporary_right (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Who asked, for what, who granted it and how it ended, as JSON.
    body    TEXT NOT NULL,
    is_over INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX temporary_right_open ON temporary_right (id) WHERE NOT is_over;
