//! The context of probes.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::value::secret::Masks;
use crate::port::{Clock, Places, Prober, Remote};

/// Gates of runs continue in a log where the last gate ended, even if `check` or a schedule has read further.
pub const GATES: &str = "gates";

/// The reader name of `check`.
pub const CHECKS: &str = "checks";

/// The input of a probe: the ports and settings that it needs, and no others.
pub struct ProbeContext<'a> {
    pub remote: &'a dyn Remote,
    pub prober: &'a dyn Prober,
    pub clock: &'a dyn Clock,
    pub places: &'a dyn Places,
    /// The folder `files/`, for plugins that are sent.
    pub files: &'a Path,
    /// The reader name: in a log each reader continues at its own position.
    pub who: &'a str,
    pub cancel: CancellationToken,
    /// Hides secrets in results. The unmasked observation is judged.
    pub masks: Arc<Masks>,
}
