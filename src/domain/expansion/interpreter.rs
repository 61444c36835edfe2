//! Programs that read one of their arguments as code. A value that stands in such an argument is code, too, however
//! well the shell quotes it; [`super::expansion`] refuses it there.

/// A program that reads arguments as code.
#[derive(Debug)]
pub(super) struct Interpreter {
    names: &'static [&'static str],
    /// Letters of options whose argument is code.
    code: &'static str,
    /// Letters of options that take an argument that is no code.
    with_value: &'static str,
    /// The arguments, counted from 1 and without options, that are code where no option was.
    positions: std::ops::Range<usize>,
}

const NONE: std::ops::Range<usize> = 0..0;
const FIRST: std::ops::Range<usize> = 1..2;

static INTERPRETERS: [Interpreter; 12] = [
    Interpreter {
        names: &[
            "sh", "ash", "bash", "dash", "ksh", "ksh93", "mksh", "lksh", "zsh", "yash", "fish", "csh", "tcsh",
        ],
        code: "c",
        with_value: "oO",
        positions: NONE,
    },
    Interpreter { names: &["su", "runuser", "script"], code: "c", with_value: "sgGu", positions: NONE },
    Interpreter { names: &["eval"], code: "", with_value: "", positions: 1..usize::MAX },
    Interpreter { names: &["trap"], code: "", with_value: "", positions: FIRST },
    Interpreter { names: &["ssh"], code: "", with_value: "BbcDEeFIiJLlmOopQRSWw", positions: 2..usize::MAX },
    Interpreter { names: &["python", "python2", "python3"], code: "c", with_value: "WX", positions: NONE },
    Interpreter { names: &["perl"], code: "eE", with_value: "", positions: NONE },
    Interpreter { names: &["ruby", "lua", "Rscript"], code: "e", with_value: "", positions: NONE },
    Interpreter { names: &["node", "nodejs"], code: "ep", with_value: "r", positions: NONE },
    Interpreter { names: &["php"], code: "rBRE", with_value: "dcz", positions: NONE },
    Interpreter { names: &["awk", "gawk", "mawk", "nawk"], code: "", with_value: "vFf", positions: FIRST },
    Interpreter { names: &["sed", "gsed"], code: "e", with_value: "fl", positions: FIRST },
];

/// Programs that run the command in their arguments: an interpreter may follow.
const CARRIERS: [&str; 32] = [
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
    "find",
    "flock",
    "ionice",
    "kubectl",
    "nice",
    "nohup",
    "nsenter",
    "parallel",
    "podman",
    "runuser",
    "setpriv",
    "setsid",
    "ssh",
    "stdbuf",
    "su",
    "sudo",
    "systemd-run",
    "taskset",
    "time",
    "timeout",
    "watch",
    "xargs",
];

/// Builtins that read the names of variables, and evaluate the subscript of a name (`a[$(id)]`).
const NAME_READERS: [&str; 10] =
    ["declare", "export", "getopts", "local", "mapfile", "read", "readarray", "readonly", "typeset", "unset"];

/// The interpreter of this name, whatever its folder and version: `/usr/bin/python3.11`.
pub(super) fn interpreter(word: &str) -> Option<&'static Interpreter> {
    let name = base_name(word);
    let plain = match name.strip_prefix("python") {
        Some(_) => "python",
        None => name,
    };
    INTERPRETERS.iter().find(|one| one.names.contains(&plain))
}

/// True where another command may follow among the arguments.
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

/// How far the arguments of an interpreter have been read.
#[derive(Clone, Debug)]
pub(super) struct Arguments {
    of: &'static Interpreter,
    next: Next,
    positional: usize,
    /// An option has brought the code: no argument by position is code any more.
    has_code: bool,
}

/// What the next argument is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    Any,
    Code,
    Value,
}

impl Arguments {
    pub(super) fn of(interpreter: &'static Interpreter) -> Arguments {
        Arguments { of: interpreter, next: Next::Any, positional: 0, has_code: false }
    }

    /// Takes one whole argument.
    pub(super) fn take(&mut self, word: &str) {
        let next = std::mem::replace(&mut self.next, Next::Any);
        if next != Next::Any {
            return;
        }
        if !is_option(word) {
            self.positional += 1;
        } else if self.brings_code(word) {
            self.has_code = true;
            self.next = Next::Code;
        } else if let Some(letter) = word[1..].chars().next().filter(|_| word.chars().count() == 2) {
            self.next = if self.of.with_value.contains(letter) { Next::Value } else { Next::Any };
            // `-f FILE` of awk and sed is a program as well.
            self.has_code |= letter == 'f' && self.of.positions == FIRST;
        }
    }

    /// True when the argument that begins with `begun` is code.
    pub(super) fn is_code(&self, begun: &str) -> bool {
        match self.next {
            Next::Code => true,
            Next::Value => false,
            Next::Any if is_option(begun) => self.brings_code(begun),
            Next::Any => !self.has_code && self.of.positions.contains(&(self.positional + 1)),
        }
    }

    fn brings_code(&self, option: &str) -> bool {
        match option.strip_prefix("--") {
            Some(long) => {
                let is_known = |name: &str| long == name || long.starts_with(&format!("{name}="));
                ["command", "eval", "expression", "print", "run"].into_iter().any(is_known)
                    && !self.of.code.is_empty()
            }
            None => option[1..].contains(|letter| self.of.code.contains(letter)),
        }
    }
}

fn is_option(word: &str) -> bool {
    word.starts_with('-') && word.len() > 1
}
