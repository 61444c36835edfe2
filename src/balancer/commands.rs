//! Any balancer, by commands on its hosts: one to drain a server, one to enable it, and one that prints
//! its state.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use serde::Deserialize;
use serde_json::json;

use super::ask::{exec, last_line};
use super::polls::Polls;
use super::together::{self, Applied, OneHost};
use crate::domain::inventory::inventory::{Balancer, Commands, Endpoint, OnDrainTimeout};
use crate::domain::inventory::rotation::{BalancerView, HostRotation, Rotation};
use crate::domain::plan::plan::Seat;
use crate::domain::run::event::Change;
use crate::domain::value::shell;
use crate::domain::value::template::{self, Vars};
use crate::port::{ExecEnd, Input, Member, Remote};

/// The time limit of one command.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The driver for commands.
pub struct CommandDriver {
    remote: Arc<dyn Remote>,
}

/// One change of one balancer.
struct OnCommand<'a> {
    remote: &'a dyn Remote,
    balancer: &'a Balancer,
    commands: &'a Commands,
}

/// The line of `status`.
#[derive(Deserialize)]
struct StatusLine {
    state: ReportedState,
    /// Requests that are in flight.
    #[serde(default)]
    active: u64,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum ReportedState {
    Up,
    /// Gets no new requests.
    Draining,
    /// Gets no new requests, and has none left.
    Drained,
    Down,
    Unknown,
}

impl ReportedState {
    fn is_out(self) -> bool {
        matches!(self, ReportedState::Draining | ReportedState::Drained)
    }
}

impl CommandDriver {
    /// A driver that reaches balancer hosts through `remote`.
    pub fn new(remote: Arc<dyn Remote>) -> CommandDriver {
        CommandDriver { remote }
    }

    fn on<'a>(&'a self, balancer: &'a Balancer, commands: &'a Commands) -> OnCommand<'a> {
        OnCommand { remote: &*self.remote, balancer, commands }
    }

    /// The `status` of the whole group: no other source reports the number of servers.
    pub async fn inspect(
        &self,
        balancer: &Balancer,
        commands: &Commands,
        members: &[Member],
    ) -> Result<BalancerView, String> {
        let views = together::inspect(&self.on(balancer, commands), balancer, members).await?;
        Ok(BalancerView::together(&views, balancer.floor()))
    }

    /// Drains members on every balancer host, or on none.
    pub async fn drain(&self, balancer: &Balancer, commands: &Commands, members: &[Member]) -> Change {
        match self.inspect(balancer, commands, members).await {
            Ok(view) => together::drain(&self.on(balancer, commands), balancer, &view, members).await,
            Err(why) => Change::Refused { why },
        }
    }

    /// Puts members back that were drained for nothing.
    pub async fn put_back(&self, balancer: &Balancer, commands: &Commands, members: &[Member]) -> Change {
        together::put_back(&self.on(balancer, commands), balancer, members).await
    }

    /// Enables members on every balancer host.
    pub async fn enable(&self, balancer: &Balancer, commands: &Commands, members: &[Member]) -> Change {
        together::enable(&self.on(balancer, commands), balancer, members).await
    }
}

/// A command for a member, with its environment.
fn script(command: &str, member: &Member) -> Result<String, String> {
    let Member { host, seat: Seat { balancer, server }, .. } = member;
    let about = json!({ "name": host.as_str(), "short": host.short() });
    let vars = Vars::from([("server".to_string(), json!(server)), ("host".to_string(), about)]);
    let environment = [("HOST", host.as_str()), ("SERVER", server), ("BALANCER", balancer)];
    let exports: String = environment
        .iter()
        .map(|(name, value)| format!("export ROLLCALL_{name}={}\n", shell::quote(value)))
        .collect();
    Ok(exports + &template::script(command, &vars)?)
}

impl OnCommand<'_> {
    /// Runs a command for a member; returns the last line of its output.
    async fn run(
        &self,
        host: &Endpoint,
        what: &str,
        command: &str,
        member: &Member,
    ) -> Result<String, String> {
        let named = |why: String| format!("{}: `{what}` for {}: {why}", host.name, member.host);
        let script = script(command, member).map_err(named)?;
        let report = exec(self.remote, host, &script, self.commands.sudo, Input::None, TIMEOUT).await;
        match report.end {
            ExecEnd::Exited(0) => last_line(&report).map(str::to_string).map_err(named),
            end => Err(named(end.describe(&report.stderr))),
        }
    }

    async fn status(&self, host: &Endpoint, member: &Member) -> Result<StatusLine, String> {
        let line = self.run(host, "status", &self.commands.status, member).await?;
        serde_json::from_str(&line).map_err(|error| {
            format!(
                "{}: `status` for {}: {error}; its last line has to be like {{\"state\": \"up\", \"active\": 0}}",
                host.name, member.host
            )
        })
    }

    /// Waits until `status` reports the state; returns the last status in any case.
    async fn until(
        &self,
        host: &Endpoint,
        member: &Member,
        limit: Duration,
        holds: fn(ReportedState) -> bool,
    ) -> Result<StatusLine, String> {
        let mut polls = Polls::within(limit);
        loop {
            let status = self.status(host, member).await;
            let enough = status.as_ref().is_ok_and(|status| holds(status.state));
            if enough || !polls.again().await {
                return status;
            }
        }
    }

    /// Drains one member.
    async fn drain_one(&self, host: &Endpoint, member: &Member) -> One {
        match self.status(host, member).await {
            Err(why) => return One::Refused(why),
            Ok(status) if status.state.is_out() && !member.ours => return One::Foreign,
            Ok(_) => {}
        }
        let ran = self.run(host, "drain", &self.commands.drain, member).await;
        let limit = worth_waiting(&ran, self.balancer.drain_timeout);
        let status = match self.until(host, member, limit, |state| state == ReportedState::Drained).await {
            Ok(status) => status,
            Err(why) => return One::Unknown(why),
        };
        match (status.state, self.balancer.on_drain_timeout) {
            (ReportedState::Drained, _) => One::Done(None),
            (ReportedState::Draining, OnDrainTimeout::Fail) => {
                let why = self.in_flight(host, member, status.active);
                self.give_up(host, member, why).await
            }
            (ReportedState::Draining, _) => One::Done(Some(self.in_flight(host, member, status.active))),
            // A drained server whose application is dead is reported as down: the result of the command says whether
            // it is drained.
            (ReportedState::Down, _) => match ran {
                Ok(_) => One::Done(Some(format!("{}: {} is down there", host.name, member.host))),
                Err(why) => One::Unknown(why),
            },
            (ReportedState::Up, _) => One::Refused(
                ran.err().unwrap_or_else(|| format!("{}: {} was not drained", host.name, member.host)),
            ),
            (ReportedState::Unknown, _) => {
                One::Unknown(format!("{}: {} is in no known state", host.name, member.host))
            }
        }
    }

    fn in_flight(&self, host: &Endpoint, member: &Member, active: u64) -> String {
        let limit = self.balancer.drain_timeout;
        format!("{}: requests on {} that did not end within {limit:?}: {active}", host.name, member.host)
    }

    /// The drain takes too long, and no step may run on the member then: it is enabled. One that an earlier run
    /// holds stays drained.
    async fn give_up(&self, host: &Endpoint, member: &Member, why: String) -> One {
        if member.ours {
            return One::Refused(why);
        }
        match self.enable_one(host, member, |state| !state.is_out()).await {
            One::Done(_) => One::Refused(format!("{why}; put back")),
            One::Foreign => One::Unknown(why),
            One::Refused(undo) | One::Unknown(undo) => One::Unknown(format!("{why}; {undo}")),
        }
    }

    /// Enables one member; one that does not come up is drained again.
    async fn enable_one(&self, host: &Endpoint, member: &Member, is_back: fn(ReportedState) -> bool) -> One {
        let ran = self.run(host, "enable", &self.commands.enable, member).await;
        let limit = worth_waiting(&ran, self.balancer.enable_timeout);
        let why = match self.until(host, member, limit, is_back).await {
            Ok(status) if is_back(status.state) => return One::Done(None),
            Ok(_) => format!("{}: {} did not come up within {limit:?}", host.name, member.host),
            Err(why) => why,
        };
        let why = ran.err().unwrap_or(why);
        // The status shows whether that worked.
        let _ = self.run(host, "drain", &self.commands.drain, member).await;
        match self.status(host, member).await {
            Ok(status) if status.state.is_out() => One::Refused(why),
            _ => One::Unknown(why),
        }
    }

    /// One member after the other: few balancers allow two changes of their configuration at once.
    async fn change(&self, host: &Endpoint, members: &[Member], way: ChangeDirection) -> Applied {
        let (mut foreign, mut done, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for member in members {
            match self.change_one(host, member, way).await {
                One::Done(note) => {
                    done.push(member);
                    notes.extend(note);
                }
                One::Foreign => foreign.push(member.host.clone()),
                One::Refused(why) => return self.take_back(host, &done, way, why).await,
                One::Unknown(why) => return Applied::Unknown(why),
            }
        }
        let already = members.iter().filter(|member| way == ChangeDirection::Out && member.ours);
        Applied::Done {
            foreign,
            already: already.map(|member| member.host.clone()).collect(),
            note: (!notes.is_empty()).then(|| notes.join("; ")),
        }
    }

    async fn change_one(&self, host: &Endpoint, member: &Member, way: ChangeDirection) -> One {
        match way {
            ChangeDirection::Out => self.drain_one(host, member).await,
            ChangeDirection::In => self.enable_one(host, member, |state| state == ReportedState::Up).await,
            ChangeDirection::Undo => self.enable_one(host, member, |state| !state.is_out()).await,
        }
    }

    /// A member was refused: those before it go back to where they were, so that nothing is changed.
    async fn take_back(
        &self,
        host: &Endpoint,
        done: &[&Member],
        way: ChangeDirection,
        why: String,
    ) -> Applied {
        let back = if way == ChangeDirection::Out { ChangeDirection::Undo } else { ChangeDirection::Out };
        let mut whys = vec![why];
        for member in done.iter().filter(|member| way != ChangeDirection::Out || !member.ours) {
            if let One::Refused(undo) | One::Unknown(undo) = self.change_one(host, member, back).await {
                whys.push(undo);
            }
        }
        match whys.len() {
            1 => Applied::Refused(whys.concat()),
            _ => Applied::Unknown(whys.join("; ")),
        }
    }
}

/// The direction of a change.
#[derive(Clone, Copy, PartialEq)]
enum ChangeDirection {
    Out,
    In,
    /// Back as they were, dead or alive: no step ran on them.
    Undo,
}

/// A command that failed may still have had its effect: `status` decides, without a long
/// wait.
fn worth_waiting(ran: &Result<String, String>, limit: Duration) -> Duration {
    if ran.is_ok() { limit } else { Duration::ZERO }
}

/// The result for one member on one host.
enum One {
    Done(Option<String>),
    Foreign,
    Refused(String),
    Unknown(String),
}

#[async_trait]
impl OneHost for OnCommand<'_> {
    async fn inspect(
        &self,
        host: &Endpoint,
        members: &[Member],
    ) -> Result<Vec<(String, BalancerView)>, String> {
        let mut asked = members.to_vec();
        for (name, server) in &self.balancer.members {
            if !members.iter().any(|member| member.host == *name) {
                let seat = Seat { balancer: self.balancer.name.clone(), server: server.clone() };
                asked.push(Member { host: name.clone(), seat, ours: false });
            }
        }
        let inspections = join_all(asked.iter().map(|member| self.status(host, member))).await;
        let mut view = BalancerView { total: asked.len(), ..BalancerView::default() };
        for (member, inspection) in asked.into_iter().zip(inspections) {
            let status = inspection?;
            let rotation = match status.state {
                ReportedState::Up => Rotation::In,
                ReportedState::Draining | ReportedState::Drained => Rotation::Out,
                ReportedState::Down => Rotation::Down,
                ReportedState::Unknown => Rotation::Unknown,
            };
            view.serving += usize::from(rotation == Rotation::In);
            let note = if status.active > 0 { format!("{} in flight", status.active) } else { String::new() };
            view.hosts.insert(member.host, HostRotation { rotation, note });
        }
        Ok(vec![(host.name.to_string(), view)])
    }

    async fn drain(&self, host: &Endpoint, members: &[Member]) -> Applied {
        self.change(host, members, ChangeDirection::Out).await
    }

    async fn enable(&self, host: &Endpoint, members: &[Member]) -> Applied {
        self.change(host, members, ChangeDirection::In).await
    }

    async fn undo(&self, host: &Endpoint, members: &[Member]) -> Applied {
        self.change(host, members, ChangeDirection::Undo).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_told_of_whom_it_is_about_and_quotes_it() {
        let seat = Seat { balancer: "prod.web".into(), server: "it's".into() };
        let member = Member { host: "web1.example.com".into(), seat, ours: false };
        let script = script("lb drain {{ server }} {{ host.short }}", &member).unwrap();
        let wanted = "export ROLLCALL_HOST=web1.example.com\nexport ROLLCALL_SERVER='it'\\''s'\n\
                      export ROLLCALL_BALANCER=prod.web\nrollcall_0='it'\\''s'; rollcall_1=web1; \
                      lb drain \"${rollcall_0}\" \"${rollcall_1}\"";
        assert_eq!(script, wanted);
    }

    #[test]
    fn a_status_is_one_line_of_json() {
        let read = |line: &str| serde_json::from_str::<StatusLine>(line).map(|status| status.active);
        assert_eq!(read(r#"{"state":"draining","active":3}"#).unwrap(), 3);
        assert_eq!(read(r#"{"state":"up","more":true}"#).unwrap(), 0);
        assert!(read(r#"{"state":"fine"}"#).is_err());
        assert!(read("up").is_err());
    }
}
