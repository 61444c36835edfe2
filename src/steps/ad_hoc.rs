//! Commands and scripts that an operator typed: they run as `ssh` runs them, apart from the wrapper, and the host keeps
//! nothing of them.

use std::sync::Arc;

use super::attempt::{Attempt, Done};
use crate::domain::base::outcome::Outcome;
use crate::domain::task::hashbang::{SCRIPT_LIMIT_BYTES, readable, without_file};
use crate::domain::task::task::Source;
use crate::domain::value::shell;
use crate::port::outputs::Resent;
use crate::port::talk::Tap;
use crate::port::{Content, Follow, Input, Program};

impl Attempt<'_> {
    /// Runs a command in the shell of the login, or with sudo in that of root. A shell that can is given the text through
    /// the environment, so that it is on no command line.
    pub(super) async fn ad_hoc(&self, script: &str) -> Done {
        let input = self.context.talk.input.clone().map_or(Input::None, Input::Live);
        self.ad_hoc_text(in_login_shell(script), input).await
    }

    /// Runs a script with its interpreter, without a file on the host.
    pub(super) async fn ad_hoc_script(&self, source: &Source, args: &[String]) -> Done {
        let text = match self.script_text(source).await {
            Ok(text) => text,
            Err(done) => return done,
        };
        match without_file(&text, args) {
            Ok((text, input)) => self.ad_hoc_text(text, Input::Bytes(input.into())).await,
            Err(why) => Done::failed(why),
        }
    }

    async fn script_text(&self, source: &Source) -> Result<String, Done> {
        let bytes = match self.content(source)?.content {
            Content::Bytes(bytes) => bytes.to_vec(),
            Content::File(planned) => {
                let file = planned.open().await.map_err(Done::failed)?;
                let failed = |error| Done::failed(format!("{}: {error}", planned.name));
                file.whole(SCRIPT_LIMIT_BYTES).await.map_err(failed)?
            }
        };
        readable(&bytes).map(String::from).map_err(Done::failed)
    }

    async fn ad_hoc_text(&self, script: String, input: Input) -> Done {
        if self.context.resumed.is_some() {
            let why = "rollcall ended while it ran, and nothing on the host says how ad-hoc commands end";
            return Done::silent(Outcome::Lost { why: why.into() });
        }
        let talk = self.context.talk.clone();
        let mut request =
            self.context.request(Program::Script(script), &self.step.sudo, input, self.step.timeout);
        let host = self.plan.endpoint.name.clone();
        request.lines = match talk.output {
            Some(to) => Some(Follow::All(Tap { host, to })),
            None => self.show(&Arc::default()).map(Follow::Lines),
        };
        request.masks = self.context.masks.clone();
        request.recorder = Some(self.context.recorder(&self.operation, Resent::Anew));
        let report = self.context.ports.remote.exec(self.endpoint(), request).await;
        self.done(report, |_| Outcome::Ok)
    }
}

/// A script that the shell of the login reads, if it has another syntax than `sh` or more.
fn in_login_shell(script: &str) -> String {
    let text = shell::quote(script);
    format!(
        "case ${{SHELL##*/}} in\nbash|zsh|ksh|ksh93|mksh) ROLLCALL_RUN={text}; export ROLLCALL_RUN; exec \"$SHELL\" -c \
         'x=$ROLLCALL_RUN; unset ROLLCALL_RUN; eval \"unset x; $x\"' ;;\ncsh|tcsh|fish) exec \"$SHELL\" -c {text} ;;\nesac\n{script}"
    )
}
