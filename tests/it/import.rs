//! `rollcall hosts-import`, with the real `ssh -G`, and the examples of docs/inventory.md.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::{folder, read, write};

fn rollcall(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rollcall")).args(words).output().unwrap()
}

/// Checks a configuration with this file in `hosts/`.
fn check(dir: &Path, hosts: &str) -> Output {
    write(&dir.join("etc/hosts/imported.toml"), hosts);
    rollcall(&["check-config", &dir.join("etc").display().to_string()])
}

const CONFIG: &str = "\
Host gate
  HostName 192.0.2.1
  Port 2200
  User jump
Host web01 web02 *.example.com
  HostName %h.internal
  ProxyJump ops@outer:23,gate
Host db
  HostName 2001:db8::1
  ProxyJump gate
Host old
  ProxyCommand nc %h %p
  IdentityFile ~/.ssh/old
Match originalhost db
  User postgres
Host *
  User deploy
";

#[test]
fn hosts_of_an_ssh_config_become_an_inventory_that_loads() {
    let dir = folder();
    let config = dir.path().join("ssh_config");
    write(&config, CONFIG);
    let imported = rollcall(&["hosts-import", "--ssh-config", &config.display().to_string()]);
    assert!(imported.status.success(), "{imported:?}");
    let text = String::from_utf8(imported.stdout).unwrap();
    for line in [
        "login = \"deploy\"",
        "\"gate\" = { address = \"192.0.2.1\", port = 2200, login = \"jump\" }",
        "\"web02\" = { address = \"web02.internal\", via = \"outer,gate\" }",
        "\"db\" = { address = \"2001:db8::1\", login = \"postgres\", via = \"gate\" }",
        "\"old\" = {}",
        "\"outer\" = { port = 23, login = \"ops\" }",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    for left in [
        "Host *.example.com: a pattern",
        "Match originalhost db: it names no host",
        "old: ProxyCommand nc %h %p:",
        "old: IdentityFile ~/.ssh/old: rollcall logs in",
    ] {
        assert!(text.contains(left), "{left}: {text}");
    }
    assert_eq!(text.matches("IdentityFile").count(), 1, "{text}");
    let checked = check(dir.path(), &text);
    assert!(checked.status.success(), "{checked:?}\n{text}");
}

#[test]
fn what_the_docs_show_of_jump_hosts_and_addresses_loads() {
    let docs = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/inventory.md"));
    let shown: Vec<&str> =
        docs.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(shown.len(), 2, "{docs}");
    let dir = folder();
    for text in shown {
        let checked = check(dir.path(), text);
        assert!(checked.status.success(), "{checked:?}\n{text}");
    }
}
