use std::collections::BTreeSet;

use super::super::tests::{ann, at, drain, enabled, plan, settled};
use super::*;
use crate::domain::ask::audit::{AuditFact, AuditKind, Caller};
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::{End, RunOutcome};
use crate::domain::plan::plan::Plan;
use crate::domain::run::event::EventKind;
use crate::port::EventLog;
use crate::port::audit::AuditLog;

fn over() -> EventKind {
    EventKind::RunEnded { outcome: RunOutcome::Done, had_input: false }
}

/// The row of the audit about a removal.
fn noted(removed: &RemovedRows) -> AuditFact {
    let RemovedRows { chain, first, last, hash } = removed.clone();
    let caller = Caller { operator: ann(), from: None, config: String::new(), line: String::new() };
    caller.fact(at(100_000), AuditKind::RowsRemoved { chain: chain.into(), first, last, hash })
}

/// A run of four events, whose last one is at `second`.
fn run(store: &SqliteStore, second: i64, rest: Vec<EventKind>) -> RunId {
    let plan = Plan { leases: BTreeSet::from([second.to_string()]), ..plan(&second.to_string()) };
    let run = store.create_run_now(&plan, &ann(), at(second)).unwrap().run;
    store.append_now(run, at(second), rest).unwrap();
    run
}

fn whole() -> Vec<EventKind> {
    vec![drain(), enabled(), settled(End::Released), over()]
}

fn runs(store: &SqliteStore) -> Vec<u64> {
    store.runs_now(100).unwrap().into_iter().map(|run| run.run.0).rev().collect()
}

#[tokio::test]
async fn old_runs_leave_and_the_rest_is_a_whole_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rollcall.db");
    let store = SqliteStore::open(&path).unwrap();
    (1..=4).for_each(|n| _ = run(&store, 100 * n, whole()));
    assert_eq!(store.remove_runs_now(at(100), &noted).unwrap(), None, "nothing is older");
    let removed = store.remove_runs_now(at(250), &noted).unwrap().unwrap();
    assert_eq!((removed.chain, removed.first, removed.last), ("journal", 1, 10));
    assert_eq!(runs(&store), [3, 4]);
    assert_eq!(store.remove_runs_now(at(250), &noted).unwrap(), None);
    assert_eq!(store.load_now(RunId(1)).unwrap().map(|run| run.id), None);
    assert_eq!(store.load_now(RunId(3)).unwrap().unwrap().events.len(), 5);
    assert_eq!(store.events_after_now(0, 100).unwrap().first().unwrap().seq, 11);
    let gone = EventLog::removed(&store).await.unwrap();
    assert_eq!((gone.last, gone.run, gone.at), (10, 2, Some(at(200))));
    // What hosts have stays, and a rollback finds it.
    assert_eq!(store.taken_now().unwrap()[&HostName::from("web1")].len(), 4);
    // All chains are whole, now and at the next start, and numbers go on.
    let journal = |store: &SqliteStore| store.summary_now(&JOURNAL).unwrap();
    assert_eq!((journal(&store).removed, journal(&store).rows), (10, 10));
    store.verify_now().unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(run(&store, 500, whole()), RunId(5));
    // The last run stays whatever its age.
    assert_eq!(store.remove_runs_now(at(10_000), &noted).unwrap().unwrap().last, 20);
    assert_eq!(runs(&store), [5]);
    drop(store);
    assert_eq!(runs(&SqliteStore::open(&path).unwrap()), [5]);
}

#[test]
fn a_run_that_is_needed_stays_and_so_do_later_ones() {
    let store = SqliteStore::in_memory().unwrap();
    run(&store, 1, whole());
    let owing = run(&store, 2, vec![drain(), settled(End::Held), over()]);
    run(&store, 3, vec![over()]);
    run(&store, 4, vec![over()]);
    assert_eq!(store.remove_runs_now(at(1_000), &noted).unwrap().unwrap().last, 5);
    assert_eq!(store.remove_runs_now(at(1_000), &noted).unwrap(), None, "the debt of run 2 is open");
    assert_eq!(store.oldest_that_stays_now(at(1_000)).unwrap(), Some(owing));
    assert_eq!(store.oldest_that_stays_now(at(2)).unwrap(), None);
    assert_eq!(store.debts_now().unwrap()[0].run, owing);
    // Another run pays it.
    run(&store, 5, vec![enabled(), over()]);
    assert_eq!(store.debts_now().unwrap(), []);
    assert_eq!(
        store.remove_runs_now(at(5), &noted).unwrap(),
        None,
        "a report of that time needs to know when it was paid"
    );
    store.remove_runs_now(at(6), &noted).unwrap().unwrap();
    assert_eq!(runs(&store), [5]);
    let open = run(&store, 6, vec![]);
    run(&store, 7, vec![over()]);
    store.remove_runs_now(at(1_000), &noted).unwrap().unwrap();
    assert_eq!((runs(&store), open), (vec![6, 7], RunId(6)));
    store.verify_now().unwrap();
}

#[test]
fn rows_leave_only_by_the_start_of_the_chain() {
    let store = SqliteStore::in_memory().unwrap();
    (1..=2).for_each(|n| _ = run(&store, n, whole()));
    store.remove_runs_now(at(2), &noted).unwrap().unwrap();
    let attack =
        |sql: &str| store.transact(|connection| connection.execute(sql, []).map(drop).map_err(failed));
    for sql in ["DELETE FROM event WHERE seq = 6", "DELETE FROM event WHERE seq = 10"] {
        assert!(attack(sql).unwrap_err().to_string().contains("only grows"), "{sql}");
    }
    // A start that is not where the rows begin.
    attack("UPDATE chain_start SET seq = 6").unwrap();
    assert!(store.verify_now().unwrap_err().to_string().contains("the journal was changed at event 7"));
    attack("UPDATE chain_start SET seq = 5, hash = 'x'").unwrap();
    assert!(store.verify_now().unwrap_err().to_string().contains("the journal was changed at event 6"));
    attack("DELETE FROM chain_start").unwrap();
    assert!(store.verify_now().unwrap_err().to_string().contains("the journal was changed at event 6"));
}

#[test]
fn rows_that_were_changed_are_not_removed() {
    let store = SqliteStore::in_memory().unwrap();
    (1..=2).for_each(|n| _ = run(&store, n, whole()));
    let changed =
        "DROP TRIGGER event_only_grows_update; UPDATE event SET at = '2001-01-01T00:00:00Z' WHERE seq = 2";
    store.transact(|connection| connection.execute_batch(changed).map_err(failed)).unwrap();
    let why = store.remove_runs_now(at(2), &noted).unwrap_err().to_string();
    assert!(why.contains("the journal was changed at event 2"), "{why}");
    assert_eq!(runs(&store), [1, 2]);
    let caller = Caller { operator: ann(), from: None, config: String::new(), line: String::new() };
    let row = |second| caller.fact(at(second), AuditKind::Login { user: "ann".into() });
    store.record_now((1..=3).map(row).collect()).unwrap();
    let changed =
        "DROP TRIGGER audit_only_grows; UPDATE audit SET body = replace(body, 'ann', 'bob') WHERE seq = 1";
    store.transact(|connection| connection.execute_batch(changed).map_err(failed)).unwrap();
    let why = store.remove_audit_now(at(3), &noted).unwrap_err().to_string();
    assert!(why.contains("the audit was changed at row 1"), "{why}");
}

#[tokio::test]
async fn old_rows_of_the_audit_leave() {
    let store = SqliteStore::in_memory().unwrap();
    let caller = Caller { operator: ann(), from: None, config: String::new(), line: String::new() };
    let row = |second| caller.fact(at(second), AuditKind::Login { user: "ann".into() });
    store.record_now((1..=5).map(row).collect()).unwrap();
    assert_eq!(store.remove_audit_now(at(1), &noted).unwrap(), None);
    assert_eq!(store.remove_audit_now(at(3), &noted).unwrap().unwrap().last, 2);
    // A clock that was wrong for a while gave a later row an old time: the rows before it stay.
    store.record_now(vec![row(0), row(7)]).unwrap();
    assert_eq!(store.remove_audit_now(at(4), &noted).unwrap().unwrap().last, 3);
    assert_eq!(store.remove_audit_now(at(4), &noted).unwrap(), None);
    let chains = AuditLog::verify(&store).await.unwrap();
    assert_eq!(
        (chains[0].chain, chains[0].removed, chains[0].rows),
        ("audit", 3, 6),
        "two of them about removals"
    );
    // The last one stays whatever its age.
    let all = store.remove_audit_now(at(1_000_000), &noted).unwrap().unwrap();
    assert_eq!((all.first, all.last), (4, 8));
}

#[test]
fn what_was_removed_is_given_back_to_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rollcall.db");
    let store = SqliteStore::open(&path).unwrap();
    (1..=40).for_each(|n| _ = run(&store, n, [vec![settled(End::Done); 50], vec![over()]].concat()));
    store.remove_runs_now(at(40), &noted).unwrap().unwrap();
    drop(store);
    let freed = vacuum(&path).unwrap();
    assert!(freed.after * 2 < freed.before, "{freed:?}");
    assert_eq!(runs(&SqliteStore::open(&path).unwrap()), [40]);
    let store = SqliteStore::open(&path).unwrap();
    let busy = vacuum(&path).unwrap_err().to_string();
    assert!(busy.contains("belongs to a rollcall that is running"), "{busy}");
    drop(store);
    let none = vacuum(&folder.path().join("none.db")).unwrap_err().to_string();
    assert!(none.contains("none.db: there is no store"), "{none}");
}
