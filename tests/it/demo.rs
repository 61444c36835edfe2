//! `rollcall demo`, as a newcomer runs it.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::DEADLINE;
use crate::support::site::answer_of;

fn demo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    command.arg("demo").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_shows_a_release_and_a_rollback_without_a_failed_request() {
    let shown = answer_of(demo(&["--once"])).await.expect(0);
    let ends: Vec<&str> = shown.out.lines().filter(|line| line.starts_with("exit status ")).collect();
    let [released, rolled_back] = ends[..] else { panic!("{}", shown.out) };
    assert!(released.starts_with("exit status 0;") && released.ends_with(" and 0 failed"), "{released}");
    assert!(
        rolled_back.starts_with("exit status 2;") && rolled_back.ends_with(" and 0 failed"),
        "{rolled_back}"
    );
    assert!(shown.out.contains("  released  8  web[01-08]\n"), "{}", shown.out);
    assert!(
        shown.out.contains("  rolled-back  1  web01       check `http/serves the release` is critical"),
        "{}",
        shown.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_that_the_demo_prints_work_as_they_stand() {
    let mut demo = demo(&[]).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let mut commands = Vec::new();
    tokio::time::timeout(DEADLINE, async {
        while let Some(line) = lines.next_line().await.unwrap() {
            commands.extend(line.strip_prefix("  ssh -F ").map(|rest| format!("ssh -F {rest}")));
            if line.contains("Ctrl-C here ends it all") {
                return;
            }
        }
        panic!("the demo ended");
    })
    .await
    .unwrap();
    assert_eq!(commands.len(), 8);
    for line in commands {
        let mut command = Command::new("sh");
        command.args(["-c", &line]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let answer = answer_of(command).await;
        assert_eq!(answer.status, 0, "{line}: {answer:#?}");
    }
    let folder = std::env::temp_dir().join(format!("rollcall-demo-{}", demo.id().unwrap()));
    assert!(folder.exists());
    std::process::Command::new("kill").args(["-INT", &demo.id().unwrap().to_string()]).status().unwrap();
    let status = tokio::time::timeout(DEADLINE, demo.wait()).await.unwrap().unwrap();
    assert!(status.success());
    assert!(!folder.exists(), "it cleans up after itself");
}
