//! Artifacts that a command is given: received from its client, or fetched, before the final plan.

use std::time::SystemTime;

use tokio::sync::mpsc;

use super::asked::{Asked, Ended};
use crate::config::size_text;
use crate::domain::ask::access::Granted;
use crate::domain::ask::command::{Command, Params};
use crate::domain::ask::supply::OWN_FILE;
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::plan::supply::{AWAITED, Supply, SupplySource, supplies};
use crate::domain::task::body::artifact_name;
use crate::domain::task::hashbang::{SCRIPT_LIMIT_BYTES, readable};
use crate::domain::value::param::ArtifactOrigin;
use crate::local::artifacts::{Kept, Limits, Piece, RESERVE_BYTES, Trouble, WAITING_PIECES};
use crate::local::planned::PlannedFile;
use crate::port::FetchBounds;

impl Asked<'_> {
    /// The command with its artifacts, named by their content.
    pub(super) async fn with_artifacts(&mut self, granted: Granted) -> Result<Granted, Ended> {
        let Some(ask) = granted.command().of_task() else { return self.with_own_file(granted).await };
        // An unknown task is refused when it is planned.
        let Some(task) = self.config.tasks.get(&ask.task) else { return Ok(granted) };
        let (name, mut needed) = (ask.task.clone(), supplies(task, &ask.params)?);
        needed.sort_by_key(|supply| supply.from != SupplySource::Input);
        // With a value by default, the task would run without the file.
        let reads = needed.iter().any(|supply| supply.from == SupplySource::Input);
        if !reads && self.terminal.brings_file() {
            let why = "there is a file, and no parameter that takes it";
            return Err(Refusal::usage(why).hint("try: NAME=-, with the name of the parameter").into());
        }
        if needed.is_empty() {
            return Ok(granted);
        }
        let is_kept = |supply: &Supply| match &supply.from {
            SupplySource::Url(origin) => self.desk.artifacts.has(&origin.sha256),
            SupplySource::Input => false,
        };
        if granted.agent().is_some() && !needed.iter().all(is_kept) {
            let why = "an agent gives no files, and lets none be fetched";
            return Err(Refusal::usage(why).hint("try: sha256:HEX, the name of a file that is kept").into());
        }
        if !granted.operator().may_run(&name) {
            let why = format!("to give `{name}` a file takes the right to run it");
            let hint = "try: sha256:HEX, the name of a file that is kept";
            return Err(Refusal::new(Cause::NotAllowed, why).hint(hint).into());
        }
        self.plan_before(&granted, &needed).await?;
        let mut params = Params::new();
        for supply in &needed {
            let sha256 = self.supplied(supply).await?;
            params.insert(supply.param.clone(), format!("sha256:{sha256}"));
        }
        Ok(granted.with_artifacts(params))
    }

    /// Plans the command as if its files were there: one that is refused reads none.
    async fn plan_before(&mut self, granted: &Granted, needed: &[Supply]) -> Result<(), Ended> {
        let expected = |supply: &Supply| (supply.param.clone(), format!("sha256:{}", supply.expected()));
        let params = needed.iter().map(expected).collect();
        let command = granted.clone().with_artifacts(params).command().clone();
        let inventory = self.visible(granted).await?;
        let sums = needed.iter().map(|supply| supply.expected().to_string()).collect();
        // Nothing may be printed as long as the file waits: a connection that is full of it carries nothing else.
        self.plan_expecting(&inventory, &command, sums).await??;
        Ok(())
    }

    /// The SHA-256 of a file that is kept now.
    async fn supplied(&mut self, supply: &Supply) -> Result<String, Ended> {
        let artifacts = self.desk.artifacts.clone();
        let limits = self.limits();
        let kept = match &supply.from {
            SupplySource::Url(origin) if artifacts.has(&origin.sha256) => return Ok(origin.sha256.clone()),
            SupplySource::Url(origin) => {
                self.sweep(limits).await?;
                self.fetched(&supply.param, origin, limits).await?
            }
            SupplySource::Input => {
                self.sweep(limits).await?;
                self.received(&Incoming::Param(&supply.param), limits).await?
            }
        };
        let line = format!("{}: {} bytes, sha256:{}\n", supply.param, kept.bytes, kept.sha256);
        self.terminal.err(&line).await?;
        Ok(kept.sha256)
    }

    async fn received(&mut self, name: &Incoming<'_>, limits: Limits) -> Result<Kept, Ended> {
        let Some(mut pieces) = self.terminal.file() else {
            let (why, hint) = match self.terminal.is_interactive() {
                true => (
                    "standard input is a terminal",
                    format!("try: ssh rollcall ... {} <FILE, without -t", name.word()),
                ),
                false => ("there is no file", name.how_to_bring()),
            };
            return Err(Refusal::usage(format!("{}: {why}", name.word())).hint(hint).into());
        };
        let gone = self.terminal.gone();
        // The slow files of one operator must not keep out those of others.
        let _turn = tokio::select! {
            turn = self.desk.turns.uploads.take(&self.operator) => turn,
            () = gone.cancelled() => return Err(Ended::Gone),
        };
        let received = tokio::select! {
            // What was sent before the end of the connection may be the whole file.
            biased;
            received = self.desk.artifacts.receive(limits, &mut pieces, None) => received,
            () = gone.cancelled() => return Err(Ended::Gone),
        };
        Ok(received.map_err(|trouble| refused(&name.word(), &trouble, &name.word()))?)
    }

    async fn fetched(&mut self, param: &str, origin: &ArtifactOrigin, limits: Limits) -> Result<Kept, Ended> {
        self.terminal.err(&format!("{param}: fetching {}\n", origin.shown_url())).await?;
        let bounds =
            FetchBounds { max_size: limits.max_size, link_local: self.config.settings.artifacts.link_local };
        let (to, mut pieces) = mpsc::channel::<Piece>(WAITING_PIECES);
        let fetching = self.desk.fetcher.fetch(&origin.url, bounds, to);
        // The pieces are dropped with an error of the receiver, so that the fetch ends, too.
        let (artifacts, sha256) = (self.desk.artifacts.clone(), origin.sha256.clone());
        let receiving = async move {
            let received = artifacts.receive(limits, &mut pieces, Some(&sha256)).await;
            drop(pieces);
            received
        };
        let gone = self.terminal.gone();
        let (fetched, received) = tokio::select! {
            both = async { tokio::join!(fetching, receiving) } => both,
            () = gone.cancelled() => return Err(Ended::Gone),
        };
        // The receiver has the cause, unless the fetch was cut off.
        if let Err(why) = fetched
            && matches!(received, Ok(_) | Err(Trouble::Cut | Trouble::Empty))
        {
            let why = format!("{param}: {}: {why}", origin.shown_url());
            let hint = match origin.fixed {
                true => "try: again, or see what the server says".to_string(),
                false => format!("try: again, or {param}=- with the file on standard input"),
            };
            return Err(Refusal::new(Cause::Unreachable, why).hint(hint).into());
        }
        Ok(received.map_err(|trouble| {
            refused(&format!("{param}: {}", origin.shown_url()), &trouble, &format!("{param}=-"))
        })?)
    }

    /// A command that is no task, with the file on standard input by its content.
    async fn with_own_file(&mut self, granted: Granted) -> Result<Granted, Ended> {
        if !granted.command().takes_own_file() {
            return Ok(granted);
        }
        let by = |sha256: &str| Params::from([(OWN_FILE.to_string(), format!("sha256:{sha256}"))]);
        let expected = granted.clone().with_artifacts(by(AWAITED)).command().clone();
        let inventory = self.visible(&granted).await?;
        self.plan_expecting(&inventory, &expected, vec![AWAITED.into()]).await??;
        let is_script = matches!(granted.command(), Command::Run(_));
        let limits = self.limits();
        let most = if is_script { limits.max_size.min(SCRIPT_LIMIT_BYTES) } else { limits.max_size };
        self.sweep(limits).await?;
        let incoming = if is_script { Incoming::Script } else { Incoming::Copy };
        let kept = self.received(&incoming, Limits { max_size: most, ..limits }).await?;
        if is_script {
            self.may_be_script(&kept.sha256).await?;
        }
        Ok(granted.with_artifacts(by(&kept.sha256)))
    }

    async fn may_be_script(&self, sha256: &str) -> Result<(), Ended> {
        let root = self.desk.artifacts.folder().to_path_buf();
        let kept =
            PlannedFile { root, path: sha256.into(), sha256: sha256.into(), name: artifact_name(sha256) };
        let file = kept.open().await.map_err(Refusal::internal)?;
        let unread = |error: std::io::Error| Refusal::internal(format!("{}: {error}", kept.name));
        let bytes = file.whole(SCRIPT_LIMIT_BYTES).await.map_err(unread)?;
        readable(&bytes).map_err(|why| Refusal::usage(format!("--script: {why}")))?;
        Ok(())
    }

    fn limits(&self) -> Limits {
        let settings = &self.config.settings.artifacts;
        Limits {
            max_size: settings.max_size,
            max_total: settings.max_total,
            reserve: RESERVE_BYTES,
            idle: settings.idle,
            max_time: settings.max_time,
        }
    }

    /// Removes files that are no longer needed.
    async fn sweep(&self, limits: Limits) -> Result<(), Refusal> {
        let needed = self.desk.engine.needed_artifacts().await?;
        let (artifacts, keep) = (self.desk.artifacts.clone(), self.config.settings.artifacts.keep);
        let now = SystemTime::from(self.desk.clock.now());
        let sweeping = tokio::task::spawn_blocking(move || artifacts.sweep(&needed, now, keep, limits));
        sweeping.await.map_err(|error| Refusal::internal(error.to_string()))
    }
}

/// What a file on standard input is for.
enum Incoming<'a> {
    /// A parameter of a task.
    Param(&'a str),
    Script,
    Copy,
}

impl Incoming<'_> {
    /// The word of the line that takes the file.
    fn word(&self) -> String {
        match self {
            Incoming::Param(param) => format!("{param}=-"),
            Incoming::Script => "--script".into(),
            Incoming::Copy => "copy".into(),
        }
    }

    fn how_to_bring(&self) -> String {
        match self {
            Incoming::Param(param) => {
                format!("try: the file as the body of the request, or {param}=sha256:HEX")
            }
            Incoming::Script | Incoming::Copy => "try: the file as the body of the request".into(),
        }
    }
}

/// Why a file was not received, and what to do.
fn refused(what: &str, trouble: &Trouble, word: &str) -> Refusal {
    let (cause, why, hint) = match trouble {
        Trouble::Empty => (
            Cause::Usage,
            "no file came in: the input is empty".into(),
            format!("try: ssh rollcall ... {word} <FILE"),
        ),
        Trouble::Cut => (
            Cause::Failed,
            "the input was cut off, and nothing of it is kept".into(),
            "try: the same again".into(),
        ),
        Trouble::Stalled(idle) => (
            Cause::Failed,
            format!("nothing came in for {} s, and nothing of it is kept", idle.as_secs()),
            "try: a faster way, or a longer `idle` of [artifacts] in rollcall.toml".into(),
        ),
        Trouble::TooSlow(most) => (
            Cause::Failed,
            format!("it did not arrive within {} s as a whole, and nothing of it is kept", most.as_secs()),
            "try: a faster way, or a longer `max_time` of [artifacts] in rollcall.toml".into(),
        ),
        Trouble::TooLarge(most) => (
            Cause::Rule,
            format!("the file has more than {}, and nothing of it is kept", size_text(*most)),
            match *most {
                SCRIPT_LIMIT_BYTES => "try: a task with a step `script`, or `copy` and then `run`".into(),
                _ => "see: `max_size` of [artifacts] in rollcall.toml".into(),
            },
        ),
        Trouble::Full(most) => (
            Cause::Rule,
            format!(
                "all artifacts together would have more than {}, and this one is not kept",
                size_text(*most)
            ),
            "try: later, when older ones have gone; see `max_total` of [artifacts] in rollcall.toml".into(),
        ),
        Trouble::Other { wanted, found } => (
            Cause::Rule,
            format!(
                "the SHA-256 of the file is {found}, and the task expects {wanted}; nothing of it is kept"
            ),
            "try: the right `sha256` in tasks/".into(),
        ),
        Trouble::NoRoom(free) => (
            Cause::Failed,
            format!("the disk of the daemon has no room for it ({} MiB free)", free >> 20),
            "try: remove files there, beside the store".into(),
        ),
        Trouble::Crowded => {
            (Cause::Busy, "too many files are on their way".into(), "try: again, when one has arrived".into())
        }
        Trouble::Disk(why) => {
            (Cause::Internal, format!("it cannot be kept: {why}"), "see: `artifacts` beside the store".into())
        }
    };
    Refusal::new(cause, format!("{what}: {why}")).hint(hint)
}
