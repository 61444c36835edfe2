//! rollcall's own scripts for hosts. Plain POSIX `sh`; their text never changes, values arrive as `$1`,
//! `$2`, ... Each prints one word that says what it found or did.

use bytes::Bytes;

use crate::domain::base::output::Output;
use crate::domain::plan::plan::HostPlan;
use crate::domain::task::task::{Step, Sudo};
use crate::domain::value::shell;
use crate::port::Input;

/// Reads the target of a link. Prints `to TARGET` if that exists, `dangling TARGET`, or `none`.
pub const OBSERVE: &str = r#"
at=$1
[ -n "$at" ] && [ -L "$at" ] || { echo none; exit 0; }
if [ -e "$at" ]; then printf 'to %s\n' "$(readlink -- "$at")"; else printf 'dangling %s\n' "$(readlink -- "$at")"; fi
"#;

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
        lines.push_str(&format!("cd {} || exit\n", shell::quote(dir)));
    }
    for (name, value) in &step.env {
        lines.push_str(&format!("export {name}={}\n", shell::quote(value)));
    }
    lines + script
}

/// A script under another user: run by `sh`, whatever the login's own shell is, and by `sudo -n` if asked.
pub fn run_as(script: &str, sudo: &Sudo) -> String {
    words_as(["sh", "-c", script], sudo)
}

/// The same for any command.
pub fn words_as<'a>(words: impl IntoIterator<Item = &'a str>, sudo: &'a Sudo) -> String {
    let before: Vec<&str> = match sudo {
        Sudo::No => vec![],
        Sudo::Root => vec!["sudo", "-n", "--"],
        Sudo::User(user) => vec!["sudo", "-n", "-u", user, "--"],
        Sudo::Password { user, .. } => vec!["sh", "-c", SUDO, "sudo", user],
    };
    shell::for_login(before.into_iter().chain(words))
}

/// The guard of a step; exit status 0 means that nothing has to be done.
pub fn guard(step: &Step) -> Option<String> {
    let creates = step.creates.as_deref().map(|path| format!("[ -e {} ]", shell::quote(path)));
    let unless = step.unless.as_deref().map(|command| format!("( {command}\n) >/dev/null 2>&1"));
    let removes = step.removes.as_deref().map(|path| format!("[ ! -e {} ]", shell::quote(path)));
    let all: Vec<String> = [creates, removes, unless].into_iter().flatten().collect();
    // A guard is visible on a command line: only `unless` gets the environment, which then holds no secret.
    let bare = Step { env: Default::default(), ..step.clone() };
    let step = if step.unless.is_some() { step } else { &bare };
    (!all.is_empty()).then(|| in_place(step, &all.join(" || ")))
}

/// `sudo` with a password, which is the first line on stdin. The password is tested first with no other input, so that
/// sudo takes no other line for one; and it is never an argument of a process.
const SUDO: &str = r#"u=$1; shift
IFS= read -r p || { echo "rollcall sent no password" >&2; exit 1; }
if sudo -n -u "$u" -- sh -c : 2>/dev/null; then exec sudo -n -u "$u" -- "$@"; fi
printf '%s\n' "$p" | sudo -S -k -p '' -u "$u" -- sh -c : || exit
{ printf '%s\n' "$p"; exec cat; } | sudo -S -k -p '' -u "$u" -- "$@""#;

/// Puts the password before all other input, if sudo needs one.
pub fn with_password(sudo: &Sudo, input: Input) -> Input {
    match sudo {
        Sudo::Password { password, .. } => {
            let line = format!("{}\n", password.trim_end_matches('\n'));
            Input::After(Bytes::from(line), Box::new(input))
        }
        _ => input,
    }
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

    /// Accepts the password `right`, lets `nobody` do everything without one, and `bin` nothing at all. It asks three
    /// times, as sudo does, and logs its arguments.
    const FAKE_SUDO: &str = r#"#!/bin/sh
echo "sudo $1 $2 $3 $4 $5 $6" >>log
quiet= user=root
while [ $# -gt 0 ]; do
  case $1 in -n) quiet=1 ;; -S | -k) ;; -p) shift ;; -u) user=$2; shift ;; --) shift; break ;; esac
  shift
done
case $user in
  nobody) exec "$@" ;;
  bin) echo "Sorry, user me is not allowed to execute '/bin/sh' as bin on host." >&2; exit 1 ;;
esac
[ -z "$quiet" ] || { echo "sudo: a password is required" >&2; exit 1; }
for try in 1 2 3; do
  IFS= read -r line || break
  [ "$line" != ' right\$x' ] || exec "$@"
  echo "Sorry, try again." >&2
done
echo "sudo: no password was provided" >&2
exit 1
"#;

    #[test]
    fn sudo_is_given_its_password_first_and_the_command_the_rest() {
        use std::os::unix::fs::PermissionsExt;
        for shell in ["sh", "busybox sh"] {
            let dir = tempfile::tempdir().unwrap();
            let at = |name: &str| dir.path().join(name);
            std::fs::write(at("sudo"), FAKE_SUDO).unwrap();
            std::fs::set_permissions(at("sudo"), std::fs::Permissions::from_mode(0o755)).unwrap();
            let run = |user: &str, password: &str| {
                let sudo = Sudo::Password { user: user.into(), password: password.into() };
                let script = format!("PATH={}:$PATH; {}", dir.path().display(), run_as("cat; exit 7", &sudo));
                let Input::After(first, _) = with_password(&sudo, Input::None) else { panic!("no password") };
                assert!(!script.contains("right"), "never in a command line: {script}");
                let mut command = Command::new(shell.split(' ').next().unwrap());
                command.args(shell.split(' ').skip(1)).args(["-c", &script]).current_dir(dir.path());
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                let mut child = command.spawn().unwrap();
                let mut stdin = child.stdin.take().unwrap();
                // A sudo that fails early does not read all of it.
                let _ = stdin.write_all(&[&first[..], b"one\n right\\$x\n"].concat());
                drop(stdin);
                let output = child.wait_with_output().unwrap();
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                let stderr = Output { text: text(&output.stderr), left_out: 0 };
                let hint = about_sudo(&sudo, &stderr).unwrap_or_default();
                (output.status.code().unwrap(), text(&output.stdout), hint)
            };
            let rest = "one\n right\\$x\n".to_string();
            assert_eq!(run("root", " right\\$x"), (7, rest.clone(), String::new()), "{shell}");
            assert_eq!(run("nobody", "whatever"), (7, rest, String::new()), "{shell}: it is not asked for");
            let (status, out, hint) = run("root", "wrong");
            assert_eq!((status, out.as_str()), (1, ""), "{shell}: what comes after it is no password");
            assert_eq!(hint, "; sudo does not take the password; try: the right secret for `password`");
            let (status, _, hint) = run("bin", " right\\$x");
            assert!(status == 1 && hint.starts_with("; the login has no right to this"), "{shell}: {hint}");
            let log = std::fs::read_to_string(at("log")).unwrap();
            assert!(!log.contains("right"), "{log}");
        }
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
