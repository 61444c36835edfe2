-- Checksums by which the next probe of a log recognises the file.
ALTER TABLE place ADD COLUMN trace TEXT NOT NULL DEFAULT '';
