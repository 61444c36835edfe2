//! Watched checks: their states, their history, the causes of problems, and downtimes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::asked::{Asked, Ended, may_see};
use crate::domain::ask::access::Granted;
use crate::domain::ask::command::Command;
use crate::domain::base::name::{HostName, nearest};
use crate::domain::base::outcome::Verdict;
use crate::domain::base::refusal::Refusal;
use crate::domain::check::check::Check;
use crate::domain::check::id::{CheckId, Misnamed, all_named, one_named};
use crate::domain::inventory::inventory::Inventory;
use crate::domain::plan::adhoc::known_names;
use crate::domain::run::record::{Debt, RunSummary};
use crate::domain::run::run::Run;
use crate::domain::watch::roll::{Ack, CheckLine, Covered, Downtime, History, Roll};
use crate::domain::watch::roster::WatchedId;
use crate::domain::watch::subject::{REACHABLE, Subject};
use crate::present::json;
use crate::present::watching::{self, HeldHost, Reason};

/// Most probes of one check that `history` returns.
const LOOKS_SHOWN: usize = 5_000;

/// Most runs that are searched for those that touched a host.
const RUNS_SEARCHED: usize = 1_000;

impl Asked<'_> {
    /// Downtimes and acknowledgements.
    pub(super) async fn quiet(&mut self, granted: &Granted, inventory: &Arc<Inventory>) -> Result<u8, Ended> {
        match granted.command() {
            Command::Downtimes => self.downtimes(inventory).await,
            Command::Downtime { selector, check, time, reason } => {
                self.begin_downtime(granted, selector, (check.as_deref(), *time, reason)).await
            }
            Command::DowntimeEnd { id } => self.end_downtime(granted, *id).await,
            Command::Ack { host, check, reason } => self.ack(granted, host, (check, reason)).await,
            other => Err(Refusal::internal(format!("{other:?} silences nothing")).into()),
        }
    }

    pub(super) async fn status(&mut self, inventory: &Arc<Inventory>, selector: &str) -> Result<u8, Ended> {
        let picked = self.pick(inventory, selector).await?;
        let picked: BTreeSet<HostName> = picked.into_iter().collect();
        let Roll { mut lines, pace } = self.desk.monitor.roll().await?;
        lines.retain(|line| picked.contains(&line.host));
        let counts = |line: &&CheckLine| line.hard && !watching::is_silent(line);
        let mut worst = Verdict::worst(lines.iter().filter(counts).filter_map(|line| line.verdict));
        let no_probes = match (lines.is_empty(), self.config.settings.schedule.enabled) {
            (_, false) => {
                Some("checks are not probed: enabled = false in [schedule]; these are the last results")
            }
            (true, true) => {
                Some("none of it is watched; try: every = \"5m\" in its checks, or ask now: check")
            }
            (false, true) => None,
        };
        if let Some(why) = no_probes {
            // An unknown state is not ok.
            worst = Verdict::worst([worst, Verdict::Unknown]);
            self.terminal.err(&format!("rollcall: {why}\n")).await?;
        }
        let now = self.ports().hosts.clock.now();
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
        let now = self.ports().hosts.clock.now();
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

    /// The stored records of a host's checks, including all results so far.
    async fn kept_of(&self, host: &HostName, check: Option<&str>) -> Result<Vec<History>, Ended> {
        self.desk.monitor.flush().await?;
        let kept = self.desk.watches.of(&self.granted).history(host, LOOKS_SHOWN).await?;
        let Some(word) = check else {
            if kept.is_empty() {
                let hint = format!("try: check {host}, or every = \"5m\" in its checks");
                return Err(Refusal::not_found(format!("nothing was ever seen of {host}")).hint(hint).into());
            }
            return Ok(kept);
        };
        let known: Vec<&Subject> = kept.iter().map(|history| &history.check).collect();
        let subjects = all_of(word, &known).map_err(|misnamed| match misnamed {
            Misnamed::Ambiguous(why) => Refusal::usage(why),
            Misnamed::Unknown => {
                let names: Vec<String> = known.iter().map(|subject| subject.to_string()).collect();
                let guess = guess(word, &known, &names);
                let known = names.join(", ");
                let why =
                    format!("nothing was ever seen of a check `{word}` on {host}{guess} (known: {known})");
                Refusal::not_found(why)
            }
        })?;
        Ok(kept.into_iter().filter(|history| subjects.contains(&history.check)).collect())
    }

    pub(super) async fn why(
        &mut self,
        granted: &Granted,
        inventory: &Arc<Inventory>,
        (host, check): (&str, Option<&str>),
    ) -> Result<u8, Ended> {
        let host = self.one_host(inventory, host).await?;
        let held = match check {
            None => self.held(granted, &host).await?,
            Some(_) => None,
        };
        let kept = match self.kept_of(&host, check).await {
            Err(Ended::Refused(_)) if held.is_some() => Vec::new(),
            kept => kept?,
        };
        let lines = self.desk.monitor.roll().await?.lines;
        let lines: Vec<CheckLine> = lines.into_iter().filter(|line| line.host == host).collect();
        let runs = self.touching(granted, &host).await?;
        let in_hand = self.desk.engine.in_hand().borrow().hosts.get(&host).copied();
        let (mut reasons, is_probed) = (Vec::new(), !kept.is_empty());
        // Records that an earlier build stored for several checks under one name do not show the state of any of them.
        let is_of_one = |history: &History| check.is_some() || !is_of_earlier_build(&history.check);
        for history in kept.into_iter().filter(is_of_one) {
            let line = lines.iter().find(|line| line.check == history.check);
            let reason = Reason::of(line, &history, &runs);
            reasons.extend(reason.filter(|reason| check.is_some() || reason.verdict != Verdict::Ok));
        }
        let now = self.ports().hosts.clock.now();
        let text = match self.json {
            true => {
                let held = held.iter().map(|held| json::line("held", held));
                held.chain(reasons.iter().map(|reason| json::line("why", reason.to_value(&host)))).collect()
            }
            false => watching::why(&host, (held.as_ref(), &reasons, is_probed), in_hand, now),
        };
        self.say(&text).await?;
        let of_gate = held.iter().flat_map(|held| &held.gate).map(|result| result.verdict);
        let of_gate = of_gate.chain((!is_probed).then_some(Verdict::Unknown));
        Ok(Verdict::worst(reasons.iter().map(|reason| reason.verdict).chain(of_gate)).exit_status())
    }

    /// The run that holds a host out of rotation, and the checks of its gate that did not pass.
    async fn held(&self, granted: &Granted, host: &HostName) -> Result<Option<HeldHost>, Ended> {
        let debts = self.ports().store.debts().await?;
        let of_host: Vec<Debt> = debts.into_iter().filter(|debt| debt.host == *host).collect();
        let Some(debt) = of_host.iter().find(|debt| debt.is_open()).or(of_host.first()).cloned() else {
            return Ok(None);
        };
        let stored = self.stored(granted, debt.run).await.ok();
        let run = stored.and_then(|stored| Run::replay(stored.id, stored.plan, &stored.events).ok());
        let checks = run.as_ref().and_then(|run| run.host(host)).map_or(&[][..], |state| state.checks());
        let gate = checks.iter().filter(|result| !result.verdict.passes()).cloned().collect();
        Ok(Some(HeldHost { debt, gate }))
    }

    /// The last runs that did more on a host than observe it; newest first.
    async fn touching(&self, granted: &Granted, host: &HostName) -> Result<Vec<RunSummary>, Ended> {
        let mut runs = self.ports().store.runs(RUNS_SEARCHED).await?;
        runs.retain(|run| run.hosts.contains(host) && !run.kind.only_reads());
        runs.retain(|run| may_see(granted, &self.config.inventory, &run.hosts));
        Ok(runs)
    }

    async fn downtimes(&mut self, inventory: &Arc<Inventory>) -> Result<u8, Ended> {
        let mut downtimes = self.desk.monitor.downtimes().await?;
        for downtime in &mut downtimes {
            downtime.hosts.retain(|host| inventory.host(host).is_some());
        }
        downtimes.retain(|downtime| !downtime.hosts.is_empty());
        let now = self.ports().hosts.clock.now();
        let text = match self.json {
            true => downtimes.iter().map(|downtime| json::line("downtime", downtime)).collect(),
            false => watching::downtimes(&downtimes, now),
        };
        self.say(&text).await
    }

    async fn begin_downtime(
        &mut self,
        granted: &Granted,
        selector: &str,
        (check, time, reason): (Option<&str>, Duration, &str),
    ) -> Result<u8, Ended> {
        let visible = self.visible(granted).await?;
        let hosts = self.pick(&visible, selector).await?;
        let of = check.map_or(Ok(Covered::All), |word| self.covered(&visible, &hosts, word))?;
        let from = self.ports().hosts.clock.now();
        let who = granted.operator();
        let downtime = Downtime {
            id: 0,
            by: who.name.clone(),
            key: who.key.clone(),
            why: reason.into(),
            selector: selector.into(),
            hosts,
            of,
            from,
            until: from.checked_add(time).unwrap_or(Timestamp::MAX),
        };
        let begun = self.desk.monitor.begin_downtime(downtime).await?;
        let text = if self.json { json::line("downtime", &begun) } else { watching::begun(&begun) };
        self.say(&text).await
    }

    /// A downtime for a check that no host has would silence nothing, and the operator would not notice.
    fn covered(&self, inventory: &Inventory, hosts: &[HostName], word: &str) -> Result<Covered, Ended> {
        if word == REACHABLE {
            return Ok(Covered::Contact);
        }
        let sets: BTreeSet<&String> =
            hosts.iter().filter_map(|host| inventory.host(host)).flat_map(|host| &host.checks).collect();
        if sets.contains(&word.to_string()) {
            return Ok(Covered::Set(word.into()));
        }
        let checks = || sets.iter().filter_map(|set| self.config.checks.get(*set)).flatten();
        let ids: Vec<CheckId> = checks().map(Check::id).collect();
        match one_named(word, &ids) {
            Ok(id) => Ok(Covered::Check(id)),
            Err(Misnamed::Ambiguous(why)) => Err(Refusal::usage(why).into()),
            Err(Misnamed::Unknown) => {
                let mut names = known_names(checks());
                names.push(REACHABLE.into());
                let subjects: Vec<Subject> = ids.into_iter().map(Subject::from).collect();
                let guess = guess(word, &subjects.iter().collect::<Vec<_>>(), &names);
                let known = names.join(", ");
                let why = format!(
                    "there is no check or set of checks `{word}` on these hosts{guess} (known: {known})"
                );
                Err(Refusal::not_found(why).into())
            }
        }
    }

    async fn end_downtime(&mut self, granted: &Granted, id: u64) -> Result<u8, Ended> {
        let visible = self.visible(granted).await?;
        let whole = &self.config.inventory;
        let none = || Refusal::not_found(format!("no downtime has the number {id}")).hint("see: downtime");
        let downtimes = self.desk.monitor.downtimes().await?;
        let downtime = downtimes.iter().find(|downtime| downtime.id == id).ok_or_else(none)?;
        let others = |host: &HostName| visible.host(host).is_none() && whole.host(host).is_some();
        if downtime.hosts.iter().any(others) {
            return Err(none().into());
        }
        let ended = self.desk.monitor.end_downtime(id).await?.ok_or_else(none)?;
        let text = match self.json {
            true => json::line("downtime", &ended),
            false => format!("downtime {id} is over; checks that are not ok are probed again, and alert\n"),
        };
        self.say(&text).await
    }

    async fn ack(
        &mut self,
        granted: &Granted,
        host: &str,
        (check, reason): (&str, &str),
    ) -> Result<u8, Ended> {
        let host = self.one_host(&self.visible(granted).await?, host).await?;
        let subject = self.watched_as(&host, check).await?;
        let key = WatchedId { host: host.clone(), check: subject.clone() };
        let at = self.ports().hosts.clock.now();
        let ack = Ack { by: granted.operator().name.clone(), why: reason.into(), at };
        let refused = |why: String| Refusal::rule(format!("{host} `{subject}`: {why}"));
        self.desk.monitor.acknowledge(key, ack.clone()).await.map_err(refused)?;
        self.desk.monitor.flush().await?;
        let text = match self.json {
            true => {
                let (set, check) = watching::named(&subject);
                let ack = serde_json::json!({ "host": host, "set": set, "check": check, "ack": ack });
                json::line("ack", ack)
            }
            false => format!("{host} `{subject}`: acknowledged; no further alert until it is ok\n"),
        };
        self.say(&text).await
    }
}

/// The subject of one host that `word` names. The word for the contact never names a check: a check with that name
/// is written with its set.
fn one_of(word: &str, subjects: &[&Subject]) -> Result<Subject, Misnamed> {
    if word == REACHABLE {
        let contact = subjects.contains(&&Subject::Contact);
        return contact.then_some(Subject::Contact).ok_or(Misnamed::Unknown);
    }
    one_named(word, subjects.iter().filter_map(|subject| subject.check())).map(Subject::Check)
}

/// The same if `word` may be a check set, with all of its checks.
fn all_of(word: &str, subjects: &[&Subject]) -> Result<BTreeSet<Subject>, Misnamed> {
    if word == REACHABLE {
        return one_of(word, subjects).map(|contact| BTreeSet::from([contact]));
    }
    let ids: Vec<&CheckId> = subjects.iter().filter_map(|subject| subject.check()).collect();
    let found = all_named(word, ids.iter().copied())?;
    Ok(found.into_iter().map(Subject::Check).collect())
}

/// The known name nearest to a wrong one, bare or in full.
fn guess(word: &str, subjects: &[&Subject], names: &[String]) -> String {
    let bare = subjects.iter().map(|subject| subject.row().1);
    nearest(word, bare.chain(names.iter().map(String::as_str)))
        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

fn is_of_earlier_build(subject: &Subject) -> bool {
    subject.check().is_some_and(|id| id.set.is_empty())
}

impl Asked<'_> {
    /// The watched subject of a host with this name.
    async fn watched_as(&self, host: &HostName, word: &str) -> Result<Subject, Ended> {
        let lines = self.desk.monitor.roll().await?.lines;
        let subjects: Vec<&Subject> =
            lines.iter().filter(|line| line.host == *host).map(|line| &line.check).collect();
        one_of(word, &subjects).map_err(|misnamed| match misnamed {
            Misnamed::Ambiguous(why) => Refusal::usage(why).into(),
            Misnamed::Unknown => {
                Refusal::not_found(format!("{host} `{word}`: it is not watched")).hint("see: status").into()
            }
        })
    }

    /// The one host of a selector.
    pub(super) async fn one_host(
        &self,
        inventory: &Arc<Inventory>,
        written: &str,
    ) -> Result<HostName, Ended> {
        let hosts = self.pick(inventory, written).await?;
        match &hosts[..] {
            [one] => Ok(one.clone()),
            many => {
                Err(Refusal::usage(format!("`{written}` is {} hosts; name one of them", many.len())).into())
            }
        }
    }
}
