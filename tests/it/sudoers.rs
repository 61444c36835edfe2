//! `sudoers` prints rules that visudo accepts, and with which the real sudo lets tasks do their work and nothing else.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::site::Site;
use crate::support::{account, read, write};

/// No other test gives the account a right to act as this user.
const USER: &str = "man";

const NARROW: &str = "hosts = \"web\"\n[[steps]]\nname = \"who\"\nrun = \"sudo -n -u man id -un >who 2>&1\"\nin = \"{{ root }}\"\n";
const OTHER: &str = "hosts = \"web\"\nparams.word = {}\n[[steps]]\nname = \"other\"\nrun = \"sudo -n -u man id -u {{ word }}\"\n";
const CUT: &str = "hosts = \"web\"\n[[steps]]\nname = \"cut\"\nrun = \"true\"\ndead_man = \"30s\"\nundo = \"sudo -n -u man id -g\"\n";
const WIDE: &str = "hosts = \"web\"\n[[steps]]\nname = \"wide\"\nrun = \"id\"\nsudo = \"man\"\n";

fn sh(script: &str) -> Output {
    Command::new("sh").args(["-c", script]).output().unwrap()
}

/// Rules of the real sudo for the time of a test.
struct Installed(&'static str);

impl Installed {
    fn new(rules: &str) -> Installed {
        const FILE: &str = "/etc/sudoers.d/rollcall-narrow-test";
        write(Path::new(FILE), rules);
        assert!(sh(&format!("chmod 440 {FILE}")).status.success());
        Installed(FILE)
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_rules_allow_what_tasks_do_and_nothing_else() {
    let site = Site::start(2).await;
    write(&site.config.join("tasks/narrow.toml"), NARROW);
    write(&site.config.join("tasks/other.toml"), OTHER);
    write(&site.config.join("tasks/cut.toml"), CUT);
    site.ask("reload").await.expect(0);
    let account = account();
    let answer = site.ask("sudoers prod.web").await.expect(0);
    let rule = format!("# task narrow, step \"who\"\n{account} ALL=({USER}) NOPASSWD: ");
    let (_, path) = answer.out.split_once(&rule).unwrap_or_else(|| panic!("{answer:#?}"));
    assert!(path.starts_with('/') && path.lines().next().unwrap().ends_with("/id -un"), "{answer:#?}");
    assert!(answer.out.starts_with("# web[01-02]\n"), "{answer:#?}");
    assert!(answer.out.contains("/id -g\n"), "what the host runs to undo a step: {answer:#?}");
    let open = "write this rule by hand; only a run knows its command: sudo -n -u man id -u {{ word }}";
    assert!(answer.out.contains(open), "{answer:#?}");
    let file = site.dir.path().join("rules");
    write(&file, &answer.out);
    let checked = sh(&format!("PATH=$PATH:/usr/sbin visudo -cf {}", file.display()));
    assert!(checked.status.success(), "{checked:?}: {}", answer.out);
    let json = site.ask("sudoers web01 --json").await.expect(0);
    let line: serde_json::Value = serde_json::from_str(json.out.trim()).unwrap();
    assert_eq!((&line["schema"], &line["host"]), (&"sudoers".into(), &"web01".into()));
    if account == "rollcall-test" {
        let _rules = Installed::new(&answer.out);
        site.ask("narrow web01").await.expect(0);
        assert_eq!(read(&site.hosts[0].dir.join("who")), format!("{USER}\n"));
        let refused = site.ask("other web01 word=x").await.expect(2);
        assert!(refused.out.contains("FAILED: exit status 1"), "{refused:#?}");
    }
    write(&site.config.join("tasks/wide.toml"), WIDE);
    site.ask("reload").await.expect(0);
    let wide = site.ask("sudoers web01").await.expect(0);
    assert!(wide.out.contains(&format!("{account} ALL=({USER}) NOPASSWD: /bin/sh\n")), "{wide:#?}");
    assert!(wide.out.contains("this gives every right"), "{wide:#?}");
    site.hosts[1].sshd.kill();
    let gone = site.ask("sudoers prod.web").await.expect(4);
    assert!(gone.out.starts_with("# web01\n") && gone.err.contains("rollcall: web02: "), "{gone:#?}");
}
