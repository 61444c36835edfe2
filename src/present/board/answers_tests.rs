use super::*;
use crate::domain::base::outcome::{End, Outcome};
use crate::domain::run::event::EventKind;
use crate::present::board::story::{Story, name};

fn step(number: usize) -> StepNumber {
    StepNumber { is_back: false, number }
}

fn failed() -> Outcome {
    Outcome::Failed { code: Some(1), why: "exit status 1".into() }
}

fn sizes(answers: &StepAnswers) -> Vec<(Mark, usize, u64)> {
    answers.groups.iter().map(|group| (group.class.mark, group.members.len(), group.lines)).collect()
}

#[test]
fn a_thousand_hosts_are_as_many_groups_as_there_are_answers() {
    let mut story = Story::of_steps(1_000, 2);
    for number in 1..=996 {
        story.steps(number, 2, (Outcome::Ok, &format!("restarted\nweb{number:04} is up\n")));
    }
    story.steps(997, 2, (Outcome::Ok, "restarted\nweb0001 is up\n"));
    story.steps(998, 2, (failed(), "restarted\nweb0998 is up\n"));
    story.steps(999, 2, (Outcome::Lost { why: "gone".into() }, "restarted\n"));
    let answers = StepAnswers::of(&story.fold, step(2), &FileAnswers::new()).unwrap();
    assert_eq!(answers.name, "step 2");
    assert_eq!(sizes(&answers), [(Mark::Ok, 996, 2), (Mark::Ok, 1, 2), (Mark::Failed, 1, 2)]);
    assert_eq!(answers.groups[1].members[0].host, name(997), "it prints the name of another host");
    assert_eq!(answers.groups[0].digest, answers.groups[2].digest, "it printed the same, and failed");
    assert_eq!(answers.groups.iter().filter(|group| group.has_own_names).count(), 1);
    assert!(answers.groups[0].has_own_names);
    let apart: Vec<(Mark, &str, usize)> =
        answers.apart.iter().map(|apart| (apart.mark, &*apart.why, apart.members.len())).collect();
    let rows = [(Mark::Unknown, "not compared: contact was lost: gone", 1), (Mark::NotStarted, "", 1)];
    assert_eq!(apart, rows);
    assert_eq!(answers.groups[0].members[0].row, Some(2));
    assert_eq!(answers.apart[1].members[0].row, None);
    let silent = StepAnswers::of(&story.fold, step(1), &FileAnswers::new()).unwrap();
    assert_eq!(sizes(&silent), [(Mark::Ok, 999, 0)]);
    assert_eq!(StepAnswers::of(&story.fold, step(3), &FileAnswers::new()), None);
    assert_eq!(StepAnswers::of(&story.fold, step(0), &FileAnswers::new()), None);
    assert!(
        has_step(&story.fold, step(2)) && !has_step(&story.fold, step(3)) && !has_step(&story.fold, step(0))
    );
}

#[test]
fn hosts_that_print_the_very_same_are_equal_whatever_they_are_called() {
    // The name of a host may be a word of the output.
    let mut story = Story::of_steps(3, 1);
    for number in 1..=3 {
        story.steps(number, 1, (Outcome::Ok, "the primary is web0002\n"));
    }
    let answers = StepAnswers::of(&story.fold, step(1), &FileAnswers::new()).unwrap();
    assert_eq!(sizes(&answers), [(Mark::Ok, 3, 1)]);
    assert!(!answers.groups[0].has_own_names);
}

#[test]
fn what_is_not_whole_is_not_compared() {
    let mut story = Story::of_steps(4, 2);
    for number in 1..=3 {
        story.steps(number, 1, (Outcome::Ok, "same\n"));
    }
    story.steps(4, 1, (failed(), "[... the rest was not kept ...]\n"));
    story.take(4, EventKind::HostSettled { host: name(4), end: End::Failed, why: "no".into() });
    let answers = StepAnswers::of(&story.fold, step(1), &FileAnswers::new()).unwrap();
    assert_eq!(sizes(&answers), [(Mark::Ok, 3, 1)]);
    assert_eq!(answers.apart[0].why, format!("not compared: {}", super::super::fold::NOT_KEPT));
    let next = StepAnswers::of(&story.fold, step(2), &FileAnswers::new()).unwrap();
    let why: Vec<(Mark, &str)> = next.apart.iter().map(|apart| (apart.mark, &*apart.why)).collect();
    assert_eq!(why, [(Mark::NotStarted, ""), (Mark::Skipped, "left out: the host ended failed")]);
}

#[test]
fn an_output_that_only_a_file_has_is_known_by_its_file() {
    let mut attempt = {
        let mut story = Story::of_steps(1, 1);
        story.steps(1, 1, (Outcome::Ok, "same\n"));
        story.fold.attempts(&name(1))[0].clone()
    };
    let Printed::All(answer) = attempt.printed.clone() else { panic!() };
    attempt.printed = Printed::InFile;
    let rows = [
        (Some(Ok(answer)), Ok(answer)),
        (Some(Err("gone".into())), Err((Mark::Unknown, "not compared: gone".into()))),
        (None, Err((Mark::Unknown, "not compared: its output is in a file that was not read".into()))),
    ];
    for (file, wanted) in rows {
        assert_eq!(answer_of(&attempt, file.as_ref()), wanted);
    }
}
