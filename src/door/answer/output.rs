//! `output`: the whole output of the commands of a run on a host.

use bytes::Bytes;
use serde::Serialize;

use super::asked::{Asked, Ended};
use crate::domain::ask::access::Granted;
use crate::domain::ask::command::Command;
use crate::domain::ask::output::{ByteRange, OutputOf, OutputPart};
use crate::domain::base::name::{HostName, RunId};
use crate::domain::base::refusal::Refusal;
use crate::domain::base::rendered::LineRenderer;
use crate::door::BytesPart;
use crate::door::kept::{Kept, Step, open, steps_of};
use crate::local::outputs::parts::{Origin, Source};
use crate::local::outputs::read::{OutputLine, WINDOW_LINES};
use crate::local::outputs::search::{Found, HITS_LIMIT, Pattern};
use crate::port::StoredRun;
use crate::present::json;
use crate::present::log;

/// Lines printed around one that is asked for.
const AROUND: u64 = 8;

/// What the answer to a question about lines begins with, for programs.
#[derive(Serialize)]
struct About<'a> {
    run: RunId,
    host: &'a str,
    step: &'a str,
    name: &'a str,
    attempt: u32,
    lines: u64,
    bytes: u64,
    /// `true` when all that the command printed is here.
    whole: bool,
    /// Why not.
    #[serde(skip_serializing_if = "str::is_empty")]
    why: &'a str,
    /// Lines that a search has found; some may not be listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<u64>,
    /// The line at which a search ended because its time was up.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped_at: Option<u64>,
}

/// One line, for programs.
#[derive(Serialize)]
struct LineOf {
    line: u64,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    /// Milliseconds since the first output.
    #[serde(skip_serializing_if = "Option::is_none")]
    after_ms: Option<u64>,
    /// Bytes of the line that are not in `text`.
    #[serde(skip_serializing_if = "is_zero")]
    more: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Asked<'_> {
    pub(super) async fn output(&mut self, granted: &Granted) -> Result<u8, Ended> {
        let Command::Output { run, host, step: asked } = granted.command() else {
            return Err(Refusal::internal("this is about outputs").into());
        };
        let run = *run;
        let stored = self.stored(granted, run).await?;
        let host = host_of(&stored, host)?;
        // What was printed until now can be read.
        self.ports().hosts.outputs.written().await;
        let steps = steps_of(&stored, &host);
        let Some(asked) = asked else { return self.outputs(&host, steps).await };
        let step = pick(&stored, &host, steps, asked)?;
        match &asked.part {
            OutputPart::Raw(range) => self.raw(&step, *range).await,
            part => self.lines(step, part.clone()).await,
        }
    }

    /// Which outputs there are.
    async fn outputs(&mut self, host: &str, steps: Vec<Step>) -> Result<u8, Ended> {
        let (json, host, folder) = (self.json, host.to_string(), self.ports().hosts.outputs.folder());
        let render = move || {
            let row = |step: &Step| {
                let kept = open(folder.as_deref(), step)?;
                Ok(if json { json::line("output", about(step, &host, &kept)) } else { listed(step, &kept) })
            };
            steps.iter().map(row).collect::<std::io::Result<String>>()
        };
        let text = self.work(render).await?.map_err(unreadable)?;
        if text.is_empty() && !self.json {
            return self.say("no command has run there\n").await;
        }
        self.say(&text).await
    }

    async fn lines(&mut self, step: Step, part: OutputPart) -> Result<u8, Ended> {
        let pattern = pattern_of(&part)?;
        let (mut from, to) = match part {
            OutputPart::Lines { from, to } => (from, to),
            OutputPart::Around(line) => {
                (line.saturating_sub(AROUND).max(1), Some(line.saturating_add(AROUND)))
            }
            _ => (1, None),
        };
        let tail = if let OutputPart::Tail(count) = part { Some(count) } else { None };
        let (folder, host) = (self.ports().hosts.outputs.folder(), step.host.clone());
        let opened = self.work(move || read(folder.as_deref(), step, pattern.as_ref(), tail)).await?;
        let Read { step, mut kept, found, first } = opened.map_err(unreadable)?;
        from = first.unwrap_or(from);
        self.header(&step, &host, &kept, found.as_ref()).await?;
        if let Some(found) = found {
            let (json, render) = (self.json, move || kept.pick(&found.lines));
            let lines = self.work(render).await?.map_err(unreadable)?;
            self.print(&lines, json).await?;
            return Ok(0);
        }
        // In pieces: all lines of a long output take more memory than an answer should.
        loop {
            let count = to.map_or(u64::MAX, |to| (to + 1).saturating_sub(from));
            let count = usize::try_from(count).unwrap_or(usize::MAX).min(WINDOW_LINES);
            let window = move || kept.window(from, count).map(|lines| (lines, kept));
            let (lines, back) = self.work(window).await?.map_err(unreadable)?;
            kept = back;
            let Some(last) = lines.last().filter(|_| count > 0) else { return Ok(0) };
            from = last.number + 1;
            let json = self.json;
            self.print(&lines, json).await?;
        }
    }

    /// What is known of the output; on the error stream for people, so that the results are its lines alone.
    async fn header(
        &mut self,
        step: &Step,
        host: &str,
        kept: &Kept,
        found: Option<&Found>,
    ) -> Result<(), Ended> {
        if self.json {
            let about = About {
                found: found.map(|found| found.total),
                stopped_at: found.and_then(|found| found.stopped_at),
                ..about(step, host, kept)
            };
            return Ok(self.terminal.out(&json::line("output", about)).await?);
        }
        let mut text = format!("{} {}\n", host, listed(step, kept).trim_start());
        if let Some(found) = found {
            let lines = if found.total == 1 { "line" } else { "lines" };
            text += &format!("{} {lines} found", log::thousands(found.total));
            if found.total > found.lines.len() as u64 {
                text += &format!(", the first {} are printed", log::thousands(found.lines.len() as u64));
            }
            if let Some(line) = found.stopped_at {
                text += &format!("; the search ended at line {line}, because its time was up");
            }
            text.push('\n');
        }
        Ok(self.terminal.err(&text).await?)
    }

    async fn print(&mut self, lines: &[OutputLine], json: bool) -> Result<(), Ended> {
        let mut renderer = LineRenderer::default();
        let text: String = lines
            .iter()
            .map(|line| if json { json_line(line, &mut renderer) } else { text_line(line, &mut renderer) })
            .collect();
        match json {
            true => self.terminal.out(&text).await?,
            false => self.terminal.printed(&text, false).await?,
        }
        Ok(())
    }

    async fn raw(&mut self, step: &Step, range: ByteRange) -> Result<u8, Ended> {
        if self.terminal.is_interactive() {
            let why = "--raw prints bytes of a host, which could do anything to a terminal";
            let hint =
                format!("ssh rollcall output {} {} {} --raw > output.log", step.run, step.host, step.number);
            return Err(Refusal::usage(why).hint(hint).into());
        }
        let (folder, wanted) = (self.ports().hosts.outputs.folder(), step.clone());
        let mut kept = self.work(move || open(folder.as_deref(), &wanted)).await?.map_err(unreadable)?;
        let length = kept.bytes();
        let within = range.within(length);
        let name = format!("{}-{}-{}-{}", step.run, plain(&step.host), plain(&step.number), step.attempt);
        self.terminal.part(BytesPart { name, length, range: within });
        let Some((mut from, to)) = within else {
            return Err(Refusal::usage(format!("the output has {length} bytes, and none of those")).into());
        };
        if !kept.is_whole() {
            self.terminal.err(&format!("rollcall: {}\n", kept.why())).await?;
        }
        while from < to {
            let piece = move || kept.piece(from, to - from).map(|piece| (piece, kept));
            let (piece, back) = self.work(piece).await?.map_err(unreadable)?;
            kept = back;
            if piece.is_empty() {
                return Err(Refusal::internal("the output was removed while it was read").into());
            }
            from += piece.len() as u64;
            self.terminal.bytes(Bytes::from(piece)).await?;
        }
        Ok(0)
    }
}

/// What a question about lines starts from.
struct Read {
    step: Step,
    kept: Kept,
    found: Option<Found>,
    /// The first line of the end.
    first: Option<u64>,
}

fn read(
    folder: Option<&std::path::Path>,
    step: Step,
    pattern: Option<&Pattern>,
    tail: Option<usize>,
) -> std::io::Result<Read> {
    let mut kept = open(folder, &step)?;
    let found = pattern.map(|pattern| kept.search(pattern, HITS_LIMIT)).transpose()?;
    let first = tail.map(|count| kept.lines().saturating_sub(count as u64) + 1);
    Ok(Read { step, kept, found, first })
}

fn pattern_of(part: &OutputPart) -> Result<Option<Pattern>, Refusal> {
    Ok(match part {
        OutputPart::Search(text) => Some(Pattern::text(text)),
        OutputPart::Regex(text) => Some(Pattern::regex(text).map_err(Refusal::usage)?),
        OutputPart::Problems => Some(Pattern::Problems),
        OutputPart::Lines { .. } | OutputPart::Around(_) | OutputPart::Tail(_) | OutputPart::Raw(_) => None,
    })
}

fn host_of(stored: &StoredRun, host: &str) -> Result<String, Refusal> {
    if host.starts_with('@') {
        return Ok(host.into());
    }
    let names: Vec<&HostName> = stored.plan.hosts.keys().collect();
    let found = names
        .iter()
        .find(|name| name.as_str() == host)
        .or_else(|| names.iter().find(|name| name.short() == host));
    found.map(|name| name.to_string()).ok_or_else(|| {
        let why = format!("run {} has no host `{host}`", stored.id);
        Refusal::not_found(why).hint(format!("try: show {}", stored.id))
    })
}

/// The last attempt of the step with this number or name, or the one that is asked for.
fn pick(stored: &StoredRun, host: &str, steps: Vec<Step>, asked: &OutputOf) -> Result<Step, Refusal> {
    let is_wanted = |step: &&Step| asked.attempt.is_none_or(|attempt| attempt == step.attempt);
    let by_number = steps.iter().rev().filter(is_wanted).find(|step| step.number == asked.step);
    let found =
        by_number.or_else(|| steps.iter().rev().filter(is_wanted).find(|step| step.name == asked.step));
    found.cloned().ok_or_else(|| {
        let attempt = asked.attempt.map(|attempt| format!(" in attempt {attempt}")).unwrap_or_default();
        let why = format!("no step `{}` has run on {host} in run {}{attempt}", asked.step, stored.id);
        Refusal::not_found(why).hint(format!("try: output {} {host}", stored.id))
    })
}

fn about<'a>(step: &'a Step, host: &'a str, kept: &'a Kept) -> About<'a> {
    About {
        run: step.run,
        host,
        step: &step.number,
        name: &step.name,
        attempt: step.attempt,
        lines: kept.lines(),
        bytes: kept.bytes(),
        whole: kept.is_whole(),
        why: kept.why(),
        found: None,
        stopped_at: None,
    }
}

/// `  5 restart, attempt 2: 1,212 lines, 96,012 bytes`
fn listed(step: &Step, kept: &Kept) -> String {
    let attempt = if step.attempt > 1 { format!(", attempt {}", step.attempt) } else { String::new() };
    let lines = if kept.lines() == 1 { "line" } else { "lines" };
    let size = format!("{} {lines}, {} bytes", log::thousands(kept.lines()), log::thousands(kept.bytes()));
    let why = if kept.is_whole() { String::new() } else { format!("; {}", kept.why()) };
    format!("{:>4} {}{attempt}: {size}{why}\n", step.number, step.name)
}

fn text_line(line: &OutputLine, renderer: &mut LineRenderer) -> String {
    let rendered = renderer.line(&line.bytes);
    let rendered =
        crate::domain::base::rendered::RenderedLine { more: rendered.more + line.beyond, ..rendered };
    let mark = if matches!(line.origin, Some(Origin { source: Source::Err, .. })) { '!' } else { ' ' };
    format!("{:>6} {mark} {}\n", line.number, log::text(&rendered))
}

fn json_line(line: &OutputLine, renderer: &mut LineRenderer) -> String {
    let rendered = renderer.line(&line.bytes);
    let source = line.origin.map(|origin| match origin.source {
        Source::Out => "stdout",
        Source::Err => "stderr",
    });
    json::line(
        "output-line",
        LineOf {
            line: line.number,
            text: rendered.text(),
            source,
            after_ms: line.origin.map(|origin| origin.after_ms),
            more: rendered.more + line.beyond,
        },
    )
}

/// A part of a file name.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect()
}

fn unreadable(error: std::io::Error) -> Refusal {
    Refusal::internal(format!("the output could not be read: {error}"))
}
