use super::*;
use crate::domain::base::name::HostName;

fn good() -> VitalSigns {
    VitalSigns {
        on_disk: Ok("abcdef0123456789".into()),
        store: StoreSigns {
            path: "/v/rollcall.db".into(),
            writable: Ok(()),
            intact: Some(Ok(())),
            chains: Ok(()),
            bytes: Ok(5 << 20),
            free: Ok(3 << 30),
        },
        clock: Some(true),
        sockets: vec![("127.0.0.1:2222".into(), Ok(()))],
        descriptors: Some((40, 1024)),
        host_key: Ok("ssh-ed25519 /v/host_key".into()),
        identities: vec![Ok("identity /v/id".into())],
        keyless: Ok(vec![]),
        is_replaced: Some(false),
    }
}

fn within(sees_all: bool) -> Within<'static> {
    Within {
        digest: "abcdef0123456789".into(),
        sees_all,
        debts: &[],
        sees: &|host| host.as_str() != "secret01",
        troubles: vec![],
        watching: Ok(()),
        notices_run: true,
        left_alone: vec![],
        version: "0.1.0",
        now: Timestamp::from_second(10_000).unwrap(),
    }
}

fn found(signs: &VitalSigns, within: &Within<'_>) -> Vec<String> {
    let examined = OwnExamined::of(signs, within);
    let line = |one: &Finding| format!("{} {} {}", one.what, one.grade.word(), one.text);
    examined.findings.iter().map(line).collect()
}

#[test]
fn all_is_well_in_one_line_each() {
    let lines = [
        "config ok abcdef012345 is in force, as it is on disk",
        "program ok the file on disk is the one that runs",
        "store ok /v/rollcall.db is writable",
        "store ok quick_check finds no damage, 5 MiB",
        "space ok 3072 MiB free beside /v/rollcall.db",
        "audit ok the newest 10000 rows of audit and journal fit; for all of them: audit verify",
        "clock ok synchronized",
        "socket ok 127.0.0.1:2222 greets",
        "files ok 40 of 1024 file descriptors are open",
        "host key ok ssh-ed25519 /v/host_key, readable for rollcall alone",
        "fleet key ok identity /v/id can be used",
        "known hosts ok every host has a key on record",
        "runs ok every open run has its loop",
        "watching ok answers",
        "notices ok under way",
        "debts ok none is open",
    ];
    assert_eq!(found(&good(), &within(true)), lines);
    assert!(OwnExamined::of(&good(), &within(true)).is_sound());
}

/// One thing wrong at a time: the line that says so, and whether it is critical.
#[test]
fn each_trouble_has_its_line_with_the_next_step() {
    type Change = fn(&mut VitalSigns);
    let table: [(Change, &str); 17] = [
        (
            |signs| signs.on_disk = Ok("0123456789abcdef".into()),
            "config warning 0123456789ab is on disk, and abcdef012345 is in force; try: config diff, then reload",
        ),
        (
            |signs| signs.on_disk = Err("error: no key `x`\n --> y".into()),
            "config CRITICAL the files on disk have mistakes (error: no key `x`), and the next start would fail; \
             abcdef012345 is in force; try: rollcall check-config",
        ),
        (
            |signs| signs.is_replaced = Some(true),
            "program warning its file was replaced or removed; the new one runs after a restart",
        ),
        (|signs| signs.is_replaced = None, "program unknown /proc does not say which file runs"),
        (
            |signs| signs.store.writable = Err("disk full".into()),
            "store CRITICAL /v/rollcall.db is not writable, so no run can start: disk full; try: free space, and its owner",
        ),
        (
            |signs| signs.store.intact = Some(Err("row 3 missing".into())),
            "store CRITICAL damaged: row 3 missing; try: stop rollcall and restore the store from a copy",
        ),
        (
            |signs| signs.store.intact = None,
            "audit unknown not verified: the file took too long; try: audit verify",
        ),
        (
            |signs| signs.store.free = Ok(512 << 20),
            "space warning 512 MiB free beside /v/rollcall.db; a full disk stops all runs; try: a larger file system",
        ),
        (
            |signs| signs.store.free = Ok(1 << 20),
            "space CRITICAL 1 MiB free beside /v/rollcall.db; a full disk stops all runs; try: a larger file system",
        ),
        (
            |signs| signs.store.chains = Err("the audit was changed at row 3".into()),
            "audit CRITICAL the audit was changed at row 3",
        ),
        (
            |signs| signs.clock = Some(false),
            "clock warning not synchronized: certificates, expiry and times on record depend on it; try: chrony, or \
             systemd-timesyncd",
        ),
        (
            |signs| signs.clock = None,
            "clock unknown `timedatectl` does not say whether it is synchronized; compare it: date -u",
        ),
        (
            |signs| signs.sockets[0].1 = Err("refused".into()),
            "socket CRITICAL 127.0.0.1:2222 does not greet: refused; see the daemon's log; try: a restart",
        ),
        (
            |signs| signs.descriptors = Some((900, 1024)),
            "files warning 900 of 1024 file descriptors are open; try: a higher LimitNOFILE of the service",
        ),
        (
            |signs| signs.host_key = Err("host key /v/host_key: others can read it".into()),
            "host key CRITICAL host key /v/host_key: others can read it",
        ),
        (
            |signs| signs.identities.clear(),
            "fleet key warning [fleet] has neither `identity` nor `agent`, so rollcall can log in to no host",
        ),
        (
            |signs| signs.keyless = Ok(["web1", "web2", "secret01"].map(HostName::from).into()),
            "known hosts warning web[1-2] (2): no key on record, so rollcall does not connect; try: host accept HOST",
        ),
    ];
    for (change, line) in table {
        let mut signs = good();
        change(&mut signs);
        let lines = found(&signs, &within(true));
        assert!(lines.iter().any(|found| found == line), "{line}\n{lines:#?}");
        assert_eq!(OwnExamined::of(&signs, &within(true)).is_sound(), !line.contains(" CRITICAL "), "{line}");
    }
}

#[test]
fn what_works_on_runs_messages_and_checks_is_reported() {
    let debt = Debt {
        host: "web1".into(),
        balancer: "prod".into(),
        run: RunId(3),
        by: "ann".into(),
        since: Timestamp::from_second(400).unwrap(),
        why: "x".into(),
        written_off: None,
    };
    let troubled = Within {
        debts: &[debt],
        troubles: vec![("chat".into(), "503".into())],
        watching: Err("it has stopped".into()),
        notices_run: false,
        left_alone: vec![RunId(7)],
        ..within(true)
    };
    let lines = found(&good(), &troubled);
    for line in [
        "runs CRITICAL nothing works on run 7, which is open; try: a restart, which continues it",
        "watching CRITICAL does not answer: it has stopped; see the daemon's log",
        "notices unknown not started in this process",
        "notices warning the channel chat cannot deliver: 503; try: notify test chat",
        "debts warning 1 open, the oldest for 2h40m; see: debts",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line}\n{lines:#?}");
    }
}

/// An operator with groups reads neither mistakes of the configuration nor names of other hosts.
#[test]
fn nothing_names_what_an_operator_may_not_see() {
    let mut signs = good();
    signs.on_disk = Err("error: secret01".into());
    signs.keyless = Ok(vec!["secret01".into()]);
    let lines = found(&signs, &within(false)).join("\n");
    assert!(!lines.contains("secret01"), "{lines}");
    assert!(lines.contains("the files on disk have mistakes, and the next start would fail"), "{lines}");
}
