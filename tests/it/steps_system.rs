//! Steps about the system, on a real sshd: packages, services, restarts, waits, checks, scripts, sudo with a password.

use std::path::Path;
use std::time::Duration;

use crate::language::{last, site};
use crate::outcomes::{ended, ports_of, work, work_on};
use crate::support::site::Site;
use crate::support::{DEADLINE, account, eventually, read, write};

use rollcall::domain::base::outcome::Outcome;
use rollcall::domain::run::event::EventKind;
use rollcall::domain::run::rollout::Effect;
use rollcall::domain::task::task::Hook;

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// Puts the programs that stand in for the system's into `bin` of the first host.
fn fake_system(site: &Site, programs: &[&str]) {
    use std::os::unix::fs::PermissionsExt;
    let dir = &site.hosts[0].dir.join("fake");
    for program in programs {
        let path = dir.join("bin").join(program);
        write(&path, include_str!("../../src/steps/sh/fake_system.sh"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for file in ["db", "index", "units", "log"] {
        write(&dir.join(file), "");
        crate::support::open_to_all(&dir.join(file));
    }
    crate::support::open_to_all(dir);
}

const SYSTEM: &str = r#"
[[steps]]
name = "packages"
package = { name = ["a", "b"] }
env = { PATH = "{{ root }}/fake/bin:/usr/bin:/bin", FAKE = "{{ root }}/fake" }
notify = "restart"
[[steps]]
name = "service"
service = { name = "app", state = "started", enabled = true }
env = { PATH = "{{ root }}/fake/bin:/usr/bin:/bin", FAKE = "{{ root }}/fake" }
[[handlers]]
name = "restart"
service = { name = "app", state = "restarted" }
env = { PATH = "{{ root }}/fake/bin:/usr/bin:/bin", FAKE = "{{ root }}/fake" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn packages_and_services_are_looked_at_changed_and_left_alone() {
    let site = site(1, &[("system", SYSTEM)]).await;
    fake_system(&site, &["apt-get", "apt-cache", "dpkg-query", "systemctl", "id"]);
    let at = |name: &str| site.hosts[0].dir.join("fake").join(name);
    write(&at("index"), "a 1\nb 2\n");
    write(&at("units"), "app inactive disabled\n");
    write(&at("state"), "running\n");
    let look = site.ask("plan --diff system web01").await.expect(0);
    for words in
        ["packages: would change: web01\n    install a\n    install b\n", "    enable app\n    start app\n"]
    {
        assert!(look.out.contains(words), "{look:#?}");
    }
    assert_eq!(read(&at("log")), "");
    let first = site.ask("system web01").await.expect(0);
    assert!(last(&first, "web01", "packages").starts_with("packages: ok"), "{first:#?}");
    assert!(last(&first, "web01", "service").starts_with("service: ok"), "{first:#?}");
    assert!(last(&first, "web01", "restart").starts_with("restart: ok"), "{first:#?}");
    let log = read(&at("log"));
    assert!(log.ends_with("systemctl enable app\nsystemctl start app\nsystemctl restart app\n"), "{log}");
    let again = site.ask("system web01").await.expect(0);
    assert_eq!(last(&again, "web01", "packages"), "packages: unchanged");
    assert_eq!(last(&again, "web01", "service"), "service: unchanged");
    assert_eq!(read(&at("log")), log);
    write(&at("units"), "");
    let failed = site.ask("system web01").await.expect(2);
    let why = "service: FAILED: exit status 1: no service is called app; try: systemctl list-unit-files";
    assert_eq!(last(&failed, "web01", "service"), why);
}

const RESTART: &str = r#"
params.command = { default = "echo x >>reboots; touch no-entry" }
[[steps]]
name = "restart"
reboot = { command = "{{ command | script }}", boot_id = "cat boot" }
in = "{{ root }}"
[[steps]]
name = "after it"
run = "cp boot seen"
in = "{{ root }}"
"#;

/// The host goes down: nobody gets in, and who is in is cut off.
async fn goes_down(site: &Site) {
    let host = &site.hosts[0];
    eventually("the host was told to restart", async || host.dir.join("no-entry").exists()).await;
    host.sshd.cut();
}

fn comes_back(site: &Site, boot: &str) {
    let dir = &site.hosts[0].dir;
    write(&dir.join("boot"), boot);
    std::fs::remove_file(dir.join("no-entry")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_is_restarted_once_and_the_next_step_waits_for_another_boot() {
    let short = RESTART.replace(
        "in = \"{{ root }}\"\n[[steps]]\nname = \"after",
        "timeout = \"2s\"\nin = \"{{ root }}\"\n[[steps]]\nname = \"after",
    );
    let site = site(1, &[("restart", RESTART), ("short", &short)]).await;
    let at = |name: &str| site.hosts[0].dir.join(name);
    write(&at("boot"), "1\n");
    let look = site.ask("restart web01 --check").await.expect(0);
    assert!(look.out.contains("restart: would change: web01\n"), "{look:#?}");
    let (answer, ()) = tokio::join!(site.ask("restart web01"), async {
        goes_down(&site).await;
        comes_back(&site, "2\n");
    });
    let answer = answer.expect(0);
    assert!(last(&answer, "web01", "restart").starts_with("restart: ok"), "{answer:#?}");
    assert_eq!((lines(&at("reboots")), read(&at("seen")).as_str()), (1, "2\n"));

    let same = site.ask("short web01 command=true").await.expect(2);
    let why =
        "restart: FAILED: still the same boot 2.0s after it was asked to restart; look at what holds it up";
    assert!(last(&same, "web01", "restart").starts_with(why), "{same:#?}");
    let refused = site.ask("restart web01 command='echo not now >&2; exit 3'").await.expect(2);
    let why = "restart: FAILED: the host was not restarted: exit status 3: not now";
    assert_eq!(last(&refused, "web01", "restart"), why);
    let (gone, ()) = tokio::join!(site.ask("short web01"), goes_down(&site));
    let why = "did not come back within 2.0s: ";
    assert!(last(&gone.expect(3), "web01", "restart").contains(why));
    std::fs::remove_file(at("no-entry")).unwrap();
    std::fs::remove_file(at("boot")).unwrap();
    let blind = site.ask("restart web01").await.expect(2);
    assert!(last(&blind, "web01", "restart").contains("`boot_id` failed: it has to print"), "{blind:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_was_begun_is_not_begun_again_by_a_rollcall_that_comes_back() {
    let site = site(1, &[("restart", RESTART)]).await;
    let at = |name: &str| site.hosts[0].dir.join(name);
    write(&at("boot"), "1\n");
    let begun = tokio::spawn(work(&site, Some("restart"), 0).perform());
    goes_down(&site).await;
    begun.abort();
    let resumed = work(&site, Some("restart"), 0).resuming(Duration::from_secs(1)).perform();
    let (outcome, ()) = tokio::join!(resumed, async { comes_back(&site, "2\n") });
    assert_eq!(ended(outcome).0, Outcome::Ok);
    assert_eq!(lines(&at("reboots")), 1);
    // The same after it is back.
    let again = work(&site, Some("restart"), 0).perform().await;
    assert_eq!((ended(again).0, lines(&at("reboots"))), (Outcome::Ok, 1));
}

const WAIT: &str = r#"
[[steps]]
name = "command"
wait_for = { command = "echo x >>looks; test -e go", interval = "10ms" }
in = "{{ root }}"
[[steps]]
name = "path"
wait_for = { path = "{{ root }}/go" }
[[steps]]
name = "gone"
wait_for = { path = "{{ root }}/down", state = "absent" }
[[steps]]
name = "port"
wait_for = { port = "{{ app_port }}" }
[[steps]]
name = "http"
wait_for = { http = { port = "{{ app_port }}", path = "/health", body_contains = "1.0.0" } }
"#;

const IN_VAIN: &str = r#"
params.step = {}
[[steps]]
name = "path"
wait_for = { path = "{{ root }}/never", interval = "10ms" }
timeout = "100ms"
when = "step == 'path'"
[[steps]]
name = "gone"
wait_for = { port = "{{ app_port }}", state = "absent", interval = "10ms" }
timeout = "100ms"
when = "step == 'gone'"
[[steps]]
name = "http"
wait_for = { http = { port = "{{ app_port }}", path = "/health", body_contains = "9.9.9" }, interval = "10ms" }
timeout = "100ms"
when = "step == 'http'"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_is_over_when_it_is_so_and_fails_with_what_was_seen_last() {
    let site = site(1, &[("wait", WAIT), ("vain", IN_VAIN)]).await;
    let at = |name: &str| site.hosts[0].dir.join(name);
    let look = site.ask("wait web01 --check").await.expect(0);
    let told = "command: not known beforehand (it would wait: the command fails: exit status 1): web01\n";
    assert!(look.out.contains(told), "{look:#?}");
    std::fs::remove_file(at("looks")).unwrap();
    let (answer, ()) = tokio::join!(site.ask("wait web01"), async {
        eventually("it looks again", async || lines(&at("looks")) > 2).await;
        write(&at("go"), "");
    });
    let answer = answer.expect(0);
    for step in ["command", "path", "gone", "port", "http"] {
        assert_eq!(last(&answer, "web01", step), format!("{step}: unchanged"), "a wait changes nothing");
    }
    for (step, why) in [
        ("path", "never is not there"),
        ("gone", "still there: port "),
        ("http", "wanted it to contain \"9.9.9\""),
    ] {
        let failed = site.ask(&format!("vain web01 step={step}")).await.expect(2);
        let told = last(&failed, "web01", step);
        assert!(told.starts_with(&format!("{step}: FAILED: waited for 100ms (timeout) in vain: ")), "{told}");
        assert!(told.contains(why), "{told}");
    }
}

const CHECKED: &str = r#"
params.version = { default = "1.0.0" }
[[steps]]
name = "look"
check = "answers"
register = "seen"
[[steps]]
name = "tell"
run = "echo {{ seen.stdout }} >told"
in = "{{ root }}"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_check_as_a_step_has_to_pass_and_says_what_it_saw() {
    let site = site(1, &[("checked", CHECKED)]).await;
    let good = site.ask("checked web01").await.expect(0);
    assert_eq!(last(&good, "web01", "look"), "look: unchanged");
    assert_eq!(read(&site.hosts[0].dir.join("told")), "check http/answers: ok: HTTP status 200\n");
    let bad = site.ask("checked web01 version=2.0.0").await.expect(2);
    let told = last(&bad, "web01", "look");
    assert!(told.starts_with("look: FAILED: check http/answers: critical: body is "), "{told}");
    let look = site.ask("checked web01 version=2.0.0 --check").await.expect(0);
    assert!(
        look.out.contains("look: not known beforehand (now it says: check http/answers: critical: "),
        "{look:#?}"
    );
}

const REST: &str = "[[steps]]\nname = \"rest\"\npause = \"1h\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_lasts_for_what_is_left_and_is_ended_by_a_cancel() {
    let site = site(1, &[("rest", REST)]).await;
    let almost = Duration::from_secs(3600);
    let rested = tokio::time::timeout(DEADLINE, work(&site, Some("rest"), 0).resuming(almost).perform());
    assert_eq!(ended(rested.await.expect("there is nothing left of it")).0, Outcome::Unchanged);
    let run = site.ssh("ann", "rest web01").spawn().unwrap();
    eventually("the run is there", async || site.ask("show 1").await.status == 0).await;
    site.ask("cancel 1 --now").await.expect(0);
    let answer = tokio::time::timeout(DEADLINE, run.wait_with_output()).await.expect("an end").unwrap();
    assert_eq!(answer.status.code(), Some(6), "{}", String::from_utf8_lossy(&answer.stdout));
}

const CONFIRM: &str = r#"
[[steps]]
name = "before"
run = "echo before >>log"
in = "{{ root }}"
[[steps]]
name = "sure"
confirm = "really {{ host.name }}?"
[[steps]]
name = "after"
run = "echo after >>log"
in = "{{ root }}"
"#;

async fn until_it_asks(site: &Site, run: u64) {
    let asks = async || site.ask(&format!("show {run}")).await.out.contains("really web01?");
    eventually("it asks", asks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirm_waits_for_an_operator_and_a_cancel_ends_it() {
    let site = site(1, &[("sure", CONFIRM)]).await;
    let log = site.hosts[0].dir.join("log");
    let (answer, ()) = tokio::join!(site.ask("sure web01"), async {
        until_it_asks(&site, 1).await;
        assert_eq!(read(&log), "before\n");
        site.ask("approve 1").await.expect(0);
    });
    let answer = answer.expect(0);
    assert!(answer.out.contains("to go on: approve 1"), "{answer:#?}");
    assert_eq!(read(&log), "before\nafter\n");
    let (cancelled, ()) = tokio::join!(site.ask("sure web01"), async {
        until_it_asks(&site, 2).await;
        site.ask("cancel 2").await.expect(0);
    });
    let cancelled = cancelled.expect(6);
    assert!(cancelled.out.contains("failed  1  web01  cancelled by ann\n"), "{cancelled:#?}");
    assert_eq!(read(&log), "before\nafter\nbefore\n");
}

const SCRIPT: &str = r#"
params.interpreter = { default = "perl" }
params.code = { default = "0" }
[[steps]]
name = "perl"
script = { from = "tell.pl", interpreter = "{{ interpreter }}", args = ["it's {{ host.name }}", "two words", "{{ code }}"] }
in = "{{ root }}"
env = { COLOUR = "dark red" }
[[steps]]
name = "template"
script = { from = "tell.sh", template = true }
in = "{{ root }}"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_sent_run_once_by_its_interpreter_and_removed() {
    let site = site(1, &[]).await;
    let perl = "print STDOUT \"$ENV{COLOUR}|\", join('|', @ARGV), \"\\n\"; open F, '>>', 'ran'; print F \"x\\n\"; exit $ARGV[2];\n";
    write(&site.config.join("files/tell.pl"), perl);
    write(&site.config.join("files/tell.sh"), "echo {{ host.name }} >told; echo \"$0\" >where\n");
    write(&site.config.join("tasks/tell.toml"), SCRIPT);
    site.ask("reload").await.expect(0);
    let dir = &site.hosts[0].dir;
    let answer = site.ask("tell web01").await.expect(0);
    assert!(last(&answer, "web01", "perl").starts_with("perl: ok"), "{answer:#?}");
    let story = site.ask("show 1 --host web01").await.expect(0).out;
    assert!(story.contains("dark red|it's web01|two words|0\n"), "{story}");
    assert_eq!((lines(&dir.join("ran")), read(&dir.join("told")).as_str()), (1, "web01\n"));
    let place = read(&dir.join("where"));
    assert!(place.starts_with(&dir.display().to_string()) && place.ends_with(".script/script\n"), "{place}");
    assert!(!Path::new(place.trim()).parent().unwrap().exists(), "{place} is left behind");
    let failed = site.ask("tell web01 code=3").await.expect(2);
    assert!(last(&failed, "web01", "perl").starts_with("perl: FAILED: exit status 3"), "{failed:#?}");
    let none = site.ask("tell web01 interpreter=befunge").await.expect(2);
    let why = "perl: FAILED: exit status 127: befunge is not on the host, or not in its PATH";
    assert!(last(&none, "web01", "perl").starts_with(why), "{none:#?}");
    write(&site.config.join("files/tell.sh"), "mkdir -p X\r\nif true; then :\r\nfi\r\n");
    let windows = site.ask("tell web01").await.expect(2);
    assert!(windows.out.contains("the lines of the script end with a carriage return"), "{windows:#?}");
    assert!(!dir.join("X\r").exists(), "nothing of it was run");
    let look = site.ask("tell web01 --check").await.expect(0);
    assert!(look.out.contains("perl: not known beforehand (what a command does"), "{look:#?}");
}

/// Tasks by whom they act as, and whether they bring a password.
fn as_somebody(user: &str, password: Option<&str>) -> String {
    let sudo = match password {
        Some(_) => format!("sudo = {{ user = \"{user}\", password = \"{{{{ pass }}}}\" }}\n"),
        None => format!("sudo = \"{user}\"\n"),
    };
    let pass = password.unwrap_or("none");
    format!(
        "vars.pass = {{ value = \"{pass}\", secret = true }}\n[[steps]]\nname = \"run\"\nrun = \"echo run as $(id -un)\"\n{sudo}\
         [[steps]]\nname = \"script\"\nscript = {{ from = \"who.sh\" }}\n{sudo}\
         [[steps]]\nname = \"line\"\nline = {{ path = \"{{{{ root }}}}/of-{user}\", line = \"x\", create = true }}\n{sudo}\
         [[steps]]\nname = \"wait\"\nwait_for = {{ command = \"test $(id -un) = {user}\" }}\n{sudo}"
    )
}

/// What the real sudo is told for the time of a test. It never lets the account become root.
struct Sudoers(&'static str);

impl Sudoers {
    const FILE: &str = "/etc/sudoers.d/rollcall-test";

    fn set(password: &str) -> Sudoers {
        let account = account();
        let rules = format!("{account} ALL=(nobody) NOPASSWD: ALL\n{account} ALL=(daemon) PASSWD: ALL\n");
        write(Path::new(Sudoers::FILE), &rules);
        let line = format!("{account}:{password}\n");
        shell(&format!("chmod 440 {}; chpasswd", Sudoers::FILE), &line);
        Sudoers(Sudoers::FILE)
    }
}

impl Drop for Sudoers {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.0);
        shell(&format!("usermod --password '*' {}", account()), "");
    }
}

fn shell(script: &str, input: &str) {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut child = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success(), "{script}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sudo_takes_its_password_from_a_secret_and_says_what_it_lacks() {
    let password = read(Path::new("/proc/sys/kernel/random/uuid")).trim().to_string();
    let tasks = [
        ("free", as_somebody("nobody", None)),
        ("right", as_somebody("daemon", Some(&password))),
        ("lacking", as_somebody("daemon", None)),
        ("wrong", as_somebody("daemon", Some("not it, surely"))),
        ("forbidden", as_somebody("bin", Some(&password))),
    ];
    let tasks: Vec<(&str, &str)> = tasks.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let site = site(1, &[]).await;
    for (name, text) in tasks {
        write(&site.config.join(format!("tasks/{name}.toml")), text);
    }
    write(&site.config.join("files/who.sh"), "echo \"script as $(id -un)\"; ! read -r _\n");
    site.ask("reload").await.expect(0);
    let why = async |task: &str| site.ask(&format!("{task} web01")).await.expect(2).out;
    if account() != "rollcall-test" {
        // Whoever is not root cannot say what sudo allows. What nobody may do is told all the same.
        assert!(why("forbidden").await.contains("run: FAILED: exit status 1"));
        return;
    }
    let sudoers = Sudoers::set(&password);
    for (run, task, user) in [(1, "free", "nobody"), (2, "right", "daemon")] {
        let answer = site.ask(&format!("{task} web01")).await.expect(0);
        assert_eq!(last(&answer, "web01", "wait"), "wait: unchanged");
        assert!(last(&answer, "web01", "line").starts_with("line: ok"), "{answer:#?}");
        assert_eq!(read(&site.hosts[0].dir.join(format!("of-{user}"))), "x\n");
        let story = site.ask(&format!("show {run} --host web01")).await.expect(0).out;
        assert!(story.contains(&format!("run as {user}\n")), "{story}");
        assert!(story.contains(&format!("script as {user}\n")), "{story}");
        assert!(!story.contains(&password), "{story}");
    }
    for (task, words) in [
        ("lacking", "run: FAILED: exit status 1: sudo: a password is required; sudo wants a password; try: "),
        ("wrong", "sudo does not take the password; try: the right secret for `password`"),
        ("forbidden", "the login has no right to this; try on the host: sudo -l"),
    ] {
        let told = why(task).await;
        assert!(told.contains(words), "{task}: {told}");
        assert!(!told.contains(&password), "{told}");
    }
    drop(sudoers);
    let place = site.ports().hosts.site;
    shell(&format!("rm -rf /var/tmp/rollcall-*-{place}"), "");
}

const LOCAL: &str = r#"
[[steps]]
name = "tell"
local = "env | grep ^ROLLCALL_ | sort >{{ told }}/{{ host.name }}; echo heard; pwd"
register = "told_here"
[[steps]]
name = "link"
link = { from = "{{ host.name }}", at = "{{ told }}/link" }
on = "local"
run_once = true
[[steps]]
name = "port"
wait_for = { port = "{{ app_port }}" }
on = "local"
[[steps]]
name = "there"
run = "echo {{ told_here.lines[0] }} >heard"
in = "{{ root }}"
[[steps]]
name = "fails"
local = "echo no such thing >&2; exit 3"
when = "fail == 'yes'"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_done_on_the_machine_of_rollcall_where_that_is_allowed() {
    let site = site(2, &[]).await;
    let told = site.dir.path().join("told");
    std::fs::create_dir(&told).unwrap();
    let task = format!("params.fail = {{ default = \"no\" }}\nvars.told = \"{}\"\n{LOCAL}", told.display());
    write(&site.config.join("tasks/here.toml"), &task);
    let refused = site.ask("reload").await;
    assert_eq!(
        refused.err.matches("steps on the machine of rollcall are not allowed").count(),
        4,
        "{refused:#?}"
    );
    assert!(refused.err.contains("write allow_local = true in rollcall.toml"), "{refused:#?}");
    let settings = site.config.join("rollcall.toml");
    write(&settings, &format!("allow_local = true\n{}", read(&settings)));
    site.ask("reload").await.expect(0);
    let plan = site.ask("plan here web01").await.expect(0);
    assert!(plan.out.contains("(on local)"), "{plan:#?}");
    let answer = site.ask("here prod.web").await.expect(0);
    assert!(last(&answer, "web01", "tell").starts_with("tell on local: ok"), "{answer:#?}");
    assert_eq!(
        read(&told.join("web02")),
        "ROLLCALL_BY=ann\nROLLCALL_HOST=web02\nROLLCALL_HOSTS=web[01-02]\nROLLCALL_RUN=1\nROLLCALL_TASK=here\n"
    );
    assert!(told.join("link").is_symlink());
    assert_eq!(read(&site.hosts[1].dir.join("heard")), "heard\n");
    let failed = site.ask("here web01 fail=yes").await.expect(2);
    let why = "fails on local: FAILED: exit status 3: no such thing";
    assert_eq!(last(&failed, "web01", "fails"), why);
    let rules = site.dir.path().join("state/rollcall");
    assert!(rules.is_dir(), "what is kept of them is beside the store");
}

/// Everything that `docs/steps-system.md` shows, as one task each.
#[test]
fn what_the_docs_show_of_steps_is_a_configuration_without_a_mistake() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    write(&at("rollcall.toml"), "allow_local = true\n");
    write(&at("hosts/p.toml"), "[w]\nhosts = \"w1\"\n");
    write(&at("files/migrate.py"), "");
    write(&at("secret"), "correct horse\n");
    let text = include_str!("../../docs/steps-system.md");
    let shown: Vec<&str> =
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(shown.len(), 9);
    for (number, task) in shown.iter().enumerate() {
        let task = task.replace("/etc/rollcall/secrets/sudo", &at("secret").display().to_string());
        write(&at(&format!("tasks/t{number}.toml")), &task);
    }
    if let Err(wrong) = rollcall::config::load(root.path()) {
        panic!("{wrong}");
    }
}

const HOOKED: &str = r#"
[params]
fail = { default = "no" }
word = { default = "hello" }
[vars]
token = { value = "s3cret-of-the-hook", secret = true }
[[steps]]
name = "work"
run = "test {{ fail }} != hosts && echo work >>{{ log }}"
[[hooks.before]]
name = "announce"
run = "test {{ fail }} != before && echo {{ word }} $ROLLCALL_TASK $ROLLCALL_HOSTS $ROLLCALL_BY ${ROLLCALL_OUTCOME-none} >>{{ log }}"
[[hooks.after]]
name = "tell"
run = "echo after $ROLLCALL_OUTCOME >>{{ log }}; test {{ fail }} != after"
[[hooks.on_failure]]
name = "alarm"
run = "echo alarm $ROLLCALL_OUTCOME >>{{ log }}"
[[hooks.finally]]
name = "clean"
run = "echo finally $ROLLCALL_OUTCOME {{ token }} | sed 's/s3cret-of/a secret of/' >>{{ log }}; echo {{ token }}"
[[hooks.finally]]
name = "link"
link = { from = "x", at = "{{ log }}.link" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_once_for_the_whole_run_on_the_machine_of_rollcall() {
    let site = site(2, &[]).await;
    let log = site.dir.path().join("hook.log");
    write(&log, "");
    std::fs::set_permissions(&log, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let task = HOOKED.replace("{{ log }}", &log.display().to_string());
    write(&site.config.join("tasks/hooked.toml"), &task);
    let refused = site.ask("reload").await;
    assert_eq!(
        refused.err.matches("steps on the machine of rollcall are not allowed").count(),
        4,
        "{refused:#?}"
    );
    let settings = site.config.join("rollcall.toml");
    write(&settings, &format!("allow_local = true\n{}", read(&settings)));
    site.ask("reload").await.expect(0);
    let plan = site.ask("plan hooked prod.web").await.expect(0).out;
    assert!(plan.contains("hook before, before all of it:\n  announce: run test no != before"), "{plan}");
    let told = || std::mem::take(&mut read(&log)).replace("work\nwork\n", "work work\n");
    let good = site.ask("hooked prod.web").await.expect(0);
    let head = "hello hooked web[01-02] ann none\n";
    assert_eq!(told(), format!("{head}work work\nafter done\nfinally done a secret of-the-hook\n"));
    assert!(good.out.contains("hook before: announce: ok"), "{good:#?}");
    assert!(site.dir.path().join("hook.log.link").is_symlink());
    assert!(!good.out.contains("s3cret"), "{good:#?}");
    for (fail, status, wanted) in [
        ("before", 2, "alarm failed\nfinally failed a secret of-the-hook\n".to_string()),
        ("hosts", 2, format!("{head}alarm failed\nfinally failed a secret of-the-hook\n")),
        ("after", 2, format!("{head}work work\nafter done\nfinally failed a secret of-the-hook\n")),
    ] {
        write(&log, "");
        let answer = site.ask(&format!("hooked prod.web fail={fail}")).await.expect(status);
        assert_eq!(told(), wanted, "{fail}: {answer:#?}");
    }
    let look = site.ask("hooked prod.web --check").await.expect(0);
    assert!(!look.out.contains("hook "), "{look:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_was_begun_is_asked_for_and_not_begun_again() {
    let site = site(1, &[]).await;
    let settings = site.config.join("rollcall.toml");
    write(&settings, &format!("allow_local = true\n{}", read(&settings)));
    let begun = site.dir.path().join("begun");
    let hook = format!("[[hooks.after]]\nname = \"h\"\nrun = \"echo x >>{}; exit 3\"\n", begun.display());
    write(&site.config.join("tasks/t.toml"), &format!("[[steps]]\nname = \"s\"\nrun = \"true\"\n{hook}"));
    site.ask("reload").await.expect(0);
    let work = || {
        let effect = Effect::Hook { hook: Hook::After, step: 0 };
        work_on(&ports_of(&site), &site, Some("t"), effect)
    };
    let outcome = |event: EventKind| {
        let EventKind::HookEnded { outcome, .. } = event else { panic!("{event:?}") };
        outcome
    };
    let first = outcome(work().perform().await);
    assert!(matches!(first, Outcome::Failed { code: Some(3), .. }), "{first:?}");
    assert_eq!(outcome(work().resuming(Duration::from_secs(1)).perform().await), first);
    assert_eq!(outcome(work().perform().await), first);
    assert_eq!(lines(&begun), 1);
}

#[test]
fn what_no_hook_can_be_is_told() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    write(&at("rollcall.toml"), "allow_local = true\n");
    write(&at("hosts/p.toml"), "[w]\nhosts = \"w1\"\n[w.vars]\nport = 80\n");
    let task = "[[steps]]\nname = \"s\"\nrun = \"true\"\n[[hooks.before]]\nname = \"h\"\nrun = \"echo {{ port }}\"\nretries = 3\n\
                [[hooks.finally]]\nname = \"f\"\nconfirm = \"sure?\"\n[hooks.later]\n";
    write(&at("tasks/t.toml"), task);
    let wrong = rollcall::config::load(root.path()).unwrap_err().to_string();
    for words in ["`retries` does not go with hooks", "`confirm` cannot be a hook", "`later`", "`port`"] {
        assert!(wrong.contains(words), "{words}: {wrong}");
    }
}
