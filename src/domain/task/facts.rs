//! Facts: observations about a host. A fact that was not observed is `None` and never guessed.
//!
//! The host's answer (`steps/sh/facts.sh`) is `key value` lines between two marks. Their meaning (the family
//! of an os, the name of an architecture) is decided here, in a table.

use std::collections::BTreeMap;
use std::time::Duration;

use core::net::IpAddr;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::task::{Source, Step, StepBody};
use crate::domain::base::name::{RunId, is_identifier, nearest};
use crate::domain::inventory::inventory::Endpoint;

/// How long gathering the facts of one host may take, without its custom facts.
pub const LOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// How long one custom fact may take.
pub const CUSTOM_TIMEOUT: Duration = Duration::from_secs(10);

/// Most custom facts: each is a separate command on every host.
pub const CUSTOM_LIMIT: usize = 32;

/// Most bytes in all custom facts of a host: they become part of the journal.
pub const CUSTOM_LIMIT_BYTES: usize = 64 * 1024;

/// The names that templates may use behind `facts.`.
pub const NAMES: [&str; 26] = [
    "os",
    "os_family",
    "os_version",
    "os_name",
    "arch",
    "arch_family",
    "kernel",
    "hostname",
    "fqdn",
    "address",
    "addresses",
    "cpus",
    "memory_mb",
    "swap_mb",
    "disks",
    "init",
    "package_manager",
    "python",
    "virtualization",
    "boot_id",
    "uptime_s",
    "user",
    "sudo",
    "shell",
    "custom",
    "custom_errors",
];

/// Every fact of one host. The JSON has every name; a fact that was not observed is `null`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The id of os-release (`debian`, `alpine`, ...), `freebsd` or `darwin`.
    pub os: Option<String>,
    pub os_family: Option<String>,
    pub os_version: Option<String>,
    /// The name for people: `Debian GNU/Linux 12 (bookworm)`.
    pub os_name: Option<String>,
    /// The output of `uname -m`.
    pub arch: Option<String>,
    pub arch_family: Option<String>,
    pub kernel: Kernel,
    pub hostname: Option<String>,
    pub fqdn: Option<String>,
    /// The address of the default route.
    pub address: Option<IpAddr>,
    pub addresses: Vec<IpAddr>,
    pub cpus: Option<u32>,
    pub memory_mb: Option<u64>,
    pub swap_mb: Option<u64>,
    /// The disks of the machine itself; network file systems are not inspected.
    pub disks: Vec<DiskFacts>,
    pub init: Option<String>,
    pub package_manager: Option<String>,
    /// The path of python; `None` if there is none.
    pub python: Option<String>,
    pub virtualization: Option<String>,
    pub boot_id: Option<String>,
    pub uptime_s: Option<u64>,
    pub user: Option<String>,
    /// `sudo -n true` works.
    pub sudo: Option<bool>,
    pub shell: Option<String>,
    /// By the name of the file in `files/facts/`.
    pub custom: BTreeMap<String, Value>,
    /// Why a custom fact is missing.
    pub custom_errors: BTreeMap<String, String>,
}

/// The name and release of the host's kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kernel {
    pub name: Option<String>,
    pub release: Option<String>,
}

/// A mounted file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFacts {
    pub mount: String,
    pub device: String,
    pub size_mb: u64,
    /// The space left for users other than root.
    pub free_mb: u64,
}

/// The facts that are on record for a host.
#[derive(Clone, Debug, PartialEq)]
pub struct Gathered {
    pub facts: Facts,
    pub at: Timestamp,
    pub run: RunId,
    /// The endpoint at which they were gathered: the name may since lead to another machine.
    pub endpoint: Endpoint,
}

impl Gathered {
    /// True when they were gathered at the host's present endpoint and are not older than `max_age`.
    pub fn is_of(&self, endpoint: &Endpoint, now: Timestamp, max_age: Duration) -> bool {
        let age = Duration::try_from(now.duration_since(self.at)).unwrap_or_default();
        self.endpoint == *endpoint && age <= max_age
    }
}

/// The step that gathers facts, with the custom facts: name -> file.
pub fn step(custom: &BTreeMap<String, Source>) -> Step {
    let questions = u32::try_from(custom.len()).unwrap_or(u32::MAX);
    let timeout = LOOK_TIMEOUT.saturating_add(CUSTOM_TIMEOUT.saturating_mul(questions));
    let body = StepBody::Facts { custom: custom.clone() };
    Step { timeout, repeatable: true, ..Step::new("facts", body) }
}

/// Says why a template cannot read `path` behind `facts.`: `arch`, `custom.rack`. `custom` are the names of
/// the custom facts.
pub fn check_path<'n>(path: &str, custom: impl Iterator<Item = &'n str> + Clone) -> Result<(), String> {
    let mut parts = path.split('.');
    let first = parts.next().unwrap_or_default();
    let unknown = |why: String, near: Option<String>| {
        Err(near.map_or_else(|| why.clone(), |near| format!("{why}; did you mean `{near}`?")))
    };
    if !NAMES.contains(&first) {
        let near = nearest(first, NAMES).or_else(|| NAMES.into_iter().find(|name| same_letters(name, first)));
        let near = near.map(|near| format!("facts.{near}"));
        return unknown(format!("there is no fact `{first}`"), near);
    }
    let Some(second) = parts.next() else { return Ok(()) };
    match first {
        "custom" | "custom_errors" if !custom.clone().any(|name| name == second) => {
            let near = nearest(second, custom).map(|near| format!("facts.{first}.{near}"));
            unknown(format!("no file in files/facts/ is called `{second}`"), near)
        }
        "kernel" if !["name", "release"].contains(&second) => {
            unknown(format!("facts.kernel has no `{second}`"), Some("facts.kernel.release".into()))
        }
        _ => Ok(()),
    }
}

fn same_letters(one: &str, other: &str) -> bool {
    let letters = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    letters(one) == letters(other)
}

impl Facts {
    /// Parses a host's answer. Unknown lines are ignored; an incomplete answer is an error.
    pub fn parse(text: &str) -> Result<Facts, String> {
        // A login with a greeting prints that first.
        let lines = text.lines().map(str::trim).skip_while(|line| *line != "facts begin").skip(1);
        let mut seen = PartialFacts::default();
        for line in lines {
            match line.split_once(' ') {
                Some(("facts", "end")) => return Ok(seen.finish()),
                Some((key, value)) => seen.take(key, value.trim()),
                None => {}
            }
        }
        Err("the host's answer is not whole: `facts end` is missing".into())
    }

    /// The facts for templates and the journal.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// An answer while it is parsed.
#[derive(Default)]
struct PartialFacts {
    facts: Facts,
    system: Option<String>,
    release: BTreeMap<String, String>,
}

impl PartialFacts {
    fn take(&mut self, key: &str, value: &str) {
        let facts = &mut self.facts;
        let text = || Some(value.to_string());
        let number = || value.parse::<u64>().ok();
        match key {
            "system" => self.system = text(),
            "machine" => facts.arch = text(),
            "kernel_release" => facts.kernel.release = text(),
            "hostname" => facts.hostname = text(),
            "fqdn" => facts.fqdn = text(),
            "release" => self.release.extend(assignment(value)),
            "addr" => facts.addresses.extend(address(value).filter(|one| !facts.addresses.contains(one))),
            "default_addr" => facts.address = facts.address.or_else(|| address(value)),
            "cpus" => facts.cpus = value.parse().ok().filter(|cpus| *cpus > 0),
            "memory_kb" => facts.memory_mb = number().map(|kb| kb / 1024),
            "memory_bytes" => facts.memory_mb = number().map(|bytes| bytes >> 20),
            "swap_kb" => facts.swap_mb = number().map(|kb| kb / 1024),
            "swap_bytes" => facts.swap_mb = number().map(|bytes| bytes >> 20),
            "disk" => facts.disks.extend(disk(value)),
            "init" => facts.init = text(),
            "package_manager" => facts.package_manager = text(),
            "python" => facts.python = text().filter(|path| path.starts_with('/')),
            "virtualization" => facts.virtualization = text(),
            "boot_id" => facts.boot_id = text(),
            "uptime_s" => facts.uptime_s = number(),
            "user" => facts.user = text(),
            "sudo" => facts.sudo = value.parse().ok(),
            "shell" => facts.shell = text(),
            _ => {}
        }
    }

    fn finish(mut self) -> Facts {
        let release = |key: &str| self.release.get(key).filter(|value| !value.is_empty()).cloned();
        let facts = &mut self.facts;
        facts.kernel.name.clone_from(&self.system);
        facts.os = match self.system.as_deref() {
            Some("FreeBSD") => Some("freebsd".into()),
            Some("Darwin") => Some("darwin".into()),
            _ => release("ID"),
        };
        let like = release("ID_LIKE").unwrap_or_default();
        let mut ids = facts.os.as_deref().into_iter().chain(like.split_whitespace());
        facts.os_family = ids.find_map(family).map(String::from);
        facts.os_version = release("VERSION_ID");
        facts.os_name = release("PRETTY_NAME").or_else(|| release("NAME"));
        facts.arch_family = facts.arch.as_deref().and_then(arch_family).map(String::from);
        self.facts
    }
}

fn family(id: &str) -> Option<&'static str> {
    Some(match id {
        "debian" | "ubuntu" | "raspbian" | "linuxmint" | "devuan" | "kali" => "debian",
        "rhel" | "fedora" | "centos" | "rocky" | "almalinux" | "ol" | "amzn" | "mariner" => "redhat",
        "suse" | "sles" | "opensuse" | "opensuse-leap" | "opensuse-tumbleweed" => "suse",
        "alpine" | "postmarketos" => "alpine",
        "arch" | "archarm" | "manjaro" => "arch",
        "gentoo" => "gentoo",
        "freebsd" => "freebsd",
        "darwin" => "darwin",
        _ => return None,
    })
}

fn arch_family(machine: &str) -> Option<&'static str> {
    Some(match machine {
        "x86_64" | "amd64" => "x86_64",
        "i386" | "i486" | "i586" | "i686" | "x86" => "x86",
        "aarch64" | "arm64" => "arm64",
        arm if arm.starts_with("arm") => "arm",
        "riscv64" => "riscv64",
        "ppc64" | "ppc64le" => "ppc64",
        "s390x" => "s390x",
        _ => return None,
    })
}

/// `KEY="value"` as in os-release: a shell assignment without anything that a shell would expand.
fn assignment(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=')?;
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    let value = match (quoted('"'), quoted('\'')) {
        (Some(inner), _) => unescape(inner),
        (None, Some(inner)) => inner.to_string(),
        (None, None) => value.to_string(),
    };
    Some((key.to_string(), value))
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut escaped = false;
    for c in text.chars() {
        escaped = c == '\\' && !escaped;
        if !escaped {
            plain.push(c);
        }
    }
    plain
}

/// An address at which other hosts can reach this one.
fn address(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    let local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    (!local && !address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// `BLOCK_BYTES BLOCKS FREE MOUNT DEVICE`; the device may hold blanks.
fn disk(text: &str) -> Option<DiskFacts> {
    let mut parts = text.splitn(5, ' ');
    let mut number = || parts.next()?.parse::<u64>().ok();
    let (block, size, free) = (number()?, number()?, number()?);
    let (mount, device) = (parts.next()?, parts.next()?.trim());
    let megabytes = |blocks: u64| u64::try_from((u128::from(blocks) * u128::from(block)) >> 20).ok();
    let (size_mb, free_mb) = (megabytes(size)?, megabytes(free)?);
    let is_disk = mount.starts_with('/') && !device.is_empty();
    is_disk.then(|| DiskFacts { mount: mount.into(), device: device.into(), size_mb, free_mb })
}

/// The output of a custom fact: JSON, or `key=value` lines whose values are texts.
pub fn parse_custom(text: &str) -> Result<Value, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it printed nothing; a fact prints JSON or key=value lines".into());
    }
    let wrong = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let pair = |line: &str| {
        let (key, value) = line.split_once('=')?;
        let key = key.trim();
        is_identifier(key).then(|| (key.to_string(), Value::String(value.trim().into())))
    };
    let pairs: Option<serde_json::Map<String, Value>> = lines.map(pair).collect();
    pairs.map(Value::Object).ok_or_else(|| format!("it printed neither JSON ({wrong}) nor key=value lines"))
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
