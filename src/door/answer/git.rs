//! `git push` and `git fetch` of the configuration.

use tokio::sync::mpsc;

use super::asked::{Asked, Ended};
use crate::domain::ask::command::GitService;
use crate::domain::base::name::clipped;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::door::{GitOutput, GitWire};

/// Pieces of git that wait for the client.
const WAITING_PIECES: usize = 16;

/// The names of the one repository.
const NAMES: [&str; 2] = ["config", "config.git"];

impl Asked<'_> {
    pub(super) async fn git(&mut self, service: GitService, path: &str) -> Result<u8, Ended> {
        if self.granted.operator().groups.is_some() {
            let why = "only an admin without groups pushes and fetches the configuration";
            return Err(Refusal::new(Cause::NotAllowed, why).hint("see: whoami").into());
        }
        if !NAMES.contains(&path.trim_matches('/')) {
            let why = format!("there is no repository `{}`", clipped(path));
            return Err(Refusal::not_found(why).hint("try: ssh://rollcall/config").into());
        }
        let Some(input) = self.terminal.file() else {
            return Err(Refusal::usage("git needs a connection without a terminal").into());
        };
        let (output, mut printed) = mpsc::channel(WAITING_PIECES);
        let wire = GitWire { input, output, gone: self.terminal.gone() };
        // It is not part of this answer, which ends with its client.
        let serving = self.desk.reload.clone().serve_git(service, self.caller.clone(), wire);
        let serving = tokio::spawn(serving);
        while let Some(output) = printed.recv().await {
            match output {
                GitOutput::Bytes(bytes) => self.terminal.bytes(bytes).await?,
                GitOutput::Error(text) => self.terminal.err(&text).await?,
            }
        }
        let said = serving.await.map_err(|error| Refusal::internal(error.to_string()))??;
        if !said.is_empty() {
            self.terminal.err(&format!("rollcall: {said}\n")).await?;
        }
        Ok(0)
    }
}
