//! Every rule of a rollout as a row: how the world answers, and how each host ends. Then the same
//! rules under random worlds, with the invariants of ARCHITECTURE.md checked after every event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::domain::ask::access::{Operator, Role};
use crate::domain::ask::command::Title;
use crate::domain::base::name::RunId;
use crate::domain::base::outcome::{End, FailureKind, Verdict};
use crate::domain::base::outcome::{Failure, Outcome, RunOutcome};
use crate::domain::base::output::Output;
use crate::domain::check::check::{Check, CheckResult, UnknownIs};
use crate::domain::check::id::CheckId;
use crate::domain::check::probe::{Expect, Probe};
use crate::domain::inventory::inventory::{Balancer, Driver, Endpoint, Nginx, NginxStyle};
use crate::domain::plan::plan::HostPlan;
use crate::domain::plan::plan::{Plan, Seat};
use crate::domain::run::event::Stage;
use crate::domain::run::event::{Change, Event};
use crate::domain::run::request::{RunRequest, grant};
use crate::domain::run::restart;
use crate::domain::task::task::{BatchSize, MaxFailures, Rollout, StepBody, batch_sizes};
use crate::domain::task::task::{Hook, OnFailure, Step};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn step(name: &str, template: &str) -> Step {
    Step {
        timeout: Duration::from_secs(1),
        delay: Duration::from_secs(5),
        ..Step::new(name, StepBody::Run { script: template.into() })
    }
}

fn check() -> Check {
    let probe = Probe::Run { command: "true".into(), expect: Expect::default() };
    Check::new(&CheckId::new("http", "answers"), probe, Duration::from_secs(1))
}

fn host_plan(name: &str) -> HostPlan {
    let endpoint = Endpoint {
        name: name.into(),
        here: false,
        address: name.into(),
        further: Vec::new(),
        key: None,
        port: 22,
        login: "d".into(),
        via: None,
    };
    HostPlan {
        steps: vec![step("one", "a"), step("two", "b")].into(),
        rollback: vec![step("back", "{{ previous }}")].into(),
        observe: Some("current".into()),
        checks: vec![check()].into(),
        balancer: Some(Seat { balancer: "web".into(), server: name.into() }),
        ..HostPlan::bare(endpoint)
    }
}

fn plan(hosts: usize, serial: &[BatchSize], max_failures: u32, on_failure: OnFailure) -> Plan {
    let names: Vec<HostName> = (1..=hosts).map(|n| HostName::new(format!("h{n}"))).collect();
    let mut rest = names.clone().into_iter();
    let batches =
        batch_sizes(serial, hosts).into_iter().map(|size| rest.by_ref().take(size).collect()).collect();
    let driver = Driver::Nginx(Nginx {
        config: "c".into(),
        style: NginxStyle::Down,
        upstreams: vec![],
        test: Some("t".into()),
        reload: Some("r".into()),
        workers: Some("w".into()),
        sudo: false,
    });
    let balancer = Balancer {
        name: "web".into(),
        on: vec![],
        server: "s".into(),
        driver,
        drain_timeout: Duration::ZERO,
        on_drain_timeout: Default::default(),
        enable_timeout: crate::domain::inventory::inventory::ENABLE_TIMEOUT,
        min_in_service: None,
        members: Default::default(),
        further: vec![],
    };
    Plan {
        title: Title("deploy".into()),
        kind: RunKind::Release { task: "deploy".into() },
        params: BTreeMap::new(),
        goes_back: false,
        back_to: None,
        forced: false,
        needs_approval: false,
        broken_glass: None,
        proposed: None,
        repeats: None,
        because: None,
        secret_params: None,
        tags: Default::default(),
        rollout: Rollout {
            serial: serial.to_vec(),
            max_failures: MaxFailures::Hosts(max_failures),
            on_failure,
            ..Rollout::default()
        },
        batches,
        hosts: names.iter().map(|name| (name.clone(), host_plan(name.as_str()))).collect(),
        balancers: BTreeMap::from([("web".into(), balancer)]),
        servers: BTreeMap::from([("web".into(), hosts)]),
        leases: BTreeSet::from(["web".into()]),
        hooks: Default::default(),
        snapshots: vec![],
        files_root: "files".into(),
    }
}

/// How the world answers effects; most of them succeed.
#[derive(Clone, Debug, Default)]
struct World {
    /// By host: what fails there, once at each place.
    trouble: BTreeMap<HostName, Fault>,
    drain: Option<Change>,
    enable: Option<Change>,
    /// The number of the event after which an operator cancels.
    cancel_after: Option<(usize, bool)>,
    /// The order in which running effects end: picks by this, modulo their number.
    picks: Vec<usize>,
    /// The requests of operators, in turn, made whenever the run waits; and who makes them.
    requests: Vec<(RunRequest, &'static str)>,
    /// The number of hosts that may be out of rotation at once.
    room: Option<usize>,
    /// The number of the event after which the balancer forgets its drains.
    forget_after: Option<usize>,
    /// The number of enable attempts that fail before one succeeds.
    enable_fails: usize,
    /// Any change that enables this host is refused.
    in_the_way: Option<HostName>,
    hook_fails: Option<(Hook, usize)>,
    /// The defect of rollcall itself.
    flaw: Option<Flaw>,
}

#[derive(Clone, Debug)]
enum Fault {
    Unreachable,
    Step(BracketDirection, usize, Outcome),
    /// Only on the first attempt.
    Flaky(usize),
    Gate(Verdict),
    /// On the way back, too.
    GateBothWays(Verdict),
    /// The gate is critical, and then the first rollback step ends like this.
    GateThenLost(Outcome),
    Roll(Verdict),
    /// From this check on, while the host is in rotation and others are under way.
    Watch(usize, Verdict),
    NoPrevious(Outcome),
    /// In a comparison with other hosts, it is the outlier.
    OutOfLine,
}

fn failed() -> Outcome {
    Outcome::Failed { code: Some(1), why: "exit status 1".into() }
}

fn answer(world: &World, run: &Run, effect: &Effect, story: &[Event]) -> EventKind {
    match effect.clone() {
        Effect::Observe { host } => match world.trouble.get(&host) {
            Some(Fault::Unreachable) => {
                let failure = Failure { kind: FailureKind::Unreachable, why: "refused".into() };
                EventKind::ObserveFailed { host, failure }
            }
            Some(Fault::NoPrevious(_)) => EventKind::Observed { host, previous: None, in_rotation: None },
            _ => EventKind::Observed { host, previous: Some("old".into()), in_rotation: None },
        },
        Effect::Drain { balancer, hosts } => {
            let out = run.hosts().values().filter(|host| host.is_owed()).count() - hosts.len();
            let kept = match world.room {
                Some(room) => hosts.iter().skip(room.saturating_sub(out)).cloned().collect(),
                None => vec![],
            };
            let done = Change::Done { foreign: vec![], kept, note: String::new() };
            let change = world.drain.clone().unwrap_or(done);
            EventKind::DrainEnded { balancer, hosts, change }
        }
        Effect::Redrain { balancer, hosts } => {
            EventKind::RedrainEnded { balancer, hosts, change: Change::done("") }
        }
        Effect::Enable { balancer, hosts } => {
            let change = world.enable.clone().unwrap_or(Change::done(""));
            let tried = |event: &&Event| matches!(event.kind, EventKind::EnableEnded { .. });
            let in_the_way = world.in_the_way.as_ref().is_some_and(|host| hosts.contains(host));
            let change = match in_the_way || story.iter().filter(tried).count() < world.enable_fails {
                true => Change::Refused { why: "not reached".into() },
                false => change,
            };
            EventKind::EnableEnded { balancer, hosts, change }
        }
        Effect::Step { host, way, step, attempt } => {
            let outcome = match world.trouble.get(&host) {
                Some(Fault::Step(at, number, outcome)) if (*at, *number) == (way, step) => outcome.clone(),
                Some(Fault::NoPrevious(outcome)) if way == BracketDirection::Forward && step == 0 => {
                    outcome.clone()
                }
                Some(Fault::GateThenLost(outcome)) if way == BracketDirection::Back => outcome.clone(),
                Some(Fault::Flaky(number)) if *number == step && attempt == 1 => failed(),
                _ => Outcome::Ok,
            };
            let (stdout, stderr) = (Output::default(), Output::default());
            EventKind::StepEnded {
                host,
                way,
                step,
                name: "s".into(),
                attempt,
                outcome,
                stdout,
                stderr,
                took_ms: 1,
                code: None,
            }
        }
        Effect::Hook { hook, step } => {
            let outcome = if world.hook_fails == Some((hook, step)) { failed() } else { Outcome::Ok };
            let (name, stdout, stderr) = ("s".into(), Output::default(), Output::default());
            EventKind::HookEnded { hook, step, name, outcome, stdout, stderr, took_ms: 1 }
        }
        Effect::Checks { host, stage } => {
            let back =
                matches!(run.hosts()[&host].phase(), Phase::Gating { way: BracketDirection::Back, .. });
            let verdict = match (world.trouble.get(&host), stage) {
                (Some(Fault::Gate(verdict)), Stage::Gate) if !back => *verdict,
                (Some(Fault::GateBothWays(verdict)), Stage::Gate) => *verdict,
                (Some(Fault::GateThenLost(_)), Stage::Gate) => Verdict::Critical,
                (Some(Fault::Roll(verdict)), Stage::Roll) => *verdict,
                (Some(Fault::Watch(after, verdict)), Stage::Watch) => {
                    let probes = story.iter().filter(|event| matches!(&event.kind, EventKind::ChecksEnded { host: of, stage: Stage::Watch, .. } if *of == host));
                    if probes.count() >= *after { *verdict } else { Verdict::Ok }
                }
                _ => Verdict::Ok,
            };
            let result = CheckResult::new(CheckId::new("http", "answers"), verdict, "seen");
            EventKind::ChecksEnded { host, stage, results: vec![result] }
        }
        Effect::Snapshot { snapshot, hosts } => {
            let verdict = |host: &HostName| match world.trouble.get(host) {
                Some(Fault::OutOfLine) => Verdict::Critical,
                _ => Verdict::Ok,
            };
            let results = hosts
                .iter()
                .map(|host| CheckResult::new(CheckId::new("http", "same"), verdict(host), "compared"))
                .collect();
            EventKind::SnapshotEnded {
                snapshot,
                check: CheckId::new("http", "same"),
                hosts,
                results,
                spread_ms: 3,
            }
        }
    }
}

struct Story {
    run: Run,
    events: Vec<Event>,
    /// Requests that were refused.
    refused: Vec<String>,
}

/// A run that is played against a world.
struct Player<'a> {
    world: &'a World,
    run: Run,
    agenda: Agenda,
    story: Vec<Event>,
    under_way: Vec<Effect>,
    /// The balancer's own view.
    out: BTreeSet<HostName>,
    requests: std::slice::Iter<'a, (RunRequest, &'static str)>,
    refused: Vec<String>,
    truth: Truth,
    now: Timestamp,
}

/// The true state, whatever is reported.
#[derive(Default)]
struct Truth {
    /// Drained by this run.
    out: BTreeSet<HostName>,
    /// On the new release.
    new: BTreeSet<HostName>,
    /// How often each operation was started.
    executions: BTreeMap<String, u32>,
}

impl Truth {
    /// A step starts.
    fn begin(&mut self, run: &Run, effect: &Effect) {
        let Effect::Step { host, way, step, attempt } = effect else { return };
        let drained = self.out.contains(host)
            || run.hosts()[host].is_foreign()
            || run.plan().hosts[host].balancer.is_none();
        assert!(drained, "I3: {host} is worked on while it serves");
        let times = self.executions.entry(format!("{host}/{way:?}/{step}/{attempt}")).or_default();
        *times += 1;
        assert!(*times == 1, "I5: {host} {way:?} {step} {attempt} is executed {times} times");
    }

    /// The result of an effect.
    fn happened(&mut self, kind: &EventKind) {
        match kind {
            EventKind::DrainEnded { hosts, change, .. } => match change {
                Change::Done { foreign, kept, .. } => {
                    let ours = hosts.iter().filter(|host| !foreign.contains(host) && !kept.contains(host));
                    self.out.extend(ours.cloned());
                }
                Change::Unknown { .. } => self.out.extend(hosts.iter().cloned()),
                Change::Refused { .. } => {}
            },
            EventKind::EnableEnded { hosts, change: Change::Done { foreign, .. }, .. } => {
                hosts
                    .iter()
                    .filter(|host| !foreign.contains(host))
                    .for_each(|host| _ = self.out.remove(host));
            }
            EventKind::StepEnded { host, way: BracketDirection::Forward, step: 1, outcome, .. }
                if outcome.is_good() =>
            {
                self.new.insert(host.clone());
            }
            EventKind::StepEnded { host, way: BracketDirection::Back, step: 0, outcome, .. }
                if outcome.is_good() =>
            {
                self.new.remove(host);
            }
            _ => {}
        }
    }

    /// I3, at every instant.
    fn check(&self, run: &Run) {
        for host in &self.out {
            assert!(run.hosts()[host].is_owed(), "I3: {host} is out of rotation, and nobody owes it");
        }
    }

    fn check_end(&self, run: &Run, world: &World) {
        for (name, host) in run.hosts() {
            let (new, out) = (self.new.contains(name), self.out.contains(name));
            let ill = matches!(world.trouble.get(name), Some(Fault::Gate(Verdict::Critical)));
            let holds = match host.end() {
                Some(End::Released) => new && !out && !ill,
                Some(End::RolledBack | End::NotStarted) => !new && !out,
                Some(End::Held) => out || host.is_foreign() || host.is_owed(),
                _ => true,
            };
            assert!(
                holds,
                "I13: {name} is reported as {:?}, and is on the new release {new}, out {out}, ill {ill}",
                host.end()
            );
        }
    }
}

/// Plays a run to its end, and checks the invariants after every event.
fn play(plan: Plan, world: &World) -> Story {
    let mut player = Player::new(plan, world);
    player.write(EventKind::RunStarted {
        title: "t".into(),
        by: "ann".into(),
        key: "k".into(),
        plan_sha256: "0".into(),
        granted: None,
    });
    player.play()
}

impl<'a> Player<'a> {
    fn new(plan: Plan, world: &'a World) -> Player<'a> {
        Player {
            world,
            run: Run::new(RunId(1), plan),
            agenda: Agenda::default(),
            story: Vec::new(),
            under_way: Vec::new(),
            out: BTreeSet::new(),
            requests: world.requests.iter(),
            refused: Vec::new(),
            truth: Truth::default(),
            now: NOW,
        }
    }

    fn write(&mut self, kind: EventKind) {
        let event = Event { seq: self.story.len() as u64 + 1, run: RunId(1), at: self.now, kind };
        self.run.apply(&event).unwrap_or_else(|illegal| panic!("{illegal}"));
        self.agenda.note(&self.run, &event);
        assert!(self.run.has_true_index(), "after {event:?}");
        follow_balancer(&mut self.out, &event.kind);
        if self.run.plan().kind != RunKind::Enable {
            invariants(&self.run, &self.out);
            self.truth.check(&self.run);
        }
        self.story.push(event);
    }

    /// Replays the journal, and its effects on the world.
    fn live_through(&mut self, events: &[Event]) {
        for event in events {
            self.now = event.at;
            self.truth.happened(&event.kind);
            self.write(event.kind.clone());
            if let EventKind::StepStarted { host, way, step, attempt, .. } = &event.kind {
                let effect = Effect::Step { host: host.clone(), way: *way, step: *step, attempt: *attempt };
                self.truth.begin(&self.run, &effect);
            }
        }
    }

    fn play(mut self) -> Story {
        let mut picks = self.world.picks.iter().copied().cycle();
        for _ in 0..10_000 {
            let mut decided = self.decide();
            if let Some(flaw) = self.world.flaw {
                decided.decisions = flaw.decide(&self.run, decided.decisions);
            }
            for decision in &decided.decisions {
                check_start(&self.run, &decision.event);
                let is_drain = matches!(decision.effect, Some(Effect::Drain { .. }));
                if self.world.flaw != Some(Flaw::WritesNoIntent) || !is_drain {
                    self.write(decision.event.clone());
                }
                self.under_way.extend(decision.effect.clone());
                decision.effect.iter().for_each(|effect| self.truth.begin(&self.run, effect));
            }
            if self.run.outcome().is_some() {
                self.truth.check_end(&self.run, self.world);
                return Story { run: self.run, events: self.story, refused: self.refused };
            }
            if !decided.decisions.is_empty() || self.interfere() {
                continue;
            }
            if self.under_way.is_empty() {
                match decided.wake_at {
                    Some(time) => self.now = time,
                    None => self.request(),
                }
                continue;
            }
            let effect = self.under_way.remove(picks.next().unwrap_or(0) % self.under_way.len());
            let answer = answer(self.world, &self.run, &effect, &self.story);
            let skipped = self.world.flaw == Some(Flaw::SkipsTheStepBack)
                && matches!(effect, Effect::Step { way: BracketDirection::Back, .. });
            if !skipped {
                self.truth.happened(&answer);
            }
            if let (Some(Flaw::CallsLostNotStarted), EventKind::StepEnded { host, .. }) =
                (self.world.flaw, &answer)
            {
                // The step did its work before it was lost.
                self.truth.new.insert(host.clone());
            }
            self.write(self.world.flaw.map_or(answer.clone(), |flaw| flaw.tell(answer)));
        }
        panic!("the run does not end: {:?}", self.run.hosts());
    }

    /// The next decisions, which are those that follow from looking at all hosts.
    fn decide(&mut self) -> Decided {
        let decided = decide(&self.run, &mut self.agenda, self.now);
        let all = oracle::decide_all(&self.run, self.now);
        assert_eq!(decided.decisions, all.decisions, "after {:?}", self.story.last());
        assert_eq!(decided.wake_at, all.wake_at, "after {:?}", self.story.last());
        decided
    }

    /// The run waits: the next request of an operator.
    fn request(&mut self) {
        let (request, name) =
            self.requests.next().expect("something is under way, or there is a time to wake");
        let who = Operator::new(*name, *name, Role::Operator);
        match grant(&self.run, *request, &who) {
            Ok(event) => event.into_iter().for_each(|event| self.write(event)),
            Err(why) => self.refused.push(why.to_string()),
        }
    }

    /// Cancels and forgotten drains in the middle of the run.
    fn interfere(&mut self) -> bool {
        if let Some((after, now)) = self.world.cancel_after
            && self.story.len() >= after
            && self.run.cancel().is_none()
        {
            self.write(EventKind::CancelRequested { by: "bob".into(), key: "k".into(), now });
            return true;
        }
        let forgotten = |event: &Event| matches!(event.kind, EventKind::DrainForgotten { .. });
        let forgets = self.world.forget_after.is_some_and(|after| self.story.len() >= after);
        if !forgets || self.story.iter().any(forgotten) {
            return false;
        }
        let Some((balancer, hosts)) = self.run.drained().pop_first() else { return false };
        self.write(EventKind::DrainForgotten { balancer, hosts });
        true
    }
}

/// The balancer's own view: out of rotation from the intent on, in again once it is proven.
fn follow_balancer(out: &mut BTreeSet<HostName>, kind: &EventKind) {
    match kind {
        EventKind::DrainStarted { hosts, .. } => out.extend(hosts.iter().cloned()),
        EventKind::DrainEnded { hosts, change: Change::Refused { .. }, .. } => {
            hosts.iter().for_each(|host| _ = out.remove(host));
        }
        // Hosts that others drained are out of rotation, but not by this run, in both directions.
        EventKind::DrainEnded { hosts, change: Change::Done { foreign, kept, .. }, .. } => {
            let others = foreign.iter().chain(kept).filter(|host| hosts.contains(host));
            others.for_each(|host| _ = out.remove(host));
        }
        EventKind::EnableEnded { hosts, change: Change::Done { foreign, .. }, .. } => {
            hosts.iter().filter(|host| !foreign.contains(host)).for_each(|host| _ = out.remove(host));
        }
        _ => {}
    }
}

fn invariants(run: &Run, out: &BTreeSet<HostName>) {
    for (name, host) in run.hosts() {
        assert_eq!(
            host.is_owed(),
            out.contains(name),
            "I3: what is out is owed, and nothing else: {name} {host:?}"
        );
        if let Some(end) = host.end() {
            assert!(
                !host.is_owed() || matches!(end, End::Held | End::Unknown),
                "I4: {name} ends {end:?} while it is owed"
            );
        }
    }
}

/// Before an intent: whether it is allowed.
fn check_start(run: &Run, kind: &EventKind) {
    match kind {
        EventKind::DrainStarted { hosts, .. } => {
            let back = hosts.iter().all(|host| run.hosts()[host].way() == BracketDirection::Back);
            assert!(
                back || !run.holds_back(),
                "I11: nothing begins once the run is halted or paused: {kind:?}"
            );
            let allowed = run.plan().rollout.max_failures.allowed(run.hosts().len());
            assert!(
                back || run.failures() <= allowed,
                "I2: a host begins after the budget is spent: {kind:?}"
            );
        }
        EventKind::BatchStarted { batch, .. } => {
            let pause = run.plan().rollout.pause_after.is_some_and(|pause| pause.batch == *batch);
            assert!(!pause || run.has_paused(), "I11: a batch begins without the pause that the plan makes");
            assert!(!run.holds_back(), "I11: nothing begins once the run is halted or paused: {kind:?}");
        }
        EventKind::EnableStarted { hosts, .. } => {
            for host in hosts.iter().map(|host| &run.hosts()[host]) {
                let counts = |result: &CheckResult| run.plan().rollout.unknown_is.counts(result.verdict);
                let proven =
                    host.checks().iter().all(|result| counts(result).passes()) || host.is_untouched();
                assert!(
                    proven || matches!(host.phase(), Phase::Verified { way: BracketDirection::Back, .. }),
                    "I6: {host:?}"
                );
            }
        }
        _ => {}
    }
    if let EventKind::BatchStarted { .. } = kind {
        let through = |name: &HostName| {
            matches!(run.hosts()[name].phase(), Phase::Serving { .. } | Phase::Settled { .. })
        };
        assert!(run.batch_hosts().iter().all(through), "I7: a batch is through before the next one begins");
    }
}

fn ends(story: &Story) -> String {
    let ends = story.run.hosts().values().map(|host| host.end().map_or("?", End::word));
    ends.collect::<Vec<_>>().join(" ")
}

fn world(trouble: &[(&str, Fault)]) -> World {
    World {
        trouble: trouble.iter().map(|(host, trouble)| (HostName::from(*host), trouble.clone())).collect(),
        ..World::default()
    }
}

/// A run after its first event and these.
fn run_after(plan: Plan, kinds: Vec<EventKind>) -> Run {
    let started = EventKind::RunStarted {
        title: "deploy".into(),
        by: "ann".into(),
        key: "a".into(),
        plan_sha256: String::new(),
        granted: None,
    };
    let events = std::iter::once(started).chain(kinds);
    let events: Vec<Event> =
        (1..).zip(events).map(|(seq, kind)| Event { seq, run: RunId(1), at: NOW, kind }).collect();
    Run::replay(RunId(1), plan, &events).unwrap()
}

#[test]
fn every_trouble_ends_in_a_true_state() {
    use BracketDirection::{Back, Forward};
    use OnFailure::{Rollback, Stop};
    let lost = || Outcome::Lost { why: "gone".into() };
    let not_started = || Outcome::NotStarted { why: "refused".into() };
    type Row = (OnFailure, Vec<(&'static str, Fault)>, &'static str, RunOutcome);
    let rows: Vec<Row> = vec![
        (Stop, vec![], "released released released released", RunOutcome::Done),
        (
            Stop,
            vec![("h1", Fault::Unreachable)],
            "not-started not-started not-started not-started",
            RunOutcome::Unreachable,
        ),
        (
            Stop,
            vec![("h2", Fault::Unreachable)],
            "released not-started not-started not-started",
            RunOutcome::Unreachable,
        ),
        (
            Stop,
            vec![("h1", Fault::Step(Forward, 0, failed()))],
            "held not-started not-started not-started",
            RunOutcome::NeedsPerson,
        ),
        (
            Rollback,
            vec![("h1", Fault::Step(Forward, 1, failed()))],
            "rolled-back not-started not-started not-started",
            RunOutcome::Failed,
        ),
        (
            Rollback,
            vec![("h2", Fault::Gate(Verdict::Critical))],
            "released rolled-back released not-started",
            RunOutcome::Failed,
        ),
        (
            Rollback,
            vec![("h2", Fault::Gate(Verdict::Unknown))],
            "released rolled-back released not-started",
            RunOutcome::Failed,
        ),
        (
            Rollback,
            vec![("h2", Fault::Gate(Verdict::Warning))],
            "released released released released",
            RunOutcome::Done,
        ),
        (
            Rollback,
            vec![("h1", Fault::Step(Forward, 0, lost()))],
            "unknown not-started not-started not-started",
            RunOutcome::NeedsPerson,
        ),
        (
            Rollback,
            vec![("h1", Fault::Step(Forward, 0, not_started()))],
            "not-started not-started not-started not-started",
            RunOutcome::Unreachable,
        ),
        (
            Rollback,
            vec![("h1", Fault::Step(Forward, 1, not_started()))],
            "held not-started not-started not-started",
            RunOutcome::NeedsPerson,
        ),
        (
            Rollback,
            vec![("h1", Fault::NoPrevious(failed()))],
            "held not-started not-started not-started",
            RunOutcome::NeedsPerson,
        ),
        (
            Rollback,
            vec![("h1", Fault::Step(Forward, 0, Outcome::Timeout { after_ms: 9 }))],
            "rolled-back not-started not-started not-started",
            RunOutcome::Failed,
        ),
        (
            Rollback,
            vec![("h4", Fault::Roll(Verdict::Critical))],
            "released released released failing",
            RunOutcome::NeedsPerson,
        ),
        (
            Stop,
            vec![("h1", Fault::Flaky(0))],
            "held not-started not-started not-started",
            RunOutcome::NeedsPerson,
        ),
        (
            Rollback,
            vec![("h1", Fault::Step(Back, 0, failed()))],
            "released released released released",
            RunOutcome::Done,
        ),
    ];
    for (on_failure, trouble, wanted, outcome) in rows {
        let plan = plan(4, &[BatchSize::Hosts(1), BatchSize::Hosts(2)], 0, on_failure);
        let story = play(plan, &world(&trouble));
        assert_eq!(ends(&story), wanted, "{trouble:?}");
        assert_eq!(story.run.outcome(), Some(outcome), "{trouble:?}");
    }
}

#[test]
fn a_host_that_an_earlier_run_holds_goes_back_on_proof_only() {
    let held = || {
        let mut plan = plan(1, &[BatchSize::Hosts(1)], 0, OnFailure::Rollback);
        plan.hosts.get_mut(&HostName::from("h1")).unwrap().held = true;
        plan
    };
    let not_started = Outcome::NotStarted { why: "refused".into() };
    let untouched = play(held(), &world(&[("h1", Fault::Step(BracketDirection::Forward, 0, not_started))]));
    assert_eq!(ends(&untouched), "held", "it is not put back as it was");
    let lost_drain = World { drain: Some(Change::Unknown { why: "lost".into() }), ..World::default() };
    assert_eq!(ends(&play(held(), &lost_drain)), "unknown");
    assert_eq!(ends(&play(held(), &World::default())), "released");
}

#[test]
fn a_rollback_that_would_lead_nowhere_or_is_lost_is_told_so() {
    let link = |from: &str| StepBody::Link { from: from.into(), at: "current".into() };
    let mut same = plan(1, &[BatchSize::Hosts(1)], 0, OnFailure::Rollback);
    same.hosts.get_mut(&HostName::from("h1")).unwrap().steps[0].body = link("old");
    let story = play(same, &world(&[("h1", Fault::Step(BracketDirection::Forward, 1, failed()))]));
    let Phase::Settled { end: End::Held, why } = &story.run.hosts()[&HostName::from("h1")].phase() else {
        panic!()
    };
    assert!(why.ends_with("not rolled back: it was on this release before the run began"), "{why}");

    let lost = Fault::GateThenLost(Outcome::Lost { why: "gone".into() });
    let story = play(plan(1, &[BatchSize::Hosts(1)], 0, OnFailure::Rollback), &world(&[("h1", lost)]));
    assert_eq!(ends(&story), "unknown");
}

#[test]
fn what_the_last_look_could_not_see_is_unknown() {
    let story = play(
        plan(1, &[BatchSize::Hosts(1)], 0, OnFailure::Stop),
        &world(&[("h1", Fault::Roll(Verdict::Unknown))]),
    );
    assert_eq!((ends(&story).as_str(), story.run.outcome()), ("unknown", Some(RunOutcome::NeedsPerson)));
    let Phase::Settled { why, .. } = &story.run.hosts()[&HostName::from("h1")].phase() else { panic!() };
    assert_eq!(why, "it took the release over and is in rotation, but check `http/answers` is unknown: seen");
}

#[test]
fn a_rollback_that_fails_is_held() {
    let mut plan = plan(1, &[BatchSize::Hosts(1)], 0, OnFailure::Rollback);
    let host = plan.hosts.get_mut(&HostName::from("h1")).unwrap();
    host.steps[0].retries = 0;
    host.checks_back = vec![check()].into();
    // The gate is critical on the way forward and on the way back.
    let story = play(plan, &world(&[("h1", Fault::GateBothWays(Verdict::Critical))]));
    assert_eq!(ends(&story), "held");
    assert!(story.run.hosts().values().all(|host| host.is_owed()));
}

#[test]
fn a_flaky_step_is_tried_again_after_its_delay() {
    let mut plan = plan(1, &[BatchSize::Hosts(1)], 0, OnFailure::Stop);
    plan.hosts.get_mut(&HostName::from("h1")).unwrap().steps[0].retries = 1;
    let story = play(plan, &world(&[("h1", Fault::Flaky(0))]));
    assert_eq!(ends(&story), "released");
    let starts =
        story.events.iter().filter(|event| matches!(event.kind, EventKind::StepStarted { step: 0, .. }));
    let times: Vec<i64> = starts.map(|event| event.at.as_second()).collect();
    assert_eq!(times, [0, 5]);
}

#[test]
fn a_warning_step_does_not_count_but_a_lost_one_does() {
    let soft = |outcome: Outcome| {
        let mut plan = plan(1, &[BatchSize::Hosts(1)], 0, OnFailure::Stop);
        plan.hosts.get_mut(&HostName::from("h1")).unwrap().steps[0].warn_only = true;
        ends(&play(plan, &world(&[("h1", Fault::Step(BracketDirection::Forward, 0, outcome))])))
    };
    assert_eq!(soft(failed()), "released");
    assert_eq!(soft(Outcome::Lost { why: "gone".into() }), "unknown");
}

#[test]
fn a_lost_step_is_run_again_only_where_that_does_no_harm() {
    let attempts = |repeatable: bool, retries: u32| {
        let mut plan = plan(1, &[BatchSize::Hosts(1)], 0, OnFailure::Stop);
        let step = &mut plan.hosts.get_mut(&HostName::from("h1")).unwrap().steps[0];
        (step.repeatable, step.retries) = (repeatable, retries);
        let lost = Fault::Step(BracketDirection::Forward, 0, Outcome::Lost { why: "gone".into() });
        let played = play(plan, &world(&[("h1", lost)]));
        let is_first = |kind: &EventKind| matches!(kind, EventKind::StepStarted { step: 0, .. });
        (played.events.iter().filter(|event| is_first(&event.kind)).count(), ends(&played))
    };
    assert_eq!(attempts(false, 3), (1, "unknown".into()));
    assert_eq!(attempts(true, 0), (2, "unknown".into()));
    assert_eq!(attempts(true, 3), (4, "unknown".into()));
}

#[test]
fn the_budget_is_for_the_whole_run() {
    let two_fail = [("h1", Fault::Gate(Verdict::Critical)), ("h3", Fault::Unreachable)];
    let serial = [BatchSize::Hosts(1)];
    let story = play(plan(4, &serial, 1, OnFailure::Rollback), &world(&two_fail));
    assert_eq!(ends(&story), "rolled-back released not-started not-started");
    let story = play(plan(4, &serial, 2, OnFailure::Rollback), &world(&two_fail));
    assert_eq!(ends(&story), "rolled-back released not-started released");
    assert_eq!(story.run.outcome(), Some(RunOutcome::Failed));
}

#[test]
fn what_the_balancer_says_decides_the_end() {
    let refused = || Change::Refused { why: "nginx -t".into() };
    let unknown = || Change::Unknown { why: "lost".into() };
    let foreign = Change::Done { foreign: vec!["h1".into()], kept: vec![], note: String::new() };
    let rows = [
        (Some(refused()), None, "not-started", false),
        (Some(unknown()), None, "not-started", false),
        (Some(unknown()), Some(refused()), "unknown", true),
        (None, Some(refused()), "held", true),
        (None, Some(unknown()), "unknown", true),
        (Some(foreign.clone()), None, "held", false),
        (None, Some(foreign.clone()), "held", true),
        (None, None, "released", false),
    ];
    for (drain, enable, wanted, owed) in rows {
        let world = World { drain, enable, ..World::default() };
        let story = play(plan(1, &[BatchSize::Hosts(1)], 0, OnFailure::Stop), &world);
        assert_eq!(ends(&story), wanted, "{world:?}");
        assert_eq!(story.run.hosts()[&HostName::from("h1")].is_owed(), owed, "{world:?}");
    }
    let (host, hosts, balancer) = (HostName::from("h1"), vec![HostName::from("h1")], "web".to_string());
    let run = run_after(
        plan(1, &[BatchSize::Hosts(1)], 0, OnFailure::Stop),
        vec![
            EventKind::ObserveStarted { host: host.clone() },
            EventKind::Observed { host, previous: None, in_rotation: None },
            EventKind::DrainStarted { balancer: balancer.clone(), hosts: hosts.clone() },
            EventKind::DrainEnded { balancer, hosts, change: foreign },
        ],
    );
    assert!(!run.hosts()[&HostName::from("h1")].is_owed(), "what somebody else took out is not our debt");
}

#[test]
fn a_cancelled_run_finishes_its_brackets_and_begins_no_other() {
    for after in 1..40 {
        let world = World { cancel_after: Some((after, false)), ..World::default() };
        let story = play(plan(3, &[BatchSize::Hosts(1)], 0, OnFailure::Rollback), &world);
        let all = ends(&story);
        assert!(all.split(' ').all(|end| ["released", "not-started"].contains(&end)), "{after}: {all}");
    }
}

#[test]
fn a_cancel_that_stops_nothing_does_not_change_the_end() {
    let serial = [BatchSize::Hosts(1)];
    let uncancelled = play(plan(2, &serial, 0, OnFailure::Rollback), &World::default()).events.len();
    let mut late = 0;
    for after in 1..uncancelled {
        for now in [false, true] {
            let world = World { cancel_after: Some((after, now)), ..World::default() };
            let story = play(plan(2, &serial, 0, OnFailure::Rollback), &world);
            let all_released = ends(&story) == "released released";
            let wanted = if all_released { RunOutcome::Done } else { RunOutcome::Cancelled };
            assert_eq!(story.run.outcome(), Some(wanted), "{after} {now}: {}", ends(&story));
            let was_late = all_released && story.run.cancel().is_some();
            assert_eq!(story.run.cancel_was_late(), was_late, "{after} {now}");
            late += usize::from(was_late);
        }
    }
    assert!(late > 2 && late < 2 * uncancelled - 4, "{late} of {uncancelled}");
    // A journal of an earlier build says `cancelled` where this one would say `done`: its word stays.
    let world = World { cancel_after: Some((uncancelled - 1, false)), ..World::default() };
    let mut old = play(plan(2, &serial, 0, OnFailure::Rollback), &world).events;
    let Some(Event { kind: EventKind::RunEnded { outcome, .. }, .. }) = old.last_mut() else {
        panic!("no end")
    };
    *outcome = RunOutcome::Cancelled;
    let run = Run::replay(RunId(1), plan(2, &serial, 0, OnFailure::Rollback), &old).unwrap();
    assert_eq!(run.outcome(), Some(RunOutcome::Cancelled));
}

#[test]
fn hosts_of_one_batch_are_drained_in_one_change() {
    let story = play(plan(5, &[BatchSize::Hosts(5)], 0, OnFailure::Stop), &World::default());
    let drains = story.events.iter().filter(|event| matches!(event.kind, EventKind::DrainStarted { .. }));
    assert_eq!(drains.count(), 1);
}

/// The first host waits for a moment while the gate of the second is running, and is enabled with it, or alone.
#[test]
fn hosts_that_pass_their_gate_within_a_moment_are_enabled_in_one_change() {
    let story = play(plan(2, &[BatchSize::Hosts(2)], 0, OnFailure::Stop), &World::default());
    let enables: Vec<usize> = story
        .events
        .iter()
        .filter(|event| matches!(event.kind, EventKind::EnableStarted { .. }))
        .map(|event| event.kind.hosts().len())
        .collect();
    assert_eq!(enables, [2]);
    let passed = |event: &Event| matches!(event.kind, EventKind::ChecksEnded { stage: Stage::Gate, .. });
    let first = story.events.iter().position(passed).unwrap();
    let run = Run::replay(RunId(1), story.run.plan().clone(), &story.events[..=first]).unwrap();
    let decided = |after: Duration| decide(&run, &mut Agenda::default(), NOW + after);
    let (at_once, later) = (decided(Duration::from_millis(99)), decided(GATHER_LIMIT));
    assert_eq!((at_once.decisions.len(), at_once.wake_at), (0, Some(NOW + GATHER_LIMIT)));
    let [Decision { event: EventKind::EnableStarted { hosts, .. }, .. }] = &later.decisions[..] else {
        panic!("{later:?}")
    };
    assert_eq!(hosts.len(), 1, "a host waits at most for the limit");
}

#[test]
fn an_event_that_does_not_fit_is_an_error_that_names_both() {
    let mut run = run_after(plan(1, &[BatchSize::Hosts(1)], 0, OnFailure::Stop), vec![]);
    let kind = EventKind::EnableStarted { balancer: "web".into(), hosts: vec!["h1".into()] };
    let error = run.apply(&Event { seq: 1, run: RunId(1), at: NOW, kind }).unwrap_err().to_string();
    assert!(error.contains("EnableStarted") && error.contains("Waiting"), "{error}");
}

#[test]
fn an_event_that_does_not_fit_changes_nothing() {
    let plan = plan(3, &[BatchSize::Hosts(2)], 0, OnFailure::Rollback);
    let story =
        play(plan.clone(), &World { enable: Some(Change::Refused { why: "x".into() }), ..World::default() });
    let mut refusals = 0;
    for at in 0..story.events.len() {
        let run = Run::replay(RunId(1), plan.clone(), &story.events[..at]).unwrap();
        for event in &story.events {
            let mut tried = run.clone();
            if tried.apply(event).is_err() {
                assert_eq!(tried, run, "{:?} after {at} events", event.kind);
                refusals += 1;
            }
        }
    }
    assert!(refusals > 100, "{refusals}");
    // One host of two does not fit: neither of them is changed.
    let both = vec![HostName::from("h1"), HostName::from("h2")];
    let observed = ["h1", "h2"].map(HostName::from).into_iter().flat_map(|host| {
        let seen = EventKind::Observed { host: host.clone(), previous: None, in_rotation: None };
        [EventKind::ObserveStarted { host }, seen]
    });
    let mut run = run_after(plan, observed.take(3).collect());
    let before = run.clone();
    let kind = EventKind::DrainStarted { balancer: "web".into(), hosts: both };
    assert!(run.apply(&Event { seq: 9, run: RunId(1), at: NOW, kind }).is_err());
    assert_eq!(run, before);
}

/// An addition of the task language to the first step: it decides whether, when and where steps start.
#[derive(Clone, Copy, Debug)]
enum Language {
    Plain,
    RunOnce,
    Throttle,
    Confirm,
    /// Handlers at the end, and rollback steps that undo what was started.
    Handlers,
    Never,
}

const LANGUAGE: [Language; 6] = [
    Language::Plain,
    Language::RunOnce,
    Language::Throttle,
    Language::Confirm,
    Language::Handlers,
    Language::Never,
];

impl Language {
    fn write(self, host: &mut HostPlan) {
        let first = &mut host.steps[0];
        match self {
            Language::Plain => {}
            Language::RunOnce => first.run_once = true,
            Language::Throttle => first.throttle = Some(1),
            Language::Confirm => first.body = StepBody::Confirm { text: "really?".into() },
            Language::Never => first.when = Some("1 == 2".into()),
            Language::Handlers => {
                let handler = Step { notified_by: Some(vec![0]), ..step("handler", "c") };
                host.steps.push(handler);
                let undo = |name: &str, at| Step { undoes: Some(at), ..step(name, "u") };
                host.rollback.extend([undo("undo two", 1), undo("undo one", 0)]);
            }
        }
    }
}

/// Plays a release of four hosts at once with this addition.
fn play_language(language: Language, world: &World) -> Story {
    let mut plan = plan(4, &[BatchSize::Hosts(4)], 4, OnFailure::Rollback);
    plan.hosts.values_mut().for_each(|host| language.write(host));
    play(plan, world)
}

/// How often the first step was started, and the most hosts that ran it at once.
fn at_the_first(story: &Story) -> (usize, usize) {
    let (mut begun, mut now, mut most) = (0, 0usize, 0);
    for event in &story.events {
        match event.kind {
            EventKind::StepStarted { way: BracketDirection::Forward, step: 0, .. } => {
                (begun, now) = (begun + 1, now + 1)
            }
            EventKind::StepEnded { way: BracketDirection::Forward, step: 0, .. } => now -= 1,
            _ => {}
        }
        most = most.max(now);
    }
    (begun, most)
}

#[test]
fn one_host_does_it_for_all_and_what_it_could_not_do_fails_on_all() {
    let good = play_language(Language::RunOnce, &World::default());
    assert_eq!((ends(&good).as_str(), at_the_first(&good)), ("released released released released", (1, 1)));
    let trouble = Fault::Step(BracketDirection::Forward, 0, failed());
    let world = World { trouble: [("h1".into(), trouble)].into(), ..World::default() };
    let bad = play_language(Language::RunOnce, &world);
    assert_eq!(at_the_first(&bad), (1, 1), "nobody tries again what failed for all");
    assert!(!ends(&bad).contains("released"), "{}", ends(&bad));
    // A host that could not be reached for the step did nothing: the next one runs it.
    let trouble = Fault::Step(BracketDirection::Forward, 0, Outcome::NotStarted { why: "gone".into() });
    let world = World { trouble: [("h1".into(), trouble)].into(), ..World::default() };
    assert!(ends(&play_language(Language::RunOnce, &world)).ends_with("released released released"));
}

#[test]
fn a_throttle_holds_and_holds_nobody_for_ever() {
    let story = play_language(Language::Throttle, &World::default());
    assert_eq!(
        (ends(&story).as_str(), at_the_first(&story)),
        ("released released released released", (4, 1))
    );
}

#[test]
fn a_question_is_asked_once_and_its_answer_holds_for_all_hosts() {
    let world = World {
        requests: vec![(RunRequest::Resume, "bob"), (RunRequest::Approve, "bob")],
        ..World::default()
    };
    let story = play_language(Language::Confirm, &world);
    let asked = story.events.iter().filter(|event| matches!(event.kind, EventKind::Paused(_))).count();
    assert_eq!((ends(&story).as_str(), asked), ("released released released released", 1));
    assert_eq!(story.refused, ["run 1 waits for an approval; try: approve 1"]);
    // A cancel instead of an answer leaves the hosts where they were.
    let world = World { cancel_after: Some((13, false)), ..World::default() };
    let story = play_language(Language::Confirm, &world);
    assert_eq!(ends(&story), "not-started not-started not-started not-started");
}

#[test]
fn handlers_run_for_a_change_and_steps_back_for_what_was_begun() {
    let begun = |story: &Story, way: BracketDirection, at: usize| {
        let is_it = |event: &&Event| match &event.kind {
            EventKind::StepStarted { way: of, step, host, .. } => {
                (*of, *step, host.as_str()) == (way, at, "h1")
            }
            _ => false,
        };
        story.events.iter().filter(is_it).count()
    };
    let changed = play_language(Language::Handlers, &World::default());
    assert_eq!(begun(&changed, BracketDirection::Forward, 2), 1);
    let trouble = |step, outcome| World {
        trouble: [("h1".into(), Fault::Step(BracketDirection::Forward, step, outcome))].into(),
        ..World::default()
    };
    let same = play_language(Language::Handlers, &trouble(0, Outcome::Unchanged));
    assert_eq!(begun(&same, BracketDirection::Forward, 2), 0, "nothing has changed");
    let failed = play_language(Language::Handlers, &trouble(0, failed()));
    assert_eq!(
        (begun(&failed, BracketDirection::Back, 1), begun(&failed, BracketDirection::Back, 2)),
        (0, 1),
        "only what was begun"
    );
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(failed()),
        Just(Outcome::Unchanged),
        Just(Outcome::Cancelled),
        Just(Outcome::Timeout { after_ms: 5 }),
        Just(Outcome::Lost { why: "gone".into() }),
        Just(Outcome::NotStarted { why: "refused".into() }),
    ]
}

fn troubles() -> impl Strategy<Value = Fault> {
    let verdict = prop_oneof![Just(Verdict::Critical), Just(Verdict::Unknown), Just(Verdict::Warning)];
    prop_oneof![
        Just(Fault::Unreachable),
        (0usize..2, outcomes()).prop_map(|(step, outcome)| Fault::Step(
            BracketDirection::Forward,
            step,
            outcome
        )),
        verdict.clone().prop_map(Fault::Gate),
        verdict.clone().prop_map(Fault::GateBothWays),
        verdict.clone().prop_map(Fault::Roll),
        (0usize..4, verdict).prop_map(|(after, verdict)| Fault::Watch(after, verdict)),
        (0usize..2).prop_map(Fault::Flaky),
        outcomes().prop_map(Fault::NoPrevious),
    ]
}

fn changes() -> impl Strategy<Value = Option<Change>> {
    prop_oneof![
        4 => Just(None),
        1 => Just(Some(Change::Refused { why: "no".into() })),
        1 => Just(Some(Change::Unknown { why: "lost".into() })),
        1 => Just(Some(Change::Done { foreign: vec!["h1".into(), "h3".into()], kept: vec![], note: String::new() })),
    ]
}

/// A drain may also keep some in service; an enable never does.
fn drains() -> impl Strategy<Value = Option<Change>> {
    let kept = Change::Done { foreign: vec!["h3".into()], kept: vec!["h1".into()], note: String::new() };
    prop_oneof![5 => changes(), 1 => Just(Some(kept))]
}

/// An operator who agrees to everything, and finally cancels.
fn persons() -> Vec<(RunRequest, &'static str)> {
    let mut persons = [(RunRequest::Approve, "bob"), (RunRequest::Resume, "bob")].repeat(10);
    persons.extend([(RunRequest::Cancel { now: false }, "bob"), (RunRequest::Cancel { now: true }, "bob")]);
    persons
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    /// In every world: the run ends, no invariant breaks, and the same journal results in the same state.
    #[test]
    fn any_world_leaves_a_true_end(
        hosts in 1usize..7,
        serial in prop_oneof![Just(1u32), Just(2), Just(0)],
        max_failures in 0u32..3,
        on_failure in 0usize..4,
        min_healthy in prop_oneof![2 => Just(0u64), 1 => Just(8)],
        trouble in proptest::collection::btree_map(1usize..7, troubles(), 0..5),
        drain in drains(),
        enable in changes(),
        cancel_after in proptest::option::of((1usize..40, any::<bool>())),
        picks in proptest::collection::vec(0usize..7, 1..12),
        (room, forget_after, enable_fails, cut, language) in (
            proptest::option::of(1usize..4), proptest::option::of(4usize..40), 0usize..5, any::<proptest::sample::Index>(),
            proptest::sample::select(&LANGUAGE[..])
        ),
        unknown_is in proptest::sample::select(&[UnknownIs::Critical, UnknownIs::Warning, UnknownIs::Unknown][..]),
        are_compared in any::<bool>(),
    ) {
        let all = [OnFailure::Stop, OnFailure::Rollback, OnFailure::RollbackAll, OnFailure::Continue];
        let on_failure = all[on_failure];
        let mut plan = plan(hosts, &[BatchSize::Hosts(serial)], max_failures, on_failure);
        plan.rollout.min_healthy_time = Duration::from_secs(min_healthy);
        plan.rollout.unknown_is = unknown_is;
        plan.hosts.values_mut().for_each(|host| language.write(host));
        let plan = if are_compared { gates::compared(plan) } else { plan };
        let trouble = trouble.into_iter().map(|(n, trouble)| (HostName::new(format!("h{n}")), trouble)).collect();
        let world = World {
            trouble, drain, enable, cancel_after, picks, room, forget_after, enable_fails,
            requests: persons(), ..World::default()
        };
        let story = play(plan.clone(), &world);
        let replayed = Run::replay(RunId(1), plan.clone(), &story.events).unwrap();
        prop_assert_eq!(&replayed, &story.run, "I9: state is the fold of the events");
        for cut in 0..story.events.len() {
            Run::replay(RunId(1), plan.clone(), &story.events[..cut]).unwrap();
        }
        // Rollcall dies after any event and recovers; the run ends and no invariant breaks.
        let mut player = Player::new(plan.clone(), &world);
        let begun = 1 + cut.index(story.events.len() - 1);
        player.live_through(&story.events[..begun]);
        if player.run.outcome().is_none() {
            player.under_way = restart::under_way(&player.run);
            let (then, why) = restart::go_on(&player.run, Duration::ZERO);
            player.write(EventKind::Recovered { away_ms: 0, then, why });
            player.play();
        }
        let text: Vec<String> = story.events.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
        let back: Vec<Event> = text.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(back, story.events, "events survive being written down");
    }
}

#[path = "rollout_gates_tests.rs"]
mod gates;

#[path = "rollout_hooks_tests.rs"]
mod hooks;

#[path = "rollout_flaws_tests.rs"]
mod flaws;
use flaws::Flaw;
