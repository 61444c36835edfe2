//! Inventories, tasks and plans of any size for the measurements, and a world that answers at once.

// Each measurement is a crate of its own and uses its own part of this file.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use rollcall::domain::ask::command::{Ask, Params};
use rollcall::domain::base::name::{HostName, RunId};
use rollcall::domain::base::outcome::{Outcome, Verdict};
use rollcall::domain::base::output::Output;
use rollcall::domain::check::check::{Check, CheckResult};
use rollcall::domain::check::id::CheckId;
use rollcall::domain::check::probe::{Expect, Probe};
use rollcall::domain::inventory::inventory::{
    Balancer, Driver, Endpoint, Group, Host, Inventory, Nginx, NginxStyle,
};
use rollcall::domain::plan::plan::{Plan, World};
use rollcall::domain::plan::planner::plan_task;
use rollcall::domain::run::agenda::Agenda;
use rollcall::domain::run::event::{Change, Event, EventKind};
use rollcall::domain::run::rollout::{Effect, decide};
use rollcall::domain::run::run::Run;
use rollcall::domain::task::task::{
    BatchSize, Files, MaxFailures, OnFailure, Rollout, Source, Step, StepBody, Task, TreeFile, Upload,
    Written,
};
use rollcall::domain::value::param::Param;
use rollcall::domain::value::template::Vars;
use serde_json::json;

/// The group `prod`, with all hosts in `prod.web` and every tenth in `prod.canary`.
pub fn inventory(count: usize) -> Inventory {
    let hosts: Vec<Host> = (1..=count).map(host).collect();
    let names: Vec<HostName> = hosts.iter().map(|host| host.name.clone()).collect();
    let group = |name: &str, hosts: Vec<HostName>, balancer: Option<Balancer>| {
        (name.to_string(), Group { name: name.into(), hosts, balancer })
    };
    let groups = BTreeMap::from([
        group("prod", names.clone(), None),
        group("prod.web", names.clone(), Some(balancer())),
        group("prod.canary", names.into_iter().step_by(10).collect(), None),
    ]);
    Inventory { groups, hosts: hosts.into_iter().collect() }
}

fn host(number: usize) -> Host {
    let name = format!("web{number:05}.prod.example.com");
    let endpoint = Endpoint {
        name: name.as_str().into(),
        here: false,
        address: name.clone(),
        further: Vec::new(),
        key: None,
        port: 22,
        login: "deploy".into(),
        via: None,
    };
    Host {
        name: name.as_str().into(),
        written: name,
        endpoint,
        tags: BTreeSet::new(),
        vars: Vars::from([("app_root".into(), json!("/srv/app"))]),
        secrets: Default::default(),
        checks: vec!["http".into()],
        groups: vec!["prod".into(), "prod.web".into()],
        balancer: Some("prod.web".into()),
    }
}

fn balancer() -> Balancer {
    let driver = Driver::Nginx(Nginx {
        config: "/etc/nginx/nginx.conf".into(),
        style: NginxStyle::Down,
        upstreams: vec![],
        test: Some("nginx -t".into()),
        reload: Some("nginx -s reload".into()),
        workers: None,
        sudo: false,
    });
    Balancer {
        name: "prod.web".into(),
        on: vec![],
        server: "{{ host.address }}:8080".into(),
        driver,
        drain_timeout: Duration::from_secs(30),
        on_drain_timeout: Default::default(),
        enable_timeout: rollcall::domain::inventory::inventory::ENABLE_TIMEOUT,
        min_in_service: None,
        members: Default::default(),
        further: vec![],
    }
}

/// Six steps of the sorts that releases are made of, behind batches of 1, 25 % and the rest.
fn release() -> Task {
    let run = |script: &str| StepBody::Run { script: script.into() };
    let archive = Source::File { path: "app-{{ version }}.tar.gz".into(), sha256: String::new() };
    let upload =
        StepBody::Upload(Upload::new(archive, "{{ app_root }}/releases/{{ version }}.tar.gz", 0o644));
    let link = StepBody::Link { from: "releases/{{ version }}".into(), at: "{{ app_root }}/current".into() };
    let steps = vec![
        step("upload", upload),
        step("unpack", run("tar xzf {{ version }}.tar.gz -C {{ app_root }}/releases/{{ version }}")),
        step("configure", run("{{ app_root }}/bin/configure --host {{ host.name }}")),
        step("migrate", run("{{ app_root }}/bin/migrate")),
        step("switch", link),
        step("restart", run("systemctl restart app")),
    ];
    Task {
        name: "deploy".into(),
        description: String::new(),
        hosts: Some("web".into()),
        params: BTreeMap::from([(
            "version".into(),
            Param { pattern: Some(r"\d+\.\d+\.\d+".into()), ..Param::default() },
        )]),
        vars: Default::default(),
        secrets: Default::default(),
        release: Some(true),
        rollout: Some(Rollout {
            serial: vec![BatchSize::Hosts(1), BatchSize::Percent(25.0), BatchSize::Percent(100.0)],
            max_failures: MaxFailures::Hosts(0),
            on_failure: OnFailure::Rollback,
            ..Rollout::default()
        }),
        steps: steps.into_iter().map(Written::from).collect(),
        rollback: vec![],
        handlers: vec![],
        hooks: Default::default(),
    }
}

fn step(name: &str, body: StepBody) -> Step {
    Step { timeout: Duration::from_secs(60), delay: Duration::ZERO, ..Step::new(name, body) }
}

struct OneFile;

impl Files for OneFile {
    fn artifact(&self, sha256: &str) -> Result<(), String> {
        Err(format!("{sha256} is not kept"))
    }

    fn sha256(&self, _: &str) -> Result<String, String> {
        Ok("0".repeat(64))
    }

    fn tree(&self, path: &str) -> Result<Vec<TreeFile>, String> {
        Err(format!("{path} is no tree"))
    }

    fn text(&self, _: &str) -> Result<String, String> {
        Ok(String::new())
    }
}

/// Everything that planning a release reads.
pub struct Release {
    inventory: Inventory,
    tasks: BTreeMap<String, Task>,
    checks: BTreeMap<String, Vec<Check>>,
}

impl Release {
    /// A release to `count` hosts.
    pub fn to(count: usize) -> Release {
        let probe =
            Probe::Run { command: "curl -fsS {{ host.address }}/health".into(), expect: Expect::default() };
        let check = Check::new(&CheckId::new("http", "serves the release"), probe, Duration::from_secs(5));
        Release {
            inventory: inventory(count),
            tasks: BTreeMap::from([("deploy".into(), release())]),
            checks: BTreeMap::from([("http".into(), vec![check])]),
        }
    }

    /// `deploy prod version=1.2.3`.
    pub fn plan(&self) -> Plan {
        let world = World {
            inventory: &self.inventory,
            tasks: &self.tasks,
            checks: &self.checks,
            files: &OneFile,
            facts: &Default::default(),
            files_root: PathBuf::from("/etc/rollcall/files"),
            taken: BTreeMap::new(),
            marks: vec![],
            owed: Default::default(),
            written_off: Default::default(),
        };
        let params = Params::from([("version".to_string(), "1.2.3".to_string())]);
        plan_task(&world, &Ask::new("deploy", "prod", &params)).expect("a plan")
    }
}

/// What a host or a balancer reports when all goes well.
fn answer(effect: Effect) -> EventKind {
    let done = || Change::done("");
    match effect {
        Effect::Observe { host } => {
            EventKind::Observed { host, previous: Some("releases/1.2.2".into()), in_rotation: None }
        }
        Effect::Drain { balancer, hosts } => EventKind::DrainEnded { balancer, hosts, change: done() },
        Effect::Redrain { balancer, hosts } => EventKind::RedrainEnded { balancer, hosts, change: done() },
        Effect::Enable { balancer, hosts } => EventKind::EnableEnded { balancer, hosts, change: done() },
        Effect::Checks { host, stage } => {
            let result = CheckResult::new(CheckId::new("http", "serves the release"), Verdict::Ok, "ok");
            EventKind::ChecksEnded { host, stage, results: vec![result] }
        }
        Effect::Snapshot { snapshot, hosts } => {
            let results = hosts
                .iter()
                .map(|_| CheckResult::new(CheckId::new("http", "same"), Verdict::Ok, "ok"))
                .collect();
            EventKind::SnapshotEnded {
                snapshot,
                check: CheckId::new("http", "same"),
                hosts,
                results,
                spread_ms: 0,
            }
        }
        Effect::Hook { hook, step } => EventKind::HookEnded {
            hook,
            step,
            name: format!("step {step}"),
            outcome: Outcome::Ok,
            stdout: Output::default(),
            stderr: Output::default(),
            took_ms: 1,
        },
        Effect::Step { host, way, step, attempt } => EventKind::StepEnded {
            host,
            way,
            step,
            name: format!("step {step}"),
            attempt,
            outcome: Outcome::Ok,
            stdout: Output { text: "done\n".into(), left_out: 0 },
            stderr: Output::default(),
            took_ms: 1,
            code: None,
        },
    }
}

/// How many reports the engine finds each time it looks.
#[derive(Clone, Copy)]
pub enum Reports {
    /// Every effect ends on its own: the most decisions.
    OneByOne,
    /// Effects that are under way end together.
    Together,
}

/// A run that is carried to its end.
struct Carried {
    run: Run,
    agenda: Agenda,
    journal: Vec<Event>,
}

impl Carried {
    fn write(&mut self, kind: EventKind) {
        let seq = self.journal.len() as u64 + 1;
        let event = Event { seq, run: self.run.id(), at: Timestamp::UNIX_EPOCH, kind };
        self.run.apply(&event).expect("an event that fits");
        self.agenda.note(&self.run, &event);
        self.journal.push(event);
    }
}

/// Carries a run of `plan` from its first event to its last; its journal, and how often it was decided.
pub fn carry(plan: Plan, reports: Reports) -> (Vec<Event>, usize) {
    let mut carried =
        Carried { run: Run::new(RunId(1), plan), agenda: Agenda::default(), journal: Vec::new() };
    let (mut under_way, mut decided) = (std::collections::VecDeque::new(), 0);
    carried.write(started());
    while carried.run.outcome().is_none() {
        decided += 1;
        let decisions = decide(&carried.run, &mut carried.agenda, Timestamp::UNIX_EPOCH).decisions;
        for decision in &decisions {
            carried.write(decision.event.clone());
        }
        let idle = decisions.is_empty();
        under_way.extend(decisions.into_iter().filter_map(|decision| decision.effect));
        let ended = match reports {
            _ if !idle => 0,
            Reports::OneByOne => 1,
            Reports::Together => under_way.len(),
        };
        for effect in under_way.drain(..ended) {
            carried.write(answer(effect));
        }
    }
    (carried.journal, decided)
}

fn started() -> EventKind {
    EventKind::RunStarted {
        title: "deploy prod version=1.2.3".into(),
        by: "ann".into(),
        key: "SHA256:key".into(),
        plan_sha256: "0".repeat(64),
        granted: None,
    }
}
