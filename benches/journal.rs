//! What the journal costs on a disk: appends of one and many events, and reading a run back.
//! `cargo bench --bench journal`

mod world;

use divan::Bencher;
use divan::counter::ItemsCount;
use jiff::Timestamp;
use rollcall::domain::ask::access::{Operator, Role};
use rollcall::domain::base::name::RunId;
use rollcall::domain::run::event::{Event, EventKind};
use rollcall::store::SqliteStore;
use world::{Release, Reports, carry};

fn main() {
    divan::main();
}

/// A store with one run in it that was begun, the run, and the events that come next in it.
struct Begun {
    store: SqliteStore,
    run: RunId,
    rest: Vec<EventKind>,
    // Dropped last: the store lives in it.
    _dir: tempfile::TempDir,
}

fn begin(hosts: usize) -> Begun {
    // Below the target folder, which is on a disk; the folder for temporary files may be memory.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let store = SqliteStore::open(&dir.path().join("rollcall.db")).expect("a store");
    let plan = Release::to(hosts).plan();
    let ann = Operator::new("ann", "SHA256:key", Role::Admin);
    let run = store.create_run_now(&plan, &ann, Timestamp::UNIX_EPOCH).expect("a run").run;
    let (journal, _) = carry(plan, Reports::Together);
    let rest: Vec<EventKind> = journal.into_iter().skip(1).map(|event: Event| event.kind).collect();
    Begun { store, run, rest, _dir: dir }
}

/// One commit, safe on the disk when it returns. The events are ends of steps, with some output.
#[divan::bench(args = [1, 10, 100], max_time = 5)]
fn append(bencher: Bencher<'_, '_>, events: usize) {
    let begun = begin(100);
    let ended = begun.rest.iter().find(|kind| matches!(kind, EventKind::StepEnded { .. }));
    let kinds = vec![ended.expect("a step ends").clone(); events];
    bencher
        .counter(ItemsCount::new(events))
        .with_inputs(|| kinds.clone())
        .bench_local_values(|kinds| begun.store.append_now(begun.run, Timestamp::UNIX_EPOCH, kinds));
}

/// Plan and journal of a whole run.
#[divan::bench(args = [100, 1_000], max_time = 5)]
fn load(bencher: Bencher<'_, '_>, hosts: usize) {
    let begun = begin(hosts);
    for kinds in begun.rest.chunks(1_000) {
        begun.store.append_now(begun.run, Timestamp::UNIX_EPOCH, kinds.to_vec()).expect("appended");
    }
    bencher
        .counter(ItemsCount::new(begun.rest.len()))
        .bench_local(|| begun.store.load_now(begun.run).expect("readable").expect("there"));
}
