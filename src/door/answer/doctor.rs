//! `doctor`: a new connection to hosts phase by phase, and what a release needs there; or rollcall itself.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;

use tokio::time::timeout;

use super::asked::{Asked, Ended, visible_debts};
use super::notify::is_shown;
use crate::domain::ask::access::Granted;
use crate::domain::base::refusal::Cause;
use crate::domain::inventory::inventory::{Host, Inventory};
use crate::domain::notify::channel::Channel;
use crate::port::{Exec, ExecEnd, ExecReport, Program};
use crate::present::doctor::{self, Examined};
use crate::present::json;
use crate::present::vitals::{OwnExamined, Within};
use crate::version::VERSION;

const SCRIPT: &str = include_str!("doctor.sh");

/// How long the script may take: `df` waits for file systems that hang.
const SCRIPT_LIMIT: Duration = Duration::from_secs(20);

const ANSWER_BYTES: usize = 16 * 1024;

/// How long watching may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// Hosts that are examined at the same time.
const AT_ONCE: usize = 8;

impl Asked<'_> {
    pub(super) async fn doctor(
        &mut self,
        granted: &Granted,
        inventory: &Arc<Inventory>,
        selector: Option<&str>,
    ) -> Result<u8, Ended> {
        match selector {
            Some(selector) => self.doctor_hosts(inventory, selector).await,
            None => self.doctor_self(granted, inventory).await,
        }
    }

    async fn doctor_hosts(&mut self, inventory: &Arc<Inventory>, selector: &str) -> Result<u8, Ended> {
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

impl Asked<'_> {
    /// `doctor` without a selector: rollcall itself.
    async fn doctor_self(&mut self, granted: &Granted, inventory: &Arc<Inventory>) -> Result<u8, Ended> {
        // It reads the whole store and configuration: no operator makes it do that many times at once.
        let turn = self.desk.turns.work.take(&self.operator).await;
        let signs = self.desk.vitals.observe().await;
        drop(turn);
        let (store, tell) = (self.ports().store.clone(), self.desk.tell.clone());
        // One that ended since is under way no longer, and open no longer.
        let under_way = self.desk.engine.under_way();
        let mut left_alone = store.open_runs().await.unwrap_or_default();
        left_alone.retain(|run| !under_way.contains(run));
        let debts = store.debts().await.unwrap_or_default();
        let debts = visible_debts(granted, &self.config.inventory, debts);
        let fares = tell.fares().await.unwrap_or_default();
        let channels = tell.channels();
        let shown = channels.list.iter().filter(|channel| is_shown(granted, channel));
        let trouble = |channel: &Channel| {
            let fares = fares.get(&channel.name).filter(|fares| fares.waiting > 0)?;
            Some((channel.name.clone(), fares.trouble.clone()?))
        };
        let watching = match timeout(ANSWER_LIMIT, self.desk.monitor.roll()).await {
            Ok(answered) => answered.map(drop).map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", ANSWER_LIMIT.as_secs())),
        };
        let operator = granted.operator();
        let within = Within {
            digest: self.desk.digest(),
            sees_all: operator.is_admin() && operator.groups.is_none(),
            debts: &debts,
            sees: &|host| inventory.host(host).is_some(),
            troubles: shown.filter_map(trouble).collect(),
            watching,
            notices_run: tell.is_running(),
            left_alone,
            version: VERSION,
            now: self.desk.clock.now(),
        };
        let examined = OwnExamined::of(&signs, &within);
        let text = if self.json { json::line("doctor", &examined) } else { examined.text() };
        self.terminal.out(&text).await?;
        Ok(if examined.is_sound() { 0 } else { Cause::Unreachable.exit_status() })
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
