//! What became of a file that was copied to hosts.

use std::fmt::Write;

use super::recap::failures;
use super::table::{alike, folded};
use crate::domain::base::outcome::Outcome;
use crate::domain::run::event::{Event, EventKind};
use crate::domain::run::run::Run;

/// Hosts that have the file now, those that had it before, and those that do not have it or of which that is not known.
pub fn recap(run: &Run, events: &[Event]) -> String {
    let good = events.iter().filter_map(|event| match &event.kind {
        EventKind::StepEnded { host, outcome: Outcome::Ok, .. } => {
            Some(("changed, the file is there now", host))
        }
        EventKind::StepEnded { host, outcome: Outcome::Unchanged, .. } => {
            Some(("unchanged, the file was there", host))
        }
        _ => None,
    });
    let mut text = String::new();
    for (word, mut hosts) in alike(good) {
        hosts.sort();
        _ = writeln!(text, "{} ({}): {word}", folded(hosts.iter().copied()), hosts.len());
    }
    text + &failures(run, events)
}
