//! The interpreter of a script, by its first line, and the text that runs it on a host without a file there.

use crate::domain::base::digest::sha256_hex;
use crate::domain::value::shell;

/// The interpreter of a script whose first line names it.
pub const BY_FIRST_LINE: &str = "#!";

/// Largest script that runs without a file, in bytes: the host's shell holds it in memory.
pub const SCRIPT_LIMIT_BYTES: u64 = 256 * 1024;

/// Reads a script from standard input into `$_rs`, up to the line `$1`: without that line it did not arrive whole, and does not
/// run. Then runs the interpreter of the other parameters, which reads the script through a pipe: no file is created. Descriptor
/// 3 is the script, and standard input is empty.
const RUN: &str = r#"
_rs=$(cat)
case $_rs in *"$1") ;; *) echo "the script did not arrive whole, and did not run" >&2; exit 75 ;; esac
_rs=${_rs%"$1"}
shift
command -v "$1" >/dev/null 2>&1 || { printf '%s\n' "$1 is not on the host, or not in its PATH ($PATH)" >&2; exit 127; }
[ -e /dev/fd/0 ] || { echo "the host has no /dev/fd, so no interpreter can read a script without a file; try: a task with a step script" >&2; exit 69; }
if [ -n "${KSH_VERSION-}" ]; then print -rn -- "$_rs"; else printf %s "$_rs"; fi 2>/dev/null | {
unset _rs
exec "$@" 3<&0 </dev/null
}"#;

/// A script that was given to a command, if it can run without a file. The error says why it cannot.
pub fn readable(bytes: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        "the script is not UTF-8: a program or another binary file is none; try: a step `upload`, or `copy`"
            .to_string()
    })?;
    if text.contains('\0') {
        return Err("the script has a NUL character, which no shell reads".into());
    }
    if text.lines().next().is_some_and(|_| text.split('\n').next().is_some_and(|first| first.ends_with('\r')))
    {
        return Err(
            "its lines end with a carriage return, which interpreters take for a part of their last word; \
                    try: dos2unix"
                .into(),
        );
    }
    if text.trim().is_empty() {
        return Err("the script is empty".into());
    }
    interpreter(text).map(|_| text)
}

/// The words of the interpreter, as the kernel reads the first line: a path, and the rest as one argument. Without
/// such a line it is `sh`.
pub fn interpreter(script: &str) -> Result<Vec<&str>, String> {
    let Some(line) = script.lines().next().and_then(|first| first.strip_prefix("#!")) else {
        return Ok(vec!["sh"]);
    };
    let line = line.trim();
    if line.is_empty() {
        return Err("its first line, `#!`, names no interpreter".into());
    }
    let (path, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let argument = Some(argument.trim_start()).filter(|argument| !argument.is_empty());
    Ok([Some(path), argument].into_iter().flatten().collect())
}

/// The text for the host's `sh` that runs a script with arguments, and its standard input.
pub fn without_file(script: &str, args: &[String]) -> Result<(String, String), String> {
    // No script has its own digest in it.
    let end = format!("# rollcall end {}", sha256_hex(script.as_bytes()));
    let interpreter = interpreter(script)?;
    let words = [end.as_str()].into_iter().chain(interpreter).chain(["/dev/fd/3"]);
    let words: Vec<String> = words.chain(args.iter().map(String::as_str)).map(shell::quote).collect();
    let newline = if script.ends_with('\n') { "" } else { "\n" };
    Ok((format!("set -- {}{RUN}", words.join(" ")), format!("{script}{newline}{end}\n")))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::process::{Command, Output, Stdio};

    use super::*;

    #[test]
    fn the_first_line_names_the_interpreter_as_the_kernel_reads_it() {
        let table: [(&str, &[&str]); 5] = [
            ("echo a\n", &["sh"]),
            ("#!/bin/bash\n", &["/bin/bash"]),
            ("#! /usr/bin/env  python3 -u \nx", &["/usr/bin/env", "python3 -u"]),
            ("#!/usr/bin/awk -f", &["/usr/bin/awk", "-f"]),
            ("# no interpreter\n", &["sh"]),
        ];
        for (script, words) in table {
            assert_eq!(interpreter(script).as_deref(), Ok(words), "{script}");
        }
        let table: [(&[u8], &str); 5] = [
            (b"#!\n", "names no interpreter"),
            (b" \n", "is empty"),
            (b"a\0b", "NUL"),
            (b"\x7fELF\xff", "not UTF-8"),
            (b"#!/bin/sh\r\necho\r\n", "carriage return"),
        ];
        for (bytes, why) in table {
            assert!(readable(bytes).unwrap_err().contains(why), "{why}");
        }
        assert_eq!(readable(b"echo a"), Ok("echo a"));
    }

    fn run(shell: &[&str], text: &str, input: &str, dir: &Path) -> Output {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).args(["-c", text]).env("TMPDIR", dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    #[test]
    fn a_script_runs_on_every_shell_without_a_file_and_with_its_arguments() {
        let dir = tempfile::tempdir().unwrap();
        let long = "# a comment\n".repeat(10_000);
        for script in [
            format!("{long}echo \"$#:$1:$2\"; cat; case $- in *i*) ;; esac; echo 'it'\"'\"'s'; exit 7\n"),
            "#!/usr/bin/env bash\nIFS=+; a=(1 2); echo \"$#:$1:$2\"; cat; echo \"it's\"; exit 7".to_string(),
            "#!/usr/bin/env python3\nimport sys\nprint('%d:%s:%s' % (len(sys.argv) - 1, *sys.argv[1:]))\nsys.stdin.read()\nprint(\"it's\")\nsys.exit(7)\n"
                .to_string(),
        ] {
            let (text, input) = without_file(&script, &["a  b".into(), "$x'".into()]).unwrap();
            let text = format!("cd {} || exit\n{text}", dir.path().display());
            for shell in [&["dash"][..], &["bash"], &["busybox", "sh"], &["mksh"], &["zsh"]] {
                let output = run(shell, &text, &input, dir.path());
                let (out, err) =
                    (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
                assert_eq!((out.as_ref(), output.status.code()), ("2:a  b:$x'\nit's\n", Some(7)), "{shell:?}: {err}");
                assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
                // Cut off anywhere, it does not run.
                for cut in [0, 1, script.len() / 2, script.len(), input.len() - 2] {
                    let output = run(shell, &text, &input[..cut], dir.path());
                    assert_eq!((output.status.code(), output.stdout.len()), (Some(75), 0), "{shell:?} {cut}");
                }
            }
        }
        let (missing, input) = without_file("#!/nonesuch\n", &[]).unwrap();
        let output = run(&["sh"], &missing, &input, dir.path());
        assert_eq!(output.status.code(), Some(127));
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("/nonesuch is not on the host"));
    }
}
