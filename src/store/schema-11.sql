-- Runs that take hosts back to an earlier release. Earlier builds had it in the title alone.
ALTER TABLE run ADD COLUMN goes_back INTEGER NOT NULL DEFAULT 0;
UPDATE run SET goes_back = 1 WHERE title GLOB 'rollback *' OR title GLOB 'retry [0-9]*: rollback *';
