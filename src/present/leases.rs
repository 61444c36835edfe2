//! Locks, holds and the queue, in words.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use serde::Serialize;

use super::table::{age, columns, folded, moment};
use crate::domain::base::name::HostName;
use crate::domain::lease::lease::{Lease, LeaseKind};
use crate::domain::lease::window::{Times, WEEKDAYS, Window};
use crate::domain::run::record::RunSummary;

/// One who waits in the queue.
#[derive(Debug, Serialize)]
pub struct Waits {
    /// 1 is the next one.
    pub position: usize,
    pub by: String,
    /// The command in words.
    pub title: String,
    pub since: Timestamp,
}

/// `web01 is`, `web[01-02] are`.
fn are<'h>(hosts: impl IntoIterator<Item = &'h HostName> + Clone) -> String {
    let verb = if hosts.clone().into_iter().count() == 1 { "is" } else { "are" };
    format!("{} {verb}", folded(hosts))
}

/// `: REASON`, if there is one.
fn because(lease: &Lease) -> String {
    if lease.why.is_empty() { String::new() } else { format!(": {}", lease.why) }
}

fn until(lease: &Lease) -> String {
    match lease.until {
        Some(until) => format!("until {}", moment(until)),
        None => "as long as their connection lasts".into(),
    }
}

/// A window of the configuration.
#[derive(Debug, Serialize)]
pub struct Frozen {
    pub hosts: BTreeSet<HostName>,
    pub why: String,
    /// When it ends, if it is open now.
    pub until: Option<Timestamp>,
    times: String,
}

/// A window, and whether it is open.
pub fn frozen(window: &Window, now: Timestamp) -> Frozen {
    let zone = window.zone.iana_name().unwrap_or("UTC");
    let times = match window.times {
        Times::Weekly { from: (day, time), until: (last, end) } => {
            format!("{} {} - {} {}", short(day), hour(time), short(last), hour(end))
        }
        Times::Once { from, until } => {
            format!("{} {} - {} {}", from.date(), hour(from.time()), until.date(), hour(until.time()))
        }
    };
    let times = format!("{times} {zone}");
    Frozen { hosts: window.hosts.clone(), why: window.why.clone(), until: window.open_until(now), times }
}

fn short(day: Weekday) -> &'static str {
    WEEKDAYS.iter().find(|(_, known)| *known == day).map_or("", |(name, _)| name)
}

fn hour(time: Time) -> String {
    time.strftime("%H:%M").to_string()
}

/// Why a release is refused: a window of the configuration is open.
pub fn in_window(hosts: &BTreeSet<HostName>, until: Timestamp, why: &str) -> String {
    format!("{} frozen until {} (rollcall.toml: {why})", are(hosts), moment(until))
}

/// A freeze that was ordered.
pub fn frozen_now(lease: &Lease) -> String {
    format!(
        "freeze {0}: nothing is released on {1} {2}; sooner: freeze end {0}\n",
        lease.id,
        folded(&lease.hosts),
        until(lease)
    )
}

/// `freeze`: what is open, and the windows of the configuration.
pub fn freezes((freezes, windows): (&[Lease], &[Frozen]), now: Timestamp) -> String {
    if freezes.is_empty() && windows.is_empty() {
        return "nothing is frozen\n".into();
    }
    let mut rows = vec![["NUMBER", "HOSTS", "BY", "NOW", "WHY"].map(String::from).to_vec()];
    rows.extend(freezes.iter().map(|lease| {
        let ends =
            lease.until.map_or_else(String::new, |until| format!("frozen, ends in {}", age(now, until)));
        vec![lease.id.to_string(), folded(&lease.hosts), lease.by.clone(), ends, lease.why.clone()]
    }));
    rows.extend(windows.iter().map(|window| {
        let state = match window.until {
            Some(until) => format!("frozen, ends in {}", age(now, until)),
            None => "open".into(),
        };
        let why = format!("{} ({})", window.why, window.times);
        vec!["-".into(), folded(&window.hosts), "rollcall.toml".into(), state, why]
    }));
    columns(&rows)
}

/// Why a command is refused: another operator has some of its hosts, or they are frozen.
pub fn in_the_way(lease: &Lease, hosts: &BTreeSet<HostName>) -> String {
    let Lease { id, kind, by, .. } = lease;
    if *kind == LeaseKind::Freeze {
        return format!("{} frozen {} ({by}, freeze {id}{})", are(hosts), until(lease), because(lease));
    }
    format!("{} in the hands of {by} {} ({kind} {id}{})", are(hosts), until(lease), because(lease))
}

/// A lock that was granted.
pub fn locked(lease: &Lease) -> String {
    format!("lock {0}: {1} yours {2}; sooner: unlock {0}\n", lease.id, are(&lease.hosts), until(lease))
}

/// A hold that was granted.
pub fn held_now(lease: &Lease) -> String {
    format!("hold {}: {} yours until this connection ends\n", lease.id, are(&lease.hosts))
}

/// `lock`: what is open.
pub fn list(leases: &[Lease], now: Timestamp) -> String {
    if leases.is_empty() {
        return "no operator keeps hosts for themselves\n".into();
    }
    let mut rows = vec![["NUMBER", "KIND", "HOSTS", "BY", "SINCE", "ENDS", "WHY"].map(String::from).to_vec()];
    rows.extend(leases.iter().map(|lease| {
        vec![
            lease.id.to_string(),
            lease.kind.to_string(),
            folded(&lease.hosts),
            lease.by.clone(),
            format!("{} ago", age(lease.since, now)),
            lease
                .until
                .map_or_else(|| "with its connection".into(), |until| format!("in {}", age(now, until))),
            lease.why.clone(),
        ]
    }));
    columns(&rows)
}

/// `queue`: what changes hosts, who keeps hosts, and who waits.
pub fn queue((runs, leases, waiting): (&[RunSummary], &[Lease], &[Waits]), now: Timestamp) -> String {
    let mut text = String::new();
    if !runs.is_empty() {
        let mut rows = vec![["RUN", "BY", "SINCE", "COMMAND"].map(String::from).to_vec()];
        rows.extend(runs.iter().map(|run| {
            let since = format!("{} ago", age(run.started_at, now));
            vec![run.run.to_string(), run.by.clone(), since, run.title.clone()]
        }));
        text += &columns(&rows);
    }
    if !leases.is_empty() {
        text += &list(leases, now);
    }
    if waiting.is_empty() {
        return text + "no command waits\n";
    }
    let mut rows = vec![["POSITION", "BY", "SINCE", "WAITS FOR"].map(String::from).to_vec()];
    rows.extend(waiting.iter().map(|one| {
        let since = format!("{} ago", age(one.since, now));
        vec![one.position.to_string(), one.by.clone(), since, one.title.clone()]
    }));
    text + &columns(&rows)
}
