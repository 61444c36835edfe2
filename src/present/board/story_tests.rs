//! A run of many hosts, event by event, for the tests of boards.

use jiff::Timestamp;

use super::block::Following;
use super::fold::RunFold;
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::outcome::{End, Outcome, Verdict};
use crate::domain::base::output::Output;
use crate::domain::base::shared::Shared;
use crate::domain::check::check::CheckResult;
use crate::domain::check::id::CheckId;
use crate::domain::plan::plan::{Plan, RunKind, read};
use crate::domain::run::event::{BracketDirection, Event, EventKind, Stage};
use crate::domain::task::body::StepBody;
use crate::domain::task::step::Step;

pub fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn plan(hosts: usize) -> Plan {
    let names: Vec<String> = (1..=hosts).map(|number| format!("web{number:04}")).collect();
    let host = |name: &String| {
        let endpoint = serde_json::json!({ "name": name, "address": name, "port": 22, "login": "d" });
        (
            name.clone(),
            serde_json::json!({ "endpoint": endpoint, "steps": [], "rollback": [], "vars": {}, "observe": null,
                "checks": [], "checks_back": [], "balancer": null }),
        )
    };
    let hosts: serde_json::Map<String, serde_json::Value> = names.iter().map(host).collect();
    let plan = serde_json::json!({ "title": "check prod", "kind": "check", "params": {},
        "rollout": { "serial": [{ "hosts": 1 }] }, "batches": [names], "hosts": hosts, "balancers": {}, "leases": [],
        "files_root": "files" });
    read(&plan.to_string()).unwrap()
}

/// A run, and the number of its last event.
pub struct Story {
    pub fold: RunFold,
    seq: u64,
}

impl Story {
    /// Checks on so many hosts.
    pub fn of(hosts: usize) -> Story {
        Story::of_plan(plan(hosts), "check prod")
    }

    /// A command of so many steps on so many hosts.
    pub fn of_steps(hosts: usize, steps: usize) -> Story {
        let mut plan = plan(hosts);
        plan.kind = RunKind::Run;
        let step = |number| Step::new(format!("step {number}"), StepBody::Run { script: "true".into() });
        let steps: Vec<Step> = (1..=steps).map(step).collect();
        let steps = Shared::from(steps);
        plan.hosts.values_mut().for_each(|host| host.steps = steps.clone());
        Story::of_plan(plan, "run prod -- true")
    }

    fn of_plan(plan: Plan, title: &str) -> Story {
        let mut story = Story { fold: RunFold::new(RunId(41), plan), seq: 0 };
        let (title, by, key, plan_sha256) = (title.into(), "ann".into(), String::new(), String::new());
        story.take(0, EventKind::RunStarted { title, by, key, plan_sha256, granted: None });
        story
    }

    pub fn take(&mut self, second: i64, kind: EventKind) {
        self.seq += 1;
        let event = Event { seq: self.seq, run: RunId(41), at: at(second), kind };
        self.fold.take(&event).unwrap();
    }

    pub fn probes(&mut self, second: i64, hosts: std::ops::RangeInclusive<usize>) {
        for number in hosts {
            self.take(second, EventKind::ChecksStarted { host: name(number), stage: Stage::Roll });
        }
    }

    pub fn ends(&mut self, hosts: std::ops::RangeInclusive<usize>, end: End, why: &str) {
        for number in hosts {
            let result = CheckResult::new(CheckId::new("http", "http"), Verdict::Ok, "");
            self.take(
                5,
                EventKind::ChecksEnded { host: name(number), stage: Stage::Roll, results: vec![result] },
            );
            self.take(5, EventKind::HostSettled { host: name(number), end, why: why.into() });
        }
    }

    /// A host goes through so many steps; the last of them ends so, and prints this.
    pub fn steps(&mut self, number: usize, steps: usize, (outcome, printed): (Outcome, &str)) {
        let host = name(number);
        self.take(1, EventKind::ObserveStarted { host: host.clone() });
        self.take(1, EventKind::Observed { host: host.clone(), previous: None, in_rotation: None });
        for step in 0..steps {
            let (way, name) = (BracketDirection::Forward, format!("step {}", step + 1));
            let (host, attempt, is_last) = (host.clone(), 1, step + 1 == steps);
            self.take(
                2,
                EventKind::StepStarted { host: host.clone(), way, step, name: name.clone(), attempt },
            );
            let outcome = if is_last { outcome.clone() } else { Outcome::Ok };
            let text = if is_last { printed.to_string() } else { String::new() };
            let (stdout, stderr) = (Output { text, left_out: 0 }, Output::default());
            let kind = EventKind::StepEnded {
                host,
                way,
                step,
                name,
                attempt,
                outcome,
                stdout,
                stderr,
                took_ms: 1_500,
                code: None,
            };
            self.take(3, kind);
        }
    }

    pub fn at(&self, second: i64) -> Following<'_> {
        Following { run: &self.fold.run, progress: &self.fold.progress, usual: None, now: at(second) }
    }
}

pub fn name(number: usize) -> HostName {
    format!("web{number:04}").as_str().into()
}
