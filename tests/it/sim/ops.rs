//! The wrapper, as a simulated host plays it: each operation is begun at most once, goes on when nobody
//! listens, and is forgotten by nobody but a host that dies under it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rollcall::domain::value::expansion::readable;
use rollcall::embedded::behaviour::{CommandEnd, ExecIo};
use rollcall::steps::seal::SealKey;
use russh::Sig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::asked::Call;
use super::host::{Course, Heeds, SimHost};

/// From TERM to KILL.
const GRACE: Duration = Duration::from_secs(5);

/// The rollcall's and the hosts': what it sends to a host to seal with is what it derives itself.
pub fn seals() -> SealKey {
    SealKey::new(b"sim")
}

/// All operations that a host has on record.
#[derive(Default)]
pub struct Ops(Mutex<BTreeMap<String, Arc<Op>>>);

/// One of them.
struct Op {
    /// What it printed and how it ended, once it has.
    end: watch::Sender<Option<(String, String)>>,
    kill: CancellationToken,
}

impl Ops {
    /// The operation, and whether it was not there before.
    fn claim(&self, name: &str) -> (Arc<Op>, bool) {
        let mut ops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = !ops.contains_key(name);
        let empty = || Arc::new(Op { end: watch::Sender::new(None), kill: CancellationToken::new() });
        (ops.entry(name.into()).or_insert_with(empty).clone(), new)
    }

    fn has(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }
}

/// Answers one question.
pub async fn answer(
    host: &SimHost,
    call: &Call,
    io: &mut ExecIo,
    signals: &mut mpsc::Receiver<Sig>,
) -> CommandEnd {
    let mut script = String::new();
    if call.verb == "sweep" {
        return say(io, call, "", "ready").await;
    }
    if call.verb == "start" {
        let end = format!("\n# rollcall end {}\n", call.operation);
        let read = io.stdin.read_to_string(&mut script).await;
        if read.is_err() || !script.ends_with(&end) {
            return CommandEnd::Exit(75);
        }
        script.truncate(script.len() - end.len());
        let Some((_seal, rest)) = script.split_once('\n') else { return CommandEnd::Exit(75) };
        script = readable(rest);
    }
    if !host.ops.has(&call.operation) && host.restarted_within(call.age) {
        return say(io, call, "", "lost the host restarted, and has no record of it").await;
    }
    let (op, new) = host.ops.claim(&call.operation);
    match call.verb.as_str() {
        "start" if new => {
            let (host, call, op) = (host.me(), call.clone(), op.clone());
            tokio::spawn(async move { run(&host, &call, &script, &op).await });
        }
        _ if new => _ = op.end.send_replace(Some((String::new(), "absent it was never begun".into()))),
        "kill" => op.kill.cancel(),
        _ => {}
    }
    if call.verb == "start" && op.end.borrow().is_none() {
        // A connection that is gone is no trouble of the operation.
        let _ = io.stderr.write_all(format!("rollcall {} begun\n", call.operation).as_bytes()).await;
    }
    follow(call, &op, io, signals).await
}

/// Waits for the end, unless whoever asked goes, or is told to.
async fn follow(call: &Call, op: &Op, io: &mut ExecIo, signals: &mut mpsc::Receiver<Sig>) -> CommandEnd {
    let mut end = op.end.subscribe();
    let ended = tokio::select! {
        biased;
        signal = signals.recv() => return signal.map_or(CommandEnd::Exit(0), CommandEnd::Signal),
        ended = end.wait_for(Option::is_some) => ended.ok().and_then(|ended| ended.clone()),
    };
    let (out, how) = ended.expect("an end");
    say(io, call, &out, &how).await
}

async fn say(io: &mut ExecIo, call: &Call, out: &str, answer: &str) -> CommandEnd {
    let proof = match answer.split(' ').next() {
        Some("exit" | "timeout" | "cancelled") => {
            format!(" {}", seals().of(&call.operation).proof(answer))
        }
        _ => String::new(),
    };
    // A connection that is gone is no trouble of the operation.
    let _ = io.stdout.write_all(out.as_bytes()).await;
    let _ = io.stderr.write_all(format!("rollcall {} {answer}{proof}\n", call.operation).as_bytes()).await;
    CommandEnd::Exit(0)
}

/// Carries an operation to its end, whoever listens.
async fn run(host: &SimHost, call: &Call, script: &str, op: &Op) {
    let operation = host.begins(&call.operation, script);
    let course = host.course(&call.operation, script);
    let how = tokio::select! {
        biased;
        () = host.fate.death() => "lost the host restarted while it ran".to_string(),
        how = process(&course, call.limit, &op.kill) => how,
    };
    let out = if how == "exit 0" { host.takes_effect(operation.as_deref(), script) } else { String::new() };
    op.end.send_replace(Some((out, how)));
}

/// A process that takes its time, unless it is ended before.
async fn process(course: &Course, limit: Duration, kill: &CancellationToken) -> String {
    let (over, heeds, status) = match course {
        Course::Goes(time) => (Instant::now() + *time, Heeds::All, 0),
        Course::Fails(time) => (Instant::now() + *time, Heeds::All, 1),
        Course::Hangs(time, heeds) => (Instant::now() + *time, *heeds, 0),
    };
    let why = tokio::select! {
        biased;
        () = kill.cancelled() => "cancelled",
        () = sleep_until(over) => return format!("exit {status}"),
        () = sleep(limit) => "timeout",
    };
    match heeds {
        Heeds::All => {}
        Heeds::Kill => sleep_until(over.min(Instant::now() + GRACE)).await,
        Heeds::Nothing => sleep_until(over).await,
    }
    why.into()
}
