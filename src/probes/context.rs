//! The context of probes.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::value::secret::Masks;
use crate::port::{Clock, Places, Prober, Remote};

/// The gates of runs go on in a log where a gate ended, wherever `check` or a schedule has read since.
pub const GATES: &str = "gates";

/// The same for `check`.
pub const CHECKS: &str = "checks";

/// What a probe needs of the world, and nothing else of it.
pub struct ProbeContext<'a> {
    pub remote: &'a dyn Remote,
    pub prober: &'a dyn Prober,
    pub clock: &'a dyn Clock,
    pub places: &'a dyn Places,
    /// Where `files/` is: plugins that are sent.
    pub files: &'a Path,
    /// Who looks: in a log each goes on where it was itself.
    pub who: &'a str,
    pub cancel: CancellationToken,
    /// Hides secrets in what is told of a look; what is judged is what was seen.
    pub masks: Arc<Masks>,
}
