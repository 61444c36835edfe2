//! Which of the oldest runs may be removed from the journal. Only whole runs are removed, and only from its start: what
//! remains is a chain without a gap.

/// What the journal has of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunSpan {
    /// The numbers of its first and its last event. Events of other runs may be between them.
    pub first: u64,
    pub last: u64,
    /// The run and its debts ended before the retention time.
    pub is_removable: bool,
}

/// The last event to remove; `None` if there is none. `runs` are those that the journal begins with, in their order.
///
/// Ends with the first cut behind `enough` events, so that other work need not wait for long.
pub fn cut(runs: impl IntoIterator<Item = RunSpan>, newest: u64, enough: u64) -> Option<u64> {
    let (mut cut, mut reach, mut start) = (None, 0, None);
    for run in runs {
        let start = *start.get_or_insert(run.first);
        // All runs before this one have ended before it began.
        if run.first > reach && reach > 0 {
            cut = Some(reach);
            if reach - start + 1 >= enough {
                return cut;
            }
        }
        if !run.is_removable {
            return cut;
        }
        reach = reach.max(run.last);
    }
    // The last event stays: the next one is hashed together with it.
    if reach > 0 && reach < newest { Some(reach) } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(text: &str) -> Vec<RunSpan> {
        let run = |word: &str| {
            let (numbers, stays) = word.strip_suffix('!').map_or((word, false), |rest| (rest, true));
            let (first, last) = numbers.split_once('-').unwrap();
            RunSpan { first: first.parse().unwrap(), last: last.parse().unwrap(), is_removable: !stays }
        };
        text.split(' ').filter(|word| !word.is_empty()).map(run).collect()
    }

    #[test]
    fn only_whole_runs_are_removed_and_the_last_event_stays() {
        // `!`: it stays.
        let table = [
            ("", 0, None),
            ("1-9", 9, None),
            ("1-9 10-12", 12, Some(9)),
            ("1-9", 20, Some(9)),
            ("1-9!", 20, None),
            ("1-9 10-12!", 12, Some(9)),
            // The second run has begun before the first one was over.
            ("1-9 5-12!", 12, None),
            ("1-9 5-12 13-20!", 20, Some(12)),
            ("1-4 5-12 6-9 10-20! 13-30", 30, Some(4)),
            ("101-104 105-110!", 110, Some(104)),
        ];
        for (text, newest, wanted) in table {
            assert_eq!(cut(runs(text), newest, u64::MAX), wanted, "{text}");
        }
    }

    #[test]
    fn a_cut_is_no_longer_than_needed() {
        let all = "1-100 101-200 150-300 301-400";
        assert_eq!(cut(runs(all), 400, 1), Some(100));
        assert_eq!(cut(runs(all), 400, 101), Some(300));
        assert_eq!(cut(runs(all), 400, 1_000), Some(300));
    }
}
