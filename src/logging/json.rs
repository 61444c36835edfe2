//! The log as JSON: one object for each event. Its text never holds a character that steers a terminal.

use std::fmt;
use std::io;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::{Context, Layer};

use super::text::{Clipped, FIELD_LIMIT_BYTES, is_unsafe};

/// Writes events with `make()`, each as one line.
pub struct Json<M>(pub M);

impl<S: Subscriber, M, W> Layer<S> for Json<M>
where
    M: Fn() -> W + Send + Sync + 'static,
    W: io::Write,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let about = event.metadata();
        let mut time = String::new();
        // Writing to a string does not fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let mut fields = Fields(Map::from_iter([
            ("time".to_string(), Value::from(time)),
            ("level".to_string(), Value::from(about.level().as_str().to_lowercase())),
            ("target".to_string(), Value::from(about.target())),
        ]));
        event.record(&mut fields);
        let line = escaped(&Value::Object(fields.0).to_string());
        // Without a log there is no place to report that the log cannot be written.
        let _ = (self.0)().write_all((line + "\n").as_bytes());
    }
}

/// JSON lets any character of a text be written as a number.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match is_unsafe(c) {
            true => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")))
            }
            false => text.push(c),
        }
    }
    text
}

/// The fields of an event; those that the log itself writes cannot be replaced.
struct Fields(Map<String, Value>);

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        // Fields that `log` adds repeat the target and the place.
        if !field.name().starts_with("log.") {
            self.0.entry(field.name()).or_insert(value.into());
        }
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = Clipped::new(FIELD_LIMIT_BYTES);
        // Writing to a string does not fail.
        let _ = fmt::Write::write_fmt(&mut text, format_args!("{value:?}"));
        self.add(field, text.finish());
    }
}
