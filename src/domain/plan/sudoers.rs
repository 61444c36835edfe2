//! What the logins of hosts need from sudo: what tasks, checks and balancer drivers run through it.

use std::collections::BTreeSet;

use super::plan::vars_of;
use crate::domain::ask::command::Params;
use crate::domain::base::name::HostName;
use crate::domain::check::check::{Check, From};
use crate::domain::inventory::inventory::{Driver, Host, Inventory};
use crate::domain::inventory::selector::select;
use crate::domain::task::task::{Sudo, Task, Written};
use crate::domain::value::template::{self, Vars, is_template};

/// Keys of steps whose texts are scripts.
const SCRIPTS: [&str; 6] = ["run", "undo", "unless", "command", "boot_id", "validate"];

/// Words of `sh` that a command can follow.
const BEFORE: [&str; 12] =
    ["!", "if", "then", "else", "elif", "while", "until", "do", "exec", "command", "time", "{"];

/// Characters that `sh` or sudo would replace by something else. sudo reads an argument that begins with `^` as a regular
/// expression.
const REPLACED: [char; 11] = ['$', '`', '*', '?', '[', '~', '<', '>', '{', '}', '^'];

/// One right, and what needs it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The user that sudo changes to.
    pub user: String,
    /// sudo gets a password.
    pub with_password: bool,
    pub what: SudoCommand,
    /// Such as `task deploy, step "restart"`.
    pub why: String,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SudoCommand {
    /// `sh` with a script of its own for each use: no rule can narrow it.
    AnyScript,
    /// One command with its arguments.
    Command(Vec<String>),
    /// A command that is not known before a run, as it is written.
    Open(String),
}

/// The files of a configuration that say what hosts run.
pub struct SudoSources<'a> {
    pub inventory: &'a Inventory,
    pub tasks: Vec<&'a Task>,
    pub checks: Vec<&'a Check>,
}

/// The rights that the login of a host needs, each once.
pub fn rights(sources: &SudoSources<'_>, host: &Host) -> Vec<Right> {
    let mut found = BTreeSet::new();
    for task in &sources.tasks {
        let vars = vars_of(host, Some(task), &Params::new());
        for written in task.steps.iter().chain(&task.rollback).chain(&task.handlers) {
            if runs_on(sources.inventory, task, written, host) {
                let why = format!("task {}, step \"{}\"", task.name, written.step.name);
                found.extend(of_step(written, &vars, &why));
            }
        }
    }
    let vars = vars_of(host, None, &Params::new());
    for check in
        sources.checks.iter().filter(|check| check.from == From::Host && host.checks.contains(&check.set))
    {
        let why = format!("check {}", check.id());
        found.extend(check.texts().iter().flat_map(|text| calls(text, &vars, &why)));
    }
    for group in sources.inventory.groups.values() {
        let Some(balancer) = &group.balancer else { continue };
        let why = format!("balancer of {}", group.name);
        let is_there = match balancer.driver {
            // Its file is on each host behind the balancer.
            Driver::File(_) => host.balancer.as_deref() == Some(&group.name),
            Driver::Nginx(_) | Driver::Haproxy(_) | Driver::Command(_) => {
                balancer.on.iter().any(|at| at.name == host.name)
            }
        };
        if is_there {
            found.extend(of_driver(&balancer.driver, &why));
        }
    }
    found.into_iter().collect()
}

/// True if the step may run on the host.
fn runs_on(inventory: &Inventory, task: &Task, written: &Written, host: &Host) -> bool {
    let selects = |inventory: &Inventory, text: &str| {
        select(inventory, text).is_ok_and(|names: Vec<HostName>| names.contains(&host.name))
    };
    match (&written.on, &task.hosts) {
        // Which host it is depends on the run.
        (Some(on), _) if is_template(on) => true,
        (Some(on), _) => selects(inventory, on),
        (None, Some(within)) => {
            let file = BTreeSet::from([host.file().to_string()]);
            selects(&inventory.visible_to(Some(&file)), within)
        }
        (None, None) => true,
    }
}

fn of_step(written: &Written, vars: &Vars, why: &str) -> Vec<Right> {
    let step = &written.step;
    let any_script = |user: &str, with_password| {
        vec![Right { user: user.into(), with_password, what: SudoCommand::AnyScript, why: why.into() }]
    };
    match &step.sudo {
        Sudo::Root => return any_script("root", false),
        Sudo::User(user) => return any_script(user, false),
        Sudo::Password { user, .. } => return any_script(user, true),
        Sudo::No => {}
    }
    let scripts = step.templates().into_iter().filter(|(key, _)| SCRIPTS.contains(key));
    scripts.flat_map(|(_, text)| calls(&text, vars, why)).collect()
}

fn of_driver(driver: &Driver, why: &str) -> Vec<Right> {
    let (sudo, commands) = match driver {
        Driver::Nginx(nginx) => {
            let test = nginx.test.clone().unwrap_or_default();
            // The driver runs the test command with these options, too.
            let variants = ["-T", "-V", "-s reload"].map(|option| test.replace(" -t", &format!(" {option}")));
            let own = [nginx.reload.clone(), nginx.workers.clone()].into_iter().flatten();
            (nginx.sudo, [test].into_iter().chain(variants).chain(own).collect())
        }
        Driver::Haproxy(haproxy) => (haproxy.sudo, vec![]),
        Driver::File(file) => (file.sudo, vec![]),
        Driver::Command(own) => (own.sudo, vec![own.drain.clone(), own.enable.clone(), own.status.clone()]),
    };
    if sudo {
        return vec![Right {
            user: "root".into(),
            with_password: false,
            what: SudoCommand::AnyScript,
            why: why.into(),
        }];
    }
    commands.iter().flat_map(|text| calls(text, &Vars::new(), why)).collect()
}

/// The calls of sudo in a script. One that is not understood whole is left to a person.
fn calls(script: &str, vars: &Vars, why: &str) -> Vec<Right> {
    let right = |(user, what)| Right { user, with_password: false, what, why: why.into() };
    let script = without_comments(script);
    let mentions = script.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-');
    let mentions = mentions.filter(|word| *word == "sudo").count();
    let found: Vec<(String, SudoCommand)> =
        commands(&script).into_iter().filter_map(|text| call(&text, vars)).collect();
    // In a here-document a line that looks like a command is text.
    match mentions > found.len() || (mentions > 0 && script.contains("<<")) {
        true => vec![right(("root".into(), SudoCommand::Open(script.trim().into())))],
        false => found.into_iter().map(right).collect(),
    }
}

/// The script without what follows a `#` at the begin of a word outside of quotes.
fn without_comments(script: &str) -> String {
    let mut text = String::with_capacity(script.len());
    let (mut quote, mut is_comment) = (None, false);
    for c in script.chars() {
        let begins_word = text.chars().next_back().is_none_or(char::is_whitespace);
        match (c, quote) {
            ('\n', _) if is_comment => is_comment = false,
            _ if is_comment => continue,
            ('#', None) if begins_word => {
                is_comment = true;
                continue;
            }
            ('\'' | '"', None) if !text.ends_with('\\') => quote = Some(c),
            // In double quotes `\"` is a character.
            (_, Some(open)) if c == open && (c == '\'' || !text.ends_with('\\')) => quote = None,
            _ => {}
        }
        text.push(c);
    }
    text
}

/// The user and the command of one call of sudo.
fn call(text: &str, vars: &Vars) -> Option<(String, SudoCommand)> {
    let mut words = text.split_whitespace().skip_while(|word| BEFORE.contains(word) || is_assignment(word));
    if words.next()? != "sudo" {
        return None;
    }
    let rendered = match template::names_used(text).iter().all(|name| vars.contains_key(name)) {
        true => template::text(text, vars).unwrap_or_else(|_| text.into()),
        false => text.into(),
    };
    let words = shell_words::split(&rendered).unwrap_or_default();
    let mut words = words.into_iter().skip_while(|word| word != "sudo").skip(1).peekable();
    let (mut user, mut is_plain) = ("root".to_string(), !rendered.contains(REPLACED));
    while let Some(option) = words.next_if(|word| word.starts_with('-')) {
        match option.as_str() {
            "--" => break,
            "-n" | "--non-interactive" | "-H" | "--set-home" => {}
            "-u" | "--user" => user = words.next()?,
            _ => is_plain = false,
        }
    }
    let command: Vec<String> = words.collect();
    // sudo compares arguments joined by blanks: one with a blank, or an empty one, would allow other commands.
    is_plain &= command.iter().all(|word| !word.is_empty() && !word.contains(char::is_whitespace));
    let what = match is_plain && !command.is_empty() {
        true => SudoCommand::Command(command),
        false => SudoCommand::Open(text.trim().into()),
    };
    Some((user, what))
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| crate::domain::base::name::is_identifier(name))
}

/// The simple commands of a script: its text between `;`, `&`, `|`, parentheses and line ends outside of quotes.
fn commands(script: &str) -> Vec<String> {
    let (mut found, mut current, mut quote) = (Vec::new(), String::new(), None);
    let mut chars = script.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                match chars.next() {
                    Some('\n') | None => {}
                    Some(next) => current.extend([c, next]),
                }
                continue;
            }
            ('\'' | '"', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            // `2>&1` ends no command.
            ('&', None) if current.ends_with(['>', '<']) => {}
            ('\n' | ';' | '&' | '|' | '(' | ')', None) => {
                found.push(std::mem::take(&mut current));
                continue;
            }
            _ => {}
        }
        current.push(c);
    }
    found.push(current);
    found.iter().map(|text| without_redirections(text)).collect()
}

/// Redirections are done by the shell of the login, not by sudo.
fn without_redirections(text: &str) -> String {
    let mut words: Vec<&str> = Vec::new();
    let mut is_target = false;
    for word in text.split_whitespace() {
        let bare = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let redirects = bare.starts_with(['<', '>']);
        if !redirects && !is_target {
            words.push(word);
        }
        is_target = redirects && bare.trim_start_matches(['<', '>']).is_empty();
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::inventory::inventory::{Nginx, NginxStyle};

    /// Scripts that are left to a person.
    const OPEN: [&str; 16] = [
        "sudo -n rm $file",
        "sudo -n x {{ version }}",
        "sudo -n ls *.log",
        "sudo -i",
        "sudo -g x y",
        "sudo",
        "echo 'sudo rm; sudo rm'",
        "cat <<EOF\na; sudo -n /sbin/halt\nEOF",
        "sudo -n /bin/rm '/srv/a b'",
        "sudo -n /bin/two ''",
        "sudo -n /bin/ls '^a'",
        "timeout 5 sudo -n reboot",
        "env sudo -n reboot",
        "/usr/bin/sudo -n reboot",
        "x=\"$(sudo -n id)\"",
        "sudo -n a; nohup sudo -n b",
    ];

    fn of(script: &str) -> Vec<(String, SudoCommand)> {
        let vars = Vars::from([("unit".to_string(), json!("app"))]);
        calls(script, &vars, "w").into_iter().map(|right| (right.user, right.what)).collect()
    }

    #[test]
    fn calls_of_sudo_are_found_with_user_and_arguments() {
        let command = |words: &[&str]| SudoCommand::Command(words.iter().map(ToString::to_string).collect());
        let root = |words: &[&str]| ("root".to_string(), command(words));
        let table = [
            ("sudo -n systemctl reload app", vec![root(&["systemctl", "reload", "app"])]),
            ("sudo -n systemctl reload {{ unit }}", vec![root(&["systemctl", "reload", "app"])]),
            ("cd /srv && sudo -n -- /bin/x 'a' >/dev/null 2>&1", vec![root(&["/bin/x", "a"])]),
            ("# don't; sudo -n /sbin/reboot\nsudo -n /bin/x a#b # 'why", vec![root(&["/bin/x", "a#b"])]),
            ("sudo -u app id", vec![("app".to_string(), command(&["id"]))]),
            ("if ! sudo -n true; then A=b sudo -n false; fi", vec![root(&["true"]), root(&["false"])]),
            ("a | sudo -n tee /etc/x > /dev/null", vec![root(&["tee", "/etc/x"])]),
            ("sudoedit x; pseudo y; cat /etc/sudo-rules", vec![]),
            ("sudo -n \\\n  reboot", vec![root(&["reboot"])]),
            ("echo \"a \\\" # b\"; sudo -n reboot", vec![root(&["reboot"])]),
        ];
        for (script, wanted) in table {
            assert_eq!(of(script), wanted, "{script}");
        }
        for open in OPEN {
            assert_eq!(of(open), [("root".to_string(), SudoCommand::Open(open.into()))], "{open}");
        }
    }

    #[test]
    fn the_driver_of_nginx_runs_its_test_with_other_options_too() {
        let nginx = Nginx {
            config: "/etc/nginx/nginx.conf".into(),
            style: NginxStyle::Down,
            upstreams: vec![],
            test: Some("sudo -n nginx -t".into()),
            reload: None,
            workers: None,
            sudo: false,
        };
        let rights = of_driver(&Driver::Nginx(nginx.clone()), "b");
        let said: Vec<SudoCommand> = rights.into_iter().map(|right| right.what).collect();
        let command = |option: &str| {
            SudoCommand::Command(["nginx"].into_iter().chain(option.split(' ')).map(String::from).collect())
        };
        assert_eq!(said, ["-t", "-T", "-V", "-s reload"].map(command));
        let whole = of_driver(&Driver::Nginx(Nginx { sudo: true, ..nginx }), "b");
        assert_eq!(whole.len(), 1);
        assert_eq!(whole[0].what, SudoCommand::AnyScript);
    }
}
