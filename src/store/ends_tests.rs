use super::*;
use crate::domain::ask::command::Title;
use crate::domain::base::outcome::RunOutcome;
use crate::domain::run::event::EventKind;
use crate::domain::run::history::Standing;
use crate::store::tests::{ann, at, ended, plan, store};

fn settled_as(host: &str, end: End) -> EventKind {
    EventKind::HostSettled { host: host.into(), end, why: "because".into() }
}

/// A run in which these hosts ended so.
fn run(store: &SqliteStore, plan: &Plan, second: i64, ends: &[(&str, End)]) -> RunId {
    let run = store.create_run_now(plan, &ann(), at(second)).unwrap().run;
    let mut kinds: Vec<EventKind> = ends.iter().map(|(host, end)| settled_as(host, *end)).collect();
    kinds.push(ended(RunOutcome::Failed));
    store.append_now(run, at(second + 1), kinds).unwrap();
    run
}

#[test]
fn the_ends_of_a_task_are_a_line_of_each_host() {
    let (_dir, store) = store();
    let (deploy, check) =
        (plan("1"), Plan { kind: RunKind::Check, title: Title("check prod".into()), ..plan("1") });
    let first = run(&store, &deploy, 10, &[("web1", End::Released), ("web2", End::Failed)]);
    let other = run(&store, &check, 20, &[("web1", End::Failed), ("web2", End::Done)]);
    let second = run(&store, &deploy, 30, &[("web1", End::Failed), ("web2", End::Held)]);
    let past = store.past_now(second, &["web1".into(), "web2".into(), "web3".into()]).unwrap();
    let standings: Vec<_> = past.iter().map(|past| past.standing(second)).collect();
    let still = Standing::Still { since: first, at_s: at(11).as_second(), is_older: false };
    assert_eq!(standings, [Some(Standing::New), Some(still)]);
    assert_eq!(past[0].ends.iter().map(|past| past.run).collect::<Vec<_>>(), [second, first], "of one task");
    let all = store.ends_of_runs_now(&[second, other, first], 10).unwrap();
    assert_eq!(all.counts[&first], BTreeMap::from([(End::Released, 1), (End::Failed, 1)]));
    assert_eq!(all.past.len(), 3, "web2 in the task, web1 in both");
    let web1 = BTreeMap::from([(first, End::Released), (other, End::Failed), (second, End::Failed)]);
    assert_eq!(all.ends[&HostName::from("web1")], web1);
    assert!(!all.is_cut);
    let cut = store.ends_of_runs_now(&[second, other, first], 1).unwrap();
    assert_eq!((cut.past.len(), cut.is_cut), (1, true));
    assert_eq!(store.ends_of_runs_now(&[], 1).unwrap(), EndsOfRuns::default());
}

#[test]
fn a_retry_is_about_what_it_repeats() {
    let (_dir, store) = store();
    let check = Plan { kind: RunKind::Check, title: Title("check prod".into()), ..plan("1") };
    let title = Title("retry 1: check prod".into());
    let retry = Plan { title, repeats: Some(check.title.clone()), ..check.clone() };
    let first = run(&store, &check, 10, &[("web1", End::Failed)]);
    let second = run(&store, &retry, 20, &[("web1", End::Failed)]);
    let past = store.past_now(second, &["web1".into()]).unwrap();
    let still = Standing::Still { since: first, at_s: at(11).as_second(), is_older: false };
    assert_eq!(past[0].standing(second), Some(still));
}

#[test]
fn dry_runs_and_hosts_that_are_drained_on_purpose_are_no_problems() {
    let (_dir, store) = store();
    for kind in [RunKind::DryRun { task: "deploy".into() }, RunKind::Drain, RunKind::Facts, RunKind::Enable] {
        let run = run(&store, &Plan { kind, ..plan("1") }, 10, &[("web1", End::Held)]);
        assert_eq!(store.past_now(run, &["web1".into()]).unwrap(), []);
        assert_eq!(store.ends_of_runs_now(&[run], 9).unwrap().past, []);
    }
}

#[test]
fn runs_of_an_earlier_build_get_their_ends_from_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rollcall.db");
    let store = SqliteStore::open(&path).unwrap();
    let check = Plan { kind: RunKind::Check, title: Title("check prod".into()), ..plan("1") };
    let facts = Plan { kind: RunKind::Facts, title: Title("facts prod".into()), ..plan("1") };
    let title = Title("retry 2: check prod".into());
    let retry = Plan { title, repeats: Some(check.title.clone()), ..check.clone() };
    let runs = [
        run(&store, &plan("1"), 10, &[("web1", End::Released), ("web1", End::RolledBack)]),
        run(&store, &check, 20, &[("web1", End::Failed)]),
        run(&store, &facts, 30, &[("web1", End::Failed)]),
        run(&store, &retry, 40, &[("web1", End::Failed)]),
    ];
    let before = store.ends_of_runs_now(&runs, 9).unwrap();
    assert_eq!(before.past.len(), 2);
    drop(store);
    let old = rusqlite::Connection::open(&path).unwrap();
    let undo = "DROP TABLE host_end; DROP TABLE host_line; DROP TABLE run_subject; DROP INDEX run_list";
    old.execute_batch(undo).unwrap();
    old.execute_batch(include_str!("schema-22.sql")).unwrap();
    drop(old);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.ends_of_runs_now(&runs, 9).unwrap(), before);
    assert_eq!(store.runs_now(9).unwrap().len(), 4);
}
