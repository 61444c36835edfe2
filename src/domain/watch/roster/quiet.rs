//! When a check causes no alerts, and which alerts follow afterwards: downtimes, hosts that runs work on, and
//! checks that depend on something that is not ok.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::nodes::{CONTACT, NodeIndex, SpotIndex};
use super::{CATCH_UP, ProbeTarget, ProbeTime, Roster, WatchedId};
use crate::domain::base::name::{HostName, RunId};
use crate::domain::watch::alert::{Alert, AlertChange};
use crate::domain::watch::roll::{Ack, Changed, Downtime, Quiet};
use crate::domain::watch::watched::Silence;

impl Roster {
    /// Starts a downtime.
    pub fn add_downtime(&mut self, downtime: Downtime, now: Timestamp) {
        self.downtimes.push(downtime);
        self.cover(now);
    }

    /// Ends a downtime early; `None` if none has this number.
    pub fn end_downtime(&mut self, id: u64, now: Timestamp) -> Option<Downtime> {
        let at = self.downtimes.iter().position(|downtime| downtime.id == id)?;
        let ended = self.downtimes.remove(at);
        self.cover(now);
        Some(ended)
    }

    /// Ends the downtimes whose time is over.
    pub fn tick(&mut self, now: Timestamp) {
        let back = |before: Timestamp| now.duration_since(before) < SignedDuration::from_secs(-1);
        if self.ticked.replace(now).is_some_and(back) {
            self.plan_anew(now);
        }
        if self.downtimes.iter().any(|downtime| downtime.until <= now) {
            self.downtimes.retain(|downtime| downtime.until > now);
            self.cover(now);
        }
    }

    /// The clock was set back: due times by the old clock would be far in the future by the new one.
    fn plan_anew(&mut self, now: Timestamp) {
        for place in self.places() {
            if self.spot(place).turn.due().is_none() {
                continue;
            }
            let regular = if place.1 == CONTACT { Some(now) } else { self.regular(place, now) };
            if regular.is_some() {
                self.plan(place, regular);
            }
        }
    }

    /// Sets the hosts that runs are working on. They are not probed and cause no alerts during the run; an alert that is
    /// open stays so until a probe after the run.
    pub fn set_in_hand(&mut self, in_hand: BTreeMap<HostName, RunId>, now: Timestamp) {
        let before = std::mem::replace(&mut self.in_hand, in_hand);
        for at in self.nodes.positions() {
            let name = &self.nodes[at].name;
            let (was, is) = (before.get(name).copied(), self.in_hand.get(name).copied());
            if was == is {
                continue;
            }
            self.nodes[at].in_hand = is;
            for place in self.places_of(at) {
                if is.is_none() {
                    self.speak_again(place, now);
                } else {
                    self.tell(place, now);
                }
            }
        }
    }

    /// An operator acknowledges a problem.
    pub fn acknowledge(&mut self, key: &WatchedId, ack: Ack) -> Result<(), String> {
        let place = self.place(key).ok_or("it is not watched; see: status")?;
        let (at, by, why) = (ack.at, ack.by.clone(), ack.why.clone());
        let state = &mut self.spot_mut(place).state;
        let change = state.acknowledge(ack)?;
        let changed = Changed {
            at,
            verdict: state.verdict.unwrap_or(state.hard),
            hard: !state.is_soft(),
            text: why,
            note: Some(format!("acknowledged by {by}")),
            run: None,
        };
        self.batch.changes.push((key.clone(), changed));
        self.keep_state(place);
        if let Some(change) = change {
            self.alert(place, at, change);
        }
        Ok(())
    }

    /// Finds the downtime of each check again, and sends the alerts that follow.
    pub(super) fn cover(&mut self, now: Timestamp) {
        for place in self.places() {
            let found = self.covering(place);
            let spot = self.spot_mut(place);
            let before = std::mem::replace(&mut spot.downtime, found);
            match (before, found) {
                (None, Some(_)) => self.tell(place, now),
                (Some(_), None) => self.speak_again(place, now),
                _ => {}
            }
        }
    }

    fn covering(&self, place: SpotIndex) -> Option<u64> {
        if self.downtimes.is_empty() {
            return None;
        }
        let spot = self.spot(place);
        let covers = |downtime: &&Downtime| {
            downtime.hosts.contains(&spot.key.host) && downtime.of.covers(&spot.key.check)
        };
        self.downtimes.iter().filter(covers).max_by_key(|downtime| downtime.until).map(|downtime| downtime.id)
    }

    /// A reason to be quiet has ended. A pending alert waits for another probe: the last observation may be
    /// outdated.
    pub(super) fn speak_again(&mut self, place: SpotIndex, now: Timestamp) {
        let asked = self.nodes[place.0].asked;
        let spot = self.spot_mut(place);
        let missed = std::mem::take(&mut spot.missed);
        // An alert that is open may be over by now: a run may have repaired the host.
        let news = spot.state.has_news() || spot.state.is_told();
        let (contact, spread) = (spot.is_contact(), spot.spread);
        if news {
            spot.fresh_after = Some(now);
        }
        if spot.turn.is_under_way() {
            spot.missed = missed && spot.turn == ProbeTime::Busy;
            return;
        }
        if news || (contact && (asked || spot.state.is_problem())) {
            self.plan(place, Some(now));
        } else if missed && !contact {
            let soon = now.checked_add(spread.within(CATCH_UP)).ok();
            let regular = self.regular(place, now);
            self.plan(place, soon.into_iter().chain(regular).min());
        }
    }

    /// The next due time by its schedule.
    pub(super) fn regular(&self, place: SpotIndex, after: Timestamp) -> Option<Timestamp> {
        let spot = self.spot(place);
        if spot.with.is_some() {
            return None;
        }
        spot.watching.rhythm.next(after, spot.spread, &self.settings.zone)
    }

    /// True if a probe would observe something other than the check.
    pub(super) fn is_held_up(&self, place: SpotIndex) -> bool {
        let node = &self.nodes[place.0];
        // It probes other hosts, too, and each of them reports whether it is reachable.
        if matches!(self.spot(place).what, ProbeTarget::Together(_)) {
            return false;
        }
        if node.in_hand.is_some() || self.broken_jump(place.0).is_some() {
            return true;
        }
        place.1 != CONTACT && node.spots[CONTACT].state.is_problem()
    }

    /// The nearest jump host in front of it that is known to be unreachable, or is being probed.
    pub(super) fn broken_jump(&self, node: NodeIndex) -> Option<NodeIndex> {
        let mut jump = self.nodes[node].jump;
        while let Some(at) = jump {
            let node = &self.nodes[at];
            if node.asked || node.spots[CONTACT].state.is_problem() {
                return Some(at);
            }
            jump = node.jump;
        }
        None
    }

    /// Why the check causes no alerts.
    pub(super) fn quiet(&self, place: SpotIndex) -> Option<Quiet> {
        let (node, spot) = (&self.nodes[place.0], self.spot(place));
        if let Some(run) = node.in_hand {
            return Some(Quiet::InHand { run });
        }
        let downtime = spot.downtime.and_then(|id| self.downtimes.iter().find(|downtime| downtime.id == id));
        if let Some(Downtime { id, by, why, until, .. }) = downtime {
            return Some(Quiet::Downtime { id: *id, by: by.clone(), why: why.clone(), until: *until });
        }
        if let Some(jump) = self.broken_jump(place.0) {
            return Some(Quiet::DependsOn { on: format!("the jump host {}", self.nodes[jump].name) });
        }
        if place.1 != CONTACT && node.spots[CONTACT].state.is_problem() {
            return Some(Quiet::DependsOn { on: "the host".into() });
        }
        let broken = spot.depends_on.iter().find(|at| node.spots[**at].state.is_problem());
        broken.map(|at| Quiet::DependsOn { on: node.spots[*at].key.check.to_string() })
    }

    fn silence(&self, place: SpotIndex) -> Silence {
        let (node, spot) = (&self.nodes[place.0], self.spot(place));
        if spot.downtime.is_some() {
            return Silence::Downtime;
        }
        if node.in_hand.is_some() {
            return Silence::Waits;
        }
        let contact = place.1 != CONTACT && node.spots[CONTACT].state.is_problem();
        let needs = || spot.depends_on.iter().any(|at| node.spots[*at].state.is_problem());
        match spot.fresh_after.is_some() || contact || needs() || self.broken_jump(place.0).is_some() {
            true => Silence::Waits,
            false => Silence::No,
        }
    }

    /// Sends the alert that follows, if any.
    pub(super) fn tell(&mut self, place: SpotIndex, at: Timestamp) {
        let state = &self.spot(place).state;
        if !state.has_news() && !state.is_told() {
            return;
        }
        let silence = self.silence(place);
        if let Some(change) = self.spot_mut(place).state.tell(silence) {
            self.keep_state(place);
            self.alert(place, at, change);
        }
    }

    fn alert(&mut self, place: SpotIndex, at: Timestamp, change: AlertChange) {
        let (node, spot) = (&self.nodes[place.0], self.spot(place));
        let text = match (&change, self.quiet(place)) {
            (AlertChange::Dropped, Some(Quiet::Downtime { by, why, .. })) => {
                format!("downtime by {by}: {why}")
            }
            _ => spot.state.text.clone(),
        };
        let (host, group, check) = (node.name.clone(), node.group.clone(), spot.key.check.clone());
        let since = Some(spot.state.since);
        self.batch.alerts.push(Alert { at, since, host, group, check, change, text });
    }
}
