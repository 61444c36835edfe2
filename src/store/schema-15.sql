-- How far each channel has read the journal for messages about runs.
CREATE TABLE run_teller (
    channel TEXT PRIMARY KEY,
    cursor  INTEGER NOT NULL
) STRICT;
