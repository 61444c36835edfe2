//! `tests/scripts/*.txt`: what operators type and what they get, on real sshd, nginx, a mail server and a receiver of
//! webhooks. The scripts are documentation that runs; the first lines of each say how to read it.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::support::daemon::spawn_daemon;
use crate::support::listeners::Listener;
use crate::support::site::{Answer, Site, answer_of};
use crate::support::{eventually, read, write};

/// One line of a script, with its number.
struct Line {
    number: usize,
    text: String,
}

/// A site and a daemon that a script works with.
struct Scene {
    name: String,
    site: Site,
    daemon: Option<Child>,
    port: u16,
    mail: Listener,
    hook: Listener,
    /// How many messages the script has already read.
    read: (usize, usize),
    background: Option<Child>,
    last: Option<Answer>,
}

/// The word and the rest of a line.
fn split(text: &str) -> (&str, &str) {
    text.split_once(' ').map_or((text, ""), |(word, rest)| (word, rest.trim()))
}

impl Scene {
    async fn start(name: &str) -> Scene {
        let site = Site::without_daemon(2).await;
        let (mail, hook) = (Listener::mail().await, Listener::hook().await);
        let (daemon, port) = spawn_daemon(&site).await;
        let (daemon, name) = (Some(daemon), name.to_string());
        Scene { name, site, daemon, port, mail, hook, read: (0, 0), background: None, last: None }
    }

    /// Names of places, as a shell writes variables.
    fn filled(&self, text: &str) -> String {
        let mut text = text.to_string();
        for (name, value) in self.places() {
            text = text.replace(&format!("${name}"), &value);
        }
        text
    }

    fn places(&self) -> Vec<(String, String)> {
        let hosts = self.site.hosts.iter();
        let servers = hosts.clone().map(|host| (host.name.replace("web", "SERVER"), host.server.clone()));
        let hosts = hosts.map(|host| (host.name.to_uppercase(), host.dir.display().to_string()));
        let folders = [("CONFIG", &self.site.config), ("LB", &self.site.nginx.dir)];
        let folders = folders.map(|(name, path)| (name.to_string(), path.display().to_string()));
        let addresses = [("SMTP", self.mail.address), ("HOOK", self.hook.address)];
        let addresses = addresses.map(|(name, at)| (name.to_string(), at.to_string()));
        hosts.chain(servers).chain(folders).chain(addresses).collect()
    }

    /// `ssh rollcall WORDS`, as ann or as the operator in front.
    fn ssh(&self, text: &str) -> Command {
        let (who, words) = match text.strip_prefix("ssh rollcall") {
            Some(words) => ("ann", words),
            None => text.split_once(": ssh rollcall").unwrap_or_else(|| panic!("{}: {text}", self.name)),
        };
        // The line goes through a shell, as an operator's does.
        let words = shell_words::split(&self.filled(words)).unwrap_or_else(|why| panic!("{text}: {why}"));
        self.site.ssh_to(self.port, who, &words.join(" "))
    }

    fn fail(&self, line: &Line, why: &str) -> ! {
        panic!("{}:{}: {}: {why}\n{:#?}", self.name, line.number, line.text, self.last)
    }

    async fn play(&mut self, lines: &mut VecDeque<Line>) {
        let Some(line) = lines.pop_front() else { return };
        let (word, rest) = split(&line.text);
        match word {
            "$" => {
                let mut command = self.ssh(rest);
                let input = self.block(lines, "|");
                if !input.is_empty() {
                    let file = self.site.dir.path().join("input");
                    write(&file, &input);
                    command.stdin(Stdio::from(std::fs::File::open(&file).unwrap()));
                }
                self.last = Some(answer_of(command).await);
                self.expect(lines, &line);
            }
            "&" => self.background = Some(self.ssh(rest).spawn().unwrap()),
            "wait" => {
                let Some(child) = self.background.take() else { self.fail(&line, "nothing is under way") };
                let output = child.wait_with_output().await.unwrap();
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let status = output.status.code().unwrap_or(-1);
                self.last = Some(Answer { status, out: text(&output.stdout), err: text(&output.stderr) });
                self.expect(lines, &line);
            }
            "!" => {
                let ran = Command::new("sh").args(["-ec", &self.filled(rest)]).output().await.unwrap();
                assert!(ran.status.success(), "{}: {}: {ran:?}", self.name, line.text);
            }
            "write" => {
                let text = self.filled(&self.block(lines, "|"));
                write(Path::new(&self.filled(rest)), &text);
            }
            "append" => {
                let path = self.filled(rest);
                let text = read(Path::new(&path)) + &self.filled(&self.block(lines, "|"));
                write(Path::new(&path), &text);
            }
            "mail" | "hook" => self.message(&line, word, rest).await,
            "until" => self.until(&line, rest).await,
            "kill" => self.daemon.take().unwrap().kill().await.unwrap(),
            "stop" => self.stop().await,
            "start" => {
                let (daemon, port) = spawn_daemon(&self.site).await;
                (self.daemon, self.port) = (Some(daemon), port);
            }
            _ => self.fail(&line, "no script knows this word"),
        }
    }

    /// The lines behind `mark` that follow, as one text.
    fn block(&self, lines: &mut VecDeque<Line>, mark: &str) -> String {
        let mut text = String::new();
        while let Some(line) =
            lines.pop_front_if(|line| line.text == mark || line.text.starts_with(&format!("{mark} ")))
        {
            text.push_str(
                line.text.strip_prefix(mark).unwrap_or_default().trim_start_matches(' ').trim_end(),
            );
            text.push('\n');
        }
        text
    }

    /// `= N`: the exit status, 0 where it is not written; `> TEXT`: parts of the output, in this order; `- TEXT`: no part.
    fn expect(&self, lines: &mut VecDeque<Line>, about: &Line) {
        let Some(answer) = &self.last else { return };
        let said = format!("{}{}", answer.out, answer.err);
        let (mut rest, mut status) = (said.as_str(), 0);
        while let Some(line) = lines.pop_front_if(|line| ["=", ">", "-"].contains(&split(&line.text).0)) {
            let (word, wanted) = split(&line.text);
            match word {
                "=" => status = wanted.parse().unwrap_or_else(|_| self.fail(&line, "no exit status")),
                ">" => match rest.split_once(wanted) {
                    Some((_, behind)) => rest = behind,
                    None => self.fail(&line, "is not in the rest of the answer"),
                },
                _ => {
                    if said.contains(wanted) {
                        self.fail(&line, "is in the answer");
                    }
                }
            }
        }
        if answer.status != status {
            self.fail(about, &format!("the exit status is not {status}"));
        }
    }

    /// The next mail or webhook has all the parts, separated by ` ... `.
    async fn message(&mut self, line: &Line, kind: &str, parts: &str) {
        let (listener, at) = match kind {
            "mail" => (&self.mail, self.read.0),
            _ => (&self.hook, self.read.1),
        };
        let what = format!("{}:{}: a {kind}", self.name, line.number);
        eventually(&what, async || listener.taken().len() > at).await;
        let taken = listener.taken().remove(at);
        let text = format!("{}\n{}", taken.head, taken.body);
        for part in parts.split(" ... ") {
            if !text.contains(part) {
                self.fail(line, &format!("the {kind} has no `{part}`:\n{text}"));
            }
        }
        match kind {
            "mail" => self.read.0 += 1,
            _ => self.read.1 += 1,
        }
    }

    /// `until COMMAND ... > TEXT`: asked again until the answer has the text.
    async fn until(&mut self, line: &Line, rest: &str) {
        let (command, wanted) =
            rest.split_once(" > ").unwrap_or_else(|| self.fail(line, "until COMMAND > TEXT"));
        let what = format!("{}:{}: {rest}", self.name, line.number);
        eventually(&what, async || {
            let answer = answer_of(self.ssh(command)).await;
            format!("{}{}", answer.out, answer.err).contains(wanted)
        })
        .await;
    }

    async fn stop(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        let id = nix::unistd::Pid::from_raw(daemon.id().unwrap().try_into().unwrap());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(daemon.wait().await.unwrap().success(), "{}", self.name);
    }
}

async fn play(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(name);
    let text = read(&path);
    let lines =
        text.lines().enumerate().map(|(at, text)| Line { number: at + 1, text: text.trim_end().to_string() });
    let is_written = |line: &Line| !line.text.is_empty() && !line.text.starts_with('#');
    let mut lines: VecDeque<Line> = lines.filter(is_written).collect();
    assert!(!lines.is_empty(), "{name}");
    let mut scene = Scene::start(name).await;
    while !lines.is_empty() {
        scene.play(&mut lines).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_day_of_an_operator() {
    play("first_day.txt").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_front_door_under_one_key_after_the_other() {
    play("front_door.txt").await;
}

#[test]
fn every_script_is_played() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let own = include_str!("scripts.rs");
    assert!(names.iter().all(|name| own.contains(&format!("play(\"{name}\")"))), "{names:?}");
}
