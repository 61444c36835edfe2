//! Plans: the immutable expansion of a command into batches, hosts and steps. Pure; `plan` prints the
//! very value that a run executes, and executing makes no choice that could be made here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::check::Check;
use super::command::{Params, Title};
use super::inventory::{Balancer, Endpoint, Host, Inventory};
use super::name::{HostName, nearest};
use super::selector::select;
use super::task::{Files, MaxFailures, Param, Rollout, Step, StepBody, Sudo, Task, batch_sizes};
use super::template::{self, Vars};

/// How long an ad-hoc command may run.
pub const AD_HOC_TIMEOUT: Duration = Duration::from_secs(600);

/// Everything that planning reads. Nothing else influences a plan.
pub struct World<'a> {
    /// As far as the operator may see it.
    pub inventory: &'a Inventory,
    pub tasks: &'a BTreeMap<String, Task>,
    /// By set: the name of the file in `checks/`.
    pub checks: &'a BTreeMap<String, Vec<Check>>,
    pub files: &'a dyn Files,
    /// Where `files/` is.
    pub files_root: PathBuf,
    /// The parameters of the last release that each host took over: what its checks refer to.
    pub released: BTreeMap<HostName, Params>,
    /// Hosts with an open debt.
    pub owed: BTreeSet<HostName>,
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
            Kind::Check | Kind::Run | Kind::Drain | Kind::Enable => None,
        }
    }
}

/// Plans a task: `deploy prod version=1.2.3`.
pub fn plan_task(world: &World<'_>, name: &str, selector: &str, params: &Params) -> Result<Plan, String> {
    let task = world.tasks.get(name).ok_or_else(|| unknown_task(world, name))?;
    let params = check_params(task, params)?;
    let names = hosts_of_task(world, task, selector)?;
    let mut hosts = BTreeMap::new();
    let mut balancers = BTreeMap::new();
    for host in &names {
        let host = world.inventory.host(host).ok_or_else(|| format!("{host}: not in the inventory"))?;
        let planned = plan_host(world, task, host, &params).map_err(|why| format!("{}: {why}", host.name))?;
        if let Some(seat) = &planned.balancer {
            let balancer =
                world.inventory.groups.get(&seat.balancer).and_then(|group| group.balancer.clone());
            balancers
                .insert(seat.balancer.clone(), balancer.ok_or("a balancer went missing from its group")?);
        }
        hosts.insert(host.name.clone(), planned);
    }
    let leases = hosts
        .keys()
        .filter_map(|name| world.inventory.host(name))
        .map(|host| host.file().to_string())
        .collect();
    let kind = match task.rollout {
        Some(_) => Kind::Release { task: name.into() },
        None => Kind::Task { task: name.into() },
    };
    let rollout = task.rollout.clone().unwrap_or_else(everything_at_once);
    Ok(Plan {
        title: Title::of_task(name, selector, &params),
        kind,
        batches: into_batches(&rollout, names),
        rollout,
        params,
        hosts,
        balancers,
        leases,
        files_root: world.files_root.clone(),
    })
}

/// Plans the checks of hosts: `check prod`, `check prod http version=1.2.3`.
pub fn plan_check(
    world: &World<'_>,
    selector: &str,
    name: Option<&str>,
    params: &Params,
) -> Result<Plan, String> {
    let names = select(world.inventory, selector)?;
    check_given(world, params)?;
    let mut hosts = BTreeMap::new();
    for host in names.iter().filter_map(|name| world.inventory.host(name)) {
        let checks = checks_named(world, host, name);
        if checks.is_empty() {
            continue;
        }
        let mut known = world.released.get(&host.name).cloned().unwrap_or_default();
        known.extend(params.clone());
        let vars = vars_of(host, &known);
        let render = |check: &Check| {
            check.render(&vars).map_err(|why| {
                format!("{}: check `{}`: {why}; try: check {selector} NAME=VALUE", host.name, check.name)
            })
        };
        let checks = checks.into_iter().map(render).collect::<Result<_, String>>()?;
        let planned = HostPlan { checks, ..bare_host(host) };
        hosts.insert(host.name.clone(), planned);
    }
    let names: Vec<HostName> = names.into_iter().filter(|name| hosts.contains_key(name)).collect();
    if names.is_empty() {
        return Err(no_checks(world, selector, name));
    }
    let title =
        Title::of_task("check", &[selector].into_iter().chain(name).collect::<Vec<_>>().join(" "), params);
    Ok(without_rollout(world, Title(title.0.replace('\'', "")), Kind::Check, names, hosts))
}

/// Plans an ad-hoc command: `run web -- uptime`.
pub fn plan_run(world: &World<'_>, selector: &str, script: &str) -> Result<Plan, String> {
    if script.trim().is_empty() {
        return Err("there is no command behind `--`".into());
    }
    let names = select(world.inventory, selector)?;
    let step = Step {
        name: "command".into(),
        body: StepBody::Run { script: script.into(), dir: None, env: BTreeMap::new() },
        creates: None,
        unless: None,
        timeout: AD_HOC_TIMEOUT,
        retries: 0,
        delay: Duration::ZERO,
        warn_only: false,
        sudo: Sudo::No,
    };
    let hosts = names.iter().filter_map(|name| world.inventory.host(name));
    let hosts = hosts
        .map(|host| (host.name.clone(), HostPlan { steps: vec![step.clone()], ..bare_host(host) }))
        .collect();
    let title = Title(format!("run {selector} -- {script}"));
    Ok(without_rollout(world, title, Kind::Run, names, hosts))
}

fn without_rollout(
    world: &World<'_>,
    title: Title,
    kind: Kind,
    names: Vec<HostName>,
    hosts: BTreeMap<HostName, HostPlan>,
) -> Plan {
    Plan {
        title,
        kind,
        params: Params::new(),
        rollout: everything_at_once(),
        batches: vec![names],
        hosts,
        balancers: BTreeMap::new(),
        leases: BTreeSet::new(),
        files_root: world.files_root.clone(),
    }
}

fn everything_at_once() -> Rollout {
    Rollout { max_failures: MaxFailures::Percent(100.0), watch: Duration::ZERO, ..Rollout::default() }
}

fn bare_host(host: &Host) -> HostPlan {
    HostPlan {
        endpoint: host.endpoint.clone(),
        steps: vec![],
        rollback: vec![],
        vars: Vars::new(),
        observe: None,
        checks: vec![],
        checks_back: vec![],
        balancer: None,
        held: false,
        current: false,
    }
}

fn plan_host(world: &World<'_>, task: &Task, host: &Host, params: &Params) -> Result<HostPlan, String> {
    let vars = vars_of(host, params);
    let render =
        |step: &Step| step.render(&vars, world.files).map_err(|why| format!("step `{}`: {why}", step.name));
    let steps: Vec<Step> = task.steps.iter().map(render).collect::<Result<_, String>>()?;
    if task.rollout.is_none() {
        return Ok(HostPlan { steps, ..bare_host(host) });
    }
    let checks = checks_named(world, host, None);
    let named = |check: &Check, vars: &Vars| {
        check.render(vars).map_err(|why| format!("check `{}`: {why}", check.name))
    };
    let checks_back = checks_back(world, host, task, &checks);
    Ok(HostPlan {
        observe: steps.iter().find_map(|step| match &step.body {
            StepBody::Link { at, .. } => Some(at.clone()),
            _ => None,
        }),
        rollback: rehearse_rollback(task, &vars, world.files)?,
        checks: checks.iter().map(|check| named(check, &vars)).collect::<Result<_, String>>()?,
        checks_back,
        balancer: seat(world.inventory, host, &vars)?,
        vars,
        steps,
        held: world.owed.contains(&host.name),
        ..bare_host(host)
    })
}

/// The rollback steps with their files put in, after a rendering that proves that nothing but
/// `previous` is missing.
fn rehearse_rollback(task: &Task, vars: &Vars, files: &dyn Files) -> Result<Vec<Step>, String> {
    let rehearse = |step: &Step| {
        step.render(&with_previous(vars, "previous"), files)?;
        step.with_source(vars, files)
    };
    let named = |step: &Step| rehearse(step).map_err(|why| format!("rollback step `{}`: {why}", step.name));
    task.rollback.iter().map(named).collect()
}

/// What a rollback step sees: everything that the step forward saw, and `previous`.
pub fn with_previous(vars: &Vars, previous: &str) -> Vars {
    let mut vars = vars.clone();
    vars.insert("previous".into(), json!(previous));
    vars
}

/// The checks of a host that went back to the release before: rendered for that one, where a run has
/// recorded its parameters; otherwise only those that no parameter of the task appears in.
fn checks_back(world: &World<'_>, host: &Host, task: &Task, checks: &[&Check]) -> Vec<Check> {
    let before = world.released.get(&host.name).cloned().unwrap_or_default();
    let vars = vars_of(host, &before);
    let speaks_of_params = |check: &&&Check| {
        check.texts().iter().any(|text| {
            template::names_used(text)
                .iter()
                .any(|name| task.params.contains_key(name) && !before.contains_key(name))
        })
    };
    let usable = checks.iter().filter(|check| !speaks_of_params(check));
    usable.filter_map(|check| check.render(&vars).ok()).collect()
}

fn seat(inventory: &Inventory, host: &Host, vars: &Vars) -> Result<Option<Seat>, String> {
    let Some(name) = &host.balancer else { return Ok(None) };
    let balancer = inventory.groups.get(name).and_then(|group| group.balancer.as_ref());
    let Some(balancer) = balancer else {
        return Err(format!(
            "stands behind the balancer of `{name}`, which you may not see; nothing was planned"
        ));
    };
    let server = template::text(&balancer.server, vars)
        .map_err(|why| format!("balancer `{name}`: `server`: {why}"))?;
    Ok(Some(Seat { balancer: name.clone(), server }))
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

fn into_batches(rollout: &Rollout, names: Vec<HostName>) -> Vec<Vec<HostName>> {
    let sizes = batch_sizes(&rollout.serial, names.len());
    let mut names = names.into_iter();
    sizes.into_iter().map(|size| names.by_ref().take(size).collect()).collect()
}

fn hosts_of_task(world: &World<'_>, task: &Task, selector: &str) -> Result<Vec<HostName>, String> {
    let asked = select(world.inventory, selector)?;
    let Some(within) = &task.hosts else { return Ok(asked) };
    let files: BTreeSet<&str> =
        asked.iter().filter_map(|name| world.inventory.host(name)).map(Host::file).collect();
    let mut picked = BTreeSet::new();
    let mut error = None;
    for file in files {
        let one = world.inventory.visible_to(Some(&BTreeSet::from([file.to_string()])));
        match select(&one, within) {
            Ok(hosts) => picked.extend(hosts),
            Err(why) => error = Some(why),
        }
    }
    let names: Vec<HostName> = asked.into_iter().filter(|name| picked.contains(name)).collect();
    if names.is_empty() {
        let why = error.map_or_else(String::new, |why| format!(": {why}"));
        return Err(format!(
            "task `{}` works on `{within}`, and `{selector}` holds none of these hosts{why}",
            task.name
        ));
    }
    Ok(names)
}

fn unknown_task(world: &World<'_>, name: &str) -> String {
    let known = world.tasks.keys().map(String::as_str);
    let mut names: Vec<String> = super::command::built_in_names();
    names.extend(known.clone().map(String::from));
    let guess = nearest(name, names.iter().map(String::as_str))
        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    let known: Vec<&str> = known.collect();
    format!("no task or command is called `{name}`{guess} (tasks: {}; commands: help)", known.join(", "))
}

fn check_params(task: &Task, given: &Params) -> Result<Params, String> {
    if let Some(name) = given.keys().find(|name| !task.params.contains_key(*name)) {
        let known: Vec<&str> = task.params.keys().map(String::as_str).collect();
        let guess = nearest(name, known.iter().copied())
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        return Err(format!(
            "task `{}` has no parameter `{name}`{guess} (known: {})",
            task.name,
            known.join(", ")
        ));
    }
    let mut params = Params::new();
    for (name, param) in &task.params {
        let value = given.get(name).or(param.default.as_ref());
        let value = value.ok_or_else(|| format!("task `{}` needs {name}=VALUE", task.name))?;
        if let Some(pattern) = &param.pattern {
            check_pattern(name, value, pattern)?;
        }
        params.insert(name.clone(), value.clone());
    }
    Ok(params)
}

/// Whoever may only look must not write commands: what checks are told ad hoc are parameters that some
/// task declares, of the form that it demands, and never a var of a host.
fn check_given(world: &World<'_>, given: &Params) -> Result<(), String> {
    for (name, value) in given {
        let declared: Vec<&Param> = world.tasks.values().filter_map(|task| task.params.get(name)).collect();
        let shadows = name == "host" || world.inventory.hosts.iter().any(|host| host.vars.contains_key(name));
        if declared.is_empty() || shadows {
            return Err(format!("`{name}` is no parameter of any task, and checks are told nothing else"));
        }
        for pattern in declared.iter().filter_map(|param| param.pattern.as_ref()) {
            check_pattern(name, value, pattern)?;
        }
    }
    Ok(())
}

fn check_pattern(name: &str, value: &str, pattern: &str) -> Result<(), String> {
    let regex =
        Regex::new(&format!("^(?:{pattern})$")).map_err(|error| format!("param `{name}`: {error}"))?;
    match regex.is_match(value) {
        true => Ok(()),
        false => Err(format!("{name}={value} does not match {pattern}")),
    }
}

/// The checks of a host: all, or those of a set or with a name.
fn checks_named<'a>(world: &World<'a>, host: &Host, name: Option<&str>) -> Vec<&'a Check> {
    let sets = host.checks.iter().filter_map(|set| world.checks.get_key_value(set));
    let all = sets.flat_map(|(set, checks)| checks.iter().map(move |check| (set, check)));
    all.filter(|(set, check)| name.is_none_or(|name| *set == name || check.name == name))
        .map(|(_, check)| check)
        .collect()
}

fn no_checks(world: &World<'_>, selector: &str, name: Option<&str>) -> String {
    let Some(name) = name else {
        return format!("no host of `{selector}` has checks; try: checks = [\"...\"] in its group");
    };
    let known = world.checks.iter().flat_map(|(set, checks)| {
        std::iter::once(set.as_str()).chain(checks.iter().map(|check| check.name.as_str()))
    });
    let known: Vec<&str> = known.collect();
    let guess = nearest(name, known.iter().copied())
        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    format!(
        "no host of `{selector}` has a check or set of checks `{name}`{guess} (known: {})",
        known.join(", ")
    )
}
