-- When a key has opened the page of the fleet, as JSON.
CREATE TABLE fleet_visit (
    key  TEXT PRIMARY KEY,
    -- Of the last time, in milliseconds.
    at   INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX event_run_ended ON event (seq) WHERE substr(body, 1, 19) = '{"type":"run-ended"';
CREATE INDEX turn_critical ON turn (at) WHERE json_extract(body, '$.verdict') = 'critical';
