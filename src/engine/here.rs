//! The environment of commands on the daemon's machine, which describes their run.

use super::feed::Live;
use crate::domain::base::name::HostName;
use crate::domain::base::nodeset::fold;

/// Environment variables. `ROLLCALL_HOSTS` has all hosts of the run, folded: `web[01-20]`.
pub(super) fn environment(live: &Live, host: Option<&HostName>) -> Vec<(String, String)> {
    let plan = &live.plan;
    let mut all = vec![
        ("ROLLCALL_RUN", live.id.to_string()),
        ("ROLLCALL_TASK", plan.task().unwrap_or_default().to_string()),
        ("ROLLCALL_BY", live.by.clone()),
        ("ROLLCALL_HOSTS", fold(plan.hosts.keys().map(HostName::as_str))),
    ];
    all.extend(host.map(|host| ("ROLLCALL_HOST", host.to_string())));
    all.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}
