//! What is asked of the logs of hosts.

use std::time::Duration;

/// Lines that are printed if nothing else is asked for.
pub const LINES: u32 = 50;

/// Most lines of one host: each is held in memory until all hosts have answered.
pub const LINES_LIMIT: u32 = 5_000;

/// Most hosts that are followed at the same time: each takes a connection of its own for as long as it lasts.
pub const FOLLOWED_HOSTS: usize = 50;

/// Most hosts whose logs are read in one command: the lines of all of them are in memory at the same time.
pub const READ_HOSTS: usize = 2_000;

/// Most bytes of a path, a unit or a text to search for: the limit of a path on Linux.
const WORD_BYTES: usize = 4096;

/// `logs prod.web journal:app --since 1h`
#[derive(Clone, Debug, PartialEq)]
pub struct LogsAsk {
    pub selector: String,
    pub source: LogSource,
    /// The last ones of each host.
    pub lines: u32,
    /// Only of the journal.
    pub since: Option<Duration>,
    /// Only lines with this text, as it is.
    pub grep: Option<String>,
    /// New lines are printed as they come.
    pub follow: bool,
}

/// Where the lines are on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// A unit in the journal of systemd.
    Journal(String),
    /// A file, by its absolute path.
    File(String),
}

impl LogSource {
    /// Reads `journal:UNIT` or a path.
    pub fn read(text: &str) -> Result<LogSource, String> {
        let usage = |why: &str| format!("{why}; try: logs HOSTS journal:UNIT, logs HOSTS /var/log/FILE");
        if text.len() > WORD_BYTES || text.chars().any(char::is_control) {
            return Err(usage("a log has a name of at most 4096 bytes, without control characters"));
        }
        match text.strip_prefix("journal:") {
            Some("") => Err(usage("say which unit")),
            Some(unit) => Ok(LogSource::Journal(unit.into())),
            None if text.starts_with('/') => Ok(LogSource::File(text.into())),
            None => Err(usage(&format!("`{text}` is neither a unit of the journal nor an absolute path"))),
        }
    }
}

/// Reads the text to search for.
pub(super) fn read_grep(text: &str) -> Result<String, String> {
    match text.is_empty() || text.len() > WORD_BYTES || text.contains(['\n', '\0']) {
        true => Err("`--grep` takes a text of one line, of at most 4096 bytes".into()),
        false => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_a_unit_or_an_absolute_path() {
        let table = [
            ("journal:app", Ok(LogSource::Journal("app".into()))),
            ("journal:app@*.service", Ok(LogSource::Journal("app@*.service".into()))),
            ("/var/log/it's $(here).log", Ok(LogSource::File("/var/log/it's $(here).log".into()))),
            ("journal:", Err("say which unit")),
            (
                "var/log/app.log",
                Err("`var/log/app.log` is neither a unit of the journal nor an absolute path"),
            ),
            ("-f", Err("`-f` is neither")),
            ("/a\nb", Err("without control characters")),
        ];
        for (text, wanted) in table {
            match (LogSource::read(text), wanted) {
                (Ok(found), Ok(wanted)) => assert_eq!(found, wanted),
                (Err(why), Err(wanted)) => assert!(why.contains(wanted), "{why}"),
                (found, wanted) => panic!("{text}: {found:?}, not {wanted:?}"),
            }
        }
    }
}
