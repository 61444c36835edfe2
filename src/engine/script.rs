//! rollcall's own scripts for hosts. Plain POSIX `sh`; their text never changes, values arrive as `$1`,
//! `$2`, ... Each prints one word that says what it found or did.

use crate::domain::plan::HostPlan;
use crate::domain::shell;
use crate::domain::task::{Step, Sudo};

/// Looks up what a link points to. Prints `to TARGET` if that exists, `dangling TARGET`, or `none`.
pub const OBSERVE: &str = r#"
at=$1
[ -n "$at" ] && [ -L "$at" ] || { echo none; exit 0; }
if [ -e "$at" ]; then printf 'to %s\n' "$(readlink -- "$at")"; else printf 'dangling %s\n' "$(readlink -- "$at")"; fi
"#;

/// What undoes it, in the same place.
pub fn undo_script(step: &Step) -> Option<String> {
    Some(in_place(step, &step.dead_man.as_ref()?.undo))
}

/// A script as its author meant it: directory and environment first.
pub fn in_place(step: &Step, script: &str) -> String {
    let mut lines = String::new();
    if let Some(dir) = &step.dir {
        lines.push_str(&format!("cd {} || exit\n", shell::quote(dir)));
    }
    for (name, value) in &step.env {
        lines.push_str(&format!("export {name}={}\n", shell::quote(value)));
    }
    lines + script
}

/// A script as somebody: under `sh`, whatever the login's own shell is, and under `sudo -n` if asked.
pub fn run_as(script: &str, sudo: &Sudo) -> String {
    words_as(["sh", "-c", script], sudo)
}

/// The same of any command.
pub fn words_as<'a>(words: impl IntoIterator<Item = &'a str>, sudo: &'a Sudo) -> String {
    let before: Vec<&str> = match sudo {
        Sudo::No => vec![],
        Sudo::Root => vec!["sudo", "-n", "--"],
        Sudo::User(user) => vec!["sudo", "-n", "-u", user, "--"],
        Sudo::Password { user, .. } => vec!["sh", "-c", SUDO, "sudo", user],
    };
    shell::for_login(before.into_iter().chain(words))
}

/// What says that a step has nothing to do; exit status 0 means so.
pub fn guard(step: &Step) -> Option<String> {
    let creates = step.creates.as_deref().map(|path| format!("[ -e {} ]", shell::quote(path)));
    let unless = step.unless.as_deref().map(|command| format!("( {command}\n) >/dev/null 2>&1"));
    let removes = step.removes.as_deref().map(|path| format!("[ ! -e {} ]", shell::quote(path)));
    let all: Vec<String> = [creates, removes, unless].into_iter().flatten().collect();
    (!all.is_empty()).then(|| in_place(step, &all.join(" || ")))
}

/// `sudo` with a password, the first line on stdin, where it is wanted; elsewhere that line is taken away.
const SUDO: &str = r#"u=$1; shift
if sudo -n -u "$u" true 2>/dev/null; then IFS= read -r _; exec sudo -n -u "$u" -- "$@"; fi
exec sudo -S -k -p '' -u "$u" -- "$@""#;

/// The look at the present release of a host.
pub fn observe(plan: &HostPlan) -> String {
    run_as(&shell::with_arguments(OBSERVE, &[plan.observe.as_deref().unwrap_or_default()]), &Sudo::No)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    /// Exit status and last line of standard output.
    fn sh(dir: &Path, script: &str, input: &str) -> (i32, String) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let last = String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_string();
        (output.status.code().unwrap_or(-1), last)
    }

    fn own(dir: &Path, body: &str, arguments: &[&str], input: &str) -> (i32, String) {
        sh(dir, &shell::with_arguments(body, arguments), input)
    }

    fn said(status: i32, line: &str) -> (i32, String) {
        (status, line.to_string())
    }

    #[test]
    fn what_a_link_points_to_is_looked_up() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        std::os::unix::fs::symlink("releases/it's 1", at.join("current")).unwrap();
        assert_eq!(own(at, OBSERVE, &["current"], ""), said(0, "dangling releases/it's 1"));
        std::fs::create_dir_all(at.join("releases/it's 1")).unwrap();
        assert_eq!(own(at, OBSERVE, &["current"], ""), said(0, "to releases/it's 1"));
        assert_eq!(own(at, OBSERVE, &[""], ""), said(0, "none"));
    }

    #[test]
    fn the_command_line_of_a_step_is_exactly_this() {
        let step = Step {
            dir: Some("/srv/my app".into()),
            env: BTreeMap::from([("A".into(), "it's".into())]),
            creates: Some("/srv/x y".into()),
            unless: Some("test -e z".into()),
            ..Step::default()
        };
        let script = in_place(&step, "make it");
        assert_eq!(script, "cd '/srv/my app' || exit\nexport A='it'\\''s'\nmake it");
        assert_eq!(run_as("make it", &Sudo::No), "exec sh -c 'make it'");
        assert_eq!(run_as("make it", &Sudo::Root), "exec sudo -n -- sh -c 'make it'");
        assert_eq!(run_as("x", &Sudo::User("a b".into())), "exec sudo -n -u 'a b' -- sh -c x");
        let bare = Step { dir: None, env: BTreeMap::new(), ..step };
        assert_eq!(guard(&bare).unwrap(), "[ -e '/srv/x y' ] || ( test -e z\n) >/dev/null 2>&1");
        let gone = Step { creates: None, unless: None, removes: Some("x".into()), ..bare.clone() };
        assert_eq!(guard(&gone).unwrap(), "[ ! -e x ]");
        let placed = Step { dir: Some("/srv".into()), ..gone };
        assert_eq!(guard(&placed).unwrap(), "cd /srv || exit\n[ ! -e x ]");
        assert_eq!(guard(&Step { creates: None, unless: None, ..bare }), None);
    }
}
