//! What is watched: how it stands, what was seen of it, why, and when nothing is to be told of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::asked::{Asked, Ended, Refused, may_see};
use crate::domain::ask::access::Granted;
use crate::domain::base::name::{HostName, nearest};
use crate::domain::base::outcome::Verdict;
use crate::domain::inventory::inventory::Inventory;
use crate::domain::run::record::RunSummary;
use crate::domain::watch::roll::{Ack, Downtime, History, Line, Roll};
use crate::domain::watch::roster::Key;
use crate::present::json;
use crate::present::watching::{self, Reason};

/// Looks of one check that `history` tells of.
const LOOKS_SHOWN: usize = 5_000;

/// The last runs, among which those are that touched a host.
const RUNS_SEARCHED: usize = 1_000;

impl Asked<'_> {
    pub(super) async fn status(&mut self, inventory: &Arc<Inventory>, selector: &str) -> Result<u8, Ended> {
        let picked = self.pick(inventory, selector).await?;
        let picked: BTreeSet<HostName> = picked.into_iter().collect();
        let Roll { mut lines, pace } = self.desk.monitor.roll().await?;
        lines.retain(|line| picked.contains(&line.host));
        let counts = |line: &&Line| line.hard && !watching::is_silent(line);
        let mut worst = Verdict::worst(lines.iter().filter(counts).filter_map(|line| line.verdict));
        let nobody_looks = match (lines.is_empty(), self.config.settings.schedule.enabled) {
            (_, false) => Some("nobody looks: enabled = false in [schedule]; this is as it was seen last"),
            (true, true) => {
                Some("none of it is watched; try: every = \"5m\" in its checks, or ask now: check")
            }
            (false, true) => None,
        };
        if let Some(why) = nobody_looks {
            // What is not known is not well.
            worst = Verdict::worst([worst, Verdict::Unknown]);
            self.terminal.err(&format!("rollcall: {why}\n")).await?;
        }
        let now = self.desk.engine.ports().clock.now();
        let json = self.json;
        let render = move || match json {
            true => {
                let all = lines.iter().map(|line| json::line("status", line));
                all.chain([json::line("pace", &pace)]).collect()
            }
            false => watching::status(&Roll { lines, pace }, now),
        };
        let text: String = self.work(render).await?;
        self.say(&text).await?;
        Ok(worst.exit_status())
    }

    pub(super) async fn history(
        &mut self,
        inventory: &Arc<Inventory>,
        host: &str,
        check: Option<&str>,
    ) -> Result<u8, Ended> {
        let host = self.one_host(inventory, host).await?;
        let kept = self.kept_of(&host, check).await?;
        let now = self.desk.engine.ports().clock.now();
        let text = match self.json {
            true => kept.iter().map(|history| watching::history_line(&host, history)).collect(),
            false => {
                let fancy = self.terminal.is_interactive();
                kept.iter()
                    .map(|history| watching::history(&host, history, now, fancy))
                    .collect::<Vec<_>>()
                    .join("\n")
            }
        };
        self.say(&text).await
    }

    /// What is kept of a host's checks, all that was seen so far included.
    async fn kept_of(&self, host: &HostName, check: Option<&str>) -> Result<Vec<History>, Ended> {
        self.desk.monitor.flush().await?;
        let kept = self.desk.watches.history(host, None, LOOKS_SHOWN).await?;
        let Some(check) = check else {
            if kept.is_empty() {
                let why = format!(
                    "nothing was ever seen of {host}; try: check {host}, or every = \"5m\" in its checks"
                );
                return Err(Refused::usage(why).into());
            }
            return Ok(kept);
        };
        let names: Vec<String> = kept.iter().map(|history| history.check.clone()).collect();
        let found: Vec<History> = kept.into_iter().filter(|history| history.check == check).collect();
        if found.is_empty() {
            let names = names.iter().map(String::as_str);
            let guess = nearest(check, names.clone())
                .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let known = names.collect::<Vec<_>>().join(", ");
            let why = format!("nothing was ever seen of a check `{check}` on {host}{guess} (known: {known})");
            return Err(Refused::usage(why).into());
        }
        Ok(found)
    }

    pub(super) async fn why(
        &mut self,
        granted: &Granted,
        inventory: &Arc<Inventory>,
        (host, check): (&str, Option<&str>),
    ) -> Result<u8, Ended> {
        let host = self.one_host(inventory, host).await?;
        let kept = self.kept_of(&host, check).await?;
        let lines = self.desk.monitor.roll().await?.lines;
        let lines: Vec<Line> = lines.into_iter().filter(|line| line.host == host).collect();
        let runs = self.touching(granted, &host).await?;
        let in_hand = self.desk.engine.in_hand().borrow().hosts.get(&host).copied();
        let mut reasons = Vec::new();
        for history in kept {
            let line = lines.iter().find(|line| line.check == history.check);
            let reason = Reason::of(line, &history, &runs);
            reasons.extend(reason.filter(|reason| check.is_some() || reason.verdict != Verdict::Ok));
        }
        let now = self.desk.engine.ports().clock.now();
        let text = match self.json {
            true => reasons.iter().map(|reason| json::line("why", reason.to_value(&host))).collect(),
            false => watching::why(&host, &reasons, in_hand, now),
        };
        self.say(&text).await?;
        Ok(Verdict::worst(reasons.iter().map(|reason| reason.verdict)).exit_status())
    }

    /// The last runs that did more to a host than look at it; newest first.
    async fn touching(&self, granted: &Granted, host: &HostName) -> Result<Vec<RunSummary>, Ended> {
        let mut runs = self.desk.engine.ports().store.runs(RUNS_SEARCHED).await?;
        let looks = |run: &RunSummary| {
            let first = run.title.split(' ').next().unwrap_or_default();
            ["check", "facts", "plan"].contains(&first) || run.title.split(' ').any(|word| word == "--check")
        };
        runs.retain(|run| run.hosts.contains(host) && !looks(run));
        runs.retain(|run| may_see(granted, &self.config.inventory, &run.hosts));
        Ok(runs)
    }

    pub(super) async fn downtimes(&mut self, inventory: &Arc<Inventory>) -> Result<u8, Ended> {
        let mut downtimes = self.desk.monitor.downtimes().await?;
        for downtime in &mut downtimes {
            downtime.hosts.retain(|host| inventory.host(host).is_some());
        }
        downtimes.retain(|downtime| !downtime.hosts.is_empty());
        let now = self.desk.engine.ports().clock.now();
        let text = match self.json {
            true => downtimes.iter().map(|downtime| json::line("downtime", downtime)).collect(),
            false => watching::downtimes(&downtimes, now),
        };
        self.say(&text).await
    }

    pub(super) async fn begin_downtime(
        &mut self,
        granted: &Granted,
        selector: &str,
        (check, time, reason): (Option<&str>, Duration, &str),
    ) -> Result<u8, Ended> {
        let hosts = self.pick(&self.visible(granted).await?, selector).await?;
        if let Some(check) = check {
            self.check_is_known(check)?;
        }
        let from = self.desk.engine.ports().clock.now();
        let who = granted.operator();
        let downtime = Downtime {
            id: 0,
            by: who.name.clone(),
            key: who.key.clone(),
            why: reason.into(),
            selector: selector.into(),
            hosts,
            check: check.map(String::from),
            from,
            until: from.checked_add(time).unwrap_or(Timestamp::MAX),
        };
        let begun = self.desk.monitor.begin_downtime(downtime).await?;
        let text = if self.json { json::line("downtime", &begun) } else { watching::begun(&begun) };
        self.say(&text).await
    }

    /// A downtime for a check that nobody has would silence nothing, and nobody would know.
    fn check_is_known(&self, name: &str) -> Result<(), Ended> {
        let sets = self.config.checks.iter();
        let known = sets.flat_map(|(set, checks)| {
            std::iter::once(set.as_str()).chain(checks.iter().map(|check| check.name.as_str()))
        });
        let known: Vec<&str> = known.chain([crate::domain::watch::alert::REACHABLE]).collect();
        if known.contains(&name) {
            return Ok(());
        }
        let guess = nearest(name, known.iter().copied())
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let why = format!("there is no check or set of checks `{name}`{guess} (known: {})", known.join(", "));
        Err(Refused::usage(why).into())
    }

    pub(super) async fn end_downtime(&mut self, granted: &Granted, id: u64) -> Result<u8, Ended> {
        let visible = self.visible(granted).await?;
        let whole = &self.config.inventory;
        let none = || Refused::usage(format!("no downtime has the number {id}; see: downtime"));
        let downtimes = self.desk.monitor.downtimes().await?;
        let downtime = downtimes.iter().find(|downtime| downtime.id == id).ok_or_else(none)?;
        let others = |host: &HostName| visible.host(host).is_none() && whole.host(host).is_some();
        if downtime.hosts.iter().any(others) {
            return Err(none().into());
        }
        let ended = self.desk.monitor.end_downtime(id).await?.ok_or_else(none)?;
        let text = match self.json {
            true => json::line("downtime", &ended),
            false => format!("downtime {id} is over; what is not ok is looked at again, and told\n"),
        };
        self.say(&text).await
    }

    pub(super) async fn ack(
        &mut self,
        granted: &Granted,
        host: &str,
        (check, reason): (&str, &str),
    ) -> Result<u8, Ended> {
        let host = self.one_host(&self.visible(granted).await?, host).await?;
        let key = Key { host: host.clone(), check: check.into() };
        let at = self.desk.engine.ports().clock.now();
        let ack = Ack { by: granted.operator().name.clone(), why: reason.into(), at };
        let refused = |why: String| Refused::usage(format!("{host} `{check}`: {why}"));
        self.desk.monitor.acknowledge(key, ack.clone()).await.map_err(refused)?;
        self.desk.monitor.flush().await?;
        let text = match self.json {
            true => json::line("ack", serde_json::json!({ "host": host, "check": check, "ack": ack })),
            false => format!("{host} `{check}`: acknowledged; nothing more is told of it until it is ok\n"),
        };
        self.say(&text).await
    }
}

impl Asked<'_> {
    /// The one host that is meant.
    async fn one_host(&self, inventory: &Arc<Inventory>, written: &str) -> Result<HostName, Ended> {
        let hosts = self.pick(inventory, written).await?;
        match &hosts[..] {
            [one] => Ok(one.clone()),
            many => {
                Err(Refused::usage(format!("`{written}` is {} hosts; name one of them", many.len())).into())
            }
        }
    }
}
