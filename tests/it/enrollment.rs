//! An unknown key is told how it can be enrolled, and an admin enrolls it: with plain ssh.

use std::process::Stdio;

use tokio::process::Command;

use crate::support::site::{Answer, Site, answer_of};
use crate::support::{eventually, keygen, read, write};

/// `ssh` as a person runs it: not in BatchMode.
async fn as_a_person(site: &Site, who: &[&str], options: &[&str]) -> Answer {
    let mut command = Command::new("ssh");
    command.args(["-F", "none", "-p", &site.port().to_string(), "-o", "IdentitiesOnly=yes"]).args(options);
    for name in who {
        command.arg("-i").arg(site.dir.path().join(name));
    }
    command
        .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
        .args(["rollcall@127.0.0.1", "whoami"])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    answer_of(command).await
}

fn code_in(text: &str) -> String {
    let (_, rest) =
        text.split_once("ssh rollcall operator enroll ").unwrap_or_else(|| panic!("no code: {text}"));
    rest.split_whitespace().next().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_key_is_told_how_to_be_enrolled_and_is() {
    let site = Site::start(1).await;
    let refused = as_a_person(&site, &["stranger"], &[]).await.expect(255);
    let code = code_in(&refused.err);
    assert_eq!(refused.err.matches("operator enroll").count(), 1, "{}", refused.err);
    assert!(
        refused.err.contains(" is not enrolled here.") && refused.err.contains("Permission denied"),
        "{}",
        refused.err
    );
    for name in ["ann", "bob", "vic", "prod", "web01", "deploy"] {
        assert!(!refused.err.contains(name), "{name}: {}", refused.err);
    }
    let silent = as_a_person(&site, &["stranger"], &["-o", "BatchMode=yes"]).await.expect(255);
    assert!(!silent.err.contains("enroll"), "{}", silent.err);

    site.ask_as("bob", &format!("operator enroll {code} as Eve")).await.expect(77);
    let before = read(&site.config.join("operators"));
    for (words, why) in [
        ("as Eve role=root", "no role is called `root`"),
        ("as Eve groups=nowhere", "no group is called `nowhere`"),
        ("as Eve color=red", "an operator's line has no `color` here"),
        ("for Eve", "say who it is"),
    ] {
        let wrong = site.ask(&format!("operator enroll {code} {words}")).await.expect(64);
        assert!(wrong.err.contains(why), "{}", wrong.err);
    }
    assert_eq!(read(&site.config.join("operators")), before);
    let line = format!("operator enroll {} as Eve Adams role=operator groups=prod.web", code.to_lowercase());
    let done = site.ask(&line).await.expect(0);
    assert!(done.out.starts_with("Eve Adams is enrolled: SHA256:"), "{}", done.out);
    assert!(done.out.contains("which connected from 127.0.0.1\nconfiguration in force: "), "{}", done.out);
    let about = as_a_person(&site, &["stranger"], &[]).await.expect(0);
    assert!(
        about.out.starts_with("Eve Adams (SHA256:") && about.out.contains("role operator, prod.web"),
        "{}",
        about.out
    );
    let after = read(&site.config.join("operators"));
    assert!(after.starts_with(&before) && after.lines().count() == before.lines().count() + 1, "{after}");
    site.ask(&format!("operator enroll {code} as Eve")).await.expect(64);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_written_stays_and_the_line_is_printed() {
    let site = Site::start(1).await;
    let code = code_in(&as_a_person(&site, &["stranger"], &[]).await.expect(255).err);
    // A folder in the way of the new file: the tests may run as root, for whom no file is read-only.
    std::fs::create_dir(site.config.join(".operators.new")).unwrap();
    let before = read(&site.config.join("operators"));
    let refused = site.ask(&format!("operator enroll {code} as eve role=viewer")).await.expect(69);
    assert!(refused.err.contains("`operators` cannot be written: "), "{}", refused.err);
    let line = format!(
        "role=\"viewer\" {} eve",
        read(&site.dir.path().join("stranger.pub")).rsplit_once(' ').unwrap().0
    );
    assert!(refused.err.contains(&line), "{}", refused.err);
    assert_eq!(read(&site.config.join("operators")), before);
}

/// The line is in the file: the next start takes it over, so it is on record.
#[tokio::test(flavor = "multi_thread")]
async fn an_enrollment_whose_reload_fails_is_on_record() {
    let site = Site::start(1).await;
    let code = code_in(&as_a_person(&site, &["stranger"], &[]).await.expect(255).err);
    let broken = site.config.join("tasks/broken.toml");
    write(&broken, "nonsense = 1\n");
    let refused = site.ask(&format!("operator enroll {code} as eve role=viewer")).await.expect(64);
    assert!(
        refused.err.contains("the line is in `operators`, but nothing was taken over:\n"),
        "{}",
        refused.err
    );
    assert!(read(&site.config.join("operators")).contains(" eve\n"));
    eventually("the enrollment is on record", async || {
        let rows = site.ask("audit --type enrolled --json").await.expect(0).out;
        rows.contains("\"operator\":\"eve\"") && rows.contains("role=\\\"viewer\\\"")
    })
    .await;
    std::fs::remove_file(&broken).unwrap();
    site.ask("reload").await.expect(0);
    as_a_person(&site, &["stranger"], &[]).await.expect(0);
}

/// A key that is enrolled gets in behind seven that are not, whether those are asked to prove themselves or not.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_eight_keys_gets_in() {
    let site = Site::start(1).await;
    let others: Vec<String> = (0..7).map(|n| format!("key{n}")).collect();
    others.iter().for_each(|name| keygen(&site.dir.path().join(name), name));
    let all: Vec<&str> = others.iter().map(String::as_str).chain(["ann"]).collect();
    for enrollment in [true, false] {
        let settings = site.config.join("rollcall.toml");
        let text = read(&settings).replace("[door]\nenrollment = true\n", "[door]\n");
        write(&settings, &text.replace("[door]\n", &format!("[door]\nenrollment = {enrollment}\n")));
        site.ask("reload").await.expect(0);
        let about = as_a_person(&site, &all, &[]).await.expect(0);
        assert!(about.out.starts_with("ann ("), "{}", about.out);
    }
    // Without enrollment, and without a CA, an unknown key is not asked to prove itself, and is told nothing.
    let refused = as_a_person(&site, &["stranger"], &[]).await.expect(255);
    assert!(
        !refused.err.contains("enroll") && refused.err.contains("Permission denied (publickey)"),
        "{}",
        refused.err
    );
}
