//! Where programs are on hosts. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;

use super::ports::Ports;
use crate::domain::inventory::inventory::Endpoint;
use crate::domain::value::shell;
use crate::port::{Exec, ExecEnd, Program};

/// Prints the path of each program, or an empty line. The directories are those where sudo looks by default.
const FIND: &str = r#"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
for name do command -v -- "$name" || echo; done"#;

/// Bytes of the answer: a few hundred paths.
const ANSWER_BYTES: usize = 64 * 1024;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Where each program is on a host; `None` if it is not there. Or why the host did not say it.
pub type Paths = Result<BTreeMap<String, Option<String>>, String>;

/// Asks each host for its programs.
pub async fn paths(ports: &Ports, hosts: &[(Endpoint, BTreeSet<String>)]) -> Vec<Paths> {
    join_all(hosts.iter().map(|(host, names)| async move {
        match names.is_empty() {
            true => Ok(BTreeMap::new()),
            false => ask(ports, host, names).await,
        }
    }))
    .await
}

async fn ask(ports: &Ports, host: &Endpoint, names: &BTreeSet<String>) -> Paths {
    let words: Vec<&str> = names.iter().map(String::as_str).collect();
    let request = Exec::new(Program::Script(shell::with_arguments(FIND, &words)), TIMEOUT, ANSWER_BYTES);
    let report = ports.hosts.remote.exec(host, request).await;
    match report.end {
        ExecEnd::Exited(0) => {
            let lines = report
                .stdout
                .text
                .lines()
                .map(|line| Some(line.to_string()).filter(|line| line.starts_with('/')));
            let lines: Vec<Option<String>> = lines.collect();
            match lines.len() == names.len() {
                true => Ok(names.iter().cloned().zip(lines).collect()),
                false => {
                    Err(format!("{}: the answer has {} lines, not {}", host.name, lines.len(), names.len()))
                }
            }
        }
        _ => Err(format!("{}: {}", host.name, report.end.describe(&report.stderr))),
    }
}
