//! The roster in a world whose hosts answer as the test says, minute by minute.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::base::outcome::Verdict;
use crate::domain::base::schedule::Rhythm;
use crate::domain::check::check::CheckResult;
use crate::domain::watch::alert::AlertChange;
use crate::domain::watch::roll::{Ack, Covered, Quiet};
use crate::domain::watch::subject::REACHABLE;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn settings() -> RosterSettings {
    RosterSettings { zone: TimeZone::UTC, flapping: Flapping::default(), parallel: 64, per_host: 2 }
}

fn endpoint(name: &str, via: Option<&str>) -> Endpoint {
    let via = via.map(|via| Box::new(endpoint(via, None)));
    Endpoint {
        name: name.into(),
        here: false,
        address: name.into(),
        port: 22,
        login: "d".into(),
        via,
        ..Endpoint::here()
    }
}

fn id(name: &str) -> CheckId {
    CheckId::new("set", name)
}

fn subject(name: &str) -> Subject {
    if name == REACHABLE { Subject::Contact } else { Subject::Check(id(name)) }
}

fn wanted(name: &str, via: Option<&str>, checks: &[&str]) -> WatchedHost {
    let check = |name: &&str| WantedCheck {
        id: id(name),
        watching: Arc::new(Watching {
            depends_on: if *name == "page" { vec!["http".into()] } else { vec![] },
            ..Watching::new(Rhythm::Every(Duration::from_secs(60)))
        }),
        // It is never probed here.
        what: ProbeTarget::Broken("not rendered".into()),
    };
    WatchedHost {
        name: name.into(),
        group: "prod.web".into(),
        endpoint: Arc::new(endpoint(name, via)),
        checks: checks.iter().map(check).collect(),
    }
}

fn key(host: &str, check: &str) -> WatchedId {
    WatchedId { host: host.into(), check: subject(check) }
}

/// A roster, and the answers of its hosts.
struct World {
    roster: Roster,
    now: i64,
    /// Hosts that do not answer.
    down: Vec<&'static str>,
    /// Checks that are not ok.
    bad: Vec<(&'static str, &'static str)>,
    /// The alerts, and their times.
    alerts: Vec<(i64, String)>,
    probes: Vec<(i64, WatchedId)>,
}

impl World {
    fn new(wanted: Vec<WatchedHost>) -> World {
        let mut roster = Roster::new(settings());
        roster.begin_with(wanted, HashMap::new(), vec![], time(0));
        World { roster, now: 0, down: vec![], bad: vec![], alerts: vec![], probes: vec![] }
    }

    fn answer(&self, probe: &DueProbe) -> CheckResult {
        let up = |host: &str| !self.down.contains(&host);
        let via = probe.endpoint.via.as_ref().is_none_or(|via| up(via.name.as_str()));
        let (host, check) = (probe.key.host.as_str(), &probe.key.check);
        let id = probe.key.check.check().cloned().unwrap_or_default();
        if !up(host) || !via {
            let lost = CheckResult::new(id, Verdict::Critical, "no contact");
            return CheckResult { no_contact: true, ..lost };
        }
        let bad = self.bad.iter().any(|(bad_host, bad)| *bad_host == host && subject(bad) == *check);
        let seen = CheckResult::new(id, if bad { Verdict::Critical } else { Verdict::Ok }, "seen");
        CheckResult { reached: true, ..seen }
    }

    /// Advances the time, and makes every probe at once.
    fn run(&mut self, seconds: i64) {
        let end = self.now + seconds;
        while self.now < end {
            self.now += 1;
            let now = time(self.now);
            self.roster.tick(now);
            while let Some(probe) = self.roster.next_probe(now) {
                let seen = self.answer(&probe);
                self.roster.took(&probe.key, now, seen, now);
                self.probes.push((self.now, probe.key));
            }
            self.collect();
        }
    }

    fn collect(&mut self) -> Batch {
        let batch = self.roster.take_batch();
        for alert in &batch.alerts {
            let change = match &alert.change {
                AlertChange::Problem { verdict } => verdict.word().to_string(),
                other => format!("{other:?}").split([' ', '{']).next().unwrap().to_lowercase(),
            };
            self.alerts.push((self.now, format!("{} {} {change}", alert.host, alert.check.row().1)));
        }
        batch
    }

    fn alerts(&mut self) -> Vec<String> {
        std::mem::take(&mut self.alerts).into_iter().map(|(_, text)| text).collect()
    }

    fn downtime(&mut self, id: u64, host: &str, check: Option<&str>, seconds: i64) {
        let downtime = Downtime {
            id,
            by: "ann".into(),
            key: "k".into(),
            why: "new disk".into(),
            selector: host.into(),
            hosts: vec![host.into()],
            of: check.map_or(Covered::All, |word| Covered::Word(word.into())),
            from: time(self.now),
            until: time(self.now + seconds),
        };
        self.roster.add_downtime(downtime, time(self.now));
        self.collect();
    }

    fn in_hand(&mut self, hosts: &[&str]) {
        let hosts = hosts.iter().map(|host| ((*host).into(), RunId(41))).collect();
        self.roster.set_in_hand(hosts, time(self.now));
        self.collect();
    }

    fn line(&self, host: &str, check: &str) -> CheckLine {
        let roll = self.roster.roll(time(self.now));
        roll.lines
            .into_iter()
            .find(|line| line.host.as_str() == host && line.check == subject(check))
            .unwrap()
    }
}

#[test]
fn every_check_is_probed_once_in_its_interval_and_not_all_at_once() {
    let hosts: Vec<String> = (0..200).map(|at| format!("web{at}")).collect();
    let mut world = World::new(hosts.iter().map(|host| wanted(host, None, &["http", "disk"])).collect());
    world.run(60);
    assert_eq!(world.probes.len(), 400);
    let mut in_second = BTreeMap::new();
    world.probes.iter().for_each(|(at, _)| *in_second.entry(*at).or_insert(0) += 1);
    assert!(in_second.values().all(|count| *count < 25), "{in_second:?}");
    world.run(600);
    assert_eq!(world.probes.len(), 400 * 11);
    assert_eq!(world.alerts(), Vec::<String>::new());
    assert_eq!(
        world.roster.pace(time(660)).late_max_ms,
        999_u64.min(world.roster.pace(time(660)).late_max_ms)
    );
}

#[test]
fn a_problem_is_told_after_its_retries_and_its_end_at_once() {
    let mut world = World::new(vec![wanted("web1", None, &["http"])]);
    world.run(60);
    world.bad = vec![("web1", "http")];
    world.run(300);
    assert_eq!(world.alerts(), ["web1 http critical"]);
    let line = world.line("web1", "http");
    assert!(line.hard && line.is_problem() && line.last_ok.is_some(), "{line:?}");
    world.bad.clear();
    world.run(61);
    assert_eq!(world.alerts(), ["web1 http recovery"]);
}

#[test]
fn a_host_that_cannot_be_reached_is_one_problem() {
    let names: Vec<String> = (0..30).map(|at| format!("c{at}")).collect();
    let checks: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::new(vec![wanted("web1", None, &checks), wanted("web2", None, &checks)]);
    world.bad = vec![("web1", "c3")];
    world.run(300);
    assert_eq!(world.alerts(), ["web1 c3 critical"]);
    world.down = vec!["web1"];
    let before = world.probes.len();
    world.run(600);
    assert_eq!(world.alerts(), [format!("web1 {REACHABLE} critical")]);
    let of_web1 = world.probes[before..].iter().filter(|(_, key)| key.host.as_str() == "web1").count();
    assert!(of_web1 < 20, "it is not asked for thirty checks meanwhile: {of_web1}");
    assert_eq!(world.line("web1", "c3").quiet, Some(Quiet::DependsOn { on: "the host".into() }));
    // A problem that remains afterwards is alerted then, and no alert stays open for a check that is ok by then.
    world.down.clear();
    world.bad = vec![("web1", "c4")];
    world.run(300);
    let alerts = world.alerts();
    assert_eq!(alerts[0], format!("web1 {REACHABLE} recovery"));
    let mut rest = alerts[1..].to_vec();
    rest.sort();
    assert_eq!(rest, ["web1 c3 recovery", "web1 c4 critical"]);
    assert_eq!(world.line("web1", "c5").verdict, Some(Verdict::Ok));
}

#[test]
fn a_jump_host_that_is_gone_is_told_instead_of_those_behind_it() {
    let hosts: Vec<String> = (0..20).map(|at| format!("web{at}")).collect();
    let mut all: Vec<WatchedHost> =
        hosts.iter().map(|host| wanted(host, Some("bastion"), &["http", "disk"])).collect();
    all.push(wanted("other", None, &["http"]));
    let mut world = World::new(all);
    world.down = vec!["web7"];
    world.run(300);
    assert_eq!(world.alerts(), [format!("web7 {REACHABLE} critical")], "only that one");
    world.down = vec!["web7", "bastion"];
    world.run(600);
    assert_eq!(world.alerts(), [format!("bastion {REACHABLE} critical")]);
    assert_eq!(
        world.line("web3", "http").quiet,
        Some(Quiet::DependsOn { on: "the jump host bastion".into() })
    );
    world.down = vec!["web8"];
    world.run(600);
    let mut alerts = world.alerts();
    assert_eq!(alerts.remove(0), format!("bastion {REACHABLE} recovery"));
    alerts.sort();
    assert_eq!(alerts, [format!("web7 {REACHABLE} recovery"), format!("web8 {REACHABLE} critical")]);
    assert_eq!(world.line("web3", "http").verdict, Some(Verdict::Ok));
    assert_eq!(world.line("web3", "http").quiet, None);
}

#[test]
fn what_depends_on_a_check_is_silent_while_that_is_not_ok() {
    let mut world = World::new(vec![wanted("web1", None, &["http", "page"])]);
    world.run(60);
    world.bad = vec![("web1", "http"), ("web1", "page")];
    world.run(600);
    assert_eq!(world.alerts(), ["web1 http critical"]);
    assert_eq!(world.line("web1", "page").quiet, Some(Quiet::DependsOn { on: "set/http".into() }));
    // It recovered together with the other one: no alert follows.
    world.bad.clear();
    world.run(120);
    assert_eq!(world.alerts(), ["web1 http recovery"]);
    world.bad = vec![("web1", "http"), ("web1", "page")];
    world.run(600);
    world.bad = vec![("web1", "page")];
    world.run(120);
    assert_eq!(world.alerts(), ["web1 http critical", "web1 http recovery", "web1 page critical"]);
}

#[test]
fn a_downtime_is_silent_and_what_stands_at_its_end_is_told() {
    let mut world = World::new(vec![wanted("web1", None, &["http", "disk"])]);
    world.bad = vec![("web1", "disk")];
    world.run(300);
    world.downtime(1, "web1", None, 3600);
    assert_eq!(world.alerts(), ["web1 disk critical", "web1 disk dropped"]);
    world.bad = vec![("web1", "http")];
    world.run(600);
    assert_eq!(world.alerts(), Vec::<String>::new());
    assert!(world.line("web1", "http").hard, "it is probed all the same");
    world.run(3001);
    assert_eq!(world.alerts(), ["web1 http critical"], "and alerts when the time is over");
    // A downtime for a single check, ended early; the check is ok by then.
    world.downtime(2, "web1", Some("http"), 3600);
    world.run(30);
    world.bad = vec![("web1", "disk")];
    assert!(world.roster.end_downtime(2, time(world.now)).is_some());
    assert!(world.roster.end_downtime(2, time(world.now)).is_none());
    world.run(300);
    assert_eq!(world.alerts(), ["web1 http dropped", "web1 disk critical"]);
}

#[test]
fn a_host_in_the_hands_of_a_run_is_let_alone() {
    let mut world =
        World::new(vec![wanted("web1", None, &["http", "disk"]), wanted("web2", None, &["http"])]);
    world.bad = vec![("web1", "disk")];
    world.run(300);
    world.in_hand(&["web1"]);
    let before = world.probes.len();
    world.bad = vec![("web1", "http"), ("web2", "http")];
    world.run(300);
    assert_eq!(world.alerts(), ["web1 disk critical", "web2 http critical"], "the run may repair it");
    assert!(world.probes[before..].iter().all(|(_, key)| key.host.as_str() == "web2"));
    assert_eq!(world.line("web1", "http").quiet, Some(Quiet::InHand { run: RunId(41) }));
    world.in_hand(&[]);
    let before = world.probes.len();
    world.run(60);
    let again = world.probes[before..].iter().filter(|(_, key)| key.host.as_str() == "web1").count();
    assert!(again >= 2, "both are probed within a minute");
    world.run(300);
    assert_eq!(world.alerts(), ["web1 disk recovery", "web1 http critical"]);
    // What the run did not repair stays open, and is probed at once.
    world.in_hand(&["web1"]);
    world.run(300);
    world.in_hand(&[]);
    let before = world.probes.len();
    world.run(2);
    assert!(world.probes[before..].iter().any(|(_, at)| *at == key("web1", "http")), "at once");
    world.run(300);
    assert_eq!(world.alerts(), Vec::<String>::new(), "it is reported already");
    world.in_hand(&["web1"]);
    world.bad.clear();
    world.in_hand(&[]);
    world.run(2);
    assert_eq!(world.alerts(), ["web1 http recovery"], "at once");
}

#[test]
fn an_acknowledged_problem_is_known_until_it_is_over() {
    let mut world = World::new(vec![wanted("web1", None, &["http"])]);
    let ack = || Ack { by: "ann".into(), why: "known".into(), at: time(1) };
    assert!(world.roster.acknowledge(&key("web1", "http"), ack()).is_err());
    assert!(world.roster.acknowledge(&key("web1", "dns"), ack()).unwrap_err().contains("not watched"));
    world.bad = vec![("web1", "http")];
    world.run(300);
    world.roster.acknowledge(&key("web1", "http"), ack()).unwrap();
    world.run(300);
    world.bad.clear();
    world.run(61);
    assert_eq!(world.alerts(), ["web1 http critical", "web1 http acknowledged", "web1 http recovery"]);
}

#[test]
fn a_clock_that_is_set_back_delays_no_probe() {
    let mut world = World::new(vec![wanted("web1", None, &["http"])]);
    world.run(300);
    let before = world.probes.len();
    world.now -= 3_600;
    world.bad = vec![("web1", "http")];
    world.run(300);
    assert!(world.probes.len() >= before + 5, "{:?}", world.probes);
    assert_eq!(world.alerts(), ["web1 http critical"]);
}

#[test]
fn a_host_has_few_looks_at_once_and_all_have_a_limit() {
    let checks = ["a", "b", "c", "d", "e"];
    let mut roster = Roster::new(RosterSettings { parallel: 3, ..settings() });
    let all = vec![wanted("web1", None, &checks), wanted("web2", None, &checks)];
    roster.begin_with(all, HashMap::new(), vec![], time(0));
    // No probe is made for a while, and everything is due.
    let mut begun: Vec<DueProbe> = std::iter::from_fn(|| roster.next_probe(time(120))).collect();
    assert_eq!(begun.len(), 3);
    let mut seen = 0;
    while let Some(probe) = begun.pop() {
        let of_host = begun.iter().filter(|other| other.key.host == probe.key.host).count();
        assert!(of_host < 2, "{begun:?}");
        let result = CheckResult::new(CheckId::default(), Verdict::Ok, "");
        roster.took(&probe.key, time(120), CheckResult { reached: true, ..result }, time(120));
        seen += 1;
        begun.extend(std::iter::from_fn(|| roster.next_probe(time(120))));
        assert!(begun.len() <= 3);
    }
    assert_eq!(seen, 10, "each once");
    assert_eq!(roster.pace(time(120)).waiting, 0);
}

#[test]
fn another_configuration_goes_on_where_the_old_one_was() {
    let mut world =
        World::new(vec![wanted("web1", None, &["http", "disk"]), wanted("web2", None, &["http"])]);
    world.bad = vec![("web1", "http"), ("web2", "http")];
    world.run(300);
    let mut alerts = world.alerts();
    alerts.sort();
    assert_eq!(alerts, ["web1 http critical", "web2 http critical"]);
    let next = world.line("web1", "disk").next_at;
    // During a probe, its check and another host leave the configuration.
    let probe = loop {
        world.now += 1;
        let now = time(world.now);
        match world.roster.next_probe(now) {
            Some(probe) if probe.key == key("web1", "disk") => break probe,
            Some(probe) => world.roster.took(&probe.key, now, world.answer(&probe), now),
            None => {}
        }
    };
    world.roster.take_over(settings(), vec![wanted("web1", None, &["http", "ntp"])], time(world.now));
    let result = CheckResult::new(CheckId::default(), Verdict::Ok, "");
    world.roster.took(&probe.key, time(world.now), result, time(world.now));
    let batch = world.collect();
    assert!(
        batch.gone.contains(&key("web2", "http")) && batch.gone.contains(&key("web1", "disk")),
        "{batch:?}"
    );
    assert!(next.is_some());
    world.run(200);
    let alerts = world.alerts();
    assert!(
        alerts.contains(&"web2 http dropped".to_string())
            && !alerts.contains(&"web1 http critical".to_string())
    );
    assert_eq!(world.line("web1", "ntp").verdict, Some(Verdict::Ok));
    assert_eq!(world.roster.pace(time(world.now)).in_flight, 0);
}

#[test]
fn a_restart_is_no_change() {
    let all = || vec![wanted("web1", Some("bastion"), &["http", "disk"])];
    let mut world = World::new(all());
    world.bad = vec![("web1", "http")];
    world.run(300);
    let states: HashMap<WatchedId, Watched> = world.roster.all_states().states.into_iter().collect();
    world.alerts();
    let mut roster = Roster::new(settings());
    roster.begin_with(all(), states, vec![], time(world.now));
    world.roster = roster;
    assert!(world.line("web1", "http").hard);
    world.run(300);
    assert_eq!(world.alerts(), Vec::<String>::new());
    world.bad.clear();
    world.run(61);
    assert_eq!(world.alerts(), ["web1 http recovery"]);
}

/// Two sets with a check of one name, each with its own body, or a set with a check that has the name of the contact.
fn of_sets(ids: &[(&str, &str)]) -> Vec<WatchedHost> {
    let mut host = wanted("web1", None, &[]);
    host.checks = ids
        .iter()
        .map(|(set, name)| WantedCheck {
            id: CheckId::new(set, name),
            watching: Arc::new(Watching {
                max_attempts: 1,
                ..Watching::new(Rhythm::Every(Duration::from_secs(60)))
            }),
            what: ProbeTarget::Broken(format!("body of {set}").into()),
        })
        .collect();
    vec![host]
}

#[test]
fn two_checks_of_one_name_keep_their_bodies_and_states_apart() {
    let mut roster = Roster::new(settings());
    let sets = [("http", "up"), ("api", "up"), ("api", "reachable")];
    roster.begin_with(of_sets(&sets), HashMap::new(), vec![], time(0));
    roster.render_again(of_sets(&sets), time(0));
    let mut bodies = BTreeMap::new();
    while let Some(probe) = roster.next_probe(time(60)) {
        if let ProbeTarget::Broken(body) = &probe.what {
            bodies.insert(probe.key.check.to_string(), body.to_string());
        }
        let verdict = if probe.key.check == Subject::Check(CheckId::new("http", "up")) {
            Verdict::Critical
        } else {
            Verdict::Ok
        };
        let seen = CheckResult::new(CheckId::default(), verdict, "seen");
        roster.took(&probe.key, time(60), CheckResult { reached: true, ..seen }, time(60));
    }
    let bodies: Vec<String> = bodies.into_iter().map(|(check, body)| format!("{check}: {body}")).collect();
    assert_eq!(bodies, ["api/reachable: body of api", "api/up: body of api", "http/up: body of http"]);
    // The order of sets does not matter for acknowledgements.
    let ack = Ack { by: "ann".into(), why: "known".into(), at: time(61) };
    let http = WatchedId { host: "web1".into(), check: CheckId::new("http", "up").into() };
    roster.acknowledge(&http, ack).unwrap();
    roster.take_over(settings(), of_sets(&[sets[1], sets[2], sets[0]]), time(62));
    let known: Vec<String> = roster
        .roll(time(62))
        .lines
        .iter()
        .map(|line| format!("{}: {} {}", line.check, line.verdict.unwrap().word(), line.ack.is_some()))
        .collect();
    assert_eq!(
        known,
        ["reachable: ok false", "api/up: ok false", "api/reachable: ok false", "http/up: critical true"]
    );
    assert_eq!(roster.take_batch().gone, []);
}

#[test]
fn a_probe_that_reaches_no_host_says_nothing_about_its_contact() {
    let mut roster = Roster::new(settings());
    roster.begin_with(of_sets(&[("http", "up")]), HashMap::new(), vec![], time(0));
    let contact = |roster: &Roster, now: i64| roster.roll(time(now)).lines[0].verdict;
    let (mut probes, mut host_answers) = (Vec::new(), false);
    for second in 0..300 {
        let now = time(second);
        host_answers |= second == 200;
        while let Some(probe) = roster.next_probe(now) {
            let failed = CheckResult::new(CheckId::default(), Verdict::Unknown, "cannot be rendered");
            let lost = CheckResult { no_contact: true, verdict: Verdict::Critical, ..failed.clone() };
            let seen = match (&probe.what, host_answers) {
                (ProbeTarget::Contact, false) => lost,
                (ProbeTarget::Contact, true) => CheckResult { verdict: Verdict::Ok, reached: true, ..failed },
                _ => failed,
            };
            if matches!(probe.what, ProbeTarget::Contact) {
                probes.push(second);
            }
            roster.took(&probe.key, now, seen, now);
            if !host_answers {
                assert_ne!(contact(&roster, second), Some(Verdict::Ok), "nothing has reached it");
            }
        }
    }
    assert_eq!(contact(&roster, 300), Some(Verdict::Ok), "it was probed: {probes:?}");
    assert!(probes.iter().filter(|at| **at > 215).count() <= 2, "as often as its checks: {probes:?}");
}

#[test]
fn a_downtime_is_of_one_check_of_a_set_or_of_the_contact() {
    let ids = [("http", "up"), ("api", "up"), ("api", "reachable")];
    let subjects: Vec<Subject> = ids
        .iter()
        .map(|(set, name)| Subject::Check(CheckId::new(set, name)))
        .chain([Subject::Contact])
        .collect();
    let covered = |of: Covered| -> Vec<String> {
        subjects.iter().filter(|subject| of.covers(subject)).map(Subject::to_string).collect()
    };
    assert_eq!(covered(Covered::All).len(), 4);
    assert_eq!(covered(Covered::Contact), ["reachable"]);
    assert_eq!(covered(Covered::Set("api".into())), ["api/up", "api/reachable"]);
    assert_eq!(covered(Covered::Check(CheckId::new("http", "up"))), ["http/up"]);
    // The form of earlier builds.
    let old = |text: &str| covered(serde_json::from_str(text).unwrap());
    assert_eq!(old(r#"{"check":null}"#).len(), 4);
    assert_eq!(old(r#"{"check":"reachable"}"#), ["reachable"]);
    assert_eq!(old(r#"{"check":"api"}"#), ["api/up", "api/reachable"]);
    assert_eq!(old(r#"{"check":"up"}"#), ["http/up", "api/up"]);
    assert_eq!(old(r#"{"check":"api/up"}"#), ["api/up"]);
}

/// Hosts that are compared: the first is the leader.
fn compared(names: &[&str]) -> Vec<WatchedHost> {
    let one = |at: usize, name: &&str| {
        let mut wanted = wanted(name, None, &["same"]);
        wanted.checks[0].what = match at {
            0 => ProbeTarget::Together(Arc::new(Snapshot {
                check: id("same"),
                rule: crate::domain::check::across::AcrossRule::Same,
                members: BTreeMap::new(),
                reported: names.iter().map(|name| (*name).into()).collect(),
            })),
            _ => ProbeTarget::With(names[0].into()),
        };
        wanted
    };
    names.iter().enumerate().map(|(at, name)| one(at, name)).collect()
}

#[test]
fn hosts_that_are_compared_are_looked_at_together() {
    let mut roster = Roster::new(settings());
    roster.begin_with(compared(&["web1", "web2", "web3"]), HashMap::new(), vec![], time(0));
    let mut alerts = Vec::new();
    let mut probes = Vec::new();
    for second in 0..600 {
        let now = time(second);
        while let Some(probe) = roster.next_probe(now) {
            if matches!(probe.what, ProbeTarget::Contact) {
                let result = CheckResult::new(CheckId::default(), Verdict::Critical, "gone");
                roster.took(&probe.key, now, CheckResult { no_contact: true, ..result }, now);
                continue;
            }
            assert!(matches!(probe.what, ProbeTarget::Together(_)), "{probe:?}");
            probes.push(second);
            let result = |verdict, no_contact| CheckResult {
                no_contact,
                reached: !no_contact,
                ..CheckResult::new(CheckId::default(), verdict, "")
            };
            let results = [
                ("web1".into(), result(Verdict::Ok, false)),
                ("web2".into(), result(Verdict::Critical, false)),
                ("web3".into(), result(Verdict::Unknown, second > 300)),
            ];
            roster.took_together(&probe.key, now, results.into(), now);
        }
        alerts.extend(
            roster
                .take_batch()
                .alerts
                .into_iter()
                .map(|alert| format!("{} {}", alert.host, alert.check.row().1)),
        );
    }
    assert_eq!(alerts, ["web2 same", "web3 same", format!("web3 {REACHABLE}").as_str()]);
    assert!((9..=14).contains(&probes.len()), "one probe for all of them: {probes:?}");
    assert_eq!(roster.pace(time(600)).in_flight, 0);
}

/// One event in a world of five hosts.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Down(usize),
    Up(usize),
    Bad(usize, usize),
    Good(usize, usize),
    Downtime(usize, i64),
    InHand(usize),
    Free,
}

const HOSTS: [&str; 5] = ["bastion", "web1", "web2", "web3", "web4"];
const CHECKS: [&str; 3] = ["http", "page", "disk"];

fn happenings() -> impl Strategy<Value = Vec<(Happening, i64)>> {
    let what = prop_oneof![
        (0..5_usize).prop_map(Happening::Down),
        (0..5_usize).prop_map(Happening::Up),
        (0..5_usize, 0..3_usize).prop_map(|(host, check)| Happening::Bad(host, check)),
        (0..5_usize, 0..3_usize).prop_map(|(host, check)| Happening::Good(host, check)),
        (0..5_usize, 30..400_i64).prop_map(|(host, time)| Happening::Downtime(host, time)),
        (0..5_usize).prop_map(Happening::InHand),
        Just(Happening::Free),
    ];
    prop::collection::vec((what, 1..200_i64), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// For any events: a quiet check causes no alerts, each alert fits the one before, and once all checks are
    /// ok every check is probed again and no problem stays open.
    #[test]
    fn whatever_happens_problems_and_their_ends_are_told_in_turn(happenings in happenings()) {
        let mut all = vec![wanted("bastion", None, &CHECKS)];
        all.extend(HOSTS[1..4].iter().map(|host| wanted(host, Some("bastion"), &CHECKS)));
        all.push(wanted("web4", None, &CHECKS));
        let mut world = World::new(all);
        let mut downtimes: Vec<(&str, i64, i64)> = vec![];
        for (id, (what, seconds)) in happenings.into_iter().enumerate() {
            match what {
                Happening::Down(host) => world.down.push(HOSTS[host]),
                Happening::Up(host) => world.down.retain(|down| *down != HOSTS[host]),
                Happening::Bad(host, check) => world.bad.push((HOSTS[host], CHECKS[check])),
                Happening::Good(host, check) => world.bad.retain(|bad| *bad != (HOSTS[host], CHECKS[check])),
                Happening::Downtime(host, time) => {
                    downtimes.push((HOSTS[host], world.now, world.now + time));
                    world.downtime(id as u64, HOSTS[host], None, time);
                }
                Happening::InHand(host) => world.in_hand(&[HOSTS[host]]),
                Happening::Free => world.in_hand(&[]),
            }
            world.run(seconds);
        }
        (world.down, world.bad) = (vec![], vec![]);
        world.in_hand(&[]);
        world.run(1000);
        let mut open: BTreeMap<(String, String), bool> = BTreeMap::new();
        for (at, text) in &world.alerts {
            let words: Vec<&str> = text.split(' ').collect();
            let of = (words[0].to_string(), words[1].to_string());
            let quiet = downtimes.iter().any(|(host, from, until)| *host == words[0] && from < at && at < until);
            prop_assert!(!quiet, "{at} {text} in {downtimes:?}");
            let was = open.get(&of).copied().unwrap_or_default();
            let is = match words[2] {
                "critical" => true,
                "recovery" | "dropped" => false,
                "flappingstarted" | "flappingended" => continue,
                other => panic!("{other}"),
            };
            prop_assert_ne!(was, is, "{:?}", world.alerts);
            open.insert(of, is);
        }
        for line in world.roster.roll(time(world.now)).lines {
            prop_assert_eq!((line.verdict, line.quiet.clone()), (Some(Verdict::Ok), None), "{:?}", line);
            let age = world.now - (line.last_at.unwrap().as_second() - time(0).as_second());
            prop_assert!(age <= 61, "{line:?} is {age} s old");
        }
        prop_assert!(world.roster.pace(time(world.now)).in_flight == 0);
    }
}
