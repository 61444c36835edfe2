//! The first line in which the outputs of two hosts differ. Reads both side by side, some lines at a time.

use std::collections::VecDeque;

use crate::domain::base::answer::{OwnNames, is_same};
use crate::domain::base::output::to_text;
use crate::domain::base::rendered::LineRenderer;
use crate::door::kept::Kept;
use crate::local::outputs::read::OutputLine;
use crate::present::board::pages::run_step::{CONTEXT, Compared, FirstDifference};
use crate::present::log::text;

/// Lines that are read at once.
const READ_LINES: usize = 500;

/// Most bytes that are read for all differences of one page, which takes about a second.
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

/// The lines of one stream, in their order.
struct Stream<'a> {
    output: &'a mut Open,
    is_error: bool,
    next: u64,
    waiting: VecDeque<OutputLine>,
}

impl Stream<'_> {
    fn of(output: &mut Open, is_error: bool) -> Stream<'_> {
        Stream { output, is_error, next: 1, waiting: VecDeque::new() }
    }

    fn line(&mut self, budget: &mut Budget) -> std::io::Result<Option<OutputLine>> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                return Ok(Some(line));
            }
            let lines = self.output.kept.window(self.next, READ_LINES)?;
            let Some(last) = lines.last() else { return Ok(None) };
            self.next = last.number + 1;
            budget.0 = budget.0.saturating_sub(lines.iter().map(|line| line.bytes.len() + 1).sum());
            let (kept, is_error) = (&self.output.kept, self.is_error);
            self.waiting.extend(lines.into_iter().filter(|line| kept.is_error(line) == is_error));
        }
    }
}

/// Compares an output with the most common one.
pub fn compare(common: &mut Open, own: &mut Open, budget: &mut Budget) -> std::io::Result<Compared> {
    for is_error in [false, true] {
        if let Some(found) = compare_stream(common, own, is_error, budget)? {
            return Ok(found);
        }
    }
    Ok(Compared::Somewhere("differs in own names, in line ends or within a very long line only".into()))
}

fn compare_stream(
    common: &mut Open,
    own: &mut Open,
    is_error: bool,
    budget: &mut Budget,
) -> std::io::Result<Option<Compared>> {
    let names = (common.names.clone(), own.names.clone());
    let (mut common, mut own) = (Stream::of(common, is_error), Stream::of(own, is_error));
    let mut before: VecDeque<OutputLine> = VecDeque::new();
    loop {
        if budget.0 == 0 {
            let why = "differs; where was not looked for: the outputs are too long";
            return Ok(Some(Compared::Somewhere(why.into())));
        }
        match (common.line(budget)?, own.line(budget)?) {
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
    (line.number, text(&rendered))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::name::RunId;
    use crate::domain::base::output::Output;
    use crate::door::kept::{Journal, Step, open};

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
        let Compared::Somewhere(why) = found.unwrap() else { panic!() };
        assert!(why.contains("too long"), "{why}");
    }
}
