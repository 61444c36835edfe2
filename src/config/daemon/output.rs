//! `[output]`: how much of the output of commands is kept.

use std::time::Duration;

use super::keys::OutputKeys;
use crate::config::text::reader::Reader;

/// The limits of kept output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputSettings {
    /// In bytes, of one command and of all.
    pub max_per_operation: u64,
    pub max_total: u64,
    pub keep: Duration,
}

impl Default for OutputSettings {
    fn default() -> Self {
        OutputSettings {
            max_per_operation: OutputKeys::MAX_PER_OPERATION.default,
            max_total: OutputKeys::MAX_TOTAL.default,
            keep: OutputKeys::KEEP.default,
        }
    }
}

/// Reads the table.
pub fn read(mut table: Reader<'_>) -> OutputSettings {
    let settings = OutputSettings {
        max_per_operation: table.or_default(OutputKeys::MAX_PER_OPERATION),
        max_total: table.or_default(OutputKeys::MAX_TOTAL),
        keep: table.or_default(OutputKeys::KEEP),
    };
    if settings.max_per_operation > settings.max_total {
        let span = table.key_span(OutputKeys::MAX_PER_OPERATION.name);
        table
            .doc
            .wrong(span, "`max_per_operation` is more than `max_total`: such an output could not be kept");
    }
    table.finish();
    settings
}
