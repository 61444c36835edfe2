//! Commands that are given artifacts: files that become parameters of a task, and the script of `run`.

use super::adhoc::{AdHoc, CopyAsk};
use super::ask::{Ask, Command, Params};
use super::run_ask::{RunAsk, RunWork, ScriptAsk};
use crate::domain::base::digest::artifact_sum;

/// The name of a file that comes for a command that is no task.
pub const OWN_FILE: &str = "file";

impl Command {
    /// The task that it runs or plans.
    pub fn of_task(&self) -> Option<&Ask> {
        match self {
            Command::Task { ask, .. } | Command::Plan { ask, .. } => Some(ask),
            _ => None,
        }
    }

    /// Whether it is no task, and its standard input is one whole file.
    pub fn takes_own_file(&self) -> bool {
        matches!(
            self,
            Command::AdHoc(AdHoc::Copy(CopyAsk { sha256: None, .. }))
                | Command::Run(RunAsk { work: RunWork::Script(ScriptAsk { sha256: None, .. }), .. })
        )
    }

    /// The same task with these parameters in place of those of the same name.
    pub(super) fn with_artifacts(&self, artifacts: Params) -> Option<Command> {
        let mut command = self.clone();
        match &mut command {
            Command::Task { ask, .. } | Command::Plan { ask, .. } => ask.params.extend(artifacts),
            Command::Run(RunAsk { work: RunWork::Script(script), .. }) => {
                script.sha256 = artifact_sum(artifacts.get(OWN_FILE)?).map(String::from);
            }
            Command::AdHoc(AdHoc::Copy(asked)) => {
                asked.sha256 = artifact_sum(artifacts.get(OWN_FILE)?).map(String::from);
            }
            _ => return None,
        }
        Some(command)
    }
}
