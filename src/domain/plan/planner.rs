//! Planning tasks: the hosts, their order and batches, and the steps of each host.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::checking::{self, alone, checks_of, made_for, snapshots};
use super::expand::{Expanded, Knowing, expand};
use super::given::{check_params, hidden_in, not_kept, secret_params, without_secrets};
use super::plan::{HostPlan, Plan, RunKind, Seat, Tags, World, secret_names, vars_of};
use super::release::{Need, Release, ReleaseTakeover, behind, good_ones, last_good, marked_bad, need};
use super::size::Sizes;
use crate::domain::ask::command::{Ask, Params, ROLLBACK, Title};
use crate::domain::ask::help::unknown_word;
use crate::domain::base::digest::sha256_hex;
use crate::domain::base::name::{HostName, nearest};
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::base::shared::Shared;
use crate::domain::check::check::Check;
use crate::domain::inventory::inventory::{Balancer, Endpoint, Host, Inventory};
use crate::domain::inventory::selector::select;
use crate::domain::task::hook::{Hook, Hooks};
use crate::domain::task::task::{MaxFailures, Rollout, Step, StepBody, Task, batch_sizes};
use crate::domain::value::template::{self, Vars};

/// Most good releases that an error names, the newest first.
const NAMED: usize = 5;

/// Plans a task: `deploy prod version=1.2.3`.
pub fn plan_task(world: &World<'_>, ask: &Ask) -> Result<Plan, Refusal> {
    let task = world.tasks.get(&ask.task).ok_or_else(|| unknown_task(world, &ask.task))?;
    check_tags(world, task, &ask.tags).map_err(Refusal::usage)?;
    let params = without_secrets(task, check_params(task, &ask.params)?);
    let names = hosts_of_task(world, task, &ask.selector)?;
    let each = names.into_iter().map(|name| (name, params.clone())).collect();
    let title = Title::of_task(&ask.task, &ask.selector, &params).with_tags(&ask.tags).forced(ask.force);
    let mut plan = plan_hosts(world, &TaskSelection { task, tags: &ask.tags }, each, title, params)?;
    if ask.force {
        plan.forced = true;
        plan.hosts.values_mut().for_each(|host| host.current = false);
    }
    Ok(plan)
}

/// Plans a dry run of a task: all hosts at once, and no balancer.
pub fn plan_dry_run(world: &World<'_>, ask: &Ask) -> Result<Plan, Refusal> {
    let plan = plan_task(world, ask)?;
    let names: Vec<HostName> = plan.batches.into_iter().flatten().collect();
    let bare = |host: HostPlan| HostPlan {
        rollback: Shared::default(),
        checks: Shared::default(),
        checks_back: Shared::default(),
        balancer: None,
        current: false,
        release: None,
        ..host
    };
    Ok(Plan {
        title: Title(format!("{} --check", plan.title.0)),
        kind: RunKind::DryRun { task: ask.task.clone() },
        rollout: everything_at_once(),
        batches: vec![names],
        hosts: plan.hosts.into_iter().map(|(name, host)| (name, bare(host))).collect(),
        balancers: BTreeMap::new(),
        servers: BTreeMap::new(),
        leases: BTreeSet::new(),
        hooks: Hooks::new(),
        snapshots: Vec::new(),
        ..plan
    })
}

/// A task, and the selection of its steps.
struct TaskSelection<'a> {
    task: &'a Task,
    tags: &'a Tags,
}

/// A tag that no step has is a typing error.
fn check_tags(world: &World<'_>, task: &Task, tags: &Tags) -> Result<(), String> {
    let mut known = BTreeSet::from(["always".to_string()]);
    let mut tasks = vec![task];
    let mut seen = BTreeSet::new();
    while let Some(task) = tasks.pop().filter(|task| seen.insert(task.name.clone())) {
        for written in &task.steps {
            known.extend(written.tags.iter().cloned());
            if let StepBody::Task { name, .. } = &written.step.body {
                tasks.extend(world.tasks.get(name));
            }
        }
    }
    let Some(unknown) = tags.only.union(&tags.skip).find(|tag| !known.contains(*tag)) else { return Ok(()) };
    let guess = nearest(unknown, known.iter().map(String::as_str))
        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    Err(format!("no step of task `{}` has the tag `{unknown}`{guess}", task.name))
}

/// Plans a rollback: each host to the last good release before its present one, or to the one that `to` names. Without
/// `to`, a host that the newest release has not reached stays as it is.
pub fn plan_rollback(world: &World<'_>, selector: &str, to: Option<&str>) -> Result<Plan, Refusal> {
    let mut each = Vec::new();
    let mut tasks = BTreeSet::new();
    let names = select(world.inventory, selector)?;
    let histories: Vec<(&HostName, &[ReleaseTakeover])> =
        names.iter().filter_map(|name| Some((name, world.taken.get(name)?.as_slice()))).collect();
    let behind = if to.is_none() { behind(histories.iter().copied(), &world.marks) } else { BTreeSet::new() };
    for (name, history) in histories {
        let present = history.first().filter(|_| behind.contains(name));
        let target = present
            .map_or_else(|| target_of(world, history, to), Ok)
            .map_err(|why| Refusal::rule(format!("{name}: {why}")).hint(format!("see: releases {name}")))?;
        tasks.insert(target.release.task.as_str());
        if let Some(task) = world.tasks.get(&target.release.task)
            && let Some(name) = hidden_in(&task.params, &target.release.params)
        {
            return Err(not_kept(task, name));
        }
        each.push((name.clone(), target.release.params.clone()));
    }
    let tasks: Vec<&str> = tasks.into_iter().collect();
    let name = match tasks[..] {
        [one] => one,
        [] => {
            let why = format!("no release is on record for `{selector}`");
            let hint =
                "a task sets one with a `release` or `link` step, or with `release = true`; see: releases";
            return Err(Refusal::rule(why).hint(hint));
        }
        _ => {
            let why = format!("`{selector}` has releases of several tasks ({})", tasks.join(", "));
            return Err(Refusal::usage(why).hint("take fewer hosts"));
        }
    };
    let task = world.tasks.get(name).ok_or_else(|| unknown_task(world, name))?;
    let given = to.map(|to| ("to".to_string(), to.to_string())).into_iter().collect();
    let title = Title::of_task(ROLLBACK, selector, &given);
    let plan =
        plan_hosts(world, &TaskSelection { task, tags: &Tags::default() }, each, title, Params::new())?;
    if let Some(to) = to.filter(|_| plan.hosts.values().all(|host| host.current)) {
        let why = format!("every host of `{selector}` is on the release `{to}` already");
        return Err(Refusal::rule(why).hint(format!("see: releases {selector}")));
    }
    Ok(Plan { goes_back: true, back_to: to.map(String::from), ..plan })
}

/// The release that a host goes back to.
fn target_of<'w>(
    world: &World<'_>,
    history: &'w [ReleaseTakeover],
    to: Option<&str>,
) -> Result<&'w ReleaseTakeover, String> {
    let Some(to) = to else {
        let none = || "no good release before its present one is on record".to_string();
        return last_good(history, &world.marks).ok_or_else(none);
    };
    let good = good_ones(history, &world.marks);
    let by: BTreeSet<&str> = good.iter().filter_map(|taken| taken.release.is_called(to)).collect();
    if by.len() > 1 {
        let names: Vec<&str> = by.into_iter().collect();
        return Err(format!(
            "`{to}` is the value of several parameters; write to={}={to}",
            names.join("=... or to=")
        ));
    }
    good.iter().find(|taken| taken.release.is_called(to).is_some()).copied().ok_or_else(|| {
        let words: Vec<String> = good.iter().take(NAMED).map(|taken| taken.release.words()).collect();
        match words.is_empty() {
            true => format!("no good release `{to}` is on record, and no other one"),
            false => format!("no good release `{to}` is on record; the good ones are: {}", words.join(", ")),
        }
    })
}

/// A host of a task and the parameters for it.
type HostParams = (HostName, Params);

fn plan_hosts(
    world: &World<'_>,
    wanted: &TaskSelection<'_>,
    each: Vec<HostParams>,
    title: Title,
    params: Params,
) -> Result<Plan, Refusal> {
    let task = wanted.task;
    let mut hosts = BTreeMap::new();
    let mut balancers = BTreeMap::new();
    let mut sizes = Sizes::default();
    for (host, params) in &each {
        refuse_marked(world, task, params)?;
        let host = world
            .inventory
            .host(host)
            .ok_or_else(|| Refusal::not_found(format!("{host}: not in the inventory")))?;
        let mut planned =
            plan_host(world, wanted, host, params).map_err(|refusal| refusal.about(&host.name))?;
        sizes.take(&mut planned).map_err(Refusal::usage)?;
        if let Some(seat) = &planned.balancer {
            let balancer =
                world.inventory.groups.get(&seat.balancer).and_then(|group| group.balancer.clone());
            balancers.insert(seat.balancer.clone(), balancer.ok_or_else(missing_balancer)?);
        }
        hosts.insert(host.name.clone(), planned);
    }
    let elsewhere = hosts.values().flat_map(HostPlan::places);
    let touched: BTreeSet<&HostName> = hosts.keys().chain(elsewhere.map(|at| &at.name)).collect();
    let leases = touched
        .into_iter()
        .filter_map(|name| world.inventory.host(name))
        .map(|host| host.file().to_string())
        .collect();
    let servers = servers_behind(world.inventory, &balancers)?;
    // In a rollback every host has its own parameters; the hooks use those of the first host.
    let hooks = plan_hooks(world, task, each.first().map_or(&params, |(_, params)| params));
    let hooks = hooks.map_err(Refusal::usage)?;
    let snapshots = match task.rollout {
        Some(_) => snapshots(world, &compared(world, task, &each)).map_err(Refusal::usage)?,
        None => Vec::new(),
    };
    let rollout = task.rollout.clone().unwrap_or_else(everything_at_once);
    let mut names: Vec<HostName> = each.into_iter().map(|(name, _)| name).collect();
    names.sort_by_key(|name| hosts.get(name).map(|host| need_of(world, name, host)));
    Ok(Plan {
        title,
        kind: kind_of(task),
        batches: into_batches(&rollout, names),
        rollout,
        goes_back: false,
        back_to: None,
        forced: false,
        needs_approval: false,
        broken_glass: None,
        proposed: None,
        repeats: None,
        because: None,
        secret_params: Some(secret_params(task)),
        params,
        tags: wanted.tags.clone(),
        hosts,
        balancers,
        servers,
        leases,
        hooks,
        snapshots,
        files_root: world.files_root.clone(),
    })
}

fn kind_of(task: &Task) -> RunKind {
    let name = task.name.clone();
    match task.rollout {
        Some(_) => RunKind::Release { task: name },
        None => RunKind::Task { task: name },
    }
}

/// The checks across hosts, rendered for the releases that this plan deploys.
fn compared<'a>(world: &World<'a>, task: &Task, each: &[HostParams]) -> Vec<checking::ComparedHost<'a>> {
    let asked = each.iter().filter_map(|(name, params)| Some((world.inventory.host(name)?, params)));
    let asked = asked.map(|(host, params)| checking::ComparedHost {
        host,
        checks: checks_of(world, host),
        vars: vars_of(host, Some(task), params),
    });
    asked.collect()
}

/// The steps of the hooks: they see the task's vars, the parameters, and secrets when they are due.
fn plan_hooks(world: &World<'_>, task: &Task, params: &Params) -> Result<Hooks, String> {
    let mut vars = task.vars.clone();
    let given = |(name, text): (&String, &String)| Some((name.clone(), task.params.get(name)?.value(text)));
    vars.extend(params.iter().filter_map(given));
    let secret = task.params.iter().filter(|(_, param)| param.secret).map(|(name, _)| name);
    let secrets: BTreeSet<String> = task.secrets.keys().chain(secret).cloned().collect();
    let plan = |hook: Hook, step: &Step| {
        let step = Step { vars: vars.clone(), at: Some(Endpoint::here()), ..step.clone() };
        let planned = match step.speaks_of(&secrets) {
            true => step.with_source(&vars, world.files),
            false => step.render(&vars, world.files).map(|step| Step { vars: Vars::new(), ..step }),
        };
        planned.map_err(|why| format!("hook {}: step `{}`: {why}", hook.word(), step.name))
    };
    let all = task.hooks.iter().map(|(hook, steps)| {
        Ok((*hook, steps.iter().map(|step| plan(*hook, step)).collect::<Result<_, String>>()?))
    });
    all.collect()
}

/// How many hosts are behind each balancer. An error if `min_in_service` would let none of them be drained:
/// the run would wait forever for room.
fn servers_behind(
    inventory: &Inventory,
    balancers: &BTreeMap<String, Balancer>,
) -> Result<BTreeMap<String, usize>, Refusal> {
    let count =
        |name: &str| inventory.hosts.iter().filter(|host| host.balancer.as_deref() == Some(name)).count();
    let servers: BTreeMap<String, usize> = balancers.keys().map(|name| (name.clone(), count(name))).collect();
    for (name, total) in &servers {
        let floor = balancers.get(name).map_or(0, |balancer| balancer.demanded_of(*total));
        if floor > 0 && floor >= *total {
            let why = format!(
                "min_in_service of `{name}` keeps {floor} of {total} hosts in service (percents round up): none of \
                 them could ever be taken out"
            );
            return Err(Refusal::rule(why).hint("try: a lower one in hosts/"));
        }
    }
    Ok(servers)
}

/// The urgency of a host's turn; the same for all hosts of tasks that are no releases.
fn need_of(world: &World<'_>, name: &HostName, host: &HostPlan) -> Option<Need> {
    host.release.as_ref().map(|release| need(host.held, world.present(name), release))
}

fn refuse_marked(world: &World<'_>, task: &Task, params: &Params) -> Result<(), Refusal> {
    let Some(mark) = marked_bad(&world.marks, &task.name, params) else { return Ok(()) };
    let words: String = params.iter().map(|(name, value)| format!(" {name}={value}")).collect();
    let why = format!("{}{words} is marked bad by {}: {}", task.name, mark.by, mark.reason);
    let hint = format!("if that is over: mark good {}{words} because ...", task.name);
    Err(Refusal::rule(why).hint(hint))
}

pub(super) fn everything_at_once() -> Rollout {
    Rollout { max_failures: MaxFailures::Percent(100.0), watch: Duration::ZERO, ..Rollout::default() }
}

fn plan_host(
    world: &World<'_>,
    wanted: &TaskSelection<'_>,
    host: &Host,
    params: &Params,
) -> Result<HostPlan, Refusal> {
    let task = wanted.task;
    let vars = vars_of(host, Some(task), params);
    let knowing = Knowing { tags: wanted.tags, later: secret_names(host, task) };
    let Expanded { steps, rollback } = expand(world, task, &vars, knowing)?;
    if task.rollout.is_none() {
        let needs_vars = steps.iter().any(|step| step.late || !step.expressions().is_empty());
        let vars = if needs_vars { vars } else { Vars::new() };
        return Ok(HostPlan { steps: steps.into(), vars: vars.into(), ..bare_host(host) });
    }
    let checks = alone(&checks_of(world, host));
    let named = |check: &Check, vars: &Vars| {
        made_for(world, host, check, vars)
            .map_err(|why| Refusal::usage(format!("check `{}`: {why}", check.id())))
    };
    let checks_back = checks_back(world, host, task, &checks);
    let release =
        Release { task: task.name.clone(), params: params.clone(), fingerprint: fingerprint(&steps)? };
    let observe = steps.iter().find_map(|step| link_at(step, &vars));
    // A restart sets no release: it is done each time. With steps left out the record would not say what the host has.
    let sets_release = task.release.unwrap_or(observe.is_some()) && !wanted.tags.leave_out_some();
    let release = Some(release).filter(|_| sets_release);
    let expected = expected_by_checks(world, host, task, &vars, observe.is_some());
    let held = world.owed.contains(&host.name);
    let current = release
        .as_ref()
        .is_some_and(|release| need(held, world.present(&host.name), release) == Need::Current);
    Ok(HostPlan {
        observe,
        rollback: rollback.into(),
        checks: checks
            .iter()
            .map(|check| named(check, &expected))
            .collect::<Result<Vec<_>, Refusal>>()?
            .into(),
        checks_back: checks_back.into(),
        balancer: seat(world.inventory, host, &vars)?,
        vars: vars.into(),
        steps: steps.into(),
        held,
        current,
        release,
        ..bare_host(host)
    })
}

/// The variables of the checks: a task that sets no release leaves the present one, whose parameters the checks expect.
fn expected_by_checks(world: &World<'_>, host: &Host, task: &Task, vars: &Vars, links: bool) -> Vars {
    if task.release.unwrap_or(links) {
        return vars.clone();
    }
    let mut expected = vars_of(host, Some(task), &world.present_params(host));
    expected.extend(vars.clone());
    expected
}

/// The path of a step's link, if it is known before the run; its target need not be.
fn link_at(step: &Step, vars: &Vars) -> Option<String> {
    let (_, at) = step.body.link()?;
    if step.late { template::text(&at, vars).ok() } else { Some(at) }
}

/// A digest of the steps of a host.
fn fingerprint(steps: &[Step]) -> Result<String, Refusal> {
    let text = serde_json::to_vec(steps).map_err(|error| Refusal::internal(error.to_string()))?;
    Ok(sha256_hex(&text))
}

/// The checks of a host that went back to the release before: rendered with the recorded parameters of
/// that release; without a record, only those that use no parameter of the task.
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
    usable.filter_map(|check| made_for(world, host, check, &vars).ok()).collect()
}

pub(super) fn seat(inventory: &Inventory, host: &Host, vars: &Vars) -> Result<Option<Seat>, Refusal> {
    let Some(name) = &host.balancer else { return Ok(None) };
    let balancer = inventory.groups.get(name).and_then(|group| group.balancer.as_ref());
    let Some(balancer) = balancer else {
        let why = "is behind the balancer of a group that you may not see; nothing was planned";
        return Err(Refusal::new(Cause::NotAllowed, why));
    };
    let server = template::text(&balancer.server, vars)
        .map_err(|why| Refusal::usage(format!("balancer `{name}`: `server`: {why}")))?;
    Ok(Some(Seat { balancer: name.clone(), server }))
}

fn into_batches(rollout: &Rollout, names: Vec<HostName>) -> Vec<Vec<HostName>> {
    let sizes = batch_sizes(&rollout.serial, names.len());
    let mut names = names.into_iter();
    sizes.into_iter().map(|size| names.by_ref().take(size).collect()).collect()
}

fn hosts_of_task(world: &World<'_>, task: &Task, selector: &str) -> Result<Vec<HostName>, Refusal> {
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
        return Err(Refusal::not_found(format!(
            "task `{}` works on `{within}`, and `{selector}` holds none of these hosts{why}",
            task.name
        )));
    }
    Ok(names)
}

fn unknown_task(world: &World<'_>, name: &str) -> Refusal {
    unknown_word(name, world.tasks.keys().map(String::as_str))
}

/// A group that a host names has no balancer: the configuration does not allow that.
pub(super) fn missing_balancer() -> Refusal {
    Refusal::internal("a balancer went missing from its group")
}

pub(super) fn bare_host(host: &Host) -> HostPlan {
    HostPlan::bare(host.endpoint.clone())
}
