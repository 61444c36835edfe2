//! The words of `output`, and the command that they are.

use clap::Args;

use super::ask::Command;
use super::number::Number;
use super::output::{ByteRange, OutputOf, OutputPart};

pub(super) const OUTPUT_HELP: &str = "\
Lines are numbered as the host printed them. Lines of standard error have a `!`. Control sequences are left out, and a search
reads the text without them; --raw prints the bytes as they are. Without the kept output, the start and the end of it are
printed, which the journal has. To keep all of a step: ssh rollcall output 41 web01 restart --raw > restart.log
docs/output.md has more.";

/// Lines that `--tail` prints if nothing else is asked for.
const TAIL_LINES: usize = 500;

#[derive(Args, Debug)]
pub(super) struct OutputWords {
    pub(super) run: Number,
    /// Or a hook: @before
    pub(super) host: String,
    /// Its number, or its name
    pub(super) step: Option<String>,
    /// Only which outputs there are
    #[arg(long, conflicts_with = "step")]
    pub(super) list: bool,
    /// This attempt. Default: the last one
    #[arg(long, requires = "step")]
    pub(super) attempt: Option<u32>,
    /// Lines, by their numbers: 1200-1700, or 1200- for the rest
    #[arg(long, requires = "step", group = "part")]
    pub(super) lines: Option<String>,
    /// One line, and some around it
    #[arg(long, requires = "step", group = "part")]
    pub(super) line: Option<u64>,
    /// The last lines. Default: 500
    #[arg(long, requires = "step", group = "part")]
    pub(super) tail: Option<usize>,
    /// Lines with this text
    #[arg(long, requires = "step", group = "part")]
    pub(super) search: Option<String>,
    /// Lines that match this regular expression
    #[arg(long, requires = "step", group = "part")]
    pub(super) regex: Option<String>,
    /// Lines that look like problems
    #[arg(long, requires = "step", group = "part")]
    pub(super) problems: bool,
    /// The bytes as they were printed, for a file
    #[arg(long, requires = "step", group = "part")]
    pub(super) raw: bool,
    /// With --raw: only these bytes, counted from 0: 0-1023, 1024-, or -500 for the last ones
    #[arg(long, requires = "raw")]
    pub(super) bytes: Option<String>,
}

pub(super) fn read_output(words: OutputWords) -> Result<Command, String> {
    let part = read_part(&words)?;
    let OutputWords { run, host, step, attempt, .. } = words;
    let step = step.map(|step| OutputOf { step, attempt, part });
    Ok(Command::Output { run: run.into(), host, step })
}

/// The grammar allows one of them.
fn read_part(words: &OutputWords) -> Result<OutputPart, String> {
    Ok(match words {
        OutputWords { lines: Some(lines), .. } => read_lines(lines)?,
        OutputWords { line: Some(line), .. } => OutputPart::Around(*line),
        OutputWords { search: Some(text), .. } => OutputPart::Search(text.clone()),
        OutputWords { regex: Some(pattern), .. } => OutputPart::Regex(pattern.clone()),
        OutputWords { problems: true, .. } => OutputPart::Problems,
        OutputWords { raw: true, bytes, .. } => OutputPart::Raw(match bytes {
            None => ByteRange::All,
            Some(text) => {
                let why =
                    || format!("`{text}` are no bytes; try: --bytes=0-1023, --bytes=1024-, --bytes=-500");
                ByteRange::read(text).ok_or_else(why)?
            }
        }),
        OutputWords { tail, .. } => OutputPart::Tail(tail.unwrap_or(TAIL_LINES)),
    })
}

fn read_lines(text: &str) -> Result<OutputPart, String> {
    let wrong = || format!("`{text}` are no lines; try: --lines 1200-1700, --lines 1200-");
    match ByteRange::read(text) {
        Some(ByteRange::From(from, to)) if from > 0 => Ok(OutputPart::Lines { from, to }),
        _ => Err(wrong()),
    }
}
