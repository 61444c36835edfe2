//! `[fleet.certificates]`: hosts that trust a CA and have no key of rollcall, on real sshd.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use rollcall::daemon::{SystemClock, check_config};
use rollcall::fleet::authority::{Authority, CertificateRules};
use rollcall::fleet::dial::TcpDial;
use rollcall::fleet::known_hosts::KnownHosts;
use rollcall::fleet::{ConnectionSettings, Fleet, Parts, read_identities};
use rollcall::port::{Clock, Remote};

use crate::support::daemon::rollcall;
use crate::support::fleet::endpoint;
use crate::support::site::Site;
use crate::support::sshd::Sshd;
use crate::support::{account, keygen, open_to_all, read, write};

/// Makes hosts that trust the CA alone. sshd reads its configuration for every connection.
fn trust(sshd: &Sshd, ca: &Path, more: &str) {
    let config = sshd.dir.join("sshd_config");
    const OURS: [&str; 5] =
        ["AuthorizedKeysFile", "LogLevel", "TrustedUserCAKeys", "AuthorizedPrincipalsFile", "MaxAuthTries"];
    let kept = |line: &&str| !OURS.iter().any(|ours| line.starts_with(ours));
    let rest: Vec<String> = read(&config).lines().filter(kept).map(|line| format!("{line}\n")).collect();
    let trust = format!("AuthorizedKeysFile none\nLogLevel INFO\nTrustedUserCAKeys {}\n", ca.display());
    write(&config, &format!("{trust}{}{more}", rest.concat()));
}

/// A site whose hosts trust the CA `ca`, and which logs in with its certificates; `keys` are further ones for their table.
async fn site(count: usize, keys: &str) -> Site {
    let site = Site::without_daemon(count).await;
    let ca = site.dir.path().join("ca");
    keygen(&ca, "ca");
    let path = site.config.join("rollcall.toml");
    let identity = format!("identity = [\"{}/fleet\"]\n", site.dir.path().display());
    let settings = read(&path).replace(&identity, "");
    write(&path, &format!("{settings}[fleet.certificates]\nca = \"{}\"\n{keys}", ca.display()));
    for sshd in site.hosts.iter().map(|host| &host.sshd).chain([&site.lb]) {
        trust(sshd, &ca.with_extension("pub"), "");
    }
    site
}

fn fingerprint(key: &Path) -> String {
    let output = Command::new("ssh-keygen").arg("-lf").arg(key).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split(' ').nth(1).unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_out_with_certificates_alone_and_through_a_jump_host() {
    let mut site = site(2, "source_address = [\"127.0.0.0/8\"]\n").await;
    let hosts = site.config.join("hosts/prod.toml");
    write(&hosts, &read(&hosts).replace("[web]\n", "[web]\nvia = \"lb1\"\n"));
    site.start_daemon().await;
    site.ask("deploy prod version=1.0.1").await.expect(0);
    assert!(site.hosts.iter().all(|host| host.release() == "1.0.1"));
    let ca = fingerprint(&site.dir.path().join("ca.pub"));
    let (web, lb) = (read(&site.hosts[0].sshd.dir.join("sshd.log")), read(&site.lb.dir.join("sshd.log")));
    let accepted = |log: &str, id: &str| {
        let login = format!("Accepted publickey for {} from 127.0.0.1", account());
        let found = |line: &&str| line.contains(&login) && line.contains(&format!("ID {id} (serial "));
        log.lines().find(found).is_some_and(|line| line.contains(&format!("CA ED25519 {ca}")))
    };
    assert!(accepted(&web, "rollcall commands web01"), "{web}");
    // Its probes open connections from the host, which takes the permission to.
    assert!(accepted(&web, "rollcall forwards web01"), "{web}");
    assert!(accepted(&lb, "rollcall forwards lb1"), "{lb}");
    let doctor = site.ask("doctor web01").await.expect(0);
    assert!(doctor.out.contains(&format!("by a certificate of the CA {ca}")), "{}", doctor.out);
    // Each login has a key of its own.
    let web = read(&site.hosts[0].sshd.dir.join("sshd.log"));
    let keys: std::collections::BTreeSet<&str> =
        web.lines().filter_map(|line| line.split_once("ED25519-CERT ")?.1.split(' ').next()).collect();
    let logins = web.lines().filter(|line| line.contains("Accepted publickey")).count();
    assert!(keys.len() == logins && logins > 2, "{web}");
    // The key of the CA is in no file for bug reports.
    let secret = read(&site.dir.path().join("ca"));
    let secret = secret.lines().nth(3).unwrap();
    let report = site.dir.path().join("report.txt");
    let done = rollcall(&site).args(["support", "--to"]).arg(&report).output().await.unwrap();
    assert!(done.status.success(), "{done:?}");
    let report = read(&report);
    assert!(!report.contains(secret) && report.contains("certificates"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_refuses_a_certificate_is_reported_with_what_to_do() {
    let mut site = site(4, "principals = [\"rollcall\", \"prod\"]\nsource_address = [\"127.0.0.1\"]\n").await;
    let ca = site.dir.path().join("ca.pub");
    let principals = site.dir.path().join("principals");
    write(&principals, "rollcall\n");
    open_to_all(&principals);
    let file = format!("AuthorizedPrincipalsFile {}\n", principals.display());
    trust(&site.hosts[0].sshd, &ca, &file);
    // web02 has no file of principals, so the login itself would have to be one. web03 does not trust the CA.
    let config = site.hosts[2].sshd.dir.join("sshd_config");
    write(&config, &read(&config).replace("TrustedUserCAKeys", "#"));
    trust(&site.hosts[3].sshd, &ca, &format!("{file}MaxAuthTries 1\n"));
    site.start_daemon().await;
    site.ask("run web01,web04 -- true").await.expect(0);
    let none = format!(
        "authentication: certificate: the host accepts none of the CA {} for login `{}` (principals: rollcall, prod); try: \
         `TrustedUserCAKeys FILE`",
        fingerprint(&ca),
        account()
    );
    for host in ["web02", "web03"] {
        let refused = site.ask(&format!("run {host} -- true")).await.expect(4);
        assert!(refused.err.contains(&none), "{host}: {}", refused.err);
    }
    trust(&site.hosts[3].sshd, &ca, "MaxAuthTries 1\n");
    site.hosts[3].sshd.cut();
    let refused = site.ask("run web04 -- true").await.expect(4);
    let closed = "the host disconnected when it had refused the certificate; its log says why";
    assert!(refused.err.contains(closed), "{}", refused.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_trusts_no_ca_yet_is_reached_with_the_key() {
    let mut site = site(1, "").await;
    let path = site.config.join("rollcall.toml");
    let identity = format!("[fleet]\nidentity = [\"{}/fleet\"]\n", site.dir.path().display());
    write(&path, &read(&path).replace("[fleet]\n", &identity));
    let config = site.hosts[0].sshd.dir.join("sshd_config");
    let key = format!("AuthorizedKeysFile {}/fleet.pub", site.dir.path().display());
    let text = read(&config).replace("TrustedUserCAKeys", "#").replace("AuthorizedKeysFile none", &key);
    write(&config, &text);
    site.start_daemon().await;
    site.ask("run web01 -- true").await.expect(0);
    let doctor = site.ask("doctor web01").await.expect(0);
    assert!(!doctor.out.contains("by a certificate"), "{}", doctor.out);
    write(&config, &text.replace(&key, "AuthorizedKeysFile none"));
    site.hosts[0].sshd.cut();
    let refused = site.ask("run web01 -- true").await.expect(4);
    assert!(refused.err.contains("its log says why; keys: 1 offered, none accepted"), "{}", refused.err);
}

struct Behind;

impl Clock for Behind {
    fn now(&self) -> Timestamp {
        SystemClock.now() - 1.hour()
    }
}

fn fleet(site: &Site, clock: Arc<dyn Clock>, source: Option<&str>) -> Fleet {
    let rules = CertificateRules {
        valid_for: Duration::from_secs(300),
        principals: Vec::new(),
        source_address: source.map(String::from),
    };
    let authority = Authority::read(&site.dir.path().join("ca"), rules).unwrap();
    Fleet::new(Parts {
        settings: ConnectionSettings {
            parallel: 8,
            connect_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(15),
            idle_timeout: None,
        },
        identities: read_identities(Some(authority), &[], None).unwrap(),
        keys: Default::default(),
        known_hosts: KnownHosts::new(site.dir.path().join("state/known_hosts")),
        dial: Arc::new(TcpDial),
        clock,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_differ_and_other_addresses_are_named() {
    let site = site(1, "").await;
    let host = endpoint("web01", &site.hosts[0].sshd);
    let expired = fleet(&site, Arc::new(Behind), Some("127.0.0.1")).reach(&host).await.unwrap_err();
    let clocks =
        "certificate: for the host it is expired or not yet valid, so the clocks differ: it is valid from ";
    assert!(expired.contains(clocks) && expired.contains("try: `date -u` and `timedatectl`"), "{expired}");
    let log = read(&site.hosts[0].sshd.dir.join("sshd.log"));
    assert!(log.contains("Certificate invalid: expired") && !log.contains("Accepted"), "{log}");
    let elsewhere = fleet(&site, Arc::new(SystemClock), Some("192.0.2.0/24")).reach(&host).await.unwrap_err();
    let addresses = "the host accepts it from another address alone: 192.0.2.0/24 (`source_address`)";
    assert!(elsewhere.contains(addresses), "{elsewhere}");
    fleet(&site, Arc::new(SystemClock), None).reach(&host).await.unwrap();
}

fn check(root: &Path, keys: &str) -> String {
    write(&root.join("rollcall.toml"), &format!("[fleet.certificates]\n{keys}\n"));
    check_config(root).unwrap_err()
}

#[test]
fn a_ca_that_others_can_read_and_wrong_rules_are_mistakes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(&root.join("hosts/a.toml"), "[a.hosts]\nb = {}\n");
    for (name, options) in [
        ("open", &["-t", "ed25519", "-N", ""]),
        ("locked", &["-t", "ed25519", "-N", "secret"]),
        ("rsa", &["-t", "rsa", "-N", ""]),
        ("good", &["-t", "ed25519", "-N", ""]),
    ] {
        let mut command = Command::new("ssh-keygen");
        command.arg("-q").args(options).arg("-f").arg(root.join(name));
        assert!(command.output().unwrap().status.success());
    }
    std::fs::set_permissions(root.join("open"), std::fs::Permissions::from_mode(0o640)).unwrap();
    for (keys, wanted) in [
        ("ca = \"gone\"", "gone: No such file or directory"),
        ("ca = \"open\"", "open: others can read it; try: chmod 600 "),
        ("ca = \"locked\"", "locked: it has a passphrase; try: ssh-keygen -p"),
        ("ca = \"rsa\"", "rsa: it is ssh-rsa; try: a new one of `ssh-keygen -t ed25519`"),
        ("valid_for = \"5m\"", "`ca`"),
        ("ca = \"good\"\nvalid_for = \"30s\"", "`valid_for` is from one minute to one hour"),
        ("ca = \"good\"\nvalid_for = \"61m\"", "`valid_for` is from one minute to one hour"),
        ("ca = \"good\"\nprincipals = [\"a,b\"]", "`a,b` is no principal: it has no spaces and no commas"),
        ("ca = \"good\"\nsource_address = [\"example.com\"]", "`example.com` is no address and no network"),
        ("ca = \"good\"\nsource_address = [\"!192.0.2.1\"]", "`!192.0.2.1` is not one address or network"),
        ("ca = \"good\"\nsource_address = []", "`source_address` is empty"),
    ] {
        let said = check(root, keys);
        assert!(said.contains(wanted), "{keys}: {said}");
    }
}
