//! Logins with security keys, by the real client of OpenSSH. The security key is one in software: `tests/security_key`.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::support::site::{Answer, Site, answer_of};
use crate::support::{keygen, read, write};

/// The library that plays the security key, which `cargo test` builds.
fn provider() -> PathBuf {
    let binaries = std::env::current_exe().unwrap();
    let folder = binaries.parent().and_then(Path::parent).expect("target/debug");
    let library = folder.join("examples/libsecurity_key.so");
    assert!(library.exists(), "{} is not there; run tests/run, which builds it", library.display());
    library
}

/// Makes a key in the security key; more options are those of ssh-keygen.
fn make_key(site: &Site, name: &str, options: &[&str]) {
    let done = std::process::Command::new("ssh-keygen")
        .current_dir(site.dir.path())
        .args(["-q", "-N", "", "-C", name, "-f", name, "-w"])
        .arg(provider())
        .args(options)
        .output()
        .unwrap();
    assert!(done.status.success(), "{name}: {done:?}");
}

/// A certificate for the key, valid for an hour.
fn certify(site: &Site, name: &str, options: &[&str]) {
    let done = std::process::Command::new("ssh-keygen")
        .current_dir(site.dir.path())
        .args(["-q", "-s", "ca", "-I", name, "-n", "deploy", "-V", "-1m:+1h"])
        .args(options)
        .arg(format!("{name}.pub"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{name}: {done:?}");
}

fn add_line(site: &Site, line: &str) {
    let operators = site.config.join("operators");
    write(&operators, &(read(&operators).trim_end().to_string() + "\n" + line.trim_end() + "\n"));
}

async fn ask(site: &Site, name: &str, line: &str) -> Answer {
    answer_of(ssh(site, name, (&provider(), line))).await
}

fn ssh(site: &Site, name: &str, (provider, line): (&Path, &str)) -> Command {
    let option = format!("SecurityKeyProvider={}", provider.display());
    let mut command = site.ssh_with(site.port(), name, &["-o", &option]);
    command.arg(line);
    command
}

/// A site with the role `key`, which acts with a security key alone.
async fn site() -> Site {
    let site = Site::without_daemon(1).await;
    let path = site.config.join("rollcall.toml");
    write(&path, &format!("{}\n[roles.key]\nincludes = \"operator\"\ntouch = true\n", read(&path)));
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn a_security_key_logs_in_and_acts_where_a_touch_is_demanded() {
    let mut site = site().await;
    for (name, kind) in [("blue", "ed25519-sk"), ("green", "ecdsa-sk")] {
        make_key(&site, name, &["-t", kind]);
        let public = read(&site.dir.path().join(format!("{name}.pub")));
        assert!(public.starts_with("sk-"), "{public}");
        add_line(&site, &format!("role=\"key\" {public}"));
    }
    site.start_daemon().await;
    for name in ["blue", "green"] {
        let about = ask(&site, name, "whoami").await.expect(0);
        assert!(about.out.starts_with(&format!("{name} (SHA256:")), "{}", about.out);
        ask(&site, name, "run web01 -- true").await.expect(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_counts_as_a_touch_only_if_its_ca_does_not_waive_it() {
    let mut site = site().await;
    keygen(&site.dir.path().join("ca"), "ca");
    let ca = read(&site.dir.path().join("ca.pub"));
    add_line(&site, &format!("cert-authority,principals=\"deploy\",role=\"key\" {ca}"));
    for (name, options) in [("touched", &[][..]), ("waived", &["-O", "no-touch-required"])] {
        make_key(&site, name, &["-t", "ed25519-sk"]);
        certify(&site, name, options);
    }
    site.start_daemon().await;
    ask(&site, "touched", "run web01 -- true").await.expect(0);
    ask(&site, "waived", "runs").await.expect(0);
    let refused = ask(&site, "waived", "run web01 -- true").await.expect(77);
    let why = "the role key acts with a security key alone, and this login was with another key";
    assert!(refused.err.contains(why), "{}", refused.err);
}

/// The private half is in the security key: a client that has only the file of the key cannot log in.
#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_a_key_without_its_security_key_logs_nobody_in() {
    let mut site = site().await;
    make_key(&site, "blue", &["-t", "ed25519-sk"]);
    add_line(&site, &format!("role=\"key\" {}", read(&site.dir.path().join("blue.pub"))));
    site.start_daemon().await;
    let refused = answer_of(ssh(&site, "blue", (Path::new("/nonexistent/provider.so"), "whoami"))).await;
    assert_eq!(refused.status, 255, "{refused:?}");
}
