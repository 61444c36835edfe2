//! The rules of sudo that hosts need, as lines of a sudoers file.

use std::collections::BTreeMap;

use crate::domain::base::nodeset::fold;
use crate::domain::plan::sudoers::{Right, SudoCommand};

/// Characters that sudoers gives a meaning in a command (sudoers(5), "Wildcards" and "Special characters").
const SPECIAL: [char; 10] = ['\\', ',', ':', '=', '*', '?', '[', ']', '!', '#'];

/// Programs that run any other: a rule for one of them gives every right.
const RUN_ANYTHING: [&str; 22] = [
    "ash", "awk", "bash", "busybox", "chroot", "csh", "dash", "env", "find", "fish", "ksh", "less",
    "nsenter", "perl", "php", "python3", "ruby", "sh", "su", "vi", "xargs", "zsh",
];

/// A host with what it needs, and where its programs are.
pub struct Needs {
    pub host: String,
    pub login: String,
    pub rights: Vec<Right>,
    /// `None` for a program that is not on the host.
    pub paths: BTreeMap<String, Option<String>>,
}

/// One file for all hosts that need the same.
pub fn files(needs: &[Needs]) -> String {
    let mut alike: Vec<(String, Vec<&str>)> = Vec::new();
    for one in needs {
        let text = rules(one);
        match alike.iter_mut().find(|(known, _)| *known == text) {
            Some((_, hosts)) => hosts.push(&one.host),
            None => alike.push((text, vec![&one.host])),
        }
    }
    let mut text = String::new();
    for (rules, hosts) in alike {
        text.push_str(&format!("# {}\n{rules}\n", fold(hosts)));
    }
    text
}

/// The rules of one host.
pub fn rules(needs: &Needs) -> String {
    if needs.login == "root" {
        return "# the login is root and needs no sudo\n".into();
    }
    if needs.rights.is_empty() {
        return "# no task, check or balancer uses sudo here\n".into();
    }
    let mut by_rule: BTreeMap<String, Vec<&Right>> = BTreeMap::new();
    for right in &needs.rights {
        by_rule.entry(rule(needs, right)).or_default().push(right);
    }
    let mut text = String::new();
    for (rule, rights) in by_rule {
        text.push_str(rights.first().map_or("", |right| warning(right)));
        rights.iter().for_each(|right| text.push_str(&format!("# {}\n", right.why)));
        text.push_str(&format!("{rule}\n"));
    }
    text
}

/// A line above a rule that gives more than one command.
fn warning(right: &Right) -> &'static str {
    let is_any = |word: &str| RUN_ANYTHING.contains(&word.rsplit('/').next().unwrap_or_default());
    match &right.what {
        SudoCommand::AnyScript => {
            "# with `sudo` rollcall sends a script to sh, which is different each time: this gives every right\n"
        }
        SudoCommand::Command(words) if words.first().is_some_and(|program| is_any(program)) => {
            "# this program runs any other: the rule gives every right\n"
        }
        SudoCommand::Command(_) | SudoCommand::Open(_) => "",
    }
}

fn rule(needs: &Needs, right: &Right) -> String {
    let Right { user, with_password, .. } = right;
    let tag = if *with_password { "PASSWD" } else { "NOPASSWD" };
    let head = format!("{} ALL=({user}) {tag}: ", needs.login);
    match &right.what {
        SudoCommand::AnyScript => format!("{head}/bin/sh"),
        SudoCommand::Open(text) => {
            format!(
                "# {head}... # write this rule by hand; only a run knows its command: {}",
                text.replace('\n', " ")
            )
        }
        SudoCommand::Command(words) => match path(needs, &words[0]) {
            Some(path) => format!("{head}{}", command(&path, &words[1..])),
            None => format!("# {head}... # the host has no program {}: {}", words[0], words.join(" ")),
        },
    }
}

fn path(needs: &Needs, program: &str) -> Option<String> {
    match program.starts_with('/') {
        true => Some(program.into()),
        false => needs.paths.get(program).cloned().flatten(),
    }
}

/// Without arguments a rule would allow any: two quotes stand for none.
fn command(path: &str, arguments: &[String]) -> String {
    let escaped = |word: &str| -> String {
        word.chars().flat_map(|c| SPECIAL.contains(&c).then_some('\\').into_iter().chain([c])).collect()
    };
    match arguments.is_empty() {
        true => format!("{} \"\"", escaped(path)),
        false => {
            let words = [path].into_iter().chain(arguments.iter().map(String::as_str));
            words.map(escaped).collect::<Vec<_>>().join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(user: &str, what: SudoCommand, why: &str) -> Right {
        Right { user: user.into(), with_password: false, what, why: why.into() }
    }

    fn words(words: &[&str]) -> SudoCommand {
        SudoCommand::Command(words.iter().map(ToString::to_string).collect())
    }

    fn needs(host: &str, rights: Vec<Right>) -> Needs {
        let paths = [("systemctl", Some("/usr/bin/systemctl")), ("gone", None)];
        let paths = paths.map(|(name, path)| (name.to_string(), path.map(String::from))).into();
        Needs { host: host.into(), login: "deploy".into(), rights, paths }
    }

    #[test]
    fn hosts_that_need_the_same_share_a_file() {
        let rights = || {
            vec![
                right("root", words(&["systemctl", "reload", "app"]), "task deploy, step \"reload\""),
                right("app", SudoCommand::AnyScript, "task deploy, step \"migrate\""),
            ]
        };
        let wanted = "# web[1-2]\n\
                      # with `sudo` rollcall sends a script to sh, which is different each time: this gives every right\n\
                      # task deploy, step \"migrate\"\n\
                      deploy ALL=(app) NOPASSWD: /bin/sh\n\
                      # task deploy, step \"reload\"\n\
                      deploy ALL=(root) NOPASSWD: /usr/bin/systemctl reload app\n\
                      \n# db1\n# no task, check or balancer uses sudo here\n\n";
        assert_eq!(files(&[needs("web1", rights()), needs("web2", rights()), needs("db1", vec![])]), wanted);
        let root = Needs { login: "root".into(), ..needs("web1", rights()) };
        assert_eq!(rules(&root), "# the login is root and needs no sudo\n");
    }

    #[test]
    fn rules_match_the_command_and_nothing_else() {
        let rule_of = |what: SudoCommand| rule(&needs("web1", vec![]), &right("root", what, "w"));
        let table = [
            (words(&["/bin/x"]), "deploy ALL=(root) NOPASSWD: /bin/x \"\""),
            (words(&["/bin/x", "a=b,c", "d:!"]), "deploy ALL=(root) NOPASSWD: /bin/x a\\=b\\,c d\\:\\!"),
            (
                words(&["gone", "x"]),
                "# deploy ALL=(root) NOPASSWD: ... # the host has no program gone: gone x",
            ),
            (
                SudoCommand::Open("sudo rm $x".into()),
                "# deploy ALL=(root) NOPASSWD: ... # write this rule by hand; only a run knows its command: sudo rm $x",
            ),
        ];
        for (what, wanted) in table {
            assert_eq!(rule_of(what), wanted);
        }
        let bash = rules(&needs("web1", vec![right("root", words(&["/bin/bash"]), "w")]));
        assert!(bash.starts_with("# this program runs any other: the rule gives every right\n"), "{bash}");
        let password = Right { with_password: true, ..right("root", SudoCommand::AnyScript, "w") };
        assert_eq!(rule(&needs("web1", vec![]), &password), "deploy ALL=(root) PASSWD: /bin/sh");
    }
}
