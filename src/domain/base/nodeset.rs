//! Host sets as people write and read them: `web[01-20]` expands to twenty names, and a list of
//! names folds back. The rules are ClusterShell's.
//!
//! Own code, because the `nodeset` crate brings a command line, a logger and an unmaintained YAML
//! parser with it, and cannot keep the order in which hosts were written.

use std::collections::BTreeMap;

use super::name::{clipped, natural};

/// Most names that one set may expand to: a typing error such as `web[1-99999999]` must
/// not take the daemon's memory.
pub const EXPANSION_LIMIT_NAMES: usize = 100_000;

/// Most bytes of all these names together: a hundred thousand names may be long ones.
pub const EXPANSION_LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// Most brackets in one set: racks, rows and hosts need three.
pub const BRACKET_LIMIT: usize = 16;

/// Most digits of a number in a range: no host has a higher number.
const DIGIT_LIMIT: usize = 18;

/// Expands brackets: `web[01-03,10]`, `web[1-9/2]`, `rack[1-2]-web[1-4]`, and Ansible's
/// `web[01:03]`, `web[a:c]`. Text without brackets is a single name.
pub fn expand(text: &str) -> Result<Vec<String>, String> {
    let in_set = |why: String| format!("`{}`: {why}", clipped(text));
    let mut names = vec![String::new()];
    let (mut rest, mut brackets) = (text, 0);
    while let Some((head, tail)) = rest.split_once('[') {
        let (inside, after) = tail.split_once(']').ok_or_else(|| in_set("missing `]`".into()))?;
        if head.contains(']') {
            return Err(in_set("`]` without `[`".into()));
        }
        brackets += 1;
        if brackets > BRACKET_LIMIT {
            return Err(in_set(format!("has more than {BRACKET_LIMIT} brackets")));
        }
        let indexes = expand_indexes(inside).map_err(in_set)?;
        names = product(&names, head, &indexes).map_err(in_set)?;
        rest = after;
    }
    if rest.contains(']') {
        return Err(in_set("`]` without `[`".into()));
    }
    check_bytes(names.len(), names.iter().map(String::len).sum::<usize>() + names.len() * rest.len())
        .map_err(in_set)?;
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok(names)
}

/// Every name followed by `head` and every index.
fn product(names: &[String], head: &str, indexes: &[String]) -> Result<Vec<String>, String> {
    let count = names.len().saturating_mul(indexes.len());
    let written: usize = names.iter().map(|name| name.len() + head.len()).sum();
    let counted: usize = indexes.iter().map(String::len).sum();
    let bytes = written.saturating_mul(indexes.len()).saturating_add(counted.saturating_mul(names.len()));
    check_bytes(count, bytes)?;
    let pairs = names.iter().flat_map(|name| indexes.iter().map(move |index| format!("{name}{head}{index}")));
    Ok(pairs.collect())
}

fn check_bytes(names: usize, bytes: usize) -> Result<(), String> {
    if names > EXPANSION_LIMIT_NAMES {
        return Err(format!("stands for more than {EXPANSION_LIMIT_NAMES} names"));
    }
    if bytes > EXPANSION_LIMIT_BYTES {
        return Err(format!("stands for more than {EXPANSION_LIMIT_BYTES} bytes of names"));
    }
    Ok(())
}

fn expand_indexes(inside: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for part in inside.split(',') {
        all.extend(expand_range(part)?);
        if all.len() > EXPANSION_LIMIT_NAMES {
            return Err(format!("stands for more than {EXPANSION_LIMIT_NAMES} names"));
        }
    }
    Ok(all)
}

fn expand_range(part: &str) -> Result<Vec<String>, String> {
    let bad = || format!("bad range `{}`", clipped(part));
    if let Some((from, to)) = part.split_once(':') {
        return expand_ansible(from, to, part);
    }
    let (span, step) = part.split_once('/').unwrap_or((part, "1"));
    let (from, to) = span.split_once('-').unwrap_or((span, span));
    numbers(from, to, step).ok_or_else(bad)?
}

fn expand_ansible(from: &str, rest: &str, part: &str) -> Result<Vec<String>, String> {
    let bad = || format!("bad range `{}`", clipped(part));
    let (to, step) = rest.split_once(':').unwrap_or((rest, "1"));
    let letter = |text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii_alphabetic() => Some(*byte),
        _ => None,
    };
    let (Some(first), Some(last)) = (letter(from), letter(to)) else {
        return numbers(from, to, step).ok_or_else(bad)?;
    };
    let step: usize = step.parse().ok().filter(|step| *step > 0).ok_or_else(bad)?;
    if first > last {
        return Err(bad());
    }
    Ok((first..=last).step_by(step).map(|byte| char::from(byte).to_string()).collect())
}

/// `None` when a part is not a number; the inner error when the range runs backwards or is too long.
fn numbers(from: &str, to: &str, step: &str) -> Option<Result<Vec<String>, String>> {
    let is_number = |text: &str| text.len() <= DIGIT_LIMIT && text.bytes().all(|b| b.is_ascii_digit());
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| is_number(text));
    let (first, last) = (number(from)?, number(to)?);
    let step = usize::try_from(number(step)?).ok().filter(|step| *step > 0)?;
    if first > last {
        return Some(Err(format!("bad range `{from}-{to}`: it runs backwards")));
    }
    if (last - first) / step as u64 >= EXPANSION_LIMIT_NAMES as u64 {
        return Some(Err(format!("stands for more than {EXPANSION_LIMIT_NAMES} names")));
    }
    let width = if from.starts_with('0') { from.len() } else { 0 };
    Some(Ok((first..=last).step_by(step).map(|n| format!("{n:0width$}")).collect()))
}

/// Folds names into the shortest set: `db1,web[01-03,10]`. Sorted by name, then number; numbers of
/// different padding stay apart, because they are different names.
///
/// The last number in the first label is folded, since that is where hosts are counted
/// (`web01.prod.example.com` folds to `web[01-03].prod.example.com`); of an IPv4 address the last of its numbers.
pub fn fold<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut families: BTreeMap<(&str, &str), Vec<(usize, u64)>> = BTreeMap::new();
    let mut plain: BTreeMap<(&str, &str), ()> = BTreeMap::new();
    for name in names {
        match split_number(name) {
            Some((head, width, number, tail)) => {
                families.entry((head, tail)).or_default().push((width, number))
            }
            None => _ = plain.insert((name, ""), ()),
        }
    }
    let mut words: Vec<((&str, &str), String)> =
        plain.into_keys().map(|key| (key, key.0.to_string())).collect();
    for ((head, tail), mut numbers) in families {
        numbers.sort_unstable();
        numbers.dedup();
        words.push(((head, tail), fold_family(head, tail, &numbers)));
    }
    words.sort_by(|(a, _), (b, _)| natural(a.0, b.0).then_with(|| natural(a.1, b.1)));
    words.into_iter().map(|(_, word)| word).collect::<Vec<_>>().join(",")
}

fn is_ipv4(name: &str) -> bool {
    let is_number =
        |part: &str| part.len() <= 3 && !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    name.split('.').count() == 4 && name.split('.').all(is_number)
}

/// Splits `web01.prod` into `web`, padding width 2, 1, `.prod`. Width 0 means unpadded.
fn split_number(name: &str) -> Option<(&str, usize, u64, &str)> {
    let is_address = is_ipv4(name);
    let label_end = name.find('.').filter(|_| !is_address).unwrap_or(name.len());
    let end = name[..label_end].rfind(|c: char| c.is_ascii_digit())? + 1;
    let start = name[..end].rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    let digits = Some(&name[start..end]).filter(|digits| digits.len() <= DIGIT_LIMIT)?;
    let width = if digits.starts_with('0') && digits.len() > 1 { digits.len() } else { 0 };
    Some((&name[..start], width, digits.parse().ok()?, &name[end..]))
}

fn fold_family(head: &str, tail: &str, numbers: &[(usize, u64)]) -> String {
    let mut runs: Vec<(usize, u64, u64)> = Vec::new();
    for (width, number) in numbers {
        match runs.last_mut() {
            Some((run_width, _, last)) if continues(*run_width, *last, *width, *number) => *last = *number,
            _ => runs.push((*width, *number, *number)),
        }
    }
    // A padded run ends where the numbers outgrow the padding (08, 09, 10): join the runs of one family.
    let runs = join_outgrown(runs);
    if let [(width, first, last)] = runs[..]
        && first == last
    {
        return format!("{head}{first:0width$}{tail}");
    }
    let parts: Vec<String> = runs
        .iter()
        .map(|&(width, first, last)| match first == last {
            true => format!("{first:0width$}"),
            false => format!("{first:0width$}-{last:0width$}"),
        })
        .collect();
    format!("{head}[{}]{tail}", parts.join(","))
}

fn continues(run_width: usize, last: u64, width: usize, number: u64) -> bool {
    run_width == width && last.checked_add(1) == Some(number)
}

/// `web08 web09 web10` is one family written with two digits: unpadded runs whose numbers fill the
/// padding exactly continue the padded ones.
fn join_outgrown(runs: Vec<(usize, u64, u64)>) -> Vec<(usize, u64, u64)> {
    let (padded, unpadded): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| run.0 > 0);
    let widths = &padded[..];
    let Some(width) =
        widths.first().map(|run| run.0).filter(|width| widths.iter().all(|run| run.0 == *width))
    else {
        return unpadded.into_iter().chain(padded).collect();
    };
    let digits = |number: u64| number.to_string().len();
    let fits = |run: &(usize, u64, u64)| digits(run.1) == width && digits(run.2) == width;
    if !unpadded.iter().all(fits) {
        return unpadded.into_iter().chain(padded).collect();
    }
    let mut joined: Vec<(usize, u64, u64)> = Vec::new();
    for (_, first, last) in padded.into_iter().chain(unpadded) {
        match joined.last_mut() {
            Some(run) if run.2.checked_add(1) == Some(first) => run.2 = last,
            _ => joined.push((width, first, last)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_expand_by_clustershells_rules() {
        let table = [
            ("web[01-03,10]", "web01 web02 web03 web10"),
            ("web[01-10/3]", "web01 web04 web07 web10"),
            ("rack[1-2]-web[1-2]", "rack1-web1 rack1-web2 rack2-web1 rack2-web2"),
            ("web[01-02].example.com", "web01.example.com web02.example.com"),
            ("web[1,3,5-7]", "web1 web3 web5 web6 web7"),
            ("plain", "plain"),
            ("jenkins[01:03]", "jenkins01 jenkins02 jenkins03"),
            ("db-[a:c]", "db-a db-b db-c"),
            ("web[01:05:2]", "web01 web03 web05"),
            ("web[08-11]", "web08 web09 web10 web11"),
        ];
        for (set, names) in table {
            assert_eq!(expand(set).map(|n| n.join(" ")), Ok(names.to_string()), "{set}");
        }
        assert_eq!(expand("web[01-20]").map(|n| n.len()), Ok(20));
    }

    #[test]
    fn a_bad_set_says_what_is_wrong_with_it() {
        let table = [
            ("web[3-1]", "`web[3-1]`: bad range `3-1`: it runs backwards"),
            ("web[1-", "`web[1-`: missing `]`"),
            ("web1]", "`web1]`: `]` without `[`"),
            ("web[]", "`web[]`: bad range ``"),
            ("web[x]", "`web[x]`: bad range `x`"),
            ("web[1-3/0]", "`web[1-3/0]`: bad range `1-3/0`"),
            ("web[+1-3]", "`web[+1-3]`: bad range `+1-3`"),
            ("w[1-99999999]", "`w[1-99999999]`: stands for more than 100000 names"),
            ("w[1-999]x[1-999]", "`w[1-999]x[1-999]`: stands for more than 100000 names"),
            ("a]b[1]", "`a]b[1]`: `]` without `[`"),
            ("w[0000000000000000001-2]", "`w[0000000000000000001-2]`: bad range `0000000000000000001-2`"),
        ];
        for (set, error) in table {
            assert_eq!(expand(set), Err(error.to_string()), "{set}");
        }
    }

    #[test]
    fn no_set_takes_the_stack_or_the_memory() {
        let refusal = |set: &str| expand(set).unwrap_err();
        assert!(refusal(&format!("x{}", "[1]".repeat(4_000))).ends_with(": has more than 16 brackets"));
        assert!(
            refusal(&format!("{}[1-99999]", "x".repeat(16_000)))
                .contains("more than 16777216 bytes of names")
        );
        assert!(
            refusal(&format!("[1-99999]{}", "x".repeat(16_000)))
                .contains("more than 16777216 bytes of names")
        );
        assert!(refusal(&format!("[{}1-9]", "0".repeat(70_000))).len() < 300);
        assert_eq!(fold([&*format!("web{}1", "0".repeat(70_000))]).len(), 70_004);
    }

    #[test]
    fn names_fold_by_clustershells_rules() {
        let table = [
            ("web01 web02 web03 web10 db1", "db1,web[01-03,10]"),
            ("web1 web2 web3 web03 web04 web05", "web[1-3,03-05]"),
            ("web001 web002 web003 web10", "web[10,001-003]"),
            ("web08 web09 web10 web11", "web[08-11]"),
            ("web2 web1", "web[1-2]"),
            ("one two", "one,two"),
            ("web01.a.com web02.a.com web01.b.com", "web[01-02].a.com,web01.b.com"),
            ("r1-w2 r1-w1", "r1-w[1-2]"),
            ("web1 web1", "web1"),
            ("127.0.1.1 127.0.1.2 127.0.1.10 127.0.1.3", "127.0.1.[1-3,10]"),
            ("10.0.10.1 10.0.2.1 10.0.2.2", "10.0.2.[1-2],10.0.10.1"),
            ("10.0.2 10.0.3", "10.0.2,10.0.3"),
            ("r10-w1 r2-w1", "r2-w1,r10-w1"),
            ("", ""),
        ];
        for (names, set) in table {
            assert_eq!(fold(names.split_whitespace()), set, "{names}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_was_folded_expands_to_the_same_names(
            names in proptest::collection::btree_set("((web|db-)[0-9]{1,3}(\\.a\\.com)?|10\\.0\\.[0-9]{1,2}\\.[1-9]?[0-9])", 0..40)
        ) {
            let folded = fold(names.iter().map(String::as_str));
            let mut back = std::collections::BTreeSet::new();
            for word in split_words(&folded) {
                back.extend(expand(&word).map_err(proptest::test_runner::TestCaseError::fail)?);
            }
            proptest::prop_assert_eq!(names, back);
        }
    }

    fn split_words(folded: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut depth = 0;
        for c in folded.chars() {
            match c {
                '[' => depth += 1,
                ']' => depth -= 1,
                ',' if depth == 0 => {
                    words.push(String::new());
                    continue;
                }
                _ => {}
            }
            words.last_mut().expect("never empty").push(c);
        }
        words.retain(|word| !word.is_empty());
        words
    }
}
