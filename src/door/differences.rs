//! The first line in which the outputs of two hosts differ. Reads both side by side, some lines at a time.

use std::collections::VecDeque;
use std::io::ErrorKind;

use crate::domain::base::answer::{OwnNames, is_same};
use crate::domain::base::name::NAME_LIMIT_BYTES;
use crate::domain::base::output::to_text;
use crate::domain::base::rendered::{LineRenderer, RenderedLine};
use crate::door::kept::Kept;
use crate::local::outputs::parts::Source;
use crate::local::outputs::read::OutputLine;
use crate::present::board::pages::run_step::{CONTEXT, Compared, FirstDifference};
use crate::present::log::text;

/// Most bytes that are read for all differences of one page, which takes about a second. Those of the files beside the outputs
/// are counted, too.
const READ_BYTES: usize = 32 * 1024 * 1024;

/// An output that is open, and the names of its host.
pub struct Open {
    pub kept: Kept,
    pub names: OwnNames,
}

/// What is left to read for a page.
pub struct Budget(usize);

impl Default for Budget {
    fn default() -> Budget {
        Budget(READ_BYTES)
    }
}

impl Budget {
    /// True if nothing more is read for the page.
    pub fn is_over(&self) -> bool {
        self.0 == 0
    }
}

/// Compares an output with the most common one.
pub fn compare(common: &mut Open, own: &mut Open, budget: &mut Budget) -> std::io::Result<Compared> {
    for source in [Source::Out, Source::Err] {
        match compare_stream(common, own, source, budget) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                let why = "differs; where is not known: the file beside an output is of another program";
                return Ok(Compared::Somewhere(why.into()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Compared::Somewhere("differs in own names, in line ends or within a very long line only".into()))
}

fn compare_stream(
    common: &mut Open,
    own: &mut Open,
    source: Source,
    budget: &mut Budget,
) -> std::io::Result<Option<Compared>> {
    let names = (common.names.clone(), own.names.clone());
    let (mut common, mut own) = (common.kept.stream(source)?, own.kept.stream(source)?);
    let mut before: VecDeque<OutputLine> = VecDeque::new();
    loop {
        let lines = (common.next(&mut budget.0)?, own.next(&mut budget.0)?);
        // A line that is missing now may be one that was not read.
        if budget.is_over() {
            return Ok(Some(Compared::not_looked_for()));
        }
        match lines {
            (None, None) => return Ok(None),
            (Some(line), Some(other)) if is_equal((&line, &names.0), (&other, &names.1)) => {
                before.push_back(other);
                if before.len() > CONTEXT {
                    before.pop_front();
                }
            }
            (common, own) => {
                let before = before.iter().map(shown).collect();
                let [common, own] = [common, own].map(|line| line.as_ref().map(shown));
                return Ok(Some(Compared::Differs(FirstDifference { before, common, own })));
            }
        }
    }
}

fn is_equal((line, names): (&OutputLine, &OwnNames), (other, of_other): (&OutputLine, &OwnNames)) -> bool {
    let same = |a: &[u8], b: &[u8]| is_same((a, names), (b, of_other));
    // The journal has bytes that are no text in words.
    let is_same = same(&line.bytes, &other.bytes)
        || same(to_text(&line.bytes).as_bytes(), to_text(&other.bytes).as_bytes());
    is_same && line.beyond == other.beyond
}

fn shown(line: &OutputLine) -> (u64, String) {
    let mut rendered = LineRenderer::default().line(&line.bytes);
    rendered.more += line.beyond;
    if rendered.more > 0 {
        drop_last_word(&mut rendered);
    }
    (line.number, text(&rendered))
}

/// Drops the part of a word that a cut left at the end of a line: a part of a name would not be covered.
fn drop_last_word(line: &mut RenderedLine) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-:[],/\\".contains(c);
    let mut room = NAME_LIMIT_BYTES;
    while let Some(span) = line.spans.last_mut() {
        let word = span.text.len() - span.text.trim_end_matches(is_part).len();
        // The word has no letter of more than one byte.
        let cut = word.min(room);
        span.text.truncate(span.text.len() - cut);
        line.more += cut as u64;
        room -= cut;
        if room == 0 || !span.text.is_empty() {
            return;
        }
        line.spans.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::name::RunId;
    use crate::domain::base::output::Output;
    use crate::door::kept::{Journal, Step, open};
    use crate::local::outputs::{beside, path_of};

    fn output(host: &str, stdout: &str, stderr: &str) -> Open {
        let of = |text: &str| Output { text: text.into(), left_out: 0 };
        let journal = Journal { stdout: of(stdout), stderr: of(stderr), cut: None };
        let (operation, number, name) = (format!("7/{host}/0/1"), "1".into(), "s".into());
        let step = Step {
            run: RunId(7),
            host: host.into(),
            operation,
            number,
            name,
            attempt: 1,
            journal: Some(journal),
        };
        Open { kept: open(None, &step).unwrap(), names: OwnNames::new(&host.into(), "") }
    }

    #[test]
    fn the_first_line_that_differs_is_found_with_what_is_above_it() {
        let common = ("1\n2\na up\n4\n5\n", "e\n");
        let line = |number: u64, text: &str| Some((number, text.to_string()));
        let numbered =
            |lines: &[(u64, &str)]| lines.iter().map(|(at, text)| (*at, text.to_string())).collect();
        let rows = [
            (("1\n2\nb up\n4\nx\n", "e\n"), numbered(&[(3, "b up"), (4, "4")]), line(5, "5"), line(5, "x")),
            (("1\n", "e\n"), numbered(&[(1, "1")]), line(2, "2"), None),
            (("1\n2\nb up\n4\n5\n", "e\nf\n"), numbered(&[(6, "e")]), None, line(7, "f")),
            (("0\n2\n", ""), numbered(&[]), line(1, "1"), line(1, "0")),
            (("1\n2\na up\nb up\n", ""), numbered(&[(2, "2"), (3, "a up")]), line(4, "4"), line(4, "b up")),
        ];
        for ((out, err), before, of_common, own) in rows {
            let found = compare(
                &mut output("a", common.0, common.1),
                &mut output("b", out, err),
                &mut Budget::default(),
            );
            assert_eq!(found.unwrap(), Compared::Differs(FirstDifference { before, common: of_common, own }));
        }
        let found = compare(&mut output("a", "1", ""), &mut output("b", "1\n", ""), &mut Budget::default());
        assert!(matches!(found.unwrap(), Compared::Somewhere(_)));
        let found = compare(&mut output("a", "1", ""), &mut output("b", "2", ""), &mut Budget(0));
        assert_eq!(found.unwrap(), Compared::not_looked_for());
        // Of a line that is longer than what is left to read, the end is not known.
        let (long, other) = ("1".repeat(900), "1".repeat(800));
        let found = compare(&mut output("a", &long, ""), &mut output("b", &other, ""), &mut Budget(1_000));
        assert_eq!(found.unwrap(), Compared::not_looked_for());
    }

    #[test]
    fn a_line_that_the_other_stream_cut_is_compared_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = |host: &str, data: &str, parts: &str| {
            let operation = format!("7/{host}/0/1");
            let path = path_of(folder.path(), &operation).unwrap();
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, data).unwrap();
            std::fs::write(beside(&path, "parts"), format!("rollcall 1 0\n{parts}end 0 \n")).unwrap();
            let (number, name) = ("1".into(), "s".into());
            let host_name = host.into();
            let step =
                Step { run: RunId(7), host: host_name, operation, number, name, attempt: 1, journal: None };
            Open { kept: open(Some(folder.path()), &step).unwrap(), names: OwnNames::new(&host.into(), "") }
        };
        let mut common = file("a", "starting\nwarn\nend\n", "out 9 0\nerr 5 0\nout 4 0\n");
        let mut own = file("b", "start\nwarn\ning\nfailed\n", "out 5 0\nbreak\nerr 5 0\nout 11 0\n");
        let found = compare(&mut common, &mut own, &mut Budget::default()).unwrap();
        let line = |number: u64, text: &str| (number, text.to_string());
        let (before, common, own) =
            (vec![line(1, "starting")], Some(line(3, "end")), Some(line(4, "failed")));
        assert_eq!(found, Compared::Differs(FirstDifference { before, common, own }));
    }

    #[test]
    fn a_word_that_a_cut_split_is_not_shown() {
        let of = |bytes: &str| {
            let line = OutputLine {
                number: 1,
                offset: 0,
                bytes: bytes.as_bytes().to_vec(),
                beyond: 0,
                origin: None,
            };
            shown(&line).1
        };
        let text = of(&format!("{}db7.example.com", "x ".repeat(2_045)));
        assert!(!text.contains("db7") && text.contains("x x"), "{text}");
        assert!(of("up db7").ends_with("db7"));
        assert!(of(&"x".repeat(9_000)).starts_with("xxx"), "no name is so long");
    }
}
