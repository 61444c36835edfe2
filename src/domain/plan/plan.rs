//! Plans: the immutable expansion of a command into batches, hosts and steps. Pure; `plan` prints the
//! same value that a run executes, and execution makes no choice that planning can make.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::release::{Release, ReleaseMark, ReleaseTakeover};
pub use crate::domain::ask::command::Tags;
use crate::domain::ask::command::{Params, Title};
use crate::domain::base::digest::sha256_hex;
use crate::domain::base::name::HostName;
use crate::domain::base::shared::Shared;
use crate::domain::check::across::AcrossRule;
use crate::domain::check::check::Check;
use crate::domain::check::id::CheckId;
use crate::domain::inventory::inventory::{Balancer, Endpoint, Host, Inventory};
use crate::domain::task::hook::Hooks;
use crate::domain::task::task::{Files, Rollout, Source, Step, Task};
use crate::domain::value::secret::{HIDDEN, SecretVars};
use crate::domain::value::template::Vars;

/// Everything that planning reads. Nothing else influences a plan.
pub struct World<'a> {
    /// The part that the operator may see.
    pub inventory: &'a Inventory,
    pub tasks: &'a BTreeMap<String, Task>,
    /// By set: the name of the file in `checks/`.
    pub checks: &'a BTreeMap<String, Vec<Check>>,
    pub files: &'a dyn Files,
    /// Custom facts, by name.
    pub facts: &'a BTreeMap<String, Source>,
    /// The folder `files/`.
    pub files_root: PathBuf,
    /// The releases that each host has taken over, newest first: its checks refer to the first.
    pub taken: BTreeMap<HostName, Vec<ReleaseTakeover>>,
    pub marks: Vec<ReleaseMark>,
    /// Hosts with an open debt.
    pub owed: BTreeSet<HostName>,
    /// Those whose debts are written off: only a command for them takes them back.
    pub written_off: BTreeSet<HostName>,
}

impl World<'_> {
    pub(super) fn present(&self, host: &HostName) -> Option<&ReleaseTakeover> {
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

/// The input of a run. Everything is rendered except the rollback steps, which need `previous`:
/// the run reads the target of the host's link when it starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub title: Title,
    pub kind: RunKind,
    /// Every host goes back to a release of its own, so the plan has no parameters for all of them.
    #[serde(default)]
    pub goes_back: bool,
    /// The release that an operator named for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<String>,
    /// Hosts that are on the release already are deployed all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// Nothing starts before another person has approved it: the role of the operator demands that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_approval: bool,
    /// The operator's reason for a release on frozen hosts. Nothing starts before another person has approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_glass: Option<String>,
    /// An agent has proposed it through `mcp`, as the plan with this digest. Nothing starts before another person has approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed: Option<String>,
    /// The title of the run that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<Title>,
    /// The operator's reason for a drain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    pub params: Params,
    /// The names of the secret ones: their values are not kept. Plans of earlier builds lack this list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_params: Option<BTreeSet<String>>,
    /// The selected tags.
    #[serde(default, skip_serializing_if = "Tags::are_none")]
    pub tags: Tags,
    pub rollout: Rollout,
    pub batches: Vec<Vec<HostName>>,
    pub hosts: BTreeMap<HostName, HostPlan>,
    pub balancers: BTreeMap<String, Balancer>,
    /// How many hosts of the whole inventory are behind each balancer, in this plan or not.
    #[serde(default)]
    pub servers: BTreeMap<String, usize>,
    /// Top-level groups that no other run may change while this one runs.
    pub leases: BTreeSet<String>,
    /// Hosts that are compared with each other once all work on them is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<Snapshot>,
    /// Steps before and after all hosts, on the daemon's machine.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    pub files_root: PathBuf,
}

/// The kinds of runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunKind {
    /// A task with a rollout: every host goes through its bracket.
    Release {
        task: String,
    },
    /// A task without one.
    Task {
        task: String,
    },
    /// A dry run of a task; no host is changed.
    #[serde(rename = "look")]
    DryRun {
        task: String,
    },
    Check,
    /// An ad-hoc command.
    Run,
    /// Gathers facts about hosts.
    Facts,
    /// Drains hosts, and leaves them drained.
    Drain,
    /// Enables hosts that rollcall has drained.
    Enable,
}

impl RunKind {
    /// True for runs that change no host.
    pub fn only_reads(&self) -> bool {
        match self {
            RunKind::DryRun { .. } | RunKind::Check | RunKind::Facts => true,
            RunKind::Release { .. }
            | RunKind::Task { .. }
            | RunKind::Run
            | RunKind::Drain
            | RunKind::Enable => false,
        }
    }
}

/// The part of a plan for one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostPlan {
    pub endpoint: Endpoint,
    pub steps: Shared<Vec<Step>>,
    /// Templates; rendered with `vars` and `previous` when they are needed.
    pub rollback: Shared<Vec<Step>>,
    pub vars: Shared<Vars>,
    /// The link whose target is read before anything else: `previous`.
    pub observe: Option<String>,
    /// Checks that must pass before the host returns to rotation, and that run again after the last batch.
    pub checks: Shared<Vec<Check>>,
    /// The checks of a host that was rolled back: they refer to the release before.
    pub checks_back: Shared<Vec<Check>>,
    /// The balancer, and the name of the host there.
    pub balancer: Option<Seat>,
    /// An earlier run left it drained: it is enabled only after its checks pass, never as it is.
    #[serde(default)]
    pub held: bool,
    /// The release of this plan is already on record for the host.
    #[serde(default)]
    pub current: bool,
    /// The release that the host has if it ends released.
    #[serde(default)]
    pub release: Option<Release>,
}

/// Hosts that are probed together, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    #[serde(flatten)]
    pub check: CheckId,
    pub rule: AcrossRule,
    pub members: BTreeMap<HostName, SnapshotMember>,
    /// The members that receive the result; the others are only compared with.
    #[serde(rename = "told")]
    pub reported: BTreeSet<HostName>,
}

/// One host of a snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotMember {
    pub endpoint: Endpoint,
    pub check: Check,
    /// Why it cannot be probed: its templates cannot be rendered for this host.
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
    /// A plan without any work on the host.
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

    /// Hosts that steps run on instead of this one.
    pub fn places(&self) -> impl Iterator<Item = &Endpoint> {
        self.steps.iter().chain(&self.rollback).filter_map(|step| step.at.as_ref())
    }
}

impl Plan {
    /// Every host that the run touches: those that it changes, and those that are compared with them.
    pub fn touched(&self) -> BTreeSet<HostName> {
        let compared = self.snapshots.iter().flat_map(|snapshot| snapshot.members.keys());
        self.worked_on().into_iter().chain(compared.cloned()).collect()
    }

    /// The hosts of the run, and those that steps run on instead.
    pub fn worked_on(&self) -> BTreeSet<HostName> {
        let places = self.hosts.values().flat_map(HostPlan::places).filter(|at| !at.here);
        self.hosts.keys().cloned().chain(places.map(|at| at.name.clone())).collect()
    }

    /// A digest of what would be done, the same for every operator. Values of secret parameters are not part of it.
    pub fn digest(&self) -> Result<String, serde_json::Error> {
        let same = Plan { needs_approval: false, proposed: None, ..self.clone() };
        Ok(format!("sha256:{}", sha256_hex(&serde_json::to_vec(&same)?)))
    }

    /// The parameters whose values are not kept.
    pub fn hidden_params(&self) -> impl Iterator<Item = &String> {
        let hidden = |(name, value): &(&String, &String)| match &self.secret_params {
            Some(secret) => secret.contains(*name),
            None => *value == HIDDEN,
        };
        self.params.iter().filter(hidden).map(|(name, _)| name)
    }

    /// The task that the plan was made from, for any kind of run.
    pub fn made_from(&self) -> Option<&str> {
        match &self.kind {
            RunKind::DryRun { task } => Some(task),
            _ => self.task(),
        }
    }

    /// True when hosts are drained before their steps.
    pub fn has_bracket(&self) -> bool {
        matches!(self.kind, RunKind::Release { .. })
    }

    /// The task, if the run changes hosts by one, and so holds leases.
    pub fn task(&self) -> Option<&str> {
        match &self.kind {
            RunKind::Release { task } | RunKind::Task { task } => Some(task),
            RunKind::DryRun { .. }
            | RunKind::Check
            | RunKind::Run
            | RunKind::Facts
            | RunKind::Drain
            | RunKind::Enable => None,
        }
    }
}

/// Reads a stored plan of any age.
pub fn read(text: &str) -> Result<Plan, serde_json::Error> {
    let mut plan: Value = serde_json::from_str(text)?;
    let hosts = plan.get_mut("hosts").and_then(Value::as_object_mut);
    for host in hosts.into_iter().flat_map(|hosts| hosts.values_mut()) {
        for list in ["steps", "rollback"] {
            let steps = host.get_mut(list).and_then(Value::as_array_mut);
            steps.into_iter().flatten().for_each(move_place);
        }
        // In old plans every rollback step is a template; now each step says so itself.
        let back = host.get_mut("rollback").and_then(Value::as_array_mut);
        for step in back.into_iter().flatten().filter_map(Value::as_object_mut) {
            step.entry("late").or_insert(Value::Bool(true));
        }
    }
    reason_from_title(&mut plan);
    origin_from_title(&mut plan);
    serde_json::from_value(plan)
}

/// Old plans hold the reason of a drain only in the title.
fn reason_from_title(plan: &mut Value) {
    let title = plan["title"].as_str().filter(|_| plan["kind"] == "drain" && plan.get("because").is_none());
    let reason = title.and_then(|title| title.split_once(" because ")).map(|(_, reason)| reason.to_string());
    if let Some(reason) = reason {
        plan["because"] = Value::String(reason);
    }
}

/// Old plans say only in the title that they repeat a run, or take hosts back.
fn origin_from_title(plan: &mut Value) {
    if plan.get("goes_back").is_some() {
        return;
    }
    let title = plan["title"].as_str().unwrap_or_default();
    let repeats = repeated(title).map(str::to_string);
    let first = repeats.as_deref().unwrap_or(title);
    let is_release = plan["kind"].get("release").is_some();
    let has_params = plan["params"].as_object().is_some_and(|params| !params.is_empty());
    plan["goes_back"] = Value::Bool(is_release && !has_params && first.starts_with("rollback "));
    if let Some(first) = repeats {
        plan["repeats"] = Value::String(first);
    }
}

/// In old plans directory and environment are fields of `run`.
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

/// The title of the run that a run with this title repeats.
pub fn repeated(title: &str) -> Option<&str> {
    let (_, first) = title.strip_prefix("retry ")?.split_once(": ")?;
    Some(first)
}

/// The variables of a rollback step: those of the forward step, and `previous`.
pub fn with_previous(vars: &Vars, previous: &str) -> Vars {
    let mut vars = vars.clone();
    vars.insert("previous".into(), json!(previous));
    vars
}

/// The variables of a host's templates; later ones replace earlier ones: its vars, `host`, the vars of the task,
/// the parameters. Secrets are left out, and so are the vars that they replace.
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

/// The secrets that steps may read on a host, in the same order. Only the run knows those among the
/// parameters.
pub fn secrets_of(host: &Host, task: Option<&Task>) -> SecretVars {
    let mut secrets = host.secrets.clone();
    if let Some(task) = task {
        secrets.retain(|name, _| !task.vars.contains_key(name));
        secrets.extend(task.secrets.clone());
        secrets.retain(|name, _| !task.params.contains_key(name));
    }
    secrets
}

/// The names of all these secrets and of the secret parameters: templates with them are rendered when
/// their step runs.
pub fn secret_names(host: &Host, task: &Task) -> BTreeSet<String> {
    let params = task.params.iter().filter(|(_, param)| param.secret).map(|(name, _)| name.clone());
    secrets_of(host, Some(task)).into_keys().chain(params).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::task::task::StepBody;

    /// A plan from before steps had conditions, results and places.
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
    fn a_rollback_and_a_repeated_run_are_fields_and_an_earlier_build_had_them_in_the_title() {
        let read_as = |title: &str| read(&OLD.replace("deploy prod", title)).unwrap();
        let rows = [
            ("deploy prod", false, None),
            ("rollback prod", true, None),
            ("retry 3: rollback prod", true, Some("rollback prod")),
            ("retry 3: deploy prod", false, Some("deploy prod")),
        ];
        for (title, goes_back, repeats) in rows {
            let plan = read_as(title);
            let first = plan.repeats.as_ref().map(|title| title.0.as_str());
            assert_eq!((plan.goes_back, first), (goes_back, repeats), "{title}");
        }
        // A plan of this build says so itself, whatever its title is.
        let named = Plan { title: Title("rollback prod".into()), ..read(OLD).unwrap() };
        assert_eq!(read(&serde_json::to_string(&named).unwrap()).unwrap(), named);
    }

    #[test]
    fn a_run_has_to_do_with_every_host_where_its_steps_are_done() {
        let mut plan = read(OLD).unwrap();
        let elsewhere = |name: &str| Endpoint {
            name: name.into(),
            ..Endpoint { here: false, port: 22, ..Endpoint::here() }
        };
        let host = plan.hosts.get_mut(&HostName::from("web1")).unwrap();
        host.steps[0].at = Some(elsewhere("lb1"));
        host.steps[1].at = Some(Endpoint::here());
        host.rollback[0].at = Some(elsewhere("lb2"));
        let touched: Vec<HostName> = plan.touched().into_iter().collect();
        assert_eq!(touched, [HostName::from("lb1"), HostName::from("lb2"), HostName::from("web1")]);
    }
}
