//! `plan`: a preview of a run.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::own::DifferingVars;
use super::steps::{probe, step};
use super::table::{alike, folded};
use crate::domain::base::name::{HostName, count};
use crate::domain::plan::plan::{HostPlan, Plan};
use crate::domain::task::task::{Hook, MaxFailures, OnFailure, PauseUntil};

/// `plan`: batches, and the steps of each host; hosts with the same steps are printed once.
pub fn plan(plan: &Plan) -> String {
    let mut text = format!("plan: {}\n", plan.title.0);
    let hosts = count(plan.hosts.len(), "host");
    if plan.has_bracket() {
        _ = writeln!(
            text,
            "{hosts}, {}; {}; {}",
            count(plan.batches.len(), "batch"),
            failed_host(plan.rollout.on_failure),
            budget(plan.rollout.max_failures, Some(plan.hosts.len())),
        );
    } else {
        _ = writeln!(text, "{hosts}, all at once; no balancer is touched");
    }
    if plan.needs_approval {
        text.push_str("nothing starts until another person has approved it\n");
    }
    text.push_str(&targets(plan));
    text.push_str(&unchanged(plan));
    for (at, batch) in plan.batches.iter().enumerate() {
        _ = writeln!(
            text,
            "  batch {}: {} ({}){}",
            at + 1,
            folded(batch),
            batch.len(),
            capacity(plan, batch)
        );
        if let Some(pause) = plan.rollout.pause_after.filter(|pause| pause.batch == at + 1) {
            _ = writeln!(text, "  pause: {}", pause_word(pause.until));
        }
    }
    let order = plan.batches.iter().flatten().filter_map(|name| plan.hosts.get_key_value(name));
    let own = DifferingVars::of(plan);
    let texts = order.map(|(name, host)| (host_plan(plan, host), (name, host)));
    let texts: Vec<_> = alike(texts).into_iter().collect();
    let named = texts.iter().map(|(what, hosts)| {
        let named = own.named(hosts[0].1, what);
        // A value that is another one's own on a host with the same text stays as it is.
        let all_agree = hosts.iter().all(|(_, host)| own.named(host, what) == named);
        (if all_agree { named } else { (what.clone(), BTreeSet::new()) }, (what, hosts))
    });
    for ((named, values), same) in alike(named) {
        let hosts = same.iter().flat_map(|(_, hosts)| hosts.iter().map(|(name, _)| *name));
        _ = writeln!(text, "on {}:", folded(hosts));
        match same[..] {
            [(what, _)] => text.push_str(what),
            _ => {
                text.push_str(&named);
                let values: Vec<String> = values.iter().map(|name| format!("{{{{ {name} }}}}")).collect();
                _ = writeln!(
                    text,
                    "  each host has its own {}; for one host's: plan ... HOST",
                    values.join(", ")
                );
            }
        }
    }
    for (hook, steps) in &plan.hooks {
        let when = match hook {
            Hook::Before => "before all of it",
            Hook::After => "when all hosts are well",
            Hook::OnFailure => "when they are not",
            Hook::Finally => "at the very end",
        };
        _ = writeln!(text, "hook {}, {when}:", hook.word());
        steps.iter().for_each(|one| _ = writeln!(text, "  {}", step(one)));
    }
    text
}

/// The releases that the hosts of a rollback go back to.
pub fn targets(plan: &Plan) -> String {
    if !plan.goes_back {
        return String::new();
    }
    let releases = plan.hosts.iter().filter_map(|(name, host)| Some((host.release.as_ref()?.words(), name)));
    let each = alike(releases).into_iter();
    each.map(|(words, hosts)| format!("back to {words}: {}\n", folded(hosts))).collect()
}

/// The hosts that the run will leave as they are.
fn unchanged(plan: &Plan) -> String {
    let hosts: Vec<&HostName> =
        plan.hosts.iter().filter(|(_, host)| host.current).map(|(name, _)| name).collect();
    if hosts.is_empty() {
        return String::new();
    }
    let how = if plan.goes_back { "" } else { "; to deploy all the same: --force" };
    format!("unchanged, if in rotation and checks pass: {} (on this release already{how})\n", folded(hosts))
}

/// What happens to a host that fails.
pub(super) fn failed_host(on_failure: OnFailure) -> &'static str {
    match on_failure {
        OnFailure::Stop | OnFailure::Continue => "a host that fails is held out of rotation",
        OnFailure::Rollback => "a host that fails is rolled back",
        OnFailure::RollbackAll => {
            "a host that fails is rolled back, and all others with it once the run stops"
        }
    }
}

/// What stops a run, for a number of hosts if it is known.
pub(super) fn budget(max: MaxFailures, hosts: Option<usize>) -> String {
    match (max, hosts.map(|hosts| (max.allowed(hosts), hosts))) {
        (MaxFailures::Hosts(0), _) | (_, Some((0, _))) => "it stops at the first failure".into(),
        (_, Some((allowed, hosts))) if allowed >= hosts => "no number of failures stops it".into(),
        (_, Some((allowed, _))) => format!("it stops when more than {} failed", have(allowed)),
        (MaxFailures::Hosts(hosts), None) => {
            format!("it stops when more than {} failed", have(hosts as usize))
        }
        (MaxFailures::Percent(percent), None) if percent >= 100.0 => "no number of failures stops it".into(),
        (MaxFailures::Percent(percent), None) => {
            format!("it stops when more than {percent}% of the hosts have failed")
        }
    }
}

fn have(hosts: usize) -> String {
    format!("{} {}", count(hosts, "host"), if hosts == 1 { "has" } else { "have" })
}

/// How many servers a batch leaves in service, if every other host serves.
fn capacity(plan: &Plan, batch: &[HostName]) -> String {
    let behind = |name: &str| {
        let seats = batch.iter().filter_map(|host| plan.hosts.get(host)?.balancer.as_ref());
        seats.filter(|seat| seat.balancer == name).count()
    };
    let lines = plan.servers.iter().filter_map(|(name, total)| {
        let (out, floor) = (behind(name), plan.balancers.get(name)?.floor_of(*total));
        let room = total.saturating_sub(floor);
        match out {
            0 => None,
            _ if out <= room => Some(format!("; {name} keeps {} of {total} in service", total - out)),
            _ => Some(format!("; {room} at a time, {name} keeps {floor} of {total} in service")),
        }
    });
    lines.collect()
}

fn pause_word(until: PauseUntil) -> String {
    match until {
        PauseUntil::Passed(time) => format!("{time:?}"),
        PauseUntil::Approved { second_person: false } => "until it is approved".into(),
        PauseUntil::Approved { second_person: true } => "until a second person has approved it".into(),
    }
}

fn host_plan(plan: &Plan, host: &HostPlan) -> String {
    let mut lines = Vec::new();
    let balancer = host.balancer.as_ref().map(|seat| seat.balancer.as_str());
    lines.extend(balancer.map(|name| format!("drain in {name}")));
    lines.extend(host.steps.iter().map(step));
    lines.extend(host.checks.iter().map(|check| format!("check {}: {}", check.name, probe(&check.probe))));
    lines.extend(balancer.map(|name| format!("enable in {name}")));
    if plan.rollout.on_failure.rolls_back() {
        lines.extend(host.rollback.iter().map(|back| format!("on failure: {}", step(back))));
    }
    lines.iter().map(|line| format!("  {line}\n")).collect()
}
