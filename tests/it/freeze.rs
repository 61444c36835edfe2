//! Freezes: nothing is released while one is open, whoever asks.

use serde_json::Value;

use crate::support::site::Site;
use crate::support::{DEADLINE, eventually, read, write};

const WAY_OUT: &str = "see: freeze; with a second person: TASK SELECTOR ... --break-glass because REASON";

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_refuses_releases_and_nothing_else() {
    let site = Site::start(2).await;
    let out = site.ask("freeze web01 for 2d because an audit").await.expect(0).out;
    assert!(out.starts_with("freeze 1: nothing is released on web01 until 20"), "{out}");
    assert!(out.ends_with("; sooner: freeze end 1\n"), "{out}");
    for line in ["deploy prod version=1.1.0", "deploy prod version=1.1.0 --wait", "touch web01"] {
        let err = site.ask(line).await.expect(69).err;
        assert!(err.starts_with("rollcall: web01 is frozen until 20"), "{line}: {err}");
        assert!(err.ends_with(&format!(" (ann, freeze 1: an audit); {WAY_OUT}\n")), "{line}: {err}");
    }
    // `plan` says it, too, and prints the plan all the same.
    let plan = site.ask("plan deploy prod version=1.1.0").await.expect(0);
    assert!(plan.err.contains("rollcall: this would be refused now: web01 is frozen until 20"), "{plan:#?}");
    for line in [
        "touch web02",
        "run web01 -- true",
        "check web01 version=1.0.0",
        "balancer drain web01 because x",
        "balancer enable web01",
    ] {
        site.ask(line).await.expect(0);
    }
    let list = site.ask_as("vic", "freeze").await.expect(0).out;
    let row = list.lines().last().unwrap();
    assert!(row.starts_with("1       web01  ann  frozen, ends in ") && row.ends_with("an audit"), "{list}");
    let json: Value = serde_json::from_str(&site.ask("freeze --json").await.expect(0).out).unwrap();
    assert_eq!((&json["schema"], &json["kind"], &json["id"]), (&"lease".into(), &"freeze".into(), &1.into()));
    // Neither list has the other's numbers.
    assert_eq!(site.ask("lock").await.expect(0).out, "no operator keeps hosts for themselves\n");
    let err = site.ask("unlock 1").await.expect(64).err;
    assert_eq!(err, "rollcall: no lock or hold has the number 1; see: lock\n");
    let err = site.ask_as("bob", "freeze end 1").await.expect(64).err;
    assert_eq!(
        err,
        "rollcall: freeze 1 is of ann, so say why, for the record; try: freeze end 1 because REASON\n"
    );
    site.ask_as("bob", "freeze end 1 because the audit is over").await.expect(0);
    site.ask("touch web01").await.expect(0);
    assert_eq!(site.ask("freeze").await.expect(0).out, "nothing is frozen\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_glass_is_broken_by_two_people() {
    let site = Site::start(1).await;
    site.ask("freeze prod for 2d because an audit").await.expect(0);
    let err = site.ask("touch web01 --break-glass").await.expect(64).err;
    assert_eq!(err, "rollcall: say why, for the record: ... --break-glass because REASON\n");
    let err = site.ask("check web01 --break-glass because x").await.expect(64).err;
    assert_eq!(err, "rollcall: `--break-glass` is for tasks, rollback and retry; see: help freeze\n");
    let waiting = site.ssh("ann", "touch web01 --break-glass because the disk is full").spawn().unwrap();
    eventually("the run waits", async || site.ask("show 1").await.out.contains("approv")).await;
    let title = "touch web01 --break-glass because the disk is full";
    assert!(site.ask("runs").await.expect(0).out.contains(title));
    let err = site.ask("approve 1").await.err;
    assert!(err.contains("ann asked for run 1, and a release on frozen hosts needs another person to approve it (--break-glass)"), "{err}");
    assert!(!site.hosts[0].dir.join("touched").exists(), "nothing has started");
    site.ask_as("bob", "approve 1").await.expect(0);
    let output = tokio::time::timeout(DEADLINE, waiting.wait_with_output()).await.expect("an end").unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(site.hosts[0].dir.join("touched").exists());
    // The next one is refused as before.
    site.ask("touch web01").await.expect(69);
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_the_configuration_are_freezes() {
    let site = Site::start(1).await;
    let path = site.config.join("rollcall.toml");
    let before = read(&path);
    let with = |window: &str| write(&path, &format!("{before}\n[[freeze]]\n{window}\n"));
    with(
        "hosts = \"prod.web\"\nfrom = \"2020-01-01\"\nuntil = \"2090-01-01 12:00\"\nbecause = \"for a long time\"",
    );
    site.ask("reload").await.expect(0);
    let err = site.ask("touch web01").await.expect(69).err;
    let wanted = "rollcall: web01 is frozen until 2090-01-01 12:00:00Z (rollcall.toml: for a long time)";
    assert_eq!(err, format!("{wanted}; {WAY_OUT}\n"));
    let list = site.ask("freeze").await.expect(0).out;
    assert!(list.contains("rollcall.toml"), "{list}");
    assert!(list.contains("for a long time (2020-01-01 00:00 - 2090-01-01 12:00 UTC)"), "{list}");
    with("hosts = \"web01\"\nfrom = \"2020-01-01\"\nuntil = \"2021-01-01\"\nbecause = \"it is over\"");
    site.ask("reload").await.expect(0);
    site.ask("touch web01").await.expect(0);
    let table = [
        ("hosts = \"web09\"\nfrom = \"Fri 16:00\"\nuntil = \"Mon 08:00\"\nbecause = \"x\"", "web09"),
        (
            "hosts = \"web01\"\nfrom = \"Fry 16:00\"\nuntil = \"Mon 08:00\"\nbecause = \"x\"",
            "`Fry 16:00` is no time",
        ),
        (
            "hosts = \"web01\"\nfrom = \"Mon 08:00\"\nuntil = \"Mon 08:00\"\nbecause = \"x\"",
            "the freeze would never end",
        ),
        ("hosts = \"web01\"\nfrom = \"Mon 08:00\"\nuntil = \"Tue 08:00\"", "needs `because`"),
        (
            "hosts = \"web01\"\nfrom = \"Mon 08:00\"\nuntil = \"Tue 08:00\"\nbecause = \"x\"\ntime_zone = \"Mars\"",
            "`Mars` is no time zone",
        ),
        (
            "hosts = \"web01\"\nfrm = \"Mon 08:00\"\nuntil = \"Tue 08:00\"\nbecause = \"x\"",
            "did you mean `from`?",
        ),
    ];
    for (window, wanted) in table {
        with(window);
        let err = site.ask("reload").await.expect(64).err;
        assert!(err.contains(wanted), "{window}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_a_freeze_that_are_wrong_are_explained() {
    let site = Site::start(1).await;
    let usage = "try: freeze SELECTOR for 2d because REASON; freeze end N because REASON; freeze";
    let table = [
        ("freeze web01", "say why, for the record"),
        ("freeze web01 because x", "say for how long"),
        ("freeze for 2d because x", "say which hosts"),
        ("freeze end soon", "`soon` is no number of a freeze"),
        ("freeze end 3 now", "say why, for the record"),
    ];
    for (line, wanted) in table {
        assert_eq!(site.ask(line).await.expect(64).err, format!("rollcall: {wanted}; {usage}\n"));
    }
    let err = site.ask("freeze end 3").await.expect(64).err;
    assert_eq!(err, "rollcall: no freeze has the number 3; see: freeze\n");
}
