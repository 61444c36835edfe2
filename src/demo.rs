//! `rollcall demo`: a fleet inside this process and the real daemon. It rolls one release out under
//! traffic, then one that fails its check, and then leaves the daemon running.

use std::path::{Path, PathBuf};

use futures::future::BoxFuture;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey};

use crate::daemon::Daemon;
use crate::domain::ask::access::{Operator, Role};
use crate::domain::ask::audit::Caller;
use crate::domain::ask::command::parse_line;
use crate::door::answer::answer;
use crate::door::local::Stdio;
use crate::embedded::EmbeddedFleet;
use crate::embedded::traffic::{RequestCounts, Traffic};

/// Web hosts of the demo, unless more are asked for: enough for three batches, few enough to read.
pub const WEB_HOSTS: usize = 8;

/// Requests under way at the same time.
const CLIENTS: usize = 4;

/// Runs the demo with so many web hosts; returns when it is stopped, or, with `once`, after the two releases.
///
/// All files are in a new folder below `base`, which is removed at the end.
pub fn run(base: &Path, hosts: usize, once: bool) -> BoxFuture<'_, Result<(), String>> {
    Box::pin(played(base, hosts, once))
}

async fn played(base: &Path, hosts: usize, once: bool) -> Result<(), String> {
    let folder = Folder::create(base)?;
    let fleet = EmbeddedFleet::start(&folder.at("hosts"), hosts).await.map_err(|error| error.to_string())?;
    let first = fleet.webs().first().ok_or("the fleet has no host")?.clone();
    let operator = write_config(&folder, &fleet)?;
    let daemon = Daemon::start(&folder.at("config")).await?;
    println!(
        "{} hosts and their balancer (http://{}/) run inside this process.\n",
        fleet.webs().len(),
        fleet.address()
    );
    show(&daemon, &fleet, &operator, "deploy prod version=1.1.0", 0).await?;
    println!("The next release does not answer its check.\n");
    show(&daemon, &fleet, &operator, "deploy prod version=1.2.0 broken=yes", 2).await?;
    if once {
        daemon.stop().await;
        return Ok(());
    }
    print!("{}", invitation(&folder, &daemon, &first.name));
    daemon.run().await?;
    fleet.shutdown().await;
    Ok(())
}

/// Runs one command under traffic, and reports the traffic's errors.
async fn show(
    daemon: &Daemon,
    fleet: &EmbeddedFleet,
    operator: &Operator,
    line: &str,
    wanted: u8,
) -> Result<(), String> {
    println!("$ ssh rollcall {line}");
    let traffic = Traffic::start(fleet.address(), CLIENTS);
    let request = parse_line(line.as_bytes()).map_err(|error| error.text)?;
    let caller =
        Caller { operator: operator.clone(), from: None, config: daemon.desk.digest(), line: line.into() };
    let status = answer(&daemon.desk, &caller, request, &mut Stdio).await;
    let RequestCounts { sent, failed, samples } = traffic.stop().await;
    println!("exit status {status}; {sent} requests were answered during the release, and {failed} failed\n");
    match status == wanted && failed == 0 {
        true => Ok(()),
        false => Err(format!("the demo went wrong: exit status {status}, wanted {wanted}; {samples:?}")),
    }
}

fn invitation(folder: &Folder, daemon: &Daemon, host: &str) -> String {
    let port = daemon.addresses.first().map_or(0, std::net::SocketAddr::port);
    let ssh = format!("ssh -F {} rollcall", folder.at("ssh_config").display());
    let board = ssh.replacen("ssh ", "ssh -t ", 1);
    let text = format!(
        "Host rollcall\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {}\n  IdentitiesOnly yes\n  \
         UserKnownHostsFile {}\n  StrictHostKeyChecking accept-new\n",
        folder.at("operator").display(),
        folder.at("operator_known_hosts").display(),
    );
    if let Err(error) = std::fs::write(folder.at("ssh_config"), text) {
        return format!("{}: {error}\n", folder.at("ssh_config").display());
    }
    format!(
        "The daemon keeps running. From another terminal:\n\
         \x20 {ssh} help\n\
         \x20 {ssh} hosts\n\
         \x20 {ssh} plan deploy prod version=1.3.0\n\
         \x20 {ssh} deploy prod version=1.3.0\n\
         \x20 {ssh} check prod\n\
         \x20 {ssh} run prod.web -- cat current/VERSION\n\
         \x20 {ssh} show 2 --host {host}\n\
         \x20 {board}    # the board; q leaves it\n\
         \x20 {ssh} web    # the same in a browser\n\
         Its configuration is in {}. Ctrl-C here ends it all.\n",
        folder.at("config").display()
    )
}

/// A temporary folder of the demo.
struct Folder(PathBuf);

impl Folder {
    fn create(base: &Path) -> Result<Folder, String> {
        use std::os::unix::fs::DirBuilderExt;
        let path = base.join(format!("rollcall-demo-{}", std::process::id()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Folder(path))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A leftover is in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes the configuration of the demo; returns its operator.
fn write_config(folder: &Folder, fleet: &EmbeddedFleet) -> Result<Operator, String> {
    let failed = |error: &dyn std::fmt::Display| format!("the demo's configuration: {error}");
    let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519)
        .map_err(|error| failed(&error))?;
    let public = key.public_key().to_openssh().map_err(|error| failed(&error))?;
    let dir = folder.0.display();
    let settings = format!(
        "listen = [\"127.0.0.1:0\"]\nhost_key = \"{dir}/host_key\"\nstore = \"{dir}/rollcall.db\"\n\
         [fleet]\nlogin = \"demo\"\nidentity = [\"{dir}/fleet_key\"]\nknown_hosts = \"{dir}/known_hosts\"\n"
    );
    let files = [
        ("fleet_key", fleet.identity().to_string()),
        ("operator", key.to_openssh(LineEnding::LF).map_err(|error| failed(&error))?.to_string()),
        ("known_hosts", fleet.known_hosts().to_string()),
        ("config/rollcall.toml", settings),
        ("config/operators", format!("role=\"admin\" {public} you\n")),
        ("config/hosts/prod.toml", hosts(fleet)),
        ("config/tasks/deploy.toml", deploy(fleet.webs().len())),
        ("config/checks/http.toml", checks(fleet.webs().len())),
    ];
    for (name, text) in files {
        write_secret(&folder.at(name), &text).map_err(|error| failed(&error))?;
    }
    let fingerprint = key.public_key().fingerprint(HashAlg::Sha256).to_string();
    Ok(Operator::new("you", fingerprint, Role::Admin))
}

/// Some of the files are private keys; the others may be private as well.
fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::File::options().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

fn hosts(fleet: &EmbeddedFleet) -> String {
    let web = |host: &crate::embedded::EmbeddedHost| {
        format!(
            "{} = {{ address = \"127.0.0.1\", port = {}, app_port = {} }}\n",
            host.name, host.ssh_port, host.http_port
        )
    };
    let webs: String = fleet.webs().iter().map(web).collect();
    let first = fleet.webs().first().map_or("", |host| &host.name);
    let lb = fleet.balancer();
    format!(
        "[web]\nchecks = [\"http\"]\ntags = {{ canary = [\"{first}\"] }}\n[web.hosts]\n{webs}\n\
         [web.balancer]\ndriver = \"nginx\"\non = \"lb\"\nconfig = \"nginx.conf\"\n\
         server = \"127.0.0.1:{{{{ app_port }}}}\"\nworkers = \"cat workers\"\n\n\
         [lb.hosts]\n{} = {{ address = \"127.0.0.1\", port = {} }}\n",
        lb.name, lb.ssh_port
    )
}

/// All hosts share this process: a batch of many hundreds would keep it from answering users.
fn deploy(hosts: usize) -> String {
    let last = if hosts < 100 { "100%" } else { "20%" };
    DEPLOY.replace("LAST_BATCHES", last)
}

const DEPLOY: &str = r#"description = "Roll a release out to the web tier"
hosts = "web"
params.version = { pattern = '\d+\.\d+\.\d+' }
params.broken = { pattern = "yes|no", default = "no" }

[rollout]
serial = [1, "25%", "LAST_BATCHES"]
on_failure = "rollback"

[[steps]]
name = "unpack"
run = """
mkdir -p releases/{{ version }}
echo {{ version }} >releases/{{ version }}/VERSION
[ {{ broken }} = no ] || touch releases/{{ version }}/BROKEN
"""
creates = "releases/{{ version }}/VERSION"

[[steps]]
name = "stop the application"
run = "touch down"

[[steps]]
name = "switch"
link = { from = "releases/{{ version }}", at = "current" }

[[steps]]
name = "start the application"
run = "sleep 0.3; rm -f down"

[[rollback]]
name = "switch back"
link = { from = "{{ previous }}", at = "current" }

[[rollback]]
name = "start the application"
run = "rm -f down"
"#;

/// All hosts and their checks share the cores of this machine: with many of them an answer takes longer.
fn checks(hosts: usize) -> String {
    let deadline = 2 + hosts / 20;
    format!(
        r#"[[check]]
name = "serves the release"
http = {{ port = "{{{{ app_port }}}}", path = "/health", status = 200, body_contains = "{{{{ version }}}}" }}
retry = {{ interval = "100ms", deadline = "{deadline}s", successes = 2 }}
"#
    )
}
