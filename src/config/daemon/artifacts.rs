//! `[artifacts]`: limits of the files that are given to commands.

use std::time::Duration;

use super::keys::ArtifactKeys;
use crate::config::text::reader::Reader;

/// The limits of artifacts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactSettings {
    /// In bytes, of one and of all.
    pub max_size: u64,
    pub max_total: u64,
    /// How long one is kept after its last use.
    pub keep: Duration,
    /// How long a sender may send nothing.
    pub idle: Duration,
    /// How long one may take as a whole.
    pub max_time: Duration,
    /// Whether link-local addresses may be asked.
    pub link_local: bool,
}

impl Default for ArtifactSettings {
    fn default() -> Self {
        ArtifactSettings {
            max_size: ArtifactKeys::MAX_SIZE.default,
            max_total: ArtifactKeys::MAX_TOTAL.default,
            keep: ArtifactKeys::KEEP.default,
            idle: ArtifactKeys::IDLE.default,
            max_time: ArtifactKeys::MAX_TIME.default,
            link_local: ArtifactKeys::LINK_LOCAL.default,
        }
    }
}

/// Reads the table.
pub fn read(mut table: Reader<'_>) -> ArtifactSettings {
    let settings = ArtifactSettings {
        max_size: table.or_default(ArtifactKeys::MAX_SIZE),
        max_total: table.or_default(ArtifactKeys::MAX_TOTAL),
        keep: table.or_default(ArtifactKeys::KEEP),
        idle: table
            .positive(ArtifactKeys::IDLE, "no file could be sent")
            .unwrap_or(ArtifactKeys::IDLE.default),
        max_time: table
            .positive(ArtifactKeys::MAX_TIME, "no file could be sent")
            .unwrap_or(ArtifactKeys::MAX_TIME.default),
        link_local: table.or_default(ArtifactKeys::LINK_LOCAL),
    };
    if settings.max_size > settings.max_total {
        let span = table.key_span(ArtifactKeys::MAX_SIZE.name);
        table.doc.wrong(span, "`max_size` is more than `max_total`: such a file could not be kept");
    }
    table.finish();
    settings
}
