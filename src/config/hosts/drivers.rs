//! The settings of each balancer driver.

use serde_json::{Value, json};
use toml::Spanned;

use crate::config::text::keys::{Choice, Flag, Key, Text, Texts, Time, WordList, table, words};
use crate::config::text::reader::Reader;
use crate::domain::inventory::inventory::{
    Commands, Driver, Haproxy, HealthFile, Nginx, NginxStyle, OnDrainTimeout, Present, Socket,
};
use crate::domain::value::template::{self, Vars};

table! {
    /// Keys of all drivers.
    pub SudoKeys "Sudo" {
        /// The whole driver runs as root, by `sudo -n -- sh`. For narrow rules leave it out and write `sudo -n` into the commands;
        /// see `rollcall sudoers`.
        SUDO "sudo": Flag = false,
    }

    /// Keys of nginx.
    pub NginxKeys "Nginx" {
        /// `nginx`: the file that holds the upstream block. Files that the block includes are followed.
        CONFIG "config": Text,
        /// `nginx`: the upstreams that are changed, all or none. Default: every one in `config` that has the server.
        UPSTREAM "upstream": Texts,
        /// `nginx`: how a host is taken out.
        STYLE "style": Choice<StyleWords> = NginxStyle::Down,
        /// `nginx`: says by its exit status whether the configuration is valid. Default: `nginx -t`, with
        /// `-c {{ config }}` if that is a main configuration. With `-T` for its `-t` it has to print the file.
        TEST "test": Text,
        /// `nginx`: default: the test command with `-s reload` for its `-t`.
        RELOAD "reload": Text,
        /// `nginx`: prints one line for each worker process that is there. Default: the workers of the master that the pid
        /// file of the configuration names; the only master of the host if there is no such file.
        WORKERS "workers": Text,
    }

    /// Keys of HAProxy.
    pub HaproxyKeys "Haproxy" {
        /// `haproxy`: where its runtime API listens: a path or `HOST:PORT`.
        SOCKET "socket": Text,
        /// `haproxy`: the backend, or several: a host is out of all or of none.
        BACKEND "backend": Texts,
    }

    /// Keys of a file that the balancer's health check reads.
    pub FileKeys "File" {
        /// `file`: the file on each host that the balancer's health check reads; a template.
        PATH "path": Text,
        /// `file`: what it means that the file is there.
        PRESENT "present": Choice<PresentWords> = Present::In,
        /// `file`: how long until the balancer has noticed a change.
        SETTLE "settle": Time,
    }

    /// Keys of commands.
    pub CommandKeys "Command" {
        /// `command`: takes a server out.
        DRAIN "drain": Text,
        /// `command`: puts a server back.
        ENABLE "enable": Text,
        /// `command`: prints `{"state": "up|draining|drained|down|unknown", "active": N}`.
        STATUS "status": Text,
    }
}

words! {
    /// The drivers.
    pub DriverWords: DriverKind {
        "nginx" = DriverKind::Nginx,
        "haproxy" = DriverKind::Haproxy,
        "file" = DriverKind::File,
        "command" = DriverKind::Command,
    }

    /// How nginx's driver takes a server out.
    pub StyleWords: NginxStyle {
        "down" = NginxStyle::Down,
        "comment" = NginxStyle::Comment,
    }

    /// What it means that a health file is there.
    pub PresentWords: Present {
        "in" = Present::In,
        "out" = Present::Out,
    }

    /// What happens to requests that outlast the drain. `kill` is the last: only HAProxy can end the requests of one server,
    /// since nginx's old workers have those of all servers.
    pub DrainTimeoutWords: OnDrainTimeout {
        "continue" = OnDrainTimeout::Continue,
        "fail" = OnDrainTimeout::Fail,
        "kill" = OnDrainTimeout::Kill,
    }
}

/// Longest path of a socket that the system allows, in bytes.
const SOCKET_PATH_BYTES: usize = 107;

/// The drivers.
#[derive(Clone, Copy, PartialEq)]
pub enum DriverKind {
    Nginx,
    Haproxy,
    File,
    Command,
}

impl DriverKind {
    /// The allowed actions for requests that outlast the drain.
    pub fn drain_timeouts(self) -> &'static [(&'static str, OnDrainTimeout)] {
        match self {
            DriverKind::Haproxy => DrainTimeoutWords::ALL,
            DriverKind::Nginx | DriverKind::File | DriverKind::Command => &DrainTimeoutWords::ALL[..2],
        }
    }

    /// The key with the name of a host.
    pub fn server_key(self) -> &'static str {
        if self == DriverKind::File { FileKeys::PATH.name } else { "server" }
    }

    /// Why a text cannot be the name of a host.
    pub fn check_server(self, text: &str) -> Result<(), String> {
        match self {
            DriverKind::Haproxy => check_name(text),
            DriverKind::File if !text.starts_with('/') => Err(format!("`{text}` is no absolute path")),
            DriverKind::File | DriverKind::Nginx | DriverKind::Command => Ok(()),
        }
    }
}

/// The names that HAProxy accepts: other characters would be read as another command.
fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    match !name.is_empty() && name.chars().all(plain) {
        true => Ok(()),
        false => Err(format!("`{name}` is no name of HAProxy's (letters, digits, _ . : -)")),
    }
}

/// Reads the keys of one driver.
pub fn read(table: &mut Reader<'_>, kind: DriverKind) -> Option<Driver> {
    match kind {
        DriverKind::Nginx => read_nginx(table).map(Driver::Nginx),
        DriverKind::Haproxy => read_haproxy(table).map(Driver::Haproxy),
        DriverKind::File => read_file(table).map(Driver::File),
        DriverKind::Command => read_commands(table).map(Driver::Command),
    }
}

fn read_nginx(table: &mut Reader<'_>) -> Option<Nginx> {
    let style = table.or_default(NginxKeys::STYLE);
    let sudo = table.or_default(SudoKeys::SUDO);
    let config = table.required(NginxKeys::CONFIG).map(Spanned::into_inner);
    let about = Value::String(config.clone().unwrap_or_default());
    let vars = Vars::from([("config".to_string(), about)]);
    let test = nginx_command(table, NginxKeys::TEST, &vars);
    let reload = nginx_command(table, NginxKeys::RELOAD, &vars);
    let workers = nginx_command(table, NginxKeys::WORKERS, &vars);
    let upstreams = table.get(NginxKeys::UPSTREAM).unwrap_or_default();
    let upstreams = upstreams.into_iter().map(Spanned::into_inner).collect();
    Some(Nginx { config: config?, style, upstreams, test: test?, reload: reload?, workers: workers?, sudo })
}

/// A command of nginx's driver, rendered: it knows `config` and nothing else. `None` when it is wrong.
fn nginx_command(table: &mut Reader<'_>, key: Key<Text>, vars: &Vars) -> Option<Option<String>> {
    let Some(text) = table.get(key) else { return Some(None) };
    match template::check_script(text.get_ref()).and_then(|()| template::script(text.get_ref(), vars)) {
        Ok(command) => Some(Some(command)),
        Err(why) => {
            table.doc.report(
                text.span(),
                format!("`{}`: {why}", key.name),
                "it knows `config` only".to_string(),
            );
            None
        }
    }
}

fn read_haproxy(table: &mut Reader<'_>) -> Option<Haproxy> {
    let doc = table.doc;
    let sudo = table.or_default(SudoKeys::SUDO);
    let socket = table.required(HaproxyKeys::SOCKET).and_then(|text| {
        let hint = "such as \"/run/haproxy/admin.sock\" or \"127.0.0.1:9999\"".to_string();
        let wrong = |why: String| doc.report(text.span(), format!("`socket`: {why}"), hint);
        read_socket(text.get_ref()).map_err(wrong).ok()
    });
    let backends = read_backends(table);
    if let (true, Some(Socket::Tcp { .. })) = (sudo, &socket) {
        doc.wrong(table.key_span(SudoKeys::SUDO.name), "`sudo` is for a socket that is a file");
    }
    Some(Haproxy { socket: socket?, backends: backends?, sudo })
}

/// One name, or a list of different ones.
fn read_backends(table: &mut Reader<'_>) -> Option<Vec<String>> {
    let doc = table.doc;
    let Some(names) = table.get(HaproxyKeys::BACKEND) else {
        table.missing(HaproxyKeys::BACKEND.name);
        return None;
    };
    let mut backends: Vec<String> = Vec::new();
    for name in names {
        if let Err(why) = check_name(name.get_ref()) {
            doc.wrong(name.span(), format!("`backend`: {why}"));
            return None;
        }
        if backends.contains(name.get_ref()) {
            doc.wrong(name.span(), format!("`backend` has `{}` twice", name.get_ref()));
            return None;
        }
        backends.push(name.into_inner());
    }
    if backends.is_empty() {
        doc.wrong(table.key_span(HaproxyKeys::BACKEND.name), "`backend` is empty");
        return None;
    }
    Some(backends)
}

fn read_socket(text: &str) -> Result<Socket, String> {
    if text.starts_with('/') {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/_.@%+=-".contains(c);
        return match text.chars().all(plain) && text.len() <= SOCKET_PATH_BYTES {
            true => Ok(Socket::Unix(text.to_string())),
            false => Err(format!(
                "`{text}` is too long for a socket, or has characters other than letters, digits and /_.@%+=-"
            )),
        };
    }
    let (address, port) = text.rsplit_once(':').ok_or("neither an absolute path nor HOST:PORT")?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or(format!("`{port}` is no port"))?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    match address.is_empty() {
        true => Err("there is no host before the port".into()),
        false => Ok(Socket::Tcp { address: address.to_string(), port }),
    }
}

fn read_file(table: &mut Reader<'_>) -> Option<HealthFile> {
    let present = table.or_default(FileKeys::PRESENT);
    let sudo = table.or_default(SudoKeys::SUDO);
    if table.value(FileKeys::SETTLE).is_none() {
        table.missing(FileKeys::SETTLE.name);
    }
    let settle = table.positive(FileKeys::SETTLE, "the balancer needs time to notice");
    Some(HealthFile { present, settle: settle?, sudo })
}

fn read_commands(table: &mut Reader<'_>) -> Option<Commands> {
    let sudo = table.or_default(SudoKeys::SUDO);
    let drain = driver_command(table, CommandKeys::DRAIN);
    let enable = driver_command(table, CommandKeys::ENABLE);
    let status = driver_command(table, CommandKeys::STATUS);
    Some(Commands { drain: drain?, enable: enable?, status: status?, sudo })
}

/// A template that is rendered for each host when it is run; checked here with sample values.
fn driver_command(table: &mut Reader<'_>, key: Key<Text>) -> Option<String> {
    let text = table.required(key)?;
    let host = json!({ "name": "web1.example.com", "short": "web1" });
    let sample = Vars::from([("server".to_string(), json!("web1")), ("host".to_string(), host)]);
    match template::check_script(text.get_ref()).and_then(|()| template::script(text.get_ref(), &sample)) {
        Ok(_) => Some(text.into_inner()),
        Err(why) => {
            let hint = "it knows `server`, `host.name` and `host.short`".to_string();
            table.doc.report(text.span(), format!("`{}`: {why}", key.name), hint);
            None
        }
    }
}
