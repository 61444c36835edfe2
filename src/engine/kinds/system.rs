//! Packages and services: whatever distribution and init system a host has, it is found out there.

use std::sync::LazyLock;

use super::{Own, whole};
use crate::domain::task::{ServiceState, StepBody};

static PACKAGE: LazyLock<String> = LazyLock::new(|| whole(include_str!("package.sh")));
static SERVICE: LazyLock<String> = LazyLock::new(|| whole(include_str!("service.sh")));

/// The script of a step about the system. All of them may take long, or do harm when they are done twice.
pub(super) fn own(body: &StepBody) -> Option<Own> {
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
        _ => return None,
    };
    Some(Own { text, arguments: arguments.into_iter().map(String::from).collect(), apart: true })
}

#[cfg(test)]
#[path = "system_tests.rs"]
mod tests;
