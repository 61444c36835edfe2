//! The input of a step from its run and from outside: the ports and settings that it needs, and no others.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

use crate::domain::base::name::RunId;
use crate::domain::base::output::KEEP_BYTES;
use crate::domain::run::event::Progress;
use crate::domain::task::task::Sudo;
use crate::domain::value::secret::Masks;
use crate::port::outputs::{Recorder, Resent};
use crate::port::talk::Talk;
use crate::port::{Exec, Input, Program};
use crate::probes::context::{GATES, ProbeContext};
use crate::steps::ports::HostPorts;

/// How a step is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By its kind; a step that may do harm when it runs twice goes through the wrapper.
    Act,
    /// A command that an operator typed: the login's shell runs it, and the host does not keep its outcome.
    AdHoc,
    /// Nothing is changed; the outcome says what would change.
    DryRun,
}

/// The input of a step, as values.
#[derive(Clone)]
pub struct StepContext {
    pub ports: HostPorts,
    pub run: RunId,
    /// The mark of the run, for the records on hosts.
    pub mark: String,
    pub mode: Mode,
    /// The folder `files/`.
    pub files_root: PathBuf,
    pub progress: broadcast::Sender<Progress>,
    /// The operator at a command that they typed.
    pub talk: Talk,
    /// Ends commands on the way forward when an operator requests that.
    pub cancel: CancellationToken,
    /// Hides every secret that the run may read.
    pub masks: Arc<Masks>,
    /// The age of the step in an interrupted run. A step that may have started before does not start again:
    /// rollcall asks the host for its result.
    pub resumed: Option<Duration>,
}

impl StepContext {
    /// A program with the limits of a step.
    pub fn request(&self, program: Program, sudo: &Sudo, input: Input, timeout: Duration) -> Exec {
        let request = Exec::new(program, timeout, KEEP_BYTES);
        Exec { sudo: sudo.clone(), input, cancel: self.cancel.clone(), ..request }
    }

    /// Where the whole output of an operation is kept.
    pub fn recorder(&self, operation: &str, resent: Resent) -> Box<dyn Recorder> {
        self.ports.outputs.record(operation, resent, self.ports.clock.now())
    }

    /// For checks that are steps.
    pub fn probes(&self) -> ProbeContext<'_> {
        ProbeContext {
            remote: &*self.ports.remote,
            prober: &*self.ports.prober,
            clock: &*self.ports.clock,
            places: &*self.ports.places,
            files: &self.files_root,
            who: GATES,
            cancel: self.cancel.clone(),
            masks: self.masks.clone(),
        }
    }
}
