//! The configuration as a repository: `git clone`, `pull` and `push` with the real git, over real ssh.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::support::daemon::rollcall;
use crate::support::site::{Answer, Site, answer_of};
use crate::support::{read, write};

const HELLO: &str = "[[steps]]\nname = \"hello\"\nrun = \"echo hello\"\n";

/// A checkout of one operator.
struct Checkout<'s> {
    site: &'s Site,
    who: &'static str,
    folder: PathBuf,
}

fn command(site: &Site, who: &str, folder: &Path, words: &[&str]) -> Command {
    let key = site.dir.path().join(who);
    let ssh = format!(
        "ssh -F none -i {} -o IdentitiesOnly=yes -o BatchMode=yes -o LogLevel=ERROR -o StrictHostKeyChecking=no \
         -o UserKnownHostsFile=/dev/null",
        key.display()
    );
    let mut git = Command::new("git");
    git.current_dir(folder).args(words).env("GIT_SSH_COMMAND", ssh).env("GIT_SSH_VARIANT", "ssh");
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_NAME"), "t").env(format!("GIT_{role}_EMAIL"), "t@example.com");
    }
    git.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    git
}

fn url(site: &Site) -> String {
    format!("ssh://rollcall@127.0.0.1:{}/config", site.port())
}

impl<'s> Checkout<'s> {
    async fn clone(site: &'s Site, who: &'static str, name: &str) -> Checkout<'s> {
        let folder = site.dir.path().join(name);
        let to = folder.display().to_string();
        answer_of(command(site, who, site.dir.path(), &["clone", "-q", &url(site), &to])).await.expect(0);
        Checkout { site, who, folder }
    }

    async fn git(&self, words: &[&str]) -> Answer {
        answer_of(command(self.site, self.who, &self.folder, words)).await
    }

    fn write(&self, path: &str, text: &str) {
        write(&self.folder.join(path), text);
    }

    /// The id of the commit.
    async fn commit(&self) -> String {
        self.git(&["add", "-A"]).await.expect(0);
        self.git(&["commit", "-q", "-m", "change"]).await.expect(0);
        self.git(&["rev-parse", "HEAD"]).await.expect(0).out.trim().to_string()
    }

    async fn push(&self) -> Answer {
        self.git(&["push", "origin", "HEAD:main"]).await
    }

    async fn pull(&self) {
        self.git(&["pull", "-q", "--rebase", "origin", "main"]).await.expect(0);
    }
}

fn refused(answer: &Answer, why: &str) {
    assert!(answer.status != 0 && answer.err.contains(why), "{why}: {answer:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_checked_whole_and_then_in_force_and_on_record() {
    let site = Site::start(1).await;
    let ann = Checkout::clone(&site, "ann", "clone").await;
    assert_eq!(read(&ann.folder.join("hosts/prod.toml")), read(&site.config.join("hosts/prod.toml")));
    ann.write("tasks/hello.toml", HELLO);
    let first = ann.commit().await;
    let pushed = ann.push().await.expect(0);
    for wanted in ["+++ tasks/hello.toml (pushed ", "configuration OK: ", "configuration in force: "] {
        assert!(pushed.err.contains(wanted), "{wanted}: {}", pushed.err);
    }
    assert_eq!(read(&site.config.join("tasks/hello.toml")), HELLO);
    site.ask("hello web01").await.expect(0);
    let log = site.ask("config log").await.expect(0).out;
    let line = log.lines().last().unwrap();
    assert!(line.contains("ann") && line.contains("push") && line.contains(&first[..12]), "{log}");
    assert!(line.contains("+tasks/hello.toml"), "{log}");

    // Mistakes refuse it as a whole.
    ann.write("tasks/hello.toml", "[[steps]]\nname = \"hello\"\nrunn = \"true\"\n");
    ann.write("tasks/more.toml", HELLO);
    let wrong = ann.commit().await;
    let answer = ann.push().await;
    refused(&answer, "the configuration has mistakes:");
    assert!(answer.err.contains("tasks/hello.toml:3") && answer.err.contains("runn"), "{}", answer.err);
    assert_eq!(read(&site.config.join("tasks/hello.toml")), HELLO);
    assert!(!site.config.join("tasks/more.toml").exists());
    let rows = site.ask("audit --json --type command-ended").await.expect(0).out;
    let why = format!("the push of commit {} was refused: the configuration has mistakes", &wrong[..12]);
    assert!(rows.contains(&why), "{rows}");
    let asked = site.ask("audit --json --type command --operator ann").await.expect(0).out;
    assert!(asked.contains("git-receive-pack '/config'"), "{asked}");

    // A mended push continues, and removes what it removes.
    ann.git(&["rm", "-q", "tasks/hello.toml"]).await.expect(0);
    ann.commit().await;
    ann.push().await.expect(0);
    assert!(!site.config.join("tasks/hello.toml").exists() && site.config.join("tasks/more.toml").exists());
    site.ask("more web01").await.expect(0);
    let other = Checkout::clone(&site, "ann", "other").await;
    assert_eq!(read(&other.folder.join("tasks/more.toml")), HELLO);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_configuration_is_refused() {
    let site = Site::start(1).await;
    let ann = Checkout::clone(&site, "ann", "clone").await;
    std::os::unix::fs::symlink("/etc/passwd", ann.folder.join("tasks/link.toml")).unwrap();
    ann.commit().await;
    refused(&ann.push().await, "tasks/link.toml is a link; only regular files are delivered");
    ann.git(&["reset", "-q", "--hard", "origin/main"]).await.expect(0);
    for path in ["secret.key", ".gitattributes", "hosts/a/b.toml"] {
        ann.write(path, "x\n");
        ann.commit().await;
        refused(&ann.push().await, &format!("{path} is no file of a configuration"));
        ann.git(&["reset", "-q", "--hard", "origin/main"]).await.expect(0);
    }
    let tip = ann.git(&["rev-parse", "HEAD"]).await.out.trim().to_string();
    let module = format!("160000,{tip},files/module");
    ann.git(&["update-index", "--add", "--cacheinfo", &module]).await.expect(0);
    ann.git(&["commit", "-q", "-m", "module"]).await.expect(0);
    refused(&ann.push().await, "files/module is a submodule; only regular files are delivered");
    ann.git(&["reset", "-q", "--hard", "origin/main"]).await.expect(0);
    let branch = "rollcall has the branch `main` alone";
    refused(&ann.git(&["push", "origin", "HEAD:other"]).await, branch);
    refused(&ann.git(&["push", "origin", ":main"]).await, "the branch `main` cannot be deleted");
    ann.git(&["commit", "-q", "--amend", "-m", "other history"]).await.expect(0);
    refused(
        &ann.git(&["push", "--force", "origin", "HEAD:main"]).await,
        "it does not continue what rollcall has",
    );
    refused(
        &ann.git(&["push", &url(&site).replace("/config", "/other"), "HEAD:main"]).await,
        "no repository `/other`",
    );
    let status =
        answer_of(command(&site, "ann", &site.dir.path().join("state/config.git"), &["rev-parse", "main"]));
    assert_eq!(status.await.out.trim(), tip);
}

/// The code by which the key `stranger` is enrolled.
async fn code(site: &Site) -> String {
    let ssh = site.ssh("stranger", "whoami");
    let as_a_person = |word: &std::ffi::OsStr| {
        word.to_string_lossy()
            .replace("BatchMode=yes", "BatchMode=no")
            .replace("LogLevel=ERROR", "LogLevel=INFO")
    };
    let words: Vec<String> = ssh.as_std().get_args().map(as_a_person).collect();
    let mut asked = Command::new("ssh");
    asked.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let refused = answer_of(asked).await;
    let (_, rest) = refused.err.split_once("operator enroll ").expect("a code");
    rest.split_whitespace().next().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_directory_has_is_never_lost() {
    let site = Site::start(1).await;
    let ann = Checkout::clone(&site, "ann", "clone").await;
    let touch = site.config.join("tasks/touch.toml");
    let edited = format!("# edited on the machine\n{}", read(&touch));
    write(&touch, &edited);
    ann.write("tasks/hello.toml", HELLO);
    ann.commit().await;
    refused(&ann.push().await, "fetch first");
    assert!(read(&touch) == edited && !site.config.join("tasks/hello.toml").exists());
    ann.pull().await;
    assert_eq!(read(&ann.folder.join("tasks/touch.toml")), edited);
    ann.push().await.expect(0);
    assert!(read(&touch) == edited && site.config.join("tasks/hello.toml").exists());

    // What rollcall writes for an operator is a commit with the name of the operator.
    let code = code(&site).await;
    site.ask(&format!("operator enroll {code} as eve")).await.expect(0);
    ann.pull().await;
    let log = ann.git(&["log", "-1", "--format=%an %s"]).await.expect(0).out;
    assert!(log.starts_with("ann operator enroll "), "{log}");
    assert!(read(&ann.folder.join("operators")).contains("eve"));

    // A file that git does not know is in the way of none that has its name.
    ann.write(".gitignore", "/files/local\n");
    ann.commit().await;
    ann.push().await.expect(0);
    write(&site.config.join("files/local"), "local\n");
    ann.write("files/local", "pushed\n");
    ann.git(&["add", "-f", "files/local"]).await.expect(0);
    ann.commit().await;
    refused(
        &ann.push().await,
        "the configuration directory has what the push does not have, and nothing was changed: files/local",
    );
    assert_eq!(read(&site.config.join("files/local")), "local\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_push_and_fetch() {
    let mut site = Site::without_daemon(1).await;
    let (settings, operators) = (site.config.join("rollcall.toml"), site.config.join("operators"));
    let role = "[roles.config]\ncommands = [\"git-upload-pack\", \"git-receive-pack\"]\n";
    write(&settings, &(read(&settings) + role));
    write(&operators, &read(&operators).replace("role=\"viewer\"", "role=\"config\""));
    site.start_daemon().await;
    Checkout::clone(&site, "ann", "clone").await;
    for who in ["bob", "stranger"] {
        let fetched = answer_of(command(&site, who, site.dir.path(), &["ls-remote", &url(&site)])).await;
        refused(&fetched, if who == "stranger" { "Permission denied" } else { "this needs the role admin" });
        let clone = site.dir.path().join("clone");
        let pushed = answer_of(command(&site, who, &clone, &["push", "origin", "HEAD:main"])).await;
        refused(&pushed, if who == "stranger" { "Permission denied" } else { "this needs the role admin" });
    }
    // A role of its own that lists the two.
    let vic = Checkout::clone(&site, "vic", "of-vic").await;
    vic.write("README.md", "Ours.\n");
    vic.commit().await;
    vic.push().await.expect(0);
    site.ask_as("vic", "reload").await.expect(77);
    let rows = site.ask("audit --json --type command-refused").await.expect(0).out;
    assert!(
        rows.contains("git-receive-pack '/config'") && rows.contains("git-upload-pack '/config'"),
        "{rows}"
    );
}

/// A step finds what the push has in `files/` and what `.gitignore` excludes there, and nothing that the push removes.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_checked_with_its_own_files_and_those_that_git_ignores() {
    let site = Site::start(1).await;
    let ann = Checkout::clone(&site, "ann", "clone").await;
    let upload = |from: &str| {
        format!("[[steps]]\nname = \"up {from}\"\nupload = {{ from = \"{from}\", to = \"/tmp/x\" }}\n")
    };
    ann.write(".gitignore", "/files/builds/\n");
    ann.commit().await;
    ann.push().await.expect(0);
    write(&site.config.join("files/builds/app.tar"), "build\n");
    ann.write("files/one/conf", "one\n");
    ann.write("tasks/up.toml", &(upload("builds/app.tar") + &upload("one/conf")));
    ann.commit().await;
    let pushed = ann.push().await.expect(0);
    assert!(!pushed.err.contains("does not exist"), "{}", pushed.err);

    ann.git(&["rm", "-r", "-q", "files"]).await.expect(0);
    ann.commit().await;
    let pushed = ann.push().await.expect(0);
    assert!(
        pushed.err.contains("remote: warning: step `up one/conf`: files/one/conf: does not exist"),
        "{}",
        pushed.err
    );
    assert!(!pushed.err.contains("files/builds/app.tar"), "{}", pushed.err);
    assert_eq!(read(&site.config.join("files/builds/app.tar")), "build\n");
    assert!(!site.config.join("files/one").exists());
    ann.write("files/one", "one\n");
    ann.write("tasks/up.toml", &upload("one"));
    ann.commit().await;
    ann.push().await.expect(0);
    assert_eq!(read(&site.config.join("files/one")), "one\n");
}

/// A history of its own with the files of the directory.
async fn own_history<'s>(site: &'s Site, name: &str, leave_out: &str) -> Checkout<'s> {
    let ann = Checkout { site, who: "ann", folder: site.dir.path().join(name) };
    let copied = std::process::Command::new("cp").arg("-r").arg(&site.config).arg(&ann.folder).status();
    assert!(copied.unwrap().success());
    if !leave_out.is_empty() {
        std::fs::remove_file(ann.folder.join(leave_out)).unwrap();
    }
    ann.git(&["init", "-q", "--initial-branch=main"]).await.expect(0);
    ann.git(&["remote", "add", "origin", &url(site)]).await.expect(0);
    ann
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_push_takes_the_directory_over_and_leaves_nothing_out() {
    let site = Site::start(1).await;
    let part = own_history(&site, "part", "tasks/touch.toml").await;
    part.write("tasks/hello.toml", HELLO);
    part.commit().await;
    let answer = part.push().await;
    refused(
        &answer,
        "the configuration directory has what the push does not have, and nothing was changed: tasks/touch.toml",
    );
    assert!(answer.err.contains("git merge --allow-unrelated-histories"), "{}", answer.err);
    let whole = own_history(&site, "whole", "").await;
    whole.write("README.md", "Ours.\n");
    whole.write("tasks/hello.toml", HELLO);
    whole.commit().await;
    whole.push().await.expect(0);
    site.ask("hello web01").await.expect(0);
    assert_eq!(read(&site.config.join("README.md")), "Ours.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_pushes_at_once_one_wins() {
    let site = Site::start(1).await;
    let one = Checkout::clone(&site, "ann", "one").await;
    let two = Checkout::clone(&site, "ann", "two").await;
    for (checkout, name) in [(&one, "one"), (&two, "two")] {
        checkout.write(&format!("tasks/{name}.toml"), HELLO);
        checkout.commit().await;
    }
    let (first, second) = tokio::join!(one.push(), two.push());
    let won = [&first, &second].into_iter().filter(|answer| answer.status == 0).count();
    assert_eq!(won, 1, "{first:#?} {second:#?}");
    let there = ["one", "two"].map(|name| site.config.join(format!("tasks/{name}.toml")).exists());
    assert_eq!(there, [first.status == 0, second.status == 0]);
    // The other one takes it over and continues.
    let loser = if first.status == 0 { &two } else { &one };
    loser.pull().await;
    loser.push().await.expect(0);
    assert!(["one", "two"].iter().all(|name| site.config.join(format!("tasks/{name}.toml")).exists()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_was_accepted_is_put_in_place_at_the_next_start() {
    let mut site = Site::start(1).await;
    Checkout::clone(&site, "ann", "clone").await;
    // As a kill leaves it: the branch is ahead of the directory.
    async fn ahead(site: &Site, text: &str) {
        let ann = Checkout { site, who: "ann", folder: site.dir.path().join("clone") };
        ann.write("tasks/hello.toml", text);
        ann.write("README.md", text);
        ann.commit().await;
        let bare = site.dir.path().join("state/config.git").display().to_string();
        ann.git(&["push", "-q", &bare, "HEAD:main"]).await.expect(0);
    }
    site.daemon.take().unwrap().stop().await;
    ahead(&site, HELLO).await;
    // One of the files was replaced already.
    write(&site.config.join("tasks/hello.toml"), HELLO);
    site.start_daemon().await;
    assert_eq!(read(&site.config.join("README.md")), HELLO);
    site.ask("hello web01").await.expect(0);

    // A person changed one of them since: nothing is overwritten, and the next fetch has it.
    site.daemon.take().unwrap().stop().await;
    ahead(&site, &HELLO.replace("echo hello", "echo good day")).await;
    let local = HELLO.replace("echo hello", "echo moin");
    write(&site.config.join("tasks/hello.toml"), &local);
    site.start_daemon().await;
    assert_eq!(read(&site.config.join("tasks/hello.toml")), local);
    let other = Checkout::clone(&site, "ann", "other").await;
    assert_eq!(read(&other.folder.join("tasks/hello.toml")), local);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_git_says_so() {
    let site = Site::without_daemon(1).await;
    let mut local = rollcall(&site);
    local.args(["--local", "git-upload-pack", "config"]).env("PATH", "/nonexistent");
    local.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let answer = answer_of(local).await;
    refused(&answer, "git is not installed on the machine of rollcall; try: apt-get install git there");
}
