//! The unit that is shipped, and what the daemon tells the service manager.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::support::{DEADLINE, folder, write};

/// The most that `systemd-analyze security` may say, of 10.
const EXPOSURE_LIMIT: f64 = 1.5;

fn unit() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/rollcall.service")
}

fn systemd_analyze(arguments: &[&str]) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).arg(unit());
    command.output().expect("systemd-analyze is there; run tests/run, which installs it")
}

#[test]
fn the_unit_exposes_little() {
    let answer = systemd_analyze(&["security", "--offline=yes", "--no-pager"]);
    let text = String::from_utf8_lossy(&answer.stdout).into_owned();
    let (_, rest) = text.split_once("Overall exposure level for rollcall.service: ").expect("a level");
    let level: f64 = rest.split_whitespace().next().expect("a number").parse().expect("a number");
    assert!(level <= EXPOSURE_LIMIT, "{text}");
}

#[test]
fn the_unit_is_understood_whole() {
    let answer = systemd_analyze(&["verify", "--man=no"]);
    let said = String::from_utf8_lossy(&answer.stderr).into_owned();
    // What is installed on this machine is not the unit's fault.
    let not_installed = |line: &str| line.contains("Command /usr/bin/rollcall is not executable");
    // Other units on this machine may have faults of their own.
    let faults: Vec<&str> =
        said.lines().filter(|line| line.contains("rollcall") && !not_installed(line)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_unit_bounds_memory_tasks_and_restarts() {
    let text = std::fs::read_to_string(unit()).expect("the unit");
    let (head, service) = text.split_once("[Service]").expect("a section");
    let has = |text: &str, key: &str| {
        text.lines().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with('=')))
    };
    // systemd reads these in [Unit] only.
    for key in ["StartLimitIntervalSec", "StartLimitBurst"] {
        assert!(has(head, key), "{key}");
    }
    for key in ["MemoryMax", "TasksMax", "LimitNOFILE"] {
        assert!(has(service, key), "{key}");
    }
}

/// The daemon as a service: with a socket to notify, and ended when the test ends.
struct Service {
    child: Child,
    socket: UnixDatagram,
    // Dropped last: the daemon's files live in it.
    dir: tempfile::TempDir,
}

impl Service {
    /// One host that nobody ever connects to is all that it needs.
    fn start() -> Service {
        let dir = folder();
        let config = dir.path().join("config");
        let state = dir.path().join("state");
        let shown = state.display();
        write(&config.join("hosts/prod.toml"), "[web]\nhosts = \"web01\"\n");
        write(
            &config.join("rollcall.toml"),
            &format!(
                "listen = \"127.0.0.1:0\"\nhost_key = \"{shown}/host_key\"\nstore = \"{shown}/rollcall.db\"\n\
                 [fleet]\nknown_hosts = \"{shown}/known_hosts\"\n"
            ),
        );
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(DEADLINE)).expect("a limit");
        let child = Command::new(env!("CARGO_BIN_EXE_rollcall"))
            .arg("--config")
            .arg(&config)
            .arg("serve")
            .env("NOTIFY_SOCKET", &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the daemon starts");
        Service { child, socket, dir }
    }

    /// The next message, one word or line of which is expected.
    fn says(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("a message within the deadline");
        String::from_utf8_lossy(&bytes[..length]).lines().map(String::from).collect()
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill is there").success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_service_manager_is_told_when_the_daemon_is_ready_reloads_and_stops() {
    let mut service = Service::start();
    assert_eq!(service.says(), ["READY=1"]);

    service.signal("-HUP");
    let reloading = service.says();
    assert_eq!(reloading[0], "RELOADING=1");
    assert!(reloading[1].starts_with("MONOTONIC_USEC="), "{reloading:?}");
    assert_eq!(service.says(), ["READY=1"]);

    // A configuration that is wrong leaves the old one in force, and the daemon ready.
    write(&service.dir.path().join("config/hosts/prod.toml"), "nonsense\n");
    service.signal("-HUP");
    assert_eq!(service.says()[0], "RELOADING=1");
    assert_eq!(service.says(), ["READY=1"]);

    service.signal("-TERM");
    assert_eq!(service.says(), ["STOPPING=1"]);
    assert!(service.child.wait().expect("it ends").success());
}
