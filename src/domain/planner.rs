//! Planning tasks: which hosts, in which order and batches, and what each step is on each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::check::Check;
use super::command::{Params, Title};
use super::digest::sha256_hex;
use super::inventory::{Balancer, Host, Inventory};
use super::name::{HostName, nearest};
use super::param::Param;
use super::plan::{HostPlan, Kind, Plan, Seat, World, vars_of, with_previous};
use super::release::{Need, Release, last_good, marked_bad, need};
use super::secret::{HIDDEN, Secret, SecretVars};
use super::selector::select;
use super::task::{Files, MaxFailures, Rollout, Step, StepBody, Task, batch_sizes};
use super::template::{self, Vars};

/// Plans a task: `deploy prod version=1.2.3`.
pub fn plan_task(world: &World<'_>, name: &str, selector: &str, params: &Params) -> Result<Plan, String> {
    let task = world.tasks.get(name).ok_or_else(|| unknown_task(world, name))?;
    let params = without_secrets(task, check_params(task, params)?);
    let names = hosts_of_task(world, task, selector)?;
    let each = names.into_iter().map(|name| (name, params.clone())).collect();
    plan_hosts(world, task, each, Title::of_task(name, selector, &params), params)
}

/// Plans the way back: each host to the last good release before its present one.
pub fn plan_rollback(world: &World<'_>, selector: &str) -> Result<Plan, String> {
    let mut each = Vec::new();
    let mut tasks = BTreeSet::new();
    for name in select(world.inventory, selector)? {
        let Some(history) = world.taken.get(&name) else { continue };
        let target = last_good(history, &world.marks).ok_or_else(|| {
            format!("{name}: no good release before its present one is on record; see: releases {name}")
        })?;
        tasks.insert(target.release.task.as_str());
        if let Some((name, _)) = target.release.params.iter().find(|(_, value)| *value == HIDDEN)
            && let Some(task) = world.tasks.get(&target.release.task)
        {
            return Err(not_kept(task, name));
        }
        each.push((name, target.release.params.clone()));
    }
    let tasks: Vec<&str> = tasks.into_iter().collect();
    let name = match tasks[..] {
        [one] => one,
        [] => return Err(format!("no release is on record for `{selector}`; see: releases")),
        _ => {
            return Err(format!(
                "`{selector}` has releases of several tasks ({}); take fewer hosts",
                tasks.join(", ")
            ));
        }
    };
    let task = world.tasks.get(name).ok_or_else(|| unknown_task(world, name))?;
    let title = Title(format!("rollback {}", Title::of_task("", selector, &Params::new()).0.trim()));
    plan_hosts(world, task, each, title, Params::new())
}

/// A host of a task and the parameters for it.
type Asked = (HostName, Params);

fn plan_hosts(
    world: &World<'_>,
    task: &Task,
    each: Vec<Asked>,
    title: Title,
    params: Params,
) -> Result<Plan, String> {
    let mut hosts = BTreeMap::new();
    let mut balancers = BTreeMap::new();
    for (host, params) in &each {
        refuse_marked(world, task, params)?;
        let host = world.inventory.host(host).ok_or_else(|| format!("{host}: not in the inventory"))?;
        let planned = plan_host(world, task, host, params).map_err(|why| format!("{}: {why}", host.name))?;
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
    let servers = servers_behind(world.inventory, &balancers)?;
    let task_name = task.name.clone();
    let kind = match task.rollout {
        Some(_) => Kind::Release { task: task_name },
        None => Kind::Task { task: task_name },
    };
    let rollout = task.rollout.clone().unwrap_or_else(everything_at_once);
    let mut names: Vec<HostName> = each.into_iter().map(|(name, _)| name).collect();
    names.sort_by_key(|name| hosts.get(name).map(|host| need_of(world, name, host)));
    Ok(Plan {
        title,
        kind,
        batches: into_batches(&rollout, names),
        rollout,
        params,
        hosts,
        balancers,
        servers,
        leases,
        files_root: world.files_root.clone(),
    })
}

/// How many hosts stand behind each balancer. An error where its floor would let none of them go: the run
/// would wait for room that never comes.
fn servers_behind(
    inventory: &Inventory,
    balancers: &BTreeMap<String, Balancer>,
) -> Result<BTreeMap<String, usize>, String> {
    let count =
        |name: &str| inventory.hosts.iter().filter(|host| host.balancer.as_deref() == Some(name)).count();
    let servers: BTreeMap<String, usize> = balancers.keys().map(|name| (name.clone(), count(name))).collect();
    for (name, total) in &servers {
        let floor = balancers.get(name).and_then(|balancer| balancer.min_in_service);
        let floor = floor.map_or(0, |floor| floor.of(*total));
        if floor > 0 && floor >= *total {
            return Err(format!(
                "min_in_service of `{name}` keeps {floor} of {total} hosts in service (percents round up): none of \
                 them could ever be taken out; try: a lower one in hosts/"
            ));
        }
    }
    Ok(servers)
}

/// How soon a host's turn comes; all the same for tasks that are no releases.
fn need_of(world: &World<'_>, name: &HostName, host: &HostPlan) -> Option<Need> {
    host.release.as_ref().map(|release| need(host.held, world.present(name), release))
}

fn refuse_marked(world: &World<'_>, task: &Task, params: &Params) -> Result<(), String> {
    let Some(mark) = marked_bad(&world.marks, &task.name, params) else { return Ok(()) };
    let words: String = params.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    Err(format!(
        "{}{words} is marked bad by {}: {}; if that is over: mark good {}{words} because ...",
        task.name, mark.by, mark.reason, task.name
    ))
}

pub(super) fn everything_at_once() -> Rollout {
    Rollout { max_failures: MaxFailures::Percent(100.0), watch: Duration::ZERO, ..Rollout::default() }
}

fn plan_host(world: &World<'_>, task: &Task, host: &Host, params: &Params) -> Result<HostPlan, String> {
    let vars = vars_of(host, Some(task), params);
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
    let release =
        Release { task: task.name.clone(), params: params.clone(), fingerprint: fingerprint(&steps)? };
    let held = world.owed.contains(&host.name);
    let current = need(held, world.present(&host.name), &release) == Need::Current;
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
        held,
        current,
        release: Some(release),
        ..bare_host(host)
    })
}

/// What the steps of a host would do, in short.
fn fingerprint(steps: &[Step]) -> Result<String, String> {
    let text = serde_json::to_vec(steps).map_err(|error| error.to_string())?;
    Ok(sha256_hex(&text))
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

/// The checks of a host that went back to the release before: rendered for that one, where a run has
/// recorded its parameters; otherwise only those that no parameter of the task appears in.
fn checks_back(world: &World<'_>, host: &Host, task: &Task, checks: &[&Check]) -> Vec<Check> {
    let before = world.present_params(host);
    let vars = vars_of(host, Some(task), &before);
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

pub(super) fn seat(inventory: &Inventory, host: &Host, vars: &Vars) -> Result<Option<Seat>, String> {
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
        let value = value.ok_or_else(|| needed(task, name, param))?;
        if param.secret && value == HIDDEN {
            return Err(not_kept(task, name));
        }
        param.check(name, value)?;
        params.insert(name.clone(), value.clone());
    }
    Ok(params)
}

fn needed(task: &Task, name: &str, param: &Param) -> String {
    let about =
        if param.description.is_empty() { String::new() } else { format!(" ({})", param.description) };
    format!("task `{}` needs {name}=VALUE{about}", task.name)
}

fn not_kept(task: &Task, name: &str) -> String {
    format!(
        "the parameter `{name}` of task `{}` is secret, and so nobody has kept it; try: {} SELECTOR ... {name}=VALUE",
        task.name, task.name
    )
}

/// The parameters as they may be stored and shown.
fn without_secrets(task: &Task, mut params: Params) -> Params {
    for (name, value) in &mut params {
        if task.params.get(name).is_some_and(|param| param.secret) {
            *value = HIDDEN.into();
        }
    }
    params
}

/// The secrets among the parameters that are given to a task, as far as they are there: the plan has said what
/// is wrong with them.
pub fn given_secrets(tasks: &BTreeMap<String, Task>, task: &str, given: &Params) -> SecretVars {
    let Some(task) = tasks.get(task) else { return SecretVars::new() };
    let secret = given.iter().filter(|(name, _)| task.params.get(*name).is_some_and(|param| param.secret));
    secret.filter_map(|(name, value)| Some((name.clone(), Secret::new(value.as_str()).ok()?))).collect()
}

/// The checks of a host: all, or those of a set or with a name.
pub(super) fn checks_named<'a>(world: &World<'a>, host: &Host, name: Option<&str>) -> Vec<&'a Check> {
    let sets = host.checks.iter().filter_map(|set| world.checks.get_key_value(set));
    let all = sets.flat_map(|(set, checks)| checks.iter().map(move |check| (set, check)));
    all.filter(|(set, check)| name.is_none_or(|name| *set == name || check.name == name))
        .map(|(_, check)| check)
        .collect()
}

pub(super) fn bare_host(host: &Host) -> HostPlan {
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
        release: None,
    }
}
