//! Why a run or a lease does not start.

use crate::port::StoreError;

/// Why a run was not started, or a lease not granted.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("rollcall is stopping and starts nothing new; try again when it is back")]
    Draining,
    #[error(
        "{0} checks and commands are under way, and no more are started; try again when one has ended, see: runs"
    )]
    Crowded(usize),
    #[error(
        "{0} runs that an agent of this operator has proposed have not ended, and no more are taken; another person approves or cancels them, see: runs"
    )]
    Proposed(usize),
    #[error("{by} waits for some of the same hosts; try: --wait, see: queue")]
    Queued { by: String },
}
