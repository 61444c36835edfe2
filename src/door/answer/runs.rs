//! Runs: start, follow, show.

use super::asked::{Asked, Ended, may_see};
use super::face::FollowView;
use crate::domain::ask::access::Granted;
use crate::domain::ask::command::{Command, Format};
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::inventory::rotation::Obstacle;
use crate::domain::lease::claim::Claim;
use crate::domain::plan::given::given_secrets;
use crate::domain::plan::plan::{Plan, RunKind};
use crate::domain::run::event::{Event, PausedUntil};
use crate::domain::run::run::{IllegalEvent, Run};
use crate::domain::value::secret::{Given, SecretVars};
use crate::engine::feed::Follower;
use crate::engine::preflight::Preflight;
use crate::port::StoredRun;
use crate::present::formats;
use crate::present::live::Lines;
use crate::present::plan::plan as present_plan;
use crate::present::report::Report;
use crate::present::{json, recap, table};

impl Asked<'_> {
    /// Starts the run of `command` and follows it. If it has to wait for its hosts, it is planned again then: what was
    /// true before may not be any more.
    pub(super) async fn run(
        &mut self,
        granted: &Granted,
        mut plan: Plan,
        command: &Command,
    ) -> Result<u8, Ended> {
        if plan.kind == RunKind::Run {
            return self.command(granted, plan, command).await;
        }
        if let Some(reason) = self.glass.clone() {
            plan.title.0 += &format!(" --break-glass because {reason}");
            plan.broken_glass = Some(reason);
        }
        if let Some(digest) = granted.proposed() {
            self.must_be(&plan, digest).await?;
            plan.title.0 += " (proposed through mcp)";
        }
        let given = match granted.command() {
            Command::Task { ask, .. } | Command::Plan { ask, .. } => {
                given_secrets(&self.config.tasks, &ask.task, &ask.params)
            }
            _ => SecretVars::new(),
        };
        let mut turn = None;
        let watch = loop {
            self.not_frozen(&plan)?;
            let given = Given::new(given.clone()).map_err(Refusal::usage)?;
            let preflight = self.preflight(granted, &plan).await;
            self.may_start(&preflight).await?;
            let claim = Claim::of_run(&plan, &granted.operator().name);
            let title = plan.title.0.clone();
            if turn.is_none() {
                turn = claim.map(|claim| self.turn(claim, title));
            }
            let ticket = turn.as_ref().and_then(|turn| turn.ticket.as_ref());
            let planned = granted.planned_from(&self.config.version.digest);
            let error = match self.desk.engine.start_with(&planned, plan.clone(), (given, ticket)).await {
                Ok(watch) => break watch,
                Err(error) => error,
            };
            let Some(turn) = &mut turn else { return Err(error.into()) };
            self.wait_for(turn, error).await?;
            self.may_still(granted)?;
            plan = self.plan_again(granted, command, plan).await?;
        };
        drop(turn);
        self.has_started(watch.live().id);
        self.follow(watch).await
    }

    /// True for a request of a program that was sent before, and has started a run.
    pub(super) async fn was_done_before(&mut self, granted: &Granted) -> Result<bool, Ended> {
        let Some(request) = granted.request() else { return Ok(false) };
        let known = self.ports().store.run_of_request(&self.operator, &request.key).await?;
        let Some((run, digest)) = known else { return Ok(false) };
        if digest != request.digest {
            let why =
                format!("a request with the same key, which asked for something else, has started run {run}");
            return Err(Refusal::rule(why).hint("try: a key of its own for each request").into());
        }
        self.has_started(run);
        Ok(true)
    }

    /// The plan of the same command by what is true now.
    async fn plan_again(&mut self, granted: &Granted, command: &Command, old: Plan) -> Result<Plan, Ended> {
        self.desk.reload.refresh().await;
        self.config = self.desk.config.borrow().clone();
        let inventory = self.visible(granted).await?;
        let fresh = self.plan(&inventory, command).await?;
        Ok(Plan { title: old.title, repeats: old.repeats, broken_glass: old.broken_glass, ..fresh })
    }

    /// Refuses a run that no wait could help: some hosts can never be drained.
    pub(super) async fn may_start(&mut self, preflight: &Preflight) -> Result<(), Ended> {
        for why in &preflight.unknown {
            let line = format!("rollcall: whether every host can be taken out is not known yet: {why}\n");
            self.terminal.err(&line).await?;
        }
        let words: Vec<String> = preflight.obstacles.iter().map(Obstacle::words).collect();
        match words.is_empty() {
            true => Ok(()),
            false => Err(Refusal::rule(words.join("\n")).into()),
        }
    }

    /// Shows a run to its end; the exit status is the run's.
    async fn follow(&mut self, watch: Follower) -> Result<u8, Ended> {
        let only_reads = matches!(
            watch.live().plan.kind,
            RunKind::Run | RunKind::Check | RunKind::Facts | RunKind::DryRun { .. }
        );
        let quiet = (only_reads && !self.json) || self.format.is_document();
        let (run, events) = self.see(watch, FollowView { quiet, ..FollowView::default() }).await?;
        self.document(&run, &events).await
    }

    async fn document(&mut self, run: &Run, events: &[Event]) -> Result<u8, Ended> {
        if self.format.is_document() {
            return self.report(run, events).await;
        }
        let text = if self.json { json::recap(run) } else { recap::recap(run, events) };
        self.terminal.out(&text).await?;
        Ok(run.outcome().map_or(Cause::Internal.exit_status(), |outcome| outcome.exit_status()))
    }

    /// The results of its checks, for a program.
    async fn report(&mut self, run: &Run, events: &[Event]) -> Result<u8, Ended> {
        let report = Report::of_run(run, events, &self.config.inventory);
        let text = formats::render(&report, self.format);
        self.terminal.out(&text).await?;
        Ok(match self.format {
            Format::Nagios => report.verdict.exit_status(),
            _ => run.outcome().map_or(Cause::Internal.exit_status(), |outcome| outcome.exit_status()),
        })
    }

    /// A run from the store. A hidden run is reported as one that does not exist.
    pub(super) async fn stored(&self, granted: &Granted, id: RunId) -> Result<StoredRun, Ended> {
        let stored = self.ports().store.load(id).await?;
        let stored = stored.filter(|run| {
            let hosts: Vec<HostName> = run.plan.touched().into_iter().collect();
            may_see(granted, &self.config.inventory, &hosts)
        });
        match stored {
            Some(stored) => Ok(stored),
            None => Err(self.no_run(id).await.into()),
        }
    }

    /// The refusal for a run that does not exist, or that retention has removed.
    pub(super) async fn no_run(&self, id: RunId) -> Refusal {
        let removed = self.ports().events.removed().await.unwrap_or_default();
        let why = match id.0 <= removed.run {
            true => format!(
                "run {id} was removed by [retention] in rollcall.toml; the oldest run that may be there is {}",
                removed.run + 1
            ),
            false => format!("there is no run {id}"),
        };
        Refusal::not_found(why).hint("try: runs")
    }

    pub(super) async fn show(
        &mut self,
        granted: &Granted,
        id: RunId,
        host: Option<&str>,
    ) -> Result<u8, Ended> {
        let stored = self.stored(granted, id).await?;
        if let Some(host) = host {
            return self.show_host(&stored, host).await;
        }
        let (json, is_document) = (self.json, self.format.is_document());
        let render = move || {
            let run = Run::replay(id, stored.plan.clone(), &stored.events)?;
            let text = if is_document { String::new() } else { story(&run, &stored.events, json) };
            Ok((run, stored.events, text))
        };
        let refused = |illegal: IllegalEvent| Refusal::internal(format!("run {id}: {illegal}"));
        let (run, events, text) = self.work(render).await?.map_err(refused)?;
        if is_document {
            let status = self.report(&run, &events).await?;
            return Ok(if self.format == Format::Nagios { status } else { 0 });
        }
        self.say(&text).await
    }

    async fn show_host(&mut self, stored: &StoredRun, host: &str) -> Result<u8, Ended> {
        let of_run = || stored.plan.hosts.keys();
        let name = of_run()
            .find(|name| name.as_str() == host)
            .or_else(|| of_run().find(|name| name.short() == host));
        let Some(name) = name else {
            let why = format!("run {} has no host `{host}` (it has: {})", stored.id, table::folded(of_run()));
            return Err(Refusal::not_found(why).into());
        };
        if self.json {
            let events = stored.events.iter().filter(|event| event.kind.hosts().contains(name));
            return self.say(&events.map(json::event).collect::<String>()).await;
        }
        self.say(&recap::host_story(name, &stored.events)).await
    }

    pub(super) async fn watch(&mut self, granted: &Granted, id: RunId) -> Result<u8, Ended> {
        let live = self.desk.engine.watch(granted, id);
        let stored = self.stored(granted, id).await?;
        if let Some(watch) = live {
            return self.follow(watch).await;
        }
        self.show(granted, id, None).await?;
        let run = Run::replay(id, stored.plan, &stored.events)
            .map_err(|illegal| Refusal::internal(format!("run {id}: {illegal}")))?;
        Ok(run.outcome().map_or(Cause::Internal.exit_status(), |outcome| outcome.exit_status()))
    }
}

/// A run from its first event to its end.
fn story(run: &Run, events: &[Event], json: bool) -> String {
    if json {
        return events.iter().map(json::event).collect::<String>() + &json::recap(run);
    }
    // The person who approves it has to know what the agent proposes: the title is not enough.
    let waits = run.pause().is_some_and(|pause| pause.until == PausedUntil::Approved);
    let proposed =
        if waits && run.plan().proposed.is_some() { present_plan(run.plan()) } else { String::new() };
    let mut lines = Lines::new(run.plan());
    let events_text: String = events.iter().map(|event| lines.event(event)).collect();
    proposed + &events_text + &recap::recap(run, events)
}
