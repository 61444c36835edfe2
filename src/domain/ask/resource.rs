//! The resources of the API: one for each command, in one table. A request becomes the line that an operator would type,
//! so the API has the words, the rights and the records of the line, and none of its own.

use serde_json::{Map, Value};

pub use super::number::LARGEST_NUMBER;
use super::number::is_number;
use crate::domain::base::name::{clipped, nearest};
use crate::domain::base::refusal::Refusal;

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    Get,
    Post,
    Delete,
}

/// What a resource answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// A list of objects, in pages.
    Items,
    /// One object.
    One,
    /// A text of this media type.
    Text(&'static str),
    /// Files of hosts, unchanged.
    Archive,
    /// Output of a host, unchanged; `Range` asks for a part of it.
    Raw,
    /// The number of the run that it starts. The run goes on without the client.
    Run,
    /// Objects as they happen, until the client leaves.
    Stream,
}

/// One resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    pub verb: Verb,
    /// With its fields in braces.
    pub path: &'static str,
    /// The words of the line; see [`Word`].
    words: &'static str,
    pub gives: Gives,
}

/// What a request gives, by name: the fields of its path, its query and its body.
pub type Given = Map<String, Value>;

/// A kind of field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    Text,
    Number,
    Flag,
    /// Words.
    List,
    /// Values by name.
    Values,
}

/// A field of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    pub kind: FieldKind,
    pub is_required: bool,
    /// It is part of the path.
    pub is_in_path: bool,
}

const fn get(path: &'static str, words: &'static str, gives: Gives) -> Resource {
    Resource { verb: Verb::Get, path, words, gives }
}

const fn post(path: &'static str, words: &'static str, gives: Gives) -> Resource {
    Resource { verb: Verb::Post, path, words, gives }
}

const fn delete(path: &'static str, words: &'static str, gives: Gives) -> Resource {
    Resource { verb: Verb::Delete, path, words, gives }
}

const PLAIN: Gives = Gives::Text("text/plain; charset=utf-8");

/// All of them. A test compares them with the grammar, so that no command lacks its resource.
pub const RESOURCES: &[Resource] = &[
    get("/v1/version", "version", Gives::One),
    get("/v1/whoami", "whoami", Gives::One),
    get("/v1/help", "help {words*}", PLAIN),
    get("/v1/completions", "complete {words*}", PLAIN),
    get("/v1/setup", "setup {alias?} --host={address?}", Gives::One),
    get("/v1/setup/completion", "setup {alias?} --completion={completion}", PLAIN),
    post("/v1/web", "web --port={port?} --token?", Gives::One),
    get("/v1/rights", "ask", Gives::Items),
    post("/v1/rights", "ask {role} {groups} for:{for} because:{because}", Gives::One),
    post("/v1/rights/{id}/grant", "grant {id}", Gives::One),
    delete("/v1/rights/{id}", "grant end {id} because:{because?}", Gives::One),
    get("/v1/sessions", "sessions", Gives::Items),
    delete("/v1/sessions/{session}", "kick {session} because:{because?}", Gives::One),
    get("/v1/board", "board {words*} --all? --at={at?} --line={line?} --find={find?} --open?", Gives::One),
    get("/v1/hosts", "hosts {selector?}", Gives::Items),
    get("/v1/unreachable", "hosts {selector?} --unreachable", Gives::Items),
    get("/v1/hosts/{host}", "hosts {host}", Gives::One),
    get("/v1/hosts/{host}/history", "history {host} {check?}", Gives::Items),
    get("/v1/hosts/{host}/why", "why {host} {check?}", Gives::Items),
    get("/v1/facts", "facts {selector?}", Gives::Items),
    post("/v1/facts", "facts {selector?} --fresh", Gives::Run),
    post("/v1/logs", "logs {selector} {source} --lines={count?} --since={for?} --grep={text?}", Gives::Items),
    post("/v1/pings", "ping {selector}", Gives::Items),
    get("/v1/doctor", "doctor", Gives::Items),
    post("/v1/doctor", "doctor {selector}", Gives::Items),
    post(
        "/v1/plans",
        "plan {task} {selector} --tags={tags?} --skip-tags={skip_tags?} --force? {params=}",
        Gives::One,
    ),
    post(
        "/v1/plans/diff",
        "plan {task} {selector} --diff --tags={tags?} --skip-tags={skip_tags?} --force? {params=}",
        Gives::Run,
    ),
    get("/v1/runs", "runs --last={last?}", Gives::Items),
    post(
        "/v1/runs",
        "{task} {selector} --tags={tags?} --skip-tags={skip_tags?} --check? --force? --wait? {params=} --break-glass:because:{break_glass?}",
        Gives::Run,
    ),
    get("/v1/runs/{run}", "show {run}", Gives::Items),
    get("/v1/runs/{run}/hosts/{host}", "show {run} --host={host}", Gives::Items),
    get("/v1/runs/{run}/hosts/{host}/steps", "output {run} {host} --list", Gives::Items),
    get(
        "/v1/runs/{run}/hosts/{host}/steps/{step}",
        "output {run} {host} {step} --attempt={attempt?} --lines={lines?} --line={line?} --tail={tail?} --search={search?} --regex={regex?} --problems?",
        Gives::Items,
    ),
    get(
        "/v1/runs/{run}/hosts/{host}/steps/{step}/output",
        "output {run} {host} {step} --raw --attempt={attempt?} --bytes={bytes?}",
        Gives::Raw,
    ),
    get("/v1/runs/{run}/results", "show {run} --format={format}", PLAIN),
    get("/v1/runs/{run}/events", "watch {run}", Gives::Stream),
    get("/v1/runs/{run}/artifacts", "artifacts {run} {host?} --list", Gives::Items),
    get("/v1/runs/{run}/artifacts.tar", "artifacts {run} {host?}", Gives::Archive),
    get("/v1/runs/{run}/receipt", "receipt {run}", PLAIN),
    get("/v1/runs/{run}/receipt.sig", "receipt {run} --signature", PLAIN),
    get("/v1/receipt-signers", "receipt --allowed-signers", PLAIN),
    post("/v1/runs/{run}/cancel", "cancel {run} --now?", Gives::One),
    post("/v1/runs/{run}/pause", "pause {run}", Gives::One),
    post("/v1/runs/{run}/resume", "resume {run}", Gives::One),
    post("/v1/runs/{run}/approve", "approve {run}", Gives::One),
    post("/v1/runs/{run}/retry", "retry {run} --wait?", Gives::Run),
    post("/v1/checks", "check {selector} {check?} {params=}", Gives::Run),
    post(
        "/v1/commands",
        "run {selector} --timeout={timeout?} --fanout={fanout?} --sudo? --:{command}",
        Gives::Run,
    ),
    post(
        "/v1/scripts",
        "run {selector} --script --timeout={timeout?} --fanout={fanout?} --sudo? --:{arguments?}",
        Gives::Run,
    ),
    post(
        "/v1/copies",
        "copy {selector} {path} --mode={mode?} --owner={owner?} --backup? --timeout={timeout?} --fanout={fanout?} --sudo?",
        Gives::Run,
    ),
    post("/v1/fetches", "fetch {host} {path} --timeout={timeout?} --sudo?", Gives::Raw),
    get("/v1/nodes/{operation}", "nodes {operation} {words*}", Gives::One),
    get("/v1/last", "last {task?}", Gives::Items),
    post("/v1/rollbacks", "rollback {selector} --wait? to={to?}", Gives::Run),
    get("/v1/events", "events --since={since?} --follow? --type={type?}", Gives::Stream),
    get(
        "/v1/audit",
        "audit --since={since?} --before={before?} --operator={operator?} --type={type?} --refused?",
        Gives::Items,
    ),
    get("/v1/audit/verify", "audit verify", Gives::Items),
    get("/v1/queue", "queue", Gives::Items),
    get("/v1/leases", "lock", Gives::Items),
    post("/v1/leases", "lock {selector} --wait? --take-over? for:{for} because:{because}", Gives::One),
    delete("/v1/leases/{number}", "unlock {number} because:{because?}", Gives::One),
    post("/v1/holds", "hold {selector} --wait? --take-over? because:{because?}", Gives::Stream),
    get("/v1/freezes", "freeze", Gives::Items),
    post("/v1/freezes", "freeze {selector} for:{for} because:{because}", Gives::One),
    delete("/v1/freezes/{number}", "freeze end {number} because:{because?}", Gives::One),
    get("/v1/debts", "debts", Gives::Items),
    post("/v1/debts/{host}/settle", "settle {host} --write-off? because:{because}", Gives::Items),
    get("/v1/balancers", "balancer status {selector}", Gives::Items),
    post("/v1/balancers/drain", "balancer drain {selector} --wait? because:{because}", Gives::Run),
    post("/v1/balancers/enable", "balancer enable {selector} --wait?", Gives::Run),
    get("/v1/releases", "releases {selector?}", Gives::Items),
    post("/v1/marks/bad", "mark bad {task} {params=} because:{because}", Gives::One),
    post("/v1/marks/good", "mark good {task} {params=} because:{because}", Gives::One),
    get("/v1/report", "report {selector?} --for={for?}", Gives::One),
    get("/v1/status", "status {selector?}", Gives::Items),
    get("/v1/downtimes", "downtime", Gives::Items),
    post("/v1/downtimes", "downtime {selector} {check?} for:{for} because:{because}", Gives::One),
    delete("/v1/downtimes/{number}", "downtime end {number}", Gives::One),
    post("/v1/acks", "ack {host} {check} because:{because}", Gives::One),
    get("/v1/channels", "notify list", Gives::Items),
    post("/v1/channels/test", "notify test {name?}", Gives::Items),
    get("/v1/metrics", "metrics", Gives::Text("text/plain; version=0.0.4; charset=utf-8")),
    get("/v1/sudoers", "sudoers {selector?}", Gives::Items),
    post("/v1/reload", "reload", Gives::One),
    get("/v1/config/log", "config log", Gives::Items),
    get("/v1/config/diff", "config diff {old?} {new?}", PLAIN),
    post("/v1/host-keys", "host accept {selector} {fingerprint?} --trust?", Gives::Items),
    delete("/v1/host-keys", "host forget {selector}", Gives::Items),
    post("/v1/operators", "operator enroll {code} as:{name} role={role?} groups={groups?}", Gives::One),
];

/// One word of a template:
///
/// * `hosts`, `--list`: itself
/// * `{host}`, `{host?}`: the field, which may be missing with `?`
/// * `--last={last?}`, `for:{for}`: the field with a text in front of it, or with words before it
/// * `--wait?`: itself, if the field `wait` is true
/// * `{words*}`: each word of a list; `{params=}`: `NAME=VALUE` for each value by name
/// * `--:{command}`, `--:{arguments?}`: ` -- ` and the rest of the line, unchanged
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Itself(&'static str),
    Flag(&'static str),
    Rest { name: &'static str, is_required: bool },
    Field { before: &'static str, name: &'static str, kind: FieldKind, is_required: bool },
}

impl Resource {
    /// Finds the one of a method and a path, as [`path`](Resource::path) has it.
    pub fn find(verb: Verb, path: &str) -> Option<&'static Resource> {
        RESOURCES.iter().find(|one| one.verb == verb && one.path == path)
    }

    /// True if requests to it may change something, or act on hosts.
    pub fn acts(&self) -> bool {
        self.verb != Verb::Get
    }

    /// True if a file may come with its request: for a parameter of the task, or as a script.
    pub fn takes_file(&self) -> bool {
        ["{task}", "plan {task}", "run {selector} --script", "copy {selector}"]
            .iter()
            .any(|words| self.words.starts_with(words))
    }

    /// The first words of its line that no field stands for; empty for a task.
    pub fn literal(&self) -> String {
        let words = self.all_words().map_while(|word| match word {
            Word::Itself(text) if !text.starts_with('-') => Some(text),
            _ => None,
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// True if its command is the one of this [path](super::ask::Command::path).
    pub fn is_for(&self, command: &str) -> bool {
        let own = self.literal();
        match own.is_empty() {
            true => command == "TASK",
            false => own == command || own.strip_prefix(command).is_some_and(|rest| rest.starts_with(' ')),
        }
    }

    /// The name of its tool: the words that each line of it has, its options among them.
    pub(super) fn tool_name(&self) -> String {
        let fixed = |word| match word {
            Word::Itself(text) => Some(text),
            Word::Field { before, is_required: true, .. } => {
                before.strip_suffix('=').filter(|before| !before.is_empty())
            }
            Word::Flag(_) | Word::Rest { .. } | Word::Field { .. } => None,
        };
        let words: Vec<&str> = self.all_words().filter_map(fixed).collect();
        words.iter().map(|word| word.trim_start_matches('-').replace('-', "_")).collect::<Vec<_>>().join("_")
    }

    /// For one that plans: what starts the same, with the same fields.
    pub(super) fn started(&self) -> Option<Resource> {
        let words = self.words.strip_prefix("plan ")?;
        Some(Resource { verb: Verb::Post, path: "/v1/runs", words, gives: Gives::Run })
    }

    fn all_words(&self) -> impl Iterator<Item = Word> {
        self.words.split(' ').map(word)
    }

    /// Its fields, in the order of the line.
    pub fn fields(&self) -> Vec<Field> {
        let field = |name, kind, is_required| {
            let is_in_path = self.path.contains(&format!("{{{name}}}"));
            Field { name, kind, is_required, is_in_path }
        };
        let fields = self.all_words().filter_map(|word| match word {
            Word::Itself(_) => None,
            Word::Flag(flag) => Some(field(flag_name(flag), FieldKind::Flag, false)),
            Word::Rest { name, is_required } => Some(field(name, FieldKind::Text, is_required)),
            Word::Field { name, kind, is_required, .. } => Some(field(name, kind, is_required)),
        });
        fields.collect()
    }

    /// The line of a request.
    pub fn line(&self, given: &Given) -> Result<String, Refusal> {
        self.refuse_unknown(given)?;
        let (mut words, mut rest, mut reason_at) = (Vec::new(), String::new(), None);
        for word in self.all_words() {
            match word {
                Word::Itself(text) => words.push(text.to_string()),
                Word::Flag(flag) => {
                    if is_set(given, flag_name(flag))? {
                        words.push(flag.to_string());
                    }
                }
                Word::Rest { name, is_required } => match text_of(given, name)? {
                    Some(text) => rest = format!(" -- {text}"),
                    None if is_required => return Err(missing(name)),
                    None => {}
                },
                Word::Field { before, name, kind, is_required } => {
                    if before.ends_with("because:") {
                        reason_at = reason_at.or(Some(words.len()));
                    }
                    words.extend(field_words(given, (before, name), kind, is_required)?);
                }
            }
        }
        if self.is_in_json() {
            // Behind `because`, every word is part of the reason.
            words.insert(reason_at.unwrap_or(words.len()), "--json".into());
        }
        Ok(shell_words::join(words) + &rest)
    }

    pub(super) fn is_in_json(&self) -> bool {
        !matches!(self.gives, Gives::Text(_) | Gives::Archive | Gives::Raw)
    }

    fn refuse_unknown(&self, given: &Given) -> Result<(), Refusal> {
        let fields = self.fields();
        let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
        let Some(word) = given.keys().find(|name| !names.contains(&name.as_str())) else { return Ok(()) };
        let near = nearest(word, names.iter().copied())
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let known = if names.is_empty() { "none".into() } else { names.join(", ") };
        Err(Refusal::usage(format!("no field `{}`{near} (known: {known})", clipped(word))))
    }
}

fn word(text: &'static str) -> Word {
    let Some((before, rest)) = text.split_once('{') else {
        return text.strip_suffix('?').map_or(Word::Itself(text), Word::Flag);
    };
    let field = rest.trim_end_matches('}');
    if before == "--:" {
        let name = field.trim_end_matches('?');
        return Word::Rest { name, is_required: name.len() == field.len() };
    }
    let name = field.trim_end_matches(['?', '*', '=']);
    let kind = match field.chars().last() {
        Some('*') => FieldKind::List,
        Some('=') => FieldKind::Values,
        _ if [
            "run", "last", "session", "number", "id", "before", "port", "attempt", "line", "tail", "fanout",
        ]
        .contains(&name) =>
        {
            FieldKind::Number
        }
        _ => FieldKind::Text,
    };
    Word::Field { before, name, kind, is_required: name.len() == field.len() }
}

/// The field of `--take-over` is `take_over`.
fn flag_name(flag: &'static str) -> &'static str {
    match flag {
        "--write-off" => "write_off",
        "--take-over" => "take_over",
        other => other.trim_start_matches('-'),
    }
}

fn field_words(
    given: &Given,
    (before, name): (&str, &'static str),
    kind: FieldKind,
    is_required: bool,
) -> Result<Vec<String>, Refusal> {
    match kind {
        FieldKind::List => list_of(given, name),
        FieldKind::Values => values_of(given, name),
        FieldKind::Flag => Err(Refusal::internal(format!("`{name}` is no word"))),
        FieldKind::Text | FieldKind::Number => {
            let Some(text) = text_of(given, name)? else {
                return if is_required { Err(missing(name)) } else { Ok(Vec::new()) };
            };
            if kind == FieldKind::Number && !is_number(&text) {
                return Err(Refusal::usage(format!("`{name}` is a number from 0 to {LARGEST_NUMBER}")));
            }
            if let Some(before) = before.strip_suffix(':') {
                return Ok(before.split(':').map(String::from).chain([no_option(name, text)?]).collect());
            }
            if before.is_empty() {
                return Ok(vec![no_option(name, text)?]);
            }
            // As two words: the audit hides what stands behind `=`, since that may be the value of a parameter.
            if let Some(option) = before.strip_suffix('=').filter(|option| option.starts_with("--")) {
                return Ok(vec![option.to_string(), no_option(name, text)?]);
            }
            Ok(vec![format!("{before}{text}")])
        }
    }
}

fn missing(name: &str) -> Refusal {
    Refusal::usage(format!("the field `{name}` is missing"))
}

/// The grammar would read it as an option.
fn no_option(name: &str, text: String) -> Result<String, Refusal> {
    match text.starts_with('-') {
        true => Err(Refusal::usage(format!("`{name}` begins with `-`, which is for options"))),
        false => Ok(text),
    }
}

/// The text of a field, without its value in an error: it may be secret.
fn text_of(given: &Given, name: &str) -> Result<Option<String>, Refusal> {
    let text = match given.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(_) => return Err(Refusal::usage(format!("`{name}` is no text"))),
    };
    match text.is_empty() {
        true => Err(Refusal::usage(format!("`{name}` is empty"))),
        false => Ok(Some(text)),
    }
}

fn is_set(given: &Given, name: &str) -> Result<bool, Refusal> {
    match given.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(is_set)) => Ok(*is_set),
        Some(Value::String(text)) if text == "true" => Ok(true),
        Some(Value::String(text)) if text == "false" => Ok(false),
        Some(_) => Err(Refusal::usage(format!("`{name}` is neither true nor false"))),
    }
}

/// The words of a list; a text is split at spaces.
fn list_of(given: &Given, name: &str) -> Result<Vec<String>, Refusal> {
    let words: Vec<String> = match given.get(name) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => text.split_whitespace().map(String::from).collect(),
        Some(Value::Array(all)) => {
            let text = |one: &Value| one.as_str().map(String::from);
            all.iter().map(text).collect::<Option<_>>().ok_or_else(|| no_list(name))?
        }
        Some(_) => return Err(no_list(name)),
    };
    words.into_iter().map(|word| no_option(name, word)).collect()
}

fn no_list(name: &str) -> Refusal {
    Refusal::usage(format!("`{name}` is no list of texts"))
}

fn values_of(given: &Given, name: &str) -> Result<Vec<String>, Refusal> {
    let no_values = || Refusal::usage(format!("`{name}` is no object with a text or a number for each name"));
    let all = match given.get(name) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(all)) => all,
        Some(_) => return Err(no_values()),
    };
    let one = |(key, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(is_true) => is_true.to_string(),
            _ => return Err(no_values()),
        };
        let is_name = !key.is_empty() && !key.starts_with('-') && !key.contains(['=', ' ']);
        match is_name {
            true => Ok(format!("{key}={value}")),
            false => Err(Refusal::usage(format!("`{}` is no name of a parameter", clipped(key)))),
        }
    };
    all.iter().map(one).collect()
}

#[cfg(test)]
#[path = "resource_tests.rs"]
mod tests;
