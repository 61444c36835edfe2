//! Packages and services: the scripts detect the distribution and the init system on the host.

use std::sync::LazyLock;

use crate::probes::command::{INIT, MANAGER};

use crate::domain::task::task::{ServiceState, StepBody};
use crate::steps::scripts::{OwnScript, whole};

const SERVICE_NAMED: &str = r#"
name=$1 state=$2 enabled=$3
no_such_service() { give_up "no service is called $name; try: $1"; }
"#;

static PACKAGE: LazyLock<String> =
    LazyLock::new(|| whole(&[MANAGER, include_str!("sh/package.sh")].join("\n")));
static SERVICE: LazyLock<String> =
    LazyLock::new(|| whole(&[SERVICE_NAMED, INIT, include_str!("sh/service.sh")].join("\n")));

/// The script of a step about the system. All of them may take long, or do harm when they run twice.
pub(super) fn own(body: &StepBody) -> Option<OwnScript> {
    let (text, arguments): (&'static str, Vec<&str>) = match body {
        StepBody::Package { names, state, version, refresh } => {
            let refresh = if *refresh { "refresh" } else { "" };
            let first = [state.word(), version.as_deref().unwrap_or_default(), refresh];
            (&PACKAGE, first.into_iter().chain(names.iter().map(String::as_str)).collect())
        }
        StepBody::Service { name, state, enabled } => {
            let enabled = enabled.map_or("", |yes| if yes { "yes" } else { "no" });
            (&SERVICE, vec![name, state.map_or("", ServiceState::word), enabled])
        }
        StepBody::Run { .. }
        | StepBody::Script { .. }
        | StepBody::Upload(..)
        | StepBody::Download { .. }
        | StepBody::Line(..)
        | StepBody::Block(..)
        | StepBody::Link { .. }
        | StepBody::Directory { .. }
        | StepBody::Delete { .. }
        | StepBody::Archive { .. }
        | StepBody::Release(..)
        | StepBody::WaitFor { .. }
        | StepBody::Reboot { .. }
        | StepBody::Check { .. }
        | StepBody::Pause { .. }
        | StepBody::Confirm { .. }
        | StepBody::Facts { .. }
        | StepBody::Task { .. } => return None,
    };
    Some(OwnScript { text, arguments: arguments.into_iter().map(String::from).collect(), apart: true })
}

#[cfg(test)]
#[path = "system_tests.rs"]
mod tests;
