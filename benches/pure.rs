//! How long the domain thinks: selectors, plans, decisions, folding. No I/O. `cargo bench --bench pure`

mod world;

use divan::{Bencher, black_box};
use rollcall::domain::base::nodeset;
use rollcall::domain::inventory::selector::select;
use world::{Release, Reports, carry, inventory};

fn main() {
    divan::main();
}

/// A selector over 10,000 hosts.
#[divan::bench(args = [
    "all",
    "prod.web:!canary",
    "web[00001-05000].prod.example.com",
    "web[00001-05000]",
    r"~web0[0-4]\d+5\.",
    "web04321",
])]
fn select_of_10_000(bencher: Bencher<'_, '_>, selector: &str) {
    let inventory = inventory(10_000);
    bencher.bench_local(|| select(&inventory, black_box(selector)).expect("hosts"));
}

/// A release of six steps and one check.
#[divan::bench(args = [100, 1_000, 10_000], max_time = 5)]
fn plan_a_release(bencher: Bencher<'_, '_>, hosts: usize) {
    let release = Release::to(hosts);
    bencher.bench_local(|| release.plan());
}

/// Every decision and every event of a whole run, when effects end one by one, and when those under
/// way end together.
#[divan::bench(args = [100, 1_000, 10_000], max_time = 10)]
fn run_one_by_one(bencher: Bencher<'_, '_>, hosts: usize) {
    whole_run(bencher, hosts, Reports::OneByOne);
}

/// See [`run_one_by_one`].
#[divan::bench(args = [100, 1_000, 10_000], max_time = 10)]
fn run_together(bencher: Bencher<'_, '_>, hosts: usize) {
    whole_run(bencher, hosts, Reports::Together);
}

fn whole_run(bencher: Bencher<'_, '_>, hosts: usize, reports: Reports) {
    let plan = Release::to(hosts).plan();
    bencher.with_inputs(|| plan.clone()).bench_local_values(|plan| carry(plan, reports));
}

/// 10,000 names with gaps, as a summary folds them.
#[divan::bench]
fn fold_10_000(bencher: Bencher<'_, '_>) {
    let names: Vec<String> =
        (0..10_000).map(|n| n + n / 7).map(|n| format!("web{n:05}.prod.example.com")).collect();
    bencher.bench_local(|| nodeset::fold(names.iter().map(String::as_str)));
}
