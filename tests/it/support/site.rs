//! A whole site: hosts with sshd and an application each, nginx in front, a rollcall daemon, operators.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rollcall::daemon::Daemon;
use rollcall::domain::ask::access::{Operator, Role, authorize};
use rollcall::domain::ask::command as commands;
use rollcall::embedded::site;
use rollcall::engine::ports::Ports;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use super::haproxy::Haproxy;
use super::nginx::Nginx;
use super::sshd::Sshd;
use super::{account, folder, keygen, open_to_all, read, write};

/// The release that hosts have at the beginning.
pub const FIRST: &str = "1.0.0";

/// One host with its application.
pub struct WebHost {
    pub name: String,
    pub sshd: Sshd,
    pub dir: PathBuf,
    /// Where its application listens, as nginx writes it.
    pub server: String,
}

impl WebHost {
    /// The release that the host is on, as its disk says.
    pub fn release(&self) -> String {
        read(&self.dir.join("current/VERSION")).trim().to_string()
    }
}

/// See the module.
pub struct Site {
    pub hosts: Vec<WebHost>,
    pub nginx: Nginx,
    pub lb: Sshd,
    pub daemon: Option<Daemon>,
    pub config: PathBuf,
    stop: CancellationToken,
    // Dropped last: everything above lives in it.
    pub dir: tempfile::TempDir,
}

/// What an answer was.
#[derive(Debug)]
pub struct Answer {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Answer {
    /// Fails the test with the whole answer when the status is another one.
    pub fn expect(self, status: i32) -> Answer {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }
}

impl Site {
    /// A site of `count` web hosts behind one nginx; the daemon runs.
    pub async fn start(count: usize) -> Site {
        let mut site = Site::without_daemon(count).await;
        site.start_daemon().await;
        site
    }

    /// Starts the daemon, in this process.
    pub async fn start_daemon(&mut self) {
        let deadline = tokio::time::Instant::now() + super::DEADLINE;
        self.daemon = loop {
            match Daemon::start(&self.config).await {
                Ok(daemon) => break Some(daemon),
                // Sessions of one that was stopped in this process may hold the store for a moment more.
                Err(why) if why.contains("that is running") && tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
                Err(why) => panic!("{why}"),
            }
        };
    }

    /// The same, with nobody at the door yet.
    pub async fn without_daemon(count: usize) -> Site {
        let dir = folder();
        let at = |name: &str| dir.path().join(name);
        keygen(&at("fleet"), "rollcall");
        let stop = CancellationToken::new();
        let mut hosts = Vec::new();
        for number in 1..=count {
            hosts.push(web_host(&at(&format!("web{number:02}")), &at("fleet.pub"), &stop).await);
        }
        let servers: Vec<String> = hosts.iter().map(|host| host.server.clone()).collect();
        let nginx = Nginx::start(&at("lb"), &servers).await;
        let lb = Sshd::start(&at("lb-ssh"), &at("fleet.pub")).await;
        let config = at("config");
        let site = Site { hosts, nginx, lb, daemon: None, config, stop, dir };
        site.write_config();
        site
    }

    fn write_config(&self) {
        let at = |name: &str| self.dir.path().join(name);
        for (name, role) in [("ann", "admin"), ("bob", "operator"), ("vic", "viewer")] {
            keygen(&at(name), name);
            let line = format!("role=\"{role}\" {}", read(&at(&format!("{name}.pub"))));
            let operators = self.config.join("operators");
            let before = std::fs::read_to_string(&operators).unwrap_or_default();
            write(&operators, &(before + &line));
        }
        keygen(&at("stranger"), "stranger");
        let known: String =
            self.hosts.iter().map(|host| &host.sshd).chain([&self.lb]).map(Sshd::known_hosts_line).collect();
        write(&at("state/known_hosts"), &known);
        write(&self.config.join("rollcall.toml"), &self.settings());
        write(&self.config.join("hosts/prod.toml"), &self.inventory());
        write(&self.config.join("tasks/deploy.toml"), DEPLOY);
        write(&self.config.join("tasks/touch.toml"), TOUCH);
        write(&self.config.join("checks/http.toml"), CHECKS);
        write(&self.config.join("files/app.conf"), "release {{ version }} on {{ host.name }}\n");
    }

    fn settings(&self) -> String {
        let dir = self.dir.path().display();
        format!(
            "listen = [\"127.0.0.1:0\"]\nhost_key = \"{dir}/state/host_key\"\nstore = \"{dir}/state/rollcall.db\"\n\
             downloads = \"{dir}/downloads\"\n\
             [door]\nrate = 100000\nburst = 100000\npenalty = \"0s\"\n\
             [fleet]\nlogin = \"{}\"\nidentity = [\"{dir}/fleet\"]\nknown_hosts = \"{dir}/state/known_hosts\"\n\
             connect_timeout = \"5s\"\n",
            account()
        )
    }

    fn inventory(&self) -> String {
        let host = |host: &WebHost| {
            format!(
                "{} = {{ address = \"127.0.0.1\", port = {}, root = \"{}\", server = \"{}\", app_port = {} }}\n",
                host.name,
                host.sshd.address.port(),
                host.dir.display(),
                host.server,
                host.server.rsplit(':').next().expect("a port"),
            )
        };
        let hosts: String = self.hosts.iter().map(host).collect();
        let nginx = &self.nginx;
        format!(
            "[web]\nchecks = [\"http\"]\n[web.hosts]\n{hosts}\n[web.balancer]\ndriver = \"nginx\"\non = \"lb\"\n\
             config = \"{config}\"\nserver = \"{{{{ server }}}}\"\ntest = \"nginx -t -p {dir} -c {config}\"\n\
             reload = \"nginx -s reload -p {dir} -c {config}\"\n\
             [lb.hosts]\nlb1 = {{ address = \"127.0.0.1\", port = {port} }}\n",
            config = nginx.config().display(),
            dir = nginx.dir.display(),
            port = self.lb.address.port(),
        )
    }

    /// Puts the hosts behind another balancer than nginx: the keys of its table.
    pub async fn stand_behind(&self, keys: &str) {
        self.write_balancers(&format!("[web.balancer]\n{keys}")).await;
    }

    /// The same with several: the keys of the first, and the tables of the others.
    pub async fn stand_behind_all(&self, keys: &str) {
        self.write_balancers(&format!("[[web.balancer]]\n{keys}")).await;
    }

    async fn write_balancers(&self, tables: &str) {
        let path = self.config.join("hosts/prod.toml");
        let text = read(&path);
        let at =
            text.find("[[web.balancer]]\n").or_else(|| text.find("[web.balancer]\n")).expect("a balancer");
        let (_, after) = text.split_once("[lb.hosts]\n").expect("its host");
        write(&path, &format!("{}{tables}[lb.hosts]\n{after}", &text[..at]));
        if self.daemon.is_some() {
            self.ask("reload").await.expect(0);
        }
    }

    /// Puts the hosts behind an HAProxy that checks them as `check` says. `keys` are further ones for the
    /// balancer's table.
    pub async fn stand_behind_haproxy(&self, check: &str, keys: &str) -> Haproxy {
        let servers: Vec<String> =
            self.hosts.iter().map(|host| format!("{} {} {check}", host.name, host.server)).collect();
        let haproxy = Haproxy::start(&self.dir.path().join("haproxy"), &servers).await;
        for host in &self.hosts {
            haproxy.until(&host.name, "UP").await;
        }
        let socket = haproxy.socket();
        let socket = socket.display();
        self.stand_behind(&format!(
            "driver = \"haproxy\"\non = \"lb\"\nsocket = \"{socket}\"\nbackend = \"app\"\n{keys}"
        ))
        .await;
        haproxy
    }

    /// What the daemon works with.
    pub fn ports(&self) -> Ports {
        let ann = Operator::new("ann", "ann", Role::Admin);
        let granted =
            authorize(&ann, commands::Command::Whoami, jiff::Timestamp::UNIX_EPOCH).expect("every role may");
        self.daemon.as_ref().expect("a daemon").desk.engine.ports_for(&granted).clone()
    }

    /// Where the daemon listens.
    pub fn port(&self) -> u16 {
        self.daemon.as_ref().expect("a daemon").addresses[0].port()
    }

    /// A plain `ssh` of one of the operators, to be started.
    pub fn ssh(&self, who: &str, line: &str) -> Command {
        self.ssh_to(self.port(), who, line)
    }

    /// The same, to another port.
    pub fn ssh_to(&self, port: u16, who: &str, line: &str) -> Command {
        let mut command = self.ssh_with(port, who, &[]);
        command.arg(line);
        command
    }

    /// The same with options of ssh; a command may follow.
    pub fn ssh_with(&self, port: u16, who: &str, options: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command
            .args(["-F", "none", "-p", &port.to_string(), "-i"])
            .arg(self.dir.path().join(who))
            .args(["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(options)
            .arg("rollcall@127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Asks as somebody, and waits for the answer.
    pub async fn ask_as(&self, who: &str, line: &str) -> Answer {
        answer_of(self.ssh(who, line)).await
    }

    /// Asks as ann, the admin.
    pub async fn ask(&self, line: &str) -> Answer {
        self.ask_as("ann", line).await
    }

    /// Asks a daemon on this port as ann.
    pub async fn ask_at(&self, port: u16, line: &str) -> Answer {
        answer_of(self.ssh_to(port, "ann", line)).await
    }

    /// How many of `ends` each line of the recap names: `released 20`.
    pub fn releases(&self) -> Vec<String> {
        self.hosts.iter().map(WebHost::release).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Runs a command to its end.
pub async fn answer_of(mut command: Command) -> Answer {
    let output = tokio::time::timeout(super::DEADLINE, command.output());
    let output = output.await.expect("an answer within the deadline").expect("it runs");
    Answer {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The same for a command that reads this from its standard input.
pub async fn with_input(mut command: Command, input: &[u8]) -> Answer {
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command that is refused does not read it.
    let sending = tokio::spawn(async move { _ = stdin.write_all(&input).await });
    let output =
        tokio::time::timeout(super::DEADLINE, child.wait_with_output()).await.expect("an end").unwrap();
    sending.abort();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Answer {
        status: output.status.code().unwrap_or(-1),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

async fn web_host(dir: &Path, authorized: &Path, stop: &CancellationToken) -> WebHost {
    let name = dir.file_name().expect("a name").to_string_lossy().into_owned();
    write(&dir.join("releases").join(FIRST).join("VERSION"), &format!("{FIRST}\n"));
    std::os::unix::fs::symlink(format!("releases/{FIRST}"), dir.join("current")).expect("a link");
    open_to_all(&dir.join("releases"));
    let sshd = Sshd::start(dir, authorized).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = listener.local_addr().expect("an address").to_string();
    tokio::spawn(site::serve(name.clone(), dir.to_path_buf(), listener, stop.clone()));
    WebHost { name, sshd, dir: dir.to_path_buf(), server }
}

/// Takes the application down while the link moves: without the balancer's help requests would fail.
const DEPLOY: &str = r#"
description = "A release"
hosts = "web"
params.version = { pattern = '\d+\.\d+\.\d+' }
params.hook = { default = "true" }
[rollout]
serial = [1, "25%", "100%"]
on_failure = "rollback"
[[steps]]
name = "unpack"
run = "mkdir -p {{ version }} && echo {{ version }} >{{ version }}/VERSION"
in = "{{ root }}/releases"
creates = "{{ root }}/releases/{{ version }}/VERSION"
[[steps]]
name = "configure"
upload = { from = "app.conf", to = "{{ root }}/releases/{{ version }}/app.conf", template = true }
[[steps]]
name = "stop"
run = "touch down"
in = "{{ root }}"
[[steps]]
name = "switch"
link = { from = "releases/{{ version }}", at = "{{ root }}/current" }
[[steps]]
name = "hook"
run = "{{ hook | script }}"
in = "{{ root }}"
[[steps]]
name = "start"
run = "rm -f down"
in = "{{ root }}"
[[rollback]]
name = "switch back"
link = { from = "{{ previous }}", at = "{{ root }}/current" }
[[rollback]]
name = "start the old one"
run = "rm -f down"
in = "{{ root }}"
"#;

const TOUCH: &str = r#"
[[steps]]
name = "touch"
run = "touch {{ root }}/touched"
"#;

const CHECKS: &str = r#"
[[check]]
name = "serves the release"
run = "cat {{ root }}/current/VERSION; test ! -e {{ root }}/down; test ! -e {{ root }}/releases/{{ version }}/BROKEN"
stdout = { equals = "{{ version }}" }
[[check]]
name = "answers"
http = { port = "{{ app_port }}", path = "/health", body_contains = "{{ version }}" }
retry = { interval = "50ms", deadline = "5s", successes = 2 }
[[check]]
name = "listens"
tcp = { port = "{{ app_port }}" }
"#;
