//! Ad-hoc work on hosts: limits, scripts, comparisons.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::site::{Answer, Site, with_input};
use crate::support::{DEADLINE, eventually, write};

async fn with_file(site: &Site, line: &str, file: &[u8]) -> Answer {
    with_input(site.ssh("ann", line), file).await
}

/// The files with this text where hosts keep the state of steps, and temporary files.
async fn files_with(text: &str) -> String {
    let places = "grep -rlsF -- \"$0\" ~/.local/state/rollcall /var/tmp /dev/shm; true";
    let output = Command::new("sh").args(["-c", places, text]).output().await.unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_has_the_limits_that_it_was_given() {
    let site = Site::start(3).await;
    let answer = site.ask("run web01 --timeout 200ms -- sleep 600").await;
    assert!([2, 3].contains(&answer.status), "{answer:#?}");
    let said = ["took longer than 200ms and was ended", "it may still run"];
    assert!(said.iter().any(|said| answer.err.contains(said)), "{answer:#?}");
    // One host after the other: each takes the lock and finds it free.
    let lock = site.dir.path().join("lock");
    let line = format!("run web --fanout 1 -- mkdir {0} && sleep 0.1 && rmdir {0}", lock.display());
    site.ask(&line).await.expect(0);
    // The login of the test hosts has no right to become root, and the host says so.
    let answer = site.ask("run web01 --sudo --timeout 1m -- id").await.expect(2);
    let why =
        "web01: step `command`: exit status 1: sudo: a password is required; sudo wants a password; try: ";
    assert!(answer.out.is_empty() && answer.err.contains(why), "{answer:#?}");
    // The same limits when it is repeated.
    let runs = site.ask("runs --last 1 --json").await.expect(0).out;
    let run: Value = serde_json::from_str(runs.lines().next().unwrap()).unwrap();
    let again = site.ask(&format!("retry {}", run["run"])).await.expect(2);
    assert!(again.err.contains(why), "{again:#?}");
    let last = site.ask("last run").await.expect(0).out;
    assert!(last.contains("--timeout 60s --sudo -- id"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_from_standard_input_runs_on_all_hosts_and_leaves_no_file() {
    let site = Site::start(2).await;
    let script =
        "#!/usr/bin/env python3\nimport sys\nprint(sys.argv[1:], repr(sys.stdin.read()))\nsys.exit(7)\n";
    let answer = with_file(&site, "run web --script -- 'a  b' c", script.as_bytes()).await.expect(2);
    let mut lines: Vec<&str> = answer.out.lines().collect();
    lines.sort();
    assert_eq!(lines, ["web01: ['a  b', 'c'] ''", "web02: ['a  b', 'c'] ''"], "{answer:#?}");
    assert!(answer.err.contains("web[01-02]: step `command`: exit status 7"), "{answer:#?}");
    // It is kept, so it can be repeated.
    assert!(site.ask("retry 1").await.expect(2).out.contains("web02: ['a  b', 'c'] ''"));
    // Without `#!` it is for sh.
    let answer = with_file(&site, "run web01 --script", b"echo \"$0\"").await.expect(0);
    assert_eq!(answer.out, "/dev/fd/3\n");
    for (file, why) in [
        (&b""[..], "--script: no file came in"),
        (b"\x7fELF\xff", "--script: the script is not UTF-8"),
        (b"#!/bin/sh\r\n", "carriage return"),
        (&[b'#'; 300_000], "has more than 256 KiB"),
    ] {
        let answer = with_file(&site, "run web01 --script", file).await;
        assert!(answer.status != 0 && answer.err.contains(why), "{why}: {answer:#?}");
    }
    let answer = with_file(&site, "run web01 --script", b"#!/nonesuch\n").await.expect(2);
    assert!(answer.err.contains("/nonesuch is not on the host"), "{answer:#?}");
    // A client that leaves in the middle of the script starts nothing.
    let mut child = site.ssh("ann", "run web01 --script").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"touch /tmp/never-").await.unwrap();
    child.kill().await.unwrap();
    let runs = site.ask("runs").await.expect(0).out;
    assert_eq!(runs.matches("--script").count(), 4, "{runs}");
    // Nothing of a script is on a host while it runs, nor when its connection was cut.
    let (at, mark) = (site.dir.path().join("begun"), format!("mark-of-{}", site.port()));
    let script = format!(
        "# {mark}\ntouch {}; until [ -e {}/go ]; do sleep 0.05; done\n",
        at.display(),
        site.dir.path().display()
    );
    let mut child = site.ssh("ann", "run web01 --script").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).await.unwrap();
    eventually("the script runs", async || at.exists()).await;
    assert_eq!(files_with(&mark).await, "");
    site.hosts[0].sshd.cut();
    assert_eq!(timeout(DEADLINE, child.wait()).await.expect("an end").unwrap().code(), Some(3));
    assert_eq!(files_with(&mark).await, "");
    write(&site.dir.path().join("go"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_compared_with_the_most_common_one() {
    let site = Site::start(3).await;
    let conf = |host: usize| site.dir.path().join(format!("conf-{}", site.hosts[host].sshd.address.port()));
    let shown = format!("cat {}/conf-${{SSH_CONNECTION##* }}", site.dir.path().display());
    (0..3).for_each(|host| write(&conf(host), "a\nb\nc\nd\ne\n"));
    let rule = "---------------";
    let common = format!("{rule}\nweb[01-03] (3)\n{rule}\n  a\n  b\n  c\n  d\n  e\n");
    assert_eq!(site.ask(&format!("run web --diff -- {shown}")).await.expect(0).out, common);
    write(&conf(1), "a\nb\nX\nd\ne\n");
    let answer = site.ask(&format!("run web --diff -- {shown}")).await.expect(0);
    let common = format!("{rule}\nweb[01,03] (2)\n{rule}\n  a\n  b\n  c\n  d\n  e\n");
    let other = format!(
        "{rule}\nweb02: differs from web[01,03]\n{rule}\n  @@ -2,3 +2,3 @@\n   b\n  -c\n  +X\n   d\n"
    );
    assert_eq!(answer.out, common + &other);
    // A host that failed, or printed more than is kept, equals none.
    let answer =
        site.ask(&format!("run web --diff -- {shown}; test -e {}", conf(0).display())).await.expect(0);
    assert!(answer.out.contains("web02: differs"), "{answer:#?}");
    let fails = format!(
        "run web --diff -- echo same; [ ${{SSH_CONNECTION##* }} != {} ]",
        site.hosts[2].sshd.address.port()
    );
    let answer = site.ask(&fails).await.expect(2);
    assert!(
        answer.out.starts_with(&format!(
            "{rule}\nweb[01-02] (2)\n{rule}\n  same\n{rule}\nweb03: step `command`: exit status 1"
        )),
        "{answer:#?}"
    );
    let long = format!(
        "run web --diff -- echo same; [ ${{SSH_CONNECTION##* }} != {} ] || seq 100000",
        site.hosts[0].sshd.address.port()
    );
    let answer = site.ask(&long).await.expect(2);
    assert!(
        answer.out.contains("web01: not compared: ")
            && answer.out.contains("bytes of its output are left out"),
        "{answer:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_says_by_what_it_knows_and_what_was_never_tried_is_unknown() {
    let site = Site::start(3).await;
    let answer = site.ask("hosts web --unreachable").await.expect(0);
    let untried = "no contact has failed\nunknown, not tried at this address since rollcall has started: web[01-03] (3); try: ping web[01-03]\n";
    assert_eq!(answer.out, untried);
    let first = site.ask("ping web01 --json").await.expect(0).out;
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!((&first["reachable"], &first["connection"]), (&true.into(), &"new".into()), "{first}");
    assert!(first["connected_ms"].is_number() && first["round_trip_ms"].is_number(), "{first}");
    site.hosts[2].sshd.kill();
    let answer = site.ask("ping web").await.expect(4);
    let lines: Vec<&str> = answer.out.lines().collect();
    let [open, new, gone, how] = lines[..] else { panic!("{answer:#?}") };
    assert!(
        open.starts_with("reachable ") && open.contains("web01") && open.contains("over the open connection"),
        "{open}"
    );
    assert!(
        new.starts_with("reachable ")
            && new.contains("web02")
            && new.contains("over a new connection, made in"),
        "{new}"
    );
    assert!(gone.starts_with("not reachable ") && gone.contains("web03  dial: "), "{gone}");
    assert!(how.ends_with("no command ran there"), "{how}");
    // A connection that was cut is replaced.
    site.hosts[0].sshd.cut();
    let again = site.ask("ping web01").await.expect(0).out;
    assert!(again.contains("over a new connection"), "{again}");
    let listed = site.ask("hosts web --unreachable --json").await.expect(0).out;
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed.len(), 1, "{listed:#?}");
    assert_eq!((&listed[0]["host"], &listed[0]["state"]), (&"web03".into(), &"unreachable".into()));
    assert!(site.ask("hosts web --unreachable").await.expect(0).out.starts_with("web03  since "));
    // A run is a contact, too.
    site.ask("run web02,web03 -- true").await.expect(4);
    assert!(site.ask("hosts web --unreachable").await.expect(0).out.contains("  dial: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_folded_with_those_of_the_inventory() {
    let site = Site::start(3).await;
    for (line, wanted) in [
        ("nodes fold web01 web02 web03 web10 db1", "db1,web[01-03,10]\n"),
        ("nodes expand 'web[01-03,10]'", "web01 web02 web03 web10\n"),
        ("nodes count 'web[01-20]'", "20\n"),
        ("nodes fold '@prod.web!web02,x1'", "web[01,03],x1\n"),
        ("nodes count '@*&@web'", "3\n"),
        ("nodes fold 'a1!a1'", "\n"),
    ] {
        assert_eq!(site.ask(line).await.expect(0).out, wanted, "{line}");
    }
    let answer = with_file(&site, "nodes fold", b"web01\nweb02 web[03-04]\n").await.expect(0);
    assert_eq!(answer.out, "web[01-04]\n");
    let answer = site.ask("nodes fold @nope").await.expect(64);
    assert!(answer.err.contains("no group or host is called `nope`"), "{answer:#?}");
    let json = site.ask("nodes count web01 web02 --json").await.expect(0).out;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["count"], &json["folded"], &json["names"][1]),
        (&2.into(), &"web[01-02]".into(), &"web02".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_copied_to_hosts_and_fetched_from_one() {
    use std::os::unix::fs::PermissionsExt;
    let site = Site::start(2).await;
    let to = |host: usize| site.hosts[host].dir.join("a file");
    let places = |host: usize| site.hosts[host].dir.display().to_string();
    let bytes: Vec<u8> = (0..300_000u32).map(|n| (n * 7 % 251) as u8).collect();
    let line = format!("copy web01 '{}/a file' --mode 640", places(0));
    let answer = with_file(&site, &line, &bytes).await.expect(0);
    assert_eq!(answer.out, "web01 (1): changed, the file is there now\n");
    assert_eq!(std::fs::read(to(0)).unwrap(), bytes);
    assert_eq!(std::fs::metadata(to(0)).unwrap().permissions().mode() & 0o777, 0o640);
    let answer = with_file(&site, &line, &bytes).await.expect(0);
    assert_eq!(answer.out, "web01 (1): unchanged, the file was there\n");
    // Without `--mode`, a secret file stays one.
    let mode =
        |name: &str| std::fs::metadata(site.hosts[0].dir.join(name)).unwrap().permissions().mode() & 0o777;
    with_file(&site, &format!("copy web01 {}/secret --mode 600", places(0)), b"old").await.expect(0);
    for (name, wanted) in [("secret", 0o600), ("new", 0o644)] {
        with_file(&site, &format!("copy web01 {}/{name}", places(0)), b"x").await.expect(0);
        assert_eq!(mode(name), wanted, "{name}");
    }
    // A file is no folder.
    let below = to(0).join("below");
    let answer = with_file(&site, &format!("copy web '{}'", below.display()), b"x").await.expect(2);
    assert!(answer.out.starts_with("web[01-02]: step `copy`: exit status "), "{answer:#?}");
    // It is kept, so it is copied again to those that do not have it.
    std::fs::remove_file(to(0)).unwrap();
    let answer = site.ask("retry 6").await.expect(0);
    assert!(answer.out.contains("changed, the file is there now"), "{answer:#?}");
    assert_eq!(std::fs::read(&below).unwrap(), b"x");
    std::fs::remove_dir_all(to(0)).unwrap();
    std::fs::write(to(0), &bytes).unwrap();

    let mut command = site.ssh("ann", &format!("fetch web01 '{}/a file'", places(0)));
    let output = timeout(DEADLINE, command.stdin(Stdio::null()).output()).await.expect("an end").unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(0), bytes));
    // Nothing of it stays on the machine of the daemon.
    let kept = std::fs::read_dir(site.dir.path().join("downloads")).unwrap();
    assert_eq!(kept.count(), 0);
    std::fs::create_dir(site.hosts[1].dir.join("only")).unwrap();
    for (line, status, why) in [
        ("fetch web01 /nonesuch".to_string(), 2, "/nonesuch is not there"),
        ("fetch web /etc/passwd".into(), 64, "selects 2 hosts, and a file is fetched from one"),
        (format!("fetch web02 {}/only", places(1)), 2, "only is a directory; try: fetch of a file in it"),
        ("fetch web01 /etc/passwd --json".into(), 64, "not as JSON"),
        ("copy web01 /tmp/x".into(), 64, "copy: no file came in"),
    ] {
        let answer = with_file(&site, &line, b"").await.expect(status);
        assert!(answer.out.is_empty() && answer.err.contains(why), "{line}: {answer:#?}");
    }
    for line in ["fetch web01 /etc/passwd", "copy web01 /tmp/never"] {
        let answer = site.ask_as("vic", line).await.expect(77);
        assert!(answer.err.contains("this needs the role operator"), "{answer:#?}");
    }
    let last = site.ask("last copy").await.expect(0).out;
    assert!(last.contains("retry 6: copy web"), "{last}");
}
