//! At the end: what was told of every host and every attempt is what is so in the world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rollcall::domain::base::name::HostName;
use rollcall::domain::base::outcome::{End, Outcome};
use rollcall::domain::run::run::Run;

use super::host::SimHost;
use super::ledger::{Execution, Ledger, RUN};
use super::world::{NEW, OLD, release_path};

/// Compares the world with what was told of it.
pub fn compare(ledger: &Ledger, hosts: &BTreeMap<HostName, Arc<SimHost>>) {
    let Some(run) = replay(ledger) else { return };
    let debts: BTreeSet<HostName> =
        ledger.store.debts_now().expect("debts").into_iter().map(|debt| debt.host).collect();
    let taken = ledger.store.taken_now().expect("releases");
    for (name, host) in run.hosts() {
        let Some(end) = host.end() else { continue };
        let present = taken.get(name).and_then(|taken| taken.first());
        // What was begun and came to no known end is on record, but not as good.
        let present = present.filter(|taken| taken.good || end == End::Failing);
        let is_new =
            present.is_some_and(|taken| taken.release.params.get("version").is_some_and(|v| v == NEW));
        let told_new = matches!(end, End::Released | End::Unchanged | End::Failing);
        if is_new != told_new {
            ledger.fault("I13 three-valued outcomes", &format!("{name} is {}, release {is_new}", end.word()));
        }
        if debts.contains(name) != host.is_owed() {
            ledger.fault(
                "I4 debt closure",
                &format!("{name} is owed {}, and the store says not", host.is_owed()),
            );
        }
        for claim in broken_claims(ledger, &hosts[name], end) {
            ledger.fault("I13 three-valued outcomes", &format!("{name} is {}, but {claim}", end.word()));
        }
    }
    compare_outcomes(ledger);
}

/// What is not so of a host that ended like this.
fn broken_claims(ledger: &Ledger, host: &SimHost, end: End) -> Vec<String> {
    let disk = host.disk().clone();
    let (out, out_in_file) = {
        let book = ledger.book();
        (book.out.contains(&host.name), book.out_in_file.contains(&host.name))
    };
    let foreign = ledger.foreign.contains(&host.name);
    let mut broken = Vec::new();
    let mut claim = |holds: bool, what: &str| {
        if !holds {
            broken.push(format!("{what}: {} -> {}, out {out}/{out_in_file}", disk.link, disk.running));
        }
    };
    let on = |version: &str| disk.link == release_path(version) && disk.running == version;
    match end {
        End::Released | End::Unchanged => {
            claim(on(NEW), "it is not on the new release");
            claim(!out && !out_in_file, "it is not in rotation");
        }
        End::RolledBack => {
            claim(on(OLD), "it is not on the old release");
            claim(!out && !out_in_file, "it is not in rotation");
        }
        End::NotStarted => {
            claim(on(OLD), "it is not on the old release");
            claim(disk.files.is_empty(), "something was done to it");
            claim(foreign || (!out && !out_in_file), "it is not in rotation");
        }
        End::Held => claim(out_in_file, "it is in rotation"),
        End::Failing => claim(!out && !out_in_file, "it is not in rotation"),
        End::Unknown | End::Done | End::Failed => {}
    }
    broken
}

/// Every attempt's outcome against what happened on the host.
fn compare_outcomes(ledger: &Ledger) {
    let (outcomes, executions) = {
        let book = ledger.book();
        (book.outcomes.clone(), book.executions.clone())
    };
    for (operation, outcome) in outcomes {
        let Execution { repeats, begun, changed } = executions.get(&operation).copied().unwrap_or_default();
        let holds = match outcome {
            _ if repeats && begun > 1 => matches!(outcome, Outcome::Ok | Outcome::Lost { .. }),
            Outcome::Ok => begun == 1,
            Outcome::Unchanged => changed == 0,
            Outcome::NotStarted { .. } => begun == 0,
            Outcome::Failed { .. } | Outcome::Timeout { .. } => begun == 1 && changed == 0,
            Outcome::WouldChange | Outcome::NotKnown { .. } => false,
            Outcome::Cancelled | Outcome::Lost { .. } => begun <= 1,
        };
        if !holds {
            let what = format!("{operation} is {outcome:?}, but began {begun} and changed {changed} times");
            ledger.fault("I13 three-valued outcomes", &what);
        }
    }
}

/// I9 and I10: the stored journal is whole, and its fold is the state that was reached.
fn replay(ledger: &Ledger) -> Option<Run> {
    if let Err(error) = ledger.store.verify_now() {
        ledger.fault("I10 audit monotone", &error.to_string());
    }
    let stored = ledger.store.load_now(RUN).expect("the run can be read").expect("the run is there");
    let fold = || Run::replay(RUN, stored.plan.clone(), &stored.events);
    let (events, shadow) = {
        let book = ledger.book();
        (book.events.clone(), book.shadow.clone())
    };
    if stored.events != events || stored.plan != *ledger.plan {
        ledger.fault("I9 fold determinism", "what is read is not what was written");
    }
    match (fold(), fold()) {
        (Ok(one), Ok(other)) => {
            if one != other || one != shadow {
                ledger.fault("I9 fold determinism", "two folds of one journal differ");
            }
            Some(one)
        }
        (Err(illegal), _) | (_, Err(illegal)) => {
            ledger.fault("I9 fold determinism", &illegal.to_string());
            None
        }
    }
}
