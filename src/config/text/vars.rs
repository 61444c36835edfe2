//! Vars: values in the files, and values that are read from other sources while the configuration is
//! loaded; secret ones are separate from the others.

use toml::Spanned;
use toml::de::DeValue;

use super::diagnostic::Doc;

use super::keys::{Any, Flag, Key, Text, table};
use super::reader::{self, Entry, Reader};
use super::table::Declared;
use crate::config::text::origin::Origin;
use crate::domain::base::name::is_identifier;
use crate::domain::value::secret::{Secret, SecretVars};
use crate::domain::value::template::Vars;

/// Names with a fixed meaning in templates.
pub const RESERVED_VARS: [&str; 3] = ["host", "previous", "facts"];

table! {
    /// The description of a var: one source, or a value. A table without any of these keys is a value itself.
    pub VarKeys "Var" {
        /// A file on the machine of rollcall.
        FROM_FILE "from_file": Text,
        /// A variable of rollcall's environment.
        FROM_ENV "from_env": Text,
        /// What a command on the machine of rollcall prints; needs `allow_local` in rollcall.toml.
        FROM_COMMAND "from_command": Text,
        /// A credential of systemd; always secret.
        FROM_CREDENTIAL "from_credential": Text,
        /// An age file; always secret.
        FROM_AGE "from_age": Text,
        VALUE "value": Any,
        /// Its value is never stored or shown.
        SECRET "secret": Flag = false,
    }
}

fn keys() -> Vec<&'static str> {
    VarKeys::TABLE.keys.iter().map(|key| key.name).collect()
}

/// The origin that a key makes of its text.
type MakeOrigin = fn(String) -> Origin;

/// The keys that name the source of a var.
const ORIGINS: [(Key<Text>, MakeOrigin); 5] = [
    (VarKeys::FROM_FILE, Origin::File),
    (VarKeys::FROM_ENV, Origin::Env),
    (VarKeys::FROM_COMMAND, Origin::Command),
    (VarKeys::FROM_CREDENTIAL, Origin::Credential),
    (VarKeys::FROM_AGE, Origin::Age),
];

/// Named values; no name is both plain and secret.
#[derive(Clone, Default)]
pub struct Values {
    pub plain: Vars,
    pub secrets: SecretVars,
}

impl Values {
    /// Puts `nearer` on top. A plain value replaces a secret of the same name, and the other way round.
    pub fn cover(&mut self, nearer: &Values) {
        self.secrets.retain(|name, _| !nearer.plain.contains_key(name));
        self.plain.retain(|name, _| !nearer.secrets.contains_key(name));
        self.plain.extend(nearer.plain.clone());
        self.secrets.extend(nearer.secrets.clone());
    }

    /// A copy with `nearer` on top.
    pub fn covered(mut self, nearer: &Values) -> Values {
        self.cover(nearer);
        self
    }

    /// Every name, plain or secret.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.plain.keys().chain(self.secrets.keys())
    }
}

/// Reads the entries of a table of vars.
pub fn read(doc: Doc<'_>, entries: Vec<Entry<'_>>) -> Values {
    let mut values = Values::default();
    let described = keys();
    for (name, value) in entries {
        if !check_name(doc, &name) {
            continue;
        }
        let name = name.into_inner();
        match value.get_ref() {
            DeValue::Table(table) if table.keys().any(|key| described.contains(&&**key.get_ref())) => {
                read_described(doc, name, value, &mut values);
            }
            _ => _ = values.plain.insert(name, reader::json(doc, value)),
        }
    }
    values
}

/// Reads an age file of `NAME = "secret"` lines. Messages never contain its text.
pub fn read_age(doc: Doc<'_>, path: &Spanned<String>) -> Values {
    let mut values = Values::default();
    let read = if doc.quiet {
        Ok(Default::default())
    } else {
        doc.sources.read(&Origin::Age(path.get_ref().clone()))
    };
    let text = match read {
        Ok(text) => text,
        Err(trouble) => {
            doc.report(path.span(), format!("`secrets`: {}", trouble.why), trouble.hint);
            return values;
        }
    };
    let wrong = |why: &str| doc.wrong(path.span(), format!("`secrets`: {}: {why}", path.get_ref()));
    let Ok(table) = toml::from_str::<toml::Table>(&text) else {
        wrong("is no TOML");
        return values;
    };
    for (name, value) in table {
        match value.as_str().map(Secret::new) {
            _ if !is_identifier(&name) || RESERVED_VARS.contains(&name.as_str()) => {
                wrong(&format!("`{name}` cannot name a var"));
            }
            None => wrong(&format!("`{name}` is no string")),
            Some(Err(why)) => wrong(&format!("`{name}`: {why}")),
            Some(Ok(secret)) => _ = values.secrets.insert(name, secret),
        }
    }
    values
}

fn check_name(doc: Doc<'_>, name: &Spanned<String>) -> bool {
    if RESERVED_VARS.contains(&name.get_ref().as_str()) {
        doc.wrong(name.span(), format!("a var cannot be called `{}`: templates use it", name.get_ref()));
        return false;
    }
    if !is_identifier(name.get_ref()) {
        let message = format!("`{}` cannot name a var: no template could read it", name.get_ref());
        doc.report(name.span(), message, "use letters, digits and _".to_string());
        return false;
    }
    true
}

/// One var that a table describes. An unreadable one keeps its name known, so that its users are not
/// reported, too.
fn read_described(doc: Doc<'_>, name: String, value: &Spanned<DeValue<'_>>, values: &mut Values) {
    let what = format!("var `{name}`");
    let Some(mut table) = Reader::inside::<VarKeys>(doc, what, &name, value) else { return };
    let asked_secret = table.or_default(VarKeys::SECRET);
    let origin = read_origin(&mut table);
    let always = matches!(origin, Some((Origin::Credential(_) | Origin::Age(_), _)));
    if always && table.key_span(VarKeys::SECRET.name).is_some() && !asked_secret {
        doc.wrong(
            table.key_span(VarKeys::SECRET.name),
            format!("`{name}` is secret always: it comes from where secrets are kept"),
        );
    }
    let literal = table.value(VarKeys::VALUE);
    let sources = keys().into_iter().filter(|key| *key != VarKeys::SECRET.name);
    let count = sources.filter(|key| table.key_span(key).is_some()).count();
    if count != 1 {
        let message = format!("var `{name}` needs one of `value` and `from_...`, and has {count}");
        doc.report(table.span.clone(), message, format!("known keys: {}", keys().join(", ")));
    }
    table.finish();
    let is_secret = asked_secret || always;
    match (origin, literal) {
        // Nothing is read or run for a wrong file.
        _ if count != 1 || doc.quiet => _ = values.plain.insert(name, serde_json::Value::Null),
        (Some((origin, span)), _) => match doc.sources.read(&origin) {
            Ok(text) if is_secret => keep_secret(doc, name, &text, span, values),
            Ok(text) => _ = values.plain.insert(name, text.to_string().into()),
            Err(trouble) => {
                doc.report(span, format!("var `{name}`: {}", trouble.why), trouble.hint);
                values.plain.insert(name, serde_json::Value::Null);
            }
        },
        (None, Some(literal)) if is_secret => {
            doc.hide(literal.span());
            match literal.get_ref() {
                DeValue::String(text) => keep_secret(doc, name, text, literal.span(), values),
                _ => doc.wrong(literal.span(), format!("the secret `{name}` is a string")),
            }
        }
        (None, Some(literal)) => _ = values.plain.insert(name, reader::json(doc, literal)),
        (None, None) => {}
    }
}

fn keep_secret(doc: Doc<'_>, name: String, text: &str, span: std::ops::Range<usize>, values: &mut Values) {
    match Secret::new(text) {
        Ok(secret) => _ = values.secrets.insert(name, secret),
        Err(why) => {
            doc.wrong(span, format!("var `{name}`: {why}"));
            values.plain.insert(name, serde_json::Value::Null);
        }
    }
}

/// The first of the `from_` keys, and the span of its value.
fn read_origin(table: &mut Reader<'_>) -> Option<(Origin, std::ops::Range<usize>)> {
    let mut found = None;
    for (key, origin) in ORIGINS {
        if table.value(key).is_some() {
            let text = table.required(key);
            found = found.or(text.map(|text| (origin(text.get_ref().clone()), text.span())));
        }
    }
    found
}
