//! `logs -f`: lines of hosts as they come, until the client leaves.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;

use super::asked::{Asked, Ended};
use super::logs::too_many;
use super::logs_host::{Fault, Faults, Watched, fault_of, not_all};
use crate::config::Config;
use crate::domain::ask::logs::LogsAsk;
use crate::domain::base::name::HostName;
use crate::domain::base::output::{Output, to_text};
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::inventory::inventory::Host;
use crate::door::log_lines::{LogItem, LogLine, log_queue};
use crate::engine::StartError;
use crate::panics::caught;
use crate::port::{ExecEnd, ExecReport};
use crate::present::logs::{Followed, FollowedLine};

/// Items that are printed in one write.
const AT_ONCE: usize = 256;

/// Bytes kept of the output of a host for the reason of its end; lines are passed on as they come.
const KEEP_BYTES: usize = 4 * 1024;

/// What happens next.
enum Next {
    Items(usize),
    Gone,
    /// Ctrl-C.
    Left,
    Stopping,
    /// There is another configuration.
    Changed,
}

/// A follow under way.
struct Follow {
    items: UnboundedReceiver<LogItem>,
    config: watch::Receiver<Arc<Config>>,
    faults: Faults,
    text: Followed,
}

impl Asked<'_> {
    pub(super) async fn follow_logs(&mut self, asked: &LogsAsk, hosts: Vec<Host>) -> Result<u8, Ended> {
        too_many(hosts.len(), true)?;
        let busy = || {
            let why = "too many logs are followed at this time";
            Refusal::new(Cause::Busy, why).hint("try: end another `logs -f` of yours; see: sessions")
        };
        let _turn = self.desk.turns.follows.try_take(&self.operator).ok_or_else(busy)?;
        let (watched, masks) = (Watched::new(), self.desk.engine.masks());
        let (queue, items) = log_queue();
        let remote = self.ports().hosts.remote.clone();
        let text = Followed::new(hosts.len() == 1, self.json);
        for host in hosts {
            let mut exec = watched.exec(asked, masks.clone(), KEEP_BYTES);
            exec.recorder = Some(queue.of_host(host.name.clone()));
            let (remote, queue) = (remote.clone(), queue.clone());
            // It ends when `watched` is dropped, and sees the command on the host to its end.
            tokio::spawn(async move {
                let report = caught(remote.exec(&host.endpoint, exec)).await;
                queue.ended(host.name, report.unwrap_or_else(|_| failed_inside()));
            });
        }
        drop(queue);
        let mut config = self.desk.config.clone();
        config.mark_unchanged();
        let mut follow = Follow { items, config, faults: Faults::default(), text };
        self.print_followed(&mut follow).await
    }

    async fn print_followed(&mut self, follow: &mut Follow) -> Result<u8, Ended> {
        let mut items = Vec::new();
        loop {
            match self.next_items(follow, &mut items).await {
                // Every host has ended.
                Next::Items(0) => return Ok(follow.faults.status()),
                Next::Items(_) => self.print_items(follow, std::mem::take(&mut items)).await?,
                Next::Left if !follow.faults.is_empty() => return Ok(follow.faults.status()),
                Next::Gone | Next::Left => return Err(Ended::Gone),
                Next::Changed => self.follows_as_before()?,
                Next::Stopping => return Err(StartError::Draining.into()),
            }
        }
    }

    async fn next_items(&mut self, follow: &mut Follow, items: &mut Vec<LogItem>) -> Next {
        let (gone, silence) = (self.terminal.gone(), self.terminal.silence());
        let stopping = self.desk.engine.keeper().stopping();
        tokio::select! {
            biased;
            () = gone.cancelled() => Next::Gone,
            () = self.interrupted() => Next::Left,
            () = stopping => Next::Stopping,
            // It lives as long as the daemon.
            _ = follow.config.changed() => Next::Changed,
            read = follow.items.recv_many(items, AT_ONCE) => Next::Items(read),
            () = silence => Next::Gone,
        }
    }

    /// Ends the follow of an operator with groups when hosts or groups have changed: another operator's hosts may be among them.
    fn follows_as_before(&self) -> Result<(), Ended> {
        if self.has_same_view() {
            return Ok(());
        }
        let why = "the hosts of the configuration have changed, and what you may see may be different";
        Err(Refusal::new(Cause::Continues, why).hint("to continue: the same command again").into())
    }

    async fn print_items(&mut self, follow: &mut Follow, items: Vec<LogItem>) -> Result<(), Ended> {
        // Secrets that a reload has brought are not in the masks with which the follow began.
        let masks = self.desk.engine.masks();
        let (mut text, mut is_error) = (String::new(), false);
        for item in items {
            let (line, to_error) = match item {
                LogItem::Line(line) => {
                    let to_error = line.is_error;
                    follow.saw(&line);
                    let (words, beyond) = line.shown(&masks);
                    let shown = FollowedLine { host: &line.host, is_error: to_error, text: &words, beyond };
                    (follow.text.line(&shown), to_error)
                }
                LogItem::Gap(host, lines) => (follow.text.gap(&host, lines), true),
                LogItem::End(host, report) => match fault_of(&report, true) {
                    Some(fault) => (follow.ended(&host, fault), true),
                    None => continue,
                },
            };
            // The order of the lines is that of their arrival, over both outputs.
            // Programs read one stream.
            let to_error = to_error && !self.json;
            if to_error != is_error {
                self.terminal.printed(&std::mem::take(&mut text), is_error).await?;
                is_error = to_error;
            }
            text += &line;
        }
        Ok(self.terminal.printed(&text, is_error).await?)
    }
}

/// The end of a follow that failed in rollcall: the operator learns it as the end of any other.
fn failed_inside() -> ExecReport {
    let end = ExecEnd::Lost("internal error of rollcall; its log has more".into());
    ExecReport { end, stdout: Output::default(), stderr: Output::default() }
}

impl Follow {
    /// What the journal of a host does not show is known from a line, while it is followed.
    fn saw(&mut self, line: &LogLine) {
        if !line.is_error {
            return;
        }
        if let Some(why) = not_all(&to_text(&line.bytes)) {
            self.faults.add(&Fault { why: why.into(), no_contact: false });
        }
    }

    fn ended(&mut self, host: &HostName, fault: Fault) -> String {
        let text = self.text.ended(host, &fault.why);
        self.faults.add(&fault);
        text
    }
}
