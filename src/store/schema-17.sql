-- Versions of the configuration, as they were put in force: the digest of each file by its path, as JSON.
CREATE TABLE config_version (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    digest TEXT NOT NULL UNIQUE,
    files  TEXT NOT NULL
) STRICT;
-- The content of files without secrets, by the digest of the whole content.
CREATE TABLE config_file (
    sha256 TEXT PRIMARY KEY,
    body   TEXT NOT NULL
) STRICT;
