use std::path::Path;

use jiff::Timestamp;
use rusqlite::Connection;

use super::*;
use crate::domain::ask::access::{Operator, Role};
use crate::domain::ask::audit::{AuditKind, Caller};

fn fact(name: &str, line: &str) -> AuditFact {
    let operator = Operator::new(name, "SHA256:k", Role::Admin);
    let caller = Caller { operator, from: None, config: String::new(), line: line.into() };
    caller.fact(Timestamp::UNIX_EPOCH, caller.refused(Some("role admin".into()), "no"))
}

/// A store with six rows, in two batches.
fn store(dir: &Path) -> SqliteStore {
    let store = SqliteStore::open(&dir.join("rollcall.db")).unwrap();
    let batch = |names: &[&str]| names.iter().map(|name| fact(name, &format!("line of {name}"))).collect();
    assert_eq!(store.record_now(batch(&["ann", "bob", "ann"])).unwrap(), 3);
    assert_eq!(store.record_now(batch(&["vic", "ann", "bob"])).unwrap(), 6);
    store
}

fn numbers(page: &AuditPage) -> Vec<u64> {
    page.rows.iter().map(|row| row.seq).collect()
}

#[test]
fn pages_are_bounded_and_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let ask = |query: AuditQuery| store.audit_now(&query).unwrap();
    let name = |name: &str| Some(name.to_string());
    let refused = || vec!["login".to_string(), "command-refused".into(), "command-refused".into()];
    let table: [(AuditQuery, &[u64], bool); 9] = [
        (AuditQuery { limit: 2, types: refused(), ..AuditQuery::default() }, &[5, 6], true),
        (AuditQuery { limit: 2, types: refused(), after: Some(1), ..AuditQuery::default() }, &[2, 3], true),
        (
            AuditQuery { limit: 9, types: refused(), name: name("bob"), ..AuditQuery::default() },
            &[2, 6],
            false,
        ),
        (AuditQuery { limit: 2, ..AuditQuery::default() }, &[5, 6], true),
        (AuditQuery { limit: 2, before: Some(5), ..AuditQuery::default() }, &[3, 4], true),
        (AuditQuery { limit: 2, after: Some(2), ..AuditQuery::default() }, &[3, 4], true),
        (AuditQuery { limit: 9, name: name("ann"), ..AuditQuery::default() }, &[1, 3, 5], false),
        (AuditQuery { limit: 9, types: vec!["login".into()], ..AuditQuery::default() }, &[], false),
        (AuditQuery { limit: 9, refused: true, after: Some(4), ..AuditQuery::default() }, &[5, 6], false),
    ];
    for (query, wanted, more) in table {
        let page = ask(query.clone());
        assert_eq!((numbers(&page).as_slice(), page.more), (wanted, more), "{query:?}");
    }
    let row = ask(AuditQuery { limit: 1, ..AuditQuery::default() }).rows.remove(0);
    assert!(matches!(row.fact.kind, AuditKind::CommandRefused { line, .. } if line == "line of bob"));
}

/// What an attacker has to do before anything else.
const DISARM: &str = "DROP TRIGGER audit_only_grows; DROP TRIGGER audit_is_kept;";

/// Each row: what an attacker does to the file, and what the next start and `audit verify` report.
const ATTACKS: [(&str, &str, &str); 5] = [
    (
        "a changed row",
        "UPDATE audit SET body = replace(body, 'line of vic', 'line of eve') WHERE seq = 4",
        "row 4: ",
    ),
    ("a changed time", "UPDATE audit SET at = '2000-01-01T00:00:00.000000Z' WHERE seq = 2", "row 2: "),
    ("a removed row", "DELETE FROM audit WHERE seq = 3", "row 4: "),
    (
        "rows in another order",
        "UPDATE audit SET seq = -1 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3;
         UPDATE audit SET seq = 3 WHERE seq = -1",
        "row 2: ",
    ),
    (
        "a tail that was cut off",
        "DELETE FROM audit WHERE seq > 4",
        "says that the audit has 6 rows, and this store has 4",
    ),
];

#[test]
fn an_audit_that_was_changed_is_reported_with_its_first_row() {
    for (what, sql, wanted) in ATTACKS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rollcall.db");
        let open = store(dir.path());
        let other = Connection::open(&path).unwrap();
        assert!(other.execute_batch(sql).unwrap_err().to_string().contains("the audit only grows"));
        other.execute_batch(&format!("{DISARM} {sql}")).unwrap();
        let found = open.summary_now(&AUDIT).unwrap_err().to_string();
        assert!(found.contains(wanted), "{what}: {found}");
        drop(open);
        let found = SqliteStore::open(&path).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(found.contains(wanted), "{what}: {found}");
    }
}

/// Without this, the head file would follow the shorter chain, and the cut would never show.
#[test]
fn nothing_is_recorded_behind_a_tail_that_was_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let open = store(dir.path());
    let cut = format!("{DISARM} DELETE FROM audit WHERE seq = 6");
    Connection::open(dir.path().join("rollcall.db")).unwrap().execute_batch(&cut).unwrap();
    let found = open.record_now(vec![fact("eve", "x")]).unwrap_err().to_string();
    assert!(found.contains("says that the audit has 6 rows, and this store has 5"), "{found}");
}

#[test]
fn the_name_of_a_row_is_part_of_its_hash() {
    let dir = tempfile::tempdir().unwrap();
    let open = store(dir.path());
    let other = Connection::open(dir.path().join("rollcall.db")).unwrap();
    assert!(other.execute("UPDATE audit SET name = 'eve' WHERE seq = 4", []).is_err());
    let summary = open.summary_now(&AUDIT).unwrap();
    assert_eq!((summary.rows, summary.first.as_deref()), (6, Some("1970-01-01T00:00:00.000000Z")));
    assert_eq!(summary.head.len(), 64);
}

/// The mutex of the store is held as long as a page is read: no query may read the whole table.
#[test]
fn pages_by_type_and_of_refusals_read_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let types = |types: &[&str]| types.iter().map(ToString::to_string).collect::<Vec<String>>();
    let by_types = |some: &[&str]| AuditQuery { limit: 2, types: types(some), ..AuditQuery::default() };
    let queries = [
        (by_types(&["login"]), "USING INDEX audit_type (type=?)"),
        (by_types(&["login", "command-refused"]), "USING INDEX audit_type (type=?)"),
        (AuditQuery { after: Some(3), ..by_types(&["login"]) }, "USING INDEX audit_type (type=? AND seq>?)"),
        (AuditQuery { limit: 2, refused: true, ..AuditQuery::default() }, "USING INDEX audit_refused"),
    ];
    for (query, wanted) in queries {
        let (sql, values) = statement(&query).unwrap();
        let plan = store.read(|connection| {
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let rows = explain.query_map(params_from_iter(values), |row| row.get(3))?;
            rows.collect::<Result<Vec<String>, _>>()
        });
        let plan = plan.unwrap();
        assert!(plan.iter().any(|step| step.contains(wanted)), "{query:?}: {plan:#?}");
        assert!(!plan.iter().any(|step| step == "SCAN audit"), "{query:?}: {plan:#?}");
    }
}
