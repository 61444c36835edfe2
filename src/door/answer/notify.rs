//! `notify list`, `notify test`, and `metrics`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::asked::{Asked, Ended, may_see, visible_debts};
use crate::domain::ask::access::Granted;
use crate::domain::ask::command::Command;
use crate::domain::base::name::nearest;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::inventory::inventory::is_within;
use crate::domain::notify::channel::Channel;
use crate::domain::run::record::RunSummary;
use crate::notices::pending::Pending;
use crate::port::SendError;
use crate::port::outbox::Fares;
use crate::present::metrics::{Metrics, families};
use crate::present::table::{age, columns, moment};
use crate::present::{json, prometheus};

/// Most runs that are searched for those under way.
const RUNS_LIMIT: usize = 1_000;

impl Asked<'_> {
    /// `notify list` and `notify test`.
    pub(super) async fn notify(&mut self, granted: &Granted) -> Result<u8, Ended> {
        if let Command::NotifyTest { name } = granted.command() {
            return self.notify_test(granted, name.as_deref()).await;
        }
        self.notify_list(granted).await
    }

    async fn notify_list(&mut self, granted: &Granted) -> Result<u8, Ended> {
        let tell = self.desk.tell.clone();
        let mut fares = tell.fares().await?;
        let now = self.ports().hosts.clock.now();
        let channels = tell.channels();
        if channels.list.is_empty() && fares.is_empty() {
            let text =
                if self.json { "" } else { "no channel is configured; try: [[notify]] in rollcall.toml\n" };
            return self.say(text).await;
        }
        let header = ["CHANNEL", "WAY", "DELIVERED", "LAST", "WAITING", "NEXT TRY", "GIVEN UP", "TROUBLE"];
        let mut rows = vec![header.map(String::from).to_vec()];
        let mut lines = String::new();
        let limited = granted.operator().groups.is_some();
        let mut all: Vec<(String, &str, Fares, Value)> = Vec::new();
        let mut waits = String::new();
        for channel in channels.list.iter().filter(|channel| is_shown(granted, channel)) {
            let (name, pending) = (channel.name.clone(), tell.pending(channel).await?);
            let fares = fares.remove(&name).unwrap_or_default();
            waits += &wait_line(channel, pending, now);
            all.push((name, channel.way.word(), fares, wait_json(channel, pending)));
        }
        // The remaining ones were removed from rollcall.toml: no task delivers their messages.
        let gone = fares.into_iter().filter(|_| !limited);
        all.extend(gone.map(|(name, fares)| (name, "gone", fares, Value::Null)));
        for (name, way, fares, wait) in &all {
            let line = json!({ "channel": name, "way": way, "fares": fares, "held": wait });
            lines += &json::line("channel", line);
            let ago = fares.last_delivered.map(|at| format!("{} ago", age(at, now)));
            let next =
                fares.next_try.map(|at| if at > now { format!("in {}", age(now, at)) } else { "now".into() });
            rows.push(vec![
                name.clone(),
                way.to_string(),
                fares.delivered.to_string(),
                ago.unwrap_or_else(|| "-".into()),
                fares.waiting.to_string(),
                next.unwrap_or_else(|| "-".into()),
                fares.given_up.to_string(),
                fares.trouble.clone().unwrap_or_default(),
            ]);
        }
        let text = if self.json { lines } else { columns(&rows) + &waits };
        self.say(&text).await
    }

    /// Sends one message through each selected channel, now.
    async fn notify_test(&mut self, granted: &Granted, name: Option<&str>) -> Result<u8, Ended> {
        let tell = self.desk.tell.clone();
        let is_meant = |channel: &&Channel| name.is_none_or(|name| channel.name == name);
        let channels = tell.channels();
        let shown: Vec<&Channel> =
            channels.list.iter().filter(|channel| is_shown(granted, channel)).collect();
        let meant: Vec<&Channel> = shown.iter().copied().filter(is_meant).collect();
        if meant.is_empty() {
            return Err(no_channel(&shown, name).into());
        }
        let by = &granted.operator().name;
        let mut status = 0;
        for channel in meant {
            let sent = tell.test(channel, by).await;
            let (name, way) = (&channel.name, channel.way.word());
            let text = match (&sent, self.json) {
                (_, true) => {
                    let why = sent.as_ref().err().map(why);
                    json::line(
                        "test",
                        json!({ "channel": name, "way": way, "delivered": sent.is_ok(), "why": why }),
                    )
                }
                (Ok(()), false) => format!("{name}: the {way} was delivered\n"),
                (Err(error), false) => format!("{name}: the {way} was not delivered: {}\n", why(error)),
            };
            if sent.is_err() {
                status = Cause::Unreachable.exit_status();
            }
            self.terminal.out(&text).await?;
        }
        Ok(status)
    }

    pub(super) async fn metrics(&mut self, granted: &Granted) -> Result<u8, Ended> {
        if self.json {
            let why = "metrics are written for Prometheus only, not as JSON";
            return Err(Refusal::usage(why).hint("try: metrics, or status --json").into());
        }
        let store = self.ports().store.clone();
        let whole = self.config.inventory.clone();
        let debts = visible_debts(granted, &whole, store.debts().await?);
        let mut runs: Vec<RunSummary> = store.runs(RUNS_LIMIT).await?;
        runs.retain(|run| run.ended_at.is_none() && may_see(granted, &whole, &run.hosts));
        let mut leases = Vec::new();
        for run in &runs {
            let Some(watch) = self.desk.engine.watch(granted, run.run) else { continue };
            leases.extend(watch.live().plan.leases.iter().map(|group| (group.clone(), run.run.0)));
        }
        let fares = self.desk.tell.fares().await?;
        let all = self.desk.tell.channels();
        let shown = |name: &String| {
            let channel = all.list.iter().find(|channel| channel.name == *name);
            channel.map_or(granted.operator().groups.is_none(), |channel| is_shown(granted, channel))
        };
        let channels: BTreeMap<String, [u64; 3]> = fares
            .into_iter()
            .filter(|(name, _)| shown(name))
            .map(|(name, fares)| (name, [fares.delivered, fares.waiting, fares.given_up]))
            .collect();
        let visible = self.visible(granted).await?;
        // While watching restarts its metrics are absent: Prometheus reads that as unknown, and zero would be false.
        let mut roll = self.desk.monitor.roll().await.ok();
        roll.iter_mut().for_each(|roll| roll.lines.retain(|line| visible.host(&line.host).is_some()));
        let metrics =
            Metrics { debts: &debts, runs: &runs, leases: &leases, channels: &channels, roll: roll.as_ref() };
        let text = prometheus::text(&families(&metrics));
        self.say(&text).await
    }
}

/// `night: after 15m; hours Mon-Fri 08:00-18:00 (UTC); held back: 2 incidents and 1 run, the first until in 12m`
fn wait_line(channel: &Channel, pending: Pending, now: Timestamp) -> String {
    let pace = &channel.pace;
    let after = pace.after.and_then(|wait| now.checked_add(wait).ok());
    let count = |count: usize, word: &str| match count {
        0 => None,
        1 => Some(format!("1 {word}")),
        _ => Some(format!("{count} {word}s")),
    };
    let held = [count(pending.incidents, "incident"), count(pending.runs, "run")];
    let held = held.into_iter().flatten().collect::<Vec<_>>().join(" and ");
    let next = pending.next.map(|next| format!(", the first until {}", moment(next))).unwrap_or_default();
    let parts = [
        after.map(|then| format!("after {}", age(now, then))),
        pace.hours.as_ref().map(|hours| format!("hours {hours}")),
        pace.hours.as_ref().filter(|_| !pace.may_send(now)).map(|_| "silent now".into()),
        Some(held).filter(|held| !held.is_empty()).map(|held| format!("held back: {held}{next}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!("{}: {}\n", channel.name, parts.join("; ")) }
}

fn wait_json(channel: &Channel, pending: Pending) -> Value {
    json!({
        "after_s": channel.pace.after.map(|wait| wait.as_secs()),
        "hours": channel.pace.hours.as_ref().map(ToString::to_string),
        "incidents": pending.incidents,
        "runs": pending.runs,
        "next": pending.next,
    })
}

/// An operator with groups sees the channels whose filter has only these groups.
pub(super) fn is_shown(granted: &Granted, channel: &Channel) -> bool {
    let Some(allowed) = &granted.operator().groups else { return true };
    let groups = &channel.only.groups;
    !groups.is_empty() && groups.iter().all(|group| is_within(group, allowed))
}

fn why(error: &SendError) -> &str {
    let (SendError::Down(why) | SendError::Refused(why)) = error;
    why
}

fn no_channel(channels: &[&Channel], name: Option<&str>) -> Refusal {
    let Some(name) = name else {
        return Refusal::rule("no channel is configured").hint("try: [[notify]] in rollcall.toml");
    };
    let near = nearest(name, channels.iter().map(|channel| channel.name.as_str()));
    let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    Refusal::not_found(format!("no channel is called `{name}`{near}")).hint("try: notify list")
}
