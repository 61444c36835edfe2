//! Answers commands: authorize, plan, start, follow. Every door calls [`answer`] and nothing else.

mod adhoc;
mod agents;
mod artifacts;
mod asked;
mod audit;
mod board;
mod board_past;
mod board_step;
mod doctor;
mod enroll;
mod events;
mod face;
mod facts;
mod fetch;
mod follow;
mod git;
mod help;
mod keys;
mod last;
mod leases;
mod logs;
mod logs_follow;
mod logs_host;
mod nodes;
mod notify;
mod output;
mod planning;
mod reach;
mod receipts;
mod refusals;
mod report;
mod requests;
mod rights;
mod rotation;
mod runs;
mod screen;
mod sessions;
mod setup;
mod since;
mod sudoers;
mod supply;
mod turn;
mod veiled;
mod versions;
mod watching;

use std::sync::Arc;

use futures::future::BoxFuture;

use self::asked::{Asked, Ended, may_see, picked_from, visible_debts};
use self::planning::planned;
use super::{Desk, Terminal};
use crate::domain::ask::access::{Granted, authorize};
use crate::domain::ask::adhoc::AdHoc;
use crate::domain::ask::audit::Caller;
use crate::domain::ask::command::{Command, Format, Record, Request};
use crate::domain::base::name::clipped_lines;
use crate::domain::base::outcome::Verdict;
use crate::domain::base::refusal::Refusal;
use crate::domain::inventory::inventory::Inventory;
use crate::domain::plan::plan::Plan;
use crate::domain::plan::veil::visible_part;
use crate::domain::run::request::RunRequest;
use crate::door::shown::shown_reason;
use crate::present::plan::plan as present_plan;
use crate::present::whoami::Whoami;
use crate::present::{json, nagios, table};
use crate::version::VERSION;

/// Answers one request of one operator; returns the exit status. A closed terminal detaches: runs that were started
/// continue.
///
/// Not an `async fn`: the compiler generates such code again for each caller, and all commands are below this one.
pub fn answer<'a>(
    desk: &'a Desk,
    caller: &'a Caller,
    request: Request,
    terminal: &'a mut dyn Terminal,
) -> BoxFuture<'a, u8> {
    Box::pin(answered(desk, caller, request, terminal))
}

async fn answered(desk: &Desk, caller: &Caller, request: Request, terminal: &mut dyn Terminal) -> u8 {
    let operator = &caller.operator;
    let format = request.command.format();
    let mut veiled = veiled::Veiled::new(desk, (operator, &request.command), terminal).await;
    let terminal = veiled.terminal();
    if let Some(refusal) = request.agent.as_ref().and_then(|agent| agent.check(&request.command).err()) {
        desk.audit.refused(caller, None, &refusal.to_string());
        return refused(terminal, format, &refusal).await;
    }
    let granted = match authorize(operator, request.command, desk.clock.now()) {
        Ok(granted) => granted,
        Err(denied) => {
            tracing::info!(operator = operator.name, key = operator.key, rule = %denied.rule, "refused");
            let rule = denied.rule.to_string();
            let refusal = denied.of_line(&caller.line);
            desk.audit.refused(caller, Some(rule), &refusal.to_string());
            return refused(terminal, format, &refusal).await;
        }
    };
    let recording = match request.is_known && granted.command().only_reads() {
        true => Ok(None),
        false => desk.audit.begin(caller, &granted).await.map(Some),
    };
    let recording = match recording {
        Ok(recording) => recording,
        Err(refusal) => return refused(terminal, format, &refusal).await,
    };
    let row = recording.as_ref().and_then(|recording| recording.row);
    let granted = granted.recorded(row).requested(terminal.request());
    let granted = granted.sent_by(request.agent);
    let mut asked = Asked {
        desk,
        caller,
        run: None,
        operator: operator.name.clone(),
        config: desk.config.borrow().clone(),
        json: request.json,
        verbose: request.verbose,
        wait: request.wait,
        // A certificate with `force-command` allows that one line, and no option beside it.
        glass: request.glass.filter(|_| operator.only.is_none()),
        keys: None,
        format,
        terminal,
        granted: granted.clone(),
    };
    let (status, why) = match asked.answer(&granted).await {
        Ok(status) => (status, None),
        Err(Ended::Gone) => (asked.terminal.left_status(), None),
        Err(Ended::Refused(refusal)) => {
            // A file that is not read would fill the connection.
            drop(asked.terminal.file());
            (refused(asked.terminal, format, &refusal).await, Some(refusal))
        }
    };
    let run = asked.run;
    // As the operator reads it: they may read their own rows later.
    let why = why.map(|why| shown_reason(&why.to_string(), Some(granted.command()), &desk.config.borrow()));
    if let Some(recording) = recording {
        recording.end(status, run, why.map(|why| desk.engine.masks().text(&veiled.over(&why))));
    }
    status
}

/// Says why a command is not done; returns the exit status.
async fn refused(terminal: &mut dyn Terminal, format: Format, refusal: &Refusal) -> u8 {
    terminal.refuse(refusal);
    // A client that is gone cannot read the error.
    let why = refusal.to_string();
    if format == Format::Nagios {
        // Nagios reads only standard output, and knows no other status.
        let _ = terminal.out(&nagios::refused(&why)).await;
        return Verdict::Unknown.exit_status();
    }
    let _ = terminal.err(&format!("rollcall: {}\n", clipped_lines(&why))).await;
    refusal.cause.exit_status()
}

impl Asked<'_> {
    /// The answer, and the open debts below it.
    async fn answer(&mut self, granted: &Granted) -> Result<u8, Ended> {
        if self.was_done_before(granted).await? {
            return Ok(0);
        }
        self.offer_lost().await?;
        // For a plan, the output of scripts in `hosts/` must be recent.
        if planned(granted.command()).is_some() {
            self.desk.reload.refresh().await;
            self.config = self.desk.config.borrow().clone();
        }
        let granted = &self.with_artifacts(granted.clone()).await?;
        // Held until the answer has been read: it is in memory until then.
        let _turn = match sort_of(granted.command()) {
            // It takes a turn for each of its pages.
            _ if self.is_live_board(granted.command()) => None,
            Sort::Plan => Some(self.desk.turns.plans.take(&self.operator).await),
            Sort::Long => Some(self.desk.turns.answers.take(&self.operator).await),
            Sort::Other => None,
        };
        let status = self.say_all(granted).await?;
        if !matches!(
            granted.command(),
            Command::Help { .. } | Command::Version | Command::Debts | Command::Metrics
        ) {
            self.footer(granted).await?;
        }
        Ok(status)
    }

    async fn say_all(&mut self, granted: &Granted) -> Result<u8, Ended> {
        let inventory = self.visible(granted).await?;
        match granted.command() {
            Command::Help { topic } => self.help(&inventory, topic).await,
            Command::Version => self.version().await,
            Command::Misread { word, why } => self.misread(&inventory, word, why).await,
            Command::Whoami => self.whoami(&inventory).await,
            Command::Rights(asked) => self.rights(asked).await,
            Command::Connection(asked) => self.connections(asked, &inventory).await,
            Command::Hosts { selector, unreachable: true } => self.unreachable(&inventory, selector).await,
            Command::Hosts { selector, .. } => self.hosts(&inventory, selector).await,
            Command::Board(view) => self.board(granted, &inventory, view).await,
            Command::Plan { diff: false, .. } | Command::PlanRollback { .. } => {
                self.show_plan(granted, inventory).await
            }
            Command::Plan { diff: true, .. }
            | Command::Task { .. }
            | Command::Check { .. }
            | Command::Run { .. }
            | Command::Rollback { .. }
            | Command::Drain { .. }
            | Command::Enable { .. } => {
                let plan = self.plan(&inventory, granted.command()).await?;
                self.run(granted, plan, granted.command()).await
            }
            Command::AdHoc(asked) => self.ad_hoc(granted, &inventory, asked).await,
            Command::Doctor { selector } => self.doctor(granted, &inventory, selector.as_deref()).await,
            Command::Facts { selector, fresh } => self.facts(granted, &inventory, (selector, *fresh)).await,
            Command::Logs(asked) => self.logs(&inventory, asked).await,
            Command::Runs { last } => self.runs(granted, *last).await,
            Command::Show { run, host, .. } => self.show(granted, *run, host.as_deref()).await,
            Command::Output { .. } => self.output(granted).await,
            Command::Watch { run } => self.watch(granted, *run).await,
            Command::Events { .. } => self.events(granted).await,
            Command::Artifacts { .. } => self.artifacts(granted).await,
            Command::Cancel { run, now } => self.ask(granted, *run, RunRequest::Cancel { now: *now }).await,
            Command::Pause { run } => self.ask(granted, *run, RunRequest::Pause).await,
            Command::Resume { run } => self.ask(granted, *run, RunRequest::Resume).await,
            Command::Approve { run } => self.ask(granted, *run, RunRequest::Approve).await,
            Command::Retry { run } => self.retry(granted, &inventory, *run).await,
            Command::Queue
            | Command::Leases
            | Command::Lock { .. }
            | Command::Unlock { .. }
            | Command::Hold { .. }
            | Command::Freezes
            | Command::Freeze { .. }
            | Command::FreezeEnd { .. } => self.turns(granted, &inventory).await,
            Command::Debts => self.debts(granted).await,
            Command::Settle { .. } => self.settle(granted).await,
            Command::BalancerStatus { selector } => self.balancer_status(&inventory, selector).await,
            Command::Sudoers { selector } => self.sudoers(&inventory, selector).await,
            Command::Releases { selector } => self.releases(&inventory, selector).await,
            Command::Mark { task, params, bad, reason } => {
                self.mark(granted, (task, params), *bad, reason).await
            }
            Command::Status { selector } => self.status(&inventory, selector).await,
            Command::History { host, check } => self.history(&inventory, host, check.as_deref()).await,
            Command::Why { host, check } => self.why(granted, &inventory, (host, check.as_deref())).await,
            Command::Downtimes
            | Command::Downtime { .. }
            | Command::DowntimeEnd { .. }
            | Command::Ack { .. } => self.quiet(granted, &inventory).await,
            Command::NotifyList | Command::NotifyTest { .. } => self.notify(granted).await,
            Command::Metrics => self.metrics(granted).await,
            Command::Record(asked) => self.record(granted, asked).await,
            Command::Reload | Command::Enroll { .. } => self.configuration(granted).await,
            Command::HostKeys(asked) => self.host_keys(asked, &inventory).await,
        }
    }

    async fn show_plan(&mut self, granted: &Granted, inventory: Arc<Inventory>) -> Result<u8, Ended> {
        let plan = self.plan(&inventory, granted.command()).await?;
        let plan = Plan { needs_approval: granted.needs_approval(), ..plan };
        if granted.agent().is_some() {
            let digest = self.digest_for_agent(&plan).await?;
            self.terminal.planned(&digest);
        }
        let preflight = self.preflight(granted, &plan).await;
        let in_the_way = self.in_the_way_of(granted, &plan).await?;
        let (json, limited) = (self.json, granted.operator().groups.is_some());
        let render = move || match json {
            true if limited => json::line("plan", visible_part(plan, &inventory)),
            true => json::line("plan", &plan),
            false => present_plan(&plan),
        };
        let text = self.work(render).await?;
        self.say(&text).await?;
        if let Some(refusal) = in_the_way {
            self.terminal.err(&format!("rollcall: this would be refused now: {refusal}\n")).await?;
        }
        self.may_start(&preflight).await.map(|()| 0)
    }

    async fn version(&mut self) -> Result<u8, Ended> {
        let text = match self.json {
            true => json::line("version", serde_json::json!({ "rollcall": VERSION })),
            false => format!("rollcall {VERSION}\n"),
        };
        self.say(&text).await
    }

    async fn whoami(&mut self, inventory: &Arc<Inventory>) -> Result<u8, Ended> {
        let tasks = self.tasks_of(inventory).await?;
        let about = Whoami::of(self.granted.person(), tasks);
        let text = if self.json { json::line("operator", &about) } else { about.text() };
        self.say(&text).await
    }

    async fn hosts(&mut self, inventory: &Arc<Inventory>, selector: &str) -> Result<u8, Ended> {
        if self.json {
            if let Some(text) = self.desk.host_lines.get(inventory, selector) {
                return self.say(&text).await;
            }
            let (part, words) = (inventory.clone(), selector.to_string());
            let lines =
                self.work(move || picked_from(&part, &words).map(|picked| json::hosts(&part, &picked)));
            let text: Arc<str> = lines.await??.into();
            // The part of an operator with groups is computed for each command.
            if Arc::ptr_eq(inventory, &self.config.inventory) {
                self.desk.host_lines.keep(inventory, selector, text.clone());
            }
            return self.say(&text).await;
        }
        let picked = self.pick(inventory, selector).await?;
        let inventory = inventory.clone();
        let store = &self.ports().store;
        let (debts, taken) = (store.debts().await?, store.taken().await?);
        let text = self.work(move || table::hosts(&inventory, &picked, &debts, &taken)).await?;
        self.say(&text).await
    }

    /// Open debts are printed below every answer until they are paid.
    async fn footer(&mut self, granted: &Granted) -> Result<(), Ended> {
        if self.json || self.format.is_document() {
            return Ok(());
        }
        let debts = self.ports().store.debts().await?;
        let debts = visible_debts(granted, &self.config.inventory, debts);
        if let Some(line) = table::footer(&debts) {
            self.terminal.err(&line).await?;
        }
        Ok(())
    }

    async fn runs(&mut self, granted: &Granted, last: usize) -> Result<u8, Ended> {
        let ports = self.ports();
        let now = ports.hosts.clock.now();
        let mut runs = ports.store.runs(last).await?;
        runs.retain(|run| may_see(granted, &self.config.inventory, &run.hosts));
        let text = match self.json {
            true => runs.iter().map(|run| json::line("run", run)).collect(),
            false => table::runs(&runs, now),
        };
        self.say(&text).await
    }
}

/// The memory and time that an answer needs.
enum Sort {
    Plan,
    /// It grows with the fleet, or with its history.
    Long,
    /// It is short, or written in pieces while a run continues. Commands that act on hosts never wait for slow readers.
    Other,
}

fn sort_of_ad_hoc(asked: &AdHoc) -> Sort {
    match asked {
        AdHoc::Last { .. } => Sort::Long,
        AdHoc::Ping { .. } | AdHoc::Copy(_) | AdHoc::Fetch(_) | AdHoc::Nodes(_) => Sort::Other,
    }
}

fn sort_of(command: &Command) -> Sort {
    match command {
        Command::Plan { diff: false, .. } | Command::PlanRollback { .. } => Sort::Plan,
        Command::Hosts { .. }
        | Command::Board(_)
        | Command::Record(Record::Audit(_) | Record::Receipt { .. } | Record::Report(_))
        | Command::Runs { .. }
        | Command::Show { .. }
        | Command::Releases { .. }
        | Command::Sudoers { .. }
        | Command::BalancerStatus { .. }
        | Command::Status { .. }
        | Command::History { .. }
        | Command::Why { .. }
        | Command::Downtimes
        | Command::Queue
        | Command::Leases
        | Command::Freezes
        | Command::Metrics => Sort::Long,
        Command::AdHoc(asked) => sort_of_ad_hoc(asked),
        Command::Help { .. }
        | Command::Version
        | Command::Misread { .. }
        | Command::Whoami
        | Command::Connection(_)
        | Command::Rights(_)
        | Command::Plan { diff: true, .. }
        | Command::Task { .. }
        | Command::Check { .. }
        | Command::Run { .. }
        | Command::Facts { .. }
        | Command::Logs(_)
        | Command::Doctor { .. }
        | Command::Output { .. }
        | Command::Watch { .. }
        | Command::Events { .. }
        | Command::Artifacts { .. }
        | Command::Cancel { .. }
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Approve { .. }
        | Command::Retry { .. }
        | Command::Lock { .. }
        | Command::Unlock { .. }
        | Command::Hold { .. }
        | Command::Freeze { .. }
        | Command::FreezeEnd { .. }
        | Command::Debts
        | Command::Settle { .. }
        | Command::Drain { .. }
        | Command::Enable { .. }
        | Command::Rollback { .. }
        | Command::Mark { .. }
        | Command::Downtime { .. }
        | Command::DowntimeEnd { .. }
        | Command::Ack { .. }
        | Command::Reload
        | Command::HostKeys(_)
        | Command::Enroll { .. }
        | Command::NotifyList
        | Command::Record(
            Record::Verify
            | Record::Signers
            | Record::ConfigLog
            | Record::ConfigDiff { .. }
            | Record::Git { .. },
        )
        | Command::NotifyTest { .. } => Sort::Other,
    }
}
