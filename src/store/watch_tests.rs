//! The stored records of watched checks.

use super::*;
use crate::domain::watch::alert::{Alert, AlertChange};
use crate::domain::watch::roll::Covered;
use crate::store::SqliteStore;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn key(check: &str) -> WatchedId {
    WatchedId { host: "web1".into(), check: CheckId::new("http", check).into() }
}

fn sample(second: i64) -> Sample {
    Sample { at: at(second), verdict: Verdict::Ok, value: Some(1.5), took_ms: 7, run: None }
}

fn changed(second: i64, text: &str) -> Changed {
    Changed {
        at: at(second),
        verdict: Verdict::Critical,
        hard: true,
        text: text.into(),
        note: None,
        run: None,
    }
}

fn alert() -> Alert {
    let (host, group, check) = ("web1".into(), "prod.web".into(), CheckId::new("http", "http").into());
    Alert { at: at(9), since: None, host, group, check, change: AlertChange::Recovery, text: "fine".into() }
}

#[test]
fn a_batch_is_kept_whole_and_comes_back() {
    let store = SqliteStore::in_memory().unwrap();
    let batch = Batch {
        samples: vec![(key("http"), sample(1)), (key("http"), sample(2)), (key("disk"), sample(3))],
        states: [(key("http"), Watched::new(at(1)))].into(),
        changes: vec![(key("http"), changed(2, "broken"))],
        alerts: vec![alert()],
        gone: vec![key("never there")],
    };
    store.keep_now(&batch).unwrap();
    let (states, downtimes) = store.watched_now().unwrap();
    assert_eq!(states[&key("http")].last_at, Some(at(2)), "the last probe says when that was");
    assert_eq!((states.len(), downtimes.len()), (1, 0));
    assert_eq!(store.alerts_now(0, 10).unwrap().len(), 1);
    let history = store.history_now(&"web1".into(), 1).unwrap();
    assert_eq!(history[0].samples, [sample(2)], "the newest");
    assert_eq!(history[0].changes, [changed(2, "broken")]);
    assert_eq!(store.history_now(&"web1".into(), 10).unwrap().len(), 2);
    store.keep_now(&Batch { gone: vec![key("http")], ..Batch::default() }).unwrap();
    assert_eq!(store.watched_now().unwrap().0.len(), 0);
}

#[test]
fn a_downtime_is_there_until_somebody_ends_it() {
    let store = SqliteStore::in_memory().unwrap();
    let downtime = Downtime {
        id: 0,
        by: "ann".into(),
        key: "k".into(),
        why: "racks".into(),
        selector: "web".into(),
        hosts: vec!["web1".into()],
        of: Covered::Set("http".into()),
        from: at(1),
        until: at(100),
    };
    let id = store.begin_downtime_now(&downtime).unwrap();
    assert_eq!(store.watched_now().unwrap().1, [Downtime { id, ..downtime }]);
    store.end_downtime_now(id).unwrap();
    assert_eq!(store.watched_now().unwrap().1, []);
}

#[test]
fn what_is_too_old_is_forgotten_and_the_last_change_stays() {
    let store = SqliteStore::in_memory().unwrap();
    let samples = (0..1200).map(|second| (key("http"), sample(second))).collect();
    let changes = vec![(key("http"), changed(1, "first")), (key("http"), changed(2, "last"))];
    let states = [(key("http"), Watched::new(at(1)))].into();
    store.keep_now(&Batch { samples, changes, states, ..Batch::default() }).unwrap();
    store.keep_now(&Batch { samples: vec![(key("disk"), sample(5))], ..Batch::default() }).unwrap();
    let left = |store: &SqliteStore| store.history_now(&"web1".into(), 10_000).unwrap();
    assert_eq!(store.prune_now(at(1100), at(50), 0).unwrap(), 0, "these were all");
    assert_eq!(left(&store)[0].samples.len(), 1200 - PRUNE_LOOKS, "not all at once");
    (0..5).for_each(|_| assert_eq!(store.prune_now(at(1100), at(50), 0).unwrap(), 0));
    let kept = left(&store);
    assert_eq!(kept.len(), 1, "nothing is left of the other check");
    assert_eq!(kept[0].samples.first().unwrap().at, at(1100));
    assert_eq!(kept[0].changes, [changed(2, "last")]);
}

#[test]
fn many_checks_are_gone_through_bit_by_bit() {
    let store = SqliteStore::in_memory().unwrap();
    let samples = (0..500).map(|check| (key(&format!("c{check}")), sample(10))).collect();
    store.keep_now(&Batch { samples, ..Batch::default() }).unwrap();
    let (mut from, mut calls) = (0, 0);
    loop {
        from = store.prune_now(at(20), at(20), from).unwrap();
        calls += 1;
        if from == 0 {
            break;
        }
    }
    assert_eq!((calls, store.history_now(&"web1".into(), 10).unwrap().len()), (3, 0));
}

/// A store as the build before wrote it: with bare names of checks.
fn before_sets() -> SqliteStore {
    let store = SqliteStore::in_memory().unwrap();
    let old = |name: &str| WatchedId { host: "web1".into(), check: Subject::of_row("", name) };
    let names = ["up", "api/up", "flag", "reachable"];
    let batch = Batch {
        samples: names.iter().map(|name| (old(name), sample(1))).collect(),
        changes: names.iter().map(|name| (old(name), changed(1, name))).collect(),
        states: names.iter().map(|name| (old(name), Watched::new(at(1)))).collect(),
        ..Batch::default()
    };
    store.keep_now(&batch).unwrap();
    store
}

fn both_sets() -> BTreeMap<HostName, Vec<CheckId>> {
    let ids = [("http", "up"), ("http", "flag"), ("api", "up"), ("api", "reachable")];
    [("web1".into(), ids.iter().map(|(set, name)| CheckId::new(set, name)).collect())].into()
}

#[test]
fn what_was_kept_by_a_name_becomes_that_of_the_one_check_that_has_it() {
    let store = before_sets();
    // A run has probed it before.
    let flag = WatchedId { host: "web1".into(), check: CheckId::new("http", "flag").into() };
    store.keep_now(&Batch { samples: vec![(flag.clone(), sample(9))], ..Batch::default() }).unwrap();
    store.adopt_now(&both_sets()).unwrap();
    store.adopt_now(&both_sets()).unwrap();
    let mut watched: Vec<String> =
        store.watched_now().unwrap().0.into_keys().map(|key| key.check.to_string()).collect();
    watched.sort();
    // `up` is the name of two checks, so its rows belong to neither. They stay as history, under the bare name.
    assert_eq!(watched, ["api/up", "http/flag", "reachable", "up"]);
    let history = store.history_now(&"web1".into(), 10).unwrap();
    let of = |name: &str| history.iter().find(|history| history.check.to_string() == name).unwrap();
    assert_eq!(of("http/flag").samples, [sample(1), sample(9)]);
    assert_eq!(of("http/flag").changes, [changed(1, "flag")]);
    assert_eq!(of("api/up").changes, [changed(1, "api/up")]);
    assert_eq!(of("reachable").check, Subject::Contact);
    assert_eq!(history.len(), 4);
}

#[tokio::test]
async fn places_of_logs_are_apart_by_set_and_old_ones_go_to_one_check_or_to_none() {
    use crate::port::{LogPosition, Places};
    let store = SqliteStore::in_memory().unwrap();
    let host = HostName::from("web1");
    let place = |offset| LogPosition { inode: "7".into(), offset, trace: "1-2 3 4 5-6".into(), at: at(1) };
    let ids = [("", "up"), ("", "flag")].map(|(set, name)| CheckId::new(set, name));
    for (id, offset) in ids.iter().zip(1..) {
        store.keep_place(("gates", &host, id), place(offset)).await.unwrap();
    }
    store.adopt_now(&both_sets()).unwrap();
    let of = async |set: &str, name: &str| {
        store.place(("gates", &host, &CheckId::new(set, name))).await.unwrap().map(|place| place.offset)
    };
    assert_eq!(of("http", "flag").await, Some(2));
    assert_eq!((of("http", "up").await, of("api", "up").await, of("", "up").await), (None, None, None));
    store.keep_place(("gates", &host, &CheckId::new("http", "up")), place(5)).await.unwrap();
    store.keep_place(("gates", &host, &CheckId::new("api", "up")), place(6)).await.unwrap();
    assert_eq!((of("http", "up").await, of("api", "up").await), (Some(5), Some(6)));
}
