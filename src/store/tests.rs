//! The promises of the store, on a real file.

use std::collections::BTreeSet;

use super::*;
use crate::domain::ask::access::Role;
use crate::domain::ask::command::{Params, Title};
use crate::domain::base::outcome::{End, Outcome, RunOutcome};
use crate::domain::base::output::Output;
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::plan::plan::{HostPlan, RunKind};
use crate::domain::plan::release::{Release, ReleaseMark};
use crate::domain::run::event::{BracketDirection, Change};
use crate::domain::task::facts::{self, Facts};
use crate::domain::task::task::{Rollout, Step, StepBody};
use crate::domain::watch::alert::{Alert, AlertChange};

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(crate) fn ann() -> Operator {
    Operator::new("ann", "SHA256:x", Role::Operator)
}

pub(crate) fn plan(version: &str) -> Plan {
    let name = HostName::from("web1");
    let endpoint = Endpoint {
        name: name.clone(),
        here: false,
        address: "a".into(),
        further: Vec::new(),
        key: None,
        port: 22,
        login: "d".into(),
        via: None,
    };
    let host = HostPlan {
        release: Some(Release {
            task: "deploy".into(),
            params: Params::from([("version".into(), version.into())]),
            fingerprint: "f".into(),
        }),
        ..HostPlan::bare(endpoint)
    };
    Plan {
        title: Title(format!("deploy prod version={version}")),
        kind: RunKind::Release { task: "deploy".into() },
        params: Params::from([("version".into(), version.into())]),
        goes_back: false,
        back_to: None,
        forced: false,
        needs_approval: false,
        broken_glass: None,
        proposed: None,
        repeats: None,
        because: None,
        secret_params: None,
        tags: Default::default(),
        rollout: Rollout::default(),
        batches: vec![vec![name.clone()]],
        hosts: BTreeMap::from([(name, host)]),
        balancers: BTreeMap::new(),
        servers: BTreeMap::new(),
        leases: BTreeSet::from(["prod".into()]),
        hooks: Default::default(),
        snapshots: vec![],
        files_root: "files".into(),
    }
}

pub(crate) fn drain() -> EventKind {
    EventKind::DrainStarted { balancer: "prod.web".into(), hosts: vec!["web1".into()] }
}

pub(crate) fn enabled() -> EventKind {
    let change = Change::done("");
    EventKind::EnableEnded { balancer: "prod.web".into(), hosts: vec!["web1".into()], change }
}

pub(super) fn settled(end: End) -> EventKind {
    EventKind::HostSettled { host: "web1".into(), end, why: "because".into() }
}

pub(super) fn ended(outcome: RunOutcome) -> EventKind {
    EventKind::RunEnded { outcome, had_input: false }
}

pub(super) fn store() -> (tempfile::TempDir, SqliteStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("rollcall.db")).unwrap();
    (dir, store)
}

pub(super) fn error(result: Result<impl Sized, StoreError>) -> String {
    match result {
        Ok(_) => panic!("it was taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_run_survives_being_closed_and_opened() {
    let (dir, store) = store();
    let started = store.create_run_now(&plan("1"), &ann(), at(1)).unwrap();
    let more =
        store.append_now(started.run, at(2), vec![drain(), enabled(), settled(End::Released)]).unwrap();
    assert_eq!(more.iter().map(|event| event.seq).collect::<Vec<_>>(), [2, 3, 4]);
    drop(store);
    let again = SqliteStore::open(&dir.path().join("rollcall.db")).unwrap();
    let stored = again.load_now(started.run).unwrap().unwrap();
    assert_eq!((stored.plan, stored.by.as_str()), (plan("1"), "ann"));
    assert_eq!(stored.events, [vec![started.clone()], more].concat());
    assert_eq!(again.open_runs_now().unwrap(), [started.run]);
    again.append_now(started.run, at(3), vec![ended(RunOutcome::Done)]).unwrap();
    assert_eq!(again.open_runs_now().unwrap(), []);
    let run = &again.runs_now(5).unwrap()[0];
    assert_eq!((run.outcome, run.ended_at), (Some(RunOutcome::Done), Some(at(3))));
    assert_eq!(again.load_now(RunId(99)).unwrap(), None);
}

#[test]
fn a_lease_is_held_from_the_first_event_to_the_last() {
    let (_dir, store) = store();
    let first = store.create_run_now(&plan("1"), &ann(), at(1)).unwrap();
    let busy = store.create_run_now(&plan("2"), &ann(), at(2));
    assert_eq!(error(busy), "prod is in the hands of run 1 by ann; try: watch 1, or --wait");
    assert_eq!(store.runs_now(5).unwrap().len(), 1, "a refused run leaves nothing behind");
    store.append_now(first.run, at(3), vec![ended(RunOutcome::Done)]).unwrap();
    store.create_run_now(&plan("2"), &ann(), at(4)).unwrap();
}

#[test]
fn a_debt_is_open_from_the_intent_until_it_is_paid() {
    let (_dir, store) = store();
    let run = store.create_run_now(&plan("1"), &ann(), at(1)).unwrap().run;
    let hosts = || vec![HostName::from("web1")];
    store.append_now(run, at(2), vec![drain()]).unwrap();
    let debt = &store.debts_now().unwrap()[0];
    assert_eq!(
        (debt.host.as_str(), debt.run, debt.since, debt.why.as_str()),
        ("web1", run, at(2), "in its bracket")
    );
    // A refused drain leaves no debt; a drain with an unknown result stays a debt.
    let unknown = Change::Unknown { why: "lost".into() };
    store
        .append_now(
            run,
            at(3),
            vec![EventKind::DrainEnded { balancer: "prod.web".into(), hosts: hosts(), change: unknown }],
        )
        .unwrap();
    assert_eq!(store.debts_now().unwrap().len(), 1);
    store.append_now(run, at(4), vec![settled(End::Held), ended(RunOutcome::NeedsPerson)]).unwrap();
    assert_eq!(store.debts_now().unwrap()[0].why, "because");
    // The next run that enables the host pays both debts.
    let second = store.create_run_now(&plan("2"), &ann(), at(5)).unwrap().run;
    store.append_now(second, at(6), vec![drain()]).unwrap();
    assert_eq!(store.debts_now().unwrap().len(), 2);
    let refused = Change::Refused { why: "no".into() };
    store
        .append_now(
            second,
            at(7),
            vec![EventKind::DrainEnded { balancer: "prod.web".into(), hosts: hosts(), change: refused }],
        )
        .unwrap();
    assert_eq!(store.debts_now().unwrap().len(), 1, "a refused drain pays its own debt only");
    store.append_now(second, at(8), vec![enabled()]).unwrap();
    assert_eq!(store.debts_now().unwrap(), []);
}

#[test]
fn a_release_is_what_a_host_took_over_last() {
    let (_dir, store) = store();
    let run = store.create_run_now(&plan("1"), &ann(), at(1)).unwrap().run;
    store.append_now(run, at(2), vec![settled(End::Released), ended(RunOutcome::Done)]).unwrap();
    let second = store.create_run_now(&plan("2"), &ann(), at(3)).unwrap().run;
    store.append_now(second, at(4), vec![settled(End::RolledBack), ended(RunOutcome::Failed)]).unwrap();
    let taken = store.taken_now().unwrap();
    let present = &taken[&HostName::from("web1")][0];
    assert_eq!((present.run, present.good, present.release.params["version"].as_str()), (run, true, "1"));
    let third = store.create_run_now(&plan("3"), &ann(), at(5)).unwrap().run;
    store.append_now(third, at(6), vec![settled(End::Failing), ended(RunOutcome::NeedsPerson)]).unwrap();
    let all = &store.taken_now().unwrap()[&HostName::from("web1")];
    assert_eq!(
        all.iter().map(|taken| (taken.run, taken.good)).collect::<Vec<_>>(),
        [(third, false), (run, true)]
    );
}

#[test]
fn marks_are_kept_in_the_order_in_which_they_were_made() {
    let (_dir, store) = store();
    let mark = |bad| ReleaseMark {
        task: "deploy".into(),
        params: Params::from([("version".into(), "1".into())]),
        bad,
        by: "ann".into(),
        key: "k".into(),
        reason: "leaks".into(),
        at: at(1),
    };
    store.mark_now(&mark(true)).unwrap();
    store.mark_now(&mark(false)).unwrap();
    assert_eq!(store.marks_now().unwrap(), [mark(true), mark(false)]);
}

#[test]
fn a_debt_that_an_operator_settles_is_paid() {
    let (_dir, store) = store();
    let run = store.create_run_now(&plan("1"), &ann(), at(1)).unwrap().run;
    store.append_now(run, at(2), vec![drain(), settled(End::Held), ended(RunOutcome::NeedsPerson)]).unwrap();
    assert_eq!(store.debts_now().unwrap().len(), 1);
    let word = EventKind::DebtSettled {
        host: "web1".into(),
        balancer: "prod.web".into(),
        by: "bob".into(),
        key: "k".into(),
        reason: "scrapped".into(),
        in_rotation: true,
    };
    store.append_now(run, at(3), vec![word.clone()]).unwrap();
    assert_eq!(store.debts_now().unwrap(), []);
    // Two operators at once: the second gets an error, and the journal holds one event.
    let again = store.append_now(run, at(4), vec![word]).unwrap_err().to_string();
    assert_eq!(again, "the debt for web1 is settled already; see: debts");
    assert_eq!(store.load_now(run).unwrap().unwrap().events.len(), 5);
}

#[test]
fn what_was_begun_and_not_brought_to_an_end_is_no_good_release() {
    let (_dir, store) = store();
    let begun = EventKind::StepStarted {
        host: "web1".into(),
        way: crate::domain::run::event::BracketDirection::Forward,
        step: 0,
        name: "s".into(),
        attempt: 1,
    };
    let first = store.create_run_now(&plan("1"), &ann(), at(1)).unwrap().run;
    store.append_now(first, at(2), vec![settled(End::Released), ended(RunOutcome::Done)]).unwrap();
    let second = store.create_run_now(&plan("2"), &ann(), at(3)).unwrap().run;
    let held = vec![begun.clone(), settled(End::Held), ended(RunOutcome::NeedsPerson)];
    store.append_now(second, at(4), held).unwrap();
    let untouched = store.create_run_now(&plan("3"), &ann(), at(5)).unwrap().run;
    store.append_now(untouched, at(6), vec![settled(End::Unknown), ended(RunOutcome::NeedsPerson)]).unwrap();
    let all = &store.taken_now().unwrap()[&HostName::from("web1")];
    let runs: Vec<_> = all.iter().map(|taken| (taken.run, taken.good)).collect();
    assert_eq!(runs, [(second, false), (first, true)], "a host that no step touched is where it was");
    assert!(!all[0].rollback_failed);
    // Behind a rollback that did not end well it is not known what the host has.
    let third = store.create_run_now(&plan("4"), &ann(), at(7)).unwrap().run;
    let back = EventKind::RollbackStarted { host: "web1".into(), why: "a check is critical".into() };
    store
        .append_now(third, at(8), vec![begun, back, settled(End::Held), ended(RunOutcome::NeedsPerson)])
        .unwrap();
    let taken = &store.taken_now().unwrap()[&HostName::from("web1")];
    assert_eq!((taken[0].run, taken[0].good, taken[0].rollback_failed), (third, false, true));
    let words = taken[0].shown(taken[0].release.words());
    assert_eq!(words, "not known: the rollback from deploy version=4 failed");
}

#[test]
fn a_journal_that_was_changed_is_not_opened() {
    let changes = [
        "DROP TRIGGER event_only_grows_update; UPDATE event SET at = '2001-01-01T00:00:00Z' WHERE seq = 2",
        "DROP TRIGGER event_only_grows_update; UPDATE event SET run = 1, body = body || ' ' WHERE seq = 3",
        "DROP TRIGGER event_only_grows_delete; DELETE FROM event WHERE seq = 2",
    ];
    for change in changes {
        let (dir, store) = store();
        let run = store.create_run_now(&plan("1"), &ann(), at(1)).unwrap().run;
        store.append_now(run, at(2), vec![drain(), enabled()]).unwrap();
        drop(store);
        let path = dir.path().join("rollcall.db");
        Connection::open(&path).unwrap().execute_batch(change).unwrap();
        let error = error(SqliteStore::open(&path));
        assert!(error.contains("the journal was changed at event "), "{error}");
        assert!(error.ends_with("try: restore the store from a copy"), "{error}");
    }
    let (_dir, store) = store();
    let run = store.create_run_now(&plan("1"), &ann(), at(1)).unwrap().run;
    let refused = store.transact(|connection| {
        connection.execute("DELETE FROM event WHERE run = ?", [run.0]).map_err(failed)
    });
    assert_eq!(error(refused), "the journal only grows");
}

#[test]
fn one_process_writes_and_one_only() {
    let (dir, store) = store();
    let path = dir.path().join("rollcall.db");
    let error_text = error(SqliteStore::open(&path));
    assert!(
        error_text.contains("belongs to a rollcall that is running; try: ask it over ssh"),
        "{error_text}"
    );
    // The epoch stops a process that bypassed the lock.
    Connection::open(&path).unwrap().execute("UPDATE owner SET epoch = epoch + 1", []).unwrap();
    let late = error(store.create_run_now(&plan("1"), &ann(), at(1)));
    assert!(late.contains("has taken the store over from this one"), "{late}");
}

#[test]
fn an_operation_is_begun_once() {
    let (_dir, store) = store();
    let run = store.create_run_now(&plan("1"), &ann(), at(1)).unwrap().run;
    let begin = || EventKind::StepStarted {
        host: "web1".into(),
        way: crate::domain::run::event::BracketDirection::Forward,
        step: 0,
        name: "s".into(),
        attempt: 1,
    };
    store.append_now(run, at(2), vec![begin()]).unwrap();
    let twice = error(store.append_now(run, at(3), vec![begin()]));
    assert!(twice.contains("UNIQUE constraint failed: event.op"), "{twice}");
    assert_eq!(store.load_now(run).unwrap().unwrap().events.len(), 2, "all of an append or none of it");
}

#[test]
fn a_store_of_the_future_and_a_place_that_is_not_there_are_told() {
    let (dir, store) = store();
    drop(store);
    let path = dir.path().join("rollcall.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let newer = error(SqliteStore::open(&path));
    assert!(newer.contains("try: the rollcall version that wrote it, or a newer one"), "{newer}");
    let nowhere = error(SqliteStore::open(&dir.path().join("no/such/folder.db")));
    assert!(nowhere.contains("try: `store` in rollcall.toml, or make its folder"), "{nowhere}");
}

/// The output of a step on `web1`.
fn printed(step: usize, outcome: Outcome, text: &str) -> EventKind {
    let stdout = Output { text: text.into(), left_out: 0 };
    let (host, way, name, stderr) = ("web1".into(), BracketDirection::Forward, "s".into(), Output::default());
    EventKind::StepEnded {
        host,
        way,
        step,
        name,
        attempt: 1,
        outcome,
        stdout,
        stderr,
        took_ms: 1,
        code: None,
    }
}

#[test]
fn facts_are_on_record_with_the_event_that_brings_them() {
    let (dir, store) = store();
    let mut plan = plan("1");
    let host = plan.hosts.values_mut().next().unwrap();
    let step = facts::step(&BTreeMap::new());
    host.steps =
        vec![step.clone(), Step { body: StepBody::Link { from: "a".into(), at: "b".into() }, ..step }].into();
    let endpoint = host.endpoint.clone();
    let run = store.create_run_now(&plan, &ann(), at(1)).unwrap().run;
    let seen = Facts { cpus: Some(4), ..Facts::default() };
    let text = seen.to_value().to_string();
    let other = Facts { cpus: Some(8), ..Facts::default() }.to_value().to_string();
    let failed = Outcome::Failed { code: Some(1), why: "x".into() };
    store.append_now(run, at(2), vec![printed(0, failed.clone(), &text)]).unwrap();
    assert!(store.facts_now().unwrap().is_empty(), "what a failed step printed is no fact");
    store.append_now(run, at(3), vec![printed(0, Outcome::Unchanged, &text)]).unwrap();
    store.append_now(run, at(4), vec![printed(1, Outcome::Ok, &other), printed(0, failed, &other)]).unwrap();
    drop(store);
    let again = SqliteStore::open(&dir.path().join("rollcall.db")).unwrap();
    let known = again.facts_now().unwrap();
    let gathered = &known["web1"];
    assert_eq!((&gathered.facts, gathered.at, gathered.run), (&seen, at(3), run));
    assert!(gathered.is_of(&endpoint, at(13), Duration::from_secs(10)));
    assert!(!gathered.is_of(&endpoint, at(14), Duration::from_secs(10)), "too old");
    assert!(
        !gathered.is_of(&Endpoint { port: 23, ..endpoint }, at(3), Duration::from_secs(10)),
        "another machine"
    );
    // A run that is over stores no facts.
    again
        .append_now(run, at(5), vec![ended(RunOutcome::Done), printed(0, Outcome::Unchanged, &other)])
        .unwrap();
    assert_eq!(again.facts_now().unwrap()["web1"].facts, seen);
    let next = again.create_run_now(&plan, &ann(), at(6)).unwrap().run;
    again.append_now(next, at(7), vec![printed(0, Outcome::Unchanged, &other)]).unwrap();
    assert_eq!(again.facts_now().unwrap()["web1"].facts.cpus, Some(8));
}

#[test]
fn what_was_told_long_ago_is_forgotten_and_what_nobody_has_read_is_not() {
    let store = SqliteStore::in_memory().unwrap();
    let at = |day: i64| Timestamp::from_second(day * 86_400).unwrap();
    let alert = |day| Alert {
        at: at(day),
        since: None,
        host: "web1".into(),
        group: "prod".into(),
        check: crate::domain::check::id::CheckId::new("http", "http").into(),
        change: AlertChange::Recovery,
        text: "ok".into(),
    };
    store.add_alerts_now(&[alert(1), alert(2), alert(100)]).unwrap();
    let teller = "INSERT INTO teller (channel, cursor, log) VALUES ('ops', 1, '{}')";
    store.transact(|connection| connection.execute(teller, []).map_err(failed)).unwrap();
    let days = || store.alerts_now(0, 10).unwrap().iter().map(|(_, alert)| alert.at).collect::<Vec<_>>();
    store.prune_now(at(50), at(50), 0).unwrap();
    assert_eq!(days(), [at(2), at(100)], "one channel has read the first one only");
    store.transact(|connection| connection.execute("DELETE FROM teller", []).map_err(failed)).unwrap();
    store.prune_now(at(50), at(50), 0).unwrap();
    assert_eq!(days(), [at(100)]);
}
