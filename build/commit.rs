//! The commit of a checkout, read from its files: a build needs no git.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// What was found, and the files that change when it does.
pub struct Found {
    pub commit: Option<String>,
    pub files: Vec<PathBuf>,
}

/// The commit that is checked out in `root`. A checkout around it, such as that of a vendoring project, does not count.
pub fn find(root: &Path) -> Found {
    let Some(git) = git_dir(&root.join(".git")) else { return Found { commit: None, files: Vec::new() } };
    let head = git.join("HEAD");
    let text = read_to_string(&head).unwrap_or_default();
    let mut files = vec![head];
    let commit = match text.trim().strip_prefix("ref: ") {
        Some(name) => branch(&common_dir(&git), name, &mut files),
        None => Some(text),
    };
    Found { commit: commit.and_then(|text| short(&text)), files }
}

/// `.git` is a folder, or in a worktree a file that names one.
fn git_dir(git: &Path) -> Option<PathBuf> {
    if git.is_dir() {
        return Some(git.to_path_buf());
    }
    let text = read_to_string(git).ok()?;
    Some(git.parent()?.join(text.trim().strip_prefix("gitdir: ")?))
}

/// The branches of a worktree are in the folder of the repository.
fn common_dir(git: &Path) -> PathBuf {
    match read_to_string(git.join("commondir")) {
        Ok(path) => git.join(path.trim()),
        Err(_) => git.to_path_buf(),
    }
}

/// Only files that exist are noted: cargo builds again each time when one is missing.
fn branch(common: &Path, name: &str, files: &mut Vec<PathBuf>) -> Option<String> {
    let loose = common.join(name);
    if let Ok(text) = read_to_string(&loose) {
        files.push(loose);
        return Some(text);
    }
    let packed = common.join("packed-refs");
    let text = read_to_string(&packed).ok()?;
    files.push(packed);
    // The next commit writes the branch to a file of its own in this folder.
    files.extend(loose.parent().filter(|folder| folder.is_dir()).map(Path::to_path_buf));
    text.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' ').map(String::from))
}

/// As many digits as `git log --oneline` shows of a large repository.
const DIGITS: usize = 12;

fn short(text: &str) -> Option<String> {
    let text = text.trim();
    let is_commit = text.len() >= DIGITS && text.chars().all(|c| c.is_ascii_hexdigit());
    is_commit.then(|| text[..DIGITS].to_string())
}
