//! nginx, over the fleet: read the file, edit it, verify it with `nginx -t`, reload, and prove by the change of
//! the worker processes that the new configuration runs.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::ask::{exec, exec_bytes, said};
use super::sections::{NginxFile, NginxFiles, is_main, sections};
use super::together::{self, Applied, OneHost};
use super::upstream::{self, Direction, Edited, Order, edit};
use crate::domain::base::digest::sha256_hex;
use crate::domain::base::name::HostName;
use crate::domain::inventory::inventory::{Balancer, Endpoint, Nginx, OnDrainTimeout};
use crate::domain::inventory::rotation::BalancerView;
use crate::domain::run::event::Change;
use crate::domain::value::shell;
use crate::port::{ExecEnd, Input, Member, Remote};
use crate::script::bare;

/// The time limit of reading the file.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The time limit of testing and reloading, in addition to the wait for old requests.
const APPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a reload may take until a new worker process runs.
const RELOAD_PROOF: Duration = Duration::from_secs(10);

/// Attempts to edit the file when it changes between reading and writing.
const EDIT_TRIES: u32 = 3;

/// Largest configuration file that is edited, in bytes; it has to fit in a captured output.
const CONFIG_LIMIT_BYTES: u64 = 2 * super::ask::ANSWER_BYTES as u64;

/// The exit status of [`READ`] when the files are larger.
const TOO_LARGE: u32 = 75;

/// The message when old workers are left; the limit follows.
const WAITING: &str = "requests that were in flight did not end within";

/// Prints the configuration files; see there.
pub static READ: LazyLock<String> = LazyLock::new(|| bare(include_str!("sh/read.sh")));

/// Starts the line in front of a file's bytes: `rollcall-file SIZE PATH`.
const FILE: &str = "rollcall-file ";

/// Starts the line in front of the files of an `include`.
const INCLUDE: &str = "rollcall-include ";

/// The last line of what was read: without it the output was cut.
const END: &str = "rollcall-end";

/// Rounds of reading: an include within an include needs one more.
const READ_ROUNDS: u32 = 8;

/// Puts the text on standard input in the place of the configuration; see there.
pub static APPLY: LazyLock<String> = LazyLock::new(|| bare(include_str!("sh/apply.sh")));

/// Held while one file on one host is edited.
type FileLock = Arc<tokio::sync::Mutex<()>>;

/// The nginx driver. One edit of one file at a time.
pub struct NginxDriver {
    remote: Arc<dyn Remote>,
    files: Mutex<HashMap<(Endpoint, String), FileLock>>,
}

/// One change of one balancer.
struct OnNginx<'a> {
    driver: &'a NginxDriver,
    balancer: &'a Balancer,
    nginx: &'a Nginx,
}

impl NginxDriver {
    /// A driver that reaches balancer hosts through `remote`.
    pub fn new(remote: Arc<dyn Remote>) -> NginxDriver {
        NginxDriver { remote, files: Mutex::default() }
    }

    /// The members by the file on each balancer host.
    pub async fn inspect(
        &self,
        balancer: &Balancer,
        nginx: &Nginx,
        members: &[Member],
    ) -> Result<BalancerView, String> {
        let one = OnNginx { driver: self, balancer, nginx };
        Ok(BalancerView::together(&together::inspect(&one, balancer, members).await?, balancer.floor()))
    }

    /// Drains members on every balancer host, or on none.
    pub async fn drain(&self, balancer: &Balancer, nginx: &Nginx, members: &[Member]) -> Change {
        let one = OnNginx { driver: self, balancer, nginx };
        match together::inspect(&one, balancer, members).await {
            Ok(views) => {
                let view = BalancerView::together(&views, balancer.floor());
                together::drain(&one, balancer, &view, members).await
            }
            Err(why) => Change::Refused { why },
        }
    }

    /// Puts members back that were drained for nothing.
    pub async fn put_back(&self, balancer: &Balancer, nginx: &Nginx, members: &[Member]) -> Change {
        together::put_back(&OnNginx { driver: self, balancer, nginx }, balancer, members).await
    }

    /// Enables members on every balancer host.
    pub async fn enable(&self, balancer: &Balancer, nginx: &Nginx, members: &[Member]) -> Change {
        together::enable(&OnNginx { driver: self, balancer, nginx }, balancer, members).await
    }

    fn lock(&self, host: &Endpoint, config: &str) -> FileLock {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.entry((host.clone(), config.to_string())).or_default().clone()
    }

    /// The configured file, and the files that its upstream blocks include.
    async fn read(&self, host: &Endpoint, nginx: &Nginx) -> Result<NginxFiles, String> {
        let named = |why: String| format!("{}: {}: {why}", host.name, nginx.config);
        let mut patterns = BTreeSet::new();
        for _ in 0..READ_ROUNDS {
            let read = self.read_once(host, nginx, &patterns).await.map_err(named)?;
            let missing = sections(&read).missing;
            if missing.is_empty() {
                return Ok(read);
            }
            patterns.extend(missing);
        }
        Err(named(format!("its upstream blocks have includes within includes, more than {READ_ROUNDS} deep")))
    }

    async fn read_once(
        &self,
        host: &Endpoint,
        nginx: &Nginx,
        patterns: &BTreeSet<String>,
    ) -> Result<NginxFiles, String> {
        let limit = CONFIG_LIMIT_BYTES.to_string();
        let test = nginx.test.as_deref().unwrap_or_default();
        let own = [limit.as_str(), test, &nginx.config];
        let arguments: Vec<&str> = own.into_iter().chain(patterns.iter().map(String::as_str)).collect();
        let script = shell::with_arguments(&READ, &arguments);
        let (report, bytes) = exec_bytes(&*self.remote, host, &script, nginx.sudo, READ_TIMEOUT).await;
        match report.end {
            ExecEnd::Exited(0) => parse(&bytes),
            ExecEnd::Exited(TOO_LARGE) => Err(format!(
                "larger than {CONFIG_LIMIT_BYTES} bytes; try: the upstream block in a file of its own"
            )),
            ExecEnd::Exited(_) => Err(said(report.stderr.last_line())),
            ExecEnd::NotStarted(why) | ExecEnd::Lost(why) | ExecEnd::Foreign(why) => Err(why),
            ExecEnd::TimedOut => Err(format!(
                "could not be read within {READ_TIMEOUT:?}; try: check that it is a regular file"
            )),
            end => Err(end.describe(&report.stderr)),
        }
    }
}

/// The files that [`READ`] printed. What a login prints comes before them.
fn parse(bytes: &[u8]) -> Result<NginxFiles, String> {
    let cut = || "it could not be read whole; try again: it may be changing".to_string();
    let mut sources = NginxFiles::default();
    let mut include: Option<String> = None;
    let mut rest = bytes;
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(cut)?;
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        if let Some(pattern) = line.strip_prefix(INCLUDE) {
            sources.included.entry(pattern.to_string()).or_default();
            include = Some(pattern.to_string());
        } else if let Some((size, path)) = line.strip_prefix(FILE).and_then(|words| words.split_once(' ')) {
            let size: usize = size.parse().map_err(|_| cut())?;
            let text = rest.get(..size).ok_or_else(cut)?.to_vec();
            rest = rest[size..].strip_prefix(b"\n").ok_or_else(cut)?;
            let known = sources.files.iter().position(|file| file.path == path);
            let number = known.unwrap_or(sources.files.len());
            if known.is_none() {
                sources.files.push(NginxFile { path: path.to_string(), text });
            }
            if let Some(files) = include.as_ref().and_then(|include| sources.included.get_mut(include)) {
                files.push(number);
            }
        } else if line == END {
            return if sources.files.is_empty() { Err(cut()) } else { Ok(sources) };
        } else if !sources.files.is_empty() {
            return Err(cut());
        }
    }
}

impl OnNginx<'_> {
    /// Edits the file, and repeats the edit if the file has changed in between.
    async fn change(&self, host: &Endpoint, members: &[Member], direction: Direction) -> Applied {
        let OnNginx { driver, nginx, .. } = self;
        let lock = driver.lock(host, &nginx.config);
        let _one_edit_at_a_time = lock.lock().await;
        let named = |why: &str| format!("{}: {}: {why}", host.name, nginx.config);
        for _ in 0..EDIT_TRIES {
            let sources = match driver.read(host, nginx).await {
                Ok(sources) => sources,
                Err(why) => return Applied::Refused(why),
            };
            let edited = match edit(&sources, self.order(direction), members) {
                Ok(edited) => edited,
                Err(why) => return Applied::Refused(named(&why)),
            };
            if let Some(applied) = self.apply(host, &sources, edited).await {
                return applied;
            }
        }
        Applied::Refused(named("another process keeps changing it; try: stop it, and again"))
    }

    fn order(&self, direction: Direction) -> Order<'_> {
        let Nginx { style, upstreams, .. } = self.nginx;
        Order { style: *style, direction, floor: self.balancer.floor(), upstreams }
    }

    /// `None` when a file has changed in between and the edit has to be repeated.
    async fn apply(&self, host: &Endpoint, old: &NginxFiles, edited: Edited) -> Option<Applied> {
        let OnNginx { driver, balancer, nginx } = self;
        let given = |command: &Option<String>| command.clone().unwrap_or_default();
        let kind = if is_main(&old.files[0].text) { "main" } else { "part" };
        let mut arguments = vec![given(&nginx.test), given(&nginx.reload), given(&nginx.workers)];
        arguments.extend([balancer.drain_timeout.as_secs().to_string(), RELOAD_PROOF.as_secs().to_string()]);
        arguments.extend([kind.to_string()]);
        for (number, new) in &edited.files {
            let NginxFile { path, text } = &old.files[*number];
            arguments.extend([path.clone(), sha256_hex(text), sha256_hex(new), new.len().to_string()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let script = shell::with_arguments(&APPLY, &arguments);
        let input = Input::Bytes(Bytes::from(edited.files.into_values().collect::<Vec<_>>().concat()));
        let limit = APPLY_TIMEOUT + balancer.drain_timeout;
        let report = exec(&*driver.remote, host, &script, nginx.sudo, input, limit).await;
        let line = report.stdout.last_line();
        let named = |why: &str| format!("{}: {why}", host.name);
        Some(match (report.end, line) {
            (ExecEnd::Exited(0), "conflict") => return None,
            (ExecEnd::Exited(0), "done") => {
                Applied::Done { foreign: edited.foreign, already: edited.already, note: None }
            }
            (ExecEnd::Exited(0), "waiting") => {
                let note = named(&format!("{WAITING} {:?}", balancer.drain_timeout));
                Applied::Done { foreign: edited.foreign, already: edited.already, note: Some(note) }
            }
            (ExecEnd::NotStarted(why), _) => Applied::Refused(named(&why)),
            (ExecEnd::Exited(0), line) if line.starts_with("refused ") => {
                Applied::Refused(named(&said(line.trim_start_matches("refused "))))
            }
            (ExecEnd::Exited(0), "unproven") => {
                Applied::Unknown(named("the reload was not seen to take effect"))
            }
            (ExecEnd::Lost(why), _) => Applied::Unknown(named(&why)),
            (end, _) => Applied::Unknown(named(&end.describe(&report.stderr))),
        })
    }

    /// Requests outlasted the drain, and no step may run on the host then: enables it.
    async fn give_up(&self, host: &Endpoint, members: &[Member], already: &[HostName], why: &str) -> Applied {
        let ours: Vec<Member> =
            members.iter().filter(|member| !already.contains(&member.host)).cloned().collect();
        match self.change(host, &ours, Direction::In).await {
            Applied::Done { .. } => Applied::Refused(format!("{why}; put back")),
            Applied::Refused(undo) | Applied::Unknown(undo) => Applied::Unknown(format!("{why}; {undo}")),
        }
    }
}

#[async_trait]
impl OneHost for OnNginx<'_> {
    async fn inspect(
        &self,
        host: &Endpoint,
        members: &[Member],
    ) -> Result<Vec<(String, BalancerView)>, String> {
        let sources = self.driver.read(host, self.nginx).await?;
        let mut view = upstream::view(&sources, self.order(Direction::Out), members);
        let config = &self.nginx.config;
        view.missing.values_mut().for_each(|why| *why = format!("{}: {config}: {why}", host.name));
        Ok(vec![(host.name.to_string(), view)])
    }

    async fn drain(&self, host: &Endpoint, members: &[Member]) -> Applied {
        let applied = self.change(host, members, Direction::Out).await;
        match &applied {
            Applied::Done { already, note: Some(why), .. }
                if self.balancer.on_drain_timeout == OnDrainTimeout::Fail =>
            {
                self.give_up(host, members, already, why).await
            }
            _ => applied,
        }
    }

    async fn enable(&self, host: &Endpoint, members: &[Member]) -> Applied {
        self.change(host, members, Direction::In).await
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    const OLD: &str = "old text\n";
    const NEW: &str = "new text\n";

    /// Runs [`APPLY`] under `sh` in a folder, with commands that play nginx; its last line, and the file after it.
    fn apply(dir: &Path, test: &str, reload: &str, workers: &str) -> (String, String) {
        let config = dir.join("nginx.conf");
        std::fs::write(&config, OLD).unwrap();
        apply_over(dir, &sha256_hex(OLD.as_bytes()), test, reload, workers)
    }

    fn apply_over(dir: &Path, old: &str, test: &str, reload: &str, workers: &str) -> (String, String) {
        let config = dir.join("nginx.conf");
        let new = sha256_hex(NEW.as_bytes());
        let size = NEW.len().to_string();
        let file = [config.to_str().unwrap(), old, &new, &size];
        let arguments = [&[test, reload, workers, "1", "1", "main"], &file[..]].concat();
        let mut child = Command::new("sh")
            .args(["-c", &shell::with_arguments(&APPLY, &arguments)])
            .current_dir(dir)
            .env("PATH", format!("{}:{}", dir.display(), std::env::var("PATH").unwrap()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(NEW.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_string();
        (said, std::fs::read_to_string(config).unwrap())
    }

    #[test]
    fn a_reload_is_done_when_a_new_worker_is_there_and_no_old_one() {
        let dir = tempfile::tempdir().unwrap();
        for workers in ["  11\n", "worker 11\n", "nginx: worker process 11 \n"] {
            std::fs::write(dir.path().join("workers"), workers).unwrap();
            let new = workers.replace("11", "12");
            let reload = format!("printf '{new}' >workers");
            let done = apply(dir.path(), "true", &reload, "cat workers");
            assert_eq!(done, ("done".into(), NEW.into()), "{workers:?}");
            std::fs::write(dir.path().join("workers"), workers).unwrap();
            let reload = format!("printf '{new}' >>workers");
            let waiting = apply(dir.path(), "true", &reload, "cat workers");
            assert_eq!(waiting, ("waiting".into(), NEW.into()), "an old worker goes on: {workers:?}");
        }
    }

    #[test]
    fn a_reload_without_a_new_worker_is_not_proven() {
        let dir = tempfile::tempdir().unwrap();
        for workers in ["echo '  11'", "echo worker 11", "true"] {
            let (said, file) = apply(dir.path(), "true", "true", workers);
            assert_eq!((said.as_str(), file.as_str()), ("unproven", NEW), "{workers}");
        }
    }

    #[test]
    fn neither_a_command_that_failed_nor_one_that_failed_late_is_taken_for_an_answer() {
        let dir = tempfile::tempdir().unwrap();
        let no = apply(dir.path(), "true", "true", "false");
        assert!(no.0.starts_with("refused `workers` fails") && no.1 == OLD, "{no:?}");
        for (reload, file) in [("echo 12 >workers; touch gone", NEW), ("echo 12 >workers; false", OLD)] {
            std::fs::write(dir.path().join("workers"), "11\n").unwrap();
            let said = apply(dir.path(), "true", reload, "[ ! -e gone ] && cat workers");
            assert_eq!(said, ("unproven".into(), file.into()), "{reload}");
            let _ = std::fs::remove_file(dir.path().join("gone"));
        }
    }

    /// Processes as `ps` prints them: PID, parent, title.
    const OURS: &str = "10 1 nginx: master process /usr/sbin/nginx\n11 10 nginx: worker process\n";
    const OTHER: &str = "20 1 nginx: master process nginx -c /other.conf\n21 20 nginx: worker process\n";

    /// The same, with processes and a pid file instead of a `workers` command.
    fn apply_among(pid: &str, before: &[&str], after: &[&str]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let script = |name: &str, text: &str| {
            use std::os::unix::fs::PermissionsExt;
            std::fs::write(at(name), format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        script(
            "nginx",
            "case $1 in -T) echo 'user www;  pid logs/nginx.pid;' ;; -V) echo a --prefix=$PWD ;; esac",
        );
        script("ps", "cat processes");
        std::fs::write(at("processes"), before.concat()).unwrap();
        std::fs::write(at("after"), after.concat()).unwrap();
        std::fs::create_dir(at("logs")).unwrap();
        std::fs::write(at("logs/nginx.pid"), pid).unwrap();
        apply(dir.path(), "nginx -t", "mv after processes", "").0
    }

    #[test]
    fn only_workers_of_the_master_that_was_reloaded_count() {
        let new = OURS.replace("11 10", "12 10");
        let leaving = format!("{new}11 10 nginx: worker process is shutting down\n");
        let both = format!("{OURS}12 10 nginx: worker process\n");
        let restarted = "30 1 nginx: master process nginx\n31 30 nginx: worker process\n";
        let others_old = "21 20 nginx: worker process is shutting down\n22 20 nginx: worker process\n";
        let other_new = OTHER.replace("21 20", "22 20");
        type Row<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a str, &'a str);
        let upgraded = "15 10 nginx: master process nginx\n16 15 nginx: worker process\n".to_string();
        let table: [Row<'_>; 15] = [
            ("alone", &[OURS], &[&new], "10", "done"),
            ("an idle second one", &[OURS, OTHER], &[&new, OTHER], "10", "done"),
            (
                "requests on the second one",
                &[OURS, OTHER, others_old],
                &[&new, OTHER, others_old],
                "10",
                "done",
            ),
            ("requests on this one", &[OURS, OTHER], &[&leaving, OTHER], "10", "waiting"),
            ("an old worker takes requests still", &[OURS], &[&both], "10", "unproven"),
            ("the second one was reloaded", &[OURS, OTHER], &[OURS, &other_new], "10", "unproven"),
            ("a pid file with another line end", &[OURS, OTHER], &[&new, OTHER], "10\r\n", "done"),
            ("a stale pid file, one nginx", &[OURS], &[&new], "99", "done"),
            ("the pid file of a worker, one nginx", &[OURS], &[&new], "11", "done"),
            ("a restart, one nginx, no pid file", &[OURS], &[restarted], "", "done"),
            (
                "angie",
                &[&OURS.replace("nginx:", "angie:"), OTHER],
                &[&new.replace("nginx:", "angie:"), OTHER],
                "10",
                "done",
            ),
            (
                "a stale pid file, two nginx",
                &[OURS, OTHER],
                &[&new, OTHER],
                "99",
                "refused 2 nginx run here, and it is not known which of them reads the file",
            ),
            (
                "the program is being exchanged",
                &[OURS, "15 10 nginx: master process nginx\n16 15 nginx: worker process\n"],
                &[&new],
                "15",
                "refused the program of nginx is being exchanged: the workers of its old master 10 take requests",
            ),
            (
                "the program was exchanged, and old requests last",
                &["10 1 nginx: master process x\n11 10 nginx: worker process is shutting down\n", &upgraded],
                &["10 1 nginx: master process x\n", &upgraded.replace("16 15", "17 15")],
                "15",
                "done",
            ),
            ("none", &["1 0 init\n"], &[&new], "10", "refused no running nginx can be seen here"),
        ];
        for (case, before, after, pid, wanted) in table {
            let said = apply_among(pid, before, after);
            assert!(said.starts_with(wanted), "{case}: {said}");
        }
        let said = apply_among("99", &[OURS, OTHER], &[]);
        assert!(said.contains("logs/nginx.pid does not name it); try: `workers`"), "{said}");
    }

    #[test]
    fn what_nginx_refuses_is_undone() {
        let dir = tempfile::tempdir().unwrap();
        let only_old = "grep -q old nginx.conf || { echo no such thing >&2; false; }";
        let table = [
            (only_old, "true", "refused the edited file is not valid, the old one is back: no such thing"),
            ("echo bad >&2; false", "true", "was broken before rollcall came: bad"),
            ("nothing-called-so", "true", "refused the test command cannot be run: "),
            ("true", "echo no >&2; false", "refused it would not reload, the old file is back: no"),
        ];
        for (test, reload, wanted) in table {
            let (said, file) = apply(dir.path(), test, reload, "true");
            assert!(said.contains(wanted), "{said}");
            assert_eq!(file, OLD, "{said}");
        }
        let entries: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(entries.len(), 3, "the file, its copy and its lock, nothing half written: {entries:?}");
    }

    #[test]
    fn a_lock_that_cannot_be_taken_changes_nothing_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".nginx.conf.rollcall-lock")).unwrap();
        let (said, file) = apply(dir.path(), "true", "true", "true");
        assert!(said.starts_with("refused cannot write ") && said.ends_with("rollcall-lock"), "{said}");
        assert_eq!(file, OLD);
    }

    #[test]
    fn a_file_that_changed_meanwhile_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("nginx.conf"), "edited by hand\n").unwrap();
        let (said, file) = apply_over(dir.path(), &sha256_hex(OLD.as_bytes()), "true", "true", "true");
        assert_eq!((said.as_str(), file.as_str()), ("conflict", "edited by hand\n"));
    }
}
