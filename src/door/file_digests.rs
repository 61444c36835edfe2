//! Digests of outputs that only files have, read once for all who compare them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::domain::base::answer::{Answer, AnswerReader, OwnNames};
use crate::domain::base::name::HostName;
use crate::local::outputs::parts::Source;
use crate::local::outputs::path_of;
use crate::local::outputs::read::OutputFile;
use crate::present::board::answers::FileAnswers;
use crate::present::board::fold::NOT_KEPT;

/// Digests that are kept: those of the steps of several large runs, in some megabytes.
const KEPT: usize = 50_000;

/// Most bytes that are read for one page, which takes less than a second. The next page goes on with the others.
const READ_BYTES: u64 = 64 * 1024 * 1024;

/// An output that has ended.
pub struct Ended {
    pub host: HostName,
    pub operation: String,
    pub names: OwnNames,
}

/// See the module.
#[derive(Default)]
pub struct FileDigests(Mutex<HashMap<String, Answer>>);

impl FileDigests {
    /// The digests of these outputs, or why they have none. Reads files.
    pub fn of(&self, folder: Option<&Path>, outputs: &[Ended]) -> FileAnswers {
        let (mut found, mut read) = (BTreeMap::new(), 0);
        for output in outputs {
            let known = self.lock().get(&output.operation).copied();
            let answer = match known {
                Some(answer) => Ok(answer),
                None if read >= READ_BYTES => {
                    Err("its output is long, and not read yet: this page reads some outputs each time".into())
                }
                None => digest(folder, output, &mut read).inspect(|answer| self.keep(output, *answer)),
            };
            found.insert(output.host.clone(), answer);
        }
        found
    }

    fn keep(&self, output: &Ended, answer: Answer) {
        let mut kept = self.lock();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(output.operation.clone(), answer);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(folder: Option<&Path>, output: &Ended, read: &mut u64) -> Result<Answer, String> {
    let unreadable = |error: std::io::Error| format!("its output could not be read: {error}");
    let none = || "its file is not there, and the journal keeps the start and the end".to_string();
    let path = folder.and_then(|folder| path_of(folder, &output.operation)).ok_or_else(none)?;
    let mut file = OutputFile::open(&path).map_err(unreadable)?.ok_or_else(none)?;
    let end = file.state().map_err(unreadable)?.end;
    let end =
        end.ok_or("its end is not on record: rollcall ended, or the disk was full, while it was written")?;
    if end.not_kept > 0 {
        return Err(format!("{} bytes of its output were not kept: {}", end.not_kept, end.why));
    }
    if !end.why.is_empty() {
        return Err(end.why);
    }
    *read += file.bytes();
    let mut reader = AnswerReader::new(&output.names);
    file.pieces(|source, bytes| reader.push(source == Source::Err, bytes)).map_err(unreadable)?;
    reader.finish().ok_or_else(|| NOT_KEPT.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::outputs::beside;

    #[test]
    fn an_output_that_is_not_whole_has_no_digest() {
        let folder = tempfile::tempdir().unwrap();
        let of = |host: &str, data: Option<&str>, parts: &str| {
            let operation = format!("7/{host}/0/1");
            if let Some(data) = data {
                let path = path_of(folder.path(), &operation).unwrap();
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, data).unwrap();
                std::fs::write(beside(&path, "parts"), parts).unwrap();
            }
            Ended { host: host.into(), operation, names: OwnNames::new(&host.into(), "") }
        };
        let outputs = [
            of("a", Some("a up\nno\n"), "rollcall 1 0\nout 5 0\nerr 3 0\nend 0 \n"),
            of("b", Some("no\nb up\n"), "rollcall 1 0\nerr 3 0\nout 5 0\nend 0 \n"),
            of("c", Some("c up\n"), "rollcall 1 0\nout 5 0\nend 9 no space\n"),
            of("d", Some("d up\n"), "rollcall 1 0\nout 5 0\nend 0 gone\n"),
            of("e", Some("e up\n"), "rollcall 1 0\nout 5 0\n"),
            of("f", None, ""),
            of("g", Some("[... the rest was not kept ...]\n"), "rollcall 1 0\nout 32 0\nend 0 \n"),
        ];
        let digests = FileDigests::default();
        let found = digests.of(Some(folder.path()), &outputs);
        let (a, b) = (found["a"].clone().unwrap(), found["b"].clone().unwrap());
        assert_eq!(a.masked, b.masked, "which stream came first is chance");
        assert_ne!(a.plain, b.plain);
        for (host, why) in [
            ("c", "9 bytes of its output were not kept: no space"),
            ("d", "gone"),
            ("e", "its end is not on record"),
            ("f", "its file is not there"),
            ("g", NOT_KEPT),
        ] {
            assert!(found[host].clone().unwrap_err().starts_with(why), "{host}: {:?}", found[host]);
        }
        std::fs::remove_dir_all(folder.path()).unwrap();
        let again = digests.of(Some(folder.path()), &outputs[..2]);
        assert_eq!(again["a"], Ok(a), "it is read once");
    }
}
