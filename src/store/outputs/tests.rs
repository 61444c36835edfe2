//! Outputs as they are written, by themselves and after a death.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::local::outputs::parts::OutputEnd;
use crate::local::outputs::read::OutputFile;
use crate::local::outputs::{beside, path_of};

const OPERATION: &str = "7/web1/3/1";

fn limits(per_operation: u64) -> Limits {
    Arc::new(move || OutputLimits { per_operation, total: 1 << 30, keep: Duration::from_secs(3600) })
}

fn outputs(root: &Path) -> OutputFiles {
    OutputFiles::new(root, limits(1 << 20)).unwrap()
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000).unwrap()
}

fn kept(root: &Path) -> String {
    std::fs::read_to_string(path_of(root, OPERATION).unwrap()).unwrap_or_default()
}

fn end(root: &Path) -> Option<OutputEnd> {
    OutputFile::open(&path_of(root, OPERATION).unwrap()).unwrap()?.state().unwrap().end
}

async fn record(outputs: &OutputFiles, resent: Resent, pieces: &[(bool, &str)]) {
    let mut recorder = outputs.record(OPERATION, resent, now());
    pieces.iter().for_each(|(is_error, text)| recorder.write(*is_error, text.as_bytes()));
    recorder.finish();
    outputs.flushed().await;
}

#[tokio::test]
async fn both_streams_are_kept_as_they_arrive() {
    let root = tempfile::tempdir().unwrap();
    let outputs = outputs(root.path());
    let pieces =
        [(false, "one\n"), (true, "oops\n"), (false, "two "), (true, "in between\n"), (false, "three\n")];
    record(&outputs, Resent::FromStart, &pieces).await;
    assert_eq!(kept(root.path()), "one\noops\ntwo \nin between\nthree\n");
    assert_eq!(end(root.path()), None, "it may go on");
    outputs.ended(OPERATION, None);
    outputs.flushed().await;
    assert_eq!(end(root.path()), Some(OutputEnd::default()));
    let path = path_of(root.path(), OPERATION).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        [mode(&path), mode(&beside(&path, "parts")), mode(path.parent().unwrap())],
        [0o600, 0o600, 0o700]
    );
    let state = OutputFile::open(&path).unwrap().unwrap().state().unwrap();
    assert_eq!((state.lines, state.begun_ms), (5, Some(1_000_000)));
}

#[tokio::test]
async fn a_command_without_output_has_no_file() {
    let root = tempfile::tempdir().unwrap();
    let outputs = outputs(root.path());
    record(&outputs, Resent::Anew, &[(false, "")]).await;
    outputs.ended(OPERATION, None);
    outputs.flushed().await;
    assert!(!root.path().join("7").exists());
}

#[tokio::test]
async fn what_a_host_sends_again_is_kept_once() {
    let root = tempfile::tempdir().unwrap();
    record(&outputs(root.path()), Resent::FromStart, &[(false, "one\ntw"), (true, "err\n")]).await;
    // Another process: the first one was killed.
    let outputs = outputs(root.path());
    record(&outputs, Resent::FromStart, &[(false, "one\n")]).await;
    record(&outputs, Resent::FromStart, &[(false, "one\ntwo\n"), (true, "err\nmore\n"), (false, "three\n")])
        .await;
    outputs.ended(OPERATION, None);
    outputs.flushed().await;
    assert_eq!(kept(root.path()), "one\ntw\nerr\no\nmore\nthree\n");
    assert_eq!(end(root.path()), Some(OutputEnd::default()));
}

#[tokio::test]
async fn another_execution_is_added() {
    let root = tempfile::tempdir().unwrap();
    let outputs = outputs(root.path());
    record(&outputs, Resent::Anew, &[(false, "first\n")]).await;
    record(&outputs, Resent::Anew, &[(false, "second\n")]).await;
    outputs.ended(OPERATION, Some("contact was lost: gone".into()));
    outputs.flushed().await;
    assert_eq!(kept(root.path()), "first\nsecond\n");
    assert_eq!(end(root.path()), Some(OutputEnd { not_kept: 0, why: "contact was lost: gone".into() }));
}

#[tokio::test]
async fn a_death_within_a_write_is_made_good() {
    let root = tempfile::tempdir().unwrap();
    record(&outputs(root.path()), Resent::FromStart, &[(false, "one\n")]).await;
    let path = path_of(root.path(), OPERATION).unwrap();
    let add = |path: &Path, text: &str| {
        let before = std::fs::read_to_string(path).unwrap();
        std::fs::write(path, before + text).unwrap();
    };
    add(&path, "two\nthr");
    add(&beside(&path, "parts"), "out 7");
    let outputs = outputs(root.path());
    record(&outputs, Resent::FromStart, &[(false, "one\ntwo\nthree\n")]).await;
    outputs.ended(OPERATION, None);
    outputs.flushed().await;
    assert_eq!(kept(root.path()), "one\ntwo\nthree\n");
    assert_eq!(end(root.path()), Some(OutputEnd::default()));
}

#[tokio::test]
async fn a_limit_is_reported_and_what_is_sent_again_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let outputs = OutputFiles::new(root.path(), limits(10)).unwrap();
    for _ in 0..2 {
        record(&outputs, Resent::FromStart, &[(false, "0123456789abc"), (true, "def")]).await;
    }
    outputs.ended(OPERATION, None);
    outputs.flushed().await;
    assert_eq!(kept(root.path()), "0123456789");
    let why = "the limit of one output is 10 bytes".into();
    assert_eq!(end(root.path()), Some(OutputEnd { not_kept: 6, why }));
}

#[tokio::test]
async fn a_disk_that_does_not_take_it_fails_nothing() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("7"), "no folder").unwrap();
    let outputs = outputs(root.path());
    record(&outputs, Resent::FromStart, &[(false, "one\n")]).await;
    outputs.ended(OPERATION, None);
    outputs.flushed().await;
    assert_eq!(std::fs::read_to_string(root.path().join("7")).unwrap(), "no folder");
}

#[tokio::test]
async fn output_that_finds_no_room_is_counted() {
    let root = tempfile::tempdir().unwrap();
    let outputs = outputs(root.path());
    outputs.waiting.fetch_add(WAITING_BYTES - PIECE_BYTES - 10, Ordering::Relaxed);
    let mut recorder = outputs.record(OPERATION, Resent::Anew, now());
    recorder.write(false, b"one\n");
    outputs.flushed().await;
    recorder.write(false, b"far too long\n");
    recorder.write(false, b"two\n");
    recorder.finish();
    outputs.ended(OPERATION, None);
    outputs.flushed().await;
    assert_eq!(kept(root.path()), "one\n");
    let why = "the disk could not keep up".into();
    assert_eq!(end(root.path()), Some(OutputEnd { not_kept: 17, why }));
}

#[tokio::test]
async fn a_long_output_has_an_index() {
    let root = tempfile::tempdir().unwrap();
    let outputs = OutputFiles::new(root.path(), limits(1 << 30)).unwrap();
    let text: String = (1..=200_000).map(|n| format!("line {n}\n")).collect();
    let pieces: Vec<(bool, &str)> =
        text.as_bytes().chunks(30_000).map(|part| (false, std::str::from_utf8(part).unwrap())).collect();
    record(&outputs, Resent::Anew, &pieces).await;
    outputs.ended(OPERATION, None);
    outputs.flushed().await;
    let path = path_of(root.path(), OPERATION).unwrap();
    assert!(beside(&path, "lines").exists());
    let lines = || OutputFile::open(&path).unwrap().unwrap().window(150_000, 1).unwrap();
    assert_eq!(lines()[0].bytes, b"line 150000");
    std::fs::remove_file(beside(&path, "lines")).unwrap();
    assert_eq!(lines()[0].bytes, b"line 150000");
}

#[tokio::test]
async fn an_output_that_was_closed_in_between_forgets_nothing() {
    let root = tempfile::tempdir().unwrap();
    let outputs = OutputFiles::new(root.path(), limits(10)).unwrap();
    let mut recorder = outputs.record(OPERATION, Resent::Anew, now());
    recorder.write(false, b"0123456");
    // More than are open at a time.
    for number in 0..600 {
        let mut other = outputs.record(&format!("8/web{number}/0/1"), Resent::Anew, now());
        other.write(false, b"x");
    }
    recorder.write(false, b"789abc");
    for number in 600..1200 {
        let mut other = outputs.record(&format!("8/web{number}/0/1"), Resent::Anew, now());
        other.write(false, b"x");
    }
    recorder.finish();
    outputs.ended(OPERATION, None);
    // As a process does at its end.
    outputs.finish().await;
    assert_eq!(kept(root.path()), "0123456789");
    assert_eq!(end(root.path()).map(|end| end.not_kept), Some(3));
}
