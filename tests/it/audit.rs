//! The audit: who did what, who may read it, and that what was changed in it is found. With plain ssh and the real binary.

use rusqlite::Connection;
use serde_json::Value;

use crate::support::daemon::rollcall;
use crate::support::site::{Site, answer_of};
use crate::support::{eventually, keygen, read, write};

/// A task with a secret, which needs no host that works.
const SECRET: &str = "params.token = { secret = true }\n[[steps]]\nname = \"s\"\nrun = \"true\"\n";

/// The rows that an operator reads, as JSON.
async fn rows(site: &Site, who: &str, options: &str) -> Vec<Value> {
    let answer = site.ask_as(who, &format!("audit --json {options}")).await.expect(0);
    answer.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of_type<'r>(rows: &'r [Value], name: &str) -> Vec<&'r Value> {
    rows.iter().filter(|row| row["type"] == name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_has_logins_commands_decisions_and_ends() {
    let site = Site::start(1).await;
    site.ask("touch web01").await.expect(0);
    site.ask_as("bob", "reload").await.expect(77);
    site.ask_as("vic", "runs").await.expect(0);
    site.ask_as("vic", "show 99").await.expect(64);
    site.ask_as("bob", "runs --nonesuch").await.expect(64);
    site.ask_as("stranger", "runs").await.expect(255);
    site.ask("host forget web01").await.expect(0);

    let all = rows(&site, "ann", "").await;
    let text = site.ask("audit").await.expect(0).out;
    let numbers: Vec<u64> = all.iter().map(|row| row["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let logins = of_type(&all, "login");
    assert!(
        logins
            .iter()
            .any(|row| row["name"] == "ann" && row["from"] == "127.0.0.1" && row["user"] == "rollcall")
    );
    let touch = all.iter().find(|row| row["line"] == "touch web01").unwrap();
    assert_eq!((&touch["rule"], &touch["end"]), (&Value::from("role operator"), &Value::Null));
    assert!(touch["key"].as_str().unwrap().starts_with("SHA256:"), "{touch}");
    let ended =
        of_type(&all, "command-ended").into_iter().find(|row| row["command"] == touch["seq"]).unwrap();
    assert_eq!(
        (&ended["end"]["status"], &ended["end"]["run"]),
        (&Value::from(0), &Value::from(1)),
        "{ended}"
    );
    let read = all.iter().find(|row| row["line"] == "runs").unwrap();
    assert_eq!((&read["name"], &read["end"]["status"]), (&Value::from("vic"), &Value::from(0)), "{read}");
    for line in [
        "`reload` REFUSED by role admin: this needs the role admin, and bob has the role operator",
        "`show 99` granted by role viewer: exit status 64 after ",
        ", NOT DONE: there is no run 99; try: runs",
        "`runs --nonesuch` REFUSED: unexpected argument '--nonesuch' found",
        "LOGIN REFUSED as `rollcall`: SHA256:",
        "host key of web01 forgotten",
        ", run 1\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let refused = rows(&site, "ann", "--refused").await;
    assert!(refused.iter().all(|row| row["type"] != "login") && refused.len() >= 4, "{refused:#?}");
    let some = rows(&site, "ann", "--operator bob --type command-refused,login").await;
    assert!(some.iter().all(|row| row["name"] == "bob") && some.len() >= 3, "{some:#?}");
    let touch = touch["seq"].as_u64().unwrap();
    let first = &rows(&site, "ann", &format!("--since {}", touch - 1)).await[0];
    assert_eq!(first["seq"], touch);
    assert_eq!(rows(&site, "ann", "--before 2").await.len(), 1);
    assert!(rows(&site, "ann", "--since 1h").await.len() >= numbers.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_read_their_own_rows_only_and_nothing_hidden() {
    let site = Site::without_daemon(1).await;
    keygen(&site.dir.path().join("lim"), "lim");
    let operators = site.config.join("operators");
    let key = read(&site.dir.path().join("lim.pub"));
    write(&operators, &format!("{}role=\"admin\",groups=\"prod.web\" {key}", read(&operators)));
    let mut site = site;
    site.start_daemon().await;
    site.ask("lock prod.lb for 1h because lb1 burns").await.expect(0);
    site.ask_as("lim", "hosts lb1").await.expect(64);
    site.ask_as("lim", "hosts lb2").await.expect(64);
    for who in ["lim", "vic", "bob"] {
        let own = rows(&site, who, "").await;
        assert!(!own.is_empty() && own.iter().all(|row| row["name"] == who), "{who}: {own:#?}");
        let refused = site.ask_as(who, "audit --operator ann").await.expect(77);
        let why = "only an admin without groups reads the rows of other operators; try: audit";
        assert!(refused.err.contains(why), "{}", refused.err);
        let refused = site.ask_as(who, "audit verify").await.expect(77);
        assert!(!refused.err.contains("journal has"), "{}", refused.err);
    }
    // What they typed comes back alike, whether such a host exists or not.
    let own = site.ask_as("lim", "audit").await.expect(0).out;
    let lines: Vec<&str> = own.lines().filter(|line| line.contains("hosts lb")).collect();
    let same = |line: &str, name: &str| {
        line.split_once('`').unwrap().1.replace(name, "X").replace(char::is_numeric, "")
    };
    assert_eq!(lines.len(), 2, "{own}");
    assert_eq!(same(lines[0], "lb1"), same(lines[1], "lb2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_and_no_escape_of_a_terminal_is_in_a_row() {
    let site = Site::without_daemon(1).await;
    write(&site.config.join("tasks/sec.toml"), SECRET);
    let mut site = site;
    site.start_daemon().await;
    for line in [
        "sec web01 token=hunter2",
        "sec nonesuch token=hunter2",
        "plan sec web01 token=hunter2 nonesuch=1",
        "status all token=hunter2",
        "hosts token=hunter2",
        "sec token=hunter2",
    ] {
        site.ask(line).await;
    }
    site.ask("hosts 'x\u{1b}]0;owned\u{7}\nROW 1 forged \u{202e}'").await.expect(64);
    let mut stranger = site.ssh("stranger", "runs");
    let user = "\u{1b}[2Jroot\nROW 2 forged";
    let args: Vec<_> =
        stranger
            .as_std()
            .get_args()
            .map(|arg| {
                if arg == "rollcall@127.0.0.1" { format!("{user}@127.0.0.1").into() } else { arg.to_owned() }
            })
            .collect();
    stranger = tokio::process::Command::new("ssh");
    stranger.args(args).stdin(std::process::Stdio::null()).kill_on_drop(true);
    stranger.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    answer_of(stranger).await.expect(255);
    for line in ["audit", "audit --json"] {
        let out = site.ask(line).await.expect(0).out;
        assert!(!out.contains("hunter2") && !out.contains('\u{1b}') && !out.contains('\u{202e}'), "{out}");
        assert!(!out.lines().any(|line| line.starts_with("ROW 1") || line.starts_with("ROW 2")), "{out}");
    }
    site.daemon.take().unwrap().stop().await;
    let store = site.dir.path().join("state");
    let found = std::process::Command::new("grep").args(["-rlF", "hunter2"]).arg(&store).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "a secret is in the store");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_proves_both_chains_and_names_the_first_row_that_was_changed() {
    let site = Site::start(1).await;
    for _ in 0..3 {
        site.ask("touch web01").await.expect(0);
    }
    let proven = site.ask("audit verify").await.expect(0).out;
    let lines: Vec<Vec<&str>> = proven.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((lines[1][0], lines[2][0]), ("audit", "journal"), "{proven}");
    assert!(proven.ends_with("Every row is unchanged, and none is missing.\n"), "{proven}");
    let json = site.ask("audit verify --json").await.expect(0).out;
    let journal: Value = serde_json::from_str(json.lines().nth(1).unwrap()).unwrap();
    assert_eq!((journal["chain"].as_str(), journal["head"].as_str()), (Some("journal"), Some(lines[2][4])));

    // While it runs.
    let store = site.dir.path().join("state/rollcall.db");
    let change = |sql: &str| Connection::open(&store).unwrap().execute_batch(sql).unwrap();
    change("DROP TRIGGER audit_only_grows; DROP TRIGGER event_only_grows_update;");
    let row = rows(&site, "ann", "--type command").await[0]["seq"].as_u64().unwrap();
    change(&format!("UPDATE audit SET body = replace(body, 'touch web01', 'touch web99') WHERE seq = {row}"));
    let found = site.ask("audit verify").await;
    assert_eq!(found.status, 1, "{found:?}");
    let why = format!(
        "the audit was changed at row {row}: its hash does not fit; try: restore the store from a copy"
    );
    assert!(found.err.contains(&why), "{}", found.err);
    change(&format!("UPDATE audit SET body = replace(body, 'touch web99', 'touch web01') WHERE seq = {row}"));
    site.ask("audit verify").await.expect(0);
    change("UPDATE event SET body = replace(body, 'ann', 'eve') WHERE seq = 1");
    let found = site.ask("audit verify").await;
    assert_eq!(found.status, 1, "{found:?}");
    assert!(found.err.contains("the journal was changed at event 1: its hash does not fit"), "{}", found.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_without_its_last_rows_is_found() {
    let mut site = Site::start(1).await;
    site.ask("touch web01").await.expect(0);
    site.daemon.take().unwrap().stop().await;
    let local = || {
        let mut command = rollcall(&site);
        command.args(["--local", "audit", "verify"]);
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        answer_of(command)
    };
    // Sessions of the daemon that was stopped in this process may hold the store for a moment more.
    eventually("the store is free", async || !local().await.err.contains("that is running")).await;
    local().await.expect(0);
    let store = site.dir.path().join("state/rollcall.db");
    let cut = "DROP TRIGGER audit_is_kept; DELETE FROM audit WHERE seq > (SELECT max(seq) - 2 FROM audit)";
    Connection::open(&store).unwrap().execute_batch(cut).unwrap();
    let found = local().await.expect(1);
    assert!(found.err.contains("rollcall.db.audit-head says that the audit has "), "{}", found.err);
    assert!(found.err.contains("the last ones were removed, or the store is an older copy"), "{}", found.err);
}
