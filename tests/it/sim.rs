//! Simulations: the real engine, fleet, SSH on both ends, nginx driver and store, in one process, over streams
//! in memory and under paused time. What goes wrong is drawn from a seed, and invariants are checked while it
//! happens. `ROLLCALL_SIM_SEED=7` replays one seed and prints all that happens in it;
//! `ROLLCALL_SIM_SEEDS=1000` takes more seeds than every day, `ROLLCALL_SIM_PAIRS=all` more pairs of deaths.

mod asked;
mod balancer;
mod broken;
mod crash;
mod fate;
mod host;
mod ledger;
mod net;
mod ops;
mod ports;
mod recap;
mod rules;
mod run;
mod world;

pub use self::world::plan;

use std::collections::BTreeMap;

use rollcall::domain::base::name::HostName;
use rollcall::domain::base::outcome::{End, RunOutcome};
use rollcall::domain::run::event::{BracketDirection, Stage};
use rollcall::domain::run::rollout::Effect;

use self::broken::Bug;
use self::run::{Report, Scenario, simulate};

/// Hosts of one simulation.
const HOSTS: usize = 100;

/// Simulations with trouble in one test.
const SEEDS: u64 = 12;

/// The same with a daemon that dies.
const MORTAL_SEEDS: u64 = 12;

/// The same with few hosts, where it is the balancer that is in trouble.
const BALANCER_SEEDS: u64 = 50;

/// Seeds of that which found something once.
const BALANCER_FOUND: &[u64] = &[222, 389];

/// The seeds to take: so many, and those that are known; or what the environment says.
fn seeds(count: u64, known: &[u64]) -> Vec<u64> {
    match std::env::var("ROLLCALL_SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("ROLLCALL_SIM_SEED is a number")],
        Err(_) => {
            let wanted = std::env::var("ROLLCALL_SIM_SEEDS").ok();
            let count = wanted.map_or(count, |count| count.parse().expect("ROLLCALL_SIM_SEEDS is a number"));
            (1..=count).chain(known.iter().copied().filter(|seed| *seed > count)).collect()
        }
    }
}

/// Trouble for few hosts, some, or many.
fn troubled(seed: u64) -> Scenario {
    let percent = [5, 10, 10, 20][(seed % 4) as usize];
    Scenario {
        seed,
        hosts: HOSTS,
        faulty_percent: percent,
        balancer_percent: percent * 4,
        bug: Bug::None,
        deaths: [None; 2],
    }
}

fn tell(seed: u64, report: &Report) -> String {
    let ends: Vec<String> =
        report.ends.iter().map(|(end, count)| format!("{count} {}", end.word())).collect();
    let cancelled = if report.cancelled { ", cancelled" } else { "" };
    format!(
        "seed {seed}: {:?} after {:?}{cancelled}: {}; {} entries, {}",
        report.outcome,
        report.took,
        ends.join(", "),
        report.trace.len(),
        report.hash()
    )
}

#[test]
fn a_release_without_trouble_reaches_every_host() {
    let report = simulate(Scenario {
        seed: 0,
        hosts: HOSTS,
        faulty_percent: 0,
        balancer_percent: 0,
        bug: Bug::None,
        deaths: [None; 2],
    });
    eprintln!("{}", tell(0, &report));
    assert_eq!(report.faults, Vec::<String>::new());
    assert_eq!(report.outcome, Some(RunOutcome::Done));
    assert_eq!(report.ends, BTreeMap::from([(End::Released, HOSTS)]));
}

/// Half way through, the daemon dies and comes back.
#[test]
fn a_thousand_hosts_are_released_by_a_daemon_that_dies() {
    let scenario = small(0, world::MOST_HOSTS, [Some(2_000), None]);
    let report = simulate(scenario);
    eprintln!("{}", tell(scenario.seed, &report));
    assert_eq!(report.faults, Vec::<String>::new());
    assert_eq!(report.points.len(), 2, "it has died once");
    assert_eq!(report.ends, BTreeMap::from([(End::Released, world::MOST_HOSTS)]));
}

#[test]
fn whatever_goes_wrong_the_invariants_hold() {
    hold(seeds(SEEDS, &[]), troubled);
}

/// The same, and the daemon dies twice at moments that the seed draws.
fn mortal(seed: u64) -> Scenario {
    use rand::RngExt;
    let mut dice = world::dice(seed, &["deaths"]);
    let deaths = [Some(dice.random_range(0..3_000)), Some(dice.random_range(0..1_000))];
    Scenario { deaths, ..troubled(seed) }
}

#[test]
fn whatever_goes_wrong_and_whenever_the_daemon_dies_the_invariants_hold() {
    hold(seeds(MORTAL_SEEDS, &[]), mortal);
}

#[test]
fn a_balancer_in_trouble_strands_nobody() {
    hold(seeds(BALANCER_SEEDS, BALANCER_FOUND), |seed| Scenario {
        seed,
        hosts: 10,
        faulty_percent: 10,
        balancer_percent: 100,
        bug: Bug::None,
        deaths: [None; 2],
    });
}

/// Simulates many seeds, and fails with what was found in each of them.
fn hold(seeds: Vec<u64>, scenario: impl Fn(u64) -> Scenario) {
    let mut wrong = Vec::new();
    for seed in seeds {
        let report = simulate(scenario(seed));
        if std::env::var_os("ROLLCALL_SIM_SEED").is_some() {
            eprintln!("{}", report.trace.join("\n"));
        }
        eprintln!("{}", tell(seed, &report));
        if !report.faults.is_empty() {
            let faults = report.faults.join("\n  ");
            wrong.push(format!("seed {seed}; replay with ROLLCALL_SIM_SEED={seed}\n  {faults}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in seeds(3, &[]) {
        let (one, other) = (simulate(troubled(seed)), simulate(troubled(seed)));
        let differs = one.trace.iter().zip(&other.trace).find(|(one, other)| one != other);
        assert_eq!(differs, None, "replay with ROLLCALL_SIM_SEED={seed}");
        assert_eq!(one.hash(), other.hash(), "replay with ROLLCALL_SIM_SEED={seed}");
    }
}

/// The first fault of a site with this bug, over a few seeds.
fn found(bug: Bug, faulty_percent: u32) -> Vec<String> {
    let scenario =
        |seed| Scenario { seed, hosts: 20, faulty_percent, balancer_percent: 0, bug, deaths: [None; 2] };
    let reports = (1..=6).map(|seed| simulate(scenario(seed)));
    reports.map(|report| report.faults).find(|faults| !faults.is_empty()).unwrap_or_default()
}

#[test]
fn parts_that_lie_are_found_out() {
    let table = [
        (Bug::DrainsNothing, 0, "I3 drained before work"),
        (Bug::EnablesNothing, 0, "I3 no orphan"),
        (Bug::ForgetsDebts, 0, "I1 intent before effect"),
        (Bug::SendsTwice, 0, "I5 at most one execution"),
        (Bug::CallsLostNotStarted, 60, "I13 three-valued outcomes"),
        (Bug::SeesNoBadVersion, 60, "I13 three-valued outcomes"),
    ];
    for (bug, percent, invariant) in table {
        let faults = found(bug, percent);
        assert!(
            faults.iter().any(|fault| fault.starts_with(invariant)),
            "{bug:?} is not found by {invariant}, but by {faults:#?}"
        );
    }
}

/// A small site, and the points at which its daemon may die.
fn small(seed: u64, hosts: usize, deaths: [Option<usize>; 2]) -> Scenario {
    let faulty_percent = if seed == 0 { 0 } else { 40 };
    Scenario { seed, hosts, faulty_percent, balancer_percent: 0, bug: Bug::None, deaths }
}

/// A seed of [`small`] in which nobody cancels, and the second host lies about its restart, so that the way
/// back is walked and the third one never begins.
const LYING_SEED: u64 = 23;

/// Points of a second life at which the daemon dies once more: while it takes up what the first one left.
const EARLY_POINTS: [usize; 4] = [0, 1, 3, 8];

/// Lives through a small site with these deaths: what broke, or came to another end than without them.
fn lived(seed: u64, hosts: usize, deaths: [Option<usize>; 2], whole: &Report) -> Option<String> {
    let report = simulate(small(seed, hosts, deaths));
    // Where hosts are in trouble, another moment can bring another trouble.
    if report.faults.is_empty() && (seed != 0 || report.ends == whole.ends) {
        return None;
    }
    let name = deaths[0].and_then(|at| whole.points[0].get(at)).map_or("", String::as_str);
    Some(format!("{deaths:?}, {name}: {}\n  {}", tell(seed, &report), report.faults.join("\n  ")))
}

/// Every point at which the daemon can die: nothing is sampled.
#[test]
fn whenever_the_daemon_dies_every_host_ends_as_it_would_have() {
    let mut wrong = Vec::new();
    for seed in [0, LYING_SEED] {
        let whole = simulate(small(seed, 3, [None; 2]));
        assert_eq!(whole.faults, Vec::<String>::new());
        let points = 0..whole.points[0].len();
        eprintln!("seed {seed}: {} deaths", points.len());
        wrong.extend(points.filter_map(|at| lived(seed, 3, [Some(at), None], &whole)));
    }
    assert!(wrong.is_empty(), "{} points\n{}", wrong.len(), wrong.join("\n"));
}

/// Each point of the first life with one of the second, in turn; with `ROLLCALL_SIM_PAIRS=all` with each of them.
fn pairs(points: usize) -> Vec<[Option<usize>; 2]> {
    let all = std::env::var("ROLLCALL_SIM_PAIRS").is_ok_and(|pairs| pairs == "all");
    let pair = |first: usize, second: usize| [Some(first), Some(EARLY_POINTS[second % EARLY_POINTS.len()])];
    let seconds = |first: usize| if all { 0..EARLY_POINTS.len() } else { first..first + 1 };
    (0..points).flat_map(|first| seconds(first).map(move |second| pair(first, second))).collect()
}

/// And once more, while it takes up what its first life has left.
#[test]
fn whenever_the_daemon_dies_again_while_it_recovers_nothing_is_lost() {
    let whole = simulate(small(0, 2, [None; 2]));
    let pairs = pairs(whole.points[0].len());
    eprintln!("{} pairs of deaths", pairs.len());
    let wrong: Vec<String> = pairs.into_iter().filter_map(|deaths| lived(0, 2, deaths, &whole)).collect();
    assert!(wrong.is_empty(), "{} points\n{}", wrong.len(), wrong.join("\n"));
}

/// The intent that goes into the journal before each effect. A new effect does not compile until it is here,
/// and then has to have been died at.
fn intent_of(effect: &Effect) -> &'static str {
    match effect {
        Effect::Observe { .. } => "observe-started",
        Effect::Drain { .. } => "drain-started",
        Effect::Step { .. } => "step-started",
        Effect::Checks { .. } => "checks-started",
        Effect::Enable { .. } => "enable-started",
        // Nobody puts hosts back by hand here; deaths around this one are played in the table tests of
        // `domain/run/rollout.rs`.
        Effect::Redrain { .. } => "drain-started",
        // No host is compared here; deaths around it are played in `domain/rollout_gates_tests.rs`.
        Effect::Snapshot { .. } => "checks-started",
        // They are steps of a machine that is no host, and go the same way: `domain/rollout_hooks_tests.rs`.
        Effect::Hook { .. } => "step-started",
    }
}

#[test]
fn every_effect_has_points_at_which_the_daemon_dies() {
    let host = || HostName::from("h");
    let (balancer, hosts) = (String::new(), vec![]);
    let effects = [
        Effect::Observe { host: host() },
        Effect::Drain { balancer: balancer.clone(), hosts: hosts.clone() },
        Effect::Step { host: host(), way: BracketDirection::Forward, step: 0, attempt: 1 },
        Effect::Checks { host: host(), stage: Stage::Gate },
        Effect::Enable { balancer, hosts },
    ];
    let points: Vec<String> = [0, LYING_SEED]
        .into_iter()
        .flat_map(|seed| simulate(small(seed, 3, [None; 2])).points.concat())
        .collect();
    for effect in &effects {
        for when in ["before", "after"] {
            let wanted = |point: &&String| point.starts_with(when) && point.contains(intent_of(effect));
            assert!(points.iter().any(|point| wanted(&point)), "no death {when} the intent of {effect:?}");
        }
    }
    assert!(points.iter().any(|point| point.starts_with("before exec")));
    assert!(points.iter().any(|point| point.starts_with("after exec")));
}
