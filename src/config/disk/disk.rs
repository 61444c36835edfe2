//! Reads the files of a configuration directory. Other modules parse them.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use super::facts;
use crate::config::daemon::revoked;
use crate::config::hosts::script;
use crate::config::hosts::scripted::SCRIPTS_LIMIT;
use crate::config::text::diagnostic::{Diagnostic, doubtful, unreadable};
use crate::config::text::texts::Texts;

/// Largest configuration file that is read, in bytes: more is not configuration.
const FILE_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// Endings of files that hold data in another format. Others, such as `README.md`, are no surprise.
const OTHER_FORMATS: [&str; 9] = ["yml", "yaml", "ini", "json", "cfg", "conf", "tf", "hcl", "toml"];

/// Files of other programs beside `rollcall.toml`.
const NOT_READ: [&str; 8] = [
    "inventory",
    "inventory.ini",
    "inventory.yml",
    "inventory.yaml",
    "inventory.toml",
    "rollcall.yml",
    "rollcall.yaml",
    "authorized_keys",
];

/// The permission bits to execute a file.
const EXECUTABLE: u32 = 0o111;

/// The content of a configuration directory.
#[derive(Default)]
pub struct DirectoryContent {
    pub texts: Texts,
    /// Programs in `hosts/`.
    pub scripts: Vec<String>,
    /// The files that could not be read.
    pub wrong: Vec<Diagnostic>,
    /// The files that are not read, although an operator may expect it.
    pub ignored: Vec<Diagnostic>,
}

/// Reads every file, and reports those that could not be read.
pub fn read(root: &Path) -> DirectoryContent {
    let mut read = DirectoryReader { root, texts: Texts::new(), wrong: Vec::new() };
    if !root.is_dir() {
        let message = format!("there is no configuration directory {}", root.display());
        let hint = "see the hosts/, tasks/ and checks/ that rollcall comes with";
        return DirectoryContent {
            wrong: vec![unreadable(".", message, Some(hint.into()))],
            ..DirectoryContent::default()
        };
    }
    for file in ["rollcall.toml", "operators", "revoked"] {
        if root.join(file).symlink_metadata().is_ok() {
            read.file(file);
        }
    }
    let mut ignored = Vec::new();
    for folder in ["hosts", "tasks", "checks"] {
        read.folder(folder);
        ignored.extend(read.names(folder).iter().filter_map(|name| read.ignored(folder, name)));
    }
    ignored.extend(NOT_READ.iter().filter_map(|name| read.ignored_beside(name)));
    for program in read.programs(facts::FOLDER) {
        // Only its name is needed here: hosts run it.
        read.texts.insert(program, Arc::from(""));
    }
    let scripts = read.scripts();
    DirectoryContent { texts: read.texts, scripts, wrong: read.wrong, ignored }
}

/// Without the mark that some editors write first, and with `\n` at the end of each line: a host would take `\r` in a script
/// for a part of its last word.
fn plain(text: &str) -> String {
    text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n")
}

fn text_of(path: &str, bytes: Vec<u8>) -> Result<String, std::string::FromUtf8Error> {
    if path == "revoked" { revoked::as_text(bytes) } else { String::from_utf8(bytes) }
}

struct DirectoryReader<'p> {
    root: &'p Path,
    texts: Texts,
    wrong: Vec<Diagnostic>,
}

impl DirectoryReader<'_> {
    /// Every `*.toml` of a folder. A missing folder is empty: the parser decides whether that is a
    /// mistake.
    fn folder(&mut self, folder: &str) {
        for name in self.names(folder) {
            self.entry(folder, &name);
        }
    }

    fn names(&mut self, folder: &str) -> Vec<String> {
        let mut names = Vec::new();
        let entries = match fs::read_dir(self.root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return names,
            Err(error) => {
                self.failed(folder, &error);
                return names;
            }
        };
        for entry in entries {
            match entry {
                Ok(entry) => names.push(entry.file_name().to_string_lossy().into_owned()),
                Err(error) => self.failed(folder, &error),
            }
        }
        names
    }

    /// Hidden files are leftovers of editors.
    fn entry(&mut self, folder: &str, name: &str) {
        if name.ends_with(".toml") && !name.starts_with('.') {
            self.file(&format!("{folder}/{name}"));
        }
    }

    /// The warning about a directory, or a file of another format.
    fn ignored(&self, folder: &str, name: &str) -> Option<Diagnostic> {
        if name.starts_with('.') {
            return None;
        }
        let path = format!("{folder}/{name}");
        let file = fs::metadata(self.root.join(&path)).ok()?;
        if file.is_dir() {
            let hint = format!("put the files into {folder}/ itself");
            return Some(doubtful(
                &path,
                format!("the directory is ignored: files of {folder}/ are read alone"),
                hint,
            ));
        }
        let runs = folder == "hosts" && file.permissions().mode() & EXECUTABLE != 0;
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let other = ending.is_empty() || OTHER_FORMATS.contains(&ending.to_lowercase().as_str());
        let ours = name.ends_with(".toml");
        let hint = match folder {
            "hosts" => "write it as TOML (hosts/NAME.toml), or let an executable script print it as JSON",
            _ => "write it as TOML, in a file NAME.toml",
        };
        let message = format!("the file is ignored: {folder}/ holds files that end in .toml");
        (other && !ours && !runs).then(|| doubtful(&path, message, hint))
    }

    fn ignored_beside(&self, name: &str) -> Option<Diagnostic> {
        self.root.join(name).metadata().ok()?;
        let (message, hint) = match name {
            "authorized_keys" => ("the file is ignored", "the keys of operators are in the file `operators`"),
            "rollcall.yml" | "rollcall.yaml" => ("the file is ignored", "write rollcall.toml"),
            _ => ("the file is ignored: hosts are in hosts/*.toml", "write it as hosts/NAME.toml"),
        };
        Some(doubtful(name, message.into(), hint))
    }

    /// Scripts of `hosts/`. One that others may write is not run.
    fn scripts(&mut self) -> Vec<String> {
        let mut scripts = self.programs("hosts");
        scripts.retain(|path| {
            let why = script::check_safe(&self.root.join(path)).err();
            let hint = || Some(format!("chmod go-w {path}"));
            self.wrong.extend(why.iter().map(|why| unreadable(path, why.clone(), hint())));
            why.is_none()
        });
        if scripts.len() > SCRIPTS_LIMIT {
            let message = format!("{} scripts, and there are at most {SCRIPTS_LIMIT}", scripts.len());
            self.wrong.push(unreadable("hosts", message, None));
            scripts.clear();
        }
        scripts
    }

    /// Every program of a folder. A script that is not executable is reported: it was meant to be one.
    fn programs(&mut self, folder: &str) -> Vec<String> {
        let mut programs = Vec::new();
        for name in self.names(folder) {
            let path = format!("{folder}/{name}");
            let no_program = [".toml", "~", ".bak", ".orig"].iter().any(|ending| name.ends_with(ending));
            let file = fs::metadata(self.root.join(&path)).ok().filter(fs::Metadata::is_file);
            let Some(file) = file.filter(|_| !no_program && !name.starts_with('.')) else { continue };
            if file.permissions().mode() & EXECUTABLE != 0 {
                programs.push(path);
            } else if self.is_script(&path) {
                let hint = format!("chmod 755 {path}, or move it elsewhere");
                let message = "the script is not executable".to_string();
                self.wrong.push(unreadable(&path, message, Some(hint)));
            }
        }
        programs.sort();
        programs
    }

    fn is_script(&self, path: &str) -> bool {
        let mut start = [0; 2];
        let read = fs::File::open(self.root.join(path)).and_then(|mut file| file.read_exact(&mut start));
        read.is_ok() && start == *b"#!"
    }

    fn file(&mut self, path: &str) {
        match self.bytes(path) {
            Err(error) => self.failed(path, &error),
            Ok(bytes) => match text_of(path, bytes) {
                Ok(text) => _ = self.texts.insert(path.into(), plain(&text).into()),
                Err(error) => {
                    let at = error.utf8_error().valid_up_to();
                    let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
                    let message = format!("the file is not UTF-8: line {line} cannot be read");
                    self.wrong.push(unreadable(path, message, None));
                }
            },
        }
    }

    fn bytes(&self, path: &str) -> io::Result<Vec<u8>> {
        let about = fs::metadata(self.root.join(path))?;
        if !about.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        if about.len() > FILE_LIMIT_BYTES {
            return Err(io::Error::other(format!("it has more than {FILE_LIMIT_BYTES} bytes")));
        }
        fs::read(self.root.join(path))
    }

    fn failed(&mut self, path: &str, error: &io::Error) {
        let text = error.to_string();
        let why = text.split(" (os error").next().unwrap_or_default().to_lowercase();
        self.wrong.push(unreadable(path, format!("cannot be read: {why}"), None));
    }
}
