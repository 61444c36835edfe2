//! Plans for commands that are no tasks: checks, ad-hoc commands, drains and enables by an operator.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::checking::{ComparedHost, alone, checks_of, ids_of, made_for, snapshots};
use super::plan::{HostPlan, Plan, RunKind, World, vars_of};
use super::planner::{bare_host, everything_at_once, missing_balancer, seat};
use super::size::Sizes;
use crate::domain::ask::adhoc::{AdHoc, COPY_MODE, CopyAsk, FetchAsk};
use crate::domain::ask::command::{Command, Params, Title};
use crate::domain::ask::run_ask::{RunAsk, RunLimits, RunWork, ScriptAsk};
use crate::domain::base::name::{HostName, nearest};
use crate::domain::base::refusal::Refusal;
use crate::domain::base::shared::Shared;
use crate::domain::check::check::Check;
use crate::domain::check::id::{CheckId, Misnamed, all_named};
use crate::domain::inventory::selector::select;
use crate::domain::task::facts;
use crate::domain::task::hashbang::BY_FIRST_LINE;
use crate::domain::task::hook::Hooks;
use crate::domain::task::task::{Source, Step, StepBody, Sudo, Upload};
use crate::domain::value::param::Param;
use crate::domain::value::template::{self, Vars};

/// The name of a fetched file, in the folder of its run and host.
pub const FETCHED: &str = "file";

/// How long an ad-hoc command may run.
pub const AD_HOC_TIMEOUT: Duration = Duration::from_secs(600);

/// Plans the checks of hosts: `check prod`, `check prod http version=1.2.3`.
pub fn plan_check(
    world: &World<'_>,
    selector: &str,
    name: Option<&str>,
    params: &Params,
) -> Result<Plan, Refusal> {
    let names = select(world.inventory, selector)?;
    check_given(world, params).map_err(Refusal::usage)?;
    let asked_for = name.map(|name| checks_asked(world, selector, &names, name)).transpose()?;
    let is_asked = |check: &&Check| asked_for.as_ref().is_none_or(|ids| ids.contains(&check.id()));
    let (mut hosts, mut asked, mut sizes) = (BTreeMap::new(), Vec::new(), Sizes::default());
    for host in names.iter().filter_map(|name| world.inventory.host(name)) {
        let checks: Vec<&Check> = checks_of(world, host).into_iter().filter(is_asked).collect();
        if checks.is_empty() {
            continue;
        }
        let mut known = world.present_params(host);
        known.extend(params.clone());
        let vars = vars_of(host, world.present_task(host), &known);
        let render = |check: &Check| {
            refuse_scripts(check, params)?;
            made_for(world, host, check, &vars).map_err(|why| {
                Refusal::usage(format!("{}: check `{}`: {why}", host.name, check.id()))
                    .hint(format!("try: check {selector} NAME=VALUE"))
            })
        };
        let own = alone(&checks).into_iter().map(render).collect::<Result<Vec<_>, Refusal>>()?;
        let mut planned = HostPlan { checks: own.into(), ..bare_host(host) };
        sizes.take(&mut planned).map_err(Refusal::usage)?;
        hosts.insert(host.name.clone(), planned);
        asked.push(ComparedHost { host, checks, vars });
    }
    let names: Vec<HostName> = names.into_iter().filter(|name| hosts.contains_key(name)).collect();
    if names.is_empty() {
        let why = format!("no host of `{selector}` has checks");
        return Err(Refusal::not_found(why).hint("try: checks = [\"...\"] in its group"));
    }
    let about = [selector].into_iter().chain(name).collect::<Vec<_>>().join(" ");
    let title = Title::of_words(&format!("check {about}"), params);
    let snapshots = snapshots(world, &asked).map_err(Refusal::usage)?;
    let plan = without_rollout(world, title, RunKind::Check, names, hosts);
    Ok(Plan { snapshots, ..plan })
}

/// Plans an ad-hoc command: `run web -- uptime`.
pub fn plan_run(world: &World<'_>, asked: &RunAsk) -> Result<Plan, Refusal> {
    let body = match &asked.work {
        RunWork::Line(line) if line.trim().is_empty() => {
            return Err(Refusal::usage("there is no command behind `--`"));
        }
        RunWork::Line(line) => StepBody::Run { script: line.clone() },
        RunWork::Script(ScriptAsk { sha256, args }) => {
            let source = kept_file(world, sha256.as_ref())?;
            StepBody::Script { source, interpreter: BY_FIRST_LINE.into(), args: args.clone() }
        }
    };
    let names = select(world.inventory, &asked.selector)?;
    let hosts = same_step(world, &names, ad_hoc_step("command", body, &asked.limits))?;
    Ok(without_rollout(world, Title(asked.title()), RunKind::Run, names, hosts))
}

/// Plans a file for hosts: `copy web /etc/motd`.
pub fn plan_copy(world: &World<'_>, asked: &CopyAsk) -> Result<Plan, Refusal> {
    let source = kept_file(world, asked.sha256.as_ref())?;
    let (owner, backup) = (asked.owner.clone(), asked.backup);
    let mode = asked.mode.unwrap_or(COPY_MODE);
    let keep_mode = asked.mode.is_none();
    let upload = Upload { keep_mode, owner, backup, ..Upload::new(source, &asked.to, mode) };
    let names = select(world.inventory, &asked.selector)?;
    let hosts = same_step(world, &names, ad_hoc_step("copy", StepBody::Upload(upload), &asked.limits))?;
    Ok(without_rollout(world, Title(asked.title()), RunKind::Run, names, hosts))
}

/// Plans a file of one host: `fetch web01 /etc/motd`.
pub fn plan_fetch(world: &World<'_>, asked: &FetchAsk) -> Result<Plan, Refusal> {
    let names = select(world.inventory, &asked.host)?;
    if names.len() != 1 {
        let why = format!("`{}` selects {} hosts, and a file is fetched from one", asked.host, names.len());
        return Err(Refusal::usage(why).hint("try: a task with a step download, and then: artifacts N"));
    }
    let body = StepBody::Download { from: asked.path.clone(), to: FETCHED.into(), once: true };
    let hosts = same_step(world, &names, ad_hoc_step("fetch", body, &asked.limits))?;
    Ok(without_rollout(world, Title(asked.title()), RunKind::Run, names, hosts))
}

/// A file that was given to the command.
fn kept_file(world: &World<'_>, sha256: Option<&String>) -> Result<Source, Refusal> {
    let sha256 = sha256.ok_or_else(|| Refusal::internal("the file has not arrived"))?;
    world.files.artifact(sha256).map_err(Refusal::usage)?;
    Ok(Source::Artifact { sha256: sha256.clone() })
}

fn ad_hoc_step(name: &str, body: StepBody, limits: &RunLimits) -> Step {
    Step {
        timeout: limits.timeout.unwrap_or(AD_HOC_TIMEOUT),
        delay: Duration::ZERO,
        throttle: limits.fanout,
        sudo: if limits.sudo { Sudo::Root } else { Sudo::No },
        ..Step::new(name, body)
    }
}

/// The ad-hoc command that has planned a step, for these hosts.
pub fn run_again(step: &Step, selector: &str) -> Option<Command> {
    let limits = RunLimits {
        timeout: Some(step.timeout).filter(|time| *time != AD_HOC_TIMEOUT),
        fanout: step.throttle,
        sudo: step.sudo == Sudo::Root,
    };
    let work = match &step.body {
        StepBody::Run { script } => RunWork::Line(script.clone()),
        StepBody::Script { source: Source::Artifact { sha256 }, args, .. } => {
            RunWork::Script(ScriptAsk { sha256: Some(sha256.clone()), args: args.clone() })
        }
        StepBody::Upload(upload @ Upload { source: Source::Artifact { sha256 }, .. }) => {
            return Some(Command::AdHoc(AdHoc::Copy(CopyAsk {
                selector: selector.into(),
                to: upload.to.clone(),
                sha256: Some(sha256.clone()),
                mode: Some(upload.mode).filter(|_| !upload.keep_mode),
                owner: upload.owner.clone(),
                backup: upload.backup,
                limits,
            })));
        }
        StepBody::Download { from, .. } => {
            let asked = FetchAsk { host: selector.into(), path: from.clone(), limits };
            return Some(Command::AdHoc(AdHoc::Fetch(asked)));
        }
        StepBody::Script { .. }
        | StepBody::Upload(..)
        | StepBody::Line(..)
        | StepBody::Block(..)
        | StepBody::Link { .. }
        | StepBody::Directory { .. }
        | StepBody::Delete { .. }
        | StepBody::Package { .. }
        | StepBody::Service { .. }
        | StepBody::Archive { .. }
        | StepBody::Release(..)
        | StepBody::WaitFor { .. }
        | StepBody::Reboot { .. }
        | StepBody::Check { .. }
        | StepBody::Pause { .. }
        | StepBody::Confirm { .. }
        | StepBody::Facts { .. }
        | StepBody::Task { .. } => return None,
    };
    Some(Command::Run(RunAsk { limits, work, ..RunAsk::line(selector, "") }))
}

/// One step for all hosts.
fn same_step(
    world: &World<'_>,
    names: &[HostName],
    step: Step,
) -> Result<BTreeMap<HostName, HostPlan>, Refusal> {
    let steps = Shared::from(vec![step]);
    let mut sizes = Sizes::default();
    let hosts = names.iter().filter_map(|name| world.inventory.host(name));
    let planned = hosts.map(|host| {
        let mut planned = HostPlan { steps: steps.clone(), ..bare_host(host) };
        sizes.take(&mut planned).map_err(Refusal::usage)?;
        Ok((host.name.clone(), planned))
    });
    planned.collect()
}

/// Plans a gathering of facts: `facts prod`.
pub fn plan_facts(world: &World<'_>, selector: &str) -> Result<Plan, Refusal> {
    let names = select(world.inventory, selector)?;
    let step = facts::step(world.facts).render(&Vars::new(), world.files).map_err(Refusal::usage)?;
    let hosts = same_step(world, &names, step)?;
    let title = Title::of_task("facts", selector, &Params::new());
    Ok(without_rollout(world, title, RunKind::Facts, names, hosts))
}

fn without_rollout(
    world: &World<'_>,
    title: Title,
    kind: RunKind,
    names: Vec<HostName>,
    hosts: BTreeMap<HostName, HostPlan>,
) -> Plan {
    Plan {
        title,
        kind,
        params: Params::new(),
        goes_back: false,
        back_to: None,
        forced: false,
        needs_approval: false,
        broken_glass: None,
        proposed: None,
        repeats: None,
        because: None,
        secret_params: Some(BTreeSet::new()),
        tags: Default::default(),
        rollout: everything_at_once(),
        batches: vec![names],
        hosts,
        balancers: BTreeMap::new(),
        servers: BTreeMap::new(),
        leases: BTreeSet::new(),
        hooks: Hooks::new(),
        snapshots: Vec::new(),
        files_root: world.files_root.clone(),
    }
}

/// A viewer must not write commands: parameters of an ad-hoc check must be declared by a task,
/// match its pattern, and never replace a var of a host.
fn check_given(world: &World<'_>, given: &Params) -> Result<(), String> {
    for (name, value) in given {
        let declared: Vec<&Param> = world.tasks.values().filter_map(|task| task.params.get(name)).collect();
        let shadows = name == "host"
            || world
                .inventory
                .hosts
                .iter()
                .any(|host| host.vars.contains_key(name) || host.secrets.contains_key(name));
        if declared.is_empty() || shadows {
            return Err(format!("`{name}` is no parameter of any task, and checks take no others"));
        }
        if declared.iter().any(|param| param.secret) {
            return Err(format!(
                "a check cannot read the secret parameter `{name}`: what checks ask and see is shown"
            ));
        }
        declared.iter().try_for_each(|param| param.check(name, value))?;
    }
    Ok(())
}

/// `{{ name | script }}` makes a command of a value: only the configuration may give such a value.
fn refuse_scripts(check: &Check, given: &Params) -> Result<(), Refusal> {
    let texts = check.probe.texts();
    let scripts = texts.iter().flat_map(|(_, text)| template::script_names(text));
    match scripts.into_iter().find(|name| given.contains_key(name)) {
        Some(name) => {
            let why = format!(
                "check `{}` takes `{name}` as a command (`| script`), and a check is given no commands",
                check.id()
            );
            Err(Refusal::usage(why).hint(format!("try: {name} as a var of the hosts")))
        }
        None => Ok(()),
    }
}

/// The checks that `name` selects among those of the hosts: a check set, or one check.
fn checks_asked(
    world: &World<'_>,
    selector: &str,
    hosts: &[HostName],
    name: &str,
) -> Result<BTreeSet<CheckId>, Refusal> {
    let hosts = hosts.iter().filter_map(|name| world.inventory.host(name));
    let known = ids_of(world, hosts);
    all_named(name, &known).map_err(|misnamed| match misnamed {
        Misnamed::Ambiguous(why) => Refusal::usage(why),
        Misnamed::Unknown => {
            let known = known_names(world.checks.values().flatten());
            let guess = nearest(name, known.iter().map(String::as_str))
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let known = known.join(", ");
            Refusal::not_found(format!(
                "no host of `{selector}` has a check or set of checks `{name}`{guess} (known: {known})"
            ))
        }
    })
}

/// Check sets with their checks, as an operator may type them.
pub fn known_names<'a>(checks: impl Iterator<Item = &'a Check>) -> Vec<String> {
    let mut names = Vec::new();
    for check in checks {
        if !names.contains(&check.set) {
            names.push(check.set.clone());
        }
        names.push(check.id().to_string());
    }
    names
}

/// Plans `balancer drain web01 because ...` and `balancer enable web01`.
pub fn plan_rotation(
    world: &World<'_>,
    selector: &str,
    kind: RunKind,
    because: &str,
) -> Result<Plan, Refusal> {
    let names = select(world.inventory, selector)?;
    let (mut hosts, mut balancers) = (BTreeMap::new(), BTreeMap::new());
    for host in names.iter().filter_map(|name| world.inventory.host(name)) {
        let vars = vars_of(host, None, &Params::new());
        let seat = seat(world.inventory, host, &vars).map_err(|refusal| refusal.about(&host.name))?;
        let seat = seat.ok_or_else(|| {
            Refusal::rule(format!("{} is behind no balancer", host.name))
                .hint("try: a [GROUP.balancer] table in hosts/")
        })?;
        let of_group = world.inventory.groups.get(&seat.balancer).and_then(|group| group.balancer.clone());
        balancers.insert(seat.balancer.clone(), of_group.ok_or_else(missing_balancer)?);
        let written_off = kind == RunKind::Enable && world.written_off.contains(&host.name);
        let held = world.owed.contains(&host.name) || written_off;
        // Hosts drained by others are not ours to enable, and not every balancer reports who drained a host.
        if kind == RunKind::Enable && !held {
            continue;
        }
        hosts.insert(host.name.clone(), HostPlan { balancer: Some(seat), held, ..bare_host(host) });
    }
    if hosts.is_empty() {
        let why = format!("rollcall has taken none of `{selector}` out of rotation");
        return Err(Refusal::rule(why).hint(format!("see: debts, balancer status {selector}")));
    }
    let names: Vec<HostName> = names.into_iter().filter(|name| hosts.contains_key(name)).collect();
    let word = if kind == RunKind::Drain { "drain" } else { "enable" };
    let because = Some(because).filter(|reason| !reason.is_empty()).map(String::from);
    let words = because.as_ref().map_or_else(String::new, |reason| format!(" because {reason}"));
    let title = Title(format!("balancer {word} {selector}{words}"));
    let leases =
        names.iter().filter_map(|name| world.inventory.host(name)).map(|host| host.file().to_string());
    let leases = leases.collect();
    Ok(Plan { balancers, leases, because, ..without_rollout(world, title, kind, names, hosts) })
}
