//! User certificates, `from`, `expiry-time` and revocation, with plain ssh and ssh-keygen.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use jiff::ToSpan;
use rollcall::daemon::SystemClock;
use rollcall::port::Clock;
use russh::keys::{load_openssh_certificate, load_secret_key};
use tokio::process::Command;

use crate::support::client::Client;
use crate::support::daemon::spawn_logged;
use crate::support::site::{Answer, Site, answer_of};
use crate::support::{DEADLINE, eventually, keygen, read, write};

fn run(program: &str, args: &[&str], dir: &std::path::Path) {
    let output = std::process::Command::new(program).current_dir(dir).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Signs the key of `who` anew: `options` are those of ssh-keygen. The certificate is `who-cert.pub`.
fn sign(site: &Site, ca: &str, who: &str, options: &[&str]) {
    let public = format!("{who}.pub");
    run("ssh-keygen", &[&["-q", "-s", ca][..], options, &[&public]].concat(), site.dir.path());
}

/// A site that trusts the key `ca` for the principals deploy and admin, and knows nothing of the key `cat`.
async fn site_with_ca() -> Site {
    let site = Site::without_daemon(1).await;
    for name in ["ca", "other-ca", "cat"] {
        keygen(&site.dir.path().join(name), name);
    }
    let ca = read(&site.dir.path().join("ca.pub"));
    add_line(&site, &format!("cert-authority,principals=\"deploy,ci\",role=\"operator\" {ca}"));
    add_line(&site, &format!("cert-authority,principals=\"admin\",role=\"admin\" {ca}"));
    site
}

fn add_line(site: &Site, line: &str) {
    let operators = site.config.join("operators");
    write(&operators, &(read(&operators).trim_end().to_string() + "\n" + line.trim_end() + "\n"));
}

/// `ssh` with the certificate beside the key.
fn ssh_as(site: &Site, port: u16, (who, user): (&str, &str), line: &str) -> Command {
    let key: PathBuf = site.dir.path().join(who);
    let mut command = Command::new("ssh");
    command
        .args(["-F", "none", "-p", &port.to_string(), "-i"])
        .arg(&key)
        .args(["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
        .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
        .args([&format!("{user}@127.0.0.1"), line])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn ask_as(site: &Site, port: u16, who: (&str, &str), line: &str) -> Answer {
    answer_of(ssh_as(site, port, who, line)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_logs_in_by_every_rule_or_not_at_all() {
    let site = site_with_ca().await;
    run("ssh-keygen", &["-q", "-t", "rsa", "-b", "3072", "-N", "", "-f", "rsa-ca"], site.dir.path());
    run("ssh-keygen", &["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "short"], site.dir.path());
    let rsa_ca = read(&site.dir.path().join("rsa-ca.pub"));
    add_line(&site, &format!("cert-authority,principals=\"deploy\" {}", rsa_ca.trim()));
    write(&site.config.join("revoked"), "# lost\nserial: 666\nid: eve\n");
    let (_daemon, port, log) = spawn_logged(&site, "info,russh=warn").await;
    let valid: &[&str] = &["-I", "cat", "-z", "7", "-n", "deploy", "-V", "-1m:+1h"];
    let table: &[(&str, &str, &[&str], &str)] = &[
        ("wrong CA", "other-ca", valid, "which is no `cert-authority` in `operators`"),
        (
            "expired",
            "ca",
            &["-I", "cat", "-n", "deploy", "-V", "-2h:-1h"],
            "Certificate is expired or not yet valid",
        ),
        (
            "not yet valid",
            "ca",
            &["-I", "cat", "-n", "deploy", "-V", "+1h:+2h"],
            "Certificate is expired or not yet valid",
        ),
        ("no principals", "ca", &["-I", "cat"], "the certificate has no principals"),
        (
            "wrong principal",
            "ca",
            &["-I", "cat", "-n", "root"],
            "no principal of the certificate is in `principals`",
        ),
        (
            "unknown option",
            "ca",
            &["-I", "cat", "-n", "deploy", "-O", "critical:x@example.com=y"],
            "the critical option `x@example.com` is not known here",
        ),
        (
            "verify-required",
            "ca",
            &["-I", "cat", "-n", "deploy", "-O", "verify-required"],
            "the critical option `verify-required` is not known here",
        ),
        (
            "elsewhere",
            "ca",
            &["-I", "cat", "-n", "deploy", "-O", "source-address=192.0.2.0/24"],
            "only from 192.0.2.0/24 (source-address)",
        ),
        ("revoked serial", "ca", &["-I", "cat", "-n", "deploy", "-z", "666"], "the certificate is revoked"),
        ("revoked key id", "ca", &["-I", "eve", "-n", "deploy"], "the certificate is revoked"),
        (
            "SHA-1 of the CA",
            "rsa-ca",
            &["-I", "sha", "-n", "deploy", "-t", "ssh-rsa"],
            "too weak: its CA: signs with ssh-rsa, which is SHA-1",
        ),
    ];
    for (what, ca, options, rule) in table {
        sign(&site, ca, "cat", options);
        let refused = ask_as(&site, port, ("cat", "deploy"), "whoami").await.expect(255);
        assert!(refused.err.contains("Permission denied"), "{what}: {}", refused.err);
        eventually(what, async || log.text().contains(rule)).await;
    }
    // A short key in a certificate is as weak as one in `operators`.
    sign(&site, "ca", "short", valid);
    ask_as(&site, port, ("short", "deploy"), "whoami").await.expect(255);
    eventually("a short key", async || log.text().contains("too weak: an RSA key of 2048 bits")).await;

    sign(&site, "rsa-ca", "cat", &["-I", "cat", "-n", "deploy", "-t", "rsa-sha2-512"]);
    let viewer = ask_as(&site, port, ("cat", "deploy"), "whoami").await.expect(0);
    assert!(viewer.out.contains("role viewer"), "{}", viewer.out);
    sign(
        &site,
        "ca",
        "cat",
        &["-I", "cat", "-z", "7", "-n", "deploy", "-V", "-1m:+1h", "-O", "source-address=127.0.0.0/8"],
    );
    let valid = ask_as(&site, port, ("cat", "deploy"), "whoami").await.expect(0);
    assert!(
        valid.out.starts_with("cat (certificate \"cat\", serial 7, principal deploy, of SHA256:"),
        "{}",
        valid.out
    );
    assert!(valid.out.contains("role operator") && valid.out.contains("until:    20"), "{}", valid.out);
}

/// Plain ssh does not even offer a certificate for hosts.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_a_host_is_none_for_an_operator() {
    let site = site_with_ca().await;
    let (_daemon, port, log) = spawn_logged(&site, "info,russh=warn").await;
    let log_in = async |options: &[&str]| {
        sign(&site, "ca", "cat", options);
        let at = |name: &str| site.dir.path().join(name);
        let certificate = load_openssh_certificate(at("cat-cert.pub")).unwrap();
        let key = Arc::new(load_secret_key(at("cat"), None).unwrap());
        let mut client = Client::connect(port).await;
        client.handle.authenticate_openssh_cert("deploy", key, certificate).await.unwrap().success()
    };
    assert!(log_in(&["-I", "cat", "-n", "deploy"]).await);
    assert!(!log_in(&["-h", "-I", "cat", "-n", "deploy"]).await);
    eventually("the reason", async || log.text().contains("a certificate for a host, not for a user")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_narrows_what_its_role_may_do() {
    let mut site = site_with_ca().await;
    site.start_daemon().await;
    let port = site.port();
    sign(&site, "ca", "cat", &["-I", "cat", "-n", "deploy,admin"]);
    for (user, role) in [("cat", "operator"), ("deploy", "operator"), ("admin", "admin")] {
        let about = ask_as(&site, port, ("cat", user), "whoami").await.expect(0);
        assert!(about.out.contains(&format!("role {role}")), "{user}: {}", about.out);
    }
    ask_as(&site, port, ("cat", "deploy"), "reload").await.expect(77);
    ask_as(&site, port, ("cat", "admin"), "reload").await.expect(0);

    sign(&site, "ca", "cat", &["-I", "ci", "-n", "deploy", "-O", "force-command=run web01 -- echo forced"]);
    let forced = ask_as(&site, port, ("cat", "x"), "run web01 -- echo forced").await.expect(0);
    assert_eq!(forced.out, "forced\n");
    for line in ["run web01 -- id", "whoami", "runs", "help"] {
        let refused = ask_as(&site, port, ("cat", "x"), line).await.expect(77);
        let why =
            "rollcall: your certificate allows one command only (force-command): run web01 -- echo forced\n";
        assert_eq!(refused.err, why, "{line}");
    }
    // It does not widen: a viewer's certificate cannot force what a viewer may not do.
    let ca = read(&site.dir.path().join("other-ca.pub"));
    add_line(&site, &format!("cert-authority,principals=\"look\" {}", ca.trim()));
    site.ask("reload").await.expect(0);
    sign(
        &site,
        "other-ca",
        "cat",
        &["-I", "ci", "-n", "look", "-O", "force-command=run web01 -- echo forced"],
    );
    let refused = ask_as(&site, port, ("cat", "look"), "run web01 -- echo forced").await.expect(77);
    assert!(
        refused.err.contains("this needs the role operator, and ci has the role viewer"),
        "{}",
        refused.err
    );
}

/// A master connection, and its socket.
async fn open_session(site: &Site, who: (&str, &str)) -> (tokio::process::Child, PathBuf) {
    let socket = site.dir.path().join("master");
    let mut master = Command::new("ssh");
    master
        .args(["-F", "none", "-M", "-N", "-S"])
        .arg(&socket)
        .args(["-p", &site.port().to_string(), "-i"])
        .arg(site.dir.path().join(who.0))
        .args(["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
        .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
        .arg(format!("{}@127.0.0.1", who.1))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let master = master.spawn().unwrap();
    eventually("the connection is open", async || socket.exists()).await;
    let about = on_master(&socket, "whoami").await;
    assert_eq!(about.status, 0, "{about:?}");
    (master, socket)
}

async fn on_master(socket: &std::path::Path, line: &str) -> Answer {
    let mut command = Command::new("ssh");
    command
        .args(["-F", "none", "-S"])
        .arg(socket)
        .args(["-o", "ProxyCommand=false", "x", line])
        .stdin(Stdio::null());
    answer_of(command).await
}

/// The connection ends by itself, and carries no further command.
async fn is_ended(master: tokio::process::Child, socket: &std::path::Path) {
    let output = tokio::time::timeout(DEADLINE, master.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    assert_eq!(on_master(socket, "whoami").await.status, 255);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_revoked_by_a_list_of_ssh_keygen_loses_its_session() {
    let mut site = site_with_ca().await;
    site.start_daemon().await;
    sign(&site, "ca", "cat", &["-I", "cat", "-n", "deploy", "-z", "42"]);
    let (master, socket) = open_session(&site, ("cat", "deploy")).await;
    write(&site.dir.path().join("spec"), "serial: 40-45\n");
    run("ssh-keygen", &["-q", "-k", "-f", "config/revoked", "-s", "ca.pub", "spec"], site.dir.path());
    site.ask("reload").await.expect(0);
    is_ended(master, &socket).await;
    ask_as(&site, site.port(), ("cat", "deploy"), "whoami").await.expect(255);
    sign(&site, "ca", "cat", &["-I", "cat", "-n", "deploy", "-z", "46"]);
    ask_as(&site, site.port(), ("cat", "deploy"), "whoami").await.expect(0);
    // A list that is cut short replaces nothing.
    let list = std::fs::read(site.config.join("revoked")).unwrap();
    std::fs::write(site.config.join("revoked"), &list[..list.len() - 3]).unwrap();
    let wrong = site.ask("reload").await.expect(64);
    assert!(wrong.err.contains("the list (KRL) cannot be used: it ends too early"), "{}", wrong.err);
    // The plain key of an operator.
    write(&site.config.join("revoked"), &read(&site.dir.path().join("bob.pub")));
    site.ask("reload").await.expect(0);
    site.ask_as("bob", "whoami").await.expect(255);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_expires_loses_its_session_and_its_run_goes_on() {
    let mut site = site_with_ca().await;
    site.start_daemon().await;
    let end = SystemClock.now() + 20.seconds();
    let until = end.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y%m%d%H%M%S").to_string();
    sign(&site, "ca", "cat", &["-I", "cat", "-n", "deploy", "-V", &format!("-1m:{until}")]);
    let (master, socket) = open_session(&site, ("cat", "deploy")).await;
    let mut work = ssh_as(
        &site,
        site.port(),
        ("cat", "deploy"),
        "run web01 -- touch at-work; until [ -e go ]; do sleep 0.05; done; touch done",
    );
    let work = work.spawn().unwrap();
    is_ended(master, &socket).await;
    let output = tokio::time::timeout(DEADLINE, work.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.ends_with("rollcall: your certificate has expired\n"), "{said}");
    assert!(SystemClock.now() >= end, "not before its end");
    let runs = site.ask("runs").await.expect(0);
    assert!(runs.out.contains("run web01"), "the run goes on: {}", runs.out);
    site.ask("cancel 1 --now").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_holds_from_its_addresses_and_until_its_time() {
    let site = Site::start(1).await;
    let port = site.port();
    let set = async |options: &str| {
        let operators = site.config.join("operators");
        let text = read(&operators);
        let changed = |line: &str| match line.ends_with(" vic") {
            true => format!("{options}{}\n", &line[line.find("ssh-ed25519").unwrap()..]),
            false => format!("{line}\n"),
        };
        write(&operators, &text.lines().map(changed).collect::<String>());
        site.ask("reload").await.expect(0);
    };
    for (options, status) in [
        ("from=\"127.0.0.0/8\" ", 0),
        ("from=\"127.0.0.0/8,!127.0.0.1\" ", 255),
        ("from=\"192.0.2.1,::1\" ", 255),
        ("expiry-time=\"20200101Z\" ", 255),
        ("expiry-time=\"209901010000Z\" ", 0),
    ] {
        set(options).await;
        ask_as(&site, port, ("vic", "x"), "whoami").await.expect(status);
    }
    // Open sessions end by themselves.
    set("").await;
    let (master, socket) = open_session(&site, ("vic", "x")).await;
    let end = SystemClock.now() + 5.seconds();
    set(&format!("expiry-time=\"{}Z\" ", end.strftime("%Y%m%d%H%M%S"))).await;
    is_ended(master, &socket).await;
    assert!(end.as_second() <= SystemClock.now().as_second(), "not before its end");
    ask_as(&site, port, ("vic", "x"), "whoami").await.expect(255);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_operator_is_one_person_whatever_the_key() {
    let mut site = site_with_ca().await;
    let settings = site.config.join("rollcall.toml");
    let role = "[roles.careful]\nincludes = \"operator\"\nneeds_approval = true\n";
    write(&settings, &(read(&settings) + role));
    for (file, role) in [("first", "careful"), ("second", "operator")] {
        keygen(&site.dir.path().join(file), "cat");
        let key = read(&site.dir.path().join(format!("{file}.pub")));
        add_line(&site, &format!("role=\"{role}\" {key}"));
    }
    site.start_daemon().await;
    let port = site.port();
    sign(&site, "ca", "cat", &["-I", "cat", "-n", "deploy"]);
    let run = ssh_as(&site, port, ("first", "x"), "run web01 -- true").spawn().unwrap();
    eventually("it waits", async || site.ask("show 1").await.out.contains("to go on: approve 1")).await;
    for own in ["first", "second", "cat"] {
        let refused = ask_as(&site, port, (own, "x"), "approve 1").await.expect(77);
        assert!(refused.err.contains("cat asked for run 1"), "{own}: {}", refused.err);
    }
    site.ask_as("bob", "approve 1").await.expect(0);
    let output = run.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
}
