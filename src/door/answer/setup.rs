//! `setup`: what the machine of an operator needs; and `complete`, which completion scripts ask.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::asked::{Asked, Ended, may_see};
use crate::domain::ask::access::authorize;
use crate::domain::ask::command::{Command, Shell, command_paths};
use crate::domain::ask::complete::{Known, candidates};
use crate::domain::base::refusal::Refusal;
use crate::domain::inventory::inventory::Inventory;
use crate::door::entrances::{LINK_LIFE, LINK_NAME_DIGITS, TOKEN_LIFE, secret_word};
use crate::present::json;
use crate::present::setup::{ClientSide, Web, completion, setup};

/// Most candidates of one word: no shell shows more.
const CANDIDATES: usize = 5_000;

/// Runs that are offered.
const RUNS: usize = 20;

impl Asked<'_> {
    pub(super) async fn setup(
        &mut self,
        alias: &str,
        host: Option<&str>,
        shell: Option<Shell>,
    ) -> Result<u8, Ended> {
        if let Some(shell) = shell {
            return self.say(&completion(shell, alias)).await;
        }
        let Some(reached) = self.terminal.listed().map(|command| command.door().clone()) else {
            let why = "this is not a connection over SSH, so the address of the door is not known";
            return Err(Refusal::rule(why).hint("try: ssh HOST setup").into());
        };
        let address = reached.address.ip().to_string();
        let side = ClientSide {
            alias,
            host: host.unwrap_or(&address),
            port: reached.address.port(),
            user: &reached.user,
            key: &self.desk.public_key,
        };
        let text = if self.json { json::line("setup", &side) } else { setup(&side) };
        self.say(&text).await
    }

    /// What lets a browser or a program in at a forwarded port: other users of the operator's machine reach it, too.
    pub(super) async fn web(&mut self, port: u16, token: bool) -> Result<u8, Ended> {
        // To the second: people read it.
        let now = whole_seconds(self.desk.clock.now());
        let entrances = &self.desk.entrances;
        let operator = &self.caller.operator;
        let failed = |error: getrandom::Error| Refusal::internal(format!("no random numbers: {error}"));
        let web = match token {
            true => {
                Web::Token { token: entrances.token(operator, now).map_err(failed)?, until: now + TOKEN_LIFE }
            }
            false => {
                let word = entrances.link(operator, now).map_err(failed)?;
                // A name of its own: a browser sends the cookies of a name to all of its ports.
                let name = secret_word().map_err(failed)?;
                let (name, _) = name.split_at(LINK_NAME_DIGITS);
                Web::Link {
                    forward: format!("ssh -N -L {port}:rollcall:80 rollcall"),
                    link: format!("http://{name}.localhost:{port}/enter/{word}"),
                    until: now + LINK_LIFE,
                }
            }
        };
        let text = if self.json { json::line("web", &web) } else { web.text() };
        self.say(&text).await
    }

    /// A word for each line. A shell asks in the background, so there are no remarks.
    pub(super) async fn complete(
        &mut self,
        inventory: &Arc<Inventory>,
        words: &[String],
    ) -> Result<u8, Ended> {
        let known = self.known(inventory).await?;
        let words = words.to_vec();
        let found = self.work(move || candidates(&words, &known)).await?;
        let text: String = found.iter().take(CANDIDATES).map(|word| format!("{word}\n")).collect();
        self.say(&text).await
    }

    /// What the operator may use, and what they may see by `hosts`, `runs` and `status`.
    async fn known(&self, inventory: &Arc<Inventory>) -> Result<Known, Ended> {
        let operator = self.granted.person();
        let may = |path: &str| operator.may_use(path);
        let now = self.desk.clock.now();
        let grants = |command: Command| authorize(operator, command, now).is_ok();
        let selector = || "all".to_string();
        let commands: BTreeSet<String> =
            command_paths().into_iter().filter(|path| may(path) && path != "complete").collect();
        let names = self.tasks_of(inventory).await?;
        let tasks = names.iter().filter_map(|name| self.config.tasks.get(name));
        let tasks = tasks.map(|task| (task.name.clone(), task.params.keys().cloned().collect())).collect();
        let mut known = Known { commands, tasks, ..Known::default() };
        // The same as the lists of these commands: a selector that one may type and not list stays unsaid.
        if grants(Command::Hosts { selector: selector(), unreachable: false }) {
            known.groups = inventory.groups.keys().cloned().collect();
            known.hosts = inventory.hosts.iter().map(|host| host.name.to_string()).collect();
        }
        if grants(Command::Status { selector: selector() }) {
            let sets = inventory.hosts.iter().flat_map(|host| &host.checks).collect::<BTreeSet<_>>();
            let checks = sets.into_iter().filter_map(|set| self.config.checks.get(set));
            known.checks = checks.flatten().map(|check| check.id().to_string()).collect();
        }
        if grants(Command::Runs { last: RUNS }) {
            let runs = self.ports().store.runs(RUNS).await?.into_iter();
            let seen = runs.filter(|run| may_see(&self.granted, &self.config.inventory, &run.hosts));
            known.runs = seen.map(|run| run.run.to_string()).collect();
        }
        Ok(known)
    }
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
