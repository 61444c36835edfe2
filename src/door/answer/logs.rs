//! `logs`: the last lines of a log on hosts. `logs_follow` has what `-f` does.

use std::sync::Arc;

use futures::{StreamExt, stream};

use super::asked::{Asked, Ended};
use super::logs_host::{Fault, Faults, Watched, fault_of, has_no_entries};
use crate::domain::ask::logs::{FOLLOWED_HOSTS, LINES_LIMIT, LogSource, LogsAsk, READ_HOSTS};
use crate::domain::base::name::{HostName, count};
use crate::domain::base::output::Output;
use crate::domain::base::refusal::Refusal;
use crate::domain::inventory::inventory::{Host, Inventory};
use crate::port::{ExecEnd, ExecReport};
use crate::present::logs::{HostLog, blocks, json_line, notes};

/// Hosts that are read at the same time.
const AT_ONCE: usize = 32;

/// Most bytes kept of the head of one host's lines, and of their tail.
const KEEP_BYTES: usize = 512 * 1024;

/// Most bytes kept of all hosts together: all lines are in memory until the last host has answered.
const KEEP_ALL_BYTES: usize = 40 * 1024 * 1024;

/// Standard error of a host keeps this part of the bytes of its lines: one quarter.
const STDERR_SHARE: usize = 4;

impl Asked<'_> {
    pub(super) async fn logs(&mut self, inventory: &Arc<Inventory>, asked: &LogsAsk) -> Result<u8, Ended> {
        let names = self.pick(inventory, &asked.selector).await?;
        let hosts: Vec<Host> = names.iter().filter_map(|name| inventory.host(name)).cloned().collect();
        if asked.follow {
            return self.follow_logs(asked, hosts).await;
        }
        too_many(hosts.len(), false)?;
        let _turn = self.desk.turns.logs.take(&self.operator).await;
        let read = self.read_logs(asked, hosts).await?;
        let logs: Vec<HostLog> =
            read.iter().map(|(name, report, fault)| log_of(asked, name, report, fault)).collect();
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
        let notes = notes(&logs);
        if !self.json && !notes.is_empty() {
            self.terminal.err(&notes).await?;
        }
        let mut faults = Faults::default();
        read.iter().filter_map(|(_, _, fault)| fault.as_ref()).for_each(|fault| faults.add(fault));
        if logs.iter().any(HostLog::is_cut) {
            faults.cut();
        }
        Ok(faults.status())
    }

    /// The lines of each host, in the order of the hosts.
    async fn read_logs(
        &mut self,
        asked: &LogsAsk,
        hosts: Vec<Host>,
    ) -> Result<Vec<(HostName, ExecReport, Option<Fault>)>, Ended> {
        let (watched, masks) = (Watched::new(), self.desk.engine.masks());
        let keep = keep_bytes(hosts.len());
        let remote = self.ports().hosts.remote.clone();
        let reading = stream::iter(hosts).map(|host| {
            let exec = watched.exec(asked, masks.clone(), keep);
            let remote = remote.clone();
            // A task of its own sees the command to its end, also when the client leaves.
            tokio::spawn(async move {
                let ExecReport { end, stdout, stderr } = remote.exec(&host.endpoint, exec).await;
                // Bytes that are no text take four each as text.
                let (stdout, stderr) = (stdout.within(keep), stderr.within(keep / STDERR_SHARE));
                (host.name.clone(), ExecReport { end, stdout, stderr })
            })
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

/// Refuses more hosts than one command reads or follows.
pub(super) fn too_many(hosts: usize, follow: bool) -> Result<(), Refusal> {
    let (limit, what, hint) = match follow {
        true => (FOLLOWED_HOSTS, "to follow", "try: fewer hosts, or without -f"),
        false => (READ_HOSTS, "for one command", "try: fewer hosts"),
    };
    if hosts <= limit {
        return Ok(());
    }
    let why = format!("{} is too many {what}; the limit is {limit}", count(hosts, "host"));
    Err(Refusal::usage(why).hint(hint))
}

/// The bytes kept of the head of each host's lines. The tail has as many, and standard error its share of both.
fn keep_bytes(hosts: usize) -> usize {
    let each = KEEP_ALL_BYTES / hosts.max(1);
    (each * STDERR_SHARE / (2 * STDERR_SHARE + 2)).min(KEEP_BYTES)
}

fn log_of<'r>(
    asked: &LogsAsk,
    host: &'r HostName,
    report: &'r ExecReport,
    fault: &'r Option<Fault>,
) -> HostLog<'r> {
    static NONE: Output = Output { text: String::new(), left_out: 0 };
    let exit = match report.end {
        ExecEnd::Exited(status) => Some(status),
        _ => None,
    };
    let why = fault.as_ref().map(|fault| fault.why.as_str());
    let is_reached = fault.as_ref().is_none_or(|fault| !fault.no_contact);
    let is_empty = matches!(asked.source, LogSource::Journal(_))
        && exit == Some(0)
        && has_no_entries(&report.stdout.text);
    let stdout = if is_empty { &NONE } else { &report.stdout };
    let note = match is_empty {
        // A fault is the better reason.
        true => why.is_none().then(|| no_entries(asked)),
        false => note(asked, stdout.text.lines().count(), stdout.left_out),
    };
    HostLog { host, why, is_reached, exit, stdout, stderr: &report.stderr, note }
}

/// journalctl says the same of a unit without lines and of one that does not exist.
fn no_entries(asked: &LogsAsk) -> String {
    let time = if asked.since.is_some() { " of that time" } else { "" };
    format!("the journal has no entries{time} for this unit, or the host has no such unit")
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

    fn asked(since: Option<u64>, lines: u32) -> LogsAsk {
        LogsAsk {
            selector: "web".into(),
            source: LogSource::Journal("app".into()),
            lines,
            since: since.map(Duration::from_secs),
            grep: None,
            follow: false,
        }
    }

    #[test]
    fn more_hosts_than_memory_holds_are_refused() {
        let table = [
            (READ_HOSTS, false, None),
            (READ_HOSTS + 1, false, Some("2001 hosts is too many for one command; the limit is 2000")),
            (FOLLOWED_HOSTS, true, None),
            (FOLLOWED_HOSTS + 1, true, Some("51 hosts is too many to follow; the limit is 50")),
        ];
        for (hosts, follow, wanted) in table {
            let found = too_many(hosts, follow).err().map(|refusal| refusal.to_string());
            assert_eq!(found.is_some(), wanted.is_some(), "{hosts} {follow}");
            assert!(found.unwrap_or_default().contains(wanted.unwrap_or_default()), "{hosts} {follow}");
        }
        assert_eq!(keep_bytes(1), KEEP_BYTES);
        for hosts in [1, 30, 32, 33, 500, READ_HOSTS] {
            let each = 2 * keep_bytes(hosts) + 2 * (keep_bytes(hosts) / STDERR_SHARE);
            assert!(each * hosts <= KEEP_ALL_BYTES && keep_bytes(hosts) >= 8 * 1000, "{hosts}: {each}");
        }
    }

    #[test]
    fn a_journal_without_entries_is_no_line() {
        let host = HostName::from("web1");
        let output = |text: &str| Output { text: text.into(), left_out: 0 };
        let report = |text: &str| ExecReport {
            end: ExecEnd::Exited(0),
            stdout: output(text),
            stderr: Output::default(),
        };
        let fault = Some(Fault { why: "no journal".into(), no_contact: false });
        let said = "the journal has no entries for this unit, or the host has no such unit";
        let of_file = LogsAsk { source: LogSource::File("/x".into()), ..asked(None, 50) };
        let table = [
            (asked(None, 50), "-- No entries --\n", &None, "", Some(said)),
            (asked(None, 50), "-- Logs begin at Mon. --\n-- No entries --\n", &None, "", Some(said)),
            (asked(None, 50), "-- No entries --\n", &fault, "", None),
            (asked(None, 50), "a\n-- No entries --\n", &None, "a\n-- No entries --\n", None),
            (of_file, "-- No entries --\n", &None, "-- No entries --\n", None),
        ];
        for (asked, text, fault, lines, note) in table {
            let report = report(text);
            let log = log_of(&asked, &host, &report, fault);
            assert_eq!((log.stdout.text.as_str(), log.note.as_deref()), (lines, note), "{text}");
        }
        assert!(no_entries(&asked(Some(60), 50)).contains("no entries of that time"));
    }

    #[test]
    fn lines_of_a_time_that_may_be_cut_say_so() {
        assert_eq!(note(&asked(None, 50), 50, 0), None, "the last 50 were asked for");
        assert_eq!(note(&asked(Some(60), 50), 49, 0), None);
        let wanted = "these are the last 50 lines; earlier ones of that time may be left out";
        assert_eq!(note(&asked(Some(60), 50), 50, 0).as_deref(), Some(wanted));
        assert!(note(&asked(None, 50), 50, 7).unwrap().starts_with("7 bytes of the lines are left out"));
    }
}
