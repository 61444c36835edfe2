//! A store that another program has changed.

use std::path::{Path, PathBuf};

use super::tests::{ann, at, drain, enabled, ended, error, plan, settled, store};
use super::*;
use crate::domain::base::outcome::{End, RunOutcome};
use crate::domain::run::event::Change;
use crate::domain::run::record::WrittenOff;

/// Removes the triggers that protect the journal against changes by accident.
const OPEN_UP: &str = "DROP TRIGGER event_only_grows_update; DROP TRIGGER event_only_grows_delete;
                       PRAGMA foreign_keys = OFF;";

fn change(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(&format!("{OPEN_UP} {sql}")).unwrap();
}

/// A closed store with two runs, of which the first has ended and left a debt.
fn two_runs() -> (tempfile::TempDir, PathBuf) {
    let (dir, store) = store();
    let first = store.create_run_now(&plan("1"), &ann(), at(1)).unwrap().run;
    store
        .append_now(first, at(2), vec![drain(), settled(End::Held), ended(RunOutcome::NeedsPerson)])
        .unwrap();
    let second = store.create_run_now(&plan("2"), &ann(), at(3)).unwrap().run;
    store.append_now(second, at(4), vec![drain()]).unwrap();
    let path = dir.path().join("rollcall.db");
    (dir, path)
}

#[test]
fn a_run_that_was_changed_in_the_store_is_not_read_back() {
    let table = [
        (
            "UPDATE run SET plan = replace(plan, '1', '7') WHERE id = 1",
            "its plan is not the one that was journaled",
        ),
        ("UPDATE run SET by_name = 'bob' WHERE id = 1", "its title or its operator is not the one that was"),
        ("UPDATE run SET title = 'deploy' WHERE id = 1", "its title or its operator is not the one that was"),
        // On load each event's own hash is verified; the chain is verified at start only.
        (
            "UPDATE event SET body = replace(body, 'because', 'so') WHERE run = 1",
            "the hash of event 3 does not fit",
        ),
    ];
    for (sql, what) in table {
        let (_dir, path) = two_runs();
        let store = SqliteStore::open(&path).unwrap();
        assert_eq!(store.load_now(RunId(1)).unwrap().unwrap().plan, plan("1"));
        change(&path, sql);
        let error = error(store.load_now(RunId(1)));
        assert!(error.starts_with("run 1 was changed in the store: ") && error.contains(what), "{error}");
        assert!(error.ends_with("try: restore the store from a copy"), "{error}");
        assert!(store.load_now(RunId(2)).unwrap().is_some(), "the other run is as it was");
    }
}

#[test]
fn what_the_store_derives_from_events_is_compared_with_them_at_start() {
    let debt = "what the store says of debts of web1";
    let table = [
        ("UPDATE debt SET paid_seq = 2", debt),
        ("DELETE FROM debt WHERE run = 1", debt),
        ("INSERT INTO debt VALUES ('web1', 'prod.web', 2, '2001-01-01T00:00:00Z', 4, 'x', NULL, NULL)", debt),
        ("UPDATE debt SET run = 2", debt),
        ("UPDATE debt SET off_seq = 2", debt),
        ("UPDATE run SET outcome = '\"done\"' WHERE id = 2", "how run 2 ended"),
        ("UPDATE run SET outcome = NULL WHERE id = 1", "how run 1 ended"),
        ("DELETE FROM run WHERE id = 2", "the run 2, which the store no longer has,"),
        ("INSERT INTO lease VALUES ('elsewhere', 1, '2001-01-01T00:00:00Z')", "the lease of run 1"),
    ];
    for (sql, what) in table {
        let (_dir, path) = two_runs();
        SqliteStore::open(&path).unwrap();
        change(&path, sql);
        let error = error(SqliteStore::open(&path));
        let all = format!("{what} is not what the journal says; try: restore the store from a copy");
        assert!(error.ends_with(&all), "{sql}: {error}");
    }
}

#[test]
fn a_journal_with_any_bodies_is_read_or_refused_and_nothing_fails() {
    let bodies = "\\{\"type\":\"(drain-ended|enable-ended|debt-settled|run-ended|step-ended|paused)\"(,\"[a-z]{1,8}\":(1|null|\"x\"|\\[\\]|\\{\\})){0,4}\\}|.{0,40}";
    let (_dir, path) = two_runs();
    let hash = |store: &Path| {
        super::chain::end_of(&Connection::open(store).unwrap(), &super::journal::JOURNAL).unwrap().unwrap()
    };
    let mark = hash(&path);
    proptest::proptest!(proptest::prelude::ProptestConfig::with_cases(40), |(body in bodies)| {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("rollcall.db");
        std::fs::copy(&path, &copy).unwrap();
        let connection = Connection::open(&copy).unwrap();
        let sum = crate::domain::base::digest::sha256_hex(format!("{}\n7\n2\n1\n1970-01-01T00:00:09Z\n{body}", mark.hash).as_bytes());
        connection.execute(
            "INSERT INTO event (seq, run, epoch, at, host, op, body, prev, hash) VALUES (7, 2, 1, '1970-01-01T00:00:09Z', NULL, NULL, ?, ?, ?)",
            params![body, mark.hash, sum],
        ).unwrap();
        drop(connection);
        if let Ok(store) = SqliteStore::open(&copy) {
            let _ = store.load_now(RunId(2));
        }
    });
}

#[test]
fn every_payment_of_a_debt_is_understood_as_it_was_written() {
    let (dir, store) = store();
    let run = store.create_run_now(&plan("1"), &ann(), at(1)).unwrap().run;
    let hosts = || vec![HostName::from("web1")];
    let end = |change| EventKind::DrainEnded { balancer: "prod.web".into(), hosts: hosts(), change };
    let kept = Change::Done { note: String::new(), foreign: vec![], kept: hosts() };
    for change in
        [Change::done(""), kept, Change::Refused { why: "no".into() }, Change::Unknown { why: "?".into() }]
    {
        store.append_now(run, at(2), vec![drain(), end(change), enabled()]).unwrap();
        store.verify_now().unwrap();
    }
    store.append_now(run, at(2), vec![drain(), settled(End::Held), ended(RunOutcome::NeedsPerson)]).unwrap();
    let word = EventKind::DebtSettled {
        host: "web1".into(),
        balancer: "prod.web".into(),
        by: "bob".into(),
        key: "k".into(),
        reason: "scrapped".into(),
        in_rotation: false,
    };
    store.append_now(run, at(3), vec![word]).unwrap();
    store.verify_now().unwrap();
    drop(store);
    SqliteStore::open(&dir.path().join("rollcall.db")).unwrap();
}

#[test]
fn a_journal_whose_end_was_cut_off_is_not_opened() {
    let table = [
        "DELETE FROM debt WHERE run = 2; DELETE FROM event WHERE seq = 6",
        "DELETE FROM debt WHERE run = 2; DELETE FROM lease; DELETE FROM planned WHERE run = 2;
         DELETE FROM event WHERE run = 2; DELETE FROM run WHERE id = 2",
        "DELETE FROM debt; DELETE FROM lease; DELETE FROM planned; DELETE FROM event; DELETE FROM run",
    ];
    for (sql, left) in table.into_iter().zip([5, 4, 0]) {
        let (_dir, path) = two_runs();
        change(&path, sql);
        let error = error(SqliteStore::open(&path));
        let what = format!("says that the journal has 6 events, and this store has {left}: ");
        assert!(error.contains(&what), "{error}");
        let accept = format!("accept it now: mv {0}.head {0}.head.old", path.display());
        assert!(error.ends_with(&accept), "{error}");
        // As the message suggests.
        std::fs::rename(format!("{}.head", path.display()), format!("{}.head.old", path.display())).unwrap();
        SqliteStore::open(&path).unwrap();
        SqliteStore::open(&path).unwrap();
    }
}

#[test]
fn a_store_that_is_gone_or_an_older_copy_is_told_from_a_new_one() {
    let (dir, path) = two_runs();
    let copy = dir.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    {
        let store = SqliteStore::open(&path).unwrap();
        store.append_now(RunId(2), at(5), vec![enabled(), ended(RunOutcome::Done)]).unwrap();
    }
    std::fs::copy(&copy, &path).unwrap();
    let older = error(SqliteStore::open(&path));
    assert!(older.contains("has 8 events, and this store has 6"), "{older}");
    std::fs::remove_file(&path).unwrap();
    let gone = error(SqliteStore::open(&path));
    assert!(gone.contains("has 8 events, and this store has 0"), "{gone}");
    // A copy with a different history has as many events, but others.
    std::fs::copy(&copy, &path).unwrap();
    let head = format!("{}.head", path.display());
    std::fs::rename(&head, dir.path().join("aside")).unwrap();
    {
        let store = SqliteStore::open(&path).unwrap();
        store.append_now(RunId(2), at(6), vec![enabled(), ended(RunOutcome::Failed)]).unwrap();
    }
    std::fs::rename(dir.path().join("aside"), &head).unwrap();
    let other = error(SqliteStore::open(&path));
    assert!(other.contains("names for number 8 another event"), "{other}");
}

#[test]
fn a_process_that_died_between_the_store_and_its_head_leaves_a_store_that_opens() {
    let (_dir, path) = two_runs();
    let head = PathBuf::from(format!("{}.head", path.display()));
    let behind = std::fs::read(&head).unwrap();
    {
        let store = SqliteStore::open(&path).unwrap();
        store.append_now(RunId(2), at(5), vec![enabled(), ended(RunOutcome::Done)]).unwrap();
    }
    let whole = std::fs::read(&head).unwrap();
    assert_ne!(behind, whole);
    std::fs::write(&head, &behind).unwrap();
    SqliteStore::open(&path).unwrap();
    assert_ne!(std::fs::read(&head).unwrap(), behind, "it has caught up");
    // An interrupted write leaves the entry before it.
    for slot in [0, 256] {
        let mut torn = whole.clone();
        torn[slot + 40..slot + 256].fill(0);
        std::fs::write(&head, &torn).unwrap();
        SqliteStore::open(&path).unwrap();
    }
    std::fs::write(&head, "nonsense").unwrap();
    assert!(error(SqliteStore::open(&path)).contains(".head cannot be read; try: restore the newest copy"));
}

#[test]
fn a_debt_that_an_earlier_build_took_for_paid_when_it_was_written_off_is_listed_again() {
    let (dir, store) = store();
    let path = dir.path().join("rollcall.db");
    let run = store.create_run_now(&plan("1"), &ann(), at(1)).unwrap().run;
    store.append_now(run, at(2), vec![drain(), settled(End::Held), ended(RunOutcome::NeedsPerson)]).unwrap();
    let word = |in_rotation| EventKind::DebtSettled {
        host: "web1".into(),
        balancer: "prod.web".into(),
        by: "bob".into(),
        key: "k".into(),
        reason: "scrapped".into(),
        in_rotation,
    };
    store.append_now(run, at(3), vec![word(false)]).unwrap();
    let twice = error(store.append_now(run, at(3), vec![word(false)]));
    assert!(twice.contains("the debt for web1 is settled already; see: debts"), "{twice}");
    let off = Some(WrittenOff { by: "bob".into(), at: at(3), reason: "scrapped".into() });
    let listed = |store: &SqliteStore| -> Vec<Option<WrittenOff>> {
        store.debts_now().unwrap().into_iter().map(|debt| debt.written_off).collect()
    };
    assert_eq!(listed(&store), std::slice::from_ref(&off));
    drop(store);
    let as_before = "DROP TRIGGER audit_is_kept; DROP TRIGGER event_only_grows_delete; CREATE TRIGGER event_only_grows_delete BEFORE DELETE ON event BEGIN SELECT 1; END; DROP TABLE chain_start; DROP INDEX debt_of_run; ALTER TABLE taken DROP COLUMN goes_back; ALTER TABLE taken DROP COLUMN rollback_failed; UPDATE debt SET paid_seq = off_seq; ALTER TABLE debt DROP COLUMN off_seq; DROP TABLE operator_lease; DROP TABLE temporary_right; DROP TABLE run_teller; DROP TABLE audit; DROP TABLE config_version; DROP TABLE config_file; DROP TABLE request_key; DROP TABLE fleet_visit; DROP INDEX event_run_ended; DROP INDEX turn_critical; DROP TABLE host_end; DROP TABLE host_line; DROP TABLE run_subject; DROP INDEX run_list; PRAGMA user_version = 11;";
    Connection::open(&path).unwrap().execute_batch(as_before).unwrap();
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(listed(&store), [off]);
    // Put back later, by any run.
    let second = store.create_run_now(&plan("2"), &ann(), at(4)).unwrap().run;
    store.append_now(second, at(5), vec![enabled()]).unwrap();
    assert_eq!(listed(&store), []);
    drop(store);
    Connection::open(&path).unwrap().execute_batch(as_before).unwrap();
    assert_eq!(listed(&SqliteStore::open(&path).unwrap()), []);
}
