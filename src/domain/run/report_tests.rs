//! The rules of the numbers.

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Ten days.
fn period() -> Period {
    Period { from: at(1_000), until: at(865_000) }
}

/// `web1=released web2=-`: a host without an end.
fn record(run: u64, times: (i64, i64), outcome: RunOutcome, hosts: &str) -> ReleaseRecord {
    let host = |text: &str| {
        let (name, end) = text.split_once('=').unwrap();
        let end = (end != "-").then(|| serde_json::from_str(&format!("\"{end}\"")).unwrap());
        (HostName::new(name), end)
    };
    ReleaseRecord {
        run: RunId(run),
        goes_back: false,
        started_at: at(times.0),
        ended_at: Some(at(times.1)),
        outcome: Some(outcome),
        hosts: hosts.split(' ').map(host).collect(),
        is_whole: true,
    }
}

#[test]
fn the_end_of_a_release_is_that_of_the_hosts_of_the_report() {
    use RunOutcome::*;
    let table = [
        (Done, "w1=released w2=unchanged", true, ReleaseEnd::Good),
        (Failed, "w1=released w2=rolled-back", true, ReleaseEnd::Failed),
        (NeedsPerson, "w1=held", true, ReleaseEnd::Failed),
        (NeedsPerson, "w1=failing", true, ReleaseEnd::Failed),
        (NeedsPerson, "w1=unknown w2=released", true, ReleaseEnd::Unknown),
        (NeedsPerson, "w1=unknown w2=rolled-back", true, ReleaseEnd::Failed),
        (Failed, "w1=- w2=released", true, ReleaseEnd::Unknown),
        (Failed, "w1=released w2=not-started", true, ReleaseEnd::Failed),
        (Unreachable, "w1=not-started", true, ReleaseEnd::Failed),
        (Cancelled, "w1=rolled-back", true, ReleaseEnd::Cancelled),
        (Interrupted, "w1=released", true, ReleaseEnd::Unknown),
        // Another host of the run has failed.
        (Failed, "w1=released", false, ReleaseEnd::Good),
        (Failed, "w1=not-started", false, ReleaseEnd::NotStarted),
    ];
    for (outcome, hosts, is_whole, wanted) in table {
        let record = ReleaseRecord { is_whole, ..record(1, (1, 2), outcome, hosts) };
        assert_eq!(record.end(), wanted, "{outcome:?} {hosts}");
    }
    let open = ReleaseRecord { ended_at: None, outcome: None, ..record(1, (1, 2), Done, "w1=-") };
    assert_eq!(open.end(), ReleaseEnd::UnderWay);
}

#[test]
fn without_runs_there_are_no_rates() {
    let none = releases(&[], period());
    assert_eq!((none.deploys, none.deploys_per_day, none.change_failure_rate), (0, Some(0.0), None));
    assert_eq!((none.duration, none.recovery, none.lead_time), (None, None, None));
    let hours = Period { from: at(0), until: at(86_399) };
    assert_eq!(releases(&[], hours).deploys_per_day, None);
}

#[test]
fn what_is_neither_good_nor_failed_is_in_no_rate() {
    let open = ReleaseRecord {
        ended_at: None,
        outcome: None,
        ..record(9, (800_000, 0), RunOutcome::Done, "w1=released")
    };
    let back =
        ReleaseRecord { goes_back: true, ..record(8, (9_000, 9_100), RunOutcome::Done, "w1=released") };
    let all = [
        record(1, (10, 20), RunOutcome::Failed, "w1=held"),
        record(2, (900, 1_100), RunOutcome::Done, "w1=released"),
        record(3, (2_000, 2_100), RunOutcome::Failed, "w1=rolled-back w2=rolled-back"),
        record(4, (3_000, 3_900), RunOutcome::NeedsPerson, "w1=unknown"),
        record(5, (4_000, 4_001), RunOutcome::Cancelled, "w1=not-started"),
        record(6, (5_000, 5_300), RunOutcome::Done, "w1=released"),
        open,
        back,
    ];
    let report = releases(&all, period());
    assert_eq!((report.deploys, report.good, report.failed, report.unknown), (4, 2, 1, 1));
    assert_eq!((report.cancelled, report.not_started, report.under_way), (1, 0, 1));
    assert_eq!(report.deploys_per_day, Some(0.4));
    assert_eq!(report.change_failure_rate, Some(1.0 / 3.0));
    assert_eq!(report.duration, Some(Spread { count: 4, median_ms: 200_000, longest_ms: 900_000 }));
    assert_eq!((report.rollbacks, report.rollbacks_failed, report.hosts_rolled_back), (1, 0, 2));
}

#[test]
fn a_failed_deploy_is_over_when_each_failed_host_has_a_good_release() {
    let failed = || record(1, (2_000, 2_100), RunOutcome::Failed, "w1=released w2=held w3=not-started");
    let good = |run, end, hosts: &str| record(run, (2_000, end), RunOutcome::Done, hosts);
    let table = [
        (vec![], None),
        // Before the failure, and of other hosts.
        (vec![good(2, 2_050, "w2=released w3=released"), good(3, 9_000, "w1=released")], None),
        (vec![good(2, 2_200, "w2=released")], None),
        (vec![good(2, 2_200, "w2=released"), good(3, 2_400, "w3=unchanged")], Some(300_000)),
        (vec![good(2, 2_200, "w2=released w3=released"), good(3, 2_400, "w3=released")], Some(100_000)),
    ];
    for (others, wanted) in table {
        let all: Vec<ReleaseRecord> = [vec![failed()], others].concat();
        let report = releases(&all, period());
        assert_eq!(report.recovery.map(|one| one.median_ms), wanted, "{all:?}");
        assert_eq!(report.not_recovered, usize::from(wanted.is_none()));
    }
    // A release that failed elsewhere is good for the hosts that it reached.
    let partly = record(2, (2_200, 2_300), RunOutcome::Failed, "w2=released w3=released w9=held");
    let report = releases(&[failed(), partly], period());
    assert_eq!((report.failed, report.recovery.map(|one| one.count), report.not_recovered), (2, Some(1), 1));
}

#[test]
fn a_host_is_left_out_if_its_run_has_ended_without_it() {
    let absence = |host: &str, since, until: Option<i64>, ended: Option<i64>| Absence {
        host: host.into(),
        balancer: "prod.web".into(),
        run: RunId(1),
        since: at(since),
        until: until.map(at),
        run_ended_at: ended.map(at),
        written_off: false,
    };
    let all = vec![
        absence("in its bracket", 2_000, None, None),
        absence("back in its run", 2_000, Some(2_050), Some(2_100)),
        absence("before the time", 10, Some(900), Some(20)),
        absence("partly", 500, Some(1_500), Some(600)),
        absence("still", 2_000, None, Some(2_100)),
        absence("once", 2_000, Some(2_200), Some(2_100)),
    ];
    let out: Vec<(String, u64, Option<Timestamp>)> = left_out(all, period())
        .into_iter()
        .map(|one| (one.host.to_string(), one.out_ms / 1_000, one.until))
        .collect();
    let wanted = [("still", 863_000, None), ("partly", 500, Some(at(1_500))), ("once", 200, Some(at(2_200)))];
    assert_eq!(out, wanted.map(|(host, seconds, until)| (host.to_string(), seconds, until)));
}
