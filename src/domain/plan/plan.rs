//! Plans: the immutable expansion of a command into batches, hosts and steps. Pure; `plan` prints the
//! very value that a run executes, and executing makes no choice that could be made here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::release::{Mark, Release, Taken};
pub use crate::domain::ask::command::Tags;
use crate::domain::ask::command::{Params, Title};
use crate::domain::base::name::HostName;
use crate::domain::base::shared::Shared;
use crate::domain::check::across::Rule;
use crate::domain::check::check::Check;
use crate::domain::check::id::CheckId;
use crate::domain::inventory::inventory::{Balancer, Endpoint, Host, Inventory};
use crate::domain::task::hook::Hooks;
use crate::domain::task::task::{Files, Rollout, Source, Step, Task};
use crate::domain::value::secret::{HIDDEN, SecretVars};
use crate::domain::value::template::Vars;

/// Everything that planning reads. Nothing else influences a plan.
pub struct World<'a> {
    /// As far as the operator may see it.
    pub inventory: &'a Inventory,
    pub tasks: &'a BTreeMap<String, Task>,
    /// By set: the name of the file in `checks/`.
    pub checks: &'a BTreeMap<String, Vec<Check>>,
    pub files: &'a dyn Files,
    /// Custom facts, by name.
    pub facts: &'a BTreeMap<String, Source>,
    /// Where `files/` is.
    pub files_root: PathBuf,
    /// What each host took over, newest first: its checks refer to the first.
    pub taken: BTreeMap<HostName, Vec<Taken>>,
    pub marks: Vec<Mark>,
    /// Hosts with an open debt.
    pub owed: BTreeSet<HostName>,
}

impl World<'_> {
    pub(super) fn present(&self, host: &HostName) -> Option<&Taken> {
        self.taken.get(host)?.first()
    }

    /// The task of its present release.
    pub(crate) fn present_task(&self, host: &Host) -> Option<&Task> {
        self.tasks.get(&self.present(&host.name)?.release.task)
    }

    pub(crate) fn present_params(&self, host: &Host) -> Params {
        self.present(&host.name).map(|taken| taken.release.params.clone()).unwrap_or_default()
    }
}

/// What a run executes. Everything is rendered but the rollback steps, which wait for `previous`:
/// what the host's link pointed to is only known when the run looks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub title: Title,
    pub kind: Kind,
    /// Why an operator takes hosts out of rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    pub params: Params,
    /// Those of them that are secret: their values are not kept. Plans of earlier builds do not say which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_params: Option<BTreeSet<String>>,
    /// Which steps of the task were asked for.
    #[serde(default, skip_serializing_if = "Tags::are_none")]
    pub tags: Tags,
    pub rollout: Rollout,
    pub batches: Vec<Vec<HostName>>,
    pub hosts: BTreeMap<HostName, HostPlan>,
    pub balancers: BTreeMap<String, Balancer>,
    /// How many hosts of the inventory stand behind each of them, in this plan or not.
    #[serde(default)]
    pub servers: BTreeMap<String, usize>,
    /// Top-level groups that nobody else may change while this runs.
    pub leases: BTreeSet<String>,
    /// Hosts that are compared with each other, when all that is done to them is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<Snapshot>,
    /// Around all of it, on the machine of rollcall.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    pub files_root: PathBuf,
}

/// The sorts of runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A task with a rollout: every host goes through its bracket.
    Release {
        task: String,
    },
    /// A task without one.
    Task {
        task: String,
    },
    /// What a task would change; nothing is touched.
    Look {
        task: String,
    },
    Check,
    /// An ad-hoc command.
    Run,
    /// A look at what hosts are.
    Facts,
    /// Takes hosts out of their balancer, and leaves them so.
    Drain,
    /// Puts hosts back that rollcall has taken out.
    Enable,
}

impl Kind {
    /// True where hosts are not changed.
    pub fn only_looks(&self) -> bool {
        match self {
            Kind::Look { .. } | Kind::Check | Kind::Facts => true,
            Kind::Release { .. } | Kind::Task { .. } | Kind::Run | Kind::Drain | Kind::Enable => false,
        }
    }
}

/// What happens on one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostPlan {
    pub endpoint: Endpoint,
    pub steps: Shared<Vec<Step>>,
    /// Templates; rendered with `vars` and `previous` when they are needed.
    pub rollback: Shared<Vec<Step>>,
    pub vars: Shared<Vars>,
    /// The link whose present target is looked up before anything else: `previous`.
    pub observe: Option<String>,
    /// Checks that gate the way back into rotation, and that run again after the last batch.
    pub checks: Shared<Vec<Check>>,
    /// The same for a host that was rolled back: they refer to the release before.
    pub checks_back: Shared<Vec<Check>>,
    /// The balancer, and how the host is written there.
    pub balancer: Option<Seat>,
    /// An earlier run left it out of rotation: it goes back only on proof, never as it was.
    #[serde(default)]
    pub held: bool,
    /// The release that this plan carries is the one on record for it.
    #[serde(default)]
    pub current: bool,
    /// What it has when it ends released.
    #[serde(default)]
    pub release: Option<Release>,
}

/// Hosts that are looked at together, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    #[serde(flatten)]
    pub check: CheckId,
    pub rule: Rule,
    pub members: BTreeMap<HostName, Member>,
    /// Those of them that are told what it came to; the others are only compared with.
    pub told: BTreeSet<HostName>,
}

/// One host of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub endpoint: Endpoint,
    pub check: Check,
    /// Why it cannot be looked at: its templates cannot be rendered for this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}

/// A host's place in a balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    pub balancer: String,
    pub server: String,
}

impl HostPlan {
    /// Nothing happens on this host.
    pub fn bare(endpoint: Endpoint) -> HostPlan {
        HostPlan {
            endpoint,
            steps: Shared::default(),
            rollback: Shared::default(),
            vars: Shared::default(),
            observe: None,
            checks: Shared::default(),
            checks_back: Shared::default(),
            balancer: None,
            held: false,
            current: false,
            release: None,
        }
    }

    /// Hosts where steps are done instead of on this one.
    pub fn places(&self) -> impl Iterator<Item = &Endpoint> {
        self.steps.iter().chain(&self.rollback).filter_map(|step| step.at.as_ref())
    }
}

impl Plan {
    /// Every host that the run has to do with: those that it is about, and those where steps are done instead.
    pub fn touched(&self) -> BTreeSet<HostName> {
        let places = self.hosts.values().flat_map(HostPlan::places).filter(|at| !at.is_here());
        let compared = self.snapshots.iter().flat_map(|snapshot| snapshot.members.keys());
        let others = places.map(|at| at.name.clone()).chain(compared.cloned());
        self.hosts.keys().cloned().chain(others).collect()
    }

    /// The parameters whose values are not kept.
    pub fn hidden_params(&self) -> impl Iterator<Item = &String> {
        let hidden = |(name, value): &(&String, &String)| match &self.secret_params {
            Some(secret) => secret.contains(*name),
            None => *value == HIDDEN,
        };
        self.params.iter().filter(hidden).map(|(name, _)| name)
    }

    /// The task that it was made from, whatever is done with it.
    pub fn made_from(&self) -> Option<&str> {
        match &self.kind {
            Kind::Look { task } => Some(task),
            _ => self.task(),
        }
    }

    /// True when hosts are taken out of rotation around their steps.
    pub fn has_bracket(&self) -> bool {
        matches!(self.kind, Kind::Release { .. })
    }

    /// True when the run changes hosts by a task, and so holds leases.
    pub fn task(&self) -> Option<&str> {
        match &self.kind {
            Kind::Release { task } | Kind::Task { task } => Some(task),
            Kind::Look { .. } | Kind::Check | Kind::Run | Kind::Facts | Kind::Drain | Kind::Enable => None,
        }
    }
}

/// Reads a plan as it stands in the store, of whatever age.
pub fn read(text: &str) -> Result<Plan, serde_json::Error> {
    let mut plan: Value = serde_json::from_str(text)?;
    let hosts = plan.get_mut("hosts").and_then(Value::as_object_mut);
    for host in hosts.into_iter().flat_map(|hosts| hosts.values_mut()) {
        for list in ["steps", "rollback"] {
            let steps = host.get_mut(list).and_then(Value::as_array_mut);
            steps.into_iter().flatten().for_each(move_place);
        }
        // Every rollback step was a template once, which is said of each of them by now.
        let back = host.get_mut("rollback").and_then(Value::as_array_mut);
        for step in back.into_iter().flatten().filter_map(Value::as_object_mut) {
            step.entry("late").or_insert(Value::Bool(true));
        }
    }
    reason_from_title(&mut plan);
    serde_json::from_value(plan)
}

/// The reason of a drain once stood in its title alone.
fn reason_from_title(plan: &mut Value) {
    let title = plan["title"].as_str().filter(|_| plan["kind"] == "drain" && plan.get("because").is_none());
    let reason = title.and_then(|title| title.split_once(" because ")).map(|(_, reason)| reason.to_string());
    if let Some(reason) = reason {
        plan["because"] = Value::String(reason);
    }
}

/// Directory and environment were once those of `run` alone.
fn move_place(step: &mut Value) {
    let run = step.pointer_mut("/body/run").and_then(Value::as_object_mut);
    let place = run.map(|run| [("dir", run.remove("dir")), ("env", run.remove("env"))]);
    let Some(step) = step.as_object_mut() else { return };
    for (key, value) in place.into_iter().flatten() {
        if let Some(value) = value {
            step.insert(key.into(), value);
        }
    }
}

/// What a rollback step sees: everything that the step forward saw, and `previous`.
pub fn with_previous(vars: &Vars, previous: &str) -> Vars {
    let mut vars = vars.clone();
    vars.insert("previous".into(), json!(previous));
    vars
}

/// What templates see of a host, the nearer the later: its vars, `host`, the vars of the task, the parameters.
/// What is secret is not there, nor what it hides.
pub fn vars_of(host: &Host, task: Option<&Task>, params: &Params) -> Vars {
    let mut vars = host.vars.clone();
    let about = json!({
        "name": host.name.as_str(),
        "short": host.name.short(),
        "address": host.endpoint.address,
        "port": host.endpoint.port,
        "login": host.endpoint.login,
        "group": host.file(),
    });
    vars.insert("host".into(), about);
    if let Some(task) = task {
        vars.retain(|name, _| !task.secrets.contains_key(name));
        vars.extend(task.vars.clone());
    }
    for (name, text) in params {
        match task.and_then(|task| task.params.get(name)) {
            Some(param) if param.secret => _ = vars.remove(name),
            Some(param) => _ = vars.insert(name.clone(), param.value(text)),
            None => _ = vars.insert(name.clone(), Value::String(text.clone())),
        }
    }
    vars
}

/// The secrets that steps may read on a host, in the same order. Those among the parameters are known to the
/// run alone.
pub fn secrets_of(host: &Host, task: Option<&Task>) -> SecretVars {
    let mut secrets = host.secrets.clone();
    if let Some(task) = task {
        secrets.retain(|name, _| !task.vars.contains_key(name));
        secrets.extend(task.secrets.clone());
        secrets.retain(|name, _| !task.params.contains_key(name));
    }
    secrets
}

/// The names of all of these, those of secret parameters with them: what a plan leaves to be rendered when
/// its step runs.
pub fn secret_names(host: &Host, task: &Task) -> BTreeSet<String> {
    let params = task.params.iter().filter(|(_, param)| param.secret).map(|(name, _)| name.clone());
    secrets_of(host, Some(task)).into_keys().chain(params).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::task::task::StepBody;

    /// As rollcall wrote plans before steps had conditions, results and places.
    const OLD: &str = r#"{
        "title": "deploy prod", "kind": {"release": {"task": "deploy"}}, "params": {},
        "rollout": {"serial": [{"hosts": 1}]}, "batches": [["web1"]],
        "hosts": {"web1": {
            "endpoint": {"name": "web1", "address": "web1", "port": 22, "login": "d"},
            "steps": [{
                "name": "fetch", "creates": null, "unless": "test -e x", "retries": 2, "warn_only": false, "sudo": "root",
                "body": {"run": {"script": "make it", "dir": "/srv/app", "env": {"A": "{{ 1 }}"}}},
                "timeout": {"secs": 60, "nanos": 0}, "delay": {"secs": 1, "nanos": 0}
            }, {
                "name": "configure", "creates": null, "unless": null, "retries": 0, "warn_only": false, "sudo": "no",
                "body": {"upload": {"source": {"text": "{{ as it is }}"}, "to": "/srv/app/conf", "mode": 420}},
                "timeout": {"secs": 60, "nanos": 0}, "delay": {"secs": 1, "nanos": 0}
            }],
            "rollback": [{
                "name": "back", "creates": null, "unless": null, "retries": 0, "warn_only": false, "sudo": {"user": "app"},
                "body": {"link": {"from": "{{ previous }}", "at": "/srv/app/current"}},
                "timeout": {"secs": 60, "nanos": 0}, "delay": {"secs": 1, "nanos": 0}
            }],
            "vars": {}, "observe": null, "checks": [], "checks_back": [], "balancer": null
        }},
        "balancers": {}, "leases": ["prod"], "files_root": "/etc/rollcall/files"
    }"#;

    #[test]
    fn a_plan_from_before_the_task_language_still_loads() {
        let plan = read(OLD).unwrap();
        let host = &plan.hosts[&HostName::from("web1")];
        let (fetch, configure, back) = (&host.steps[0], &host.steps[1], &host.rollback[0]);
        assert_eq!(fetch.body, StepBody::Run { script: "make it".into() });
        assert_eq!((fetch.dir.as_deref(), fetch.env["A"].as_str()), (Some("/srv/app"), "{{ 1 }}"));
        assert!(!fetch.late && !configure.late, "what was rendered is not rendered again");
        assert!(back.late, "a step back waits for what was there before");
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(read(&text).unwrap(), plan, "and so does what is written now");
    }

    #[test]
    fn the_reason_of_a_drain_is_a_field_and_an_earlier_build_had_it_in_the_title() {
        let old = OLD.replace(r#"{"release": {"task": "deploy"}}"#, r#""drain""#);
        let old = old.replace("deploy prod", "balancer drain web1 because it is slow because of its disk");
        let plan = read(&old).unwrap();
        assert_eq!(plan.because.as_deref(), Some("it is slow because of its disk"));
        let none = read(&OLD.replace("deploy prod", "run web -- echo because x")).unwrap();
        assert_eq!(none.because, None);
        let named = Plan { because: Some("another one".into()), ..plan };
        assert_eq!(read(&serde_json::to_string(&named).unwrap()).unwrap(), named);
    }

    #[test]
    fn a_run_has_to_do_with_every_host_where_its_steps_are_done() {
        let mut plan = read(OLD).unwrap();
        let elsewhere =
            |name: &str| Endpoint { name: name.into(), ..Endpoint { port: 22, ..Endpoint::here() } };
        let host = plan.hosts.get_mut(&HostName::from("web1")).unwrap();
        host.steps[0].at = Some(elsewhere("lb1"));
        host.steps[1].at = Some(Endpoint::here());
        host.rollback[0].at = Some(elsewhere("lb2"));
        let touched: Vec<HostName> = plan.touched().into_iter().collect();
        assert_eq!(touched, [HostName::from("lb1"), HostName::from("lb2"), HostName::from("web1")]);
    }
}
