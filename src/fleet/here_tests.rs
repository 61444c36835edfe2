use std::time::Duration;

use super::*;
use crate::domain::value::secret::Masks;
use crate::port::{Input, Program};

/// A fleet that must not be used.
struct Nobody;

#[async_trait]
impl Remote for Nobody {
    async fn exec(&self, host: &Endpoint, _: Exec) -> ExecReport {
        panic!("{} was asked", host.name)
    }

    async fn open(&self, host: &Endpoint, _: &str, _: u16) -> Result<Box<dyn Stream>, OpenError> {
        panic!("{} was asked", host.name)
    }

    async fn open_unix(&self, host: &Endpoint, _: &str) -> Result<Box<dyn Stream>, OpenError> {
        panic!("{} was asked", host.name)
    }

    async fn host_key(&self, host: &Endpoint) -> Result<HostKey, String> {
        panic!("{} was asked", host.name)
    }

    async fn accept_host_key(&self, host: &Endpoint, _: &str) -> Result<(), String> {
        panic!("{} was asked", host.name)
    }
}

fn here(allowed: bool) -> Here {
    Here { fleet: Arc::new(Nobody), allowed: Box::new(move || allowed), state: "/nowhere".into() }
}

fn request(script: &str) -> Exec {
    Exec {
        program: Program::Script(script.into()),
        sudo: Default::default(),
        input: Input::None,
        timeout: Duration::from_secs(60),
        cancel: CancellationToken::new(),
        lines: None,
        fresh: false,
        keep_bytes: 1000,
        masks: Arc::new(Masks::default()),
        sink: None,
        recorder: None,
    }
}

async fn exec(request: Exec) -> (ExecEnd, String, String) {
    let report = here(true).exec(&Endpoint::here(), request).await;
    (report.end, report.stdout.text, report.stderr.text)
}

#[tokio::test]
async fn a_command_reads_prints_and_exits() {
    let input = Input::After(Bytes::from("one\n"), Box::new(Input::Bytes(Bytes::from("two"))));
    let said = exec(Exec { input, ..request("cat; echo oops >&2; exit 3") }).await;
    assert_eq!(said, (ExecEnd::Exited(3), "one\ntwo".into(), "oops\n".into()));
    let (end, out, _) = exec(request("echo $XDG_STATE_HOME; pwd; env | grep -c CARGO; kill -9 $$")).await;
    assert_eq!((end, out.as_str()), (ExecEnd::Signalled("SIGKILL".into()), "/nowhere\n/\n0\n"));
    let (end, out, _) = exec(request("yes | head -c 100000; echo end")).await;
    assert!(end == ExecEnd::Exited(0) && out.len() < 5000 && out.ends_with("end\n"), "{end:?} {out}");
}

#[tokio::test]
async fn what_is_streamed_is_not_kept() {
    let (sender, mut receiver) = mpsc::channel(1);
    let running = tokio::spawn(exec(Exec { sink: Some(sender), ..request("yes | head -c 100000") }));
    let mut bytes = 0;
    while let Some(piece) = receiver.recv().await {
        bytes += piece.len();
    }
    assert_eq!((bytes, running.await.unwrap().0), (100_000, ExecEnd::Exited(0)));
}

#[tokio::test]
async fn what_is_ended_leaves_no_child_behind() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!("sleep 1000 & echo $! >{}; wait", pid.display());
    let timed = exec(Exec { timeout: Duration::from_millis(300), ..request(&script) }).await;
    assert_eq!(timed.0, ExecEnd::TimedOut);
    let stat = format!("/proc/{}/stat", std::fs::read_to_string(&pid).unwrap().trim());
    // The kernel ends the process in its own time, and its parent may not have collected it yet.
    let runs = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
    let mut tries = 0;
    while runs() {
        tries += 1;
        assert!(tries < 1_000, "it still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let cancel = CancellationToken::new();
    let running = tokio::spawn(exec(Exec { cancel: cancel.clone(), ..request("sleep 1000") }));
    cancel.cancel();
    assert_eq!(running.await.unwrap().0, ExecEnd::Cancelled);
}

#[tokio::test]
async fn nothing_is_done_here_unless_it_is_allowed() {
    let report = here(false).exec(&Endpoint::here(), request("echo no")).await;
    let ExecEnd::NotStarted(why) = report.end else { panic!("{:?}", report.end) };
    assert!(why.contains("write allow_local = true in rollcall.toml"), "{why}");
    assert!(matches!(here(false).open(&Endpoint::here(), "127.0.0.1", 1).await, Err(OpenError::Blind(_))));
    assert!(here(true).host_key(&Endpoint::here()).await.is_err());
}
