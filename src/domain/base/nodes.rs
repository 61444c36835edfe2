//! Sets of names and what is done with them: `web[01-05]!web03`, `@web,db1!web02`. The operators are those of ClusterShell, from
//! left to right: `,` unites, `!` takes away, `&` keeps what is in both, `^` what is in one of two.

use std::collections::BTreeSet;

use super::name::clipped;
use super::nodeset::{EXPANSION_LIMIT_BYTES, EXPANSION_LIMIT_NAMES, expand, fold};

/// The names of a term that begins with `@`, by the text behind it.
pub type Named<'a> = &'a dyn Fn(&str) -> Result<Vec<String>, String>;

/// Most names that all terms stand for together, before operators: each takes time.
const NAMED_LIMIT: usize = 1_000_000;

/// Most terms of the inventory: each looks at all hosts.
const GROUPS_LIMIT: usize = 256;

/// The names that the words stand for, united, each once.
pub fn evaluate(words: &[&str], named: Named<'_>) -> Result<BTreeSet<String>, String> {
    let (mut all, mut left) = (BTreeSet::new(), Budget { names: NAMED_LIMIT, groups: GROUPS_LIMIT });
    for word in words {
        all.append(&mut evaluate_one(word, named, &mut left)?);
        if all.len() > EXPANSION_LIMIT_NAMES {
            return Err(format!("the words stand for more than {EXPANSION_LIMIT_NAMES} names"));
        }
    }
    match all.iter().map(String::len).sum::<usize>() > EXPANSION_LIMIT_BYTES {
        true => Err(format!("the words stand for more than {EXPANSION_LIMIT_BYTES} bytes of names")),
        false => Ok(all),
    }
}

/// What is left of the work for one command.
struct Budget {
    names: usize,
    groups: usize,
}

impl Budget {
    fn names_of(&mut self, term: &str, named: Named<'_>) -> Result<Vec<String>, String> {
        let names = match term.strip_prefix('@') {
            Some("") => return Err("`@` names no group".into()),
            Some(group) => {
                let left = self.groups.checked_sub(1);
                self.groups = left.ok_or_else(|| format!("at most {GROUPS_LIMIT} words begin with `@`"))?;
                named(group)?
            }
            None => expand(term)?,
        };
        let left = self.names.checked_sub(names.len());
        self.names = left.ok_or_else(|| format!("all words name more than {NAMED_LIMIT} names"))?;
        Ok(names)
    }
}

fn evaluate_one(word: &str, named: Named<'_>, budget: &mut Budget) -> Result<BTreeSet<String>, String> {
    let mut all = BTreeSet::new();
    for (operator, term) in terms(word)? {
        let names = budget.names_of(term, named)?;
        // Each takes time that grows with the names of the term, and not with those before it.
        match operator {
            '!' => names.iter().for_each(|name| _ = all.remove(name)),
            '&' => all = names.into_iter().filter(|name| all.contains(name)).collect(),
            '^' => {
                for name in names.into_iter().collect::<BTreeSet<String>>() {
                    if !all.remove(&name) {
                        all.insert(name);
                    }
                }
            }
            _ => all.extend(names),
        }
    }
    Ok(all)
}

/// The terms of a word, each with the operator in front of it. Operators in brackets are part of a term.
fn terms(word: &str) -> Result<Vec<(char, &str)>, String> {
    let (mut all, mut depth, mut begin, mut operator) = (Vec::new(), 0usize, 0, ',');
    for (at, c) in word.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ',' | '!' | '&' | '^' if depth == 0 => {
                all.push((operator, &word[begin..at]));
                (begin, operator) = (at + 1, c);
            }
            _ => {}
        }
    }
    all.push((operator, &word[begin..]));
    match all.iter().any(|(_, term)| term.is_empty()) {
        true => Err(format!("`{}`: an operator has no name on one of its sides", clipped(word))),
        false => Ok(all),
    }
}

/// The names in the order in which they fold: by name, then by number.
pub fn in_order(names: &BTreeSet<String>) -> Result<Vec<String>, String> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let folded = fold(names.iter().map(String::as_str));
    let mut all = Vec::new();
    for (_, term) in terms(&folded)? {
        all.extend(expand(term)?);
    }
    // Names that hold an operator in a bracket would read as others.
    match all.len() == names.len() && all.iter().all(|name| names.contains(name)) {
        true => Ok(all),
        false => Ok(names.iter().cloned().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str) -> Result<Vec<String>, String> {
        match name {
            "web" => expand("web[01-04]"),
            "prod" => Ok([expand("web[01-03]")?, vec!["db1".into()]].concat()),
            other => Err(format!("no group or host is called `{other}`")),
        }
    }

    fn folded(words: &[&str]) -> Result<String, String> {
        evaluate(words, &group).map(|names| fold(names.iter().map(String::as_str)))
    }

    #[test]
    fn the_rules_are_those_of_clustershell() {
        let table: [(&[&str], &str); 17] = [
            (&["web[01-05]!web03"], "web[01-02,04-05]"),
            (&["web[01-03]&web[02-09]"], "web[02-03]"),
            (&["@web^@prod"], "db1,web04"),
            (&["@web,db1!web02"], "db1,web[01,03-04]"),
            (&["a[1-3]!a1,a1"], "a[1-3]"),
            (&["a1,a2!a1&a[1-9]"], "a2"),
            (&["a[1-3]&a[2-5]!a3,b1^a2"], "b1"),
            (&["web01", "web02", "web03", "web10", "db1"], "db1,web[01-03,10]"),
            (&["web[1-3]", "web[03-05]"], "web[1-3,03-05]"),
            (&["web[001-003,10]"], "web[10,001-003]"),
            (&["web[01-10/3]"], "web[01,04,07,10]"),
            (&["rack[1-2]-web[1-2]"], "rack1-web[1-2],rack2-web[1-2]"),
            (&["web[01-02].example.com"], "web[01-02].example.com"),
            (&["a1", "a1!a1"], "a1"),
            (&["a1!a1"], ""),
            (&[], ""),
            (&["@prod"], "db1,web[01-03]"),
        ];
        for (words, wanted) in table {
            assert_eq!(folded(words).as_deref(), Ok(wanted), "{words:?}");
        }
        assert_eq!(evaluate(&["web[01-20]"], &group).unwrap().len(), 20);
        let names = evaluate(&["web[01-03,10]", "web2", "db1"], &group).unwrap();
        assert_eq!(in_order(&names).unwrap().join(" "), "db1 web2 web10 web01 web02 web03");
        assert_eq!(in_order(&BTreeSet::new()), Ok(Vec::new()));
    }

    #[test]
    fn what_stands_for_nothing_known_is_an_error() {
        let (groups, names) = ("@web,".repeat(300), "a[1-99999]!".repeat(11));
        let table = [
            ("web[3-1]", "bad range `3-1`"),
            ("web[1-", "missing `]`"),
            ("@nope", "no group or host is called `nope`"),
            ("@", "`@` names no group"),
            ("a,,b", "no name on one of its sides"),
            ("!a", "no name on one of its sides"),
            ("a[1-99999999]", "stands for more than"),
            (groups.trim_end_matches(','), "at most 256 words begin with `@`"),
            (names.trim_end_matches('!'), "more than 1000000 names"),
        ];
        for (word, why) in table {
            let error = folded(&[word]).unwrap_err();
            assert!(error.contains(why), "{word}: {error}");
        }
    }
}
