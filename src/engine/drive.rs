//! The loop of one run: decide, append, apply, publish, act; then wait for a report, a request or a
//! due time, and repeat. It owns the run and is the only one that changes it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::crashed::crashed;
use super::feed::{Control, Live, Over};
use super::guard::Guard;
use super::logged::log;
use super::ports::Ports;
use super::work::Work;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::run::agenda::Agenda;
use crate::domain::run::event::{Event, EventKind};
use crate::domain::run::request::{RunRequest, grant};
use crate::domain::run::rollout::{Effect, decide};
use crate::domain::run::run::Run;
use crate::panics::caught;
use crate::port::StoreError;

/// Attempts to write the journal while running effects continue: a full
/// disk gets room within minutes, or not at all.
const APPEND_TRIES: u32 = 120;

/// The pause between two attempts.
const APPEND_PAUSE: Duration = Duration::from_secs(1);

/// Hosts of the next batch that are connected to ahead of it: others need connections, too.
const REACHED_AHEAD: usize = 8;

/// Longest sleep before the next decision.
const LONGEST_SLEEP: Duration = Duration::from_secs(10);

/// The state with which a run starts, or continues after a restart.
pub(super) struct Begin {
    /// Events that are already in the journal.
    pub events: Vec<Event>,
    /// Effects that were under way when the previous process ended, and their ages.
    pub effects: Vec<(Effect, Duration)>,
}

struct RunLoop<'a> {
    ports: &'a Ports,
    live: &'a Arc<Live>,
    run: Run,
    agenda: Agenda,
    effects: JoinSet<EventKind>,
    /// Connections to hosts of the next batch, and the number of batches for which they were begun.
    ahead: JoinSet<()>,
    reached: usize,
    /// Ends running effects on the way forward.
    kill: CancellationToken,
    /// Rollcall is stopping: the loop ends as soon as no host is in its bracket.
    suspending: bool,
    /// No further decision is made: the loop ends as soon as running effects have reported.
    hurry: CancellationToken,
    guard: Guard,
}

/// Why the loop continues.
enum News {
    Reports(Vec<EventKind>),
    Asked(Control),
    Time,
}

/// Drives a run from its first event to its last, or until rollcall stops.
pub(super) async fn drive(
    ports: &Ports,
    live: &Arc<Live>,
    begin: Begin,
    mut requests: mpsc::Receiver<Control>,
    hurry: CancellationToken,
) {
    let run = Run::new(live.id, (*live.plan).clone());
    let mut driver = RunLoop {
        ports,
        live,
        run,
        agenda: Agenda::default(),
        effects: JoinSet::new(),
        ahead: JoinSet::new(),
        reached: 0,
        kill: CancellationToken::new(),
        suspending: false,
        hurry,
        guard: Guard::default(),
    };
    let over = driver.carry(begin, &mut requests).await.unwrap_or_else(|why| {
        tracing::error!(run = %live.id, %why, "the run has stopped working");
        Over::Broken(why)
    });
    live.close(over);
}

impl RunLoop<'_> {
    async fn carry(&mut self, begin: Begin, requests: &mut mpsc::Receiver<Control>) -> Result<Over, String> {
        self.take_in(begin.events)?;
        begin.effects.into_iter().for_each(|(effect, age)| self.resume(effect, age));
        loop {
            let wake_at = if self.hurry.is_cancelled() { None } else { self.act().await? };
            if self.run.outcome().is_some() {
                return Ok(Over::Ended);
            }
            if self.may_leave() {
                return Ok(Over::Suspended);
            }
            match self.wait(requests, wake_at).await {
                News::Reports(events) => self.record(events).await?,
                News::Asked(control) => self.answer(control).await?,
                News::Time => {}
            }
        }
    }

    fn may_leave(&self) -> bool {
        let leaving = self.hurry.is_cancelled() || (self.suspending && !self.run.has_host_in_bracket());
        leaving && self.effects.is_empty()
    }

    /// Decides until no decision is left; returns the next due time, if there is one.
    async fn act(&mut self) -> Result<Option<Timestamp>, String> {
        loop {
            let decided = decide(&self.run, &mut self.agenda, self.ports.hosts.clock.now());
            if decided.decisions.is_empty() {
                return Ok(decided.wake_at);
            }
            let (events, effects): (Vec<EventKind>, Vec<Option<Effect>>) =
                decided.decisions.into_iter().map(|decision| (decision.event, decision.effect)).unzip();
            self.record(events.into_iter().map(|event| self.with_input(event)).collect()).await?;
            self.reach_ahead();
            effects.into_iter().flatten().for_each(|effect| self.start(effect));
        }
    }

    /// Connects to hosts of the next batch while the present batch is under way, once all hosts of the present batch were
    /// reached. This changes nothing on the hosts. A host that cannot be reached is tried again when its batch begins. No
    /// connection is made ahead of a pause, because the batch after it may never begin.
    fn reach_ahead(&mut self) {
        if self.run.holds_back() {
            return self.ahead.abort_all();
        }
        let (plan, next) = (self.run.plan(), self.run.batches_begun());
        let is_behind_pause = plan.rollout.pause_after.is_some_and(|pause| pause.batch == next);
        if next == self.reached || is_behind_pause || !plan.has_bracket() || !self.run.is_batch_observed() {
            return;
        }
        self.reached = next;
        while self.ahead.try_join_next().is_some() {}
        let hosts = plan.batches.get(next).into_iter().flatten().take(REACHED_AHEAD);
        for host in hosts.filter_map(|name| plan.hosts.get(name)) {
            let (remote, endpoint) = (self.ports.hosts.remote.clone(), host.endpoint.clone());
            self.ahead.spawn(async move { _ = remote.reach(&endpoint).await });
        }
    }

    /// The end of a run says whether there was input: only this process knows.
    fn with_input(&self, event: EventKind) -> EventKind {
        match event {
            EventKind::RunEnded { outcome, .. } => {
                EventKind::RunEnded { outcome, had_input: self.live.had_input() }
            }
            other => other,
        }
    }

    fn start(&mut self, effect: Effect) {
        let work = Work::new(self.ports, self.live, &self.run, effect.clone(), &self.kill);
        self.spawn(effect, work.perform());
    }

    /// Finds out the result of an effect that another process had started.
    fn resume(&mut self, effect: Effect, age: Duration) {
        let work = Work::new(self.ports, self.live, &self.run, effect.clone(), &self.kill);
        self.spawn(effect, work.resuming(age).perform());
    }

    fn spawn(&mut self, effect: Effect, work: impl Future<Output = EventKind> + Send + 'static) {
        self.effects.spawn(async move { caught(work).await.unwrap_or_else(|_| crashed(&effect)) });
    }

    /// Waits for news, and takes all reports at once: one append for many.
    async fn wait(&mut self, requests: &mut mpsc::Receiver<Control>, wake_at: Option<Timestamp>) -> News {
        let now = self.ports.hosts.clock.now();
        // A time that has already passed needs no sleep, and a jump of the clock must not cause a long one.
        let until = |time: Timestamp| Duration::try_from(time.duration_since(now)).unwrap_or_default();
        let pause = wake_at.map(|time| until(time).min(LONGEST_SLEEP));
        let wake = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        let hurried = self.hurry.is_cancelled();
        let mut reports = Vec::new();
        tokio::select! {
            biased;
            Some(control) = requests.recv() => return News::Asked(control),
            () = self.hurry.cancelled(), if !hurried => return News::Time,
            Some(report) = self.effects.join_next() => reports.extend(report.ok()),
            found = self.guard.watch(self.ports, &self.live.plan, &self.run) => reports.extend(found),
            () = wake => {}
        }
        while let Some(report) = self.effects.try_join_next() {
            reports.extend(report.ok());
        }
        News::Reports(reports)
    }

    /// Grants a request, or says why not. A granted request is in the journal before the answer is sent.
    async fn answer(&mut self, control: Control) -> Result<(), String> {
        self.suspending |= control.request == RunRequest::Suspend;
        let granted = match grant(&self.run, control.request, &control.who) {
            Ok(Some(event @ EventKind::Approved { .. })) => self.with_leases().await.map(|()| Some(event)),
            granted => granted,
        };
        if let Ok(Some(event)) = &granted {
            self.record(vec![event.clone()]).await?;
        }
        // The session may be gone; the request holds without it.
        let _ = control.answer.send(granted.map(drop));
        Ok(())
    }

    /// A run that an agent proposed has no leases before it is approved.
    async fn with_leases(&self) -> Result<(), Refusal> {
        if self.run.plan().proposed.is_none() {
            return Ok(());
        }
        let taken = self.ports.store.take_leases(self.run.id(), self.ports.hosts.clock.now()).await;
        taken.map_err(|error| {
            let why = match error {
                StoreError::Busy { scope, run, by } => {
                    Refusal::new(Cause::Busy, format!("{scope} is in the hands of run {run} by {by}"))
                }
                other => Refusal::from(other),
            };
            why.hint(format!("try: approve {} when that is over", self.run.id()))
        })
    }

    /// Appends, then applies, then publishes.
    async fn record(&mut self, kinds: Vec<EventKind>) -> Result<(), String> {
        if kinds.is_empty() {
            return Ok(());
        }
        for attempt in 1.. {
            let now = self.ports.hosts.clock.now();
            match self.ports.store.append(self.run.id(), now, kinds.clone()).await {
                Ok(events) => {
                    events.iter().for_each(|event| log(&self.live.plan, event));
                    return self.take_in(events);
                }
                Err(error) if attempt >= APPEND_TRIES => {
                    return Err(format!("the journal cannot be written: {error}"));
                }
                Err(error) => {
                    tracing::error!(run = %self.run.id(), %error, "the journal cannot be written; trying again")
                }
            }
            tokio::time::sleep(APPEND_PAUSE).await;
        }
        Ok(())
    }

    fn take_in(&mut self, events: Vec<Event>) -> Result<(), String> {
        for event in &events {
            self.run.apply(event).map_err(|illegal| illegal.to_string())?;
            self.agenda.note(&self.run, event);
        }
        self.live.publish(&events);
        // Running commands are ended only once the journal says who requested that.
        if self.run.cancel().is_some_and(|cancel| cancel.now) {
            self.kill.cancel();
        }
        Ok(())
    }
}
