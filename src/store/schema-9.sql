-- What sort of run it is, as in its plan: lists of runs are not to read whole plans.
ALTER TABLE run ADD COLUMN kind TEXT NOT NULL DEFAULT '';
UPDATE run SET kind = plan -> '$.kind';
