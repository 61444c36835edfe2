//! `doctor` without a selector: rollcall itself. What was observed becomes findings, each with the next step.

use jiff::Timestamp;
use serde::Serialize;

use super::doctor::{Finding, Grade, rows};
use super::table::{age, columns, folded};
use crate::domain::ask::vitals::{StoreSigns, VitalSigns};
use crate::domain::base::name::{HostName, RunId};
use crate::domain::run::record::Debt;

/// Less free space is critical: a full disk stops all runs. The same that uploads leave free.
const FREE_CRITICAL_BYTES: u64 = 64 << 20;

/// Less free space is reported.
const FREE_WARNING_BYTES: u64 = 1 << 30;

/// More descriptors in use are reported, in percent of their limit.
const DESCRIPTORS_PERCENT: u64 = 80;

const MIB: u64 = 1 << 20;

/// What the door knows beside the observations; only what the operator may see.
pub struct Within<'w> {
    /// The digest of the configuration in force.
    pub digest: String,
    /// The operator may read mistakes of the configuration, which name what is in it.
    pub sees_all: bool,
    pub debts: &'w [Debt],
    /// Hosts that the operator may see.
    pub sees: &'w (dyn Fn(&HostName) -> bool + Sync),
    /// Channels with messages that could not be delivered, and the last error of each.
    pub troubles: Vec<(String, String)>,
    /// Why watching gives no answer.
    pub watching: Result<(), String>,
    pub notices_run: bool,
    /// Open runs on which nothing works.
    pub left_alone: Vec<RunId>,
    pub version: &'w str,
    pub now: Timestamp,
}

/// Rollcall, examined.
#[derive(Debug, Serialize)]
pub struct OwnExamined {
    rollcall: String,
    findings: Vec<Finding>,
}

impl OwnExamined {
    /// Judges everything.
    pub fn of(signs: &VitalSigns, within: &Within<'_>) -> OwnExamined {
        let mut findings = vec![configuration(signs, within), program(signs)];
        findings.extend(store(&signs.store));
        findings.extend([audit(&signs.store), clock(signs.clock)]);
        findings.extend(signs.sockets.iter().map(socket));
        if signs.sockets.is_empty() {
            findings.push(finding("socket", Grade::Unknown, "no daemon: `--local` listens nowhere".into()));
        }
        findings.extend([descriptors(signs.descriptors), host_key(signs)]);
        findings.extend(identities(signs));
        findings.push(keyless(signs, within));
        findings.extend(actors(within));
        findings.extend(channels(within));
        findings.push(debts(within));
        OwnExamined { rollcall: within.version.to_string(), findings }
    }

    /// True if nothing is critical.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.grade != Grade::Critical)
    }

    /// For people.
    pub fn text(&self) -> String {
        format!("rollcall {}\n{}", self.rollcall, columns(&rows(&self.findings)))
    }
}

fn finding(what: &str, grade: Grade, text: String) -> Finding {
    Finding { what: what.into(), grade, ms: None, text }
}

/// Fine, or critical with the reason.
fn sound<T>(what: &str, observed: &Result<T, String>, fine: impl FnOnce(&T) -> String) -> Finding {
    match observed {
        Ok(value) => finding(what, Grade::Ok, fine(value)),
        Err(why) => finding(what, Grade::Critical, why.clone()),
    }
}

fn configuration(signs: &VitalSigns, within: &Within<'_>) -> Finding {
    let short = |digest: &str| digest.chars().take(12).collect::<String>();
    let digest = &within.digest;
    match &signs.on_disk {
        Ok(on_disk) if on_disk == digest => {
            finding("config", Grade::Ok, format!("{} is in force, as it is on disk", short(digest)))
        }
        Ok(on_disk) => {
            let (on_disk, digest) = (short(on_disk), short(digest));
            let text =
                format!("{on_disk} is on disk, and {digest} is in force; try: config diff, then reload");
            finding("config", Grade::Warning, text)
        }
        Err(mistakes) => {
            let first = mistakes.lines().next().filter(|_| within.sees_all);
            let first = first.map(|line| format!(" ({line})")).unwrap_or_default();
            let text = format!(
                "the files on disk have mistakes{first}, and the next start would fail; {} is in force; try: \
                 rollcall check-config",
                short(digest)
            );
            finding("config", Grade::Critical, text)
        }
    }
}

fn program(signs: &VitalSigns) -> Finding {
    match signs.is_replaced {
        Some(false) => finding("program", Grade::Ok, "the file on disk is the one that runs".into()),
        Some(true) => {
            let text = "its file was replaced or removed; the new one runs after a restart";
            finding("program", Grade::Warning, text.into())
        }
        None => finding("program", Grade::Unknown, "/proc does not say which file runs".into()),
    }
}

fn store(signs: &StoreSigns) -> Vec<Finding> {
    let path = &signs.path;
    let writable = match &signs.writable {
        Ok(()) => finding("store", Grade::Ok, format!("{path} is writable")),
        Err(why) => {
            let text =
                format!("{path} is not writable, so no run can start: {why}; try: free space, and its owner");
            finding("store", Grade::Critical, text)
        }
    };
    let intact = match &signs.intact {
        Some(Ok(())) => {
            let size = signs.bytes.as_ref().map(|bytes| format!(", {} MiB", bytes / MIB));
            finding("store", Grade::Ok, format!("quick_check finds no damage{}", size.unwrap_or_default()))
        }
        Some(Err(why)) => {
            let text = format!("damaged: {why}; try: stop rollcall and restore the store from a copy");
            finding("store", Grade::Critical, text)
        }
        None => {
            let text = "quick_check did not end in time; each start makes the same check";
            finding("store", Grade::Unknown, text.into())
        }
    };
    vec![writable, intact, space(path, &signs.free)]
}

fn space(path: &str, free: &Result<u64, String>) -> Finding {
    let free = match free {
        Ok(free) => *free,
        Err(why) => return finding("space", Grade::Unknown, why.clone()),
    };
    let grade = match free {
        0..FREE_CRITICAL_BYTES => Grade::Critical,
        FREE_CRITICAL_BYTES..FREE_WARNING_BYTES => Grade::Warning,
        _ => Grade::Ok,
    };
    let next =
        if grade == Grade::Ok { "" } else { "; a full disk stops all runs; try: a larger file system" };
    finding("space", grade, format!("{} MiB free beside {path}{next}", free / MIB))
}

fn audit(signs: &StoreSigns) -> Finding {
    if signs.intact.is_none() {
        return finding(
            "audit",
            Grade::Unknown,
            "not verified: the file took too long; try: audit verify".into(),
        );
    }
    let fine = "the newest 10000 rows of audit and journal fit; for all of them: audit verify";
    sound("audit", &signs.chains, |()| fine.into())
}

fn clock(synchronized: Option<bool>) -> Finding {
    match synchronized {
        Some(true) => finding("clock", Grade::Ok, "synchronized".into()),
        Some(false) => {
            let text = "not synchronized: certificates, expiry and times on record depend on it; try: chrony, or \
                        systemd-timesyncd";
            finding("clock", Grade::Warning, text.into())
        }
        None => {
            let text = "`timedatectl` does not say whether it is synchronized; compare it: date -u";
            finding("clock", Grade::Unknown, text.into())
        }
    }
}

fn socket((address, greeted): &(String, Result<(), String>)) -> Finding {
    match greeted {
        Ok(()) => finding("socket", Grade::Ok, format!("{address} greets")),
        Err(why) => {
            let text = format!("{address} does not greet: {why}; see the daemon's log; try: a restart");
            finding("socket", Grade::Critical, text)
        }
    }
}

fn descriptors(of: Option<(u64, u64)>) -> Finding {
    let Some((used, limit)) = of else {
        return finding("files", Grade::Unknown, "/proc does not say how many descriptors are open".into());
    };
    let is_much = used.saturating_mul(100) >= limit.saturating_mul(DESCRIPTORS_PERCENT);
    let (grade, next) = match is_much {
        true => (Grade::Warning, "; try: a higher LimitNOFILE of the service"),
        false => (Grade::Ok, ""),
    };
    finding("files", grade, format!("{used} of {limit} file descriptors are open{next}"))
}

fn host_key(signs: &VitalSigns) -> Finding {
    sound("host key", &signs.host_key, |key| format!("{key}, readable for rollcall alone"))
}

fn identities(signs: &VitalSigns) -> Vec<Finding> {
    if signs.identities.is_empty() {
        let text = "[fleet] has neither `identity` nor `agent`, so rollcall can log in to no host";
        return vec![finding("fleet key", Grade::Warning, text.into())];
    }
    signs.identities.iter().map(|one| sound("fleet key", one, |text| format!("{text} can be used"))).collect()
}

fn keyless(signs: &VitalSigns, within: &Within<'_>) -> Finding {
    let all = match &signs.keyless {
        Ok(all) => all,
        Err(why) => return finding("known hosts", Grade::Critical, why.clone()),
    };
    let seen: Vec<&HostName> = all.iter().filter(|host| (within.sees)(host)).collect();
    if seen.is_empty() {
        return finding("known hosts", Grade::Ok, "every host has a key on record".into());
    }
    let count = seen.len();
    let text = format!(
        "{} ({count}): no key on record, so rollcall does not connect; try: host accept HOST",
        folded(seen)
    );
    finding("known hosts", Grade::Warning, text)
}

fn actors(within: &Within<'_>) -> Vec<Finding> {
    let runs: Vec<String> = within.left_alone.iter().map(ToString::to_string).collect();
    let runs = match runs.is_empty() {
        true => finding("runs", Grade::Ok, "every open run has its loop".into()),
        false => {
            let text = format!(
                "nothing works on run {}, which is open; try: a restart, which continues it",
                runs.join(", ")
            );
            finding("runs", Grade::Critical, text)
        }
    };
    let watching = match &within.watching {
        Ok(()) => finding("watching", Grade::Ok, "answers".into()),
        Err(why) => {
            finding("watching", Grade::Critical, format!("does not answer: {why}; see the daemon's log"))
        }
    };
    let notices = match within.notices_run {
        true => finding("notices", Grade::Ok, "under way".into()),
        false => finding("notices", Grade::Unknown, "not started in this process".into()),
    };
    vec![runs, watching, notices]
}

fn channels(within: &Within<'_>) -> Vec<Finding> {
    let one = |(name, why): &(String, String)| {
        let text = format!("the channel {name} cannot deliver: {why}; try: notify test {name}");
        finding("notices", Grade::Warning, text)
    };
    within.troubles.iter().map(one).collect()
}

fn debts(within: &Within<'_>) -> Finding {
    let Some(oldest) = within.debts.iter().map(|debt| debt.since).min() else {
        return finding("debts", Grade::Ok, "none is open".into());
    };
    let (count, age) = (within.debts.len(), age(oldest, within.now));
    finding("debts", Grade::Warning, format!("{count} open, the oldest for {age}; see: debts"))
}

#[cfg(test)]
#[path = "vitals_tests.rs"]
mod tests;
