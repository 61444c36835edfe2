use super::*;
use crate::domain::base::name::RunId;
use crate::domain::base::outcome::Outcome;
use crate::present::board::answers::FileAnswers;
use crate::present::board::story::{Story, at};
use crate::present::board::text::text;

const STEP: StepNumber = StepNumber { is_back: false, number: 2 };

fn view() -> View {
    View::of(PageName::RunStep(RunId(41), STEP))
}

fn line(number: u64, text: &str) -> Option<(u64, String)> {
    Some((number, text.into()))
}

#[test]
fn equal_answers_are_one_row_and_others_show_the_line_that_differs() {
    let mut story = Story::of_steps(6, 3);
    for number in 1..=3 {
        story.steps(number, 2, (Outcome::Ok, "a\nb\nc\n"));
    }
    story.steps(4, 2, (Outcome::Ok, "a\nb\nd\n"));
    let failed = Outcome::Failed { code: Some(1), why: "exit status 1".into() };
    story.steps(5, 2, (failed, "a\n"));
    let answers = StepAnswers::of(&story.fold, STEP, &FileAnswers::new()).unwrap();
    let before = vec![(1, "a".to_string()), (2, "b".to_string())];
    let first = FirstDifference { before, common: line(3, "c"), own: line(3, "d") };
    let ends = FirstDifference { before: vec![(1, "a".into())], common: line(2, "b"), own: None };
    let compared = [Compared::Common, Compared::Differs(first), Compared::Differs(ends)];
    let page = page(&story.fold, (&view(), STEP), (&answers, &compared), at(10));
    assert_eq!(
        text(&page),
        "\
step 2 of run 41 at event 31
step 2: 3 hosts: 3 lines (most common)
2 hosts in 2 other groups
step before: 1
next step: 3

outputs
   STATE   HOST            HOSTS  LINES    OUTPUT                                  NOTE
v  ok      web[0001-0003]  3      3 lines  most common
v  ok      web0004         1      3 lines  line 3 differs
X  failed  web0005         1      1 line   ends before line 2 of the first output  step `step 2`: exit status 1

hosts without an output to compare
   STATE        HOST     HOSTS  NOTE
.  not started  web0006  1

web0004: line 3 differs
      1   a
      2   b
      3 - c
      3 + d

web0005: ends before line 2 of the first output
      1   a
      2 - b
"
    );
    let rows = &page.tables[0].rows;
    assert_eq!(rows[1].address.as_deref(), Some("/runs/41/hosts/web0004/steps/2?line=3"));
    assert_eq!(rows[2].address.as_deref(), Some("/runs/41/hosts/web0005/steps/2"));
    assert_eq!(page.tables[1].rows[0].address.as_deref(), Some("/runs/41/hosts/web0006"));
    assert_eq!(page.head[0].address.as_deref(), Some("/runs/41/hosts/web0001/steps/2"));
    assert_eq!(page.alarms(), "X1");
}

#[test]
fn a_page_grows_with_the_answers_and_tells_what_it_leaves_out() {
    let mut story = Story::of_steps(200, 2);
    for number in 1..=200 {
        story.steps(number, 2, (Outcome::Ok, &format!("pid {number}\n")));
    }
    let answers = StepAnswers::of(&story.fold, STEP, &FileAnswers::new()).unwrap();
    assert_eq!(answers.groups.len(), 200);
    let mut compared = vec![Compared::SameLines; groups_shown(&view()).min(200)];
    compared[0] = Compared::Common;
    let page = page(&story.fold, (&view(), STEP), (&answers, &compared), at(10));
    assert_eq!(page.tables[0].rows.len(), 50);
    assert_eq!(page.head[0].text, "step 2: no two of 200 hosts printed the same and ended alike");
    assert_eq!(page.head[1].text, "150 other groups of 150 hosts are not shown");
    assert_eq!(page.tables[0].rows[0].cells[4], Cell::text("the others are compared with it"));
    assert_eq!(page.tables[0].more.as_ref().unwrap().address, "/runs/41/steps/2?rows=all");
}

#[test]
fn long_lines_are_cut_to_the_place_that_differs() {
    let long = |end: &str| format!("{}{end}", "x".repeat(1_000));
    let first = FirstDifference {
        before: vec![(1, long(""))],
        common: line(2, &long("a")),
        own: line(2, &long("b")),
    };
    let lines = first.lines();
    assert_eq!(lines[0].text.chars().count(), LINE_CHARS + 1);
    assert_eq!(lines[1].text, format!("…{}a", "x".repeat(BEFORE_CHARS)));
    assert_eq!(lines[2].text, format!("…{}b", "x".repeat(BEFORE_CHARS)));
}

#[test]
fn a_name_is_covered_before_a_cut_can_split_it() {
    // The cut at the start, or the one at the end, is within the name.
    for (before, between, after, part) in [(100, 57, 300, "…com "), (0, 0, 232, " db7.ex…")] {
        let text = |end: &str| {
            let [before, between, after] = [before, between, after].map(|length| "x ".repeat(length / 2));
            match end {
                _ if before.is_empty() => format!("{end} {after}db7.example.com"),
                end => format!("{before}db7.example.com {between}{end} {after}"),
            }
        };
        let first = FirstDifference {
            before: vec![(1, text("c"))],
            common: line(2, &text("a")),
            own: line(2, &text("b")),
        };
        let readable = |compared: &Compared| {
            let Compared::Differs(first) = compared else { panic!() };
            let lines: Vec<String> = first.lines().into_iter().map(|line| line.text).collect();
            lines.join("\n")
        };
        let (open, cover) =
            (Compared::Differs(first), |text: &str| text.replace("db7.example.com", "(hidden)"));
        assert!(cover(&readable(&open)).contains(part), "{}", readable(&open));
        let covered = readable(&open.with_texts(&cover));
        assert!(!covered.contains("com") && !covered.contains("db7"), "{covered}");
    }
}

#[test]
fn a_row_says_that_hosts_are_the_same_only_apart_from_their_names() {
    let mut story = Story::of_steps(3, 2);
    for number in 1..=3 {
        story.steps(number, 2, (Outcome::Ok, &format!("web{number:04} is up\n")));
    }
    let answers = StepAnswers::of(&story.fold, STEP, &FileAnswers::new()).unwrap();
    let page = page(&story.fold, (&view(), STEP), (&answers, &[Compared::Common]), at(10));
    let rows = &page.tables[0].rows;
    assert_eq!(
        (rows.len(), &rows[0].cells[5]),
        (1, &Cell::text("the same apart from own names and addresses"))
    );
}

#[test]
fn each_way_to_differ_has_its_words() {
    let of = |common, own| words(&Compared::Differs(FirstDifference { before: vec![], common, own }));
    let rows = [
        (of(line(14, "a"), line(1_214, "b")), "line 1,214 differs"),
        (of(None, line(14, "b")), "line 14 and what follows are not in the first output"),
        (of(line(14, "a"), None), "ends before line 14 of the first output"),
        (words(&Compared::Common), "most common"),
    ];
    for (words, wanted) in rows {
        assert_eq!(words, wanted);
    }
}
