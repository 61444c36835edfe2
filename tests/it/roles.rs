//! Roles of one's own, with plain ssh: what each may do, and that a refusal reveals nothing.

use crate::door::Master;
use crate::support::site::{FIRST, Site, answer_of};
use crate::support::{eventually, keygen, read, write};

const ROLES: &str = r#"
[roles.ci]
tasks = ["deploy"]
groups = ["prod.web"]
[roles.release]
includes = "viewer"
tasks = ["deploy", "touch"]
commands = ["cancel", "retry", "plan"]
[roles.careful]
includes = "operator"
needs_approval = true
[roles.closed]
includes = "admin"
hours = ["Mon 00:00-00:01"]
time_zone = "Europe/Berlin"
"#;

/// A site with a key for each of the roles; `test` is a group that the key for CI may not see.
async fn site() -> Site {
    let site = Site::without_daemon(2).await;
    let settings = site.config.join("rollcall.toml");
    write(&settings, &(read(&settings) + ROLES));
    write(&site.config.join("hosts/test.toml"), "[web]\nhosts = \"t1\"\n");
    let operators = site.config.join("operators");
    for role in ["ci", "release", "careful", "closed"] {
        keygen(&site.dir.path().join(role), role);
        let key = read(&site.dir.path().join(format!("{role}.pub")));
        write(&operators, &(read(&operators) + &format!("role=\"{role}\" {key}")));
    }
    site
}

async fn running() -> Site {
    let mut site = site().await;
    site.start_daemon().await;
    site
}

/// Whether a line is granted: not allowed is 77, and what an operator may not see does not exist (64).
#[tokio::test(flavor = "multi_thread")]
async fn every_command_is_granted_by_role_and_group_as_the_table_says() {
    let site = running().await;
    let who = ["ci", "release", "careful", "closed", "vic", "bob", "ann"];
    // A letter for each of them: y granted, n not allowed, - what it names does not exist for them.
    let table = [
        ("whoami", "yyyyyyy"),
        ("version", "yyyyyyy"),
        ("setup", "yyyyyyy"),
        ("web", "yyyyyyy"),
        ("complete", "yyyyyyy"),
        ("ask", "nyynyyy"),
        ("ask nonesuch prod for 1h because x", "n--n---"),
        ("grant 99", "nnnnnn-"),
        ("grant end 99", "n--n---"),
        ("sessions", "nyynyyy"),
        ("kick 999999", "n--n---"),
        ("help", "yyyyyyy"),
        ("board", "nyynyyy"),
        ("hosts", "nyynyyy"),
        ("hosts test", "nyynyyy"),
        ("runs", "nyynyyy"),
        ("show 99", "n--n---"),
        ("output 99 web01", "n--n---"),
        ("watch 99", "n--n---"),
        ("debts", "nyynyyy"),
        ("releases", "nyynyyy"),
        ("report nonesuch", "n--n---"),
        ("status", "nyynyyy"),
        ("history nonesuch", "n--n---"),
        ("why nonesuch", "n--n---"),
        ("metrics", "nyynyyy"),
        ("sudoers", "nyynyyy"),
        ("downtime", "nyynyyy"),
        ("facts nonesuch", "n--n---"),
        ("logs nonesuch /x", "nn-nn--"),
        ("doctor nonesuch", "nn-nn--"),
        ("doctor", "nnynnyy"),
        ("ping nonesuch", "n--n---"),
        ("hosts test --unreachable", "nyynyyy"),
        ("check nonesuch", "n--n---"),
        ("balancer status nonesuch", "n--n---"),
        ("plan deploy nonesuch version=1.0.0", "n--n---"),
        ("plan touch nonesuch", "n--n---"),
        ("plan rollback nonesuch", "n--n---"),
        ("deploy nonesuch version=1.0.0", "---nn--"),
        ("deploy test version=1.0.0 --check", "---nn--"),
        ("touch nonesuch", "n--nn--"),
        ("nonesuch prod", "nn-nn--"),
        ("run nonesuch -- id", "nn-nn--"),
        ("run nonesuch --script --sudo", "nn-nn--"),
        ("copy nonesuch /x", "nn-nn--"),
        ("fetch nonesuch /x", "nn-nn--"),
        ("nodes fold @nonesuch", "n--n---"),
        ("last nonesuch", "n--n---"),
        ("retry 99", "n--nn--"),
        ("cancel 99", "n--nn--"),
        ("pause 99", "nn-nn--"),
        ("resume 99", "nn-nn--"),
        ("approve 99", "nn-nn--"),
        ("artifacts 99", "nn-nn--"),
        ("rollback nonesuch", "nn-nn--"),
        ("settle nonesuch because x", "nn-nn--"),
        ("balancer drain nonesuch because x", "nn-nn--"),
        ("balancer enable nonesuch", "nn-nn--"),
        ("mark bad nonesuch because x", "nn-nn--"),
        ("mark good nonesuch because x", "nn-nn--"),
        ("downtime nonesuch for 1h because x", "nn-nn--"),
        ("ack nonesuch x because x", "nn-nn--"),
        ("config log", "nnnnnny"),
        ("config diff", "nnnnnny"),
        ("git-upload-pack nonesuch", "nnnnnn-"),
        ("git-receive-pack nonesuch", "nnnnnn-"),
        ("receipt 99", "n--n---"),
        ("audit", "nyynyyy"),
        ("audit --operator ann", "nnnnnny"),
        ("audit verify", "nnnnnny"),
        ("notify list", "nnynnyy"),
        ("notify test", "nnnnnny"),
        ("host accept nonesuch", "nnnnnn-"),
        ("host forget nonesuch", "nnnnnn-"),
        ("operator enroll ABCD-EFGH as eve", "nnnnnn-"),
        ("reload", "nnnnnny"),
    ];
    let mut wrong = Vec::new();
    for (line, _) in table {
        let mut found = String::new();
        for name in who {
            let answer = site.ask_as(name, line).await;
            found.push(match answer.status {
                77 => 'n',
                64 => '-',
                255 => 'x',
                _ => 'y',
            });
        }
        wrong.push(format!("        (\"{line}\", \"{found}\"),"));
    }
    let wanted: Vec<String> =
        table.iter().map(|(line, of)| format!("        (\"{line}\", \"{of}\"),")).collect();
    assert!(wrong == wanted, "it is:\n{}", wrong.join("\n"));
}

/// The key of docs/security.md: one task in one group, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_for_ci_does_one_task_in_one_group_and_learns_nothing_else() {
    let site = running().await;
    let about = site.ask_as("ci", "whoami").await.expect(0);
    let rest: Vec<&str> = about.out.lines().skip(1).collect();
    assert_eq!(rest, ["commands: none", "tasks:    deploy"], "{}", about.out);
    assert!(about.out.contains("role ci, prod.web\n"), "{}", about.out);
    site.ask_as("ci", "deploy prod.web version=2.0.0").await.expect(0);
    assert_eq!(site.releases(), ["2.0.0", "2.0.0"]);

    // What exists and what does not are refused alike.
    let pairs = [
        ("touch prod", "nonesuch prod", ("touch", "nonesuch")),
        ("deploy test version=2.0.0", "deploy nothere version=2.0.0", ("test", "nothere")),
        ("deploy t1 version=2.0.0", "deploy t9 version=2.0.0", ("t1", "t9")),
        ("help touch", "help nonesuch", ("touch", "nonesuch")),
        ("touch prod a", "nonesuch prod a", ("touch", "nonesuch")),
    ];
    for (hidden, unknown, (one, other)) in pairs {
        let (hidden, unknown) = (site.ask_as("ci", hidden).await, site.ask_as("ci", unknown).await);
        assert_eq!(hidden.status, unknown.status, "{hidden:?} {unknown:?}");
        assert_eq!(hidden.err.replace(one, other), unknown.err);
        assert!(hidden.status != 0, "{hidden:?}");
    }
    let help = site.ask_as("ci", "help").await.expect(0);
    assert!(help.out.contains("deploy") && !help.out.contains("  touch"), "{}", help.out);
    let guess = site.ask_as("ci", "touhc").await.expect(64);
    assert!(!guess.err.contains("`touch`"), "{}", guess.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_a_role_that_needs_approval_waits_for_another_person() {
    let site = running().await;
    let plan = site.ask_as("careful", "plan deploy prod version=2.0.0").await.expect(0);
    assert!(plan.out.contains("nothing starts until another person has approved it\n"), "{}", plan.out);
    let client = site.ssh("careful", "deploy prod version=2.0.0").spawn().unwrap();
    let shown =
        "paused by rollcall: for approval by a second person, before anything begins; to go on: approve 1";
    eventually("it waits", async || site.ask("show 1").await.out.contains(shown)).await;
    assert_eq!(site.releases(), [FIRST, FIRST]);
    let own = site.ask_as("careful", "approve 1").await.expect(77);
    assert!(
        own.err.contains("careful asked for run 1, and their role needs another person to approve it"),
        "{}",
        own.err
    );
    site.ask_as("bob", "approve 1").await.expect(0);
    let output = client.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(site.releases(), ["2.0.0", "2.0.0"]);

    // An ad-hoc command waits, too; reading does not.
    site.ask_as("careful", "check prod version=2.0.0").await.expect(0);
    let mut client = site.ssh("careful", "run web01 -- touch ran").spawn().unwrap();
    eventually("it waits", async || site.ask("show 3").await.out.contains("to go on: approve 3")).await;
    site.ask("cancel 3").await.expect(0);
    let status = client.wait().await.unwrap();
    assert_eq!(status.code(), Some(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn to_repeat_a_run_takes_the_right_to_its_command() {
    let site = running().await;
    site.ask("run web01 -- false").await.expect(2);
    let refused = site.ask_as("release", "retry 1").await.expect(77);
    assert_eq!(refused.err, "rollcall: the role release does not include `run`; see: whoami\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_may_do_is_looked_up_at_every_command() {
    let site = running().await;
    let closed = site.ask_as("closed", "runs").await;
    // One minute of the week it may.
    if closed.status != 0 {
        let why = "rollcall: the role closed may do nothing now, only Mon 00:00-00:01 (Europe/Berlin); see: whoami\n";
        assert_eq!(closed.err, why);
    }
    let settings = site.config.join("rollcall.toml");
    write(&settings, &read(&settings).replace("hours = [\"Mon 00:00-00:01\"]", "hours = [\"00:00-24:00\"]"));
    site.ask("reload").await.expect(0);
    site.ask_as("closed", "runs").await.expect(0);
    let about = site.ask_as("closed", "whoami --json").await.expect(0);
    assert!(about.out.contains("\"hours\":\"00:00-24:00 (Europe/Berlin)\""), "{}", about.out);
}

/// A ControlMaster connection that is old may be a terminal that its operator has left.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_connection_reads_and_does_not_act() {
    let mut site = site().await;
    let settings = site.config.join("rollcall.toml");
    let roles = "[roles.prod]\nincludes = \"operator\"\nfresh = \"10s\"\n\
                 [roles.key]\nincludes = \"operator\"\ntouch = true\n";
    write(&settings, &(read(&settings) + roles));
    let operators = site.config.join("operators");
    for role in ["prod", "key"] {
        keygen(&site.dir.path().join(role), role);
        let key = read(&site.dir.path().join(format!("{role}.pub")));
        write(&operators, &(read(&operators) + &format!("role=\"{role}\" {key}")));
    }
    site.start_daemon().await;
    let master = Master::open(&site, "prod").await;
    let shared = async |line: &str| answer_of(master.channel(line)).await;
    let mut refused = shared("touch prod.web").await;
    eventually("it is too old to act", async || {
        refused = shared("touch prod.web").await;
        refused.status == 77
    })
    .await;
    assert!(
        refused.err.starts_with(
            "rollcall: the role prod acts within 10 s of the login alone, and this connection logged in "
        ),
        "{}",
        refused.err
    );
    assert!(
        refused.err.contains("; try: ssh -o ControlPath=none rollcall touch prod.web\n"),
        "{}",
        refused.err
    );
    shared("runs").await.expect(0);
    let about = shared("whoami").await.expect(0);
    assert!(about.out.contains("\nfresh:    to act, within 10 s of the login: "), "{}", about.out);
    // Another key than a security key, however fresh.
    let refused = site.ask_as("key", "touch prod.web").await.expect(77);
    assert!(
        refused
            .err
            .contains("the role key acts with a security key alone, and this login was with another key"),
        "{}",
        refused.err
    );
    let about = site.ask_as("key", "whoami").await.expect(0);
    assert!(about.out.contains("\ntouch:    to act, a login with a security key\n"), "{}", about.out);
    site.ask_as("key", "runs").await.expect(0);
    // A new connection acts.
    eventually("a fresh login acts", async || site.ask_as("prod", "touch prod.web").await.status == 0).await;
    let audit = site.ask("audit --refused --json").await.expect(0).out;
    assert!(audit.contains("roles.prod: fresh") && audit.contains("roles.key: touch"), "{audit}");
}
