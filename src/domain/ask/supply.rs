//! Commands that are given artifacts: files that become parameters of a task.

use super::ask::{Ask, Command, Params};

impl Command {
    /// The task that it runs or plans.
    pub fn of_task(&self) -> Option<&Ask> {
        match self {
            Command::Task { ask, .. } | Command::Plan { ask, .. } => Some(ask),
            _ => None,
        }
    }

    /// The same task with these parameters in place of those of the same name.
    pub(super) fn with_artifacts(&self, artifacts: Params) -> Option<Command> {
        let mut command = self.clone();
        match &mut command {
            Command::Task { ask, .. } | Command::Plan { ask, .. } => ask.params.extend(artifacts),
            _ => return None,
        }
        Some(command)
    }
}
