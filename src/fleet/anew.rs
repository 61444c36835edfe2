//! Connections beside the one that is kept: for one command, to see a key, to find a fault.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::authority::Errand;
use super::connect::Reached;
use super::gates::{HANDSHAKE_TRIES, pause};
use super::link::{hang_up, phase};
use super::{Fleet, Goal, diagnose, exec, no_session};
use crate::domain::inventory::inventory::Endpoint;
use crate::port::{Diagnosis, Exec, ExecEnd, ExecReport, HostKey, PhaseReport};

impl Fleet {
    /// Runs a command over a separate connection that ends with it.
    pub(super) async fn exec_anew(&self, host: &Endpoint, request: Exec) -> ExecReport {
        let opened = async {
            let link = self.connect(host, Errand::Login).await?;
            let limit = self.shared.settings.connect_timeout;
            match timeout(limit, link.handle.channel_open_session()).await {
                Ok(Ok(channel)) => Ok((link, channel)),
                Ok(Err(russh::Error::ChannelOpenFailure(why))) => {
                    Err(phase(host, "channel", &no_session(&format!("{why:?}"))))
                }
                Ok(Err(error)) => Err(phase(host, "channel", &error.to_string())),
                Err(_) => Err(phase(host, "channel", &format!("no answer within {limit:?}"))),
            }
        };
        match opened.await {
            Ok((link, channel)) => {
                let report = exec::exec(channel, request, || link.why_lost()).await;
                hang_up(&link).await;
                report
            }
            Err(why) => ExecReport {
                end: ExecEnd::NotStarted(why),
                stdout: Default::default(),
                stderr: Default::default(),
            },
        }
    }

    pub(super) async fn examine(&self, host: &Endpoint) -> Result<(HostKey, russh::keys::PublicKey), String> {
        match self.attempts(host, Goal::Key).await? {
            Reached::Key(about, key) => Ok((about, key)),
            Reached::Link(_) | Reached::Dropped(_) => Err(phase(host, "handshake", "no key")),
        }
    }

    /// Connects beside the kept connection, phase by phase. A host that drops handshakes is asked again.
    pub(super) async fn diagnosed(&self, host: &Endpoint, request: Exec) -> Diagnosis {
        let (mut number, mut request, mut learned) = (1, Some(request), None);
        loop {
            let ready = async { Ok::<_, String>((self.jump(host).await?, self.turn(host).await?)) };
            let (jump, (turn, permit)) = match ready.await {
                Ok(ready) => ready,
                Err(why) => {
                    let phase = PhaseReport { name: "tcp", took: Duration::ZERO, end: Err(why) };
                    return Diagnosis { phases: vec![phase], report: None };
                }
            };
            drop(learned.take());
            let to = (host, jump.as_ref());
            let (diagnosis, dropped) = diagnose::diagnose(&self.shared, to, &mut request).await;
            if !dropped || number == HANDSHAKE_TRIES {
                return diagnosis;
            }
            learned = Some(turn.dropped());
            drop(permit);
            sleep(pause(host.name.as_str(), number)).await;
            number += 1;
        }
    }
}
