//! Packages and services by each manager: fake ones, first in PATH, keep their state in files, and every command line
//! that they receive is asserted, under `sh` and under busybox.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::domain::task::task::{PackageState, Step};

const FAKE: &str = include_str!("sh/fake_system.sh");

/// The tools of the scripts and the fakes; no other program of this machine is in PATH.
const TOOLS: [&str; 13] =
    ["sh", "sed", "grep", "tail", "awk", "cat", "mv", "rm", "cp", "mkdir", "head", "tr", "busybox"];

const SHELLS: [&[&str]; 2] = [&["sh"], &["busybox", "sh"]];

/// A host with only these programs.
struct Host {
    dir: tempfile::TempDir,
    shell: &'static [&'static str],
}

#[derive(Debug)]
struct Said {
    status: i32,
    out: String,
    err: String,
}

impl Host {
    fn new(shell: &'static [&'static str], programs: &[&str]) -> Host {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        for tool in TOOLS {
            symlink(which(tool), bin.join(tool)).unwrap();
        }
        let fake = dir.path().join("fake");
        std::fs::write(&fake, FAKE).unwrap();
        std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).unwrap();
        for program in programs.iter().chain(&["id", "sleep"]) {
            symlink(&fake, bin.join(program)).unwrap();
        }
        let host = Host { dir, shell };
        ["db", "index", "units", "log"].into_iter().for_each(|file| host.write(file, ""));
        host
    }

    fn at(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.at(file), text).unwrap();
    }

    /// The command lines since the last call.
    fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.at("log")).unwrap();
        self.write("log", "");
        text.lines().map(String::from).collect()
    }

    fn run(&self, body: &StepBody, mode: &str) -> Said {
        self.run_as("0", body, mode)
    }

    fn run_as(&self, user: &str, body: &StepBody, mode: &str) -> Said {
        let script = own(body).unwrap().call(&Step::default(), mode);
        let etc = self.at("etc/rc");
        let script = script.replace("/etc/rc", &etc.display().to_string());
        let mut command = Command::new(which(self.shell[0]));
        command.args(&self.shell[1..]).args(["-c", &script]).env_clear();
        command.env("PATH", self.at("bin")).env("FAKE", self.dir.path()).env("FAKE_UID", user);
        said(command)
    }

    /// A dry run reports the change and changes nothing; then the step is done; then nothing is left to do.
    fn converges(&self, body: &StepBody, printed: &str, lines: &[&str]) {
        let context = format!("{:?} {body:?}", self.shell);
        let dry = self.run(body, "dry-run");
        assert_eq!((dry.status, dry.out.as_str()), (0, format!("{printed}changed\n").as_str()), "{context}");
        assert_eq!(self.log(), [""; 0], "a dry run changes nothing: {context}");
        let act = self.run(body, "act");
        assert_eq!((act.status, act.out), (0, format!("{printed}changed\n")), "{} {context}", act.err);
        assert_eq!(self.log(), lines, "{context}");
        for mode in ["dry-run", "act"] {
            let again = self.run(body, mode);
            assert_eq!((again.status, again.out.as_str()), (0, "unchanged\n"), "{} {context}", again.err);
            assert_eq!(self.log(), [""; 0], "{context}");
        }
    }

    /// Fails with these words.
    fn fails(&self, body: &StepBody, words: &str) {
        let act = self.run(body, "act");
        assert!(act.status == 1 && act.err.contains(words), "{words}: {act:?}");
    }
}

fn said(mut command: Command) -> Said {
    let output = command.output().unwrap();
    Said {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn which(program: &str) -> PathBuf {
    let places = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].map(|place| Path::new(place).join(program));
    places
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{program} is there; run tests/run"))
}

fn package(names: &[&str], state: PackageState) -> StepBody {
    let names = names.iter().map(ToString::to_string).collect();
    StepBody::Package { names, state, version: None, refresh: false }
}

fn pinned(name: &str, version: &str) -> StepBody {
    let names = vec![name.to_string()];
    StepBody::Package { names, state: PackageState::Present, version: Some(version.into()), refresh: false }
}

fn service(state: Option<ServiceState>, enabled: Option<bool>) -> StepBody {
    StepBody::Service { name: "app".into(), state, enabled }
}

const INSTALL: &str =
    "apt-get -q -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold install";

const APT: [&str; 3] = ["apt-get", "apt-cache", "dpkg-query"];

#[test]
fn apt_installs_upgrades_pins_and_removes() {
    for shell in SHELLS {
        let host = Host::new(shell, &APT);
        host.write("db", "c 1\n");
        host.write("index", "a 1\nb 2\nc 3\n");
        let present = package(&["a", "b", "c"], PackageState::Present);
        host.converges(&present, "install a\ninstall b\n", &[&format!("{INSTALL} a b")]);
        let latest = package(&["a", "c"], PackageState::Latest);
        host.converges(&latest, "upgrade c (was 1)\n", &[&format!("{INSTALL} c")]);
        host.write("index", "a 0.9\na 1\n");
        let pin = "apt-get -q -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
                   --allow-downgrades install a=0.9";
        host.converges(&pinned("a", "0.9"), "install a 0.9 (was 1)\n", &[pin]);
        let gone = package(&["a", "b"], PackageState::Absent);
        host.converges(&gone, "remove a 0.9\nremove b 2\n", &["apt-get -q -y remove a b"]);
    }
}

#[test]
fn apts_index_is_read_anew_when_a_name_is_unknown_or_when_asked_and_its_lock_is_waited_for() {
    for shell in SHELLS {
        let host = Host::new(shell, &APT);
        host.write("index.new", "a 1\nb 1\n");
        host.write("locked", "");
        let update = "apt-get -q -y update";
        let present = package(&["a", "b"], PackageState::Present);
        host.converges(&present, "install a\ninstall b\n", &[update, update, &format!("{INSTALL} a b")]);
        let StepBody::Package { names, state, version, .. } = present else { panic!() };
        let act = host.run(&StepBody::Package { names, state, version, refresh: true }, "act");
        assert_eq!((act.status, act.out.as_str()), (0, "unchanged\n"), "an index is no change: {act:?}");
        assert_eq!(host.log(), [update]);
        host.fails(
            &package(&["zsh"], PackageState::Present),
            "apt-get knows no package zsh, not even after its index was updated; look: apt search zsh",
        );
        assert_eq!(host.log(), [update]);
        host.fails(&pinned("a", "7"), "apt-get knows no package a in version 7");
    }
}

#[test]
fn what_goes_wrong_with_packages_is_told_with_what_to_do() {
    for shell in SHELLS {
        let host = Host::new(shell, &APT);
        host.write("index", "a 1\n");
        host.write("broken", "");
        let present = package(&["a"], PackageState::Present);
        host.fails(&present, "apt-get could not install a: it says why above");
        host.fails(&present, "E: Sub-process /usr/bin/dpkg returned an error code (1)");
        let act = host.run_as("1000", &present, "act");
        assert_eq!(act.err, "only root can change packages; write sudo = true to the step\n");
        let dry = host.run_as("1000", &present, "dry-run");
        assert_eq!(dry.out, "install a\nchanged\n", "every login may inspect");
        for name in ["-y", "a b", "a;b", "sudo-", "*"] {
            host.fails(
                &package(&[name], PackageState::Present),
                &format!("`{name}` cannot be the name of a package"),
            );
        }
        host.fails(&pinned("a", "1 b"), "`1 b` cannot be the version of a package");
        let bare = Host::new(shell, &[]);
        bare.fails(&present, "no package manager that rollcall knows is here: apt, dnf, yum, zypper, apk");
    }
}

#[test]
fn dnf_and_yum_do_the_same() {
    for shell in SHELLS {
        for manager in ["dnf", "yum"] {
            let host = Host::new(shell, &[manager, "rpm"]);
            host.write("db", "c 1-1\n");
            host.write("index.new", "a 1-1\nb 2-1\nc 3-1\n");
            let refresh = if manager == "dnf" { "dnf -q makecache --refresh" } else { "yum -q makecache" };
            let line = |words: &str| format!("{manager} {words}");
            host.converges(
                &package(&["a", "c"], PackageState::Present),
                "install a\n",
                &[refresh, &line("-y install a")],
            );
            host.converges(
                &package(&["a", "b", "c"], PackageState::Latest),
                "install b\nupgrade c (was 1-1)\n",
                &[&line("-y install b"), &line("-y upgrade c")],
            );
            host.converges(&pinned("a", "0.9"), "install a 0.9 (was 1-1)\n", &[&line("-y install a-0.9")]);
            let gone = package(&["a", "b"], PackageState::Absent);
            host.converges(&gone, "remove a 0.9\nremove b 2-1\n", &[&line("-y remove a b")]);
        }
        let host = Host::new(shell, &["dnf", "rpm"]);
        host.write("db", "a 1.2-3\n");
        assert_eq!(host.run(&pinned("a", "1.2"), "act").out, "unchanged\n", "the release need not be named");
        assert_eq!(host.run(&pinned("a", "1.2-3"), "act").out, "unchanged\n");
    }
}

#[test]
fn zypper_and_apk_do_the_same() {
    for shell in SHELLS {
        let host = Host::new(shell, &["zypper", "rpm", "dnf"]);
        host.write("db", "c 1-1\n");
        host.write("index", "a 1-1\nc 3-1\n");
        let latest = package(&["a", "c"], PackageState::Latest);
        let line = "zypper --non-interactive install a c";
        host.converges(&latest, "install a\nupgrade c (was 1-1)\n", &[line]);
        let line = "zypper --non-interactive install --oldpackage a=0.9";
        host.converges(&pinned("a", "0.9"), "install a 0.9 (was 1-1)\n", &[line]);
        let gone = package(&["c"], PackageState::Absent);
        host.converges(&gone, "remove c 3-1\n", &["zypper --non-interactive remove c"]);

        let host = Host::new(shell, &["apk"]);
        host.write("db", "c 1-r0\n");
        host.write("index.new", "a 1-r0\nc 3-r1\n");
        let lines = ["apk --wait 120 update", "apk --wait 120 add a", "apk --wait 120 add --upgrade c"];
        host.write("index", "c 3-r1\n");
        host.converges(&latest, "install a\nupgrade c (was 1-r0)\n", &lines);
        host.converges(&pinned("a", "0.9"), "install a 0.9 (was 1-r0)\n", &["apk --wait 120 add a=0.9"]);
        host.converges(&gone, "remove c 3-r1\n", &["apk --wait 120 del c"]);
    }
}

/// The real dpkg and apt, with their own database, root and repository.
#[test]
fn the_real_apt_installs_from_a_repository_of_files() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for folder in
        ["repo", "etc/apt.conf.d", "etc/preferences.d", "etc/trusted.gpg.d", "cache/archives/partial"]
    {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    for folder in ["lists/partial", "tree/var/lib/dpkg/updates", "tree/var/lib/dpkg/info", "log"] {
        std::fs::create_dir_all(at(folder)).unwrap();
    }
    std::fs::write(at("tree/var/lib/dpkg/status"), "").unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let shown = dir.path().display();
    std::fs::write(at("etc/sources.list"), format!("deb [trusted=yes] file:{shown}/repo ./\n")).unwrap();
    let config = format!(
        "Dir::State \"{shown}\"; Dir::State::lists \"{shown}/lists\"; Dir::Cache \"{shown}/cache\"; Dir::Log \"{shown}/log\";\n\
         Dir::State::status \"{shown}/tree/var/lib/dpkg/status\"; Dir::Etc \"{shown}/etc\";\n\
         Dpkg::Options {{ \"--root={shown}/tree\"; \"--force-not-root\"; }};\nAPT::Sandbox::User \"\";\n"
    );
    std::fs::write(at("apt.conf"), config).unwrap();
    let apt = |body: &StepBody, mode: &str| {
        let mut command = Command::new("sh");
        command
            .args(["-c", &own(body).unwrap().call(&Step::default(), mode)])
            .env("APT_CONFIG", at("apt.conf"));
        said({
            command.env("DPKG_ADMINDIR", at("tree/var/lib/dpkg"));
            command
        })
    };
    let present = package(&["rollcall-tiny"], PackageState::Present);
    let id = Command::new("id").arg("-u").output().unwrap();
    if id.stdout == b"0\n" {
        release(dir.path(), "1.0");
        assert!(apt(&present, "dry-run").out.ends_with("install rollcall-tiny\nchanged\n"));
        let first = apt(&present, "act");
        assert!(first.status == 0 && first.out.ends_with("changed\n"), "{first:?}");
        assert_eq!(std::fs::read_to_string(at("tree/etc/tiny.conf")).unwrap(), "1.0\n");
        assert_eq!(apt(&present, "act").out, "unchanged\n");
        // A changed configuration file is kept; a newer version is found after the index was read again.
        std::fs::write(at("tree/etc/tiny.conf"), "mine\n").unwrap();
        release(dir.path(), "1.1");
        let latest = package(&["rollcall-tiny"], PackageState::Latest);
        let StepBody::Package { names, state, version, .. } = latest else { panic!() };
        let anew = apt(&StepBody::Package { names, state, version, refresh: true }, "act");
        assert!(anew.status == 0 && anew.out.ends_with("changed\n"), "{anew:?}");
        assert!(anew.out.contains("upgrade rollcall-tiny (was 1.0)\n"), "{anew:?}");
        assert_eq!(std::fs::read_to_string(at("tree/etc/tiny.conf")).unwrap(), "mine\n");
        let gone = package(&["rollcall-tiny"], PackageState::Absent);
        let removed = apt(&gone, "act");
        assert!(removed.out.starts_with("remove rollcall-tiny 1.1\n"), "{removed:?}");
        assert_eq!(apt(&gone, "act").out, "unchanged\n");
        let unknown = apt(&package(&["rollcall-none"], PackageState::Present), "act");
        assert!(unknown.err.contains("apt-get knows no package rollcall-none"), "{unknown:?}");
    } else {
        let act = apt(&present, "act");
        assert_eq!(act.err, "only root can change packages; write sudo = true to the step\n");
    }
}

/// Puts a version of a tiny package into the repository.
fn release(dir: &Path, version: &str) {
    let build = r#"set -e; cd "$1"; rm -rf tiny; mkdir -p tiny/DEBIAN tiny/etc repo
printf 'Package: rollcall-tiny\nVersion: %s\nArchitecture: all\nMaintainer: t <t@example.com>\nDescription: t\n' "$2" >tiny/DEBIAN/control
echo /etc/tiny.conf >tiny/DEBIAN/conffiles
echo "$2" >tiny/etc/tiny.conf
dpkg-deb --build --root-owner-group tiny "repo/tiny_$2.deb" >/dev/null
cd repo
{ cat ../tiny/DEBIAN/control; echo "Filename: ./tiny_$2.deb"; echo "Size: $(($(wc -c <"tiny_$2.deb")))"
echo "SHA256: $(sha256sum <"tiny_$2.deb" | cut -d' ' -f1)"; echo; } >>Packages"#;
    let status = Command::new("sh").args(["-c", build, "sh"]).arg(dir).arg(version).status().unwrap();
    assert!(status.success());
}

#[test]
fn systemd_is_told_what_differs() {
    use ServiceState::*;
    for shell in SHELLS {
        let host = Host::new(shell, &["systemctl"]);
        host.write("state", "degraded\n");
        host.write("units", "app inactive disabled\n");
        let lines = ["systemctl enable app", "systemctl start app"];
        host.converges(&service(Some(Started), Some(true)), "enable app\nstart app\n", &lines);
        for (state, printed, line) in [
            (Restarted, "restart app\n", "systemctl restart app"),
            (Reloaded, "reload app\n", "systemctl reload app"),
        ] {
            for _ in 0..2 {
                assert_eq!(
                    host.run(&service(Some(state), None), "dry-run").out,
                    format!("{printed}changed\n")
                );
                assert_eq!(host.run(&service(Some(state), None), "act").out, format!("{printed}changed\n"));
                assert_eq!(host.log(), [line], "each time anew");
            }
        }
        let lines = ["systemctl disable app", "systemctl stop app"];
        host.converges(&service(Some(Stopped), Some(false)), "disable app\nstop app\n", &lines);
        host.write("reload", "");
        let act = host.run(&service(Some(Reloaded), None), "act");
        assert_eq!(act.out, "start app\nchanged\n", "what does not run is started");
        assert_eq!(host.log(), ["systemctl daemon-reload", "systemctl start app"]);
    }
}

#[test]
fn openrc_and_sysv_are_told_what_differs() {
    use ServiceState::*;
    for shell in SHELLS {
        let host = Host::new(shell, &["rc-service", "rc-update", "service"]);
        host.write("units", "app inactive disabled\n");
        let lines = ["rc-update add app default", "rc-service app start"];
        host.converges(&service(Some(Started), Some(true)), "enable app\nstart app\n", &lines);
        let lines = ["rc-update -a del app", "rc-service app stop"];
        host.converges(&service(Some(Stopped), Some(false)), "disable app\nstop app\n", &lines);

        // A systemd that is installed but does not run is ignored.
        let host = Host::new(shell, &["systemctl", "service", "update-rc.d"]);
        host.write("units", "app inactive disabled\n");
        let lines = ["update-rc.d app defaults", "update-rc.d app enable", "service app start"];
        host.converges(&service(Some(Started), Some(true)), "enable app\nstart app\n", &lines);
        let lines = ["update-rc.d app disable", "service app stop"];
        host.converges(&service(Some(Stopped), Some(false)), "disable app\nstop app\n", &lines);
        assert_eq!(host.run(&service(Some(Restarted), None), "act").out, "restart app\nchanged\n");
        assert_eq!(host.log(), ["service app restart"]);
    }
}

#[test]
fn a_failed_service_is_reported_with_where_to_look() {
    let started = service(Some(ServiceState::Started), None);
    for shell in SHELLS {
        let bare = Host::new(shell, &[]);
        bare.fails(&started, "no init system runs here (systemd, OpenRC or SysV; is it a container?)");
        let offline = Host::new(shell, &["systemctl"]);
        offline.fails(&started, "no init system runs here");
        for (programs, look) in [
            (&["systemctl"][..], "systemctl list-unit-files"),
            (&["rc-service", "rc-update"], "rc-service --list"),
            (&["service"], "service --status-all"),
        ] {
            let host = Host::new(shell, programs);
            host.write("state", "running\n");
            host.fails(&started, &format!("no service is called app; try: {look}"));
            let dry = host.run(&started, "dry-run");
            assert_eq!(dry.status, 1, "a dry run says so, too: {dry:?}");
        }
        let host = Host::new(shell, &["systemctl"]);
        host.write("state", "running\n");
        host.write("units", "app inactive masked\n");
        host.fails(&started, "app is masked; if it is to run: systemctl unmask app");
        host.write("units", "app inactive static\n");
        host.fails(&service(None, Some(true)), "app cannot be enabled: systemd says it is static");
        host.write("broken", "");
        host.fails(&started, "app: start failed; look: systemctl status app; journalctl -u app");
        let odd =
            StepBody::Service { name: "--now".into(), state: Some(ServiceState::Started), enabled: None };
        host.fails(&odd, "`--now` cannot be the name of a service");
    }
}
