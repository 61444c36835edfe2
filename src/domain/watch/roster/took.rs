//! Applies a probe: to the state of its check, to the contacts of its host and of the jump hosts in front of it, and
//! to the time of the next probe.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::nodes::{CONTACT, CheckIndex, NodeIndex, SpotIndex};
use super::{ProbeTime, Roster, WatchedId};
use crate::domain::base::name::HostName;
use crate::domain::base::outcome::Verdict;
use crate::domain::check::check::CheckResult;
use crate::domain::check::id::CheckId;
use crate::domain::watch::roll::Sample;
use crate::domain::watch::watched::Rules;

impl Roster {
    /// Applies the result of a probe that started at `begun` and ended at `at`. A result of a check that is no longer
    /// watched changes nothing.
    pub fn took(&mut self, key: &WatchedId, begun: Timestamp, result: CheckResult, at: Timestamp) {
        let Some(place) = self.place(key) else {
            // It left the configuration during the probe.
            self.in_flight = self.in_flight.saturating_sub(1);
            return;
        };
        self.ended(place);
        if place.1 == CONTACT {
            self.took_contact(place, begun, result, at);
        } else if result.no_contact {
            self.no_contact(place, result, at);
        } else {
            self.note_contact(place.0, &result, at);
            self.take_in(place, begun, result, at);
            let next = self.next_after(place, at);
            self.plan(place, next);
        }
    }

    /// Applies the results of hosts that were probed together, one for each host.
    pub fn took_together(
        &mut self,
        key: &WatchedId,
        begun: Timestamp,
        results: BTreeMap<HostName, CheckResult>,
        at: Timestamp,
    ) {
        let Some(leader) = self.place(key) else {
            self.in_flight = self.in_flight.saturating_sub(1);
            return;
        };
        self.ended(leader);
        let mut next = self.regular(leader, at);
        let in_hand =
            |host: &HostName| self.by_name.get(host).is_some_and(|node| self.nodes[*node].in_hand.is_some());
        if results.keys().any(in_hand) {
            // In the middle of a run its hosts differ from the others on purpose.
            return self.plan(leader, next);
        }
        for (host, result) in results {
            let Some(place) = self.place(&WatchedId { host, check: key.check.clone() }) else { continue };
            if self.nodes[place.0].in_hand.is_some() {
                // The run is about to change what is on it.
                self.spot_mut(place).missed = place != leader;
            } else if result.no_contact {
                self.no_contact(place, result, at);
            } else {
                self.note_contact(place.0, &result, at);
                self.take_in(place, begun, result, at);
                next = next.into_iter().chain(self.next_after(place, at)).min();
            }
        }
        let next = next.into_iter().chain(self.spot(leader).turn.due()).min();
        self.plan(leader, next);
    }

    fn take_in(&mut self, place: SpotIndex, begun: Timestamp, result: CheckResult, at: Timestamp) {
        let flapping = self.settings.flapping;
        let spot = self.spot_mut(place);
        let value = result.readings.first().and_then(|reading| reading.value);
        let sample = Sample { at, verdict: result.verdict, value, took_ms: result.took_ms, run: None };
        let rules = Rules { max_attempts: spot.watching.max_attempts, flapping };
        let (problem, attempt) = (spot.state.is_problem(), spot.state.attempt);
        spot.fresh_after = spot.fresh_after.filter(|after| begun < *after);
        let changed = spot.state.took(result, at, &rules);
        let key = spot.key.clone();
        let recovered = problem && !spot.state.is_problem();
        let moved = changed.is_some() || attempt != spot.state.attempt;
        if let Some(changed) = changed {
            self.batch.changes.push((key.clone(), changed));
        }
        self.batch.samples.push((key, sample));
        if moved {
            self.keep_state(place);
        }
        self.tell(place, at);
        if recovered {
            self.free_dependents(place, at);
        }
    }

    /// Checks that depend on this one are probed again before any alert of them is sent.
    fn free_dependents(&mut self, place: SpotIndex, at: Timestamp) {
        let spots = &self.nodes[place.0].spots;
        let hang = |spot: &super::Spot| spot.depends_on.contains(&place.1) && spot.state.has_news();
        let hanging: Vec<CheckIndex> =
            spots.with_positions().filter(|(_, spot)| hang(spot)).map(|(at, _)| at).collect();
        hanging.into_iter().for_each(|spot| self.speak_again((place.0, spot), at));
    }

    /// The time of the next probe.
    fn next_after(&self, place: SpotIndex, at: Timestamp) -> Option<Timestamp> {
        let spot = self.spot(place);
        let state = &spot.state;
        // An alert is pending that this probe started too early for.
        if spot.fresh_after.is_some() && (state.has_news() || state.is_told()) {
            return Some(at);
        }
        if state.is_problem() && state.is_soft() {
            return at.checked_add(spot.watching.retry_interval).ok();
        }
        self.regular(place, at)
    }

    /// What a probe of a check proves about its host: only the host's own answer shows that it is reachable.
    fn note_contact(&mut self, node: NodeIndex, result: &CheckResult, at: Timestamp) {
        match result.reached {
            true => self.met(node, at, result.took_ms),
            false => self.probe_contact(node, at),
        }
    }

    /// The contact is probed by itself while probes of checks prove nothing about it: they are made elsewhere, or cannot
    /// be made at all.
    fn probe_contact(&mut self, node: NodeIndex, at: Timestamp) {
        let contact = (node, CONTACT);
        let spot = self.spot(contact);
        let due = spot.state.last_at.and_then(|last| self.regular(contact, last));
        if spot.turn == ProbeTime::Idle && !spot.state.is_problem() && due.is_none_or(|due| due <= at) {
            self.plan(contact, Some(at));
        }
    }

    /// A probe of a check reached the host.
    fn met(&mut self, node: NodeIndex, at: Timestamp, took_ms: u64) {
        let contact = (node, CONTACT);
        let state = &mut self.spot_mut(contact).state;
        match state.verdict {
            Some(Verdict::Ok) => state.last_at = Some(at),
            None => {
                let text = "it answers".to_string();
                let seen = CheckResult::new(CheckId::default(), Verdict::Ok, text);
                self.take_in(contact, at, CheckResult { took_ms, reached: true, ..seen }, at);
            }
            // Only a probe of the contact ends its problem: this one may have started before the problem did.
            Some(_) => {}
        }
    }

    /// A probe of a check did not reach the host: that says nothing about the check.
    fn no_contact(&mut self, place: SpotIndex, result: CheckResult, at: Timestamp) {
        self.spot_mut(place).missed = true;
        let contact = (place.0, CONTACT);
        let spot = self.spot(contact);
        // Several checks that fail at once count as a single probe of the contact.
        if !spot.state.is_problem() && spot.turn != ProbeTime::Busy && self.broken_jump(place.0).is_none() {
            self.ask_jump(place.0, at);
            let seen = CheckResult::new(CheckId::default(), Verdict::Critical, result.text);
            self.take_in(contact, at, CheckResult { took_ms: result.took_ms, ..seen }, at);
            let next = self.next_after(contact, at);
            self.plan(contact, next);
        }
        if !self.is_held_up(place) {
            self.spot_mut(place).missed = false;
            let again = at.checked_add(self.spot(place).watching.retry_interval).ok();
            self.plan(place, again);
        }
    }

    /// Applies a probe of the contact.
    fn took_contact(&mut self, place: SpotIndex, begun: Timestamp, result: CheckResult, at: Timestamp) {
        let node = place.0;
        let was_asked = std::mem::take(&mut self.nodes[node].asked);
        let was_problem = self.spot(place).state.is_problem();
        if let Some(jump) = self.broken_jump(node).filter(|_| result.no_contact) {
            let why = format!("not probed: the jump host {} is not ok", self.nodes[jump].name);
            self.wait_for_jump(place, at, &why);
        } else {
            if result.no_contact {
                self.ask_jump(node, at);
            }
            self.take_in(place, begun, result, at);
            let next = if self.spot(place).state.is_problem() { self.next_after(place, at) } else { None };
            self.plan(place, next);
        }
        let is_problem = self.spot(place).state.is_problem();
        match (was_problem, is_problem) {
            (true, false) => self.is_back(node, at),
            (false, true) => self.hold_up_behind(node, at),
            // The jump host was in doubt and is reachable: the problems of the hosts behind it are their own.
            (false, false) if was_asked => self.free_behind(node, at),
            _ => {}
        }
    }

    fn wait_for_jump(&mut self, place: SpotIndex, at: Timestamp, why: &str) {
        let spot = self.spot_mut(place);
        spot.state.set_aside(at, why);
        spot.missed = true;
        self.keep_state(place);
    }

    /// Starts a probe of the jump host in front of a host that could not be reached.
    fn ask_jump(&mut self, node: NodeIndex, at: Timestamp) {
        let Some(jump) = self.nodes[node].jump else { return };
        let contact = (jump, CONTACT);
        if self.nodes[jump].asked || self.spot(contact).state.is_problem() {
            return;
        }
        self.nodes[jump].asked = true;
        if !self.spot(contact).turn.is_under_way() {
            self.plan(contact, Some(at));
        }
    }

    /// The host is reachable again: its checks are probed, and so are those of hosts behind it.
    fn is_back(&mut self, node: NodeIndex, at: Timestamp) {
        for place in self.places_of(node).filter(|place| place.1 != CONTACT) {
            self.speak_again(place, at);
        }
        self.free_behind(node, at);
    }

    fn free_behind(&mut self, node: NodeIndex, at: Timestamp) {
        for behind in self.nodes[node].behind.clone() {
            for place in self.places_of(behind) {
                match place.1 == CONTACT && !self.spot(place).missed {
                    // It was judged while the jump host was in doubt.
                    true => self.tell(place, at),
                    false => self.speak_again(place, at),
                }
            }
            self.free_behind(behind, at);
        }
    }

    /// The jump host is unreachable: the state of the hosts behind it is unknown.
    fn hold_up_behind(&mut self, node: NodeIndex, at: Timestamp) {
        let why = format!("not probed: the jump host {} is not ok", self.nodes[node].name);
        for behind in self.nodes[node].behind.clone() {
            self.wait_for_jump((behind, CONTACT), at, &why);
            self.hold_up_behind(behind, at);
        }
    }
}

impl Roster {
    /// The full key of a check that an operator named.
    pub fn key_of(&self, key: &WatchedId) -> Option<WatchedId> {
        self.place(key).map(|place| self.spot(place).key.clone())
    }
}
