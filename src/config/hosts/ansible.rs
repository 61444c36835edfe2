//! Connection settings of Ansible inventories: their meaning is taken, or the mistake is reported. None becomes a var in silence,
//! because then another address or another login would be used.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::layer::{Layer, Via};
use crate::config::text::keys::{Any, Key, table};
use crate::config::text::reader::Reader;
use crate::domain::base::name::bare_address;

table! {
    /// Connection settings of Ansible among the vars of a host or a group.
    pub AnsibleKeys "Ansible" {
        ADDRESS "ansible_host": Any,
        OLD_ADDRESS "ansible_ssh_host": Any,
        PORT "ansible_port": Any,
        OLD_PORT "ansible_ssh_port": Any,
        LOGIN "ansible_user": Any,
        OLD_LOGIN "ansible_ssh_user": Any,
        ARGUMENTS "ansible_ssh_args": Any,
        COMMON_ARGUMENTS "ansible_ssh_common_args": Any,
        EXTRA_ARGUMENTS "ansible_ssh_extra_args": Any,
        PLUGIN "ansible_connection": Any,
    }
}

/// BothNames of one setting, the present one first.
type BothNames = [Key<Any>; 2];

const ADDRESS: BothNames = [AnsibleKeys::ADDRESS, AnsibleKeys::OLD_ADDRESS];
const PORT: BothNames = [AnsibleKeys::PORT, AnsibleKeys::OLD_PORT];
const LOGIN: BothNames = [AnsibleKeys::LOGIN, AnsibleKeys::OLD_LOGIN];
/// In the order in which Ansible puts them on the command line: `ssh` takes the first of two values.
const ARGUMENTS: [Key<Any>; 3] =
    [AnsibleKeys::ARGUMENTS, AnsibleKeys::COMMON_ARGUMENTS, AnsibleKeys::EXTRA_ARGUMENTS];

/// Connection plugins that reach a host as rollcall does.
const SSH: [&str; 6] =
    ["ssh", "smart", "paramiko", "paramiko_ssh", "ansible.builtin.ssh", "ansible.builtin.paramiko_ssh"];

/// Options of `ssh` that change neither the host that is reached nor the login; in lower case.
const HARMLESS: [&str; 33] = [
    "addkeystoagent",
    "addressfamily",
    "batchmode",
    "casignaturealgorithms",
    "checkhostip",
    "ciphers",
    "compression",
    "connectionattempts",
    "connecttimeout",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "forwardagent",
    "globalknownhostsfile",
    "gssapiauthentication",
    "hashknownhosts",
    "hostkeyalgorithms",
    "identitiesonly",
    "identityagent",
    "identityfile",
    "kbdinteractiveauthentication",
    "kexalgorithms",
    "loglevel",
    "macs",
    "numberofpasswordprompts",
    "passwordauthentication",
    "preferredauthentications",
    "pubkeyacceptedalgorithms",
    "pubkeyauthentication",
    "serveralivecountmax",
    "serveraliveinterval",
    "stricthostkeychecking",
    "userknownhostsfile",
];

/// Reads the settings of a host, or of the vars of a group. `own` is true for a host.
pub fn connection(reader: &mut Reader<'_>, own: bool) -> Layer {
    check_plugin(reader);
    let address = one_of(reader, ADDRESS).and_then(|(key, value)| word(reader, key, value));
    let login = one_of(reader, LOGIN).and_then(|(key, value)| word(reader, key, value));
    let port = one_of(reader, PORT).and_then(|(key, value)| port(reader, key, value));
    let addresses = address.map(|address| vec![bare_address(&address).to_string()]);
    let mut layer = Layer { addresses, login, port, ..Layer::default() };
    for key in ARGUMENTS {
        let jump = arguments(reader, key).map(|name| Via { name, own });
        layer.via = layer.via.or(jump);
        // A nearer value replaces the whole text: without a jump host in it there is none.
        layer.direct |= reader.key_span(key.name).is_some();
    }
    layer.direct &= layer.via.is_none();
    layer
}

type Value<'t> = &'t Spanned<DeValue<'t>>;

/// The value of a key, or of its older name.
fn one_of<'t>(reader: &mut Reader<'t>, keys: BothNames) -> Option<(&'static str, Value<'t>)> {
    let [new, old] = keys.map(|key| reader.value(key).map(|value| (key.name, value)));
    if let (Some((_, one)), Some((key, other))) = (new, old)
        && plain(one) != plain(other)
    {
        let message = format!("`{key}` says something else than `{}`", keys[0].name);
        reader.doc.report(other.span(), message, "remove one of them".to_string());
    }
    new.or(old)
}

/// A text, or a whole number as a text.
fn plain(value: Value<'_>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_string()),
        _ => None,
    }
}

fn word(reader: &Reader<'_>, key: &str, value: Value<'_>) -> Option<String> {
    let text = plain(value).unwrap_or_default();
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '{' | '}');
    if !text.is_empty() && !text.contains(bad) {
        return Some(text);
    }
    let template = text.contains("{{");
    let message = match template {
        true => format!("`{key}` is a template, which is not evaluated here"),
        false => format!("`{key}` is one word, without blanks"),
    };
    reader.doc.report(value.span(), message, template.then(|| format!("write `{key}` of each host out")));
    None
}

fn port(reader: &Reader<'_>, key: &str, value: Value<'_>) -> Option<u16> {
    let port = plain(value).and_then(|text| text.trim().parse::<u16>().ok()).filter(|port| *port > 0);
    if port.is_none() {
        reader.doc.wrong(value.span(), format!("`{key}` is a whole number, from 1 to 65535"));
    }
    port
}

fn check_plugin(reader: &mut Reader<'_>) {
    let key = AnsibleKeys::PLUGIN.name;
    let Some(value) = reader.value(AnsibleKeys::PLUGIN) else { return };
    let text = plain(value).unwrap_or_default();
    if SSH.contains(&text.as_str()) {
        return;
    }
    let hint = match text.as_str() {
        "local" => "remove this host, and write steps for the machine of rollcall with `on = \"local\"`",
        _ => "remove this host, or give it an SSH login",
    };
    let message = format!("`{key}` is `{text}`, and rollcall reaches hosts by SSH");
    reader.doc.report(value.span(), message, hint.to_string());
}

/// Reads options of `ssh`. Returns the jump host, if one is named.
fn arguments(reader: &mut Reader<'_>, key: Key<Any>) -> Option<Spanned<String>> {
    let (key, value) = (key.name, reader.value(key)?);
    let text = plain(value).unwrap_or_default();
    let Ok(words) = shell_words::split(&text) else {
        reader.doc.wrong(value.span(), format!("`{key}`: a quote is open at its end"));
        return None;
    };
    match jump_of(&words) {
        Ok(jump) => jump.map(|name| Spanned::new(span_of(value, &text, &name), name)),
        Err(option) => {
            let message = format!("`{key}`: rollcall does not take `{option}`");
            reader.doc.report(value.span(), message, hint_for(&option).to_string());
            None
        }
    }
}

/// The place of the name in the value, if it is written there as it is.
fn span_of(value: Value<'_>, text: &str, name: &str) -> Range<usize> {
    let span = value.span();
    match text.find(name) {
        // Behind the quote that begins the text.
        Some(at) if span.len() == text.len() + 2 => span.start + 1 + at..span.start + 1 + at + name.len(),
        _ => span,
    }
}

fn hint_for(option: &str) -> &'static str {
    let option = option.to_lowercase();
    match option.as_str() {
        jump if jump.contains("jump") || jump.contains("proxy") || jump.contains("-j") => {
            "write `via = \"HOST\"`; a jump host is a host of the inventory, with its own login and port"
        }
        _ => {
            "write `ansible_host`, `ansible_port` and `ansible_user`, and [fleet] in rollcall.toml for what holds for all hosts"
        }
    }
}

/// A flag of `ssh` that changes neither the host nor the login.
fn is_flag(letter: char) -> bool {
    "CqvAaTx46n".contains(letter)
}

/// The jump host among options of `ssh`; or an option that would change what is reached.
fn jump_of(words: &[String]) -> Result<Option<String>, String> {
    let mut jump = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (flag, attached) = word.split_at(word.len().min(2));
        match flag {
            "-C" | "-q" | "-v" | "-A" | "-a" | "-T" | "-x" | "-4" | "-6" | "-n"
                if attached.chars().all(is_flag) => {}
            "-o" | "-J" | "-i" => {
                let value =
                    if attached.is_empty() { words.next().map_or("", String::as_str) } else { attached };
                match flag {
                    "-J" => jump = jump.or(Some(jump_host(value).ok_or_else(|| format!("-J {value}"))?)),
                    "-o" => jump = jump.or(option(value)?),
                    _ => {}
                }
            }
            _ => return Err(word.clone()),
        }
    }
    Ok(jump)
}

/// `NAME=VALUE` or `NAME VALUE`; the jump host if it names one.
fn option(text: &str) -> Result<Option<String>, String> {
    let (name, value) = text.split_once(['=', ' ']).unwrap_or((text, ""));
    let (name, value) = (name.trim().to_lowercase(), value.trim());
    let refused = || text.to_string();
    match name.as_str() {
        "proxyjump" | "proxycommand" if value.eq_ignore_ascii_case("none") => Ok(None),
        "proxyjump" => jump_host(value).map(Some).ok_or_else(refused),
        "proxycommand" => through(value).map(Some).ok_or_else(refused),
        known if HARMLESS.contains(&known) => Ok(None),
        _ => Err(refused()),
    }
}

/// Hosts by their bare names, with commas between them: their logins and ports are those that the inventory has.
fn jump_host(text: &str) -> Option<String> {
    let odd = |c: char| c.is_whitespace() || matches!(c, '@' | ':' | '%' | '/');
    let good = |name: &str| !name.is_empty() && !name.contains(odd);
    text.split(',').all(good).then(|| text.to_string())
}

/// `ssh -W %h:%p HOST` does the same as ProxyJump.
fn through(command: &str) -> Option<String> {
    let words = shell_words::split(command).ok()?;
    let mut words = words.iter().map(String::as_str);
    if words.next()?.rsplit('/').next() != Some("ssh") {
        return None;
    }
    let (mut host, mut forwards) = (None, false);
    while let Some(word) = words.next() {
        match word {
            "-q" | "-T" | "-x" | "-a" => {}
            "-W" => forwards = matches!(words.next(), Some("%h:%p" | "[%h]:%p")),
            "-W%h:%p" => forwards = true,
            name if !name.starts_with('-') && host.is_none() => host = jump_host(name),
            _ => return None,
        }
    }
    host.filter(|_| forwards)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jump(text: &str) -> Result<Option<String>, String> {
        jump_of(&shell_words::split(text).unwrap())
    }

    #[test]
    fn a_jump_host_is_found_however_it_is_written() {
        for text in [
            "-J bastion",
            "-Jbastion",
            "-o ProxyJump=bastion",
            "-oProxyJump=bastion",
            "-o 'ProxyJump bastion'",
            "-o proxyjump=bastion -o StrictHostKeyChecking=no",
            "-C -o ControlMaster=auto -o ControlPersist=60s -J bastion",
            "-o ProxyCommand='ssh -W %h:%p -q bastion'",
            "-o ProxyCommand=\"/usr/bin/ssh -q -W %h:%p bastion\"",
        ] {
            assert_eq!(jump(text), Ok(Some("bastion".into())), "{text}");
        }
        assert_eq!(jump("-J one,two"), Ok(Some("one,two".into())));
        assert_eq!(jump("-Cq -o ProxyJump=one -o ProxyJump=two"), Ok(Some("one".into())), "as ssh does");
    }

    #[test]
    fn options_that_change_what_is_reached_are_refused_and_others_are_not() {
        for text in [
            "",
            "-C",
            "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null",
            "-i key",
            "-o ProxyJump=none",
        ] {
            assert_eq!(jump(text), Ok(None), "{text}");
        }
        for text in [
            "-p 2222",
            "-Cp2222",
            "-4lroot",
            "-l root",
            "-F other",
            "-J admin@bastion",
            "-J bastion:2222",
            "-J one,",
            "-J one,two:22",
            "-o Port=2222",
            "-o HostName=other",
            "-o User=root",
            "-o ProxyCommand='nc -X 5 -x proxy:1080 %h %p'",
            "-o ProxyCommand='ssh bastion nc %h %p'",
            "other-host",
        ] {
            assert!(jump(text).is_err(), "{text}");
        }
    }
}
