//! Which outputs are removed: those of runs that are too old, and the oldest while all together are too large.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;

use super::job::OutputLimits;
use crate::domain::base::name::RunId;

/// The outputs of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kept {
    run: RunId,
    bytes: u64,
    /// The last change of any of them.
    newest: Timestamp,
}

/// Removes outputs below `root`, but none of the runs under way; returns the runs.
pub(super) fn prune(
    root: &Path,
    limits: &OutputLimits,
    now: Timestamp,
    under_way: &BTreeSet<RunId>,
) -> std::io::Result<Vec<RunId>> {
    let kept = runs(root)?;
    let removed = excess(&kept, limits, now, under_way);
    for run in &removed {
        std::fs::remove_dir_all(root.join(run.to_string()))?;
    }
    Ok(removed)
}

/// The runs to remove, the oldest first.
fn excess(kept: &[Kept], limits: &OutputLimits, now: Timestamp, under_way: &BTreeSet<RunId>) -> Vec<RunId> {
    let mut kept = kept.to_vec();
    kept.sort_by_key(|one| one.run.0);
    let mut total: u64 = kept.iter().map(|one| one.bytes).sum();
    let mut removed = Vec::new();
    for one in kept.iter().filter(|one| !under_way.contains(&one.run)) {
        let age = now.duration_since(one.newest).unsigned_abs();
        let is_old = one.newest < now && age > limits.keep;
        if is_old || total > limits.total {
            total -= one.bytes;
            removed.push(one.run);
        }
    }
    removed
}

fn runs(root: &Path) -> std::io::Result<Vec<Kept>> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut runs = Vec::new();
    for entry in entries {
        let entry = entry?;
        let run = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(run) = run.filter(|_| entry.path().is_dir()) {
            let (bytes, newest) = sizes(&entry.path())?;
            runs.push(Kept { run: RunId(run), bytes, newest });
        }
    }
    Ok(runs)
}

/// The sizes of all files below a folder, and the last change of one.
fn sizes(root: &Path) -> std::io::Result<(u64, Timestamp)> {
    let (mut bytes, mut newest) = (0, Timestamp::MIN);
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let about = entry.metadata()?;
            let changed = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            newest = newest.max(Timestamp::try_from(changed).unwrap_or(Timestamp::MIN));
            match about.is_dir() {
                true => folders.push(entry.path()),
                false => bytes += about.len(),
            }
        }
    }
    Ok((bytes, newest))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_oldest_runs_go_first_and_none_that_is_under_way() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let kept = |run, bytes, age: i64| Kept {
            run: RunId(run),
            bytes,
            newest: Timestamp::from_second(1_000_000 - age).unwrap(),
        };
        let all = [kept(10, 50, 10), kept(9, 30, 200), kept(8, 20, 1000), kept(7, 5, -5)];
        let table: [(u64, u64, &[u64], &[u64]); 6] = [
            (1000, 10_000, &[], &[]),
            (1000, 500, &[], &[8]),
            (100, 10_000, &[], &[7]),
            (81, 10_000, &[], &[7, 8]),
            (75, 10_000, &[8], &[7, 9]),
            (0, 0, &[7, 8, 9, 10], &[]),
        ];
        for (total, keep, under_way, wanted) in table {
            let limits = OutputLimits { per_operation: 1, total, keep: Duration::from_secs(keep) };
            let under_way = under_way.iter().map(|run| RunId(*run)).collect();
            let removed: Vec<u64> = excess(&all, &limits, now, &under_way).iter().map(|run| run.0).collect();
            assert_eq!(removed, wanted, "{total} {keep}");
        }
    }

    #[test]
    fn only_folders_of_runs_are_removed() {
        let root = tempfile::tempdir().unwrap();
        let limits = OutputLimits { per_operation: 1, total: 0, keep: Duration::from_secs(1) };
        for file in ["7/web1/0-1", "8/web1/0-1", "mine/x", "12x/y"] {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "hello").unwrap();
        }
        let removed = prune(root.path(), &limits, Timestamp::UNIX_EPOCH, &[RunId(8)].into()).unwrap();
        assert_eq!(removed, [RunId(7)]);
        let there = |file: &str| root.path().join(file).exists();
        assert!(!there("7") && there("8/web1/0-1") && there("mine/x") && there("12x/y"));
        let nowhere = root.path().join("nowhere");
        assert_eq!(prune(&nowhere, &limits, Timestamp::UNIX_EPOCH, &BTreeSet::new()).unwrap(), []);
    }
}
