-- The audit: rows that are only ever added, each hashed together with the one before. The name is computed from the
-- body, so that it cannot be changed alone.
CREATE TABLE audit (
    seq  INTEGER PRIMARY KEY,
    at   TEXT NOT NULL,
    body TEXT NOT NULL,
    prev TEXT NOT NULL,
    hash TEXT NOT NULL,
    name TEXT GENERATED ALWAYS AS (json_extract(body, '$.name')) VIRTUAL
) STRICT;
CREATE INDEX audit_name ON audit (name, seq);
CREATE INDEX audit_at ON audit (at);
CREATE TRIGGER audit_only_grows BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END;
