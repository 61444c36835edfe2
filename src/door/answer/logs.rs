//! `logs`: the last lines of a log on hosts. `logs_follow` has what `-f` does.

use std::sync::Arc;

use futures::{StreamExt, stream};

use super::asked::{Asked, Ended};
use super::logs_host::{Fault, Watched, fault_of};
use crate::domain::ask::logs::{LINES_LIMIT, LogsAsk};
use crate::domain::base::name::HostName;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::inventory::inventory::{Host, Inventory};
use crate::port::{ExecEnd, ExecReport};
use crate::present::logs::{HostLog, blocks, json_line};

/// Hosts that are read at the same time.
const AT_ONCE: usize = 32;

/// Most bytes kept of the head of one host's lines, and of their tail.
const KEEP_BYTES: usize = 512 * 1024;

/// The same for all hosts together: all lines are in memory until the last host has answered.
const KEEP_ALL_BYTES: usize = 16 * 1024 * 1024;

/// The fewest bytes kept of one host.
const KEEP_LEAST_BYTES: usize = 8 * 1024;

impl Asked<'_> {
    pub(super) async fn logs(&mut self, inventory: &Arc<Inventory>, asked: &LogsAsk) -> Result<u8, Ended> {
        let names = self.pick(inventory, &asked.selector).await?;
        let hosts: Vec<Host> = names.iter().filter_map(|name| inventory.host(name)).cloned().collect();
        if asked.follow {
            return self.follow_logs(asked, hosts).await;
        }
        let _turn = self.desk.turns.logs.take(&self.operator).await;
        let read = self.read_logs(asked, hosts).await?;
        let mut logs: Vec<HostLog> =
            read.iter().map(|(name, report, fault)| log_of(name, report, fault)).collect();
        logs.iter_mut()
            .for_each(|log| log.note = note(asked, log.stdout.text.lines().count(), log.stdout.left_out));
        match (self.json, &logs[..]) {
            (true, logs) => {
                let text: String = logs.iter().map(json_line).collect();
                self.terminal.out(&text).await?;
            }
            (false, [one]) => {
                self.terminal.printed(&ended(&one.stdout.text), false).await?;
                self.terminal.printed(&ended(&one.stderr.text), true).await?;
                if let Some(why) = one.why {
                    self.terminal.err(&format!("rollcall: {}: {why}\n", one.host)).await?;
                }
            }
            (false, logs) => self.terminal.printed(&blocks(logs), false).await?,
        }
        let notes =
            logs.iter().filter_map(|log| Some(format!("rollcall: {}: {}\n", log.host, log.note.as_ref()?)));
        let notes: String = notes.collect();
        if !self.json && !notes.is_empty() {
            self.terminal.err(&notes).await?;
        }
        let is_cut = logs.iter().any(|log| log.stdout.left_out + log.stderr.left_out > 0);
        Ok(status_of(read.iter().filter_map(|(_, _, fault)| fault.as_ref()), is_cut))
    }

    /// The lines of each host, in the order of the hosts.
    async fn read_logs(
        &mut self,
        asked: &LogsAsk,
        hosts: Vec<Host>,
    ) -> Result<Vec<(HostName, ExecReport, Option<Fault>)>, Ended> {
        let (watched, masks) = (Watched::new(), self.desk.engine.masks());
        let keep = (KEEP_ALL_BYTES / hosts.len().max(1)).clamp(KEEP_LEAST_BYTES, KEEP_BYTES);
        let remote = self.ports().hosts.remote.clone();
        let reading = stream::iter(hosts).map(|host| {
            let exec = watched.exec(asked, masks.clone(), keep);
            let remote = remote.clone();
            // A task of its own sees the command to its end, also when the client leaves.
            tokio::spawn(async move { (host.name.clone(), remote.exec(&host.endpoint, exec).await) })
        });
        let reading = reading.buffered(AT_ONCE).collect::<Vec<_>>();
        let gone = self.terminal.gone();
        let read = tokio::select! {
            biased;
            () = gone.cancelled() => return Err(Ended::Gone),
            read = reading => read,
        };
        let read = read.into_iter().map(|one| {
            let (name, report) =
                one.map_err(|error| Refusal::internal(format!("internal error: {error}")))?;
            let fault = fault_of(&report, false);
            Ok((name, report, fault))
        });
        read.collect()
    }
}

fn log_of<'r>(host: &'r HostName, report: &'r ExecReport, fault: &'r Option<Fault>) -> HostLog<'r> {
    let exit = match report.end {
        ExecEnd::Exited(status) => Some(status),
        _ => None,
    };
    let why = fault.as_ref().map(|fault| fault.why.as_str());
    let is_reached = fault.as_ref().is_none_or(|fault| !fault.no_contact);
    HostLog { host, why, is_reached, exit, stdout: &report.stdout, stderr: &report.stderr, note: None }
}

/// What an operator would take for all lines, and is not.
fn note(asked: &LogsAsk, lines: usize, left_out: u64) -> Option<String> {
    if left_out > 0 {
        return Some(format!(
            "{left_out} bytes of the lines are left out; try: fewer --lines, --grep, or fewer hosts"
        ));
    }
    let is_full = asked.since.is_some() && lines >= asked.lines as usize;
    let limit = if asked.lines == LINES_LIMIT { ", the most" } else { "" };
    is_full.then(|| {
        format!("these are the last {} lines{limit}; earlier ones of that time may be left out", asked.lines)
    })
}

/// The exit status of an answer with these faults.
pub(super) fn status_of<'f>(faults: impl Iterator<Item = &'f Fault>, is_cut: bool) -> u8 {
    let mut status = if is_cut { Cause::Failed.exit_status() } else { 0 };
    for fault in faults {
        match (fault.no_contact, status) {
            (true, 0) => status = Cause::Unreachable.exit_status(),
            (true, _) => {}
            (false, _) => status = Cause::Failed.exit_status(),
        }
    }
    status
}

/// The text with an end of its last line.
fn ended(text: &str) -> String {
    match text.is_empty() || text.ends_with('\n') {
        true => text.into(),
        false => format!("{text}\n"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::ask::logs::LogSource;

    #[test]
    fn hosts_without_contact_alone_are_status_4() {
        let fault = |no_contact| Fault { why: String::new(), no_contact };
        let table: [(&[bool], bool, u8); 6] = [
            (&[], false, 0),
            (&[], true, 2),
            (&[true], false, 4),
            (&[true, false], false, 2),
            (&[false, true], false, 2),
            (&[true], true, 2),
        ];
        for (faults, is_cut, wanted) in table {
            let faults: Vec<Fault> = faults.iter().copied().map(fault).collect();
            assert_eq!(status_of(faults.iter(), is_cut), wanted, "{faults:?} {is_cut}");
        }
    }

    #[test]
    fn lines_of_a_time_that_may_be_cut_say_so() {
        let asked = |since: Option<u64>, lines| LogsAsk {
            selector: "web".into(),
            source: LogSource::Journal("app".into()),
            lines,
            since: since.map(Duration::from_secs),
            grep: None,
            follow: false,
        };
        assert_eq!(note(&asked(None, 50), 50, 0), None, "the last 50 were asked for");
        assert_eq!(note(&asked(Some(60), 50), 49, 0), None);
        let wanted = "these are the last 50 lines; earlier ones of that time may be left out";
        assert_eq!(note(&asked(Some(60), 50), 50, 0).as_deref(), Some(wanted));
        assert!(note(&asked(None, 50), 50, 7).unwrap().starts_with("7 bytes of the lines are left out"));
    }
}
