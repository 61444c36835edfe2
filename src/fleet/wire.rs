//! A request as it goes to a host: the command line, and what is sent on its standard input. The command line is the same
//! for all scripts. A mark on both outputs shows where the output of the command begins.

use bytes::Bytes;

use crate::domain::task::task::Sudo;
use crate::domain::value::shell;
use crate::port::{Input, Program};

/// The line on both outputs before the output of the command. No word of it is a name that people look for in a list
/// of processes.
pub const BEGIN: &str = "%7f3a9c1e%";

/// Prints the mark, [`BEGIN`].
const MARK: &str = "echo %7f3a9c1e%;echo %7f3a9c1e% >&2;";

/// Restores the locale that [`SUDO`] has changed.
const LOCALE: &str = r#"case ${LC_R-} in ?*)LC_ALL=$LC_R;unset LC_R;[ $LC_ALL != _ ]||unset LC_ALL;esac;"#;

/// Reads a script line by line, so that the rest of the input is left for it. `$1` is the line before its beginning and
/// behind its end: a script of which the login has read a part, or that was cut off, is not run. The mark follows, so that
/// such an end is not taken for that of the script.
const READ: &str = r#"_rt=;_rn=$(printf "\nx");_rn=${_rn%x};IFS= read -r _rl;[ "$_rl" = "$1" ]||exit 75;while IFS= read -r _rl;do [ "$_rl" = "$1" ]&&break;_rt=$_rt$_rl$_rn;done;[ "$_rl" = "$1" ]||exit 75;shift;echo %7f3a9c1e%;echo %7f3a9c1e% >&2;eval "unset _rt _rn _rl;$_rt""#;

/// Runs a text of rollcall's own, which can start itself again, because it is an argument.
const CALL: &str = r#"eval "$1""#;

/// `sudo` in English, because rollcall reads its messages; the command keeps the locale of the login.
const SUDO: &str = r#"LC_R=${LC_ALL:-_} LC_ALL=C;export LC_ALL LC_R;exec "$@""#;

/// `sudo` with a password, which is the first line on stdin. The password is tested first with no other input, so that
/// sudo takes no other line for one; and it is never an argument of a process.
const SUDO_WITH_PASSWORD: &str = r#"LC_R=${LC_ALL:-_} LC_ALL=C;export LC_ALL LC_R
u=$1; shift
IFS= read -r p || { echo "rollcall sent no password" >&2; exit 1; }
if sudo -n -u "$u" -- sh -c : 2>/dev/null; then exec sudo -n -u "$u" -- "$@"; fi
printf '%s\n' "$p" | sudo -S -k -p '' -u "$u" -- sh -c : || exit
{ printf '%s\n' "$p"; exec cat; } | sudo -S -k -p '' -u "$u" -- "$@""#;

/// A request as it goes to a host.
pub struct Wire {
    pub command: String,
    pub input: Input,
    /// Its output begins behind the mark.
    pub marked: bool,
}

/// Builds the command line and the input.
pub fn wire(program: &Program, sudo: &Sudo, input: Input) -> Wire {
    let locale = if *sudo == Sudo::No { "" } else { LOCALE };
    let (words, input) = match program {
        Program::Login(command) => return Wire { command: (*command).into(), input, marked: false },
        Program::Own { text, arguments } => {
            let call = ["sh".into(), "-c".into(), format!("{MARK}{locale}{CALL}"), "rollcall".into()];
            let words = call.into_iter().chain([text.to_string()]).chain(arguments.iter().cloned());
            (words.collect::<Vec<String>>(), input)
        }
        Program::Script(script) => {
            let end = end_of(script);
            let text = format!("{locale}{READ}");
            let words = ["sh".into(), "-c".into(), text, "sh".into(), end.clone()];
            (words.into(), after(format!("{end}\n{script}\n{end}\n"), input))
        }
    };
    Wire { command: by_sudo(&words, sudo), input: with_password(sudo, input), marked: true }
}

fn by_sudo(words: &[String], sudo: &Sudo) -> String {
    let before: Vec<&str> = match sudo {
        Sudo::No => vec![],
        Sudo::Root => vec!["sh", "-c", SUDO, "sh", "sudo", "-n", "--"],
        Sudo::User(user) => vec!["sh", "-c", SUDO, "sh", "sudo", "-n", "-u", user, "--"],
        Sudo::Password { user, .. } => vec!["sh", "-c", SUDO_WITH_PASSWORD, "sudo", user],
    };
    shell::for_login(before.into_iter().chain(words.iter().map(String::as_str)))
}

/// A line that is not in the script.
fn end_of(script: &str) -> String {
    let mut number = 0;
    loop {
        let end = format!("%7f3a9c1e-{number}%");
        if !script.lines().any(|line| line == end) {
            return end;
        }
        number += 1;
    }
}

/// Puts the password before all other input, if sudo needs one.
fn with_password(sudo: &Sudo, input: Input) -> Input {
    match sudo {
        Sudo::Password { password, .. } => after(format!("{}\n", password.trim_end_matches('\n')), input),
        _ => input,
    }
}

fn after(text: String, input: Input) -> Input {
    Input::After(Bytes::from(text), Box::new(input))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::domain::base::output::Output;
    use crate::script::about_sudo;

    const SHELLS: [&[&str]; 5] = [&["dash"], &["bash"], &["busybox", "sh"], &["mksh"], &["zsh"]];

    fn bytes_of(input: Input) -> Vec<u8> {
        match input {
            Input::After(first, rest) => [first.to_vec(), bytes_of(*rest)].concat(),
            Input::Bytes(bytes) => bytes.to_vec(),
            _ => Vec::new(),
        }
    }

    /// What a login shell makes of it: exit status and both outputs.
    fn run(login: &[&str], wire: Wire, environment: &[(&str, &str)]) -> (i32, String, String) {
        let mut command = Command::new(login[0]);
        command.args(&login[1..]).args(["-c", &wire.command]).envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&bytes_of(wire.input)).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    fn script(text: &str, input: Input) -> Wire {
        wire(&Program::Script(text.into()), &Sudo::No, input)
    }

    #[test]
    fn the_mark_is_printed_on_both_outputs() {
        assert_eq!(MARK, format!("echo {BEGIN};echo {BEGIN} >&2;"));
        assert!(READ.contains(MARK));
    }

    #[test]
    fn a_script_comes_whole_and_leaves_the_rest_of_the_input() {
        let text = "printf '<%s>' \"ÁÉ \\\\x ÀÈ\t'%7f3a9c1e-0%'\" $#\n%7f3a9c1e-0%\n\n: 'two\nlines'; echo \"${_rt-unset}\"; cat; exit 7";
        for login in SHELLS.into_iter().chain([&["fish"][..], &["csh"]]) {
            let rest = Input::Bytes(Bytes::from_static(b"the rest\n  of it"));
            let (code, out, _) = run(login, script(text, rest), &[]);
            let (noise, out) = out.split_once(&format!("{BEGIN}\n")).unwrap();
            let said = "<ÁÉ \\x ÀÈ\t'%7f3a9c1e-0%'><0>unset\nthe rest\n  of it";
            assert_eq!((code, noise, out), (7, "", said), "{login:?}");
        }
    }

    #[test]
    fn a_script_that_was_cut_off_is_not_run() {
        for login in SHELLS {
            let whole = script("echo one\necho two", Input::None);
            let bytes = bytes_of(whole.input);
            for cut in 0..bytes.len() - 1 {
                let input = Input::Bytes(Bytes::copy_from_slice(&bytes[..cut]));
                if cut % 7 == 0 {
                    let (code, out, _) =
                        run(login, Wire { command: whole.command.clone(), input, marked: true }, &[]);
                    assert_eq!((code, out), (75, String::new()), "{login:?} {cut}");
                }
            }
        }
    }

    #[test]
    fn a_script_of_which_the_login_has_read_a_part_is_not_run() {
        for login in SHELLS {
            let whole = script("cd /nonexistent || exit\necho ran", Input::None);
            let command = format!("read -r _; {}", whole.command);
            let (code, out, _) = run(login, Wire { command, input: whole.input, marked: true }, &[]);
            assert_eq!((code, out), (75, String::new()), "{login:?}");
        }
    }

    #[test]
    fn no_command_line_holds_the_text_of_an_operator() {
        let wire = script("pgrep -f worker", Input::None);
        assert!(!wire.command.contains("worker"), "{}", wire.command);
        // Another script has the same command line.
        assert_eq!(wire.command, script("true", Input::None).command);
    }

    #[test]
    fn the_longest_command_line_leaves_room_for_names() {
        // Some SSH servers accept no command of more than 9000 bytes.
        let program = Program::Own { text: crate::steps::wrapper::WRAPPER.as_str(), arguments: Vec::new() };
        let command = wire(&program, &Sudo::Root, Input::None).command;
        assert!(command.len() < 8800, "{} bytes", command.len());
    }

    #[test]
    fn sudo_speaks_english_and_the_command_keeps_its_locale() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let sudo = dir.path().join("sudo");
        std::fs::write(&sudo, "#!/bin/sh\necho \"sudo: $LC_ALL\" >&2\nwhile [ \"$1\" != -- ]; do shift; done; shift\nexec \"$@\"\n")
            .unwrap();
        std::fs::set_permissions(&sudo, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
        for login in SHELLS {
            for (theirs, kept) in [(None, "unset"), (Some("de_DE.UTF-8"), "de_DE.UTF-8"), (Some(""), "unset")]
            {
                let program = Program::Script("echo \"${LC_ALL-unset} ${LC_R-gone}\"".into());
                let mut environment = vec![("PATH", path.as_str())];
                environment.extend(theirs.map(|value| ("LC_ALL", value)));
                let (code, out, err) = run(login, wire(&program, &Sudo::Root, Input::None), &environment);
                assert!(err.contains("sudo: C\n"), "{login:?}: {err}");
                assert_eq!((code, out), (0, format!("{BEGIN}\n{kept} gone\n")), "{login:?}");
            }
        }
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
                let wire = wire(&Program::Script("cat; exit 7".into()), &sudo, Input::None);
                let script = format!("PATH={}:$PATH; {}", dir.path().display(), wire.command);
                let sent = bytes_of(wire.input);
                assert!(!script.contains("right"), "never in a command line: {script}");
                let mut command = Command::new(shell.split(' ').next().unwrap());
                command.args(shell.split(' ').skip(1)).args(["-c", &script]).current_dir(dir.path());
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                let mut child = command.spawn().unwrap();
                let mut stdin = child.stdin.take().unwrap();
                // A sudo that fails early does not read all of it.
                let _ = stdin.write_all(&[&sent[..], b"one\n right\\$x\n"].concat());
                drop(stdin);
                let output = child.wait_with_output().unwrap();
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                let stderr =
                    Output { text: text(&output.stderr).replace(&format!("{BEGIN}\n"), ""), left_out: 0 };
                let hint = about_sudo(&sudo, &stderr).unwrap_or_default();
                let stdout = text(&output.stdout).replace(&format!("{BEGIN}\n"), "");
                (output.status.code().unwrap(), stdout, hint)
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
}
