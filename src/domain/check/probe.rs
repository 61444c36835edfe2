//! Probes: what to observe, and what to expect there. In a plan the templates are rendered.
//!
//! A probe is data: `probes` observes, and `judge` compares the observation with the expectation.
//! A number that can be judged has [`Limits`]; texts are compared whole, in part, or by a pattern.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::base::range::{Limits, Range};
use crate::domain::value::expansion::readable;
use crate::domain::value::template::{self, Vars};

/// The target of a probe. Stored plans contain this form in JSON: it may be added to, never renamed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// A command on the host.
    Run {
        command: String,
        expect: Expect,
    },
    /// A Nagios plugin: its exit status is the verdict.
    Plugin(Plugin),
    /// A number that a command prints.
    Metric(Metric),
    Http(Box<Http>),
    Tcp(Tcp),
    Tls(Tls),
    Dns(Dns),
    Port(Port),
    Process(Process),
    Service(Service),
    File(Box<FileProbe>),
    Log(Log),
    Package(Package),
    Disk(Disk),
    Load(Load),
    Memory(Memory),
    /// The difference between the host's clock and rollcall's, in seconds.
    Clock {
        limits: Limits,
    },
}

/// The expected answer of the command. The exit status always counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Expect {
    pub exit: u32,
    pub equals: Option<String>,
    pub contains: Option<String>,
    pub matches: Option<String>,
    /// Limits of the only number in stdout, such as `lag: 12 s`.
    #[serde(flatten)]
    pub limits: Limits,
}

/// A Nagios plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plugin {
    /// A name without a slash is searched for in the plugin directories of distributions.
    pub command: String,
    /// Below `files/`: sent to the host, and run with the words of `command` as its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
}

/// A number that a command prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    pub command: String,
    /// The unit for graphs: `s`, `%`, `B`, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    pub limits: Limits,
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Http {
    pub address: String,
    /// A number, or a template of one.
    pub port: String,
    pub path: String,
    /// The `Host` header, and the name that the certificate must have.
    pub host: Option<String>,
    pub status: Status,
    pub body: BodyExpect,
    #[serde(default = "get", skip_serializing_if = "is_get")]
    pub method: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The body of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// The most redirects to follow, on the same host and port.
    #[serde(default)]
    pub follow: u32,
    /// Headers of the answer, and the text that each must contain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub answers: BTreeMap<String, String>,
    /// Expected values in a JSON body, by path: `$.db.state`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub json: BTreeMap<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// `None`: plain HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Trust>,
    /// Limits of the time from the request to the whole answer, in seconds.
    #[serde(default)]
    pub limits: Limits,
}

fn get() -> String {
    "GET".into()
}

fn is_get(method: &str) -> bool {
    method == "GET"
}

impl Http {
    /// True if the verdict depends on the text of the answer.
    pub fn reads_body(&self) -> bool {
        self.body != BodyExpect::default() || !self.json.is_empty()
    }

    /// A GET of `path` from a server on the host itself.
    pub fn get(port: &str, path: &str) -> Http {
        Http {
            address: "127.0.0.1".into(),
            port: port.into(),
            path: path.into(),
            host: None,
            status: Status::One(200),
            body: BodyExpect::default(),
            method: get(),
            headers: BTreeMap::new(),
            send: None,
            follow: 0,
            answers: BTreeMap::new(),
            json: BTreeMap::new(),
            cache: None,
            tls: None,
            limits: Limits::default(),
        }
    }
}

/// The expected statuses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Status {
    One(u16),
    Any(Vec<u16>),
}

impl Status {
    /// True when the status is expected.
    pub fn allows(&self, status: u16) -> bool {
        match self {
            Status::One(one) => *one == status,
            Status::Any(all) => all.contains(&status),
        }
    }

    /// The expected statuses in words.
    pub fn words(&self) -> String {
        match self {
            Status::One(one) => one.to_string(),
            Status::Any(all) => all.iter().map(u16::to_string).collect::<Vec<_>>().join(" or "),
        }
    }
}

/// The expected body of an HTTP answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BodyExpect {
    pub contains: Option<String>,
    pub matches: Option<String>,
}

/// The expected caching of an HTTP answer (RFC 9111).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cache {
    /// Whether a shared cache may store it.
    pub shared: Option<bool>,
    /// How long it is fresh, in seconds; critical outside of this range.
    pub fresh: Option<Range>,
    /// Whether a request with its validator gets a 304.
    pub revalidates: Option<bool>,
}

/// How strictly a certificate is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// The chain must lead to a root that the daemon's machine trusts, and the name must match.
    Full,
    /// Any certificate is accepted.
    Any,
}

/// A TCP connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tcp {
    pub address: String,
    pub port: String,
    /// Sent as soon as the connection is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// The expected first bytes from the server.
    #[serde(default)]
    pub banner: BodyExpect,
    /// Limits of the time until the connection is open and the banner is read, in seconds.
    #[serde(default)]
    pub limits: Limits,
}

impl Tcp {
    /// True when the probe has to read.
    pub fn listens(&self) -> bool {
        self.banner != BodyExpect::default()
    }
}

/// A TLS server's certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tls {
    pub address: String,
    pub port: String,
    /// The name for SNI, which the certificate must have. `None`: the address.
    pub name: Option<String>,
    /// More names that the certificate must have.
    #[serde(default)]
    pub names: Vec<String>,
    pub trust: Trust,
    /// Limits of the days that are left.
    pub limits: Limits,
}

/// A name, as the host resolves it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dns {
    pub name: String,
    /// `A`, `AAAA`, or another type, which needs `dig` or `host` on the host; empty: any addresses.
    #[serde(default)]
    pub record: String,
    /// Queried instead of the resolver of the host.
    pub server: Option<String>,
    /// The expected answers, all of them, in any order; empty: any answer.
    #[serde(default)]
    pub answers: Vec<String>,
}

/// A listening port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Port {
    pub port: String,
    pub udp: bool,
    /// Whether a process must listen.
    pub open: bool,
    /// The address that it listens on.
    pub address: Option<String>,
    /// The name of the process.
    pub process: Option<String>,
}

/// Processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// The name of the program.
    pub name: String,
    pub user: Option<String>,
    /// An extended regular expression that the whole command line must match.
    pub args: Option<String>,
    /// The number of processes; critical outside of this range.
    pub count: Range,
}

/// A service of the host's init system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub name: String,
    pub running: Option<bool>,
    /// Whether it starts at boot.
    pub enabled: Option<bool>,
}

/// A file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileProbe {
    pub path: String,
    /// Whether it must exist.
    pub exists: bool,
    pub newer_than: Option<Duration>,
    pub older_than: Option<Duration>,
    /// Its size in bytes; critical outside of this range.
    pub size: Option<Range>,
    /// Octal.
    pub mode: Option<String>,
    pub owner: Option<String>,
    pub group: Option<String>,
    pub sha256: Option<String>,
    pub contains: Option<String>,
    pub matches: Option<String>,
}

impl FileProbe {
    /// True when the probe has to read its content.
    pub fn reads(&self) -> bool {
        self.contains.is_some() || self.matches.is_some()
    }
}

/// A log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Log {
    pub path: String,
    /// It must have been written to within this time.
    pub fresh: Option<Duration>,
    /// An extended regular expression that a line since the last probe must match.
    pub appears: Option<String>,
    /// One that no line since then may match.
    pub never: Option<String>,
    /// Limits of the lines per minute since then: those of `appears`, or all lines without it.
    #[serde(default)]
    pub limits: Limits,
}

/// A package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Package {
    pub name: String,
    pub installed: bool,
    /// The expected version; a `*` at its end matches any rest.
    pub version: Option<String>,
}

/// How full a file system is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    pub path: String,
    /// Measures inodes instead of bytes.
    pub inodes: bool,
    /// Limits of the used part, in percent.
    pub limits: Limits,
}

/// The load average.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The average over 1, 5 or 15 minutes.
    pub over: u32,
    /// Divided by the number of processors.
    pub per_cpu: bool,
    pub limits: Limits,
}

/// Memory or swap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pub swap: bool,
    /// Limits of the used part, in percent.
    pub limits: Limits,
}

impl Probe {
    /// Its texts that may be templates, with their names.
    pub fn texts(&self) -> Vec<(String, String)> {
        let mut texts = Vec::new();
        let mut value = serde_json::to_value(self).unwrap_or_default();
        // The closure only collects, and never fails.
        let _ = each_text(&mut value, ("", 0), &mut |(key, _), text| {
            texts.push((key.to_string(), text.clone()));
            Ok(())
        });
        texts
    }

    /// The probe with every template rendered for one host. A `command` is a script: its values are quoted.
    pub fn render(&self, vars: &Vars) -> Result<Probe, String> {
        let mut value = serde_json::to_value(self).map_err(|error| error.to_string())?;
        each_text(&mut value, ("", 0), &mut |place, text| {
            let rendered =
                if place == COMMAND { template::script(text, vars) } else { template::text(text, vars) };
            *text = rendered?;
            if place == PORT { check_port(text) } else { Ok(()) }
        })?;
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    /// A short description of the probe.
    pub fn words(&self) -> String {
        let first = |text: &str| readable(text).trim().lines().next().unwrap_or_default().to_string();
        match self {
            Probe::Run { command, .. } | Probe::Metric(Metric { command, .. }) => first(command),
            Probe::Plugin(Plugin { command, upload: None }) => format!("plugin {}", first(command)),
            Probe::Plugin(Plugin { command, upload: Some(path) }) => {
                format!("plugin files/{path} {}", first(command))
            }
            Probe::Http(http) => {
                let scheme = if http.tls.is_some() { "https" } else { "http" };
                format!("{scheme}://{}:{}{}", http.address, http.port, http.path)
            }
            Probe::Tcp(tcp) => format!("tcp {}:{}", tcp.address, tcp.port),
            Probe::Tls(tls) => format!("tls {}:{}", tls.address, tls.port),
            Probe::Dns(dns) => format!("dns {}", dns.name),
            Probe::Port(port) => format!("port {}", port.port),
            Probe::Process(process) => format!("process {}", process.name),
            Probe::Service(service) => format!("service {}", service.name),
            Probe::File(file) => format!("file {}", file.path),
            Probe::Log(log) => format!("log {}", log.path),
            Probe::Package(package) => format!("package {}", package.name),
            Probe::Disk(disk) => format!("disk {}", disk.path),
            Probe::Load(_) => "load".into(),
            Probe::Memory(memory) => if memory.swap { "swap" } else { "memory" }.into(),
            Probe::Clock { .. } => "clock".into(),
        }
    }
}

/// A field of a probe: its name, and its depth (2 below the kind).
type FieldAt<'a> = (&'a str, usize);

const COMMAND: FieldAt<'static> = ("command", 2);
const PORT: FieldAt<'static> = ("port", 2);

/// Visits every text in a value; `place` is the nearest field around it.
fn each_text(
    value: &mut Value,
    place: FieldAt<'_>,
    visit: &mut impl FnMut(FieldAt<'_>, &mut String) -> Result<(), String>,
) -> Result<(), String> {
    match value {
        Value::String(text) => visit(place, text),
        Value::Array(items) => items.iter_mut().try_for_each(|item| each_text(item, place, visit)),
        Value::Object(fields) => {
            fields.iter_mut().try_for_each(|(key, field)| each_text(field, (key, place.1 + 1), visit))
        }
        _ => Ok(()),
    }
}

fn check_port(text: &str) -> Result<(), String> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(()),
        _ => Err(format!("`port`: {text:?} is no port")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn probes_of_old_plans_are_still_read() {
        let old = [
            r#"{"run":{"command":"x","expect":{"exit":0,"equals":null,"contains":null,"matches":null,"warning":"10","critical":null}}}"#,
            r#"{"http":{"address":"127.0.0.1","port":"80","path":"/","host":null,"status":200,"body":{"contains":null,"matches":null}}}"#,
            r#"{"tcp":{"address":"127.0.0.1","port":"80"}}"#,
        ];
        let read: Vec<Probe> = old.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
        let Probe::Run { expect, .. } = &read[0] else { panic!("{:?}", read[0]) };
        assert!(expect.limits.warning.is_some());
        assert_eq!(read[1], Probe::Http(Box::new(Http::get("80", "/"))));
        assert!(matches!(&read[2], Probe::Tcp(tcp) if !tcp.listens()));
    }

    #[test]
    fn every_text_is_rendered_and_only_commands_are_quoted() {
        let vars = Vars::from([("a".into(), json!("x y")), ("p".into(), json!(80))]);
        let metric = Probe::Metric(Metric {
            command: "echo {{ a }}".into(),
            unit: String::new(),
            limits: Limits::default(),
        });
        let Probe::Metric(rendered) = metric.render(&vars).unwrap() else { panic!() };
        assert_eq!(rendered.command, "rollcall_0='x y'; echo \"${rollcall_0}\"");
        assert_eq!(Probe::Metric(rendered).words(), "echo 'x y'");
        let http = Http {
            host: Some("{{ a }}".into()),
            json: [("$.a".into(), json!("{{ a }}"))].into(),
            ..Http::get("{{ p }}", "/{{ a }}")
        };
        let Probe::Http(rendered) = Probe::Http(Box::new(http.clone())).render(&vars).unwrap() else {
            panic!()
        };
        assert_eq!((rendered.port.as_str(), rendered.path.as_str()), ("80", "/x y"));
        assert_eq!((rendered.host.as_deref(), &rendered.json["$.a"]), (Some("x y"), &json!("x y")));
        let bad = Probe::Http(Box::new(Http { port: "{{ a }}".into(), ..http }));
        assert_eq!(bad.render(&vars), Err(r#"`port`: "x y" is no port"#.into()));
    }
}
