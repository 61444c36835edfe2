//! The configuration directory as a repository of git, beside the store: what it holds, and how the two become equal.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::placing::{check_folder, put, remove, sweep_directory, sweep_git};
use super::tree::{Entry, Tree, changed, check_amount, is_known};
use crate::domain::base::configuration::ConfigCommit;
use crate::local::process::{self, Failed, ProcessLimits};

/// The one branch.
pub const BRANCH: &str = "refs/heads/main";

/// Most bytes of one push, as git packs it.
const PUSH_LIMIT: &str = "receive.maxInputSize=67108864";

/// How long one question to git may take.
const GIT_LIMITS: ProcessLimits = ProcessLimits { time: Duration::from_secs(60), output_bytes: 16 << 20 };

/// Paths in one command line.
const PATHS_AT_ONCE: usize = 500;

/// Settings that no file can change. Each name is unset or fixed for every git that rollcall starts.
const SETTINGS: [&str; 14] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.autocrlf=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.logAllRefUpdates=true",
    "commit.gpgSign=false",
    "gc.auto=0",
    "safe.directory=*",
    "transfer.fsckObjects=true",
    "receive.denyDeletes=true",
    "receive.denyNonFastForwards=true",
    "receive.autogc=false",
    PUSH_LIMIT,
];

const ENVIRONMENT: [(&str, &str); 4] = [
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ATTR_NOSYSTEM", "1"),
];

/// The file that names the commit that the directory was made equal to.
const APPLIED: &str = "rollcall-applied";

/// See the module.
#[derive(Clone, Debug)]
pub struct Repository {
    folder: PathBuf,
    root: PathBuf,
}

impl Repository {
    /// The repository in the folder of the store, for the directory `root`. Nothing is created.
    pub fn new(store: &Path, root: &Path) -> Repository {
        // git works in other folders, so both paths are absolute.
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        Repository { folder: absolute(&store.with_file_name("config.git")), root: absolute(root) }
    }

    /// True once a client has used it.
    pub fn exists(&self) -> bool {
        self.folder.join("HEAD").exists()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// git with our settings alone.
    pub fn git(&self) -> Command {
        let mut git = process::command("git");
        git.env_remove("HOME").envs(ENVIRONMENT).env("GIT_DIR", &self.folder).current_dir("/");
        git.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        git
    }

    fn run(&self, git: Command) -> Result<String, String> {
        self.bytes_of(git).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn bytes_of(&self, mut git: Command) -> Result<Vec<u8>, String> {
        match process::run(git_named(&mut git), &GIT_LIMITS) {
            Ok(ran) if ran.status.success() => Ok(ran.output.to_vec()),
            Ok(ran) => Err(format!("git: {}", String::from_utf8_lossy(&ran.errors).trim())),
            Err(Failed::Start(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                Err("git is not installed on the machine of rollcall; try: apt-get install git there".into())
            }
            Err(failed) => Err(format!("git: {failed:?}")),
        }
    }

    fn ask(&self, words: &[&str]) -> Result<String, String> {
        let mut git = self.git();
        git.args(words);
        self.run(git)
    }

    /// Creates it, if it does not exist.
    pub fn create(&self) -> Result<(), String> {
        if self.exists() {
            return Ok(());
        }
        fs::create_dir_all(&self.folder).map_err(|error| self.failed(&error))?;
        fs::set_permissions(&self.folder, Permissions::from_mode(0o700))
            .map_err(|error| self.failed(&error))?;
        self.ask(&["init", "--quiet", "--bare", "--template=", "--initial-branch=main"]).map(drop)
    }

    fn failed(&self, error: &std::io::Error) -> String {
        format!("{}: {error}", self.folder.display())
    }

    /// The commit of the branch.
    pub fn tip(&self) -> Result<Option<String>, String> {
        let found = self.ask(&["for-each-ref", "--format=%(objectname)", BRANCH])?;
        Ok(Some(found.trim().to_string()).filter(|id| !id.is_empty()))
    }

    /// The commit that the directory is, for people; `None` while no client has used the repository.
    pub fn standing(&self) -> Option<ConfigCommit> {
        if !self.exists() {
            return None;
        }
        let found = self.tip().and_then(|tip| {
            let Some(id) = tip else { return Ok(None) };
            let is_dirty = self.here()? != self.tree(&id, None)?;
            Ok(Some(ConfigCommit { id, is_dirty }))
        });
        found.unwrap_or_else(|why| {
            tracing::warn!(%why, "the commit of the configuration directory is not known");
            None
        })
    }

    /// Commits the directory as it is, if it differs from the branch.
    pub fn record(&self, author: &str, message: &str) -> Result<(), String> {
        let tip = self.tip()?;
        if let Some(tip) = &tip
            && self.tree(tip, None)? == self.here()?
        {
            return self.set_applied(tip);
        }
        let tree = self.tree_of_directory()?;
        let mut git = self.git();
        git.args(["commit-tree", &tree, "-m", message]);
        git.args(tip.iter().flat_map(|tip| ["-p", tip]));
        for role in ["AUTHOR", "COMMITTER"] {
            let name = if role == "AUTHOR" { author } else { "rollcall" };
            git.env(format!("GIT_{role}_NAME"), name)
                .env(format!("GIT_{role}_EMAIL"), format!("{name}@rollcall"));
        }
        let commit = self.run(git)?.trim().to_string();
        let none = "0".repeat(commit.len());
        let old = tip.unwrap_or(none);
        self.ask(&["update-ref", BRANCH, &commit, &old])?;
        self.set_applied(&commit)
    }

    /// Writes the files of the directory as objects; the id of their tree.
    fn tree_of_directory(&self) -> Result<String, String> {
        let index = Scratch::new(&self.folder, "index")?;
        let with_index = |words: &[&str]| {
            let mut git = self.git();
            git.env("GIT_INDEX_FILE", &index.0).env("GIT_WORK_TREE", &self.root).args(words);
            git
        };
        let paths = self.paths()?;
        for paths in paths.chunks(PATHS_AT_ONCE) {
            let mut adding = with_index(&["update-index", "--add"]);
            for (path, Entry { mode, id }) in self.hashed(paths, true)? {
                adding.args(["--cacheinfo", &format!("{mode},{id},{path}")]);
            }
            self.run(adding)?;
        }
        self.run(with_index(&["write-tree"])).map(|id| id.trim().to_string())
    }

    /// The entries of files of the directory; their objects are written only for a commit.
    fn hashed(&self, paths: &[String], is_written: bool) -> Result<Tree, String> {
        let mut git = self.git();
        git.arg("hash-object").args(is_written.then_some("-w")).args(["--no-filters", "--"]);
        git.args(paths.iter().map(|path| self.root.join(path)));
        let ids = self.run(git)?;
        let entry = |(path, id): (&String, &str)| {
            Ok((path.clone(), Entry { mode: self.mode(path)?.into(), id: id.into() }))
        };
        paths.iter().zip(ids.lines()).map(entry).collect()
    }

    fn mode(&self, path: &str) -> Result<&'static str, String> {
        let about = fs::symlink_metadata(self.root.join(path)).map_err(|error| format!("{path}: {error}"))?;
        Ok(if about.permissions().mode() & 0o100 != 0 { "100755" } else { "100644" })
    }

    /// The files of the directory that a commit has: all that are known by their names, and that `.gitignore` does not exclude.
    fn paths(&self) -> Result<Vec<String>, String> {
        let index = Scratch::new(&self.folder, "listing")?;
        let mut git = self.git();
        git.env("GIT_INDEX_FILE", &index.0).env("GIT_WORK_TREE", &self.root).current_dir(&self.root);
        git.args(["ls-files", "-z", "--others", "--exclude-standard"]);
        let found = self.bytes_of(git)?;
        let mut paths = Vec::new();
        for path in found.split(|byte| *byte == 0).filter(|path| is_known(&String::from_utf8_lossy(path))) {
            paths.push(named(path)?.to_string());
        }
        // What `.gitignore` excludes stays what it is once it was committed.
        let tip = self.tip()?;
        let kept = tip.map(|tip| self.tree(&tip, None)).transpose()?.unwrap_or_default();
        paths.extend(kept.into_keys().filter(|path| is_known(path) && self.is_file(path)));
        paths.sort();
        paths.dedup();
        self.check_paths(&paths)?;
        Ok(paths)
    }

    /// True if there is something else than a folder.
    fn is_file(&self, path: &str) -> bool {
        self.root.join(path).symlink_metadata().is_ok_and(|about| !about.is_dir())
    }

    fn check_paths(&self, paths: &[String]) -> Result<(), String> {
        let mut bytes = 0;
        for path in paths {
            let about =
                fs::symlink_metadata(self.root.join(path)).map_err(|error| format!("{path}: {error}"))?;
            if !about.is_file() {
                return Err(format!(
                    "{path} of the configuration directory is no regular file, and git delivers only these; try: \
                     replace the link by the file, or name it in .gitignore"
                ));
            }
            bytes += about.len();
        }
        check_amount(paths.len(), bytes)
    }

    /// The files of a commit; `objects` is where git keeps what it has received and not accepted.
    pub fn tree(&self, commit: &str, objects: Option<&Path>) -> Result<Tree, String> {
        let mut git = self.with_objects(objects);
        git.args(["ls-tree", "-r", "-z", "-l", "--full-tree", commit]);
        let listing = self.bytes_of(git)?;
        let (mut tree, mut bytes) = (Tree::new(), 0);
        for line in listing.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let (about, path) = named(line)?.split_once('\t').ok_or("git: a listing that is none")?;
            let mut words = about.split_ascii_whitespace();
            let (mode, _, id) = (words.next(), words.next(), words.next());
            bytes += words.next().and_then(|size| size.parse::<u64>().ok()).unwrap_or(0);
            let (mode, id) = (mode.unwrap_or_default().to_string(), id.unwrap_or_default().to_string());
            tree.insert(path.to_string(), Entry { mode, id });
        }
        check_amount(tree.len(), bytes)?;
        Ok(tree)
    }

    fn with_objects(&self, objects: Option<&Path>) -> Command {
        let mut git = self.git();
        if let Some(objects) = objects {
            git.env("GIT_OBJECT_DIRECTORY", objects);
            git.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.folder.join("objects"));
        }
        git
    }

    /// True if `old` is an ancestor of `new`.
    pub fn continues(&self, old: &str, new: &str, objects: &Path) -> bool {
        let mut git = self.with_objects(Some(objects));
        git.args(["merge-base", "--is-ancestor", old, new]);
        self.run(git).is_ok()
    }

    /// Writes the files of a commit below `to`.
    pub fn export(&self, commit: &str, objects: Option<&Path>, to: &Path) -> Result<(), String> {
        let index = Scratch::new(&self.folder, "export")?;
        let with_index = |words: &[&str]| {
            let mut git = self.with_objects(objects);
            git.env("GIT_INDEX_FILE", &index.0).env("GIT_WORK_TREE", to).args(words);
            git
        };
        self.run(with_index(&["read-tree", commit]))?;
        let prefix = format!("--prefix={}/", to.display());
        self.run(with_index(&["checkout-index", "--all", "--force", &prefix])).map(drop)
    }

    /// The files of the directory. Nothing is written.
    pub fn here(&self) -> Result<Tree, String> {
        let mut here = Tree::new();
        for paths in self.paths()?.chunks(PATHS_AT_ONCE) {
            here.append(&mut self.hashed(paths, false)?);
        }
        Ok(here)
    }

    /// Makes the directory equal to a commit, file by file. `old` is the commit that it was equal to.
    pub fn check_out(&self, old: Option<&str>, new: &str) -> Result<(), String> {
        let before = old.map(|old| self.tree(old, None)).transpose()?.unwrap_or_default();
        let after = self.tree(new, None)?;
        let staged = Scratch::new(&self.folder, "staged")?;
        fs::create_dir(&staged.0).map_err(|error| self.failed(&error))?;
        self.export(new, None, &staged.0)?;
        // Those that are gone come first: a folder of theirs may become a file, or a file a folder.
        for path in changed(&before, &after) {
            let done = match after.get(&path) {
                Some(entry) => put(&staged.0.join(&path), &self.root.join(&path), entry),
                None => remove(&self.root, &path),
            };
            done.map_err(|error| format!("{path}: {error}"))?;
        }
        self.set_applied(new)
    }

    /// An error if rollcall may not write one of the paths.
    pub fn check_writable(&self, paths: &[String]) -> Result<(), String> {
        let nearest = |path: &String| {
            self.root.join(path).ancestors().skip(1).find(|at| at.is_dir()).map(PathBuf::from)
        };
        let folders: BTreeSet<PathBuf> = paths.iter().filter_map(nearest).collect();
        for folder in folders {
            check_folder(&folder).map_err(|error| {
                format!(
                    "rollcall cannot write into {}: {error}; try: chown it to rollcall, and with systemd `ReadWritePaths={}`",
                    folder.display(),
                    self.root.display()
                )
            })?;
        }
        Ok(())
    }

    /// The branch as it was before an accepted commit that cannot be put in place.
    pub fn take_back(&self, old: Option<&str>, new: &str) -> Result<(), String> {
        match old {
            Some(old) => self.ask(&["update-ref", BRANCH, old, new]).map(drop),
            None => self.ask(&["update-ref", "-d", BRANCH, new]).map(drop),
        }
    }

    fn set_applied(&self, commit: &str) -> Result<(), String> {
        let (path, new) = (self.folder.join(APPLIED), self.folder.join("rollcall-applied.new"));
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(commit.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)
        });
        written.map_err(|error| self.failed(&error))
    }

    /// At the start: removes what dead processes have left, and catches up.
    pub fn finish(&self) -> Option<Result<String, String>> {
        if !self.exists() {
            return None;
        }
        self.sweep();
        sweep_directory(&self.root);
        sweep_git(&self.folder);
        self.catch_up().transpose()
    }

    /// Finishes a delivery that was accepted and is not in place. A message, if there was one.
    pub fn catch_up(&self) -> Result<Option<String>, String> {
        let applied = fs::read_to_string(self.folder.join(APPLIED)).ok();
        let Some(tip) = self.tip()?.filter(|tip| applied.as_ref() != Some(tip)) else { return Ok(None) };
        let before = applied.as_ref().map(|old| self.tree(old, None)).transpose()?.unwrap_or_default();
        let (after, here) = (self.tree(&tip, None)?, self.here()?);
        // Each file is the one before or the one after, unless a person has changed it since.
        let foreign: Vec<String> =
            changed(&after, &here).into_iter().filter(|path| here.get(path) != before.get(path)).collect();
        let name = tip.get(..12).unwrap_or(&tip).to_string();
        if !foreign.is_empty() {
            return Err(format!(
                "the configuration of commit {name} was accepted and is not in the directory, where {} differs from it and from the \
                 commit before; nothing was changed; try: compare them (git fetch), then push again",
                foreign.join(", ")
            ));
        }
        self.check_out(applied.as_deref(), &tip)?;
        Ok(Some(format!(
            "the configuration of commit {name}, which was accepted before the last end, is in the directory now"
        )))
    }

    /// Removes what dead processes have left.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(SCRATCH) {
                let path = entry.path();
                let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
            }
        }
    }
}

fn git_named(git: &mut Command) -> Command {
    std::mem::replace(git, Command::new("git"))
}

/// Names of a commit are texts: a name that is none would be another one on the disk.
fn named(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| {
        let name = String::from_utf8_lossy(bytes);
        let name = name.rsplit('\t').next().unwrap_or_default();
        format!("{name}: this name is not UTF-8, and no file of a configuration has such a name; try: rename the file")
    })
}

/// The start of the names of files that live as long as a question.
const SCRATCH: &str = "scratch-";

/// A path of a file or folder that is removed at the end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(folder: &Path, what: &str) -> Result<Scratch, String> {
        static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = folder.join(format!("{SCRATCH}{what}-{}-{number}", std::process::id()));
        match path.exists() {
            true => Err(format!("{}: it is there already", path.display())),
            false => Ok(Scratch(path)),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0).or_else(|_| fs::remove_file(&self.0));
    }
}

#[cfg(test)]
#[path = "repository_tests.rs"]
mod tests;
