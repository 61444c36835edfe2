//! Hosts of an ssh_config as a file of `hosts/`. `ssh -G` says what is in force for each host, so patterns, `Match` and `Include`
//! mean what they mean for ssh. What rollcall cannot take over is listed with the reason.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::domain::base::name::{bare_address, check_name, count};
use crate::domain::inventory::inventory::Endpoint;
use crate::local::process::{self, Failed, ProcessLimits};

/// The time for one `ssh -G`: it connects nowhere, but may look a name up or run the command of a `Match exec`.
const LIMITS: ProcessLimits = ProcessLimits { time: Duration::from_secs(30), output_bytes: 1024 * 1024 };

/// The port that ssh takes when none is set.
const SSH_PORT: &str = "22";

/// The keys that ssh tries where no `IdentityFile` is given, as `ssh -G` of any version prints them.
const DEFAULT_KEYS: [&str; 8] = [
    "~/.ssh/identity",
    "~/.ssh/id_rsa",
    "~/.ssh/id_dsa",
    "~/.ssh/id_ecdsa",
    "~/.ssh/id_ecdsa_sk",
    "~/.ssh/id_ed25519",
    "~/.ssh/id_ed25519_sk",
    "~/.ssh/id_xmss",
];

/// The file of `hosts/` for the ssh_config in `path`.
pub fn hosts_of(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    // ssh looks for a relative path below ~/.ssh in some places.
    let whole = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    convert(&text, &path.display().to_string(), |name| ask_ssh(&whole, name))
}

fn ask_ssh(config: &Path, name: &str) -> Result<String, String> {
    let mut ssh = process::command("ssh");
    ssh.arg("-G").arg("-T").arg("-F").arg(config).arg("--").arg(name);
    let ran = process::run(ssh, &LIMITS).map_err(|failed| match failed {
        Failed::Start(error) => format!("ssh could not be started: {error}; try: install OpenSSH's client"),
        Failed::Read(error) => format!("ssh -G {name}: {error}"),
        Failed::TooLong => format!("ssh -G {name}: no answer within {:?}", LIMITS.time),
        Failed::TooMuch => format!("ssh -G {name}: it printed too much"),
    })?;
    match ran.status.success() {
        true => Ok(String::from_utf8_lossy(&ran.output).into_owned()),
        false => Err(format!("ssh -G {name}: {}", String::from_utf8_lossy(&ran.errors).trim())),
    }
}

/// The names that an ssh_config has, and what names no host.
#[derive(Debug, Default, PartialEq)]
struct Written {
    /// Each once, with its line.
    hosts: Vec<(String, usize)>,
    left: Vec<String>,
}

/// Reads the lines that name hosts; ssh itself reads the others.
fn written(text: &str) -> Written {
    let mut found = Written::default();
    for (number, line) in text.lines().enumerate().map(|(at, line)| (at + 1, line.trim())) {
        let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
        let (keyword, rest) = line.split_at(end);
        let rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '=');
        let mut leave = |what: String, why: &str| found.left.push(format!("line {number}: {what}: {why}"));
        match keyword.to_ascii_lowercase().as_str() {
            "host" => {}
            "match" => {
                leave(line.into(), "it names no host; ssh has applied it to the hosts above");
                continue;
            }
            "include" => {
                leave(
                    line.into(),
                    "hosts of other files are not listed; import each file, and compare the settings",
                );
                continue;
            }
            _ => continue,
        }
        for name in words(rest) {
            if name.contains(['*', '?', '!']) {
                leave(
                    format!("Host {name}"),
                    "a pattern names no host; ssh has applied it to the hosts above",
                );
            } else if let Some(why) = cannot_be_named(&name) {
                leave(format!("Host {name}"), &format!("it cannot name a host here: {why}"));
            } else if !found.hosts.iter().any(|(known, _)| *known == name) {
                found.hosts.push((name, number));
            }
        }
    }
    found
}

/// The words of a line up to a comment, without their quotes.
fn words(rest: &str) -> Vec<String> {
    let plain = || rest.split_whitespace().map(String::from).collect();
    let words = shell_words::split(rest).unwrap_or_else(|_| plain());
    words.into_iter().take_while(|word| !word.starts_with('#')).collect()
}

fn cannot_be_named(name: &str) -> Option<String> {
    match name == Endpoint::HERE {
        true => Some("the machine of rollcall is called so".into()),
        false => check_name(name).err(),
    }
}

/// What ssh would do for one host.
#[derive(Clone, Debug, PartialEq)]
struct Reached {
    address: String,
    port: String,
    login: String,
    /// In the order of the way.
    jumps: Vec<String>,
    left: Vec<String>,
}

/// Reads an answer of `ssh -G`.
fn reached(name: &str, answer: &str) -> Result<Reached, String> {
    let value = |key: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.map(str::trim).filter(|value| !value.is_empty() && !value.eq_ignore_ascii_case("none"))
    };
    let needed = |key: &str| {
        let value = answer.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        value
            .map(|value| value.trim().to_string())
            .ok_or_else(|| format!("ssh -G {name}: it printed no `{key}`"))
    };
    let mut left = Vec::new();
    if let Some(command) = value("proxycommand") {
        let why = "rollcall connects through jump hosts alone; without it the host may be out of reach";
        left.push(format!("{name}: ProxyCommand {command}: {why}; try: `via`"));
    }
    if let Some(alias) = value("hostkeyalias") {
        let why = "rollcall looks for the key under the address";
        left.push(format!("{name}: HostKeyAlias {alias}: {why}; try: host accept {name}"));
    }
    left.extend(own_keys(name, answer));
    Ok(Reached {
        address: bare_address(&needed("hostname")?).to_string(),
        port: needed("port")?,
        login: needed("user")?,
        jumps: value("proxyjump")
            .map(|jumps| jumps.split(',').map(String::from).collect())
            .unwrap_or_default(),
        left,
    })
}

/// The keys that ssh tries at a host, if they are not those that it tries at every host.
fn own_keys(name: &str, answer: &str) -> Option<String> {
    let mut own = Vec::new();
    for line in answer.lines() {
        let (keyword, value) = line.split_once(' ').unwrap_or((line, ""));
        match (keyword, value.trim()) {
            ("identityfile", file) if !DEFAULT_KEYS.contains(&file) => {
                own.push(format!("IdentityFile {file}"))
            }
            ("identitiesonly", "yes") => own.push("IdentitiesOnly yes".into()),
            ("certificatefile", file) if !file.eq_ignore_ascii_case("none") => {
                own.push(format!("CertificateFile {file}"));
            }
            _ => {}
        }
    }
    let why =
        "rollcall logs in with the keys of rollcall.toml; try: [fleet.keys] there, and `key` of the host";
    (!own.is_empty()).then(|| format!("{name}: {}: {why}", own.join(", ")))
}

/// A jump host as ProxyJump writes it: `login@name:port`, or a URL.
fn jump_parts(text: &str) -> (Option<&str>, &str, Option<&str>) {
    let text = text.strip_prefix("ssh://").unwrap_or(text).trim_end_matches('/');
    let (login, rest) = text.rsplit_once('@').map_or((None, text), |(login, rest)| (Some(login), rest));
    if let Some((inside, behind)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (login, inside, behind.strip_prefix(':'));
    }
    match rest.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') => (login, name, Some(port)),
        _ => (login, rest, None),
    }
}

/// All hosts, with the jump hosts that are hosts of no `Host` line.
struct Import<A> {
    ask: A,
    hosts: BTreeMap<String, Reached>,
    /// In the order of the file, jump hosts behind those that need them.
    order: Vec<String>,
    left: Vec<String>,
}

impl<A: FnMut(&str) -> Result<String, String>> Import<A> {
    fn add(&mut self, name: &str) -> Result<(), String> {
        let answer = (self.ask)(name)?;
        self.hosts.insert(name.into(), reached(name, &answer)?);
        self.order.push(name.into());
        Ok(())
    }

    /// Finds the jump hosts of a host; those that are not there yet are added, and have jump hosts of their own.
    fn resolve(&mut self, at: usize) -> Result<(), String> {
        let name = self.order[at].clone();
        let Some(host) = self.hosts.get(&name).cloned() else { return Ok(()) };
        let mut names = Vec::new();
        for jump in &host.jumps {
            match self.jump_host(jump)? {
                Ok(found) => names.push(found),
                Err(why) => {
                    let given = format!("{name}: ProxyJump {}: {jump} {why}", host.jumps.join(","));
                    self.left.push(format!("{given}; the host has no `via`, and may be out of reach"));
                    names.clear();
                    break;
                }
            }
        }
        if let Some(host) = self.hosts.get_mut(&name) {
            host.jumps = names;
        }
        Ok(())
    }

    /// The name of a jump host in the inventory, or why it cannot be there.
    fn jump_host(&mut self, written: &str) -> Result<Result<String, String>, String> {
        let (login, name, port) = jump_parts(written);
        if let Some(why) = cannot_be_named(name) {
            return Ok(Err(format!("cannot name a host here: {why}")));
        }
        if !self.hosts.contains_key(name) {
            self.add(name)?;
            if let Some(host) = self.hosts.get_mut(name) {
                host.login = login.map_or(host.login.clone(), String::from);
                host.port = port.map_or(host.port.clone(), String::from);
            }
            return Ok(Ok(name.into()));
        }
        let same = self.hosts.get(name).is_some_and(|host| {
            login.is_none_or(|login| login == host.login) && port.is_none_or(|port| port == host.port)
        });
        Ok(match same {
            true => Ok(name.into()),
            false => Err("has another login or port than the host of this name".into()),
        })
    }
}

/// The file of `hosts/`. `ask` is `ssh -G`.
fn convert(
    text: &str,
    from: &str,
    ask: impl FnMut(&str) -> Result<String, String>,
) -> Result<String, String> {
    let written = written(text);
    if written.hosts.is_empty() {
        return Err(format!("{from}: no `Host` line names a host; patterns alone name none"));
    }
    let mut import = Import { ask, hosts: BTreeMap::new(), order: Vec::new(), left: written.left };
    for (name, _) in &written.hosts {
        import.add(name)?;
    }
    let mut at = 0;
    while at < import.order.len() {
        import.resolve(at)?;
        at += 1;
    }
    Ok(render(from, &import.order, &import.hosts, &import.left))
}

fn render(from: &str, order: &[String], hosts: &BTreeMap<String, Reached>, left: &[String]) -> String {
    let of_all = hosts.iter().flat_map(|(name, host)| host.left.iter().map(move |line| (name, line)));
    let left: Vec<&String> = left.iter().chain(of_all.map(|(_, line)| line)).collect();
    // The login of most hosts is that of the file.
    let mut logins = BTreeMap::<&str, usize>::new();
    hosts.values().for_each(|host| *logins.entry(host.login.as_str()).or_default() += 1);
    let usual =
        logins.into_iter().max_by_key(|(_, count)| *count).map(|(login, _)| login).unwrap_or_default();
    let mut out = format!(
        "# {} of {}, as `ssh -G` reads it. Save it as hosts/NAME.toml, sort the hosts into groups, then: rollcall check-config\n\
         # Host keys are not imported: ssh rollcall host accept NAME shows and records them.\n\n\
         [all]\nlogin = {}\nport = {SSH_PORT}\n\n[ssh.hosts]\n",
        count(order.len(), "host"),
        comment(from),
        quoted(usual),
    );
    for (name, host) in order.iter().filter_map(|name| Some((name, hosts.get(name)?))) {
        let mut settings = Vec::new();
        settings.extend((host.address != *name).then(|| format!("address = {}", quoted(&host.address))));
        settings.extend((host.port != SSH_PORT).then(|| format!("port = {}", host.port)));
        settings.extend((host.login != usual).then(|| format!("login = {}", quoted(&host.login))));
        settings.extend((!host.jumps.is_empty()).then(|| format!("via = {}", quoted(&host.jumps.join(",")))));
        let _ = match settings.is_empty() {
            true => writeln!(out, "{} = {{}}", quoted(name)),
            false => writeln!(out, "{} = {{ {} }}", quoted(name), settings.join(", ")),
        };
    }
    if !left.is_empty() {
        out.push_str("\n# Not taken:\n");
        left.iter().for_each(|line| _ = writeln!(out, "# {}", comment(line)));
    }
    out
}

/// A name or text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}

/// A text that stays in its comment.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_patterns_are_listed() {
        let text = "# Host no\nHost web01 \"web02\" *.x !bad # more\n  hostname=Host\nhost=web01\nHost = a/b local\n\
                    MATCH host db exec \"x\"\nInclude more/*\n";
        let found = written(text);
        assert_eq!(found.hosts, [("web01".to_string(), 2), ("web02".to_string(), 2)]);
        let begins = [
            "line 2: Host *.x: a pattern",
            "line 2: Host !bad: a pattern",
            "line 5: Host a/b: it cannot",
            "line 5: Host local: it cannot",
            "line 6: MATCH host db exec \"x\": it names no host",
            "line 7: Include more/*: hosts of other files",
        ];
        assert_eq!(found.left.len(), begins.len(), "{found:#?}");
        for (line, begin) in found.left.iter().zip(begins) {
            assert!(line.starts_with(begin), "{line}");
        }
    }

    #[test]
    fn a_jump_host_has_a_login_and_a_port() {
        for (text, parts) in [
            ("bastion", (None, "bastion", None)),
            ("me@bastion:23", (Some("me"), "bastion", Some("23"))),
            ("ssh://me@bastion:23/", (Some("me"), "bastion", Some("23"))),
            ("me@[::1]:23", (Some("me"), "::1", Some("23"))),
            ("::1", (None, "::1", None)),
            ("a@b@bastion", (Some("a@b"), "bastion", None)),
        ] {
            assert_eq!(jump_parts(text), parts, "{text}");
        }
    }

    /// A stand-in for `ssh -G`: `name=user hostname port` and lines.
    fn ask(name: &str) -> Result<String, String> {
        let (about, more) = match name {
            "web" => (["deploy", "10.0.0.1", "22"], "proxyjump me@outer:23,gate"),
            "gate" => (
                ["deploy", "gate", "22"],
                "proxycommand none\nidentityfile ~/.ssh/id_rsa\nidentitiesonly no\ncertificatefile none",
            ),
            "odd" => (
                ["root", "2001:db8::1", "2200"],
                "proxycommand nc %h %p\nhostkeyalias x\nidentityfile ~/.ssh/old\nidentitiesonly yes\n\
                      certificatefile ~/.ssh/old-cert.pub",
            ),
            "far" => (["deploy", "far", "22"], "proxyjump root@gate"),
            "v6" => (["deploy", "v6", "22"], "proxyjump [::1]:22"),
            "outer" => (["deploy", "192.0.2.1", "22"], ""),
            _ => return Err(format!("no {name}")),
        };
        Ok(format!("host {name}\nuser {}\nhostname {}\nport {}\n{more}\n", about[0], about[1], about[2]))
    }

    #[test]
    fn hosts_are_written_with_their_ways_and_the_rest_is_listed() {
        let toml = convert("Host web gate\nHost odd far v6 *\n", "~/.ssh/config", ask).unwrap();
        let (head, rest) = toml.split_once("[all]\n").unwrap();
        assert!(head.starts_with("# 6 hosts of ~/.ssh/config, as `ssh -G` reads it."), "{head}");
        let (hosts, left) = rest.split_once("\n# Not taken:\n").unwrap();
        assert_eq!(
            hosts,
            "login = \"deploy\"\nport = 22\n\n[ssh.hosts]\n\
             \"web\" = { address = \"10.0.0.1\", via = \"outer,gate\" }\n\
             \"gate\" = {}\n\
             \"odd\" = { address = \"2001:db8::1\", port = 2200, login = \"root\" }\n\
             \"far\" = {}\n\
             \"v6\" = {}\n\
             \"outer\" = { address = \"192.0.2.1\", port = 23, login = \"me\" }\n"
        );
        for part in [
            "# line 2: Host *: a pattern",
            "# far: ProxyJump root@gate: root@gate has another login or port",
            "# v6: ProxyJump [::1]:22: [::1]:22 cannot name a host here",
            "# odd: ProxyCommand nc %h %p: rollcall connects through jump hosts alone",
            "# odd: HostKeyAlias x: rollcall looks for the key under the address",
            "# odd: IdentityFile ~/.ssh/old, IdentitiesOnly yes, CertificateFile ~/.ssh/old-cert.pub: rollcall logs in",
        ] {
            assert!(left.contains(part), "{part}: {left}");
        }
        assert_eq!(left.lines().count(), 6, "{left}");
        assert!(toml::from_str::<toml::Table>(&toml).is_ok(), "{toml}");
        let none = convert("Host *\n", "x", ask).unwrap_err();
        assert_eq!(none, "x: no `Host` line names a host; patterns alone name none");
        assert_eq!(convert("Host gone\n", "x", ask).unwrap_err(), "no gone");
    }
}
