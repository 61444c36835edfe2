//! Values in scripts, compared between shells: a template and a value either arrive as the same bytes in every shell, or
//! the template is not loaded. Templates are random; each is run with a plain value first, and with hostile values
//! then, and all that may differ in what the shell prints is the value itself.
//!
//! `ROLLCALL_SHELL_CASES` is how many cases (a template, a value, a shell) are tried.

use std::io::Write;
use std::process::{Command, Stdio};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rollcall::domain::value::template::{self, Vars};
use serde_json::json;

const DEFAULT_CASES: usize = 5_000;

const SHELLS: [&[&str]; 6] =
    [&["dash"], &["bash"], &["bash", "--posix"], &["busybox", "sh"], &["mksh"], &["zsh", "--emulate", "sh"]];

/// Pieces that a script is put together from: mostly right, so that shells run it; `@` is the value.
const PIECES: [&str; 41] = [
    "p @",
    "p \"a @ b\"",
    "p 'x@y'",
    "p x@",
    "p @@",
    "p ''@",
    "p \"$(p @)\"",
    "p $(p \"@\")",
    "p \"$(p \"$(p '@')\")\"",
    "p ${x:-a}@",
    "p \"${x:-\"a b\"}@\"",
    "p ${x:-'a'} @",
    "p $((1 + 2))@",
    "p \"$((1 + (2)))\" @",
    "(p @)",
    "{ p @; }",
    "if true; then p @; fi",
    "case @ in a) p 1 ;; *) p @ ;; esac",
    "cat <<E\nx @ y\nE\n",
    "cat <<-E\n\tx@\n\tE\n",
    "p \\\n  @",
    "# it's @\np @",
    "p a#b @ # @",
    "p \\\\@",
    "p \"\\$@\"",
    "p \\\"@\\\"",
    "p $$@",
    "p \"$\"@",
    "p ~@",
    "p {a,@}",
    "p *@",
    "p [a]@",
    "p @ 2>&1",
    "p @ >/dev/null; p @",
    "true && p @ || p b",
    "! p @",
    "p @ | cat",
    "p -- @",
    "p \"$(cat <<E\n@\nE\n)\"",
    "p `p a` @",
    "p $'a' @",
];

/// What is put in, taken out or changed somewhere in it.
const NOISE: [&str; 36] = [
    "'",
    "\"",
    "`",
    "\\",
    "$",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "#",
    " ",
    "\n",
    "\t",
    ";",
    "&",
    "|",
    "<",
    ">",
    "<<E",
    "=",
    "~",
    "*",
    "!",
    "a",
    "@",
    "$(",
    "${",
    "$((",
    "))",
    "$'",
    "\\\n",
    "case a in ",
    "E\n",
    "-",
];

const VALUES: [&str; 29] = [
    "plain",
    "a b",
    "; p INJECTED",
    "$(p INJECTED)",
    "`p INJECTED`",
    "\np INJECTED",
    "'; p INJECTED; '",
    "\"; p INJECTED; \"",
    "${x:-INJECTED}",
    "\\",
    "\\'",
    "*",
    "?",
    "~",
    "#",
    "a\tb",
    "!x",
    "x[$(p INJECTED >&2)]",
    "(p INJECTED)",
    "|p INJECTED",
    "&& p INJECTED",
    "}",
    ")",
    "E",
    "\nE\np INJECTED\nz",
    "%s",
    "2",
    "\u{e0f0}0\u{e0f1}",
    "é\u{202e}",
];

/// Stands for the value where a template is tried first.
const PLAIN: &str = "SENTINEL";

/// Separates what the shell prints for one run from the next; no value holds it.
const MARK: &str = "\u{1e}";

#[test]
fn values_arrive_as_they_are_or_the_template_is_not_loaded() {
    let cases = std::env::var("ROLLCALL_SHELL_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(DEFAULT_CASES);
    let (mut tried, mut seed) = (0, 0);
    let (mut seen, mut wrong) = ([0usize; 2], Vec::new());
    while tried < cases && wrong.len() < 10 {
        let mut random = StdRng::seed_from_u64(seed);
        let templates: Vec<String> =
            (0..100).map(|_| template_of(&mut random)).filter(|text| loads(text)).collect();
        for shell in SHELLS {
            tried += batch(shell, &templates, (&mut seen, &mut wrong));
        }
        seed += 1;
    }
    println!("{tried} cases; {} templates ran, {} were no script to the shell", seen[0], seen[1]);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen[0] > seen[1] / 4, "too few templates are scripts: {seen:?}");
}

fn template_of(random: &mut StdRng) -> String {
    let pieces: Vec<&str> = (0..random.random_range(1..4)).map(|_| *PIECES.choose(random).unwrap()).collect();
    let mut text: Vec<char> = pieces.join(*["; ", "\n"].choose(random).unwrap()).chars().collect();
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..=text.len());
        match random.random_range(0..3) {
            0 if at < text.len() => _ = text.remove(at),
            1 => {
                let from = random.random_range(0..text.len().max(1)).min(text.len());
                let moved: Vec<char> = text.drain(from.min(at)..from.max(at).min(from.min(at) + 3)).collect();
                let at = random.random_range(0..=text.len());
                text.splice(at..at, moved);
            }
            _ => _ = text.splice(at..at, NOISE.choose(random).unwrap().chars()),
        }
    }
    text.into_iter().collect::<String>().replace('@', "{{ v }}")
}

fn loads(template: &str) -> bool {
    // Without a value there is nothing to try.
    template.contains("{{ v }}") && template::check_script(template).is_ok()
}

fn script_of(template: &str, value: &str) -> Option<String> {
    template::script(template, &Vars::from([("v".to_string(), json!(value))])).ok()
}

/// Tries templates in one process of a shell; how many cases that were.
fn batch(shell: &[&str], templates: &[String], (seen, wrong): (&mut [usize; 2], &mut Vec<String>)) -> usize {
    let scripts: Vec<String> = templates.iter().map(|template| driver(template)).collect();
    let said = run(shell, &scripts.concat());
    let answers: Vec<&str> = said.split("\u{1d}").collect();
    assert!(answers.len() > templates.len(), "{shell:?} ended early: {said}");
    for (template, answer) in templates.iter().zip(&answers[1..]) {
        let runs: Vec<&str> = answer.split(MARK).skip(1).collect();
        let [plain, again, with @ ..] = &runs[..] else {
            seen[1] += 1;
            continue;
        };
        seen[0] += 1;
        let differs = with.len() < VALUES.len()
            || VALUES
                .iter()
                .zip(with)
                .any(|(value, said)| sorted(said) != sorted(&again.replace(PLAIN, value)));
        if sorted(plain) != sorted(again) || differs || plain.contains("rollcall_") {
            wrong.extend(alone(shell, template));
        }
    }
    templates.len() * VALUES.len()
}

/// Runs a template with the plain value twice and with each hostile one, in a process of its own.
fn driver(template: &str) -> String {
    let mut lines = String::from("printf '\\035' >&3\n(");
    for value in [PLAIN, PLAIN].into_iter().chain(VALUES) {
        let script = script_of(template, value).unwrap_or_else(|| "p REFUSED".into());
        lines.push_str(&format!(
            "printf '\\036' >&3; eval {} </dev/null 2>/dev/null\n",
            shell_words::quote(&script)
        ));
    }
    lines + ") 2>/dev/null\n"
}

/// The same with a fresh process for each value: what one run leaves behind cannot disturb the next. What is wrong.
fn alone(shell: &[&str], template: &str) -> Option<String> {
    let said = |value: &str| {
        // A value that is refused when it is known arrives nowhere, either.
        let script = shell_words::quote(&script_of(template, value)?).into_owned();
        Some(run(shell, &format!("eval {script} </dev/null 2>/dev/null")))
    };
    // Numbers of processes and the like differ in each run.
    let plain =
        said(PLAIN).filter(|plain| said(PLAIN).is_some_and(|again| sorted(&again) == sorted(plain)))?;
    if plain.contains("rollcall_") {
        return Some(format!("{shell:?} left an expansion: {template:?}: {plain:?}"));
    }
    VALUES.iter().find_map(|value| {
        let (said, wanted) = (said(value)?, plain.replace(PLAIN, value));
        (said != wanted)
            .then(|| format!("{shell:?}: {template:?} with {value:?}: {said:?} and not {wanted:?}"))
    })
}

/// What is noted, without its order: commands of a pipe, and those in the background, note at the same time.
fn sorted(noted: &str) -> Vec<&str> {
    let mut all: Vec<&str> = noted.split('\u{1f}').collect();
    all.sort_unstable();
    all
}

fn run(shell: &[&str], script: &str) -> String {
    // A folder of its own: files that a redirection makes would be there for the next pattern.
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(shell[0]);
    command
        .args(&shell[1..])
        .current_dir(dir.path())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("{shell:?}: {error}; tests/run installs it"));
    let mut stdin = child.stdin.take().unwrap();
    // What arrives is noted on another file than stdout: a script that splits what a substitution prints means it.
    let noting = "exec 3>&1 >/dev/null\np() { printf '<%s>\\037' \"$@\" >&3; }\ncat() { command cat >&3; }\n";
    let script = format!("{noting}{script}");
    let writing = std::thread::spawn(move || stdin.write_all(script.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writing.join();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
