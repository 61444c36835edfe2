//! A logged-in client of the SSH door: what it has proved, and how a line of it is answered, by whichever channel it came.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;

use super::answer::answer;
use super::entrances::Cookie;
use super::sessions::DoorSession;
use super::shown::{shown, shown_reason};
use super::streams::Streams;
use super::{Desk, Terminal};
use crate::domain::ask::access::Operator;
use crate::domain::ask::audit::Caller;
use crate::domain::ask::command::{Command, Request, UsageError};
use crate::domain::ask::enrolled::{Denial, Presented};
use crate::domain::ask::view::View;
use crate::domain::base::refusal::{Cause, Refusal};

/// Pages of one connection that are remembered as asked for.
const PAGES_REMEMBERED: usize = 256;

/// One client.
pub struct Client {
    pub desk: Desk,
    pub presented: Presented,
    /// The operator at the login.
    pub operator: Operator,
    pub session: Arc<DoorSession>,
    /// What browsers have to send on this connection.
    pub cookie: Cookie,
    pub pulse: Pulse,
    /// Pages of this connection that follow what happens.
    pub streams: Streams,
    pub asked: AskedPages,
}

/// The pages that a connection has asked for. A board asks for the same one again and again while it is open: it is on record
/// once.
#[derive(Default)]
pub struct AskedPages(Mutex<HashSet<String>>);

impl AskedPages {
    /// True if the page was asked for before, and answered.
    fn knows(&self, line: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(line)
    }

    /// The page is on record, and was answered.
    fn remember(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= PAGES_REMEMBERED {
            lines.clear();
        }
        lines.insert(line);
    }
}

/// Makes a future that resolves when the client does not answer any more; see [`Terminal::silence`].
pub type Pulse = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// A line of a client, and what was read in it.
pub type ClientLine<'a> = (&'a [u8], Result<Request, UsageError>);

impl Client {
    /// The operator as of now; or why there is none any more.
    pub fn admitted(&self) -> Result<Operator, String> {
        self.desk.admit(&self.presented).map_err(|denial| lost(&denial))
    }

    fn from(&self) -> Option<IpAddr> {
        Some(self.presented.from)
    }

    /// Answers a line; returns the exit status.
    pub async fn ask(&self, (line, mut parsed): ClientLine<'_>, terminal: &mut dyn Terminal) -> u8 {
        let desk = &self.desk;
        let mut page = None;
        if let Ok(request) = &mut parsed
            && let Command::Board(view) = &request.command
        {
            // One that is brought up to date is the page that was opened.
            let address = View { is_open: false, ..view.clone() }.to_string();
            request.is_known = self.asked.knows(&address);
            page = Some(address);
        }
        let shown = shown(line, &parsed, &desk.config.borrow());
        let line = desk.engine.masks().text(&shown);
        let is_of_agent = parsed.as_ref().is_ok_and(|request| request.agent.is_some());
        let line = if is_of_agent { format!("mcp: {line}") } else { line };
        let operator = match self.admitted() {
            Ok(operator) => operator,
            Err(why) => {
                let operator = self.operator.clone();
                let caller = Caller { operator, from: self.from(), config: desk.digest(), line };
                desk.audit.refused(&caller, None, &why);
                return refuse(terminal, Refusal::new(Cause::NotAllowed, why)).await;
            }
        };
        tracing::info!(operator = %operator.name, key = operator.key, command = ?line, "asked");
        terminal.list(self.session.begin(line.clone(), desk.clock.now()));
        let caller = Caller { operator, from: self.from(), config: desk.digest(), line };
        match parsed {
            Ok(request) => {
                let status = answer(desk, &caller, request, terminal).await;
                page.into_iter().filter(|_| status == 0).for_each(|page| self.asked.remember(page));
                status
            }
            Err(error) => {
                let why = shown_reason(&error.text, None, &desk.config.borrow());
                desk.audit.refused(&caller, None, &desk.engine.masks().text(&why));
                refuse(terminal, Refusal::usage(error.text)).await
            }
        }
    }
}

async fn refuse(terminal: &mut dyn Terminal, refusal: Refusal) -> u8 {
    terminal.refuse(&refusal);
    // A client that is gone cannot read the error.
    let _ = terminal.err(&format!("rollcall: {refusal}\n")).await;
    refusal.cause.exit_status()
}

/// Why an operator who was logged in is none any more, in words for them.
pub fn lost(denial: &Denial) -> String {
    match denial {
        Denial::NotEnrolled => "your key is not in `operators` any more".into(),
        Denial::UnknownCa(_) | Denial::WrongPrincipals => {
            "no line in `operators` accepts your certificate any more".into()
        }
        Denial::KeyRevoked => "your key is revoked".into(),
        Denial::CaRevoked | Denial::CertificateRevoked => "your certificate is revoked".into(),
        Denial::LineExpired(at) => format!("your line in `operators` expired at {at}"),
        Denial::CertificateExpired => "your certificate has expired".into(),
        Denial::WrongSource(_) => "your line in `operators` does not allow your address any more".into(),
        other => format!("you are not admitted any more: {other}"),
    }
}
