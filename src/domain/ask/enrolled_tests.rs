use super::*;

const LOGIN: Login = Login { at: Timestamp::UNIX_EPOCH, security_key: false };
use crate::domain::ask::access::Role;

const NOW: u64 = 1_800_000_000;

fn digests(name: &str) -> KeyDigests {
    KeyDigests { sha256: format!("SHA256:{name}"), sha1: [0; 20] }
}

fn line(subject: LineKey, role: Role) -> OperatorLine {
    OperatorLine {
        subject,
        name: "line".into(),
        role: OperatorRole::Standard(role),
        groups: None,
        from: None,
        until: None,
    }
}

fn authority(principals: &[&str], person: Person) -> LineKey {
    let principals = principals.iter().map(ToString::to_string).collect();
    LineKey::Authority(Authority { ca: "SHA256:ca".into(), principals, person })
}

fn certificate() -> Certificate {
    Certificate {
        key: digests("key"),
        ca: digests("ca"),
        is_user: true,
        weak: None,
        id: "ann".into(),
        serial: 7,
        principals: vec!["deploy".into()],
        after: NOW - 60,
        before: NOW + 60,
        critical: BTreeMap::new(),
    }
}

fn admit(enrolled: &Enrolled, certificate: Certificate, user: &str) -> Result<Operator, Denial> {
    let proof = Proof::Certificate(Box::new(certificate));
    let presented = Presented { proof, from: "192.0.2.7".parse().unwrap(), user: user.into(), login: LOGIN };
    enrolled.admit(&presented, Timestamp::from_second(NOW as i64).unwrap())
}

fn enrolled(lines: Vec<OperatorLine>) -> Enrolled {
    Enrolled { lines, revoked: Revoked::default() }
}

#[test]
fn a_certificate_is_admitted_by_its_rules_alone() {
    type Change = fn(&mut Certificate);
    let option = |name: &str| Denial::UnknownOption(name.into());
    let source = |rule: &str| Denial::WrongSource(format!("{rule} (source-address)"));
    let table: Vec<(&str, Change, Result<(), Denial>)> = vec![
        ("valid", |_| {}, Ok(())),
        ("wrong CA", |c| c.ca = digests("other"), Err(Denial::UnknownCa("SHA256:other".into()))),
        ("host", |c| c.is_user = false, Err(Denial::HostCertificate)),
        ("weak", |c| c.weak = Some("SHA-1".into()), Err(Denial::Weak("SHA-1".into()))),
        ("no principals", |c| c.principals.clear(), Err(Denial::NoPrincipals)),
        ("wrong principal", |c| c.principals = vec!["root".into()], Err(Denial::WrongPrincipals)),
        ("too many principals", |c| c.principals = vec!["deploy".into(); 257], Err(Denial::WrongPrincipals)),
        ("expired", |c| c.before = NOW, Err(Denial::CertificateExpired)),
        ("not yet valid", |c| c.after = NOW + 1, Err(Denial::NotYetValid)),
        ("valid from now", |c| c.after = NOW, Ok(())),
        ("for ever", |c| (c.after, c.before) = (0, u64::MAX), Ok(())),
        ("no name", |c| c.id = " ".into(), Err(Denial::BadName)),
        ("a name of two lines", |c| c.id = "a\nb".into(), Err(Denial::BadName)),
        (
            "unknown option",
            |c| _ = c.critical.insert("verify-required".into(), String::new()),
            Err(option("verify-required")),
        ),
        ("here", |c| _ = c.critical.insert("source-address".into(), "192.0.2.0/24".into()), Ok(())),
        (
            "elsewhere",
            |c| _ = c.critical.insert("source-address".into(), "198.51.100.1".into()),
            Err(source("198.51.100.1")),
        ),
    ];
    let enrolled = enrolled(vec![line(authority(&["deploy"], Person::KeyId), Role::Operator)]);
    for (what, change, expected) in table {
        let mut certificate = certificate();
        change(&mut certificate);
        assert_eq!(admit(&enrolled, certificate, "x").map(|_| ()), expected, "{what}");
    }
    let mut bad = certificate();
    bad.critical.insert("source-address".into(), "nonsense".into());
    assert!(matches!(admit(&enrolled, bad, "x"), Err(Denial::BadOption(_))));
}

#[test]
fn a_revoked_certificate_is_refused_by_serial_id_key_and_ca() {
    let lines = vec![line(authority(&["deploy"], Person::KeyId), Role::Operator)];
    let keys =
        |name: &str| Revoked { sha256: BTreeSet::from([format!("SHA256:{name}")]), ..Revoked::default() };
    let serials = super::super::revoked::RevokedCertificates { serials: vec![(7, 7)], ..Default::default() };
    let ids = super::super::revoked::RevokedCertificates {
        ids: BTreeSet::from(["ann".to_string()]),
        ..Default::default()
    };
    let lists = |one| Revoked { certificates: vec![one], ..Revoked::default() };
    let table = [
        (keys("key"), Denial::CertificateRevoked),
        (keys("ca"), Denial::CaRevoked),
        (lists(serials), Denial::CertificateRevoked),
        (lists(ids), Denial::CertificateRevoked),
    ];
    for (revoked, denial) in table {
        let enrolled = Enrolled { lines: lines.clone(), revoked };
        assert_eq!(admit(&enrolled, certificate(), "x"), Err(denial));
    }
}

#[test]
fn the_user_name_selects_among_principals_and_the_person_is_one() {
    let lines = || {
        vec![
            line(authority(&["deploy"], Person::KeyId), Role::Operator),
            line(authority(&["admin"], Person::KeyId), Role::Admin),
        ]
    };
    let both = Certificate { principals: vec!["deploy".into(), "admin".into()], ..certificate() };
    let first = admit(&enrolled(lines()), both.clone(), "ann").unwrap();
    assert_eq!((first.name.as_str(), &first.role), ("ann", &OperatorRole::Standard(Role::Operator)));
    assert_eq!(first.key, "certificate \"ann\", serial 7, principal deploy, of SHA256:ca");
    assert_eq!(first.until, Timestamp::from_second(NOW as i64 + 60).ok());
    let chosen = admit(&enrolled(lines()), both.clone(), "admin").unwrap();
    assert_eq!((chosen.name.as_str(), &chosen.role), ("ann", &OperatorRole::Standard(Role::Admin)));

    let named = vec![line(authority(&["deploy", "admin"], Person::Principal), Role::Operator)];
    assert_eq!(admit(&enrolled(named.clone()), both, "admin"), Err(Denial::SeveralPersons));
    assert_eq!(admit(&enrolled(named), certificate(), "x").unwrap().name, "deploy");
}

#[test]
fn a_line_holds_from_its_networks_until_its_end() {
    let key = digests("ann");
    let now = Timestamp::from_second(NOW as i64).unwrap();
    let later = Timestamp::from_second(NOW as i64 + 1).unwrap();
    let plain = line(LineKey::Key(key.sha256.clone()), Role::Viewer);
    let networks = |text| Networks::parse(text).ok();
    let from = |rule: &str| Denial::WrongSource(format!("{rule} (from)"));
    let table = [
        (plain.clone(), Ok(())),
        (OperatorLine { until: Some(now), ..plain.clone() }, Err(Denial::LineExpired(now))),
        (OperatorLine { until: Some(later), ..plain.clone() }, Ok(())),
        (OperatorLine { from: networks("192.0.2.0/24"), ..plain.clone() }, Ok(())),
        (
            OperatorLine { from: networks("192.0.2.0/24,!192.0.2.7"), ..plain.clone() },
            Err(from("192.0.2.0/24,!192.0.2.7")),
        ),
        (line(LineKey::Key("SHA256:other".into()), Role::Admin), Err(Denial::NotEnrolled)),
        // A key of a CA is no key of an operator.
        (line(authority(&["deploy"], Person::KeyId), Role::Admin), Err(Denial::NotEnrolled)),
    ];
    for (line, expected) in table {
        let presented = Presented {
            proof: Proof::Key(key.clone()),
            from: "192.0.2.7".parse().unwrap(),
            user: "x".into(),
            login: LOGIN,
        };
        let admitted = enrolled(vec![line.clone()]).admit(&presented, now);
        assert_eq!(admitted.map(|operator| operator.until), expected.map(|()| line.until), "{line:?}");
    }
    let presented = Presented {
        proof: Proof::Key(key.clone()),
        from: "192.0.2.7".parse().unwrap(),
        user: "x".into(),
        login: LOGIN,
    };
    let revoked = Revoked { sha1: BTreeSet::from([[0; 20]]), ..Revoked::default() };
    assert_eq!(Enrolled { lines: vec![plain], revoked }.admit(&presented, now), Err(Denial::KeyRevoked));
}
