//! Programs that read one of their arguments, or their input, as code. A value there is code, too, even if the shell
//! quotes it; [`super::words`] refuses it. The list cannot be complete: docs/steps.md says so.

use std::ops::Range;

/// A program that reads arguments as code.
#[derive(Debug)]
pub(super) struct Interpreter {
    names: &'static [&'static str],
    /// Letters of options whose argument is code.
    code: &'static str,
    /// Letters of options whose argument is not code.
    with_value: &'static str,
    /// Letters of other options. After an unknown option the position of code is uncertain.
    flags: &'static str,
    /// The positions of code, counted from 1 without options, if no option names the code.
    positions: Range<usize>,
    /// The number of positional arguments from which it no longer reads code from its input.
    enough: usize,
}

const NONE: Range<usize> = 0..0;
const FIRST: Range<usize> = 1..2;
const ALL: Range<usize> = 1..usize::MAX;

const fn by_option(
    names: &'static [&'static str],
    code: &'static str,
    with_value: &'static str,
) -> Interpreter {
    Interpreter { names, code, with_value, flags: "", positions: NONE, enough: 1 }
}

const fn by_position(
    names: &'static [&'static str],
    positions: Range<usize>,
    with_value: &'static str,
) -> Interpreter {
    Interpreter { names, code: "", with_value, flags: "", positions, enough: 0 }
}

static INTERPRETERS: [Interpreter; 20] = [
    by_option(
        &["sh", "ash", "bash", "dash", "ksh", "ksh93", "mksh", "lksh", "zsh", "yash", "fish", "csh", "tcsh"],
        "c",
        "oO",
    ),
    by_option(&["su", "runuser", "script", "flock"], "c", "sgGuw"),
    by_option(&["python"], "c", "WX"),
    by_option(&["perl"], "eE", "I"),
    by_option(&["ruby", "lua", "Rscript"], "e", ""),
    by_option(&["node", "nodejs"], "ep", "r"),
    by_option(&["php"], "rBRE", "dcz"),
    by_option(&["mysql", "mariadb"], "e", "hPuD"),
    by_option(&["psql"], "c", "dhpUvf"),
    by_option(&["rsync"], "e", "f"),
    by_option(&["env"], "S", "u"),
    Interpreter {
        names: &["ssh"],
        code: "",
        with_value: "BbcDEeFIiJLlmOopQRSWw",
        flags: "46AaCfGgKkMNnqsTtVvXxYy",
        positions: 2..usize::MAX,
        enough: 2,
    },
    Interpreter {
        names: &["awk", "gawk", "mawk", "nawk"],
        code: "",
        with_value: "vFf",
        flags: "",
        positions: FIRST,
        enough: 0,
    },
    Interpreter {
        names: &["sed", "gsed"],
        code: "e",
        with_value: "fl",
        flags: "nErsuzi",
        positions: FIRST,
        enough: 0,
    },
    Interpreter {
        names: &["sqlite3"],
        code: "",
        with_value: "",
        flags: "",
        positions: 2..usize::MAX,
        enough: 2,
    },
    by_position(&["eval", "alias"], ALL, ""),
    by_position(&["trap"], FIRST, ""),
    by_position(&["watch"], ALL, "n"),
    by_position(&["make", "gmake"], ALL, "CfIjlo"),
    by_option(&["gtar", "bsdtar"], "I", "CfTX"),
];

/// Programs that run the command in their arguments: another interpreter may follow.
const CARRIERS: [&str; 36] = [
    "builtin",
    "busybox",
    "chroot",
    "chrt",
    "command",
    "coproc",
    "docker",
    "doas",
    "env",
    "exec",
    "fakeroot",
    "find",
    "flock",
    "ionice",
    "kubectl",
    "nice",
    "nohup",
    "nsenter",
    "parallel",
    "podman",
    "prlimit",
    "runuser",
    "setarch",
    "setpriv",
    "setsid",
    "ssh",
    "stdbuf",
    "strace",
    "su",
    "sudo",
    "systemd-run",
    "taskset",
    "time",
    "timeout",
    "unshare",
    "xargs",
];

/// Builtins that read names of variables, and evaluate the subscript of a name (`a[$(id)]`).
const NAME_READERS: [&str; 10] =
    ["declare", "export", "getopts", "local", "mapfile", "read", "readarray", "readonly", "typeset", "unset"];

/// The interpreter of this name, in any folder and version: `/usr/bin/python3.11`.
pub(super) fn interpreter(word: &str) -> Option<&'static Interpreter> {
    let name = base_name(word);
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    INTERPRETERS.iter().find(|one| one.names.contains(&name) || one.names.contains(&plain))
}

/// True if another command may follow among the arguments.
pub(super) fn is_carrier(word: &str) -> bool {
    CARRIERS.contains(&base_name(word))
}

/// True for builtins whose arguments are names.
pub(super) fn reads_names(word: &str) -> bool {
    NAME_READERS.contains(&word)
}

fn base_name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

impl Interpreter {
    /// True if an option names the code: then the name of the program may be anywhere among the words.
    pub(super) fn is_told_by_options(&self) -> bool {
        self.positions == NONE
    }
}

/// The state of reading an interpreter's arguments.
#[derive(Clone, Debug)]
pub(super) struct Arguments {
    of: &'static Interpreter,
    next: NextArgument,
    positional: usize,
    /// An option has named the code: no positional argument is code any longer.
    has_code: bool,
    /// An unknown option: the code may be at any position.
    is_uncertain: bool,
    /// `-s` or `-`: it reads its input.
    wants_input: bool,
}

/// The kind of the next argument.
#[derive(Clone, Copy, Debug, PartialEq)]
enum NextArgument {
    Any,
    Code,
    Value,
}

impl Arguments {
    pub(super) fn of(of: &'static Interpreter) -> Arguments {
        Arguments {
            of,
            next: NextArgument::Any,
            positional: 0,
            has_code: false,
            is_uncertain: false,
            wants_input: false,
        }
    }

    /// Reads one whole argument.
    pub(super) fn take(&mut self, word: &str) {
        self.wants_input |= word == "-" || word == "-s";
        match self.next {
            // `sh -c -e CODE`: options may come before the code.
            NextArgument::Code if is_option(word) => return,
            NextArgument::Code | NextArgument::Value => return self.next = NextArgument::Any,
            NextArgument::Any => {}
        }
        if !is_option(word) {
            self.positional += 1;
        } else if self.brings_code(word) {
            self.has_code = true;
            self.next = NextArgument::Code;
        } else {
            self.take_option(word);
        }
    }

    fn take_option(&mut self, word: &str) {
        let mut letters = word[1..].chars();
        let (letter, is_short) = (letters.next().unwrap_or('-'), letters.next().is_none());
        if self.of.with_value.contains(letter) {
            self.next = if is_short { NextArgument::Value } else { NextArgument::Any };
            // The FILE of `-f FILE` of awk and sed is the program.
            self.has_code |= letter == 'f' && self.of.positions == FIRST;
        } else if word != "--" && !word[1..].chars().all(|letter| self.of.flags.contains(letter)) {
            self.is_uncertain = true;
        }
    }

    /// True when the argument that starts with `begun` is code.
    pub(super) fn is_code(&self, begun: &str) -> bool {
        match self.next {
            NextArgument::Code => true,
            NextArgument::Value => false,
            NextArgument::Any if is_option(begun) => self.brings_code(begun),
            NextArgument::Any if self.is_uncertain && self.of.positions != NONE => true,
            NextArgument::Any => !self.has_code && self.of.positions.contains(&(self.positional + 1)),
        }
    }

    /// True when its input is its program.
    pub(super) fn reads_input(&self) -> bool {
        let lacks_code = !self.has_code && self.positional < self.of.enough;
        lacks_code || (self.wants_input && !self.has_code)
    }

    fn brings_code(&self, option: &str) -> bool {
        match option.strip_prefix("--") {
            Some(long) => {
                let is_known = |name: &str| long == name || long.starts_with(&format!("{name}="));
                let names =
                    ["command", "eval", "execute", "expression", "print", "rsh", "run", "split-string"];
                names.into_iter().any(is_known) && !self.of.code.is_empty()
            }
            None => option[1..].contains(|letter| self.of.code.contains(letter)),
        }
    }
}

fn is_option(word: &str) -> bool {
    word.starts_with('-') && word.len() > 1
}
