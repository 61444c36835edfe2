//! The checks to watch by the present configuration.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Config, FilesDir};
use crate::domain::base::name::HostName;
use crate::domain::check::check::Check;
use crate::domain::check::id::CheckId;
use crate::domain::plan::plan::World;
use crate::domain::plan::release::ReleaseTakeover;
use crate::domain::watch::roster::{RosterSettings, WatchedHost};
use crate::domain::watch::watchlist;
use crate::watch::{Orders, Watchlist};

impl Watchlist for Config {
    fn orders(&self) -> Orders {
        let schedule = &self.settings.schedule;
        let settings = RosterSettings {
            zone: schedule.time_zone.clone(),
            flapping: schedule.flapping,
            parallel: schedule.parallel,
            per_host: schedule.per_host,
        };
        Orders {
            enabled: schedule.enabled,
            settings,
            keep_samples: schedule.keep_samples,
            keep_changes: schedule.keep_changes,
            files: self.root.join("files"),
        }
    }

    fn wanted(&self, taken: BTreeMap<HostName, Vec<ReleaseTakeover>>) -> Vec<WatchedHost> {
        let world = World {
            inventory: &self.inventory,
            tasks: &self.tasks,
            checks: &self.checks,
            files: &FilesDir::new(&self.root),
            facts: &self.facts,
            files_root: self.root.join("files"),
            taken,
            marks: Vec::new(),
            owed: BTreeSet::new(),
            written_off: BTreeSet::new(),
        };
        watchlist::wanted(&world)
    }

    fn checks(&self) -> BTreeMap<HostName, Vec<CheckId>> {
        let of_sets = |sets: &[String]| {
            let checks = sets.iter().filter_map(|set| self.checks.get(set)).flatten();
            checks.map(Check::id).collect()
        };
        let hosts = self.inventory.hosts.iter();
        hosts.map(|host| (host.name.clone(), of_sets(&host.checks))).collect()
    }
}
