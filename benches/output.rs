//! How long an output of 100 MB and a million lines takes: its index, windows of it, and searches. `cargo bench --bench output`

use std::io::Cursor;
use std::sync::LazyLock;

use divan::{Bencher, black_box};
use rollcall::domain::base::rendered::LineRenderer;
use rollcall::local::outputs::index::LineIndex;
use rollcall::local::outputs::read::{OutputFile, window};
use rollcall::local::outputs::search::{HITS_LIMIT, Pattern, search};
use rollcall::present::log::html;

const LINES: usize = 1_000_000;

/// A million lines of 100 bytes; every 1,000th looks like a problem.
static PLAIN: LazyLock<Vec<u8>> =
    LazyLock::new(|| text(|n| if n.is_multiple_of(1000) { "ERROR" } else { "info " }));

/// The same with colours in every line.
static COLOURED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    text(|n| if n.is_multiple_of(1000) { "\x1b[31mER\x1b[1mROR\x1b[0m" } else { "\x1b[32minfo\x1b[0m " })
});

static INDEX: LazyLock<LineIndex> = LazyLock::new(|| {
    let mut index = LineIndex::default();
    index.extend(&PLAIN);
    index
});

fn text(level: impl Fn(usize) -> &'static str) -> Vec<u8> {
    let mut text = String::with_capacity(110 * LINES);
    for n in 0..LINES {
        let line = format!(
            "2026-11-28T16:00:00Z {} request {n} of /api/v1/things/{} took {} ms",
            level(n),
            n % 977,
            n % 89
        );
        text.push_str(&format!("{line:<99}\n"));
    }
    text.into_bytes()
}

fn main() {
    LazyLock::force(&PLAIN);
    LazyLock::force(&COLOURED);
    divan::main();
}

/// What opening an output without an index takes.
#[divan::bench(sample_count = 20)]
fn index(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let mut index = LineIndex::default();
        black_box(&*PLAIN).chunks(256 * 1024).for_each(|piece| index.extend(piece));
        index
    });
}

/// 500 lines in the middle of it, with an index; rendered as HTML.
#[divan::bench]
fn window_of_500_as_html(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let mut from = Cursor::new(&*PLAIN);
        let lines = window(&mut from, &INDEX, PLAIN.len() as u64, (654_321, 500)).expect("memory");
        let mut renderer = LineRenderer::default();
        lines.iter().map(|line| html(&renderer.line(&line.bytes)).len()).sum::<usize>()
    });
}

/// The same of a file in the page cache that has just been opened.
#[divan::bench(args = [true, false], sample_count = 20)]
fn open_and_window(bencher: Bencher<'_, '_>, indexed: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("1-1");
    std::fs::write(&path, &*PLAIN).expect("room");
    if indexed {
        std::fs::write(folder.path().join("1-1.lines"), INDEX.encode()).expect("room");
    }
    bencher.bench_local(|| {
        let mut file = OutputFile::open(&path).expect("readable").expect("there");
        file.window(black_box(654_321), 500).expect("readable")
    });
}

fn find(text: &[u8], pattern: &Pattern, wanted: u64) {
    let found = search(&mut black_box(text), pattern, (1, HITS_LIMIT), || false).expect("memory");
    assert_eq!(found.total, wanted);
}

#[divan::bench(sample_count = 20)]
fn search_text(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| find(&PLAIN, &Pattern::text("ERROR request"), 1000));
}

#[divan::bench(sample_count = 10)]
fn search_text_in_colours(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| find(&COLOURED, &Pattern::text("ERROR request"), 1000));
}

#[divan::bench(sample_count = 10)]
fn search_regex(bencher: Bencher<'_, '_>) {
    let pattern = Pattern::regex(r"ERROR request \d+000 ").expect("a pattern");
    bencher.bench_local(|| find(&PLAIN, &pattern, 999));
}

#[divan::bench(sample_count = 10)]
fn find_problems(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| find(&PLAIN, &Pattern::Problems, 1000));
}
