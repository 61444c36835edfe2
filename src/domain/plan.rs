//! Plans: the immutable expansion of a command into batches, hosts and steps. Pure; `plan` prints the
//! very value that a run executes, and executing makes no choice that could be made here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::check::Check;
use super::command::{Params, Title};
use super::inventory::{Balancer, Endpoint, Host, Inventory};
use super::name::HostName;
use super::release::{Mark, Release, Taken};
use super::task::{Files, Rollout, Source, Step, Task};
use super::template::Vars;

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

    pub(super) fn present_params(&self, host: &Host) -> Params {
        self.present(&host.name).map(|taken| taken.release.params.clone()).unwrap_or_default()
    }
}

/// What a run executes. Everything is rendered but the rollback steps, which wait for `previous`:
/// what the host's link pointed to is only known when the run looks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub title: Title,
    pub kind: Kind,
    pub params: Params,
    pub rollout: Rollout,
    pub batches: Vec<Vec<HostName>>,
    pub hosts: BTreeMap<HostName, HostPlan>,
    pub balancers: BTreeMap<String, Balancer>,
    /// How many hosts of the inventory stand behind each of them, in this plan or not.
    #[serde(default)]
    pub servers: BTreeMap<String, usize>,
    /// Top-level groups that nobody else may change while this runs.
    pub leases: BTreeSet<String>,
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

/// What happens on one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostPlan {
    pub endpoint: Endpoint,
    pub steps: Vec<Step>,
    /// Templates; rendered with `vars` and `previous` when they are needed.
    pub rollback: Vec<Step>,
    pub vars: Vars,
    /// The link whose present target is looked up before anything else: `previous`.
    pub observe: Option<String>,
    /// Checks that gate the way back into rotation, and that run again after the last batch.
    pub checks: Vec<Check>,
    /// The same for a host that was rolled back: they refer to the release before.
    pub checks_back: Vec<Check>,
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

/// A host's place in a balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seat {
    pub balancer: String,
    pub server: String,
}

impl Plan {
    /// True when hosts are taken out of rotation around their steps.
    pub fn has_bracket(&self) -> bool {
        matches!(self.kind, Kind::Release { .. })
    }

    /// True when the run changes hosts by a task, and so holds leases.
    pub fn task(&self) -> Option<&str> {
        match &self.kind {
            Kind::Release { task } | Kind::Task { task } => Some(task),
            Kind::Check | Kind::Run | Kind::Facts | Kind::Drain | Kind::Enable => None,
        }
    }
}

/// What a rollback step sees: everything that the step forward saw, and `previous`.
pub fn with_previous(vars: &Vars, previous: &str) -> Vars {
    let mut vars = vars.clone();
    vars.insert("previous".into(), json!(previous));
    vars
}

/// What templates see of a host: its vars, then `host`, then the parameters.
pub fn vars_of(host: &Host, params: &Params) -> Vars {
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
    vars.extend(params.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))));
    vars
}
