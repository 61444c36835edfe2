//! `doctor`: a new connection to hosts phase by phase, and what a release needs there.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;

use super::asked::{Asked, Ended};
use crate::domain::base::refusal::Cause;
use crate::domain::inventory::inventory::{Host, Inventory};
use crate::port::{Exec, ExecEnd, ExecReport, Program};
use crate::present::doctor::{self, Examined};
use crate::present::json;

const SCRIPT: &str = include_str!("doctor.sh");

/// How long the script may take: `df` waits for file systems that hang.
const SCRIPT_LIMIT: Duration = Duration::from_secs(20);

const ANSWER_BYTES: usize = 16 * 1024;

/// Hosts that are examined at the same time.
const AT_ONCE: usize = 8;

impl Asked<'_> {
    pub(super) async fn doctor(&mut self, inventory: &Arc<Inventory>, selector: &str) -> Result<u8, Ended> {
        let names = self.pick(inventory, selector).await?;
        let hosts: Vec<Host> = names.iter().filter_map(|name| inventory.host(name)).cloned().collect();
        let remote = self.ports().hosts.remote.clone();
        let clock = self.ports().hosts.clock.clone();
        let mut examining = stream::iter(hosts)
            .map(|host| {
                let (remote, clock) = (remote.clone(), clock.clone());
                async move {
                    let request = Exec::new(Program::Script(SCRIPT.into()), SCRIPT_LIMIT, ANSWER_BYTES);
                    let diagnosis = remote.diagnose(&host.endpoint, request).await;
                    let phases =
                        diagnosis.phases.into_iter().map(|phase| (phase.name, phase.took, phase.end));
                    let answer = diagnosis.report.map(|(report, took)| (took, answer_of(report)));
                    Examined::of(&host.endpoint, phases.collect(), answer, clock.now())
                }
            })
            .buffered(AT_ONCE);
        let mut status = 0;
        while let Some(examined) = examining.next().await {
            if !examined.is_reached() {
                status = Cause::Unreachable.exit_status();
            }
            let text = if self.json { json::line("doctor", &examined) } else { doctor::text(&examined) };
            self.terminal.out(&text).await?;
        }
        Ok(status)
    }
}

/// The output of the script, or why there is none.
fn answer_of(report: ExecReport) -> Result<String, String> {
    match report.end {
        ExecEnd::Exited(0) => Ok(report.stdout.text),
        ExecEnd::Exited(status) => Err(format!("exit status {status}: {}", report.stderr.last_line())),
        ExecEnd::TimedOut => Err(format!("no answer within {} s", SCRIPT_LIMIT.as_secs())),
        ExecEnd::Signalled(why) | ExecEnd::Lost(why) | ExecEnd::NotStarted(why) | ExecEnd::Foreign(why) => {
            Err(why)
        }
        ExecEnd::Cancelled => Err("cancelled".into()),
    }
}
