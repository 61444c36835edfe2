//! Building a roster, and applying a new configuration: states continue, and checks that left it are dropped.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::nodes::{CONTACT, CheckIndex, NodeIndex, Position, Positions, SpotIndex};
use super::{
    Batch, CATCH_UP, Node, ProbeTarget, ProbeTime, Roster, RosterSettings, Spot, WantedCheck, WatchedHost,
    WatchedId,
};
use crate::domain::base::name::HostName;
use crate::domain::base::schedule::{MAX_ATTEMPTS, Rhythm, Spread, Watching};
use crate::domain::check::id::CheckId;
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::watch::alert::{Alert, AlertChange};
use crate::domain::watch::roll::Downtime;
use crate::domain::watch::subject::Subject;
use crate::domain::watch::watched::Watched;

/// Longest interval between probes of an unreachable host.
const CONTACT_INTERVAL: Duration = Duration::from_secs(60);

impl Roster {
    /// A roster without any checks.
    pub fn new(settings: RosterSettings) -> Roster {
        Roster {
            settings,
            nodes: Positions::default(),
            by_name: HashMap::new(),
            due: BinaryHeap::new(),
            ready: VecDeque::new(),
            in_flight: 0,
            downtimes: Vec::new(),
            in_hand: BTreeMap::new(),
            batch: Batch::default(),
            dirty: Vec::new(),
            probes: 0,
            late: VecDeque::new(),
            ticked: None,
        }
    }

    /// Continues where another process ended: its states, and the downtimes that are under way.
    pub fn begin_with(
        &mut self,
        wanted: Vec<WatchedHost>,
        states: HashMap<WatchedId, Watched>,
        downtimes: Vec<Downtime>,
        now: Timestamp,
    ) {
        self.downtimes = downtimes.into_iter().filter(|downtime| downtime.until > now).collect();
        let old = states.into_iter().map(|(key, state)| (key, Old { state, ..Old::new(now) })).collect();
        self.replace(wanted, old, now);
    }

    /// Applies another configuration.
    pub fn take_over(&mut self, settings: RosterSettings, wanted: Vec<WatchedHost>, now: Timestamp) {
        let same_zone = self.settings.zone == settings.zone;
        self.settings = settings;
        let mut old = HashMap::new();
        // Unstored states are collected again from the new positions.
        let dirty = std::mem::take(&mut self.dirty);
        for place in dirty {
            self.spot_mut(place).dirty = true;
        }
        let nodes = std::mem::take(&mut self.nodes).into_iter();
        for (group, spot) in
            nodes.flat_map(|node| node.spots.into_iter().map(move |spot| (node.group.clone(), spot)))
        {
            let watching = same_zone.then_some(spot.watching);
            let Spot { key, state, turn, missed, fresh_after, dirty, .. } = spot;
            // A check that waited for its turn is due again at once.
            let turn = if matches!(turn, ProbeTime::Queued(_)) { ProbeTime::Due(now) } else { turn };
            old.insert(key, Old { group, state, turn, missed, fresh_after, dirty, watching });
        }
        self.replace(wanted, old, now);
    }

    /// Replaces the rendered checks: the releases on hosts have changed, and with them what their
    /// checks expect.
    pub fn render_again(&mut self, hosts: Vec<WatchedHost>, now: Timestamp) {
        for host in hosts {
            let Some(node) = self.by_name.get(&host.name).map(|at| &mut self.nodes[*at]) else {
                continue;
            };
            for check in host.checks {
                let is_it = |spot: &&mut Spot| spot.key.check.check() == Some(&check.id);
                if let Some(spot) = node.spots.iter_mut().find(is_it) {
                    spot.what = check.what;
                }
            }
        }
        self.find_leaders();
        for place in self.places() {
            let spot = self.spot(place);
            // Until now a leader started its probes.
            if !spot.is_contact() && spot.turn == ProbeTime::Idle && !spot.missed {
                self.plan_first(place, now);
            }
        }
    }

    fn replace(&mut self, wanted: Vec<WatchedHost>, mut old: HashMap<WatchedId, Old>, now: Timestamp) {
        (self.nodes, self.by_name, self.due, self.ready) = Default::default();
        let own = wanted.iter().map(|host| (host.name.clone(), host.endpoint.clone())).collect();
        for host in wanted {
            let at = self.node_of(&own, (&host.name, &host.group, &host.endpoint), now, &mut old);
            self.nodes[at].group = host.group.clone();
            self.add_checks(at, host, &mut old, now);
        }
        self.find_leaders();
        self.cover(now);
        for place in self.places() {
            if self.spot(place).dirty {
                self.dirty.push(place);
            }
            self.plan_first(place, now);
        }
        self.drop_rest(old, now);
    }

    /// The index of a host, which is added if it is missing, with the jump hosts in front of it.
    fn node_of(
        &mut self,
        own: &HashMap<HostName, Arc<Endpoint>>,
        (name, group, endpoint): (&HostName, &str, &Arc<Endpoint>),
        now: Timestamp,
        old: &mut HashMap<WatchedId, Old>,
    ) -> NodeIndex {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        // The contact of a jump host is probed as the inventory says that it is reached, whatever way a host behind it lists.
        let way = |via: &Endpoint| own.get(&via.name).cloned().unwrap_or_else(|| Arc::new(via.clone()));
        let via = endpoint.via.as_deref().map(way);
        let jump = via.map(|via| self.node_of(own, (&via.name, group, &via), now, old));
        let watching = Watching { max_attempts: 0, ..Watching::new(Rhythm::Every(CONTACT_INTERVAL)) };
        let contact = spot(name, Subject::Contact, Arc::new(watching), ProbeTarget::Contact, now);
        let mut node = Node {
            name: name.clone(),
            group: group.into(),
            endpoint: endpoint.clone(),
            jump,
            behind: Vec::new(),
            spots: Positions::default(),
            in_flight: 0,
            waiting: VecDeque::new(),
            in_hand: self.in_hand.get(name).copied(),
            asked: false,
        };
        node.add(contact, old);
        let at = self.nodes.push(node);
        self.by_name.insert(name.clone(), at);
        if let Some(jump) = jump {
            self.nodes[jump].behind.push(at);
        }
        at
    }

    fn add_checks(
        &mut self,
        at: NodeIndex,
        host: WatchedHost,
        old: &mut HashMap<WatchedId, Old>,
        now: Timestamp,
    ) {
        let mut jump = Some(at);
        // The contact is probed as often as the most urgent check of the host, and becomes hard as late as the most
        // patient one; the contact of a jump host serves all hosts behind it.
        while let Some(up) = jump {
            let node = &mut self.nodes[up];
            let of_contact = &mut node.spots[CONTACT].watching;
            *of_contact = Arc::new(contact_of(of_contact, &host.checks));
            jump = node.jump;
        }
        let node = &mut self.nodes[at];
        let ids: Vec<&CheckId> = host.checks.iter().map(|check| &check.id).collect();
        for check in &host.checks {
            let subject = Subject::Check(check.id.clone());
            let mut spot = spot(&host.name, subject, check.watching.clone(), check.what.clone(), now);
            let needs = |word: &String| needed(&check.id.set, word, &ids);
            spot.depends_on = check.watching.depends_on.iter().flat_map(needs).collect();
            node.add(spot, old);
        }
    }

    /// Sets the first due time after a start or a reload.
    fn plan_first(&mut self, place: SpotIndex, now: Timestamp) {
        let spot = self.spot(place);
        if spot.turn == ProbeTime::Busy {
            return;
        }
        if spot.missed {
            // The reason why it was suspended may have left the configuration.
            if !self.is_held_up(place) {
                self.speak_again(place, now);
            }
            return;
        }
        if spot.with.is_some() {
            if spot.state.has_news() {
                self.plan(place, Some(now));
            }
            return;
        }
        let regular = |after| spot.watching.rhythm.next(after, spot.spread, &self.settings.zone);
        // A probe that was due while no daemon ran is made up for.
        let lost = || spot.state.last_at.and_then(regular).is_some_and(|due| due < now);
        let at = match (spot.turn.due(), place.1) {
            (Some(due), _) => Some(due),
            (None, CONTACT) if spot.state.is_problem() => Some(now),
            (None, CONTACT) => None,
            _ if spot.state.has_news() => Some(now),
            _ if lost() => now.checked_add(spot.spread.within(CATCH_UP)).ok().min_with(regular(now)),
            _ => regular(now),
        };
        self.plan(place, at);
    }

    /// Finds the positions of the leaders.
    fn find_leaders(&mut self) {
        for place in self.places() {
            let spot = self.spot(place);
            let leader = match &spot.what {
                ProbeTarget::With(host) => {
                    self.place(&WatchedId { host: host.clone(), check: spot.key.check.clone() })
                }
                _ => None,
            };
            self.spot_mut(place).with = leader.filter(|leader| *leader != place);
        }
    }

    fn drop_rest(&mut self, rest: HashMap<WatchedId, Old>, now: Timestamp) {
        let rest: BTreeMap<WatchedId, Old> = rest.into_iter().collect();
        for (key, old) in rest {
            // The result of a probe that is still under way is ignored.
            if old.state.is_told() {
                self.batch.alerts.push(Alert {
                    at: now,
                    since: None,
                    host: key.host.clone(),
                    group: old.group,
                    check: key.check.clone(),
                    change: AlertChange::Dropped,
                    text: "it is not watched any more".into(),
                });
            }
            self.batch.gone.push(key);
        }
        let gone: BTreeSet<&WatchedId> = self.batch.gone.iter().collect();
        self.batch.states.retain(|key, _| !gone.contains(key));
    }

    pub(super) fn places(&self) -> impl Iterator<Item = SpotIndex> + use<> {
        let all: Vec<_> = self.nodes.positions().map(|at| self.places_of(at)).collect();
        all.into_iter().flatten()
    }

    pub(super) fn places_of(&self, node: NodeIndex) -> impl Iterator<Item = SpotIndex> + use<> {
        self.nodes[node].spots.positions().map(move |check| (node, check))
    }
}

/// The earlier state of a check.
struct Old {
    /// The group of its host; unknown after a restart.
    group: String,
    state: Watched,
    turn: ProbeTime,
    missed: bool,
    fresh_after: Option<Timestamp>,
    dirty: bool,
    /// Its earlier schedule: if that is unchanged, the next due time is kept, too.
    watching: Option<Arc<Watching>>,
}

impl Old {
    fn new(now: Timestamp) -> Old {
        let state = Watched::new(now);
        Old {
            group: String::new(),
            state,
            turn: ProbeTime::Idle,
            missed: false,
            fresh_after: None,
            dirty: false,
            watching: None,
        }
    }
}

impl Node {
    fn add(&mut self, mut spot: Spot, old: &mut HashMap<WatchedId, Old>) {
        if let Some(old) = old.remove(&spot.key) {
            let same = old.watching.is_some_and(|watching| watching.rhythm == spot.watching.rhythm);
            let keeps = same || spot.is_contact() || old.turn == ProbeTime::Busy;
            spot.turn = if keeps { old.turn } else { ProbeTime::Idle };
            (spot.state, spot.missed, spot.fresh_after) = (old.state, old.missed, old.fresh_after);
            self.in_flight += usize::from(spot.turn == ProbeTime::Busy);
            spot.dirty = old.dirty;
        }
        self.spots.push(spot);
    }
}

impl Spot {
    pub(super) fn is_contact(&self) -> bool {
        matches!(self.what, ProbeTarget::Contact)
    }
}

/// The earlier of two optional times.
trait MinWith {
    fn min_with(self, other: Option<Timestamp>) -> Option<Timestamp>;
}

impl MinWith for Option<Timestamp> {
    fn min_with(self, other: Option<Timestamp>) -> Option<Timestamp> {
        self.into_iter().chain(other).min()
    }
}

/// The checks that a word of `depends_on` in the set `own` names: the check of its own set comes first.
fn needed(own: &str, word: &str, ids: &[&CheckId]) -> Vec<CheckIndex> {
    let whole = |id: &CheckId| id.is_written(word);
    let beside = |id: &CheckId| &*id.set == own && &*id.name == word;
    let bare = |id: &CheckId| &*id.name == word;
    let spots = |is_it: &dyn Fn(&CheckId) -> bool| -> Vec<CheckIndex> {
        (1..).zip(ids).filter(|(_, id)| is_it(id)).map(|(check, _)| CheckIndex::new(check)).collect()
    };
    let ways: [&dyn Fn(&CheckId) -> bool; 3] = [&whole, &beside, &bare];
    ways.into_iter().map(spots).find(|found| !found.is_empty()).unwrap_or_default()
}

fn contact_of(before: &Watching, checks: &[WantedCheck]) -> Watching {
    let all = || checks.iter().map(|check| &check.watching);
    let every = all().filter_map(|watching| match &watching.rhythm {
        Rhythm::Every(interval) => Some(*interval),
        Rhythm::Cron(_) => None,
    });
    let before_interval = match &before.rhythm {
        Rhythm::Every(interval) => *interval,
        Rhythm::Cron(_) => CONTACT_INTERVAL,
    };
    let interval = every.min().unwrap_or(CONTACT_INTERVAL).min(before_interval);
    let retry_interval = all().map(|watching| watching.retry_interval).min().unwrap_or(interval);
    let max_attempts = all().map(|watching| watching.max_attempts).max().unwrap_or(MAX_ATTEMPTS);
    Watching {
        rhythm: Rhythm::Every(interval),
        max_attempts: max_attempts.max(before.max_attempts),
        retry_interval: retry_interval.min(before.retry_interval),
        depends_on: Vec::new(),
    }
}

fn spot(host: &HostName, check: Subject, watching: Arc<Watching>, what: ProbeTarget, now: Timestamp) -> Spot {
    Spot {
        spread: Spread::new(host.as_str(), &check.to_string()),
        key: WatchedId { host: host.clone(), check },
        what,
        watching,
        state: Watched::new(now),
        turn: ProbeTime::Idle,
        missed: false,
        fresh_after: None,
        with: None,
        depends_on: Vec::new(),
        downtime: None,
        dirty: false,
    }
}
