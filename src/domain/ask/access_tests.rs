use super::*;

#[test]
fn each_command_needs_its_role() {
    let table = [
        ("help", Role::Viewer),
        ("version", Role::Viewer),
        ("deploy prod --nonesuch", Role::Viewer),
        ("whoami", Role::Viewer),
        ("ask", Role::Viewer),
        ("ask operator prod for 1h because x", Role::Viewer),
        ("grant 1", Role::Admin),
        ("grant end 1", Role::Viewer),
        ("doctor prod", Role::Operator),
        ("logs prod /var/log/app.log", Role::Operator),
        ("doctor", Role::Operator),
        ("sessions", Role::Viewer),
        ("kick 7", Role::Viewer),
        ("setup", Role::Viewer),
        ("web", Role::Viewer),
        ("complete deploy", Role::Viewer),
        ("hosts", Role::Viewer),
        ("hosts prod --unreachable", Role::Viewer),
        ("ping prod", Role::Viewer),
        ("nodes fold a1 @prod", Role::Viewer),
        ("last deploy", Role::Viewer),
        ("copy prod /x", Role::Operator),
        ("fetch web1 /x", Role::Operator),
        ("board run 1", Role::Viewer),
        ("plan deploy prod", Role::Viewer),
        ("check prod", Role::Viewer),
        ("facts prod --fresh", Role::Viewer),
        ("runs", Role::Viewer),
        ("show 1", Role::Viewer),
        ("output 1 web1 2 --raw", Role::Viewer),
        ("watch 1", Role::Viewer),
        ("artifacts 1 web1 --list", Role::Operator),
        ("debts", Role::Viewer),
        ("balancer status prod", Role::Viewer),
        ("deploy prod", Role::Operator),
        ("run prod -- true", Role::Operator),
        ("run prod --sudo --script", Role::Operator),
        ("cancel 1", Role::Operator),
        ("releases", Role::Viewer),
        ("pause 1", Role::Operator),
        ("resume 1", Role::Operator),
        ("approve 1", Role::Operator),
        ("retry 1", Role::Operator),
        ("queue", Role::Viewer),
        ("lock", Role::Viewer),
        ("lock web1 for 2h because x", Role::Operator),
        ("unlock 3", Role::Operator),
        ("hold web1", Role::Operator),
        ("settle web1 because x", Role::Operator),
        ("balancer drain web1 because x", Role::Operator),
        ("balancer enable web1", Role::Operator),
        ("balancer status web1", Role::Viewer),
        ("rollback prod", Role::Operator),
        ("mark bad deploy because x", Role::Operator),
        ("status", Role::Viewer),
        ("history web1 http", Role::Viewer),
        ("why web1", Role::Viewer),
        ("downtime", Role::Viewer),
        ("events", Role::Viewer),
        ("audit --since 2h", Role::Viewer),
        ("audit verify", Role::Admin),
        ("config log", Role::Admin),
        ("config diff", Role::Admin),
        ("git-upload-pack '/config'", Role::Admin),
        ("git-receive-pack '/config'", Role::Admin),
        ("receipt 1", Role::Viewer),
        ("report prod --for 7d", Role::Viewer),
        ("receipt --allowed-signers", Role::Viewer),
        ("freeze", Role::Viewer),
        ("freeze web1 for 2d because x", Role::Operator),
        ("freeze end 3", Role::Operator),
        ("downtime web1 for 2h because x", Role::Operator),
        ("downtime end 3", Role::Operator),
        ("ack web1 http because x", Role::Operator),
        ("metrics", Role::Viewer),
        ("notify list", Role::Operator),
        ("notify test mail", Role::Admin),
        ("reload", Role::Admin),
        ("host accept web1", Role::Admin),
        ("host forget web1", Role::Admin),
        ("operator enroll K7QF-2M9X as eve", Role::Admin),
    ];
    for (line, needed) in table {
        for role in [Role::Viewer, Role::Operator, Role::Admin] {
            let operator = Operator::new("ann", "k", role);
            let command = parse_line(line.as_bytes()).unwrap().command;
            assert_eq!(
                authorize(&operator, command, Timestamp::UNIX_EPOCH).is_ok(),
                role >= needed,
                "{line} as {role}"
            );
        }
    }
}

fn operator_of(role: OwnRole) -> Operator {
    let role = OperatorRole::Own(Arc::new(OwnRole { name: "ci".into(), ..role }));
    Operator { role, ..Operator::new("ci", "k", Role::Viewer) }
}

fn decided(operator: &Operator, line: &str, now: &str) -> (bool, String, String) {
    let command = parse_line(line.as_bytes()).unwrap().command;
    match authorize(operator, command, now.parse().unwrap()) {
        Ok(granted) => (true, granted.rule().to_string(), String::new()),
        Err(denied) => (false, denied.rule.to_string(), denied.refusal.why),
    }
}

#[test]
fn a_role_of_ones_own_pushes_and_fetches_where_it_lists_that_alone() {
    let (push, fetch) = ("git-receive-pack '/config'", "git-upload-pack '/config'");
    let table = [
        (Some(Role::Admin), "", false, (false, false)),
        (Some(Role::Admin), "git-upload-pack", false, (false, true)),
        (Some(Role::Admin), "git-receive-pack", false, (true, false)),
        (None, "git-receive-pack", false, (true, false)),
        (None, "git-receive-pack", true, (false, false)),
        (Some(Role::Admin), "git-receive-pack", true, (false, false)),
        (None, "git-upload-pack", true, (false, true)),
    ];
    for (includes, listed, needs_approval, wanted) in table {
        let commands = [listed].iter().filter(|path| !path.is_empty()).map(ToString::to_string).collect();
        let operator = operator_of(OwnRole { includes, commands, needs_approval, ..OwnRole::default() });
        let found = [push, fetch].map(|line| decided(&operator, line, "2026-03-02T10:00:00Z"));
        assert_eq!((found[0].0, found[1].0), wanted, "{includes:?} {listed} {needs_approval}: {found:?}");
        if needs_approval {
            let why = "the role ci acts with the approval of another person, and a push has none";
            assert_eq!(found[0].2, why);
        } else if !wanted.0 {
            assert_eq!(found[0].2, "the role ci does not include `git-receive-pack`");
        }
    }
}

#[test]
fn a_role_of_ones_own_may_do_what_it_lists_and_nothing_else() {
    let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let monday = "2026-03-02T10:00:00Z";
    let ci = operator_of(OwnRole {
        tasks: names(&["deploy"]),
        commands: names(&["show", "plan"]),
        ..OwnRole::default()
    });
    let table = [
        ("deploy prod version=1", true, "roles.ci: tasks", ""),
        ("deploy prod --check", true, "roles.ci: tasks", ""),
        ("plan deploy prod", true, "roles.ci: commands", ""),
        ("plan --diff deploy prod", true, "roles.ci: commands", ""),
        ("show 3", true, "roles.ci: commands", ""),
        ("whoami", true, "roles.ci: everyone", ""),
        ("setup", true, "roles.ci: everyone", ""),
        ("web --token", true, "roles.ci: everyone", ""),
        ("complete deploy", true, "roles.ci: everyone", ""),
        ("kick 3", false, "roles.ci: unlisted", "the role ci does not include `kick`"),
        ("help deploy", true, "roles.ci: everyone", ""),
        ("restart prod", false, "roles.ci: unlisted", "the role ci does not include the task `restart`"),
        ("nonesuch prod", false, "roles.ci: unlisted", "the role ci does not include the task `nonesuch`"),
        ("plan restart prod", false, "roles.ci: unlisted", "the role ci does not include `plan restart`"),
        ("plan rollback prod", false, "roles.ci: unlisted", "the role ci does not include `plan rollback`"),
        ("runs", false, "roles.ci: unlisted", "the role ci does not include `runs`"),
        ("run prod -- id", false, "roles.ci: unlisted", "the role ci does not include `run`"),
        ("retry 3", false, "roles.ci: unlisted", "the role ci does not include `retry`"),
        (
            "balancer drain w because x",
            false,
            "roles.ci: unlisted",
            "the role ci does not include `balancer drain`",
        ),
        ("reload", false, "roles.ci: unlisted", "the role ci does not include `reload`"),
    ];
    for (line, is, rule, why) in table {
        assert_eq!(decided(&ci, line, monday), (is, rule.to_string(), why.to_string()), "{line}");
    }
    let viewer = operator_of(OwnRole {
        includes: Some(Role::Viewer),
        tasks: names(&["deploy"]),
        ..OwnRole::default()
    });
    assert_eq!(decided(&viewer, "runs", monday).1, "roles.ci: includes");
    assert_eq!(decided(&viewer, "plan restart prod", monday).1, "roles.ci: includes");
    assert!(!decided(&viewer, "restart prod", monday).0);
}

#[test]
fn hours_a_certificates_command_and_an_end_narrow_every_role() {
    use crate::domain::ask::hours::{Hours, Span};
    let hours =
        Hours { spans: vec![Span::parse("Mon-Fri 08:00-18:00").unwrap()], zone: jiff::tz::TimeZone::UTC };
    let by_day =
        operator_of(OwnRole { includes: Some(Role::Admin), hours: Some(hours), ..OwnRole::default() });
    let (is, rule, why) = decided(&by_day, "runs", "2026-03-02T19:00:00Z");
    assert_eq!((is, rule.as_str()), (false, "roles.ci: hours"));
    assert_eq!(why, "the role ci may do nothing now, only Mon-Fri 08:00-18:00 (UTC)");
    assert!(decided(&by_day, "runs", "2026-03-02T09:00:00Z").0);
    assert!(decided(&by_day, "whoami", "2026-03-02T19:00:00Z").0);

    let forced = Operator {
        only: Some("deploy prod.web version=1".into()),
        ..Operator::new("ann", "k", Role::Operator)
    };
    let now = "2026-03-02T09:00:00Z";
    assert!(decided(&forced, "deploy  prod.web 'version=1'", now).0);
    for line in [
        "deploy prod.web version=2",
        "deploy prod version=1",
        "runs",
        "whoami",
        "help",
        "deploy prod.web version=1 --check",
    ] {
        let (is, rule, why) = decided(&forced, line, now);
        assert_eq!((is, rule.as_str()), (false, "force-command"), "{line}");
        assert_eq!(
            why,
            "your certificate allows one command only (force-command): deploy prod.web version=1"
        );
    }
    // It never widens: the role still counts.
    let viewer = Operator { role: OperatorRole::Standard(Role::Viewer), ..forced };
    assert_eq!(decided(&viewer, "deploy prod.web version=1", now).1, "role operator");

    let ending = Operator { until: Some(now.parse().unwrap()), ..Operator::new("ann", "k", Role::Admin) };
    assert!(decided(&ending, "runs", "2026-03-02T08:59:59Z").0);
    assert_eq!(decided(&ending, "runs", now).1, "expired");
}

#[test]
fn a_temporary_right_adds_its_role_in_its_groups_and_nothing_else() {
    let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let right = |id, role, groups: &[&str]| ExtraRight {
        id,
        role: OperatorRole::Standard(role),
        groups: names(groups),
        until: "2026-03-02T12:00:00Z".parse().unwrap(),
    };
    let granted = |operator: &Operator, line: &str, now: &str| {
        let command = parse_line(line.as_bytes()).unwrap().command;
        let granted = authorize(operator, command, now.parse().unwrap());
        granted.map(|granted| (granted.rule().to_string(), granted.operator().groups.clone()))
    };
    let now = "2026-03-02T11:59:59Z";
    let extra = vec![right(3, Role::Operator, &["prod"])];
    let viewer = Operator { extra, ..Operator::new("bob", "k", Role::Viewer) };
    // By the right alone: in its groups. What the role allows stays as it is.
    let by_right = ("temporary right 3".to_string(), Some(names(&["prod"])));
    assert_eq!(granted(&viewer, "deploy prod", now).unwrap(), by_right);
    assert_eq!(granted(&viewer, "runs", now).unwrap(), ("role viewer".into(), None));
    assert!(granted(&viewer, "reload", now).is_err());
    assert!(granted(&viewer, "deploy prod", "2026-03-02T12:00:00Z").is_err());
    // An operator of other groups acts in both, and sees both.
    let of_test = Operator {
        groups: Some(names(&["test"])),
        extra: vec![right(4, Role::Operator, &["prod"]), right(5, Role::Viewer, &["db"])],
        ..Operator::new("bob", "k", Role::Operator)
    };
    let in_both = ("role operator".to_string(), Some(names(&["prod", "test"])));
    assert_eq!(granted(&of_test, "deploy prod", now).unwrap(), in_both);
    assert_eq!(granted(&of_test, "runs", now).unwrap().1, Some(names(&["db", "prod", "test"])));
    assert_eq!(of_test.all_groups(), Some(names(&["db", "prod", "test"])));
    // Who acts does so with one role: a right with another one adds no groups, since it may have other limits.
    let careful = OwnRole {
        name: "careful".into(),
        includes: Some(Role::Operator),
        needs_approval: true,
        ..OwnRole::default()
    };
    let right_of_careful =
        ExtraRight { role: OperatorRole::Own(Arc::new(careful)), ..right(6, Role::Viewer, &["prod"]) };
    let in_test = Operator {
        groups: Some(names(&["test"])),
        extra: vec![right_of_careful],
        ..Operator::new("bob", "k", Role::Operator)
    };
    assert_eq!(granted(&in_test, "deploy prod", now).unwrap().1, Some(names(&["test"])));
    assert_eq!(granted(&in_test, "watch 41", now).unwrap().1, Some(names(&["prod", "test"])));
    assert_eq!(granted(&in_test, "cancel 41", now).unwrap().1, Some(names(&["test"])));
    // Neither an expired login nor a certificate for one command is widened.
    let expired = Operator { until: Some(now.parse().unwrap()), ..viewer.clone() };
    assert!(granted(&expired, "deploy prod", now).is_err());
    let forced = Operator { only: Some("runs".into()), ..viewer };
    assert!(granted(&forced, "deploy prod", now).is_err());
}

#[test]
fn the_least_role_of_a_command_is_that_of_its_least_form() {
    use crate::domain::ask::command::command_paths;
    let lines = [
        "help",
        "version",
        "whoami",
        "doctor p",
        "logs p /x",
        "ask",
        "grant end 1",
        "sessions",
        "kick 1",
        "setup",
        "web",
        "complete",
        "board",
        "hosts",
        "plan deploy prod",
        "check prod",
        "run p -- id",
        "ping p",
        "nodes fold a",
        "last",
        "copy p /x",
        "fetch w /x",
        "facts",
        "runs",
        "show 1",
        "output 1 w",
        "watch 1",
        "events",
        "artifacts 1",
        "cancel 1",
        "pause 1",
        "resume 1",
        "approve 1",
        "retry 1",
        "debts",
        "queue",
        "lock",
        "unlock 3",
        "hold p",
        "freeze",
        "settle w because x",
        "balancer status p",
        "balancer drain p because x",
        "balancer enable p",
        "releases",
        "rollback p",
        "mark bad deploy because x",
        "mark good deploy because x",
        "status",
        "history w",
        "why w",
        "downtime",
        "ack w c because x",
        "notify list",
        "notify test",
        "metrics",
        "audit",
        "receipt 1",
        "report",
        "config log",
        "config diff",
        "git-upload-pack x",
        "git-receive-pack x",
        "sudoers",
        "reload",
        "host accept w",
        "host forget w",
        "operator enroll X as y",
    ];
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for line in lines {
        let command = parse_line(line.as_bytes()).unwrap().command;
        assert_eq!(least_role(command.path()), needed_role(&command), "{line}");
        seen.insert(command.path().to_string());
    }
    assert_eq!(seen, command_paths().into_iter().collect());
}

/// Commands that act need the login that the role demands; commands that read need any.
#[test]
fn a_role_may_demand_a_fresh_login_or_a_security_key_to_act() {
    let minute = std::time::Duration::from_secs(60);
    let role = |fresh, touch| OwnRole {
        includes: Some(Role::Operator),
        needs_approval: true,
        fresh,
        touch,
        ..OwnRole::default()
    };
    let acts = [
        "deploy prod version=1",
        "deploy prod --check",
        "plan --diff deploy prod",
        "approve 3",
        "cancel 3",
        "run prod -- id",
        "copy prod /x",
        "fetch web1 /x",
        "lock prod for 1h because x",
        "ask operator prod for 1h because x",
    ];
    let reads = ["plan deploy prod", "show 3", "runs", "check prod", "whoami", "help", "ask"];
    let old = "the role ci acts within 60 s of the login alone, and this connection logged in 61 s ago";
    let none = "the role ci acts within 60 s of the login alone";
    let key = "the role ci acts with a security key alone, and this login was with another key";
    // The age of the login in seconds, whether it was with a security key, and the refusal of what acts.
    let table = [
        (Some(minute), false, Some((60, false)), ""),
        (Some(minute), false, Some((61, true)), old),
        (Some(minute), false, Some((-60, false)), ""),
        (Some(minute), false, None, none),
        (None, true, Some((999, true)), ""),
        (None, true, Some((0, false)), key),
        (None, true, None, key),
        (Some(minute), true, Some((60, true)), ""),
        (Some(minute), true, Some((61, true)), old),
        (Some(minute), true, Some((60, false)), key),
        (None, false, None, ""),
    ];
    let now = Timestamp::from_second(1_000).unwrap();
    for (fresh, touch, login, wanted) in table {
        let at = |age: i64| Timestamp::from_second(1_000 - age).unwrap();
        let login = login.map(|(age, security_key)| Login { at: at(age), security_key });
        let operator = Operator { login, ..operator_of(role(fresh, touch)) };
        for line in acts {
            let (is_granted, rule, why) = decided(&operator, line, &now.to_string());
            assert_eq!((is_granted, why.as_str()), (wanted.is_empty(), wanted), "{line} {login:?}");
            let clause = if wanted == key { "roles.ci: touch" } else { "roles.ci: fresh" };
            assert!(wanted.is_empty() || rule == clause, "{rule}");
        }
        for line in reads {
            assert!(decided(&operator, line, &now.to_string()).0, "{line} {login:?}");
        }
    }
}

#[test]
fn a_right_for_a_time_demands_the_login_of_its_role() {
    let fresh = Some(std::time::Duration::from_secs(60));
    let role = OwnRole { name: "ci".into(), includes: Some(Role::Operator), fresh, ..OwnRole::default() };
    let until = Timestamp::from_second(5_000).unwrap();
    let role = OperatorRole::Own(Arc::new(role));
    let right = ExtraRight { id: 1, role, groups: ["prod".to_string()].into(), until };
    let logged_in = |second| Operator {
        login: Some(Login { at: Timestamp::from_second(second).unwrap(), security_key: false }),
        extra: vec![right.clone()],
        ..Operator::new("vic", "k", Role::Viewer)
    };
    let now = Timestamp::from_second(1_000).unwrap().to_string();
    assert!(decided(&logged_in(950), "deploy prod", &now).0);
    assert!(!decided(&logged_in(900), "deploy prod", &now).0);
}

#[test]
fn a_refused_login_has_the_line_to_type() {
    let refused_line =
        |clause, line| denied(Rule::Own { role: "ci".into(), clause }, "no".into()).of_line(line).to_string();
    let refused = |clause| refused_line(clause, "deploy prod version=1");
    // A shell must not take a part of it for a command of the operator's own machine.
    assert_eq!(
        refused_line(Clause::Fresh, "run web -- cd /srv; rm -rf old"),
        "no; try: ssh -o ControlPath=none rollcall 'run web -- cd /srv; rm -rf old'"
    );
    assert_eq!(
        refused_line(Clause::Fresh, "deploy prod token=***"),
        "no; try: ssh -o ControlPath=none rollcall COMMAND"
    );
    assert_eq!(refused(Clause::Fresh), "no; try: ssh -o ControlPath=none rollcall deploy prod version=1");
    assert_eq!(
        refused(Clause::Touch),
        "no; try: ssh -o ControlPath=none -o IdentitiesOnly=yes -i ~/.ssh/id_ed25519_sk rollcall deploy prod version=1"
    );
    assert_eq!(refused(Clause::Tasks), "no");
}
