//! Answers commands: authorize, plan, start, follow. Every door calls [`answer`] and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Config, FilesDir};
use crate::domain::access::{Granted, Operator, authorize};
use crate::domain::command::{Command, Request};
use crate::domain::event::Event;
use crate::domain::inventory::Inventory;
use crate::domain::name::{HostName, RunId};
use crate::domain::outcome::exit;
use crate::domain::plan::{Kind, Plan, World, plan_check, plan_run, plan_task};
use crate::domain::record::Debt;
use crate::domain::run::Run;
use crate::domain::selector::select;
use crate::domain::wish::Wish;
use crate::engine::StartError;
use crate::engine::feed::{Over, Seen, Watch};
use crate::engine::port::{KeyState, StoreError, StoredRun};
use crate::present::live::Lines;
use crate::present::{json, recap, table};

use super::{Desk, Gone, Terminal};

/// Why a command got no answer, with the exit status that says so.
struct Refused {
    status: u8,
    why: String,
}

impl Refused {
    fn usage(why: String) -> Refused {
        Refused { status: exit::USAGE, why }
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Refused {
        let status = if matches!(error, StoreError::Busy { .. }) { exit::BUSY } else { exit::INTERNAL };
        Refused { status, why: error.to_string() }
    }
}

impl From<StartError> for Refused {
    fn from(error: StartError) -> Refused {
        match error {
            StartError::Store(error) => error.into(),
            StartError::Draining => Refused { status: exit::BUSY, why: error.to_string() },
        }
    }
}

/// How a command ended: with a status, or with nobody there to tell.
enum Ended {
    Refused(Refused),
    Gone,
}

impl From<Gone> for Ended {
    fn from(_: Gone) -> Ended {
        Ended::Gone
    }
}

impl<T: Into<Refused>> From<T> for Ended {
    fn from(refused: T) -> Ended {
        Ended::Refused(refused.into())
    }
}

/// Answers one request of one operator; the exit status. A closed terminal detaches: what was started
/// goes on.
pub async fn answer(desk: &Desk, operator: &Operator, request: Request, terminal: &mut dyn Terminal) -> u8 {
    let mut asked = Asked { desk, config: desk.config.borrow().clone(), json: request.json, terminal };
    let result = match authorize(operator, request.command) {
        Ok(granted) => asked.answer(&granted).await,
        Err(why) => Err(Ended::Refused(Refused { status: exit::NOT_ALLOWED, why })),
    };
    match result {
        Ok(status) => status,
        Err(Ended::Gone) => exit::INTERNAL,
        Err(Ended::Refused(Refused { status, why })) => {
            // Nobody there to read it is no further trouble.
            let _ = asked.terminal.err(&format!("rollcall: {why}\n")).await;
            status
        }
    }
}

struct Asked<'a> {
    desk: &'a Desk,
    config: Arc<Config>,
    json: bool,
    terminal: &'a mut dyn Terminal,
}

impl Asked<'_> {
    async fn answer(&mut self, granted: &Granted) -> Result<u8, Ended> {
        let inventory = granted.inventory(&self.config.inventory);
        match granted.command() {
            Command::Help { text } => self.say(text).await,
            Command::Whoami => self.whoami(granted).await,
            Command::Hosts { selector } => self.hosts(&inventory, selector).await,
            Command::Plan { .. } => {
                let plan = self.plan(&inventory, granted.command()).await?;
                let text = if self.json { json::line("plan", &plan) } else { table::plan(&plan) };
                self.say(&text).await
            }
            Command::Task { .. } | Command::Check { .. } | Command::Run { .. } => {
                let plan = self.plan(&inventory, granted.command()).await?;
                self.run(granted, plan).await
            }
            Command::Runs { last } => self.runs(granted, &inventory, *last).await,
            Command::Show { run, host } => self.show(granted, &inventory, *run, host.as_deref()).await,
            Command::Watch { run } => self.watch(granted, &inventory, *run).await,
            Command::Cancel { run, now } => self.cancel(granted, &inventory, *run, *now).await,
            Command::Debts => self.debts(granted, &inventory).await,
            Command::Reload => self.reload().await,
            Command::HostAccept { selector, fingerprint, trust } => {
                self.host_accept(&inventory, selector, fingerprint.as_deref(), *trust).await
            }
        }
    }

    async fn say(&mut self, text: &str) -> Result<u8, Ended> {
        self.terminal.out(text).await?;
        Ok(0)
    }

    async fn whoami(&mut self, granted: &Granted) -> Result<u8, Ended> {
        let operator = granted.operator();
        let text = if self.json { json::line("operator", operator) } else { table::whoami(operator) };
        self.say(&text).await
    }

    async fn hosts(&mut self, inventory: &Inventory, selector: &str) -> Result<u8, Ended> {
        let picked = select(inventory, selector).map_err(Refused::usage)?;
        if self.json {
            return self
                .say(&picked.iter().map(|name| json::host(inventory, name)).collect::<String>())
                .await;
        }
        let store = &self.desk.engine.ports().store;
        let (debts, releases) = (store.debts().await?, store.releases().await?);
        self.say(&table::hosts(inventory, &picked, &debts, &releases)).await
    }

    /// Plans what the command asks for. Uploads are read for it, so this is no work for the executor.
    async fn plan(&self, inventory: &Inventory, command: &Command) -> Result<Plan, Ended> {
        let store = &self.desk.engine.ports().store;
        let owed = store.debts().await?.into_iter().map(|debt| debt.host).collect();
        let releases = store.releases().await?;
        let released = releases.into_iter().map(|(host, release)| (host, release.params)).collect();
        let (config, inventory, command) = (self.config.clone(), inventory.clone(), command.clone());
        let planning = tokio::task::spawn_blocking(move || {
            let world = World {
                inventory: &inventory,
                tasks: &config.tasks,
                checks: &config.checks,
                files: &FilesDir::new(&config.root),
                files_root: config.root.join("files"),
                released,
                owed,
            };
            plan_command(&world, &command)
        });
        let planned =
            planning.await.map_err(|error| Refused { status: exit::INTERNAL, why: error.to_string() })?;
        Ok(planned.map_err(Refused::usage)?)
    }

    async fn run(&mut self, granted: &Granted, plan: Plan) -> Result<u8, Ended> {
        let watch = self.desk.engine.start(granted, plan).await?;
        let status = self.follow(watch).await?;
        self.footer(granted).await?;
        Ok(status)
    }

    /// Shows a run to its end; the exit status is the run's.
    async fn follow(&mut self, mut watch: Watch) -> Result<u8, Ended> {
        let id = watch.live().id;
        let plan = watch.live().plan.clone();
        let mut run = Run::new(id, (*plan).clone());
        let mut events = Vec::new();
        let mut lines = Lines::new(&plan);
        let quiet = matches!(plan.kind, Kind::Run | Kind::Check) && !self.json;
        if !quiet && !self.json {
            let hint = format!(
                "a closed connection only detaches; to follow again: watch {id}; to stop: cancel {id}\n"
            );
            self.terminal.err(&hint).await?;
        }
        let gone = self.terminal.gone();
        loop {
            let seen = tokio::select! {
                seen = watch.next() => seen,
                () = gone.cancelled() => return Err(Ended::Gone),
            };
            match seen {
                Seen::Event(event) => {
                    run.apply(&event)
                        .map_err(|illegal| Refused { status: exit::INTERNAL, why: illegal.to_string() })?;
                    let text = if self.json {
                        json::event(&event)
                    } else if quiet {
                        String::new()
                    } else {
                        lines.event(&event)
                    };
                    self.terminal.out(&text).await?;
                    events.push(*event);
                }
                Seen::Progress(progress) if !quiet && !self.json => {
                    self.terminal.out(&lines.progress(&progress)).await?
                }
                Seen::Progress(_) => {}
                Seen::Dropped(lost) if !quiet => {
                    self.terminal
                        .err(&format!("({lost} lines of output left out here; see: show {id} --host H)\n"))
                        .await?;
                }
                Seen::Dropped(_) => {}
                Seen::Over(Over::Ended) => return self.told(&run, &events).await,
                Seen::Over(Over::Suspended) => {
                    let why = format!("rollcall is stopping; run {id} goes on when it is back: watch {id}");
                    return Err(Refused { status: exit::INTERNAL, why }.into());
                }
                Seen::Over(Over::Broken(why)) => {
                    return Err(Refused {
                        status: exit::INTERNAL,
                        why: format!("run {id} stands still: {why}"),
                    }
                    .into());
                }
            }
        }
    }

    async fn told(&mut self, run: &Run, events: &[Event]) -> Result<u8, Ended> {
        let text = if self.json { json::recap(run) } else { recap::recap(run, events) };
        self.terminal.out(&text).await?;
        Ok(run.outcome.map_or(exit::INTERNAL, |outcome| outcome.exit_status()))
    }

    /// Open debts stand under every answer until they are paid.
    async fn footer(&mut self, granted: &Granted) -> Result<(), Ended> {
        if self.json {
            return Ok(());
        }
        let inventory = granted.inventory(&self.config.inventory);
        let debts = visible_debts(granted, &inventory, self.desk.engine.ports().store.debts().await?);
        if let Some(line) = table::footer(&debts) {
            self.terminal.err(&line).await?;
        }
        Ok(())
    }

    async fn runs(&mut self, granted: &Granted, inventory: &Inventory, last: usize) -> Result<u8, Ended> {
        let ports = self.desk.engine.ports();
        let now = ports.clock.now();
        let mut runs = ports.store.runs(last).await?;
        runs.retain(|run| may_see(granted, inventory, &run.hosts));
        let text = match self.json {
            true => runs.iter().map(|run| json::line("run", run)).collect(),
            false => table::runs(&runs, now),
        };
        self.say(&text).await?;
        self.footer(granted).await?;
        Ok(0)
    }

    async fn debts(&mut self, granted: &Granted, inventory: &Inventory) -> Result<u8, Ended> {
        let ports = self.desk.engine.ports();
        let now = ports.clock.now();
        let debts = visible_debts(granted, inventory, ports.store.debts().await?);
        let text = match self.json {
            true => debts.iter().map(|debt| json::line("debt", debt)).collect(),
            false => table::debts(&debts, now),
        };
        self.say(&text).await
    }

    /// A run from the store. One that may not be seen looks like one that does not exist.
    async fn stored(&self, granted: &Granted, inventory: &Inventory, id: RunId) -> Result<StoredRun, Ended> {
        let stored = self.desk.engine.ports().store.load(id).await?;
        let stored = stored.filter(|run| {
            let hosts: Vec<HostName> = run.plan.hosts.keys().cloned().collect();
            may_see(granted, inventory, &hosts)
        });
        Ok(stored.ok_or_else(|| Refused::usage(format!("there is no run {id}; try: runs")))?)
    }

    async fn show(
        &mut self,
        granted: &Granted,
        inventory: &Inventory,
        id: RunId,
        host: Option<&str>,
    ) -> Result<u8, Ended> {
        let stored = self.stored(granted, inventory, id).await?;
        if let Some(host) = host {
            return self.show_host(&stored, host).await;
        }
        let run = Run::replay(id, stored.plan.clone(), &stored.events)
            .map_err(|illegal| Refused { status: exit::INTERNAL, why: format!("run {id}: {illegal}") })?;
        if self.json {
            let events: String = stored.events.iter().map(json::event).collect();
            return self.say(&(events + &json::recap(&run))).await;
        }
        let mut lines = Lines::new(&stored.plan);
        let story: String = stored.events.iter().map(|event| lines.event(event)).collect();
        self.say(&(story + &recap::recap(&run, &stored.events))).await?;
        self.footer(granted).await?;
        Ok(0)
    }

    async fn show_host(&mut self, stored: &StoredRun, host: &str) -> Result<u8, Ended> {
        let of_run = || stored.plan.hosts.keys();
        let name = of_run()
            .find(|name| name.as_str() == host)
            .or_else(|| of_run().find(|name| name.short() == host));
        let Some(name) = name else {
            let why = format!("run {} has no host `{host}` (it has: {})", stored.id, table::folded(of_run()));
            return Err(Refused::usage(why).into());
        };
        if self.json {
            let events = stored.events.iter().filter(|event| event.kind.hosts().contains(name));
            return self.say(&events.map(json::event).collect::<String>()).await;
        }
        self.say(&recap::host_story(name, &stored.events)).await
    }

    async fn watch(&mut self, granted: &Granted, inventory: &Inventory, id: RunId) -> Result<u8, Ended> {
        let live = self.desk.engine.watch(id);
        let stored = self.stored(granted, inventory, id).await?;
        if let Some(watch) = live {
            let status = self.follow(watch).await?;
            self.footer(granted).await?;
            return Ok(status);
        }
        self.show(granted, inventory, id, None).await?;
        let run = Run::replay(id, stored.plan, &stored.events)
            .map_err(|illegal| Refused { status: exit::INTERNAL, why: format!("run {id}: {illegal}") })?;
        Ok(run.outcome.map_or(exit::INTERNAL, |outcome| outcome.exit_status()))
    }

    async fn cancel(
        &mut self,
        granted: &Granted,
        inventory: &Inventory,
        id: RunId,
        now: bool,
    ) -> Result<u8, Ended> {
        self.stored(granted, inventory, id).await?;
        let wish = Wish::Cancel { now };
        self.desk.engine.ask(id, wish, granted.operator()).await.map_err(Refused::usage)?;
        let text = match (self.json, now) {
            (true, _) => json::line("cancel", BTreeMap::from([("run", id)])),
            (false, true) => format!(
                "run {id}: no further host begins, and what is running is being ended; see: watch {id}\n"
            ),
            (false, false) => {
                format!(
                    "run {id}: no further host begins; hosts in their bracket finish it; see: watch {id}\n"
                )
            }
        };
        self.say(&text).await
    }

    async fn reload(&mut self) -> Result<u8, Ended> {
        let done = self
            .desk
            .reload
            .reload()
            .await
            .map_err(|why| Refused::usage(format!("nothing was taken over:\n{why}")))?;
        let text = if self.json { json::line("reload", &done) } else { format!("{done}\n") };
        self.say(&text).await
    }

    /// Shows the keys that hosts present. A key is recorded when its fingerprint was given, or, on the
    /// operator's word, for hosts of which none is known.
    async fn host_accept(
        &mut self,
        inventory: &Inventory,
        selector: &str,
        fingerprint: Option<&str>,
        trust: bool,
    ) -> Result<u8, Ended> {
        let names = select(inventory, selector).map_err(Refused::usage)?;
        if fingerprint.is_some() && names.len() > 1 {
            return Err(Refused::usage(format!(
                "a fingerprint is of one host, and `{selector}` is {} hosts",
                names.len()
            ))
            .into());
        }
        let hosts: Vec<_> =
            names.iter().filter_map(|name| inventory.host(name)).map(|host| host.endpoint.clone()).collect();
        let remote = self.desk.engine.ports().remote.clone();
        let looks = futures::future::join_all(hosts.iter().map(|host| remote.host_key(host))).await;
        let mut status = 0;
        for (host, look) in hosts.iter().zip(looks) {
            let line = match look {
                Err(why) => Err(why),
                Ok(key) => {
                    let wanted = match (fingerprint, trust && key.known == KeyState::Unknown) {
                        (Some(fingerprint), _) => Some(fingerprint.to_string()),
                        (None, true) => Some(key.fingerprint.clone()),
                        (None, false) => None,
                    };
                    let shown = format!("{} {} {}", host.name, key.algorithm, key.fingerprint);
                    match wanted {
                        Some(fingerprint) => remote
                            .accept_host_key(host, &fingerprint)
                            .await
                            .map(|()| format!("{shown}: recorded")),
                        None => Ok(shown + &advice(&host.name, &key.known, &key.fingerprint)),
                    }
                }
            };
            match line {
                Ok(line) => self.terminal.out(&format!("{line}\n")).await?,
                Err(why) => {
                    status = 2;
                    self.terminal.err(&format!("rollcall: {why}\n")).await?;
                }
            }
        }
        Ok(status)
    }
}

fn plan_command(world: &World<'_>, command: &Command) -> Result<Plan, String> {
    match command {
        Command::Plan { task, selector, params } | Command::Task { task, selector, params } => {
            plan_task(world, task, selector, params)
        }
        Command::Check { selector, name, params } => plan_check(world, selector, name.as_deref(), params),
        Command::Run { selector, script } => plan_run(world, selector, script),
        other => Err(format!("{other:?} is no command that is planned")),
    }
}

fn advice(host: &HostName, state: &KeyState, fingerprint: &str) -> String {
    match state {
        KeyState::Known => ": known".into(),
        KeyState::Unknown => format!(
            ": not known; compare it on the host (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then: \
             host accept {host} {fingerprint}"
        ),
        KeyState::Changed => {
            ": CHANGED: another key is recorded; find out why before you remove the old line".into()
        }
        KeyState::Revoked => ": REVOKED".into(),
    }
}

/// An operator with groups sees what lies wholly within them.
fn may_see(granted: &Granted, inventory: &Inventory, hosts: &[HostName]) -> bool {
    granted.operator().groups.is_none() || hosts.iter().all(|host| inventory.host(host).is_some())
}

fn visible_debts(granted: &Granted, inventory: &Inventory, debts: Vec<Debt>) -> Vec<Debt> {
    debts.into_iter().filter(|debt| may_see(granted, inventory, std::slice::from_ref(&debt.host))).collect()
}
