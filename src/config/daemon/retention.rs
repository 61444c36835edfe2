//! `[retention]`: how long runs and the audit are kept.

use std::time::Duration;

use super::keys::RetentionKeys;
use crate::config::text::keys::{KeptTime, Key};
use crate::config::text::reader::Reader;

/// Less would remove what people still work with.
const SHORTEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How long runs and the audit are kept; without a time, for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Since the last event of a run.
    pub runs: Option<Duration>,
    pub audit: Option<Duration>,
}

/// Reads the table.
pub fn read(mut table: Reader<'_>) -> Retention {
    let settings = Retention {
        runs: time(&mut table, RetentionKeys::RUNS),
        audit: time(&mut table, RetentionKeys::AUDIT),
    };
    table.finish();
    settings
}

fn time(table: &mut Reader<'_>, key: Key<KeptTime>) -> Option<Duration> {
    let time = table.get(key)?;
    if time < SHORTEST {
        let span = table.key_span(key.name);
        table.doc.wrong(span, format!("`{}` is shorter than a day", key.name));
    }
    Some(time)
}
