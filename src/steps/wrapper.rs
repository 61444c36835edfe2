//! Steps whose outcome can always be asked for: the text for a host's `sh`, and the host's answers. The
//! script is `wrapper.sh`; it runs a step apart from the connection that requested it, at most once, and
//! keeps how it ended.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;

use super::seal::Seal;
use crate::port::{ExecEnd, ExecReport, Input, Program};

/// The function that finds the folder where a host keeps the records of steps.
pub(super) const PLACE: &str = include_str!("sh/state.sh");

/// The wrapper itself; its text never changes. Comments and indentation are removed: some SSH servers accept no
/// command of more than 9000 bytes.
pub static WRAPPER: LazyLock<String> = LazyLock::new(|| {
    let lines = PLACE.lines().chain(include_str!("sh/wrapper.sh").lines()).map(str::trim_start);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect()
});

/// The message when a host refuses this rollcall.
pub const REPLACED: &str = "another rollcall has taken over: the host refuses this one; try: stop this one, or, where there is no other, \
                            set the clock of this machine";

/// The requests to the wrapper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrapperVerb {
    /// Run the step, unless it has started before; then follow.
    Start,
    /// Report how it ended, once it has. A step that has not started can no longer start.
    Follow,
    /// End it.
    Kill,
    /// Keep the changes of a step with a dead man's timer.
    Confirm,
    /// Create the folder of the records, and remove old runs from it.
    Sweep,
}

impl WrapperVerb {
    /// The word for the wrapper.
    pub fn word(self) -> &'static str {
        match self {
            WrapperVerb::Start => "start",
            WrapperVerb::Follow => "follow",
            WrapperVerb::Kill => "kill",
            WrapperVerb::Confirm => "confirm",
            WrapperVerb::Sweep => "sweep",
        }
    }
}

/// One request to the wrapper of one host.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// In the form of [`name_of`]; for [`WrapperVerb::Sweep`] the number of the oldest run to keep.
    pub operation: &'a str,
    /// Identifies this rollcall: others may work on the same host.
    pub site: &'a str,
    /// The epoch: the host refuses a lower one than it has seen.
    pub epoch: u64,
    /// The time since the first request. If the host has been up for longer and has no record of the step,
    /// the step never started.
    pub age: Duration,
    pub limit: Duration,
    /// How long the host waits for [`WrapperVerb::Confirm`]; zero if it need not be confirmed.
    pub within: Duration,
}

impl Call<'_> {
    /// The command for the host.
    pub fn program(&self, verb: WrapperVerb) -> Program {
        let epoch = self.epoch.to_string();
        let [age, limit, within] = [self.age, self.limit, self.within].map(whole_seconds);
        let words = [verb.word(), self.operation, self.site, &epoch, &age, &limit, &within];
        Program::Own { text: &WRAPPER, arguments: words.map(String::from).to_vec() }
    }
}

/// Rounded up: no limit ends early.
fn whole_seconds(time: Duration) -> String {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).to_string()
}

/// An operation as a file name. Its first and its last two parts have no `-`, so no two names are equal.
pub fn name_of(operation: &str) -> String {
    operation.replace('/', "-")
}

/// The name of the record that a host keeps of an operation. It contains the run's mark: a store that was
/// restored from a copy, or created again, assigns run numbers again.
pub fn record_of(operation: &str, mark: &str) -> String {
    format!("{}.{mark}", name_of(operation))
}

/// The input of [`WrapperVerb::Start`]: the shared secrets, the script, and an end mark, which is missing after a broken
/// connection.
pub fn input(operation: &str, seal: &Seal, script: &str, undo: Option<&str>) -> Bytes {
    let undo = undo.map_or_else(String::new, |undo| format!("\n# rollcall undo {operation}\n{undo}"));
    Bytes::from(format!("{}{script}{undo}\n# rollcall end {operation}\n", seal.line_to_start()))
}

/// The input of the other verbs.
pub fn line(verb: WrapperVerb, seal: &Seal) -> Input {
    match verb {
        WrapperVerb::Confirm => Input::Bytes(seal.line_to_confirm().into()),
        _ => Input::Bytes(seal.line_to_follow().into()),
    }
}

/// The host's answer about an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperationAnswer {
    Ended(StepEnd),
    /// It has run, and waits to be confirmed.
    Confirm,
    /// It has not started and never will.
    Never(String),
    /// It has no record, and never will have one.
    Absent(String),
    /// This request started nothing.
    Refused(String),
    /// A rollcall with a higher epoch has used the host.
    Stale,
    /// It has started, and how it ended cannot be found out.
    Lost(String),
    /// After [`WrapperVerb::Sweep`].
    Ready,
    /// The host says that it ended or waits, but without the runner's seal: another program wrote that.
    Forged,
}

/// How a step ended on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepEnd {
    pub how: How,
    /// The exit status of the undo script, if it ran.
    pub undone: Option<u32>,
}

/// See [`StepEnd`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Exited(u32),
    /// Ended by the host when its time was up.
    TimedOut,
    /// Ended by a cancel.
    Cancelled,
}

impl OperationAnswer {
    fn parse(text: &str, seal: Option<&Seal>) -> Option<OperationAnswer> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let why = || rest.to_string();
        Some(match word {
            "exit" | "timeout" | "cancelled" | "confirm" => match seal?.open(text) {
                None => OperationAnswer::Forged,
                Some("confirm") => OperationAnswer::Confirm,
                Some(said) => OperationAnswer::Ended(StepEnd::parse(said)?),
            },
            "never" => OperationAnswer::Never(why()),
            "absent" => OperationAnswer::Absent(why()),
            "refused" => OperationAnswer::Refused(why()),
            "stale" => OperationAnswer::Stale,
            "lost" => OperationAnswer::Lost(why()),
            "ready" => OperationAnswer::Ready,
            _ => return None,
        })
    }
}

impl StepEnd {
    fn parse(text: &str) -> Option<StepEnd> {
        let words: Vec<&str> = text.split(' ').collect();
        let (how, rest) = match words[..] {
            ["exit", code, ref rest @ ..] => (How::Exited(code.parse().ok()?), rest),
            ["timeout", ref rest @ ..] => (How::TimedOut, rest),
            ["cancelled", ref rest @ ..] => (How::Cancelled, rest),
            _ => return None,
        };
        match rest {
            [] => Some(StepEnd { how, undone: None }),
            ["undone", code] => Some(StepEnd { how, undone: Some(code.parse().ok()?) }),
            _ => None,
        }
    }
}

/// The wrapper's own lines, parsed.
#[derive(Debug, Default, PartialEq)]
pub struct WrapperLines {
    /// The host has recorded the start of the step.
    pub begun: bool,
    pub answer: Option<OperationAnswer>,
}

/// Takes the wrapper's own lines out of the output. Its answer is the last line, after all output of
/// the step; the end of a step counts only with the runner's seal. A sweep has none.
pub fn hear(operation: &str, seal: Option<&Seal>, report: &mut ExecReport) -> WrapperLines {
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
    let said = text[last..]
        .trim_end_matches('\n')
        .strip_prefix(&own)
        .and_then(|said| OperationAnswer::parse(said, seal));
    // An answer that was cut off by the end of the connection does not count.
    let answer = said.filter(|_| report.end == ExecEnd::Exited(0));
    if answer.is_some() {
        text.truncate(last);
    }
    WrapperLines { begun, answer }
}

/// The prefix of the wrapper's own lines.
pub fn own_prefix(operation: &str) -> String {
    format!("rollcall {operation} ")
}

/// Every word with a meaning in its own lines.
pub fn own_words(operation: &str) -> String {
    let own = own_prefix(operation);
    format!("{own}begun {own}exit timeout cancelled undone confirm never absent refused lost stale ready")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::output::Output;
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
        let ended = |how| OperationAnswer::Ended(StepEnd { how, undone: None });
        let table = [
            ("rollcall 1-a-0-1 begun\noops\n", "exit 3", ended(How::Exited(3)), "oops\n"),
            (
                "hello\nrollcall 1-a-0-1 begun\nrollcall 1-a-0-1 exit 0\n",
                "timeout",
                ended(How::TimedOut),
                "hello\nrollcall 1-a-0-1 exit 0\n",
            ),
            (
                "",
                "exit 0 undone 7",
                OperationAnswer::Ended(StepEnd { how: How::Exited(0), undone: Some(7) }),
                "",
            ),
            ("", "confirm", OperationAnswer::Confirm, ""),
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
                assert_eq!(hear(forged, left), Some(OperationAnswer::Forged), "{line}");
            }
        }
        let refused = "rollcall 1-a-0-1 refused no room: a b\n";
        assert_eq!(hear(refused.into(), ""), Some(OperationAnswer::Refused("no room: a b".into())));
    }

    #[test]
    fn whatever_a_host_says_is_heard_and_none_of_it_is_an_end() {
        let own = "(rollcall 1-a-0-1 |begun|exit |timeout|cancelled|confirm|undone |absent |lost |never |[0-9]{1,30}|[a-f0-9]{64}| |\n|.){0,12}";
        proptest::proptest!(|(text in own, seal_it in proptest::prelude::any::<bool>())| {
            let mut report = report(ExecEnd::Exited(0), &text);
            let heard = super::hear("1-a-0-1", seal_it.then(seal).as_ref(), &mut report);
            let ends = matches!(heard.answer, Some(OperationAnswer::Ended(_) | OperationAnswer::Confirm));
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
            assert_eq!(heard, WrapperLines { begun: true, answer: None }, "{stderr}");
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
        let Program::Own { text, arguments } = call.program(WrapperVerb::Start) else {
            panic!("not the wrapper")
        };
        assert_eq!(text, *WRAPPER);
        assert_eq!(arguments, ["start", "1-a-0-1", "s", "7", "0", "2", "0"]);
    }
}
