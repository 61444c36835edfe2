//! The log on standard error. An event is always one line: clients and hosts wrote much of its text, also in
//! russh's own warnings, so this is the one place where it is escaped, cut and bounded.

mod gate;
mod json;
mod text;

use std::fmt::{self, Write as _};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt as lines, registry};

use self::gate::RateGate;
use self::text::{Clipped, FIELD_LIMIT_BYTES, is_unsafe};

/// Most bytes of one line: journald accepts lines of 48 KiB, and a person reads much less.
const LINE_LIMIT_BYTES: usize = 8192;

/// The default filter without `RUST_LOG`. russh logs faults of its peers at `warn`, keys and user
/// names at `debug`, and every packet at `trace`.
const DEFAULT_FILTER: &str = "info,russh=error";

/// How often dropped lines are reported when no further ones follow.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// The target of lines about dropped lines, which are not counted themselves.
const ABOUT_THE_LOG: &str = "rollcall::log";

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Lines for people: time, level, text, fields
    #[default]
    Text,
    /// One JSON object per line: time, level, target, message, and the fields
    Json,
    /// Lines without time, each with its priority in front, as journald and syslog read them
    Journald,
}

/// Starts the log of this process, panics included. Call once, within a runtime.
pub fn start(format: Format) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT_FILTER));
    let bound = Bound::default();
    registry()
        .with(filter)
        .with(bound.clone())
        .with(written(format, io::stderr).with_filter(filter_fn(is_ours)))
        .init();
    std::panic::set_hook(Box::new(|panic| {
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        let why = panic.payload_as_str().unwrap_or("no text");
        tracing::error!(%at, why, "internal error: a task panicked; please report it with this line");
    }));
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(REPORT_INTERVAL).await;
            bound.report();
        }
    });
}

/// Whatever RUST_LOG says: rmcp logs all that agents send, which may hold secrets.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    !metadata.target().starts_with("rmcp")
}

/// The layer that writes events.
fn written<S, W>(
    format: Format,
    make: impl Fn() -> W + Send + Sync + 'static,
) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> registry::LookupSpan<'a>,
    W: io::Write + 'static,
{
    // Without colours: our own escapes could not be distinguished from foreign ones.
    let fields = debug_fn(|writer, field, value| show(writer, field, value)).delimited(" ");
    let layer = lines::layer().with_ansi(false).fmt_fields(fields);
    match format {
        Format::Text => layer.with_writer(Lines { make, with_priority: false }).boxed(),
        // The journal has the time and the level of each line.
        Format::Journald => {
            layer.with_writer(Lines { make, with_priority: true }).without_time().with_level(false).boxed()
        }
        Format::Json => json::Json(make).boxed(),
    }
}

/// One field, cut. Fields that `log` adds repeat the target and the place, which the line already has.
fn show(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    let mut text = Clipped::new(FIELD_LIMIT_BYTES);
    match field.name() {
        name if name.starts_with("log.") => return Ok(()),
        "message" => write!(text, "{value:?}")?,
        name => write!(text, "{name}={value:?}")?,
    }
    writer.write_str(&text.finish())
}

/// Writes each event as one line that steers no terminal.
struct Lines<M> {
    make: M,
    with_priority: bool,
}

struct LogLine<W> {
    to: W,
    priority: Option<Level>,
}

impl<'a, M: Fn() -> W, W: io::Write> MakeWriter<'a> for Lines<M> {
    type Writer = LogLine<W>;

    fn make_writer(&'a self) -> LogLine<W> {
        LogLine { to: (self.make)(), priority: None }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> LogLine<W> {
        LogLine { to: (self.make)(), priority: Some(*about.level()).filter(|_| self.with_priority) }
    }
}

/// The priority in front of a line, as in syslog(3).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

impl<W: io::Write> io::Write for LogLine<W> {
    /// Takes a whole event, because `tracing_subscriber` writes each in one call.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut line = Clipped::new(LINE_LIMIT_BYTES);
        // Writing to a string does not fail.
        text.trim_end().chars().for_each(|c| _ = escape(&mut line, c));
        let priority = self.priority.map_or("", priority);
        self.to.write_all(format!("{priority}{}\n", line.finish()).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn escape(line: &mut Clipped, c: char) -> fmt::Result {
    match c {
        '\t' => line.write_char(' '),
        c if is_unsafe(c) => write!(line, "{}", c.escape_default()),
        c => line.write_char(c),
    }
}

/// The unit of a limit: a place in the code, and the operator in its event, so that no operator can hide
/// the actions of another.
#[derive(Clone, PartialEq, Eq, Hash)]
struct LogSource {
    place: Identifier,
    target: &'static str,
    operator: String,
}

/// Drops events if there are too many.
#[derive(Clone, Default)]
struct Bound(Arc<Mutex<RateGate<LogSource>>>);

impl Bound {
    fn gate(&self) -> MutexGuard<'_, RateGate<LogSource>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports the events that were dropped since the last report.
    fn report(&self) {
        let left_out = self.gate().left_out(Instant::now());
        for (LogSource { target, operator, .. }, count) in left_out {
            // Events through `log` come from russh or another library.
            let target = if target == "log" { "libraries" } else { target };
            let of = if operator.is_empty() { String::new() } else { format!(" about {operator}") };
            tracing::warn!(target: ABOUT_THE_LOG, "{count} lines of {target}{of} were left out");
        }
    }
}

impl<S: Subscriber> Layer<S> for Bound {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let about = event.metadata();
        if about.target() == ABOUT_THE_LOG {
            return true;
        }
        let mut operator = NameOfOperator(String::new());
        event.record(&mut operator);
        let source = LogSource { place: about.callsite(), target: about.target(), operator: operator.0 };
        self.gate().admits(source, Instant::now())
    }
}

/// Picks the operator from an event's fields.
struct NameOfOperator(String);

impl Visit for NameOfOperator {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "operator" {
            let mut name = Clipped::new(FIELD_LIMIT_BYTES);
            // Writing to a string does not fail.
            let _ = write!(name, "{value:?}");
            self.0 = name.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The log lines of `events`, and the report after them.
    fn logged(events: impl FnOnce()) -> String {
        logged_as(Format::Text, events)
    }

    fn logged_as(format: Format, events: impl FnOnce()) -> String {
        let (memory, bound) = (Memory::default(), Bound::default());
        let sink = memory.clone();
        let subscriber = registry().with(bound.clone()).with(written(format, move || sink.clone()));
        tracing::subscriber::with_default(subscriber, || {
            events();
            bound.report();
        });
        let bytes = memory.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn nothing_in_an_event_begins_a_line_or_steers_a_terminal() {
        let evil = "x\n2026-01-01T00:00:00Z  INFO rollcall: ann was made an admin\r\u{1b}[2J\u{9b}1m\u{202e}\u{2028}";
        let text = logged(|| {
            tracing::warn!("unknown channel request {evil}");
            tracing::warn!(plain = evil, %evil, debug = ?evil, "asked");
        });
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(
            text.contains("unknown channel request x\\n2026-01-01T00:00:00Z  INFO rollcall: ann"),
            "{text}"
        );
        let unsafe_chars = |c: char| c != '\n' && is_unsafe(c);
        assert!(!text.contains(unsafe_chars), "{text:?}");
    }

    #[test]
    fn the_journal_gets_the_priority_of_each_line() {
        let text = logged_as(Format::Journald, || {
            tracing::error!(run = 7, "it broke");
            tracing::warn!("careful\n<0>forged");
            tracing::info!("all is well");
        });
        let module = module_path!();
        let wanted = format!(
            "<3>{module}: it broke run=7\n<4>{module}: careful\\n<0>forged\n<6>{module}: all is well\n"
        );
        assert_eq!(text, wanted);
    }

    #[test]
    fn json_is_one_object_for_each_event_and_steers_no_terminal() {
        let evil = "a\"b\n\u{1b}[2J\u{202e}\u{2028}é";
        let text = logged_as(Format::Json, || {
            tracing::warn!(run = 7_u64, level = "forged", ok = true, operator = %evil, "a run {evil}");
        });
        let steers = |c: char| c != '\n' && is_unsafe(c);
        assert!(text.lines().count() == 1 && !text.contains(steers), "{text:?}");
        let object: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(object["level"], "warn", "no field replaces it");
        assert_eq!((&object["run"], &object["ok"]), (&7.into(), &true.into()));
        assert_eq!(object["operator"], evil);
        assert_eq!(object["message"], format!("a run {evil}"));
        assert_eq!(object["target"], module_path!());
        assert!(object["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{text}");
        let long = logged_as(Format::Json, || tracing::info!(text = "x".repeat(10_000), "long"));
        assert!(serde_json::from_str::<serde_json::Value>(&long).is_ok() && long.len() < 3_000, "{long}");
    }

    #[test]
    fn a_long_field_is_clipped_and_those_behind_it_stay() {
        let long = "é".repeat(30_000);
        let text = logged(|| tracing::warn!(user = %long, from = "192.0.2.1", "a login was refused"));
        assert!(text.contains("from=\"192.0.2.1\""), "{text}");
        assert!(text.contains("more bytes]") && text.len() < FIELD_LIMIT_BYTES + 200, "{}", text.len());
        let text = logged(|| {
            tracing::warn!(a = %long, b = %long, c = %long, d = %long, e = %long, f = %long, "many");
        });
        assert!(text.len() < LINE_LIMIT_BYTES + 200, "{}", text.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_left_out_and_counted_and_hides_nobody_else() {
        let text = logged(|| {
            for _ in 0..10_000 {
                tracing::info!(operator = %"vic", "asked");
            }
            tracing::info!(operator = %"ann", "asked");
            for operator in ["vic", "ann"] {
                // Another place in the code.
                tracing::warn!(%operator, "too many connections");
            }
        });
        assert_eq!(text.matches("asked operator=vic").count(), gate::BURST_LINES as usize, "{text}");
        let left =
            format!("{} lines of {} about vic were left out", 10_000 - gate::BURST_LINES, module_path!());
        assert!(text.contains(&left), "{text}");
        assert!(text.contains("too many connections operator=ann"), "{text}");
    }
}
