//! A new connection to a host, phase by phase, for `doctor`: how long each takes, and which one fails.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use russh::keys::HashAlg;
use tokio::time::{Instant, timeout};

use super::authority::Errand;
use super::connect::{Shaken, authenticate, shake_hands};
use super::gates::no_greeting;
use super::link::{Link, hang_up};
use super::shared::FleetState;
use super::way::way_to;
use super::{client::Client, exec};
use crate::domain::inventory::inventory::Endpoint;
use crate::port::{Diagnosis, Exec, PhaseReport};

/// Connects without the pool, runs a script, which it takes, and disconnects. True if the host disconnected before it identified itself, so
/// that another attempt may find out more.
pub async fn diagnose(
    shared: &FleetState,
    (host, jump): (&Endpoint, Option<&Arc<Link>>),
    request: &mut Option<Exec>,
) -> (Diagnosis, bool) {
    let mut diagnosis = Diagnosis::default();
    let ended = phases(shared, (host, jump), request, &mut diagnosis).await;
    (diagnosis, ended == Err(Ended::Dropped))
}

/// Why a diagnosis ended early: the reason is in its phases.
#[derive(PartialEq)]
enum Ended {
    Failed,
    Dropped,
}

async fn phases(
    shared: &FleetState,
    (host, jump): (&Endpoint, Option<&Arc<Link>>),
    request: &mut Option<Exec>,
    diagnosis: &mut Diagnosis,
) -> Result<(), Ended> {
    // Of several addresses, one that is not found does not matter while another one connects.
    let is_name = jump.is_none() && host.further.is_empty() && host.address.parse::<IpAddr>().is_err();
    if is_name {
        let resolving = measured(async { shared.dial.resolve(&host.address, host.port).await });
        diagnosis.take("dns", resolving.await, |addresses| addresses.clone())?;
    }
    let stream = diagnosis.take("tcp", measured(way_to(shared, host, jump)).await, |_| {
        jump.map(|_| "through the jump host".into()).unwrap_or_default()
    })?;
    let presented = Arc::new(Mutex::new(None));
    let lost = Arc::new(OnceLock::new());
    let client = Client {
        shared: shared.clone(),
        host: host.clone(),
        presented: presented.clone(),
        lost: lost.clone(),
        only_key: false,
    };
    let mut dropped = false;
    let shaking = measured(async {
        match shake_hands(shared, host, client, stream).await? {
            Shaken::Link(handle) => Ok(handle),
            Shaken::TryAgain(why) => {
                dropped = true;
                Err(no_greeting(&why))
            }
        }
    })
    .await;
    let key = || {
        let key = presented.lock().unwrap_or_else(PoisonError::into_inner).clone();
        key.map(|key| format!("host key {} is the recorded one", key.fingerprint(HashAlg::Sha256)))
    };
    let shaken = diagnosis.take("kex", shaking, |_| key().unwrap_or_default());
    let mut handle = shaken.map_err(|ended| if dropped { Ended::Dropped } else { ended })?;
    let proving = measured(authenticate(shared, host, &mut handle, Errand::Doctor)).await;
    let login = diagnosis.take("auth", proving, |login| format!("login {}{}", host.login, login.by))?;
    let link = Link::new(handle, lost, login.forwards);
    let limit = shared.settings.connect_timeout;
    let opening = measured(async {
        let opened = timeout(limit, link.handle.channel_open_session()).await;
        opened.map_err(|_| format!("no answer within {limit:?}"))?.map_err(|error| error.to_string())
    });
    let channel = diagnosis.take("session", opening.await, |_| String::new())?;
    let Some(request) = request.take() else { return Ok(()) };
    let begun = Instant::now();
    diagnosis.report = Some((exec::exec(channel, request, || link.why_lost()).await, begun.elapsed()));
    hang_up(&link).await;
    Ok(())
}

async fn measured<T>(
    work: impl Future<Output = Result<T, String>>,
) -> (Result<T, String>, std::time::Duration) {
    let begun = Instant::now();
    (work.await, begun.elapsed())
}

impl Diagnosis {
    /// Records a phase, and returns what it made.
    fn take<T>(
        &mut self,
        name: &'static str,
        (made, took): (Result<T, String>, std::time::Duration),
        about: impl FnOnce(&T) -> String,
    ) -> Result<T, Ended> {
        let (end, made) = match made {
            Ok(made) => (Ok(about(&made)), Ok(made)),
            Err(why) => (Err(why), Err(Ended::Failed)),
        };
        self.phases.push(PhaseReport { name, took, end });
        made
    }
}
