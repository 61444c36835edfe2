//! The balancer's host in memory: a file, a configuration that runs, and the outcomes that nginx and its host
//! can bring about. What it does follows the script `APPLY` line by line.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rand::RngExt;
use rand::rngs::StdRng;
use rollcall::domain::base::digest::sha256_hex;
use rollcall::domain::base::name::HostName;
use rollcall::embedded::behaviour::{Behaviour, CommandEnd, ExecIo};
use rollcall::port::Stream;
use russh::Sig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::asked::{Asked, Heard};
use super::fate::{Fate, Trouble};
use super::ledger::Ledger;
use super::world::{dice, server_of};

/// See the module.
pub struct SimBalancer {
    fate: Arc<Fate>,
    ledger: Arc<Ledger>,
    hosts: Vec<HostName>,
    state: Mutex<State>,
}

struct State {
    file: String,
    running: String,
    asked: u32,
}

impl SimBalancer {
    /// A balancer with all hosts in it; the ledger says which of them others have taken out.
    pub fn new(hosts: &[HostName], fate: Arc<Fate>, ledger: Arc<Ledger>) -> SimBalancer {
        let line = |host: &HostName| {
            let comment = if ledger.foreign.contains(host) { "#" } else { "" };
            format!("    {comment}server {} max_fails=0;\n", server_of(host))
        };
        let servers: String = hosts.iter().map(line).collect();
        let file =
            format!("upstream web {{\n{servers}}}\nserver {{ location / {{ proxy_pass http://web; }} }}\n");
        let state = State { running: file.clone(), file, asked: 0 };
        SimBalancer { fate, ledger, hosts: hosts.to_vec(), state: Mutex::new(state) }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let value = change(&mut state);
        let (file, running) = (self.out(&state.file), self.out(&state.running));
        drop(state);
        self.ledger.balanced(file, running);
        value
    }

    fn file(&self) -> String {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).file.clone()
    }

    /// The hosts that a configuration leaves out.
    fn out(&self, text: &str) -> BTreeSet<HostName> {
        let live: BTreeSet<&str> = text
            .lines()
            .map(str::trim)
            .filter_map(|line| line.strip_prefix("server "))
            .filter(|rest| !rest.split(';').next().unwrap_or_default().ends_with(" down"))
            .filter_map(|rest| rest.split([' ', ';']).next())
            .collect();
        self.hosts.iter().filter(|host| !live.contains(server_of(host).as_str())).cloned().collect()
    }

    /// What nginx starts with after the machine was dead is what the file says.
    pub fn boot(&self) {
        self.change(|state| state.running = state.file.clone());
    }

    async fn apply(&self, old: &str, new: &str, io: &mut ExecIo, dice: &mut StdRng) -> &'static str {
        let mut bytes = Vec::new();
        let whole = io.stdin.read_to_end(&mut bytes).await.is_ok();
        let flaky = self.fate.trouble == Trouble::Flaky;
        let fortune = if flaky { dice.random_range(0..100) } else { 100 };
        let text = String::from_utf8(bytes).unwrap_or_default();
        if !whole || sha256_hex(text.as_bytes()) != new {
            return "refused the new text did not arrive whole";
        }
        if fortune < 15 {
            self.change(|state| state.file.push_str("# somebody was here\n"));
        }
        let present = self.file();
        if sha256_hex(present.as_bytes()) != old {
            return "conflict";
        }
        self.change(|state| state.file = text.clone());
        sleep(Duration::from_millis(dice.random_range(50..500))).await;
        if (15..30).contains(&fortune) {
            self.change(|state| state.file = present);
            return "refused the edited file is not valid, the old one is back: nginx: [emerg]";
        }
        // The order to reload is given; somebody may still find out too late that it was not followed.
        if (30..35).contains(&fortune) {
            return "unproven";
        }
        self.change(|state| state.running = state.file.clone());
        if (35..45).contains(&fortune) {
            return "unproven";
        }
        sleep(Duration::from_millis(dice.random_range(50..2_000))).await;
        if dice.random_bool(0.1) { "waiting" } else { "done" }
    }

    async fn perform(&self, asked: &Asked, io: &mut ExecIo) -> CommandEnd {
        let number = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.asked += 1;
            state.asked
        };
        let mut dice = dice(self.fate.seed, &["balancer", &number.to_string()]);
        sleep(Duration::from_millis(dice.random_range(5..50))).await;
        let answer = match asked {
            Asked::Read => {
                let file = self.file();
                format!("rollcall-file {} /etc/nginx/conf.d/web.conf\n{file}\nrollcall-end\n", file.len())
            }
            Asked::Apply { old, new } => {
                self.ledger.happened("balancer", &format!("apply {number} {old} {new}"));
                let word = self.apply(old, new, io, &mut dice).await;
                self.ledger.happened("balancer", &format!("apply {number} {word}"));
                format!("{word}\n")
            }
            other => {
                self.ledger.fault("the simulation", &format!("the balancer does not understand {other:?}"));
                return CommandEnd::Exit(127);
            }
        };
        // A connection that is gone is no trouble of the command.
        let _ = io.stdout.write_all(answer.as_bytes()).await;
        CommandEnd::Exit(0)
    }
}

#[async_trait]
impl Behaviour for SimBalancer {
    async fn exec(&self, command: String, mut io: ExecIo, _: mpsc::Receiver<Sig>) -> CommandEnd {
        let work = async {
            match Asked::hear(&command, &mut io).await {
                Heard::Asked(asked) => self.perform(&asked, &mut io).await,
                Heard::CutOff => CommandEnd::Exit(75),
                Heard::Strange => {
                    self.ledger
                        .fault("the simulation", &format!("the balancer does not understand {command}"));
                    CommandEnd::Exit(127)
                }
            }
        };
        tokio::select! {
            biased;
            () = self.fate.death() => {
                self.boot();
                CommandEnd::Vanish
            }
            ended = work => ended,
        }
    }

    async fn connect(&self, _: &str, _: u16) -> io::Result<Box<dyn Stream>> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}
