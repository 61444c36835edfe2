use super::*;
use crate::domain::base::outcome::RunOutcome;
use crate::domain::plan::plan::RunKind;
use crate::domain::run::history::{HostPast, PastEnd};
use crate::present::board::story::at;
use crate::present::board::text::text;

fn summary(run: u64, title: &str, hosts: &[&str]) -> RunSummary {
    RunSummary {
        run: RunId(run),
        title: title.into(),
        kind: RunKind::Check,
        by: "ann".into(),
        started_at: at(run as i64),
        ended_at: Some(at(run as i64 + 2)),
        outcome: Some(RunOutcome::Failed),
        hosts: hosts.iter().map(|host| HostName::from(*host)).collect(),
    }
}

/// The ends of hosts in runs of one task, with everything that the store makes of them.
fn ends(of: &[(&str, &[(u64, End)])]) -> EndsOfRuns {
    let mut all = EndsOfRuns::default();
    for (host, ends) in of {
        for (run, end) in *ends {
            *all.counts.entry(RunId(*run)).or_default().entry(*end).or_default() += 1;
        }
        if !ends.iter().any(|(_, end)| is_bad(*end)) {
            continue;
        }
        let past = |(run, end): &(u64, End)| PastEnd { run: RunId(*run), seq: *run, at_s: 0, end: *end };
        let mut past: Vec<PastEnd> = ends.iter().map(past).collect();
        past.reverse();
        let host = HostName::from(*host);
        all.ends.insert(host.clone(), ends.iter().map(|(run, end)| (RunId(*run), *end)).collect());
        all.past.push(HostPast { subject: "task deploy".into(), host, ends: past, is_cut: false });
    }
    all
}

#[test]
fn new_problems_and_old_ones_are_told_apart_and_time_runs_down() {
    let hosts = ["web1", "web2", "web3", "web4"];
    let runs = [
        summary(43, "deploy prod", &hosts),
        summary(42, "deploy prod", &hosts),
        summary(41, "deploy prod", &hosts[1..]),
    ];
    let ends = ends(&[
        ("web1", &[(42, End::Released), (43, End::Released)]),
        ("web2", &[(41, End::Released), (42, End::Released), (43, End::RolledBack)]),
        ("web3", &[(41, End::Failed), (42, End::Held), (43, End::Unknown)]),
        ("web4", &[(41, End::Failed), (42, End::Held), (43, End::Unknown)]),
    ]);
    let view = View::of(PageName::Runs);
    let page = page((&runs, false), &RunEnds { ends: &ends, is_part: false }, &view, (99, at(60)));
    assert_eq!(
        text(&page),
        "\
runs at event 99

runs
   STATE   RUN  WHAT         BY   HOSTS  STARTED  TOOK  ENDS                                  MATRIX  PROBLEMS
X  failed  43   deploy prod  ann  4      17s      2.0s  1 released, 1 rolled-back, 2 unknown  <?      NEW web2; still web[3-4] since run 41
X  failed  42   deploy prod  ann  4      18s      2.0s  2 released, 2 held                    vH      still web[3-4] since run 41
X  failed  41   deploy prod  ann  3      19s      2.0s  1 released, 2 failed                  vX      NEW web[3-4]

hosts with a problem in these runs
   STATE        HOST      HOSTS  COLUMN  LAST PROBLEM
<  rolled back  web2      1      1       run 43, rolled-back
?  unknown      web[3-4]  2      2       run 43, unknown
"
    );
    assert_eq!(page.alarms(), "", "what was raises no alarm");
}

#[test]
fn a_host_that_is_not_in_a_run_has_no_end_there() {
    let runs = [summary(43, "check prod", &["web1"]), summary(42, "deploy prod", &["web2"])];
    let ends = ends(&[("web1", &[(43, End::Failed)]), ("web2", &[(42, End::Failed)])]);
    let columns = host_columns(&runs, &ends);
    let marks: Vec<&[Mark]> = columns.iter().map(|column| &*column.marks).collect();
    assert_eq!(marks, [[Mark::Failed, Mark::Absent], [Mark::Absent, Mark::Failed]]);
    assert_eq!(in_words(&[Mark::Absent, Mark::Failed, Mark::Failed]), "2 failed, 1 no end");
}

#[test]
fn a_page_of_many_problems_stays_small() {
    let names: Vec<String> = (1..=200).map(|number| format!("web{number:03}")).collect();
    let numbers: Vec<u64> = (1..=60).collect();
    // Each host has failed in other runs than all others.
    let of = |at: usize| -> Vec<(u64, End)> {
        numbers
            .iter()
            .map(|run| (*run, if (at as u64 + 1) >> (run % 8) & 1 == 1 { End::Failed } else { End::Done }))
            .collect()
    };
    let all: Vec<Vec<(u64, End)>> = (0..names.len()).map(of).collect();
    let rows: Vec<(&str, &[(u64, End)])> =
        names.iter().map(String::as_str).zip(all.iter().map(Vec::as_slice)).collect();
    let ends = ends(&rows);
    let runs: Vec<RunSummary> = numbers.iter().rev().map(|run| summary(*run, "deploy prod", &[])).collect();
    let view = View::of(PageName::Runs);
    let page = page((&runs, true), &RunEnds { ends: &ends, is_part: true }, &view, (99, at(60)));
    let columns = &page.tables[1];
    assert_eq!(columns.rows.len(), COLUMNS_SHOWN);
    assert!(columns.caption.ends_with("in these runs, without 160 more columns"), "{}", columns.caption);
    let Cell::Strip(marks, _) = &page.tables[0].rows[0].cells[8] else { panic!() };
    assert_eq!(marks.len(), COLUMNS_SHOWN);
    assert_eq!(page.tables[0].rows[MATRIX_RUNS].cells[8], Cell::text(""), "older runs have no columns");
    assert!(text(&page).len() < 60_000, "{}", text(&page).len());
}
