use super::keys::Key;
use super::model::{Ask, Model, Prompt};
use super::paint::painted;
use super::screen::Shown;
use crate::domain::ask::view::{PageName, View};
use crate::domain::base::name::RunId;
use crate::domain::base::outcome::Outcome;
use crate::present::board::block::Screen;
use crate::present::board::pages::run::{self, Before};
use crate::present::board::story::{Story, at};

const SIZES: [(usize, usize); 5] = [(20, 4), (40, 12), (80, 24), (140, 40), (200, 50)];

fn screen((width, height): (usize, usize), has_utf8: bool) -> Screen {
    Screen { width, height, has_utf8, has_colour: true }
}

fn story() -> Story {
    let mut story = Story::of_steps(1_000, 14);
    for number in 1..=240 {
        story.steps(number, 14, (Outcome::Ok, ""));
    }
    let failed = Outcome::Failed { code: Some(1), why: "exit status 1: app.service failed".into() };
    story.steps(241, 5, (failed, "no\n"));
    story
}

fn model(story: &Story) -> Model {
    let view = View::of(PageName::Run(RunId(41)));
    let mut model = Model::new(view.clone(), false);
    model.arrived(Ok(run::page(&story.fold, &view, &Before::default(), at(60))));
    model
}

fn drawn(model: &Model, size: (usize, usize), has_utf8: bool) -> String {
    let buffer = Shown::new(model, screen(size, has_utf8), at(60)).draw(model);
    let width = usize::from(buffer.area.width);
    let rows = buffer.content().chunks(width);
    rows.map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_string() + "\n")
        .collect()
}

#[test]
fn a_run_on_a_usual_screen() {
    assert_eq!(
        drawn(&model(&story()), (80, 24), false),
        "\
X1 run 41                                                              live 7213
> under way: run 41: 1:00, 240 of 1000 hosts done: run prod -- true; by ann
1 failed, 240 in rotation again, 759 not started
next: no earlier run shows how long it may take
X first failure: web0241: step 5: step `step 5`: exit status 1: app.service
      failed

hosts
  STATE              HOST            HOSTS  STEPS           NOTE
X failed             web0241                vvvvX.........  step `step 5`: exi..
v in rotation again  web[0001-0240]  240    vvvvvvvvvvvvvv
. not started        web[0242-1000]  759    ..............
  each host in a row of its own

steps
  STATE   STEP        HOSTS             MEDIAN  LONGEST
v ok      1 step 1    241 ok            1.5s    1.5s
v ok      2 step 2    241 ok            1.5s    1.5s
v ok      3 step 3    241 ok            1.5s    1.5s
v ok      4 step 4    241 ok            1.5s    1.5s
X failed  5 step 5    1 failed, 240 ok  1.5s    1.5s
v ok      6 step 6    240 ok            1.5s    1.5s
v ok      7 step 7    240 ok            1.5s    1.5s
? keys  Enter open  Esc back  q quit
"
    );
}

#[test]
fn every_size_has_the_alarm_and_the_way_out() {
    let model = model(&story());
    for size in SIZES {
        for has_utf8 in [true, false] {
            let text = drawn(&model, size, has_utf8);
            assert_eq!(text.lines().count(), size.1, "{size:?}");
            assert!(text.starts_with("X1 run 41"), "{size:?}: {text}");
            let last = text.lines().last().unwrap();
            assert!(last.contains("q quit"), "{size:?}: {last}");
            assert!(has_utf8 || text.is_ascii(), "{size:?}: {text}");
        }
    }
    for size in [(0, 0), (1, 1), (2, 2), (500, 200), (100_000, 100_000)] {
        drawn(&model, size, true);
    }
}

#[test]
fn a_first_screen_is_small_and_a_second_is_tiny() {
    let model = model(&story());
    for (size, most) in [((80, 24), 4_000), ((200, 50), 9_000)] {
        let shown = Shown::new(&model, screen(size, true), at(60));
        let first = shown.draw(&model);
        let bytes = painted(None, &first).len();
        assert!(bytes <= most, "{size:?}: {bytes}");
        assert_eq!(painted(Some(&first), &shown.draw(&model)), "");
        let mut moved = model.clone();
        moved.chosen = 3;
        let bytes = painted(Some(&first), &shown.draw(&moved)).len();
        assert!(bytes <= 400, "{size:?}: {bytes}");
    }
}

fn press(model: &mut Model, keys: &str) -> Ask {
    let mut asked = Ask::Nothing;
    for c in keys.chars() {
        let shown = Shown::new(model, screen((80, 24), true), at(60));
        let key = match c {
            '\n' => Key::Enter,
            '\u{1b}' => Key::Escape,
            c => Key::Char(c),
        };
        asked = model.pressed(key, &shown);
    }
    asked
}

#[test]
fn keys_lead_through_the_pages() {
    let address = |model: &Model| model.view.to_string();
    let rows = [
        ("n\n", Ask::Page, "/runs/41/hosts/web0241/steps/5"),
        ("nn\n", Ask::Page, "/runs/41/hosts/web0241"),
        ("2", Ask::Page, "/runs"),
        ("2\u{1b}", Ask::Page, "/runs/41"),
        ("\u{1b}", Ask::Page, "/runs"),
        (":41\n", Ask::Page, "/runs/41"),
        (":web01\n", Ask::Page, "/hosts/web01"),
        (":run 7 web01\n", Ask::Page, "/runs/7/hosts/web01"),
        (":\n", Ask::Page, "/"),
        (",", Ask::Page, "/runs/41?at=7212"),
        (",0", Ask::Page, "/runs/41"),
        ("q", Ask::Leave, "/runs/41"),
        ("?q", Ask::Nothing, "/runs/41"),
        ("z", Ask::Nothing, "/runs/41"),
        ("jjjjG", Ask::Nothing, "/runs/41"),
    ];
    let story = story();
    for (keys, asked, wanted) in rows {
        let mut model = model(&story);
        assert_eq!(press(&mut model, keys), asked, "{keys:?}");
        assert_eq!(address(&model), wanted, "{keys:?}");
    }
}

#[test]
fn an_act_needs_its_name_typed_in_full() {
    let story = story();
    let mut model = model(&story);
    assert_eq!(press(&mut model, "x"), Ask::Nothing);
    assert!(matches!(&model.prompt, Some(Prompt::Act { line, .. }) if line == "cancel 41"));
    assert_eq!(press(&mut model, "y\n"), Ask::Nothing);
    assert_eq!(model.message.as_deref(), Some("nothing was done: 41 was not typed"));
    assert_eq!(press(&mut model, "x41\n"), Ask::Act("cancel 41".into()));
    assert_eq!(press(&mut model, "a41\n"), Ask::Act("approve 41".into()));
    assert_eq!(press(&mut model, "s"), Ask::Nothing);
    assert_eq!(model.message.as_deref(), Some("choose a host first"));
    assert_eq!(
        press(&mut model, "nnsthe disk isn't there\nweb0241\n"),
        Ask::Act(r#"settle web0241 because 'the disk isn'\''t there'"#.into())
    );
    assert_eq!(press(&mut model, "s\n"), Ask::Nothing);
    assert_eq!(model.message.as_deref(), Some("nothing was done: a debt is settled for a reason"));
    assert_eq!(press(&mut model, "x\u{1b}"), Ask::Nothing);
    assert_eq!(model.message.as_deref(), Some("nothing was done"));
}

#[test]
fn a_page_that_cannot_be_made_leaves_the_one_that_was_there() {
    let story = story();
    let mut model = model(&story);
    press(&mut model, ":99\n");
    model.arrived(Err("there is no run 99; try: runs".into()));
    assert_eq!(model.view.to_string(), "/runs/41");
    assert_eq!(
        (model.message.as_deref(), model.stale.as_deref()),
        (Some("there is no run 99; try: runs"), None)
    );
    model.arrived(Err("the store failed".into()));
    assert!(drawn(&model, (80, 24), true).lines().next().unwrap().ends_with("STALE"));
}

#[test]
fn nothing_that_hosts_say_steers_the_screen() {
    let mut story = Story::of_steps(1, 1);
    let why = "\x1b]0;title\x07\x1b[2J\u{202e}\u{9b}31m\r\nH held";
    story.steps(1, 1, (Outcome::Failed { code: Some(1), why: why.into() }, why));
    let model = model(&story);
    let shown = Shown::new(&model, screen((80, 24), true), at(60));
    let bytes = painted(None, &shown.draw(&model));
    let ours = |rest: &str| rest.starts_with('[');
    assert!(bytes.split('\x1b').skip(1).all(ours), "{bytes:?}");
    assert!(!bytes.contains(['\x07', '\u{202e}', '\u{9b}', '\r', '\n']), "{bytes:?}");
}
