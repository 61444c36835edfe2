//! Incidents: alerts grouped into messages. Every channel has its own incidents.
//!
//! Time is an argument: [`Incidents::take`] applies alerts, [`Incidents::due`] returns the messages to send, and
//! [`Incidents::wake`] the time to call that again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::channel::{Channel, Pace};
use super::incident::{Incident, LastMessage, Trouble, TroubleState};
use super::notice::{EndedIncident, Notice, NoticeContent, NoticeKind};
use crate::domain::base::outcome::Verdict;
use crate::domain::watch::alert::{Alert, AlertChange};
use crate::domain::watch::subject::Subject;

/// Most ended incidents that a digest names.
const PAST_LIMIT: usize = 100;

/// Check and top-level group.
pub type IncidentKey = (Subject, String);

/// All incidents of one channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incidents {
    open: BTreeMap<IncidentKey, Incident>,
    pub log: IncidentLog,
    changed: BTreeSet<IncidentKey>,
}

/// The memory of a channel beside its open incidents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IncidentLog {
    /// The number of incidents so far.
    count: u64,
    /// When the last digest was made, or when a digest was first configured.
    digest_from: Option<Timestamp>,
    /// Incidents that ended since then.
    past: Vec<EndedIncident>,
    past_left_out: usize,
}

impl Incidents {
    /// Continues from the stored incidents.
    pub fn resume(open: impl IntoIterator<Item = Incident>, log: IncidentLog) -> Incidents {
        let key = |incident: &Incident| (incident.check.clone(), incident.group.clone());
        let open = open.into_iter().map(|incident| (key(&incident), incident)).collect();
        Incidents { open, log, changed: BTreeSet::new() }
    }

    /// The open incidents.
    pub fn open(&self) -> impl Iterator<Item = &Incident> {
        self.open.values()
    }

    /// Applies one alert. Alerts that the filter of the channel excludes, or that change nothing, are ignored.
    pub fn take(&mut self, channel: &Channel, alert: &Alert) {
        let top = alert.group.split('.').next().unwrap_or_default();
        let key = self.key_of(alert, top);
        let before = self.open.get(&key).and_then(|incident| incident.hosts.get(&alert.host));
        let Some(trouble) = trouble(channel, alert, before) else { return };
        let count = &mut self.log.count;
        let incident = self.open.entry(key.clone()).or_insert_with(|| {
            *count += 1;
            Incident {
                number: *count,
                check: alert.check.clone(),
                group: key.1.clone(),
                since: alert.since.unwrap_or(alert.at),
                opened: Some(alert.at),
                hosts: BTreeMap::new(),
                last_message: None,
            }
        });
        incident.hosts.insert(alert.host.clone(), trouble);
        let forgotten = incident.last_message.is_none() && incident.is_over();
        self.changed.insert(key.clone());
        if forgotten {
            self.end(&key, channel, alert.at);
        }
    }

    /// The incident of the alert: one that already has the host, even if its group was renamed or
    /// removed, or if an earlier build opened it, which did not keep the set of a check.
    fn key_of(&self, alert: &Alert, top: &str) -> IncidentKey {
        let key = (alert.check.clone(), top.to_string());
        let knows_it = |incident: &Incident| incident.hosts.contains_key(&alert.host);
        if self.open.get(&key).is_some_and(knows_it) {
            return key;
        }
        let has_it = |incident: &Incident| {
            is_about(incident, &alert.check)
                && incident.hosts.get(&alert.host).is_some_and(|trouble| trouble.state.is_open())
        };
        let found = self.open.iter().find(|(_, incident)| has_it(incident));
        found.map_or(key, |(key, _)| key.clone())
    }

    /// The messages to send now. A second call returns none of them again.
    pub fn due(&mut self, channel: &Channel, now: Timestamp, zone: &TimeZone) -> Vec<Notice> {
        let mut notices = Vec::new();
        if !channel.pace.may_send(now) {
            return notices;
        }
        let keys: Vec<IncidentKey> = self.open.keys().cloned().collect();
        for key in keys {
            while let Some(notice) = self.due_of(&key, channel, now) {
                notices.push(notice);
            }
        }
        notices.extend(self.digest(&channel.pace, now, zone));
        notices
    }

    /// When the next message is due, if no alert comes before.
    pub fn wake(&self, channel: &Channel, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let next = self.open.values().filter_map(|incident| incident.next(&channel.pace)).map(|(at, _)| at);
        let next = next.chain(self.digest_at(&channel.pace, zone)).min()?;
        Some(if channel.pace.may_send(next.max(now)) {
            next
        } else {
            channel.pace.may_send_from(next.max(now))
        })
    }

    /// The number of incidents about which a message waits, and when the first of them is due; reminders do not count.
    pub fn pending(&self, channel: &Channel, now: Timestamp) -> (usize, Option<Timestamp>) {
        let next = self.open.values().filter_map(|incident| incident.next(&channel.pace));
        let due: Vec<Timestamp> =
            next.filter(|(_, kind)| *kind != NoticeKind::Reminder).map(|(at, _)| at).collect();
        let first = due.iter().min().map(|at| channel.pace.may_send_from((*at).max(now)));
        (due.len(), first)
    }

    /// The incidents that changed since the last call; `None` for one that has ended.
    pub fn take_changed(&mut self) -> Vec<(IncidentKey, Option<Incident>)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|key| (key.clone(), self.open.get(&key).cloned())).collect()
    }

    fn due_of(&mut self, key: &IncidentKey, channel: &Channel, now: Timestamp) -> Option<Notice> {
        let incident = self.open.get_mut(key)?;
        let (_, kind) = incident.next(&channel.pace).filter(|(at, _)| *at <= now)?;
        let notice = incident.notice(kind, now, &channel.pace);
        let count = incident.messages() + 1;
        let hosts = incident.hosts.iter();
        let hosts = hosts.map(|(host, trouble)| (host.clone(), (trouble.state, trouble.verdict))).collect();
        incident.last_message = Some(LastMessage { at: now, count, hosts });
        self.changed.insert(key.clone());
        if matches!(kind, NoticeKind::Recovered | NoticeKind::Silenced) {
            self.end(key, channel, now);
        }
        Some(notice)
    }

    fn end(&mut self, key: &IncidentKey, channel: &Channel, at: Timestamp) {
        let Some(incident) = self.open.remove(key) else { return };
        if channel.pace.digest.is_none() {
            return;
        }
        match self.log.past.len() < PAST_LIMIT {
            true => self.log.past.push(incident.line(Some(at))),
            false => self.log.past_left_out += 1,
        }
    }

    /// The first time of the daily digest after the last one.
    fn digest_at(&self, pace: &Pace, zone: &TimeZone) -> Option<Timestamp> {
        let (time, from) = (pace.digest?, self.log.digest_from?);
        let day = from.to_zoned(zone.clone()).date();
        let on = |day: jiff::civil::Date| day.to_datetime(time).to_zoned(zone.clone()).ok();
        let today = on(day)?.timestamp();
        if today > from { Some(today) } else { Some(on(day.tomorrow().ok()?)?.timestamp()) }
    }

    fn digest(&mut self, pace: &Pace, now: Timestamp, zone: &TimeZone) -> Option<Notice> {
        if pace.digest.is_none() {
            self.log = IncidentLog { count: self.log.count, ..IncidentLog::default() };
            return None;
        }
        if self.log.digest_from.is_none() {
            self.log.digest_from = Some(now);
        }
        self.digest_at(pace, zone).filter(|at| *at <= now)?;
        let past = std::mem::take(&mut self.log.past);
        let left_out = std::mem::take(&mut self.log.past_left_out);
        self.log.digest_from = Some(now);
        let open: Vec<EndedIncident> = self.open.values().map(|incident| incident.line(None)).collect();
        // A day without incidents gets no digest.
        let what = (!open.is_empty() || !past.is_empty()).then_some(NoticeContent::Digest {
            open,
            past,
            left_out,
        })?;
        Some(Notice { key: format!("digest-{}", now.as_second()), at: now, what })
    }
}

fn is_about(incident: &Incident, subject: &Subject) -> bool {
    match (&incident.check, subject) {
        (Subject::Check(of), Subject::Check(id)) if of.set.is_empty() => {
            of.name == id.name || id.is_written(&of.name)
        }
        (of, subject) => of == subject,
    }
}

/// The state of a host after an alert; `None` if the channel ignores the alert.
fn trouble(channel: &Channel, alert: &Alert, before: Option<&Trouble>) -> Option<Trouble> {
    let problem = |verdict: Verdict| match channel.only.minds(verdict) {
        true => (TroubleState::Bad, verdict),
        // The verdict is not among those that this channel reports.
        false => (TroubleState::Recovered, verdict),
    };
    let last = before.map_or(Verdict::Warning, |trouble| trouble.verdict);
    let mut acknowledged = None;
    let (state, verdict) = match &alert.change {
        AlertChange::Problem { verdict } | AlertChange::FlappingEnded { verdict } => problem(*verdict),
        AlertChange::Recovery => (TroubleState::Recovered, Verdict::Ok),
        AlertChange::FlappingStarted => (TroubleState::Flapping, last),
        AlertChange::Acknowledged { by, why } => {
            acknowledged = Some((by.clone(), why.clone()));
            (TroubleState::Acknowledged, last)
        }
        AlertChange::Dropped => (TroubleState::Dropped, last),
    };
    let begins = match before {
        Some(before) => !before.state.is_open(),
        None if state.is_loud() && channel.only.is_about(alert) => true,
        None => return None,
    };
    // A host without an open problem cannot recover, nor be acknowledged.
    if begins && !state.is_loud() {
        return None;
    }
    let first = alert.since.unwrap_or(alert.at);
    let since = before.filter(|_| !begins).map_or(first, |before| before.since);
    let loud_before = before.filter(|before| before.state.is_loud());
    let loud_since = loud_before.map_or(alert.at, |before| before.loud_since.unwrap_or(before.at));
    let loud_since = state.is_loud().then_some(loud_since);
    let text = alert.text.clone();
    Some(Trouble { state, verdict, text, since, at: alert.at, loud_since, acknowledged })
}

#[cfg(test)]
#[path = "incidents_tests.rs"]
mod tests;
