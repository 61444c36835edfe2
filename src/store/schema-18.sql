-- What a channel remembers of runs: messages that wait for their time, and the runs of which it has sent one, as JSON.
ALTER TABLE run_teller ADD COLUMN log TEXT NOT NULL DEFAULT '{}';
