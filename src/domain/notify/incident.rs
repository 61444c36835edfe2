//! One incident: the affected hosts, the last message about it, and the kind and time of the next message.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::channel::Pace;
use super::notice::{
    About, Acknowledged, EndedIncident, Notice, NoticeContent, NoticeKind, SharedObservation,
};
use crate::domain::base::name::HostName;
use crate::domain::base::nodeset::fold;
use crate::domain::base::outcome::Verdict;
use crate::domain::watch::subject::Subject;

/// Most different texts in one message; the others are counted.
const SEEN_LIMIT: usize = 20;

/// Most bytes of each observation in a message.
const TEXT_LIMIT_BYTES: usize = 1_000;

const WORST_FIRST: [Verdict; 4] = [Verdict::Critical, Verdict::Unknown, Verdict::Warning, Verdict::Ok];

/// One check in one top-level group, over all hosts, from the first problem to the last recovery.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    pub number: u64,
    #[serde(flatten)]
    pub check: Subject,
    /// The top-level group.
    pub group: String,
    /// The time of the first probe that found the problem.
    pub since: Timestamp,
    /// The time of the first alert; `None` in incidents of earlier builds, where it is `since`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Timestamp>,
    pub hosts: BTreeMap<HostName, Trouble>,
    #[serde(alias = "told")]
    pub last_message: Option<LastMessage>,
}

/// The state of one host in an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    pub state: TroubleState,
    pub verdict: Verdict,
    pub text: String,
    pub since: Timestamp,
    /// The time of its last change.
    pub at: Timestamp,
    /// Since when it alerts without an acknowledgement; `None` in incidents of earlier builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loud_since: Option<Timestamp>,
    /// The operator who acknowledged it, and the reason.
    pub acknowledged: Option<(String, String)>,
}

/// See [`Trouble`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TroubleState {
    Bad,
    Flapping,
    Acknowledged,
    Recovered,
    /// No longer watched, or in a downtime.
    Dropped,
}

impl TroubleState {
    /// True until it has recovered or was dropped.
    pub fn is_open(self) -> bool {
        matches!(self, TroubleState::Bad | TroubleState::Flapping | TroubleState::Acknowledged)
    }

    pub fn is_loud(self) -> bool {
        matches!(self, TroubleState::Bad | TroubleState::Flapping)
    }
}

/// The last message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastMessage {
    pub at: Timestamp,
    /// The number of messages so far.
    pub count: u32,
    pub hosts: BTreeMap<HostName, (TroubleState, Verdict)>,
}

impl Incident {
    /// The identity of the incident, unique among all incidents of a channel.
    pub fn thread(&self) -> String {
        format!("{}-{}", self.number, self.since.as_second())
    }

    /// True when no host has a problem any longer.
    pub fn is_over(&self) -> bool {
        self.hosts.values().all(|trouble| !trouble.state.is_open())
    }

    /// The state of a host in the last message.
    pub fn told_of(&self, host: &HostName) -> Option<(TroubleState, Verdict)> {
        self.last_message.as_ref().and_then(|last_message| last_message.hosts.get(host)).copied()
    }

    /// The number of messages so far.
    pub fn messages(&self) -> u32 {
        self.last_message.as_ref().map_or(0, |last_message| last_message.count)
    }

    /// The next message, and when it is due.
    pub fn next(&self, pace: &Pace) -> Option<(Timestamp, NoticeKind)> {
        let Some(last_message) = &self.last_message else {
            return self.first_message(pace).map(|at| (at, NoticeKind::Opened));
        };
        if self.is_over() {
            let last = self.hosts.values().map(|trouble| trouble.at).max()?;
            // A downtime is no recovery.
            let recovered = self.hosts.values().any(|trouble| trouble.state == TroubleState::Recovered);
            let kind = if recovered { NoticeKind::Recovered } else { NoticeKind::Silenced };
            return Some((after(last, pace.gather), kind));
        }
        let first = |is: &dyn Fn(&HostName, &Trouble) -> bool| {
            let those = self.hosts.iter().filter(|(host, trouble)| is(host, trouble));
            those.map(|(host, trouble)| self.due(host, trouble, pace)).min()
        };
        let heard = |host: &HostName| pace.after.is_none() || self.is_told_as_loud(host);
        let known = first(&|host, trouble| {
            let before = self.told_of(host).map(|(state, _)| state);
            trouble.state == TroubleState::Acknowledged
                && before != Some(TroubleState::Acknowledged)
                && heard(host)
        });
        let alarm = first(&|host, trouble| self.is_alarm(host, trouble));
        let changed = first(&|host, trouble| self.is_news(host, trouble));
        let loud = self.hosts.iter().any(|(host, trouble)| trouble.state.is_loud() && heard(host));
        // A message reports all changes so far: with a new alarm among them, it is not only about an acknowledgement.
        let kind = |kind: NoticeKind| if alarm.is_some() { NoticeKind::Update } else { kind };
        let all = [
            known.map(|at| (at, kind(NoticeKind::Acknowledged))),
            alarm.map(|at| (at, NoticeKind::Update)),
            changed.map(|at| (at.max(after(last_message.at, pace.update_every)), NoticeKind::Update)),
            pace.remind_every
                .filter(|_| loud)
                .map(|every| (after(last_message.at, every), kind(NoticeKind::Reminder))),
        ];
        all.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// When the first message is due; `None` while all of it is acknowledged, for a channel of escalation.
    fn first_message(&self, pace: &Pace) -> Option<Timestamp> {
        let gathered = after(self.opened.unwrap_or(self.since), pace.gather);
        if pace.after.is_none() {
            return Some(gathered);
        }
        let loud = self.hosts.iter().filter(|(_, trouble)| trouble.state.is_loud());
        loud.map(|(host, trouble)| self.due(host, trouble, pace).max(gathered)).min()
    }

    /// When the last change of a host is reported. An escalation waits until the problem is old enough, unless the channel
    /// has reported it already.
    fn due(&self, host: &HostName, trouble: &Trouble, pace: &Pace) -> Timestamp {
        let gathered = after(trouble.at, pace.gather);
        match pace.after.filter(|_| trouble.state.is_loud() && !self.is_told_as_loud(host)) {
            Some(wait) => after(trouble.loud_since.unwrap_or(trouble.at), wait).max(gathered),
            None => gathered,
        }
    }

    fn is_told_as_loud(&self, host: &HostName) -> bool {
        self.told_of(host).is_some_and(|(state, _)| state.is_loud())
    }

    /// True for another host, a worse verdict, or flapping that started or ended.
    pub fn is_news(&self, host: &HostName, trouble: &Trouble) -> bool {
        let same = self.told_of(host).is_some_and(|(state, _)| state == trouble.state);
        trouble.state.is_loud() && (!same || self.is_alarm(host, trouble))
    }

    /// True for a new alarm, which waits for no other message: a host that the last message did not report as having a
    /// problem, or as one that an operator had acknowledged; or a worse verdict.
    pub fn is_alarm(&self, host: &HostName, trouble: &Trouble) -> bool {
        if !trouble.state.is_loud() {
            return false;
        }
        let Some((state, verdict)) = self.told_of(host) else { return true };
        let worse =
            trouble.verdict != verdict && Verdict::worst([trouble.verdict, verdict]) == trouble.verdict;
        !state.is_loud() || worse
    }
}

fn after(at: Timestamp, time: std::time::Duration) -> Timestamp {
    jiff::SignedDuration::try_from(time).ok().and_then(|time| at.checked_add(time).ok()).unwrap_or(at)
}

impl Incident {
    /// The message to send now, compared with the last one.
    pub fn notice(&self, kind: NoticeKind, at: Timestamp, pace: &Pace) -> Notice {
        let (incident, is_over) = (self, self.is_over());
        let of_state = |state: TroubleState| {
            let changed = incident.hosts.iter().filter(move |(host, trouble)| {
                trouble.state == state && incident.told_of(host).is_none_or(|(before, _)| before != state)
            });
            folded(changed.map(|(host, _)| host))
        };
        let open = || incident.hosts.iter().filter(|(_, trouble)| trouble.state.is_open());
        let shown: Vec<&HostName> = match is_over {
            true => incident.hosts.keys().collect(),
            false => open().map(|(host, _)| host).collect(),
        };
        let news = incident.hosts.iter().filter(|(host, trouble)| incident.is_news(host, trouble));
        let (seen, not_shown) = seen(incident);
        let thread = incident.thread();
        let loud = incident.hosts.values().filter(|trouble| trouble.state.is_loud());
        let waited = loud.filter_map(|trouble| trouble.loud_since).min().filter(|_| pace.after.is_some());
        Notice {
            key: format!("{thread}.{}", incident.messages() + 1),
            at,
            what: NoticeContent::Incident(Box::new(About {
                kind,
                first: incident.messages() == 0,
                thread,
                check: incident.check.clone(),
                group: incident.group.clone(),
                since: incident.since,
                verdict: match kind {
                    NoticeKind::Silenced => {
                        Verdict::worst(incident.hosts.values().map(|trouble| trouble.verdict))
                    }
                    _ => Verdict::worst(open().map(|(_, trouble)| trouble.verdict)),
                },
                example: shown.first().map(|host| host.to_string()).unwrap_or_default(),
                count: shown.len(),
                hosts: folded(shown.into_iter()),
                of: 0,
                seen,
                not_shown,
                new: folded(news.map(|(host, _)| host)),
                recovered: of_state(TroubleState::Recovered),
                dropped: of_state(TroubleState::Dropped),
                acknowledged: acknowledged(incident),
                waited,
            })),
        }
    }

    /// The incident as a line of a digest.
    pub fn line(&self, until: Option<Timestamp>) -> EndedIncident {
        let hosts = self.hosts.iter();
        let hosts = hosts.filter(|(_, trouble)| until.is_some() || trouble.state.is_open());
        EndedIncident {
            check: self.check.clone(),
            group: self.group.clone(),
            hosts: folded(hosts.map(|(host, _)| host)),
            verdict: Verdict::worst(self.hosts.values().map(|trouble| trouble.verdict)),
            since: self.since,
            until,
        }
    }
}

/// Equal texts folded: the worst first, then those of most hosts; and the number of hosts whose text is left out.
fn seen(incident: &Incident) -> (Vec<SharedObservation>, usize) {
    let mut alike: BTreeMap<(usize, bool, &str), Vec<&HostName>> = BTreeMap::new();
    for (host, trouble) in incident.hosts.iter().filter(|(_, trouble)| trouble.state.is_open()) {
        let flapping = trouble.state == TroubleState::Flapping;
        alike.entry((weight(trouble.verdict), flapping, shortened(&trouble.text))).or_default().push(host);
    }
    let mut alike: Vec<_> = alike.into_iter().collect();
    alike.sort_by_key(|((weight, ..), hosts)| (*weight, std::cmp::Reverse(hosts.len())));
    let rest = alike.iter().skip(SEEN_LIMIT).map(|(_, hosts)| hosts.len()).sum();
    let shown =
        alike.into_iter().take(SEEN_LIMIT).map(|((weight, flapping, text), hosts)| SharedObservation {
            hosts: folded(hosts.into_iter()),
            verdict: WORST_FIRST[weight],
            flapping,
            text: text.into(),
        });
    (shown.collect(), rest)
}

fn weight(verdict: Verdict) -> usize {
    WORST_FIRST.iter().position(|worse| *worse == verdict).unwrap_or_default()
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_LIMIT_BYTES)]
}

fn acknowledged(incident: &Incident) -> Vec<Acknowledged> {
    let mut alike: BTreeMap<&(String, String), Vec<&HostName>> = BTreeMap::new();
    for (host, trouble) in &incident.hosts {
        if let Some(who) =
            trouble.acknowledged.as_ref().filter(|_| trouble.state == TroubleState::Acknowledged)
        {
            alike.entry(who).or_default().push(host);
        }
    }
    let last_message = alike.into_iter().map(|((by, why), hosts)| Acknowledged {
        hosts: folded(hosts.into_iter()),
        by: by.clone(),
        why: why.clone(),
    });
    last_message.collect()
}

fn folded<'h>(hosts: impl Iterator<Item = &'h HostName>) -> String {
    fold(hosts.map(HostName::as_str))
}
