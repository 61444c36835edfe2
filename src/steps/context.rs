//! What a step needs of the world and of its run, and nothing else of either.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::domain::base::name::RunId;
use crate::domain::base::output::KEEP_BYTES;
use crate::domain::run::event::Progress;
use crate::domain::value::secret::Masks;
use crate::port::{Clock, Exec, Input, Places, Prober, Remote};
use crate::probes::context::{GATES, ProbeContext};
use crate::steps::seal::SealKey;

/// How a step is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By its kind; what may do harm twice goes through the wrapper.
    Act,
    /// A command that an operator typed: it goes to the login's shell, and nothing keeps its outcome.
    AdHoc,
    /// Nothing is changed; the outcome says what would be.
    DryRun,
}

/// The world and the run, as values.
#[derive(Clone)]
pub struct StepContext {
    pub remote: Arc<dyn Remote>,
    pub prober: Arc<dyn Prober>,
    pub clock: Arc<dyn Clock>,
    pub places: Arc<dyn Places>,
    pub run: RunId,
    /// The run's, for the records that hosts keep.
    pub mark: String,
    pub mode: Mode,
    /// Where `files/` is.
    pub files_root: PathBuf,
    /// Where files of hosts are kept: a folder for each run, and in it one for each host.
    pub downloads: PathBuf,
    /// Tells hosts which rollcall it is that works on them: run numbers begin at 1 for each.
    pub site: String,
    /// What proves that a record on a host comes from a runner of ours.
    pub seals: SealKey,
    /// The term of this process: hosts refuse one that was replaced.
    pub epoch: u64,
    pub progress: broadcast::Sender<Progress>,
    /// Ends commands on the way forward when an operator wants so.
    pub cancel: CancellationToken,
    /// Hides every secret that the run may come to see.
    pub masks: Arc<Masks>,
    /// For how long it has been under way already, in a run that was interrupted: nothing is begun then that
    /// may have been begun before. The host is asked what became of it.
    pub resumed: Option<Duration>,
}

impl StepContext {
    /// A command with the limits of a step.
    pub fn request(&self, script: String, input: Input, timeout: Duration) -> Exec {
        Exec {
            script,
            input,
            timeout,
            cancel: self.cancel.clone(),
            lines: None,
            fresh: false,
            keep_bytes: KEEP_BYTES,
            sink: None,
            masks: Arc::default(),
        }
    }

    /// For checks that stand among steps.
    pub fn probes(&self) -> ProbeContext<'_> {
        ProbeContext {
            remote: &*self.remote,
            prober: &*self.prober,
            clock: &*self.clock,
            places: &*self.places,
            files: &self.files_root,
            who: GATES,
            cancel: self.cancel.clone(),
            masks: self.masks.clone(),
        }
    }
}
