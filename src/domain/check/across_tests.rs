use super::*;

fn seen(values: &[(&str, &str)]) -> SnapshotValues {
    let own = |value: &str| Judged { value: Some(value.into()), ..Judged::new(Verdict::Ok, "own") };
    values.iter().map(|(host, value)| (HostName::new(*host), own(value))).collect()
}

fn verdicts(rule: &AcrossRule, seen: &SnapshotValues) -> Vec<String> {
    let judged = compare(rule, seen);
    judged.iter().map(|(host, judged)| format!("{host} {}: {}", judged.verdict.word(), judged.text)).collect()
}

fn limits(critical: &str) -> Limits {
    Limits { warning: None, critical: Some(critical.parse().unwrap()) }
}

#[test]
fn the_one_out_of_line_is_named_with_what_differs() {
    let rule = AcrossRule::Same;
    let apart = seen(&[("web1", "a\nb\n"), ("web2", "a\nb\n"), ("web3", "a\nc\n")]);
    assert_eq!(
        verdicts(&rule, &apart),
        [
            "web1 ok: the same on web[1-2]; out of line: web3",
            "web2 ok: the same on web[1-2]; out of line: web3",
            r#"web3 critical: not what web[1-2] say: "c" instead of "b""#,
        ]
    );
    let diff = &compare(&rule, &apart)[&HostName::new("web3")].detail;
    assert!(diff.contains("--- web[1-2]\n+++ web3\n") && diff.contains("-b\n+c\n"), "{diff}");
    assert_eq!(
        verdicts(&rule, &seen(&[("a", "x"), ("b", "x")])),
        ["a ok: the same on all 2 hosts", "b ok: the same on all 2 hosts"]
    );
    assert_eq!(
        verdicts(&rule, &seen(&[("a", "x")])),
        ["a unknown: there is no other host to compare it with"]
    );
    let split = verdicts(&rule, &seen(&[("a", "x"), ("b", "y")]));
    assert!(
        split.iter().all(|line| line.contains("critical: no majority: a and b stand apart")),
        "{split:?}"
    );
}

#[test]
fn whoever_could_not_be_asked_is_not_compared() {
    let mut half = seen(&[("a", "1"), ("b", "1")]);
    half.insert(HostName::new("c"), Judged::new(Verdict::Unknown, "no contact"));
    half.insert(HostName::new("d"), Judged::new(Verdict::Critical, "exit status 1"));
    let same = verdicts(&AcrossRule::Same, &half);
    assert_eq!(same[2..], ["c unknown: no contact", "d critical: exit status 1"]);
    assert!(same[0].ends_with("the same on all 2 hosts"));
    let sum = verdicts(&AcrossRule::Total { of: Total::Sum, limits: limits("10:") }, &half);
    assert_eq!(sum[0], "a unknown: sum is not known without c,d");
    let count = verdicts(&AcrossRule::Total { of: Total::Count, limits: limits("3:") }, &half);
    assert_eq!(count[3], "d unknown: hosts that are ok is not known without c", "it would be enough with c");
    assert_eq!(count[2], "c unknown: no contact");
    let four = verdicts(&AcrossRule::Total { of: Total::Count, limits: limits("4:") }, &half);
    assert_eq!(four[3], "d critical: hosts that are ok of 4: 2, which is not in critical range 4:");
    half.insert(
        HostName::new("b"),
        Judged { value: Some("1".into()), ..Judged::new(Verdict::Warning, "own trouble") },
    );
    assert_eq!(
        verdicts(&AcrossRule::Same, &half)[1],
        "b warning: own trouble",
        "what is the same is not well by that"
    );
}

#[test]
fn numbers_are_held_against_the_median() {
    let rule = AcrossRule::Within { percent: 10.0 };
    let rates = seen(&[("a", "100"), ("b", "104"), ("c", "50"), ("d", "98")]);
    assert_eq!(
        verdicts(&rule, &rates),
        [
            "a ok: 100, within 10% of the median 99",
            "b ok: 104, within 10% of the median 99",
            "c critical: 50 is not within 10% of the median 99",
            "d ok: 98, within 10% of the median 99",
        ]
    );
    let odd = verdicts(&rule, &seen(&[("a", "1"), ("b", "x")]));
    assert_eq!(odd[1], r#"b unknown: "x" is no number that can be compared"#);
    assert_eq!(verdicts(&rule, &seen(&[("a", "0"), ("b", "0")]))[0], "a ok: 0, within 10% of the median 0");
}

#[test]
fn one_number_is_made_of_many() {
    let rates = seen(&[("a", "100"), ("b", "104")]);
    let total =
        |of, range: &str| verdicts(&AcrossRule::Total { of, limits: limits(range) }, &rates).remove(0);
    assert_eq!(total(Total::Sum, "300:"), "a critical: sum of 2: 204, which is not in critical range 300:");
    assert_eq!(total(Total::Min, "100:"), "a ok: smallest of 2: 100");
    assert_eq!(total(Total::Max, "103"), "a critical: largest of 2: 104, which is not in critical range 103");
    assert_eq!(total(Total::Count, "2:"), "a ok: hosts that are ok of 2: 2");
}

#[test]
fn followers_are_held_against_their_leader() {
    let rows = seen(&[("db1", "1000"), ("db2", "1000"), ("db3", "990")]);
    let same = AcrossRule::Leader { host: "db1".into(), limits: None };
    assert_eq!(
        verdicts(&same, &rows),
        [
            "db1 ok: it is the leader",
            "db2 ok: says what db1 says",
            r#"db3 critical: not what db1 says: "990" instead of "1000""#
        ]
    );
    let behind = AcrossRule::Leader { host: "db1".into(), limits: Some(limits("5")) };
    assert_eq!(
        verdicts(&behind, &rows)[2],
        "db3 critical: 10 behind db1 (990 of 1000), which is not in critical range 5"
    );
    let gone = AcrossRule::Leader { host: "db9".into(), limits: None };
    assert_eq!(
        verdicts(&gone, &rows)[0],
        "db1 unknown: the leader db9 is not among the hosts that were asked"
    );
    let mut silent = rows;
    silent.insert(HostName::new("db1"), Judged::new(Verdict::Unknown, "no contact"));
    assert_eq!(
        verdicts(&same, &silent),
        [
            "db1 unknown: no contact",
            "db2 unknown: the leader db1 could not be asked, or is not well itself",
            "db3 unknown: the leader db1 could not be asked, or is not well itself",
        ]
    );
}
