use super::*;
use crate::domain::ask::view::PageName;
use crate::domain::base::name::RunId;
use crate::domain::base::outcome::{Outcome, Verdict};
use crate::domain::base::rendered::LineRenderer;
use crate::domain::check::id::CheckId;
use crate::domain::run::record::{Debt, WrittenOff};
use crate::domain::watch::roll::CheckLine;
use crate::present::board::pages::debts::Debts;
use crate::present::board::pages::fleet::CheckCounts;
use crate::present::board::pages::step::{Excerpt, ExcerptLine};
use crate::present::board::pages::{run_host, step};
use crate::present::board::story::{Story, at, name};
use crate::present::board::text::text;

fn view() -> View {
    View::of(PageName::Run(RunId(41)))
}

fn failed(why: &str) -> Outcome {
    Outcome::Failed { code: Some(1), why: why.into() }
}

#[test]
fn a_thousand_hosts_are_fewer_than_sixty_rows_with_problems_first() {
    let mut story = Story::of_steps(1_000, 20);
    for number in 1..=200 {
        story.steps(number, 20, (Outcome::Ok, ""));
    }
    for number in 201..=300 {
        story.steps(number, 7, (failed("exit status 1"), "stopping\napp.service: Failed\n"));
    }
    let page = page(&story.fold, &view(), &Before::default(), at(10));
    let rows = &page.tables[0].rows;
    assert!(rows.len() < 60, "{}", rows.len());
    assert!(rows[..50].iter().all(|row| row.mark == Mark::Failed && row.key.starts_with("web02")));
    let last: Vec<&TableRow> = rows[50..].iter().collect();
    assert_eq!(last[0].cells[1], Cell::text("web[0251-0300]"));
    assert_eq!(last[0].cells[2], Cell::text("50"));
    let all = super::page(&story.fold, &View { all: true, ..view() }, &Before::default(), at(10));
    assert_eq!(all.tables[0].rows.len(), 1_000);
    assert!(all.tables[0].more.is_none());
}

#[test]
fn a_page_says_what_failed_first_and_leads_there() {
    let mut story = Story::of_steps(3, 3);
    story.steps(2, 2, (failed("exit status 1"), "stopping\napp.service: Failed\n"));
    story.steps(1, 1, (failed("exit status 2"), ""));
    assert_eq!(
        text(&page(&story.fold, &view(), &Before::default(), at(10))),
        "\
run 41 at event 11
> under way: run 41: 0:10, 0 of 3 hosts done: run prod -- true; by ann
2 failed, 1 not started
next: no earlier run shows how long it may take
    ssh rollcall watch 41
X first failure: web0002: step 2: step `step 2`: exit status 1

hosts
   STATE        HOST     HOSTS  STEPS  FOR  NOTE
X  failed       web0001         X..         step `step 1`: exit status 2
X  failed       web0002         vX.         step `step 2`: exit status 1
.  not started  web0003         ...

steps
   STATE        STEP      HOSTS           MEDIAN  LONGEST
X  failed       1 step 1  1 failed, 1 ok  1.5s    1.5s
X  failed       2 step 2  1 failed        1.5s    1.5s
.  not started  3 step 3
"
    );
    let page = page(&story.fold, &view(), &Before::default(), at(10));
    assert_eq!(page.head[3].address.as_deref(), Some("/runs/41/hosts/web0002/steps/2"));
    assert_eq!(page.alarms(), "X2");
}

#[test]
fn a_check_that_was_never_probed_is_not_ok() {
    let line = |verdict: Option<Verdict>| CheckLine {
        host: name(1),
        group: "prod".into(),
        check: CheckId::new("http", "http").into(),
        verdict,
        hard: false,
        attempt: 0,
        max_attempts: 3,
        since: None,
        text: String::new(),
        last_at: None,
        took_ms: 0,
        readings: vec![],
        last_ok: None,
        flapping: false,
        ack: None,
        quiet: None,
        next_at: None,
    };
    let rows: [(&[Option<Verdict>], Mark, &str); 5] = [
        (&[], Mark::NotStarted, "no check is watched"),
        (&[None], Mark::NotStarted, "checks: 1 not probed yet"),
        (&[Some(Verdict::Ok), Some(Verdict::Ok)], Mark::Ok, "all of 2 checks ok"),
        (&[Some(Verdict::Ok), None], Mark::NotStarted, "checks: 1 not probed yet, 1 ok"),
        (
            &[Some(Verdict::Critical), None, Some(Verdict::Unknown)],
            Mark::Unknown,
            "checks: 1 unknown, 1 critical, 1 not probed yet",
        ),
    ];
    for (verdicts, mark, words) in rows {
        let lines: Vec<CheckLine> = verdicts.iter().map(|verdict| line(*verdict)).collect();
        let counts = CheckCounts::of(lines.iter());
        assert_eq!((counts.mark(), counts.words().as_str()), (mark, words));
    }
}

#[test]
fn debts_are_told_apart_and_none_is_left_out() {
    let debt = |run: u64, is_off: bool| Debt {
        host: name(1),
        balancer: "lb".into(),
        run: RunId(run),
        by: "ann".into(),
        since: at(1),
        why: String::new(),
        written_off: is_off.then(|| WrittenOff { by: "ann".into(), at: at(2), reason: "gone".into() }),
    };
    let in_hand = BTreeMap::from([(name(1), RunId(41))]);
    let summary = |all: &[Debt], is_part: bool| Debts { all, in_hand: &in_hand, is_part }.summary();
    let rows: [(&[Debt], bool, Mark, &str); 6] = [
        (&[], false, Mark::Ok, "no host is out of rotation by rollcall"),
        (&[], true, Mark::Ok, "no host that you may see is out of rotation by rollcall"),
        (&[debt(40, false)], false, Mark::Held, "1 host out of rotation, to be settled"),
        (&[debt(41, false)], false, Mark::Running, "1 host out of rotation in a run"),
        (
            // The run has settled this host as held, and goes on with others.
            &[Debt { host: name(2), ..debt(41, false) }],
            false,
            Mark::Held,
            "1 host out of rotation, to be settled",
        ),
        (
            &[debt(41, false), debt(3, true)],
            false,
            Mark::Warning,
            "1 host out of rotation in a run; 1 written off, not proven in rotation",
        ),
    ];
    for (all, is_part, mark, words) in rows {
        let line = summary(all, is_part);
        assert_eq!((line.mark, line.text.as_str()), (Some(mark), words));
    }
}

#[test]
fn a_run_before_its_first_event_is_not_under_way() {
    let fold = RunFold::new(RunId(41), Story::of(1).fold.run.plan().clone());
    let page = page(&fold, &View { at: Some(0), ..view() }, &Before::default(), at(10));
    assert_eq!(page.head[0].mark, Some(Mark::NotStarted));
    assert!(page.head[0].text.starts_with("not started: "), "{}", page.head[0].text);
}

#[test]
fn the_past_of_a_run_is_the_fold_of_its_first_events() {
    let mut story = Story::of_steps(2, 1);
    story.steps(1, 1, (Outcome::Ok, ""));
    let before = page(&story.fold, &view(), &Before::default(), at(10));
    story.steps(2, 1, (failed("no"), ""));
    let after = page(&story.fold, &view(), &Before::default(), at(10));
    assert_ne!(before.tables, after.tables);
    assert_eq!(before.tables[0].rows.iter().filter(|row| row.mark.is_problem()).count(), 0);
}

#[test]
fn the_pages_of_a_host_and_of_a_step() {
    let mut story = Story::of_steps(1, 2);
    story.steps(1, 2, (failed("exit status 1"), "one\n\x1b[2Jtwo\n"));
    let view = View::of(PageName::RunHost(RunId(41), "web0001".into()));
    let page = run_host::page(&story.fold, &view, &name(1), at(10)).unwrap();
    assert_eq!(
        text(&page),
        "\
web0001 in run 41 at event 7
X failed: step `step 2`: exit status 1
all about web0001

steps
   STATE   STEP      TOOK  OUTPUT   WHY
v  ok      1 step 1  1.5s
X  failed  2 step 2  1.5s  2 lines  step `step 2`: exit status 1

checks
  no check has ended
"
    );
    assert_eq!(run_host::page(&story.fold, &view, &name(9), at(10)), None);
    let view = View { line: Some(600), ..View::of(PageName::Step(RunId(41), "web0001".into(), 2)) };
    let mut renderer = LineRenderer::default();
    let lines = (592..=1_091).map(|number| ExcerptLine {
        number,
        line: renderer.line(format!("line {number} \x1b[31mred\x1b[0m\x1b[2J").as_bytes()),
        is_error: number == 600,
    });
    let excerpt = Excerpt {
        lines: lines.collect(),
        total: 1_212,
        why: "it is still running".into(),
        problem: Some(604),
        found: None,
    };
    let page = step::page(&story.fold, &view, (&name(1), 2), (excerpt, at(10))).unwrap();
    let log = page.log.unwrap();
    assert_eq!(log.caption, "output, lines 592 to 1,091 of 1,212");
    assert_eq!(log.lines[0].text(), "line 592 red");
    assert_eq!(log.lines[0].parts[1], ("c-red".into(), "red".into()));
    assert!(!log.lines[0].is_error && log.lines[8].is_error);
    assert_eq!(log.notes, ["it is still running"]);
    let links: Vec<(&str, &str)> =
        log.links.iter().map(|link| (link.text.as_str(), link.address.as_str())).collect();
    let path = "/runs/41/hosts/web0001/steps/2";
    assert_eq!(
        links,
        [
            ("first problem: line 604", &*format!("{path}?line=604")),
            ("first lines", &*format!("{path}?line=1")),
            ("lines before", &*format!("{path}?line=100")),
            ("lines behind", &*format!("{path}?line=1100")),
            ("last lines", &*format!("{path}?line=721")),
        ]
    );
    assert_eq!(step::first_line(&view, (1_212, false)), 592);
    assert_eq!(step::first_line(&View { line: None, ..view.clone() }, (1_212, true)), 713);
    assert_eq!(step::first_line(&View { line: None, ..view.clone() }, (1_212, false)), 1);
    assert_eq!(step::first_line(&View { line: Some(u64::MAX), ..view.clone() }, (3, false)), 1);
    assert_eq!(step::page(&story.fold, &view, (&name(1), 3), (Excerpt::default(), at(10))), None);
}
