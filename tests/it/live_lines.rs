//! A run that is followed on a terminal, by plain `ssh -tt`: a block at the bottom, and above it what matters.

use std::process::Stdio;

use tokio::process::Command;

use crate::support::site::{Answer, Site, answer_of};

/// Clears from the cursor to the end of the screen.
const CLEAR: &str = "\x1b[J";

/// A plain `ssh -tt` from a terminal of this type, in this environment.
fn on_terminal(site: &Site, (term, environment): (&str, &[(&str, &str)]), line: &str) -> Command {
    let mut command = site.ssh("ann", line);
    let mut terminal = Command::new("ssh");
    terminal.args(["-tt", "-o", "SendEnv=LC_ALL NO_COLOR"]).args(command.as_std_mut().get_args());
    terminal.env_remove("LC_ALL").env_remove("NO_COLOR").env("TERM", term).envs(environment.iter().copied());
    terminal.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    terminal
}

async fn ask_on(site: &Site, screen: (&str, &[(&str, &str)]), line: &str) -> Answer {
    answer_of(on_terminal(site, screen, line)).await
}

/// What is on the screen in the end: without what was cleared.
fn screen(bytes: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    let mut rest = bytes.replace("\r\n", "\n").replace(CLEAR, "\x00");
    while let Some(c) = rest.chars().next() {
        let mut used = c.len_utf8();
        match c {
            '\n' => lines.push(String::new()),
            '\r' => {}
            // From the line on which the cursor is.
            '\x00' => *lines.last_mut().unwrap() = String::new(),
            '\x1b' => {
                let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                let number: usize = rest[2..end].parse().unwrap_or(0);
                if rest[end..].starts_with('A') {
                    lines.truncate(lines.len() - number);
                }
                used = end + 1;
            }
            c => lines.last_mut().unwrap().push(c),
        }
        rest.drain(..used);
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_has_a_block_that_is_gone_in_the_end() {
    let site = Site::start(3).await;
    let story =
        ask_on(&site, ("xterm", &[("LC_ALL", "C.UTF-8")]), "deploy prod version=2.0.0").await.expect(0);
    assert!(story.out.contains(CLEAR) && story.out.contains("of 3 hosts done"), "{:?}", story.out);
    assert!(
        story.out.contains("\x1b[1;34m\u{25b8} "),
        "what is under way has its glyph and colour: {:?}",
        story.out
    );
    let left = screen(&story.out);
    let has = |part: &str| left.iter().any(|line| line.contains(part));
    assert!(has("run 1: deploy prod hook=true version=2.0.0, by ann") && has("released  3"), "{left:#?}");
    assert!(!has("hosts done") && !has("| observe") && !has(": ok"), "only what matters stays: {left:#?}");
    // A second run knows how long the first one took.
    let story = ask_on(&site, ("xterm", &[]), "deploy prod version=3.0.0").await.expect(0);
    assert!(story.out.contains("1 earlier run took "), "{:?}", story.out);
    assert!(!story.out.contains('\u{25b8}') && story.out.contains("> "), "no UTF-8: {:?}", story.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_stands_above_the_block_and_stays() {
    let site = Site::start(2).await;
    let story = ask_on(&site, ("xterm", &[("NO_COLOR", "1")]), "run prod -- true").await.expect(0);
    assert!(!story.out.contains(CLEAR), "output of hosts is left alone: {:?}", story.out);
    let line = "deploy prod version=2.0.0 'hook=touch releases/2.0.0/BROKEN'";
    let story = ask_on(&site, ("xterm", &[("NO_COLOR", "1")]), line).await.expect(2);
    let left = screen(&story.out);
    assert!(left.iter().any(|line| line.contains("| ") && line.contains("rolling back")), "{left:#?}");
    assert!(!story.out.contains("\x1b[1;3"), "no colours: {:?}", story.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn verbose_and_terminals_that_cannot_draw_print_each_step() {
    let site = Site::start(1).await;
    for (screen, line) in
        [(("xterm", &[][..]), "touch web01 --verbose"), (("dumb", &[][..]), "touch --verbose web01")]
    {
        let story = ask_on(&site, screen, line).await.expect(0);
        assert!(story.out.contains("web01 | ") && !story.out.contains(CLEAR), "{line}: {:?}", story.out);
    }
    let plain = ask_on(&site, ("dumb", &[]), "touch web01").await.expect(0);
    assert!(plain.out.contains("web01 | ") && !plain.out.contains(CLEAR), "{:?}", plain.out);
}
