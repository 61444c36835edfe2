//! rollcall's own scripts for hosts. Plain POSIX `sh`; their text never changes, values arrive as `$1`,
//! `$2`, ... Each prints one word that says what it found or did.

use crate::domain::base::output::Output;
use crate::domain::plan::plan::HostPlan;
use crate::domain::task::task::{Step, Sudo};
use crate::domain::value::shell;

/// Reads the target of a link. Prints `to TARGET` if that exists, `dangling TARGET`, or `none`.
pub const OBSERVE: &str = r#"
at=$1
[ -n "$at" ] && [ -L "$at" ] || { echo none; exit 0; }
if [ -e "$at" ]; then printf 'to %s\n' "$(readlink -- "$at")"; else printf 'dangling %s\n' "$(readlink -- "$at")"; fi
"#;

/// Runs the file `$1` with the other arguments, in place of the shell. A file system that is mounted noexec runs no file; an
/// interpreter can read it all the same.
pub const RUN_FILE: &str = r##"
run_file() {
  run=$1; shift
  first=$(head -c 200 "$run" | tr -d '\000' | head -n 1)
  case $first in "#!"*"$(printf '\r')")
    echo "its first line ends with a carriage return, so its interpreter is not found; try: dos2unix on the file" >&2
    exit 3 ;;
  esac
  [ ! -x "$run" ] || exec "$run" "$@"
  case $first in "#!"*) set -f; exec ${first#??} "$run" "$@" ;; esac
  echo "no program can be run in ${run%/*}, which is mounted noexec; try: a script, or a program that is installed on the host" >&2
  exit 3
}
"##;

/// A script without its comments, which are not sent.
pub fn bare(text: &str) -> String {
    let lines = text.lines();
    lines.filter(|line| !line.trim_start().starts_with('#')).flat_map(|line| [line, "\n"]).collect()
}

/// The script that undoes a step, with the same directory and environment.
pub fn undo_script(step: &Step) -> Option<String> {
    Some(in_place(step, &step.dead_man.as_ref()?.undo))
}

/// A script with the directory and the environment of its step.
pub fn in_place(step: &Step, script: &str) -> String {
    let mut lines = String::new();
    if let Some(dir) = &step.dir {
        // Not a directory that CDPATH finds elsewhere.
        let at = if dir.starts_with('/') { dir.clone() } else { format!("./{dir}") };
        lines.push_str(&format!("cd {} || exit\n", shell::quote(&at)));
    }
    for (name, value) in &step.env {
        lines.push_str(&format!("export {name}={}\n", shell::quote(value)));
    }
    lines + script
}

/// The guard of a step; exit status 0 means that nothing has to be done.
pub fn guard(step: &Step) -> Option<String> {
    let creates = step.creates.as_deref().map(|path| format!("[ -e {} ]", shell::quote(path)));
    let unless = step.unless.as_deref().map(|command| format!("( {command}\n) >/dev/null 2>&1"));
    let removes = step.removes.as_deref().map(|path| format!("[ ! -e {} ]", shell::quote(path)));
    let all: Vec<String> = [creates, removes, unless].into_iter().flatten().collect();
    // Only `unless` needs the environment, which may hold secrets.
    let bare = Step { env: Default::default(), ..step.clone() };
    let step = if step.unless.is_some() { step } else { &bare };
    (!all.is_empty()).then(|| in_place(step, &all.join(" || ")))
}

/// The fault of sudo, by its last message, and how to correct it.
pub fn about_sudo(sudo: &Sudo, stderr: &Output) -> Option<String> {
    let (user, with_password) = match sudo {
        Sudo::No => return None,
        Sudo::Root => ("root", false),
        Sudo::User(user) => (user.as_str(), false),
        Sudo::Password { user, .. } => (user.as_str(), true),
    };
    let said = stderr.last_line();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if !says(&["sudo", "Sorry"]) {
        return None;
    }
    let wants = says(&["password is required", "terminal is required"]);
    if says(&["must have a tty"]) {
        let hint = "sudo wants a terminal (requiretty), which rollcall never asks for; try on the host, with visudo: \
                    Defaults:LOGIN !requiretty";
        return Some(format!("; {hint}"));
    }
    let refuses = says(&["incorrect password", "try again", "no password was provided"]);
    let hint = if refuses || (wants && with_password) {
        "sudo does not take the password; try: the right secret for `password`".to_string()
    } else if wants {
        format!(
            "sudo wants a password; try: sudo = {{ user = \"{user}\", password = \"{{{{ NAME_OF_A_SECRET }}}}\" }}, or \
             NOPASSWD for the login in the host's sudoers"
        )
    } else if says(&["sudoers", "may not run", "not allowed"]) {
        format!(
            "the login has no right to this; try on the host: sudo -l, and a rule for {user} in its sudoers"
        )
    } else if says(&["not found"]) {
        format!("sudo is not installed on the host; try: a login that is {user}, without `sudo`")
    } else if says(&["unknown user"]) {
        format!("the host has no user {user}; try: another one for `sudo`")
    } else {
        return None;
    };
    Some(format!("; {hint}"))
}

/// The script that reads the present release of a host.
pub fn observe(plan: &HostPlan) -> String {
    shell::with_arguments(OBSERVE, &[plan.observe.as_deref().unwrap_or_default()])
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
    fn what_sudo_says_is_told_with_what_to_do() {
        let hint = |sudo: Sudo, said: &str| {
            about_sudo(&sudo, &Output { text: format!("{said}\n"), left_out: 0 }).unwrap_or_default()
        };
        let wants = hint(Sudo::User("app".into()), "sudo: a password is required");
        assert_eq!(
            wants,
            "; sudo wants a password; try: sudo = { user = \"app\", password = \"{{ NAME_OF_A_SECRET }}\" }, or \
             NOPASSWD for the login in the host's sudoers"
        );
        let missing = hint(Sudo::Root, "sh: 1: exec: sudo: not found");
        assert_eq!(missing, "; sudo is not installed on the host; try: a login that is root, without `sudo`");
        assert_eq!(
            hint(Sudo::Root, "sudo: sorry, you must have a tty to run sudo"),
            "; sudo wants a terminal (requiretty), which rollcall never asks for; try on the host, with visudo: \
             Defaults:LOGIN !requiretty"
        );
        assert!(hint(Sudo::Root, "me is not in the sudoers file.").contains("has no right"));
        assert!(hint(Sudo::User("x".into()), "sudo: unknown user x").contains("the host has no user x"));
        assert_eq!(hint(Sudo::Root, "make: nothing not found"), "", "that is not sudo");
        assert_eq!(hint(Sudo::No, "sudo: a password is required"), "", "the step's own business");
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
        let bare = Step { dir: None, env: BTreeMap::new(), ..step };
        assert_eq!(guard(&bare).unwrap(), "[ -e '/srv/x y' ] || ( test -e z\n) >/dev/null 2>&1");
        let gone = Step { creates: None, unless: None, removes: Some("x".into()), ..bare.clone() };
        assert_eq!(guard(&gone).unwrap(), "[ ! -e x ]");
        let placed = Step { dir: Some("/srv".into()), ..gone };
        assert_eq!(guard(&placed).unwrap(), "cd /srv || exit\n[ ! -e x ]");
        assert_eq!(guard(&Step { creates: None, unless: None, ..bare }), None);
    }
}
