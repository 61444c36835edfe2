//! Words behind a command that the grammar cannot take apart: parameters, options of tasks, times, reasons.

use super::{Ask, Command, Format, Params, Tags, TaskWords, UsageError, meant, usage};

pub(super) fn read_task(words: &[String]) -> Result<Command, UsageError> {
    let [task, rest @ ..] = words else { return Err(usage("no command".into())) };
    let [selector, params @ ..] = rest else {
        return Err(usage(format!(
            "`{task}` needs to know where; try: {task} SELECTOR [NAME=VALUE...]{}",
            meant(task)
        )));
    };
    let mut options = Options::default();
    let given = options.take_from(params)?;
    if let Some(option) = [selector].into_iter().chain(&given).find(|word| word.starts_with('-')) {
        return Err(usage(format!(
            "`{task}` has no option `{option}`; parameters are written NAME=VALUE, options are --check, --tags and \
             --skip-tags{}",
            meant(task)
        )));
    }
    let ask = Ask {
        task: task.clone(),
        selector: selector.clone(),
        params: read_params(&given)?,
        tags: options.tags,
    };
    Ok(Command::Task { ask, check: options.check })
}

/// Options of a task, wherever they stand behind the selector.
#[derive(Default)]
struct Options {
    tags: Tags,
    check: bool,
}

impl Options {
    /// Takes the options out of words; what is left are parameters.
    fn take_from(&mut self, words: &[String]) -> Result<Vec<String>, UsageError> {
        let (mut left, mut words) = (Vec::new(), words.iter());
        while let Some(word) = words.next() {
            let (option, value) = word.split_once('=').map_or((word.as_str(), None), |(o, v)| (o, Some(v)));
            match option {
                "--check" => self.check = true,
                "--tags" => self.tags.only.extend(read_tags(option, value, &mut words)?),
                "--skip-tags" => self.tags.skip.extend(read_tags(option, value, &mut words)?),
                _ => left.push(word.clone()),
            }
        }
        Ok(left)
    }
}

/// `--tags=a,b` or `--tags a,b`.
pub(super) fn read_tags<'w>(
    option: &str,
    value: Option<&'w str>,
    words: &mut impl Iterator<Item = &'w String>,
) -> Result<Vec<String>, UsageError> {
    let names = value.or_else(|| words.next().map(String::as_str)).unwrap_or_default();
    if names.is_empty() {
        return Err(usage(format!("`{option}` needs the names of tags; try: {option} config,restart")));
    }
    Ok(names.split(',').filter(|name| !name.is_empty()).map(String::from).collect())
}

pub(super) fn read_ask(words: TaskWords) -> Result<Ask, UsageError> {
    let set = |names: Vec<String>| names.into_iter().collect();
    let tags = Tags { only: set(words.tags), skip: set(words.skip_tags) };
    Ok(Ask { task: words.task, selector: words.selector, params: read_params(&words.params)?, tags })
}

pub(super) fn read_check(selector: String, words: &[String], format: Format) -> Result<Command, UsageError> {
    let (name, params) = match words {
        [first, rest @ ..] if !first.contains('=') => (Some(first.clone()), rest),
        all => (None, all),
    };
    Ok(Command::Check { selector, name, params: read_params(params)?, format })
}

/// The name of a check: ssh has taken its quotes away.
pub(super) fn joined(words: &[String]) -> Option<String> {
    (!words.is_empty()).then(|| words.join(" "))
}

/// What stands before `because`, and the reason behind it.
pub(super) fn read_reason(words: &[String]) -> Result<(&[String], String), UsageError> {
    let at = words.iter().position(|word| word == "because");
    let reason = at.map(|at| words[at + 1..].join(" ")).unwrap_or_default();
    match at {
        Some(at) if !reason.trim().is_empty() => Ok((&words[..at], reason)),
        _ => Err(usage("say why, for the record: ... because REASON".into())),
    }
}

pub(super) fn read_mark(task: String, words: &[String], bad: bool) -> Result<Command, UsageError> {
    let (params, reason) = read_reason(words)?;
    Ok(Command::Mark { task, params: read_params(params)?, bad, reason })
}

pub(super) fn read_params(words: &[String]) -> Result<Params, UsageError> {
    let mut params = Params::new();
    for word in words {
        let Some((name, value)) = word.split_once('=') else {
            return Err(usage(format!("`{word}` is no parameter; write NAME=VALUE, as in version=1.4.2")));
        };
        if params.insert(name.to_string(), value.to_string()).is_some() {
            return Err(usage(format!("`{name}` is given twice")));
        }
    }
    Ok(params)
}
