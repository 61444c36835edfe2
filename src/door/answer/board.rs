//! `board`: the pages of the boards, from what the operator may see.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::asked::{Asked, Ended, may_see, visible_debts};
use super::since::Shown;
use crate::domain::ask::access::Granted;
use crate::domain::ask::command::{AuditAsk, Command};
use crate::domain::ask::view::{PageName, View};
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::refusal::Refusal;
use crate::domain::base::rendered::{LineRenderer, RenderedLine, Span};
use crate::domain::base::style::Style;
use crate::domain::inventory::inventory::Inventory;
use crate::domain::plan::release::ReleaseTakeover;
use crate::domain::run::record::RunSummary;
use crate::domain::run::visit::Moment;
use crate::domain::watch::roll::CheckLine;
use crate::door::folds::SharedFold;
use crate::door::kept::{Step, open, steps_of};
use crate::local::outputs::parts::{Origin, Source};
use crate::local::outputs::read::OutputLine;
use crate::local::outputs::search::Pattern;
use crate::port::StoredRun;
use crate::present::board::fold::{Attempt, RunFold};
use crate::present::board::mark::Mark;
use crate::present::board::page::{Line, Page};
use crate::present::board::pages::checks::CheckHistory;
use crate::present::board::pages::debts::Debts;
use crate::present::board::pages::fleet::Fleet;
use crate::present::board::pages::host::HostFacts;
use crate::present::board::pages::run::Before;
use crate::present::board::pages::runs::RunEnds;
use crate::present::board::pages::step::{Excerpt, ExcerptLine};
use crate::present::board::pages::{audit, checks, run, run_host, runs, step};
use crate::present::board::text::text;
use crate::present::json;

/// Runs that a page lists.
const RUNS_LISTED: usize = 50;

/// Runs that a page with all rows lists, and that are searched for those of one host.
pub(super) const RUNS_SEARCHED: usize = 500;

/// Most runs that are read for those that an operator may see: a page may be made several times in a second.
const RUNS_READ: usize = 5_000;

/// The same while a run under way is older than all of these.
const RUNS_READ_FOR_OPEN: usize = 50_000;

/// Probes of a check that are read for the strip of a day.
const PROBES_READ: usize = 5_000;

/// Most lines that a search lists.
const HITS_LISTED: usize = 200;

impl Asked<'_> {
    pub(super) async fn board(
        &mut self,
        granted: &Granted,
        inventory: &Arc<Inventory>,
        view: &View,
    ) -> Result<u8, Ended> {
        if self.is_live_board(granted.command()) {
            return self.live_board(granted, view).await;
        }
        let page = self.page(granted, inventory, view).await?;
        if !self.json {
            return self.say(&text(&page)).await;
        }
        // Names are covered in its texts, and not in the words of JSON.
        let page = page.with_texts(&|text| self.terminal.covered(text));
        if let Some(page) = self.terminal.page(page) {
            self.terminal.bytes(json::line("board", &page).into()).await?;
        }
        Ok(0)
    }

    /// True for a board that stays open.
    pub(super) fn is_live_board(&self, command: &Command) -> bool {
        matches!(command, Command::Board(_)) && self.terminal.screen().is_some() && !self.json
    }

    /// A page, by what the operator may see now.
    pub(super) async fn page(
        &mut self,
        granted: &Granted,
        inventory: &Arc<Inventory>,
        view: &View,
    ) -> Result<Page, Ended> {
        // Read before everything else: what the page shows is at least as new.
        let seq = *self.ports().events.newest().borrow();
        let now = self.desk.clock.now();
        if view.at.is_some() && view.run().is_none() {
            return Err(Refusal::usage("only pages of runs show an earlier state; try: without --at").into());
        }
        let debts = visible_debts(granted, &self.config.inventory, self.ports().store.debts().await?);
        let in_hand = self.desk.engine.in_hand().borrow().hosts.clone();
        let debts = Debts { all: &debts, in_hand: &in_hand, is_part: granted.operator().groups.is_some() };
        let mut page = match &view.page {
            PageName::Fleet => {
                let (runs, _) = self.runs_of(granted, RUNS_LISTED).await?;
                let (taken, checks) = (self.taken(inventory).await?, self.check_lines(inventory).await?);
                let runs_read = (RUNS_LISTED, RUNS_SEARCHED);
                let shown = Shown { inventory, debts: &debts, checks: &checks, runs_read };
                let since = self.since_last_visit(granted, view, (&shown, Moment { seq, at: now })).await;
                let (mut since, unknown) = beside("since your last visit", since)?;
                since.extend(unknown);
                Fleet { inventory, debts: &debts, runs: &runs, taken: &taken, checks: &checks, since }
                    .page(view, (seq, now))
            }
            PageName::Runs => {
                let wanted = if view.all { RUNS_SEARCHED } else { RUNS_LISTED };
                let (runs, has_more) = self.runs_of(granted, wanted).await?;
                let (ends, unknown) = beside("how hosts ended", self.ends_of(granted, &runs).await)?;
                let ends = RunEnds { ends: &ends, is_part: granted.operator().groups.is_some() };
                let mut page = runs::page((&runs, has_more && !view.all), &ends, view, (seq, now));
                page.head.extend(unknown);
                page
            }
            PageName::Run(run) => {
                let fold = self.fold(granted, *run, view.at).await?;
                let usual = self.usual(fold.run.plan()).await;
                let standings = beside("which problems are new", self.standings(granted, &fold).await)?;
                let times = beside("how long steps took before", self.times_before(granted, &fold).await)?;
                let before = Before { usual, standings: standings.0, times: times.0 };
                let (view, now) = (view.clone(), time_of(&fold, view, now));
                let mut page = self.work(move || run::page(&fold, &view, &before, now)).await?;
                page.head.extend([standings.1, times.1].into_iter().flatten());
                page
            }
            PageName::RunHost(run, host) => {
                let fold = self.fold(granted, *run, view.at).await?;
                let host = host_of(&fold, host)?;
                let page = run_host::page(&fold, view, &host, time_of(&fold, view, now));
                page.ok_or_else(|| Refusal::not_found(format!("run {run} has no host `{host}`")))?
            }
            PageName::Step(run, host, number) => self.step(granted, view, (*run, host, *number)).await?,
            PageName::RunStep(run, step) => self.run_step(granted, view, (*run, *step)).await?,
            PageName::Host(host) => self.host_page(granted, inventory, view, (host, &debts, seq)).await?,
            PageName::Checks => checks::page(&self.check_lines(inventory).await?, view, (seq, now)),
            PageName::Check(name) => self.check_page(inventory, view, (name, seq)).await?,
            PageName::Debts => debts.page(view, (seq, now)),
            PageName::Audit => self.audit_page(granted, view, seq).await?,
        };
        // Open debts are on every page until they are settled; a page of the past shows none of today.
        if !page.is_past && !matches!(view.page, PageName::Fleet | PageName::Debts | PageName::Host(_)) {
            page.head.extend(debts.strip());
        }
        Ok(page)
    }

    /// The newest runs that the operator may see, and every one that is under way; and whether there are older ones. Runs
    /// of others may be newer than all of them.
    pub(super) async fn runs_of(
        &self,
        granted: &Granted,
        wanted: usize,
    ) -> Result<(Vec<RunSummary>, bool), Ended> {
        let mut read = wanted.max(RUNS_LISTED);
        loop {
            let mut runs = self.ports().store.runs(read).await?;
            let oldest = runs.last().map(|run| run.run);
            let has_open = self
                .desk
                .engine
                .under_way()
                .first()
                .is_none_or(|open| oldest.is_some_and(|oldest| oldest <= *open));
            let is_all = runs.len() < read;
            let limit = if has_open { RUNS_READ } else { RUNS_READ_FOR_OPEN };
            runs.retain(|run| may_see(granted, &self.config.inventory, &run.hosts));
            if is_all || read >= limit || (runs.len() >= wanted && has_open) {
                let mut listed = 0;
                let all = runs.len();
                runs.retain(|run| {
                    listed += 1;
                    listed <= wanted || run.outcome.is_none()
                });
                return Ok((runs, all > wanted || !is_all));
            }
            read = (read * 10).min(limit);
        }
    }

    async fn taken(&self, inventory: &Inventory) -> Result<BTreeMap<HostName, Vec<ReleaseTakeover>>, Ended> {
        let mut taken = self.ports().store.taken().await?;
        taken.retain(|host, _| inventory.host(host).is_some());
        Ok(taken)
    }

    async fn check_lines(&self, inventory: &Inventory) -> Result<Vec<CheckLine>, Ended> {
        let mut lines = self.desk.monitor.roll().await?.lines;
        lines.retain(|line| inventory.host(&line.host).is_some());
        Ok(lines)
    }

    /// A run as it is now, or as it was after the event `at`.
    pub(super) async fn fold(
        &self,
        granted: &Granted,
        id: RunId,
        at: Option<u64>,
    ) -> Result<SharedFold, Ended> {
        if let Some(at) = at {
            let stored = self.stored(granted, id).await?;
            let replay = move || {
                let events = stored.events.iter().take_while(|event| event.seq <= at);
                RunFold::replay(id, stored.plan.clone(), events).map(Arc::new)
            };
            return Ok(self
                .work(replay)
                .await?
                .map_err(|why| Refusal::internal(format!("run {id}: {why}")))?);
        }
        let fold = self.desk.folds.of(granted, &self.desk.engine, id).await?;
        let is_visible = |fold: &SharedFold| {
            let hosts: Vec<HostName> = fold.run.plan().touched().into_iter().collect();
            may_see(granted, &self.config.inventory, &hosts)
        };
        match fold.filter(is_visible) {
            Some(fold) => Ok(fold),
            None => Err(self.no_run(id).await.into()),
        }
    }

    async fn step(
        &self,
        granted: &Granted,
        view: &View,
        (run, host, number): (RunId, &str, usize),
    ) -> Result<Page, Ended> {
        let fold = self.fold(granted, run, view.at).await?;
        let host = host_of(&fold, host)?;
        let none = || {
            let why = format!("{host} has no step {number} in run {run}");
            Refusal::not_found(why).hint(format!("try: board run {run} {host}"))
        };
        let attempt = number.checked_sub(1).and_then(|at| fold.attempts(&host).get(at)).ok_or_else(none)?;
        let excerpt = match attempt.has_run() {
            false => Excerpt { why: "it has not run".into(), ..Excerpt::default() },
            true => self.excerpt(granted, view, (run, &host, attempt.clone())).await?,
        };
        let now = time_of(&fold, view, self.desk.clock.now());
        let page = step::page(&fold, view, (&host, number), (excerpt, now));
        Ok(page.ok_or_else(none)?)
    }

    /// The lines of an output that a page shows.
    async fn excerpt(
        &self,
        granted: &Granted,
        view: &View,
        (run, host, attempt): (RunId, &HostName, Attempt),
    ) -> Result<Excerpt, Ended> {
        let stored = self.stored(granted, run).await?;
        let outputs = &self.ports().hosts.outputs;
        // What was printed until now can be read.
        outputs.written().await;
        let (folder, view, host) = (outputs.folder(), view.clone(), host.to_string());
        // Names that the operator may not read are covered in whole texts.
        let has_styles = granted.operator().groups.is_none();
        let read = move || excerpt_of(folder.as_deref(), &stored, (&host, &attempt), (&view, has_styles));
        let read = self.work(read).await?;
        Ok(read.map_err(|error| Refusal::internal(format!("the output could not be read: {error}")))?)
    }

    async fn host_page(
        &mut self,
        granted: &Granted,
        inventory: &Arc<Inventory>,
        view: &View,
        (host, debts, seq): (&str, &Debts<'_>, u64),
    ) -> Result<Page, Ended> {
        let name = self.one_host(inventory, host).await?;
        let (mut runs, _) = self.runs_of(granted, RUNS_SEARCHED).await?;
        runs.retain(|run| run.hosts.contains(&name));
        runs.truncate(RUNS_LISTED);
        let mut lines = self.check_lines(inventory).await?;
        lines.retain(|line| line.host == name);
        let history = self.desk.watches.of(&self.granted).history(&name, PROBES_READ).await?;
        let taken = self.taken(inventory).await?.remove(&name).unwrap_or_default();
        let host =
            inventory.host(&name).ok_or_else(|| Refusal::not_found(format!("there is no host {name}")))?;
        let facts = HostFacts { host, debts, lines: &lines, history: &history, taken: &taken, runs: &runs };
        Ok(facts.page(view, (seq, self.desk.clock.now())))
    }

    async fn check_page(
        &self,
        inventory: &Inventory,
        view: &View,
        (name, seq): (&str, u64),
    ) -> Result<Page, Ended> {
        let mut lines = self.check_lines(inventory).await?;
        lines.retain(|line| {
            line.check.to_string() == name || line.check.check().is_some_and(|check| *check.name == *name)
        });
        if lines.is_empty() {
            let why = format!("no check `{name}` is watched");
            return Err(Refusal::not_found(why).hint("try: board checks").into());
        }
        let mut hosts = Vec::new();
        for line in checks::listed(&lines, view) {
            hosts.push(CheckHistory { line, samples: self.samples(line).await? });
        }
        Ok(checks::check(name, (&hosts, lines.len()), view, (seq, self.desk.clock.now())))
    }

    async fn samples(&self, line: &CheckLine) -> Result<Vec<crate::domain::watch::roll::Sample>, Ended> {
        let kept = self.desk.watches.of(&self.granted).history(&line.host, PROBES_READ).await?;
        let of_check = kept.into_iter().find(|kept| kept.check == line.check);
        Ok(of_check.map(|kept| kept.samples).unwrap_or_default())
    }

    async fn audit_page(&mut self, granted: &Granted, view: &View, seq: u64) -> Result<Page, Ended> {
        let ask = AuditAsk { since: None, before: None, operator: None, types: Vec::new(), refused: false };
        let (rows, _) = self.audit_rows(granted, &ask).await?;
        for row in &rows.rows {
            self.terminal.may_name(row.fact.typed());
        }
        Ok(audit::page(&rows.rows, view, (seq, self.desk.clock.now())))
    }
}

/// The present time of a page: of the past, the time of its last event.
pub(super) fn time_of(fold: &SharedFold, view: &View, now: Timestamp) -> Timestamp {
    fold.last_at.filter(|_| view.at.is_some()).unwrap_or(now)
}

fn excerpt_of(
    folder: Option<&Path>,
    stored: &StoredRun,
    (host, attempt): (&str, &Attempt),
    (view, has_styles): (&View, bool),
) -> std::io::Result<Excerpt> {
    let number = attempt.number().to_string();
    let steps = steps_of(stored, host);
    let is_wanted = |step: &&Step| step.number == number && step.attempt == attempt.attempt;
    let Some(step) = steps.iter().find(is_wanted) else { return Ok(Excerpt::default()) };
    let mut kept = open(folder, step)?;
    let total = kept.lines();
    let problem = kept.search(&Pattern::Problems, 1)?.lines.first().copied();
    let (found, lines) = match &view.find {
        Some(text) => {
            let found = kept.search(&Pattern::text(text), HITS_LISTED)?;
            (Some((found.total, found.stopped_at)), kept.pick(&found.lines)?)
        }
        None => {
            let first = step::first_line(view, (total, attempt.took_ms.is_none()));
            (None, kept.window(first, step::WINDOW as usize)?)
        }
    };
    let mut renderer = LineRenderer::default();
    let rendered = |line: OutputLine| {
        let is_error = matches!(line.origin, Some(Origin { source: Source::Err, .. }));
        let rendered = renderer.line(&line.bytes);
        let more = rendered.more + line.beyond;
        let plain = || vec![Span { text: rendered.text(), style: Style::default(), is_mark: false }];
        let spans = if has_styles { rendered.spans.clone() } else { plain() };
        ExcerptLine { number: line.number, line: RenderedLine { more, spans, ..rendered }, is_error }
    };
    let lines = lines.into_iter().map(rendered).collect();
    Ok(Excerpt { lines, total, why: kept.why().into(), problem, found })
}

/// A host of the run, by its name or the part before the first dot.
fn host_of(fold: &SharedFold, word: &str) -> Result<HostName, Refusal> {
    let mut names = fold.run.plan().hosts.keys();
    let found =
        names.clone().find(|name| name.as_str() == word).or_else(|| names.find(|name| name.short() == word));
    let none = || {
        let run = fold.run.id();
        Refusal::not_found(format!("run {run} has no host `{word}`")).hint(format!("try: board run {run}"))
    };
    found.cloned().ok_or_else(none)
}

/// What stands beside the facts of a page. If it cannot be read, the page says so and is shown all the same: it may have debts.
fn beside<T: Default>(what: &str, known: Result<T, Ended>) -> Result<(T, Option<Line>), Ended> {
    match known {
        Ok(known) => Ok((known, None)),
        Err(Ended::Refused(why)) => {
            Ok((T::default(), Some(Line::marked(Mark::Unknown, format!("{what}: not known: {why}")))))
        }
        Err(Ended::Gone) => Err(Ended::Gone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_beside_a_page_is_said_on_it() {
        assert!(matches!(beside("ends", Ok(3)), Ok((3, None))));
        let refused = Err(Ended::Refused(Refusal::internal("the disk is full")));
        let Ok((0, Some(line))) = beside::<i32>("ends", refused) else { panic!("a line") };
        assert_eq!((line.mark, &*line.text), (Some(Mark::Unknown), "ends: not known: the disk is full"));
        assert!(matches!(beside::<i32>("ends", Err(Ended::Gone)), Err(Ended::Gone)));
    }
}
