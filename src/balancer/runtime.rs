//! The path to HAProxy's runtime API: through the host's SSH connection, or, if its sshd does not
//! forward sockets, by a command on the host.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::ask::{exec, said};
use crate::domain::inventory::inventory::{Endpoint, Haproxy, Socket};
use crate::domain::value::shell;
use crate::port::{ExecEnd, Input, OpenError, Remote, Stream};

/// The time limit of one query: HAProxy answers within milliseconds.
const ASK_TIMEOUT: Duration = Duration::from_secs(15);

/// Longest answer that is read, in bytes: some ten thousand servers.
const ANSWER_LIMIT_BYTES: u64 = 8 * 1024 * 1024;

/// Queries over a UNIX socket: `$1` socket. The query is on standard input. Unused columns
/// are cut off, since the output of a command is kept only up to a limit.
pub const ASK: &str = r#"
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
if command -v socat >/dev/null; then socat -t 10 - "UNIX-CONNECT:$1"
elif command -v nc >/dev/null; then nc -U "$1"
else echo "neither socat nor nc is there" >&2
fi | cut -d, -f1-80
"#;

/// HAProxy on one host or many.
pub struct Runtime {
    remote: Arc<dyn Remote>,
    /// Hosts that did not forward their socket and whose socket a command could reach.
    by_command: Mutex<HashSet<Endpoint>>,
}

impl Runtime {
    /// Reaches hosts through `remote`.
    pub fn new(remote: Arc<dyn Remote>) -> Runtime {
        Runtime { remote, by_command: Mutex::default() }
    }

    /// The answer to one line.
    pub async fn ask(&self, host: &Endpoint, haproxy: &Haproxy, line: &str) -> Result<String, String> {
        let named = |why: String| format!("{}: {why}", host.name);
        match &haproxy.socket {
            Socket::Tcp { address, port } => {
                let opened = self.remote.open(host, address, *port).await;
                self.talk(opened, line).await.map_err(|error| named(error.why()))
            }
            Socket::Unix(path) if haproxy.sudo || self.goes_by_command(host) => {
                let answer = self.by_command(host, path, haproxy.sudo, line).await;
                if answer.is_err() {
                    // The host may forward its socket by the next query.
                    self.set_by_command(host, false);
                }
                answer.map_err(named)
            }
            Socket::Unix(path) => self.ask_socket(host, path, line).await.map_err(named),
        }
    }

    async fn ask_socket(&self, host: &Endpoint, path: &str, line: &str) -> Result<String, String> {
        let opened = self.remote.open_unix(host, path).await;
        let refused = match self.talk(opened, line).await {
            Ok(answer) => return Ok(answer),
            Err(NoAnswer::Opening(why)) => why,
            Err(NoAnswer::Talking(why)) => return Err(why),
        };
        let answer = self.by_command(host, path, false, line).await;
        match &answer {
            Ok(_) => self.set_by_command(host, true),
            Err(why) if *why == refused => {}
            Err(why) => {
                return Err(format!(
                    "{refused}; by a command: {why}; try: the login's rights on the socket, sudo = true, \
                     or AllowStreamLocalForwarding yes"
                ));
            }
        }
        answer
    }

    async fn talk(&self, opened: Result<Box<dyn Stream>, OpenError>, line: &str) -> Result<String, NoAnswer> {
        let mut stream = opened.map_err(|error| NoAnswer::Opening(error.why()))?;
        let talking = async {
            stream.write_all(format!("{line}\n").as_bytes()).await?;
            stream.flush().await?;
            let mut answer = Vec::new();
            stream.take(ANSWER_LIMIT_BYTES + 1).read_to_end(&mut answer).await?;
            Ok(answer)
        };
        let answer = match timeout(ASK_TIMEOUT, talking).await {
            Ok(answer) => answer.map_err(|error: std::io::Error| NoAnswer::Talking(error.to_string()))?,
            Err(_) => {
                return Err(NoAnswer::Talking(format!("HAProxy did not answer within {ASK_TIMEOUT:?}")));
            }
        };
        if answer.len() as u64 > ANSWER_LIMIT_BYTES {
            return Err(NoAnswer::Talking(format!(
                "HAProxy answered `{line}` with more than the {ANSWER_LIMIT_BYTES} bytes that rollcall reads; try: look at \
                 what listens on its socket"
            )));
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        // Even "done" is an empty line.
        if answer.is_empty() {
            return Err(NoAnswer::Talking("HAProxy hung up without an answer".into()));
        }
        Ok(answer)
    }

    async fn by_command(
        &self,
        host: &Endpoint,
        path: &str,
        sudo: bool,
        line: &str,
    ) -> Result<String, String> {
        let script = shell::with_arguments(ASK, &[path]);
        let input = Input::Bytes(format!("{line}\n").into());
        let report = exec(&*self.remote, host, &script, sudo, input, ASK_TIMEOUT).await;
        match report.end {
            ExecEnd::Exited(0) if report.stdout.left_out > 0 => Err(
                "its answer is too long to be read through a command; try: AllowStreamLocalForwarding yes"
                    .into(),
            ),
            ExecEnd::Exited(0) if report.stdout.text.is_empty() => Err(said(report.stderr.last_line())),
            ExecEnd::Exited(0) => Ok(report.stdout.text),
            end => Err(end.describe(&report.stderr)),
        }
    }

    fn goes_by_command(&self, host: &Endpoint) -> bool {
        self.by_command.lock().unwrap_or_else(PoisonError::into_inner).contains(host)
    }

    fn set_by_command(&self, host: &Endpoint, yes: bool) {
        let mut hosts = self.by_command.lock().unwrap_or_else(PoisonError::into_inner);
        match yes {
            true => _ = hosts.insert(host.clone()),
            false => _ = hosts.remove(host),
        }
    }
}

/// Why there is no answer.
enum NoAnswer {
    /// No query was sent yet.
    Opening(String),
    Talking(String),
}

impl NoAnswer {
    fn why(self) -> String {
        match self {
            NoAnswer::Opening(why) | NoAnswer::Talking(why) => why,
        }
    }
}
