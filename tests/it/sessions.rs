//! What hosts make of rollcall's sessions: how many they allow, what a login prints before the command, what it runs instead
//! of it, and what a list of processes shows of it.

use std::process::{Child, Command, Stdio};

use crate::support::site::{Answer, Site};
use crate::support::sshd::Sshd;
use crate::support::{give_to_account, read, write};

/// A host `odd1` of the group `odd`, whose sshd has further lines; its checks and its task `work`.
async fn site_with(sshd: &str, checks: &str, task: &str) -> (Site, Sshd) {
    let mut site = Site::without_daemon(1).await;
    let odd = add_host(&site, sshd, checks, task).await;
    site.start_daemon().await;
    (site, odd)
}

async fn add_host(site: &Site, sshd: &str, checks: &str, task: &str) -> Sshd {
    let dir = site.dir.path().join("odd1");
    let odd = Sshd::start_with(&dir, &site.dir.path().join("fleet.pub"), sshd).await;
    let root = dir.join("root");
    std::fs::create_dir(&root).unwrap();
    give_to_account(&root);
    let known = site.dir.path().join("state/known_hosts");
    write(&known, &(read(&known) + &odd.known_hosts_line()));
    let inventory = format!(
        "[odd]\nchecks = [\"odd\"]\n[odd.hosts]\nodd1 = {{ address = \"127.0.0.1\", port = {}, root = \"{}\" }}\n",
        odd.address.port(),
        root.display()
    );
    write(&site.config.join("hosts/odd.toml"), &inventory);
    write(&site.config.join("checks/odd.toml"), checks);
    write(&site.config.join("tasks/work.toml"), task);
    odd
}

fn many_checks(count: usize) -> String {
    (0..count).map(|number| format!("[[check]]\nname = \"c{number}\"\nrun = \"true\"\n")).collect()
}

/// Steps of different kinds: through the wrapper, with a guard, by scripts of rollcall's.
const WORK: &str = r#"
[[steps]]
name = "run"
run = "echo done >made"
creates = "made"
in = "{{ root }}"
[[steps]]
name = "directory"
directory = { path = "{{ root }}/d" }
[[steps]]
name = "wait"
wait_for = { path = "{{ root }}/made" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_allows_few_sessions_answers_everything() {
    for limit in ["", "MaxSessions 1\n", "MaxSessions 2\n", "MaxSessions 3\n"] {
        let (site, _odd) = site_with(limit, &many_checks(26), WORK).await;
        for _ in 0..3 {
            let (checks, again) = tokio::join!(site.ask("check odd"), site.ask("check odd"));
            for answer in [checks, again] {
                let answer = answer.expect(0);
                assert!(!answer.out.contains("unknown"), "{limit:?}: {answer:#?}");
            }
        }
        let (work, checks) = tokio::join!(site.ask("work odd"), site.ask("check odd"));
        work.expect(0);
        checks.expect(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_ended_leaves_room_for_others() {
    let stuck = "[[check]]\nname = \"stuck\"\ntimeout = \"1s\"\nrun = \"trap '' TERM HUP; sleep 60 & wait; sleep 60\"\n";
    let (site, _odd) = site_with("MaxSessions 1\n", &(many_checks(3) + stuck), WORK).await;
    let answer = site.ask("check odd").await.expect(3);
    assert!(line_of(&answer, "stuck").starts_with("unknown"), "{answer:#?}");
    for check in ["c0", "c1", "c2"] {
        assert!(line_of(&answer, check).starts_with("ok"), "{check}: {answer:#?}");
    }
    site.ask("work odd").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_allows_no_session_is_unknown_with_the_reason() {
    let (site, _odd) = site_with("MaxSessions 0\n", &many_checks(1), WORK).await;
    let checks = site.ask("check odd").await.expect(3);
    assert!(
        checks.out.contains("it opens no session (") && checks.out.contains("try: MaxSessions 1 or more"),
        "{checks:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_runs_something_else_proves_nothing() {
    for (forced, printed) in [
        ("ForceCommand echo 'only git here'\n", "exit status 0, and printed: only git here;"),
        ("ForceCommand exit 0\n", "exit status 0;"),
        ("ForceCommand echo 'This account is currently not available.' >&2; exit 1\n", "not available.;"),
    ] {
        let checks = "[[check]]\nname = \"c\"\nrun = \"true\"\n[[check]]\nname = \"m\"\nmetric = \"echo 1\"\ncritical = \"5\"\n\
                      [[check]]\nname = \"d\"\ndisk = { path = \"/\" }\ncritical = \"100\"\n";
        let (site, _odd) = site_with(forced, checks, WORK).await;
        let answer = site.ask("check odd").await.expect(3);
        for line in answer.out.lines().filter(|line| line.contains("odd1")) {
            assert!(line.starts_with("unknown"), "{answer:#?}");
            assert!(
                line.contains("the login did not run rollcall's command: something else ended"),
                "{answer:#?}"
            );
            assert!(line.contains(printed), "{answer:#?}");
        }
        let work = site.ask("work odd").await;
        assert!(work.status != 0 && work.out.contains("did not run rollcall's command"), "{work:#?}");
        let run = site.ask("run odd -- true").await;
        assert!(run.status != 0 && run.err.contains("did not run rollcall's command"), "{run:#?}");
    }
}

/// What a login says before every command.
const CHATTY: &str = "ForceCommand echo You have 3 new mails; echo 0; echo '{}'; printf 'no end of line'; printf 'oops' >&2; \
                      exec sh -c \"$SSH_ORIGINAL_COMMAND\"\n";

const CHATTY_CHECKS: &str = r#"
[[check]]
name = "metric"
metric = "echo 7"
critical = "7:"
[[check]]
name = "says"
run = "echo ready"
[[check]]
name = "plugin"
plugin = "echo 'OK - fine | a=1'"
"#;

const CHATTY_TASK: &str = r#"
[[steps]]
name = "file"
run = "printf 'a=1\n' >conf"
in = "{{ root }}"
creates = "conf"
[[steps]]
name = "line"
line = { path = "{{ root }}/conf", matches = '^a=', line = "a=2" }
[[steps]]
name = "block"
block = { path = "{{ root }}/conf", text = "b = 1" }
[[steps]]
name = "ask"
run = "echo yes"
register = "answer"
[[steps]]
name = "only if"
run = "touch asked"
in = "{{ root }}"
when = "answer.stdout == 'yes'"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_login_prints_is_no_answer() {
    let (site, _odd) = site_with(CHATTY, CHATTY_CHECKS, CHATTY_TASK).await;
    let answer = site.ask("check odd").await.expect(0);
    assert!(answer.out.contains('7') && !answer.out.contains("new mails"), "{answer:#?}");
    site.ask("work odd").await.expect(0);
    let root = site.dir.path().join("odd1/root");
    assert_eq!(read(&root.join("conf")), "a=2\n# BEGIN rollcall\nb = 1\n# END rollcall\n");
    assert!(root.join("asked").exists(), "`register` has the output of the step alone");
    let run = site.ask("run odd -- echo hello").await.expect(0);
    assert!(run.out.contains("hello") && !run.out.contains("mails"), "{run:#?}");
}

/// A process of this test with a name that no other one has.
struct Worker(Child);

impl Worker {
    fn name() -> String {
        format!("worker{}x{}", std::process::id(), rand::random::<u32>())
    }

    fn start(name: &str) -> Worker {
        let script = "while :; do sleep 1; done";
        let child =
            Command::new("sh").args(["-c", script, name]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Worker(child.unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn line_of<'a>(answer: &'a Answer, check: &str) -> &'a str {
    answer
        .out
        .lines()
        .find(|line| line.contains(&format!("odd/{check}")))
        .unwrap_or_else(|| panic!("{answer:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_does_not_find_itself() {
    let name = Worker::name();
    let checks = format!(
        "[[check]]\nname = \"run\"\nrun = \"pgrep -f {name}\"\n\
         [[check]]\nname = \"list\"\nrun = \"ps -ef | grep -v grep | grep -q {name}\"\n\
         [[check]]\nname = \"metric\"\nmetric = \"pgrep -fc {name} || true\"\ncritical = \"1:\"\n\
         [[check]]\nname = \"process\"\nprocess = {{ name = \"sh\", args = \"{name}\" }}\n"
    );
    let task = format!(
        "[[steps]]\nname = \"guarded\"\nrun = \"touch {{{{ root }}}}/guarded\"\nunless = \"pgrep -f {name}\"\n\
         [[steps]]\nname = \"killer\"\nrun = \"touch {{{{ root }}}}/killed\"\nunless = \"pkill -f {name}\"\n\
         [[steps]]\nname = \"gone\"\nwait_for = {{ command = \"pgrep -f {name}\", state = \"absent\" }}\n"
    );
    let (site, _odd) = site_with("", &checks, &task).await;
    let answer = site.ask("check odd").await;
    for check in ["run", "list", "metric", "process"] {
        assert!(line_of(&answer, check).starts_with("critical"), "{check}: {answer:#?}");
    }
    site.ask("work odd").await.expect(0);
    let root = site.dir.path().join("odd1/root");
    assert!(root.join("guarded").exists() && root.join("killed").exists());
    let worker = Worker::start(&name);
    let answer = site.ask("check odd").await;
    for check in ["run", "list", "metric", "process"] {
        assert!(line_of(&answer, check).starts_with("ok"), "{check}: {answer:#?}");
    }
    drop(worker);
}

/// Variables of a login that change what programs print, where they go, or how they read options.
const VARIABLES: &str = "ForceCommand export LC_ALL=de_DE.UTF-8 LANGUAGE=de QUOTING_STYLE=shell-always TAR_OPTIONS=--totals GZIP=-v \
                         COLUMNS=20 CDPATH=/ POSIXLY_CORRECT=1 BLOCK_SIZE=1 TIME_STYLE=+x PS_FORMAT=pid; \
                         exec sh -c \"$SSH_ORIGINAL_COMMAND\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn variables_of_a_login_change_no_answer() {
    let name = Worker::name();
    let checks = format!(
        "[[check]]\nname = \"process\"\nprocess = {{ name = \"sh\", args = \"{name}$\" }}\n\
         [[check]]\nname = \"disk\"\ndisk = {{ path = \"/\" }}\ncritical = \"100\"\n\
         [[check]]\nname = \"memory\"\nmemory = {{}}\ncritical = \"100\"\n\
         [[check]]\nname = \"locale\"\nrun = \"echo $LC_ALL\"\nstdout = {{ equals = \"de_DE.UTF-8\" }}\n"
    );
    let task = r#"
[[steps]]
name = "archive"
archive = { from = "linked.tar.gz", to = "{{ root }}/unpacked" }
[[steps]]
name = "where"
run = "test -e {{ root }}/unpacked/etc/second && mkdir {{ root }}/etc && cd {{ root }} && CDPATH= cd etc && pwd >../where"
[[steps]]
name = "validated"
upload = { from = "motd", to = "{{ root }}/motd", validate = "test $LC_ALL = de_DE.UTF-8" }
"#;
    let mut site = Site::without_daemon(1).await;
    let made = site.dir.path().join("made");
    std::fs::create_dir_all(made.join("etc")).unwrap();
    write(&made.join("etc/first"), "one\n");
    std::fs::hard_link(made.join("etc/first"), made.join("etc/second")).unwrap();
    let files = site.config.join("files");
    std::fs::create_dir_all(&files).unwrap();
    let packed = Command::new("tar")
        .args(["czf"])
        .arg(files.join("linked.tar.gz"))
        .arg("-C")
        .arg(&made)
        .arg("etc")
        .status();
    assert!(packed.unwrap().success());
    write(&files.join("motd"), "hello\n");
    let _odd = add_host(&site, VARIABLES, &checks, task).await;
    site.start_daemon().await;
    let _worker = Worker::start(&name);
    site.ask("check odd").await.expect(0);
    site.ask("work odd").await.expect(0);
    let root = site.dir.path().join("odd1/root");
    assert_eq!(read(&root.join("unpacked/etc/second")), "one\n");
    assert_eq!(read(&root.join("where")).trim(), root.join("etc").display().to_string());
}
