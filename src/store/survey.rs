//! Numbers about a store, for a bug report. The store is opened for reading only: no lock, no migration, no new epoch.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// The questions, each with one number for an answer, or one for each word.
const QUESTIONS: [(&str, &str); 7] = [
    ("schema", "SELECT user_version FROM pragma_user_version"),
    ("runs, open", "SELECT count(*) FROM run WHERE outcome IS NULL"),
    ("events", "SELECT count(*) FROM event"),
    ("debts, open", "SELECT count(*) FROM debt WHERE paid_seq IS NULL"),
    ("debts, all", "SELECT count(*) FROM debt"),
    ("leases", "SELECT count(*) FROM lease"),
    ("epoch", "SELECT epoch FROM owner"),
];

/// Ended runs, by how they ended.
const OUTCOMES: &str =
    "SELECT outcome, count(*) FROM run WHERE outcome IS NOT NULL GROUP BY outcome ORDER BY outcome";

/// The facts of a store, by name.
pub fn survey(path: &Path) -> Result<Vec<(String, String)>, String> {
    let failed = |error: rusqlite::Error| format!("{}: {error}", path.display());
    let size = std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?.len();
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    let mut facts = vec![("bytes".to_string(), size.to_string())];
    for (name, question) in QUESTIONS {
        let number: Result<u64, rusqlite::Error> = connection.query_row(question, [], |row| row.get(0));
        // A store of another build may lack a table: the other answers count nevertheless.
        facts.push((name.into(), number.map_or_else(|error| error.to_string(), |number| number.to_string())));
    }
    let mut statement = connection.prepare(OUTCOMES).map_err(failed)?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, u64>(1)?)));
    for row in rows.map_err(failed)? {
        let (outcome, number) = row.map_err(failed)?;
        facts.push((format!("runs, {outcome}"), number.to_string()));
    }
    Ok(facts)
}
