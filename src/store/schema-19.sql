-- The type of a row and whether something was refused, computed from the body as the name is, so that `audit --type` and
-- `audit --refused` read no other rows.
ALTER TABLE audit ADD COLUMN type TEXT GENERATED ALWAYS AS (json_extract(body, '$.type')) VIRTUAL;
ALTER TABLE audit ADD COLUMN is_refused INTEGER GENERATED ALWAYS AS (
    json_extract(body, '$.type') IN ('login-refused', 'logins-left-out', 'command-refused')
    OR json_extract(body, '$.end.why') IS NOT NULL) VIRTUAL;
CREATE INDEX audit_type ON audit (type, seq);
CREATE INDEX audit_refused ON audit (seq) WHERE is_refused = 1;
