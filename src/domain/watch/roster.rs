//! All watched checks: which check on which host is due, which probe may start, what its result changes, and which
//! alerts follow. A value without a clock: `watch.rs` passes the time in, makes the probes and stores the batches.
//!
//! An unreachable host is one problem, of its contact, which every host has. Probes of other checks that cannot
//! connect detect it; then only the contact is probed, the other checks of the host are suspended, and their
//! alerts stay open. The same holds one level up: hosts behind a jump host wait for it.

mod build;
mod nodes;
mod quiet;
mod took;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use self::nodes::{CONTACT, CheckIndex, NodeIndex, Positions, SpotIndex};
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::schedule::{Spread, Watching};
use crate::domain::check::check::Check;
use crate::domain::check::id::CheckId;
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::plan::plan::Snapshot;
use crate::domain::watch::alert::Alert;
use crate::domain::watch::roll::{Changed, CheckLine, Downtime, Roll, Sample, ScheduleHealth};
use crate::domain::watch::subject::Subject;
use crate::domain::watch::watched::{Flapping, Watched};

/// A probe that could not be made when it was due is made up for within this time.
const CATCH_UP: Duration = Duration::from_secs(60);

/// How far back the lateness of the schedule is kept, and for how many probes.
const PACE_WINDOW_MS: i64 = 5 * 60 * 1000;
const PACE_LOOKS: usize = 16_384;

/// Settings for the whole roster.
#[derive(Clone, Debug, PartialEq)]
pub struct RosterSettings {
    pub zone: TimeZone,
    pub flapping: Flapping,
    /// The most probes at the same time.
    pub parallel: usize,
    pub per_host: usize,
}

/// A host to watch.
#[derive(Clone, Debug)]
pub struct WatchedHost {
    pub name: HostName,
    pub group: String,
    pub endpoint: Arc<Endpoint>,
    pub checks: Vec<WantedCheck>,
}

/// One check of a host to watch.
#[derive(Clone, Debug)]
pub struct WantedCheck {
    pub id: CheckId,
    pub watching: Arc<Watching>,
    pub what: ProbeTarget,
}

/// A check on a host, or the host itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchedId {
    pub host: HostName,
    pub check: Subject,
}

/// A probe to make.
#[derive(Clone, Debug)]
pub struct DueProbe {
    pub key: WatchedId,
    pub endpoint: Arc<Endpoint>,
    pub what: ProbeTarget,
}

/// The target of a probe.
#[derive(Clone, Debug)]
pub enum ProbeTarget {
    /// Whether the host answers.
    Contact,
    Check(Arc<Check>),
    /// Hosts that are compared with each other: one of them (the leader) starts the probes of all of them.
    Together(Arc<Snapshot>),
    /// The check is compared with other hosts, and this host is the leader.
    With(HostName),
    /// Why it cannot be probed: its templates cannot be rendered for this host.
    Broken(Arc<str>),
}

/// Changes to store: all of them in one transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    pub samples: Vec<(WatchedId, Sample)>,
    pub states: BTreeMap<WatchedId, Watched>,
    pub changes: Vec<(WatchedId, Changed)>,
    pub alerts: Vec<Alert>,
    /// No longer watched.
    pub gone: Vec<WatchedId>,
}

impl Batch {
    /// True if there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of changes to store.
    pub fn len(&self) -> usize {
        self.samples.len() + self.states.len() + self.changes.len() + self.alerts.len() + self.gone.len()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Roster {
    settings: RosterSettings,
    nodes: Positions<NodeIndex, Node>,
    by_name: HashMap<HostName, NodeIndex>,
    /// The due times. An entry that no longer matches the due time of its check is ignored.
    due: BinaryHeap<Reverse<(Timestamp, SpotIndex)>>,
    /// Due, and waiting for their turn.
    ready: VecDeque<SpotIndex>,
    in_flight: usize,
    downtimes: Vec<Downtime>,
    in_hand: BTreeMap<HostName, RunId>,
    batch: Batch,
    /// The checks whose states have to be stored.
    dirty: Vec<SpotIndex>,
    probes: u64,
    late: VecDeque<(i64, u64)>,
    /// The time of the last tick.
    ticked: Option<Timestamp>,
}

/// A host, or a jump host that others need.
#[derive(Debug)]
struct Node {
    name: HostName,
    group: String,
    endpoint: Arc<Endpoint>,
    /// The jump host in front of it.
    jump: Option<NodeIndex>,
    /// The hosts behind it.
    behind: Vec<NodeIndex>,
    spots: Positions<CheckIndex, Spot>,
    in_flight: usize,
    /// Due, and waiting until fewer probes of this host are under way.
    waiting: VecDeque<CheckIndex>,
    in_hand: Option<RunId>,
    /// A host behind it could not be reached: its contact is being probed.
    asked: bool,
}

/// A check on a host.
#[derive(Debug)]
struct Spot {
    key: WatchedId,
    what: ProbeTarget,
    watching: Arc<Watching>,
    spread: Spread,
    state: Watched,
    turn: ProbeTime,
    /// It was due while it could not be probed, or its host was set aside with a jump host.
    missed: bool,
    /// Alerts may follow only from probes that start later than this.
    fresh_after: Option<Timestamp>,
    /// The position of the leader that starts its probe.
    with: Option<SpotIndex>,
    /// The indexes of the checks that it depends on.
    depends_on: Vec<CheckIndex>,
    /// The operator's downtime that covers it.
    downtime: Option<u64>,
    dirty: bool,
}

/// Whether and when a check is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProbeTime {
    /// No probe is planned: another event or the leader starts the next one.
    Idle,
    Due(Timestamp),
    /// Its time has come, at this moment; it waits for a free place.
    Queued(Timestamp),
    /// The probe is under way.
    Busy,
}

impl ProbeTime {
    /// When the probe is or was due that is planned.
    fn due(self) -> Option<Timestamp> {
        match self {
            ProbeTime::Due(at) | ProbeTime::Queued(at) => Some(at),
            ProbeTime::Idle | ProbeTime::Busy => None,
        }
    }

    /// True when a probe starts without any further event.
    fn is_under_way(self) -> bool {
        match self {
            ProbeTime::Queued(_) | ProbeTime::Busy => true,
            ProbeTime::Idle | ProbeTime::Due(_) => false,
        }
    }

    /// The turn once the next probe is planned for `at`.
    fn planned(self, at: Option<Timestamp>) -> ProbeTime {
        match (self, at) {
            // The probe that is under way plans the next one when it ends.
            (ProbeTime::Busy, _) => ProbeTime::Busy,
            (ProbeTime::Queued(before), at) => ProbeTime::Queued(at.unwrap_or(before)),
            (ProbeTime::Idle | ProbeTime::Due(_), Some(at)) => ProbeTime::Due(at),
            (ProbeTime::Idle | ProbeTime::Due(_), None) => ProbeTime::Idle,
        }
    }

    /// True when a leader with this turn has to be planned sooner for a follower.
    fn is_later_than(self, at: Timestamp) -> bool {
        match self {
            ProbeTime::Idle => true,
            ProbeTime::Due(due) => at < due,
            ProbeTime::Queued(_) | ProbeTime::Busy => false,
        }
    }
}

impl Roster {
    /// The next due time: of a probe, or of the end of a downtime. `None` while nothing is watched.
    pub fn wake_at(&mut self) -> Option<Timestamp> {
        while let Some(Reverse((at, place))) = self.due.peek() {
            match self.spot(*place).turn.due() == Some(*at) {
                true => break,
                false => _ = self.due.pop(),
            }
        }
        let probe =
            self.due.peek().map(|Reverse((at, ..))| *at).filter(|_| self.in_flight < self.settings.parallel);
        probe.into_iter().chain(self.downtimes.iter().map(|downtime| downtime.until)).min()
    }

    /// The next probe that may start, if there is one. It counts as under way from now on.
    pub fn next_probe(&mut self, now: Timestamp) -> Option<DueProbe> {
        self.call(now);
        while self.in_flight < self.settings.parallel {
            let place = self.ready.pop_front()?;
            if self.may_begin(place) {
                return Some(self.begin(place, now));
            }
        }
        None
    }

    /// Queues every check whose time has come.
    fn call(&mut self, now: Timestamp) {
        while let Some(Reverse((at, place))) = self.due.peek().copied() {
            if at > now {
                return;
            }
            self.due.pop();
            let one = self.spot_mut(place);
            if one.turn == ProbeTime::Due(at) {
                one.turn = ProbeTime::Queued(at);
                self.ready.push_back(place);
            }
        }
    }

    /// False if it has to wait: for another probe of its host, or for the host itself.
    fn may_begin(&mut self, place: SpotIndex) -> bool {
        let per_host = self.settings.per_host;
        if self.is_held_up(place) {
            let spot = self.spot_mut(place);
            (spot.turn, spot.missed) = (ProbeTime::Idle, true);
            return false;
        }
        let node = &mut self.nodes[place.0];
        // A probe of the contact does not wait for those that hang because the host does not answer.
        if node.in_flight >= per_host && place.1 != CONTACT {
            node.waiting.push_back(place.1);
            return false;
        }
        true
    }

    fn begin(&mut self, place: SpotIndex, now: Timestamp) -> DueProbe {
        self.in_flight += 1;
        self.probes += 1;
        let node = &mut self.nodes[place.0];
        node.in_flight += 1;
        let spot = &mut node.spots[place.1];
        let late = spot.turn.due().map_or(0, |due| now.as_millisecond().saturating_sub(due.as_millisecond()));
        (spot.turn, spot.missed) = (ProbeTime::Busy, false);
        let probe =
            DueProbe { key: spot.key.clone(), endpoint: node.endpoint.clone(), what: spot.what.clone() };
        if self.late.len() >= PACE_LOOKS {
            self.late.pop_front();
        }
        self.late.push_back((now.as_millisecond(), u64::try_from(late).unwrap_or_default()));
        probe
    }

    /// A probe has ended with any result: its host has room for another one.
    fn ended(&mut self, place: SpotIndex) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let node = &mut self.nodes[place.0];
        node.in_flight = node.in_flight.saturating_sub(1);
        if let Some(next) = node.waiting.pop_front() {
            self.ready.push_front((place.0, next));
        }
        let spot = self.spot_mut(place);
        if spot.turn == ProbeTime::Busy {
            spot.turn = ProbeTime::Idle;
        }
    }

    /// Sets the time of the next probe.
    fn plan(&mut self, place: SpotIndex, at: Option<Timestamp>) {
        if let Some(leader) = self.spot(place).with {
            let turn = self.spot(leader).turn;
            if let Some(at) = at.filter(|at| turn.is_later_than(*at)) {
                self.plan(leader, Some(at));
            }
            return;
        }
        let spot = self.spot_mut(place);
        spot.turn = spot.turn.planned(at);
        if let Some(at) = at {
            self.due.push(Reverse((at, place)));
        }
    }

    /// Hands over all changes to store; the caller owns them from now on.
    pub fn take_batch(&mut self) -> Batch {
        for place in std::mem::take(&mut self.dirty) {
            let spot = self.spot_mut(place);
            spot.dirty = false;
            let (key, state) = (spot.key.clone(), spot.state.clone());
            self.batch.states.insert(key, state);
        }
        std::mem::take(&mut self.batch)
    }

    /// All states, for a stop: probes that changed nothing are not stored one by one.
    pub fn all_states(&mut self) -> Batch {
        let probed = |spot: &&Spot| spot.state.last_at.is_some();
        let spots = self.nodes.iter().flat_map(|node| node.spots.iter()).filter(probed);
        let states: Vec<_> = spots.map(|spot| (spot.key.clone(), spot.state.clone())).collect();
        let mut batch = self.take_batch();
        batch.states.extend(states);
        batch
    }

    /// The number of changes that are not stored yet.
    pub fn unstored(&self) -> usize {
        self.batch.len() + self.dirty.len()
    }

    /// A store that fails for a long time loses probes, but never a state or an alert.
    pub fn forget_probes_beyond(&mut self, limit: usize) {
        let beyond = self.batch.samples.len().saturating_sub(limit);
        self.batch.samples.drain(..beyond);
    }

    /// The hosts that runs are working on, as far as the roster knows.
    pub fn in_hand(&self) -> &BTreeMap<HostName, RunId> {
        &self.in_hand
    }

    fn keep_state(&mut self, place: SpotIndex) {
        let spot = self.spot_mut(place);
        if !std::mem::replace(&mut spot.dirty, true) {
            self.dirty.push(place);
        }
    }

    fn spot(&self, (node, spot): SpotIndex) -> &Spot {
        &self.nodes[node].spots[spot]
    }

    fn spot_mut(&mut self, (node, spot): SpotIndex) -> &mut Spot {
        &mut self.nodes[node].spots[spot]
    }

    fn place(&self, key: &WatchedId) -> Option<SpotIndex> {
        let node = *self.by_name.get(&key.host)?;
        let spots = &self.nodes[node].spots;
        let spot = spots.find(|spot| spot.key.check == key.check)?;
        Some((node, spot))
    }

    /// The present state of all checks.
    pub fn roll(&self, now: Timestamp) -> Roll {
        let mut lines = Vec::new();
        for (at, node) in self.nodes.with_positions() {
            for (spot_at, spot) in node.spots.with_positions() {
                let place = (at, spot_at);
                // A jump host without checks is listed only once it was probed.
                if node.spots.len() > 1 || spot.state.verdict.is_some() {
                    lines.push(self.line(place, node, spot));
                }
            }
        }
        Roll { lines, pace: self.pace(now) }
    }

    fn line(&self, place: SpotIndex, node: &Node, spot: &Spot) -> CheckLine {
        let state = &spot.state;
        CheckLine {
            host: node.name.clone(),
            group: node.group.clone(),
            check: spot.key.check.clone(),
            verdict: state.verdict,
            hard: !state.is_soft(),
            attempt: state.attempt,
            max_attempts: spot.watching.max_attempts,
            since: state.verdict.map(|_| state.since),
            text: state.text.clone(),
            last_at: state.last_at,
            took_ms: state.took_ms,
            readings: state.readings.clone(),
            last_ok: state.last_ok.clone(),
            flapping: state.flapping,
            ack: state.ack.clone(),
            quiet: self.quiet(place),
            next_at: spot.turn.due(),
        }
    }

    /// How well the schedule is kept.
    pub fn pace(&self, now: Timestamp) -> ScheduleHealth {
        let since = now.as_millisecond() - PACE_WINDOW_MS;
        let mut late: Vec<u64> =
            self.late.iter().filter(|(at, _)| *at >= since).map(|(_, late)| *late).collect();
        late.sort_unstable();
        let rank = (late.len() * 99).div_ceil(100).saturating_sub(1);
        let waiting = self.nodes.iter().map(|node| node.waiting.len()).sum::<usize>() + self.ready.len();
        ScheduleHealth {
            probes: self.probes,
            in_flight: self.in_flight,
            waiting,
            late_max_ms: late.last().copied().unwrap_or_default(),
            late_p99_ms: late.get(rank).copied().unwrap_or_default(),
            unstored: self.unstored(),
        }
    }

    /// The downtimes that are under way.
    pub fn downtimes(&self) -> &[Downtime] {
        &self.downtimes
    }

    /// The number of watched checks on all hosts.
    pub fn watched(&self) -> usize {
        self.nodes.iter().map(|node| node.spots.len().saturating_sub(1)).sum()
    }
}

#[cfg(test)]
#[path = "roster_tests.rs"]
mod tests;
