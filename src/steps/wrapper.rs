//! Steps whose outcome can always be asked for: what is sent to a host's `sh`, and what it answers. The
//! script is `wrapper.sh`; it runs a step apart from the connection that asked for it, at most once, and
//! keeps how it ended.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;

use super::seal::Seal;
use crate::domain::task::task::Sudo;
use crate::port::{ExecEnd, ExecReport, Input};
use crate::script;

/// The function that finds the place where a host keeps what it knows of steps.
pub(super) const PLACE: &str = include_str!("sh/state.sh");

/// The wrapper itself; its text never changes. Comments and indentation stay here: some SSH servers take no
/// command of more than 9000 bytes.
pub static WRAPPER: LazyLock<String> = LazyLock::new(|| {
    let lines = PLACE.lines().chain(include_str!("sh/wrapper.sh").lines()).map(str::trim_start);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect()
});

/// How the wrapper is called: its text is an argument, so that it can start itself again.
const CALL: &str = r#"eval "$1""#;

/// The message where a host refuses this rollcall.
pub const REPLACED: &str = "another rollcall has taken over: the host refuses this one; try: stop this one, or, where there is no other, \
                            set the clock of this machine";

/// What is asked of the wrapper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Run it, unless it was begun before; then follow.
    Start,
    /// Say how it ended, when it has. What was never begun never will be.
    Follow,
    /// End it.
    Kill,
    /// Let a step with a dead man's timer stand.
    Confirm,
    /// Make the place for it all, and clear it of old runs.
    Sweep,
}

impl Verb {
    /// As the wrapper reads it.
    pub fn word(self) -> &'static str {
        match self {
            Verb::Start => "start",
            Verb::Follow => "follow",
            Verb::Kill => "kill",
            Verb::Confirm => "confirm",
            Verb::Sweep => "sweep",
        }
    }
}

/// One question to the wrapper of one host.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// As [`name_of`] writes it; for [`Verb::Sweep`] the number of the oldest run to keep.
    pub operation: &'a str,
    /// Which rollcall asks: others may work on the same host.
    pub site: &'a str,
    /// Its term: the host refuses whoever was replaced.
    pub epoch: u64,
    /// Since it was asked for the first time. What is not on record although the host has been up for
    /// longer than this was never begun.
    pub age: Duration,
    pub limit: Duration,
    /// How long the host waits for [`Verb::Confirm`]; zero when it need not be confirmed.
    pub within: Duration,
}

impl Call<'_> {
    /// The command for the login's shell.
    pub fn command(&self, verb: Verb, sudo: &Sudo) -> String {
        let epoch = self.epoch.to_string();
        let [age, limit, within] = [self.age, self.limit, self.within].map(whole_seconds);
        let words = [verb.word(), self.operation, self.site, &epoch, &age, &limit, &within];
        let call = ["sh", "-c", CALL, "rollcall", WRAPPER.as_str()];
        script::words_as(call.into_iter().chain(words), sudo)
    }
}

/// Rounded up: nothing ends before its time.
fn whole_seconds(time: Duration) -> String {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).to_string()
}

/// An operation as a file name. The last two parts and the first have no `-`, so no two are the same.
pub fn name_of(operation: &str) -> String {
    operation.replace('/', "-")
}

/// The name of the record that a host keeps of an operation. The run's mark is in it: a store that was
/// restored from a copy, or begun anew, gives the numbers of runs again.
pub fn record_of(operation: &str, mark: &str) -> String {
    format!("{}.{mark}", name_of(operation))
}

/// What [`Verb::Start`] reads: what it shares with the runner, the script, and an end that a broken connection
/// leaves away.
pub fn input(operation: &str, seal: &Seal, script: &str, undo: Option<&str>) -> Bytes {
    let undo = undo.map_or_else(String::new, |undo| format!("\n# rollcall undo {operation}\n{undo}"));
    Bytes::from(format!("{}{script}{undo}\n# rollcall end {operation}\n", seal.line_to_start()))
}

/// What the other verbs read.
pub fn line(verb: Verb, seal: &Seal) -> Input {
    match verb {
        Verb::Confirm => Input::Bytes(seal.line_to_confirm().into()),
        _ => Input::Bytes(seal.line_to_follow().into()),
    }
}

/// What the host says of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Ended(Ended),
    /// It has run, and waits to be confirmed.
    Confirm,
    /// It was not begun and never will be.
    Never(String),
    /// There is no record of it, and never will be another.
    Absent(String),
    /// Nothing was begun by this question.
    Refused(String),
    /// A rollcall of a later term was here.
    Stale,
    /// It was begun, and how it ended cannot be found out.
    Lost(String),
    /// After [`Verb::Sweep`].
    Ready,
    /// The host says that it ended or waits, and the runner's seal is not on it: another program wrote that.
    Forged,
}

/// How a step came to its end on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub how: How,
    /// The exit status of what undid it, where that was run.
    pub undone: Option<u32>,
}

/// See [`Ended`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Exited(u32),
    /// Ended by the host when its time was up.
    TimedOut,
    /// Ended because somebody wanted so.
    Cancelled,
}

impl Answer {
    fn parse(text: &str, seal: Option<&Seal>) -> Option<Answer> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let why = || rest.to_string();
        Some(match word {
            "exit" | "timeout" | "cancelled" | "confirm" => match seal?.open(text) {
                None => Answer::Forged,
                Some("confirm") => Answer::Confirm,
                Some(said) => Answer::Ended(Ended::parse(said)?),
            },
            "never" => Answer::Never(why()),
            "absent" => Answer::Absent(why()),
            "refused" => Answer::Refused(why()),
            "stale" => Answer::Stale,
            "lost" => Answer::Lost(why()),
            "ready" => Answer::Ready,
            _ => return None,
        })
    }
}

impl Ended {
    fn parse(text: &str) -> Option<Ended> {
        let words: Vec<&str> = text.split(' ').collect();
        let (how, rest) = match words[..] {
            ["exit", code, ref rest @ ..] => (How::Exited(code.parse().ok()?), rest),
            ["timeout", ref rest @ ..] => (How::TimedOut, rest),
            ["cancelled", ref rest @ ..] => (How::Cancelled, rest),
            _ => return None,
        };
        match rest {
            [] => Some(Ended { how, undone: None }),
            ["undone", code] => Some(Ended { how, undone: Some(code.parse().ok()?) }),
            _ => None,
        }
    }
}

/// What was heard of the wrapper, besides the step's own output.
#[derive(Debug, Default, PartialEq)]
pub struct Heard {
    /// The step is on record as begun.
    pub begun: bool,
    pub answer: Option<Answer>,
}

/// Takes the wrapper's own lines out of what came back. Its answer is the last line, after everything that
/// the step has printed; that it ended counts with the runner's seal only. A sweep has none.
pub fn hear(operation: &str, seal: Option<&Seal>, report: &mut ExecReport) -> Heard {
    let own = own_prefix(operation);
    let text = &mut report.stderr.text;
    let begun_line = format!("{own}begun\n");
    let begun = match text.find(&begun_line) {
        Some(at) => {
            text.replace_range(at..at + begun_line.len(), "");
            true
        }
        None => false,
    };
    let last = text.trim_end_matches('\n').rfind('\n').map_or(0, |at| at + 1);
    let said =
        text[last..].trim_end_matches('\n').strip_prefix(&own).and_then(|said| Answer::parse(said, seal));
    // An answer that was cut off by the end of the connection is none.
    let answer = said.filter(|_| report.end == ExecEnd::Exited(0));
    if answer.is_some() {
        text.truncate(last);
    }
    Heard { begun, answer }
}

/// What the wrapper's own lines begin with.
pub fn own_prefix(operation: &str) -> String {
    format!("rollcall {operation} ")
}

/// Every word that decides what its own lines mean.
pub fn own_words(operation: &str) -> String {
    let own = own_prefix(operation);
    format!("{own}begun {own}exit timeout cancelled undone confirm never absent refused lost stale ready")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::output::Output;
    use crate::domain::value::shell;
    use crate::steps::seal::SealKey;

    fn seal() -> Seal {
        SealKey::new(b"secret").of("1-a-0-1")
    }

    fn report(end: ExecEnd, stderr: &str) -> ExecReport {
        let stderr = Output { text: stderr.into(), left_out: 0 };
        ExecReport { end, stdout: Output::default(), stderr }
    }

    #[test]
    fn the_answer_is_the_last_line_and_no_step_can_forge_it() {
        let ended = |how| Answer::Ended(Ended { how, undone: None });
        let table = [
            ("rollcall 1-a-0-1 begun\noops\n", "exit 3", ended(How::Exited(3)), "oops\n"),
            (
                "hello\nrollcall 1-a-0-1 begun\nrollcall 1-a-0-1 exit 0\n",
                "timeout",
                ended(How::TimedOut),
                "hello\nrollcall 1-a-0-1 exit 0\n",
            ),
            ("", "exit 0 undone 7", Answer::Ended(Ended { how: How::Exited(0), undone: Some(7) }), ""),
            ("", "confirm", Answer::Confirm, ""),
        ];
        let hear = |stderr: String, left: &str| {
            let mut report = report(ExecEnd::Exited(0), &stderr);
            let heard = hear("1-a-0-1", Some(&seal()), &mut report);
            assert_eq!(report.stderr.text, left);
            heard.answer
        };
        for (before, said, answer, left) in table {
            let line = format!("{before}rollcall 1-a-0-1 {said}");
            let sealed = format!("{line} {}\n", seal().proof(said));
            assert_eq!(hear(sealed, left), Some(answer), "{line}");
            for forged in [format!("{line}\n"), format!("{line} {}\n", seal().proof("exit 1"))] {
                assert_eq!(hear(forged, left), Some(Answer::Forged), "{line}");
            }
        }
        let refused = "rollcall 1-a-0-1 refused no room: a b\n";
        assert_eq!(hear(refused.into(), ""), Some(Answer::Refused("no room: a b".into())));
    }

    #[test]
    fn whatever_a_host_says_is_heard_and_none_of_it_is_an_end() {
        let own = "(rollcall 1-a-0-1 |begun|exit |timeout|cancelled|confirm|undone |absent |lost |never |[0-9]{1,30}|[a-f0-9]{64}| |\n|.){0,12}";
        proptest::proptest!(|(text in own, seal_it in proptest::prelude::any::<bool>())| {
            let mut report = report(ExecEnd::Exited(0), &text);
            let heard = super::hear("1-a-0-1", seal_it.then(seal).as_ref(), &mut report);
            let ends = matches!(heard.answer, Some(Answer::Ended(_) | Answer::Confirm));
            proptest::prop_assert!(!ends, "{}", text);
        });
    }

    #[test]
    fn what_was_cut_off_is_no_answer() {
        for (end, stderr) in [
            (ExecEnd::Lost("gone".into()), "rollcall 1-a-0-1 begun\nrollcall 1-a-0-1 exit 0\n"),
            (ExecEnd::Exited(0), "rollcall 1-a-0-1 begun\nrollcall 1-b-0-1 exit 0\n"),
            (ExecEnd::Exited(0), "rollcall 1-a-0-1 begun\n"),
        ] {
            let heard = hear("1-a-0-1", Some(&seal()), &mut report(end, stderr));
            assert_eq!(heard, Heard { begun: true, answer: None }, "{stderr}");
        }
    }

    #[test]
    fn values_are_arguments_and_the_text_stays_as_it_is() {
        let call = Call {
            operation: "1-a-0-1",
            site: "s",
            epoch: 7,
            age: Duration::ZERO,
            limit: Duration::from_millis(1500),
            within: Duration::ZERO,
        };
        let command = call.command(Verb::Start, &Sudo::Root);
        let words = shell_words::split(&command).unwrap();
        assert_eq!(words[..5], ["exec", "sh", "-c", shell::TOGETHER, "\u{1}"]);
        assert_eq!(words[5..9], ["sudo", "-n", "--", "sh"]);
        assert_eq!(words[12].replace('\u{1}', "\n"), *WRAPPER);
        assert!(command.len() < 8800, "{} bytes leave no room for long names", command.len());
        assert_eq!(words[13..], ["start", "1-a-0-1", "s", "7", "0", "2", "0"]);
    }
}
