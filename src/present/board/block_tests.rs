use super::*;
use crate::domain::base::outcome::{End, Verdict};
use crate::domain::check::check::CheckResult;
use crate::domain::check::id::CheckId;
use crate::domain::run::event::{EventKind, Stage};
use crate::present::board::story::Story;

const WIDE: Screen = Screen { width: 80, height: 24, has_utf8: true, has_colour: false };

/// Without the attributes of the line, which stand at its ends.
fn bare(line: &str) -> &str {
    let line = line.strip_prefix("\x1b[1m").unwrap_or(line);
    line.strip_suffix("\x1b[0m").unwrap_or(line)
}

#[test]
fn a_thousand_hosts_are_a_few_lines_with_problems_first() {
    let mut story = Story::of(1_000);
    story.probes(2, 1..=300);
    story.ends(1..=200, End::Done, "");
    story.ends(201..=202, End::Failed, "http: 500\nInternal Server Error");
    let lines = story.at(72).block(WIDE);
    assert_eq!(
        lines.iter().map(|line| bare(line)).collect::<Vec<_>>(),
        [
            "run 41: 1:12, 202 of 1000 hosts done: check prod",
            "2 failed, 98 under way, 700 not started, 200 done",
            "✗ failed: web[0201-0202] (2): http: 500 Internal Server Error",
            "▸ checks: web[0203-0300] (98), 1:10",
        ]
    );
    assert_eq!(
        story.at(72).heartbeat(),
        "run 41: 1:12, 202 of 1000 hosts done: check prod; 2 failed, 98 under way, 700 not started, 200 done (98 checks)\n"
    );
}

#[test]
fn a_host_that_never_left_rotation_is_not_in_rotation_again() {
    let mut story = Story::of(3);
    story.probes(2, 1..=3);
    let result = CheckResult::new(CheckId::new("http", "http"), Verdict::Ok, "");
    let kind = EventKind::ChecksEnded { host: "web0001".into(), stage: Stage::Roll, results: vec![result] };
    story.take(3, kind);
    let text = story.at(4).heartbeat();
    assert!(text.contains("3 under way") && !text.contains("in rotation"), "{text}");
}

#[test]
fn no_line_is_wider_than_the_screen_whatever_hosts_say() {
    let mut story = Story::of(40);
    story.probes(2, 1..=40);
    for number in 1..=20 {
        story.ends(
            number..=number,
            End::Failed,
            &format!("\x1b[2J\u{202e}漢字 {number} {}", "x".repeat(500)),
        );
    }
    for width in [0, 1, 2, 3, 20, 40, 80, 500] {
        let lines = story.at(9).block(Screen { width, height: 0, has_utf8: true, has_colour: false });
        let room = if width == 0 { USUAL_WIDTH } else { width };
        assert!(lines.len() <= 2 + ROWS + 1, "{}", lines.len());
        for line in lines.iter().map(|line| bare(line)) {
            assert!(line.width() < room.max(1), "{width}: {line}");
            assert!(!line.contains(['\x1b', '\u{202e}', '\n']), "{line:?}");
        }
    }
}

#[test]
fn the_block_is_lower_than_the_screen() {
    let mut story = Story::of(40);
    story.probes(2, 1..=40);
    for height in [1, 2, 3, 4] {
        let lines = story.at(9).block(Screen { height, ..WIDE });
        assert!(lines.len() <= (height - 1).max(1), "{height}: {lines:?}");
        assert!(lines[0].starts_with("run 41: "), "{lines:?}");
    }
}

#[test]
fn colours_and_glyphs_are_those_that_the_terminal_has() {
    let mut story = Story::of(2);
    story.probes(1, 1..=2);
    story.ends(1..=1, End::Failed, "gone");
    let line = |has_utf8, has_colour| {
        story.at(3).block(Screen { width: 80, height: 24, has_utf8, has_colour })[2].clone()
    };
    assert_eq!(line(true, true), "\x1b[1;31m✗ failed: web0001: gone\x1b[0m");
    assert_eq!(
        line(true, false),
        "\x1b[1m✗ failed: web0001: gone\x1b[0m",
        "NO_COLOR removes colours, not bold"
    );
    assert_eq!(line(false, false), "\x1b[1mX failed: web0001: gone\x1b[0m");
}

#[test]
fn what_is_left_comes_from_the_median_of_earlier_runs() {
    let story = Story::of(1);
    let seconds = |all: &[u64]| usual(all.iter().map(|s| Duration::from_secs(*s)).collect());
    assert_eq!(seconds(&[]), None);
    let usual = seconds(&[300, 60, 90]);
    assert_eq!(usual, Some(Usual { median: Duration::from_secs(90), runs: 3 }));
    let last = |second| Following { usual, ..story.at(second) }.block(WIDE).pop().unwrap();
    assert_eq!(last(30), "about 1:00 left: 3 earlier runs took 1:30 (median)");
    assert_eq!(last(100), "overdue by 0:10: 3 earlier runs took 1:30 (median)");
}
