//! Parameters of tasks: the values that the command line may give, and their types in templates.

use regex::Regex;
use serde_json::Value;

use super::secret::{HIDDEN, Secret};
use crate::domain::base::digest::artifact_sum;
use crate::domain::base::name::nearest;

/// A parameter given on the command line: `version=1.2.3`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Param {
    pub kind: ParamKind,
    /// The pattern that the whole value must match.
    pub pattern: Option<String>,
    /// Makes the parameter optional.
    pub default: Option<String>,
    /// The value is never printed, and is kept only in memory, for the run.
    pub secret: bool,
    /// Where an artifact comes from if none is given.
    pub origin: Option<ArtifactOrigin>,
    /// For the operators who give it.
    pub description: String,
}

/// The type of a parameter.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ParamKind {
    #[default]
    Text,
    Number,
    Bool,
    /// One of these texts.
    Choice(Vec<String>),
    /// A file that rollcall keeps: `sha256:HEX`.
    Artifact,
}

/// The address and the SHA-256 of an artifact, both templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactOrigin {
    pub url: String,
    pub sha256: String,
    /// It is written in a step, so no operator gives another file.
    pub fixed: bool,
}

impl ArtifactOrigin {
    /// The address without a login and without its query, which may be credentials.
    pub fn shown_url(&self) -> String {
        shown_url(&self.url)
    }
}

/// An address for people: without a login and without its query, which may be credentials.
pub fn shown_url(url: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, ""), |(address, _)| (address, "?***"));
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit_once('@').map_or(authority.to_string(), |(_, host)| format!("***@{host}"));
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}{host}{path}{query}")
}

impl Param {
    /// True if operators give it: not a file that a step names.
    pub fn is_given(&self) -> bool {
        !self.origin.as_ref().is_some_and(|origin| origin.fixed)
    }

    /// True if a command without it is refused.
    pub fn is_needed(&self) -> bool {
        self.default.is_none() && self.origin.is_none()
    }

    /// Why `value` cannot be given as `name`. The error does not contain a secret value.
    pub fn check(&self, name: &str, value: &str) -> Result<(), String> {
        let shown = if self.secret { HIDDEN } else { value };
        if let Some(pattern) = &self.pattern {
            check_pattern(name, value, shown, pattern)?;
        }
        match &self.kind {
            ParamKind::Number if number(value).is_none() => Err(format!("{name}={shown} is no number")),
            ParamKind::Bool if value.parse::<bool>().is_err() => {
                Err(format!("{name}={shown} is neither true nor false"))
            }
            ParamKind::Choice(choices) if !choices.iter().any(|choice| choice == value) => {
                let guess = nearest(value, choices.iter().map(String::as_str))
                    .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                Err(format!("{name}={shown} is none of: {}{guess}", choices.join(", ")))
            }
            ParamKind::Artifact if artifact_sum(value).is_none() => Err(format!(
                "{name}={shown} is no artifact; try: {name}=- with the file on standard input, or {name}=sha256:HEX"
            )),
            _ if self.secret => Secret::new(value).map(drop).map_err(|why| format!("{name}={HIDDEN}: {why}")),
            _ => Ok(()),
        }
    }

    /// A checked value with its type, for templates.
    pub fn value(&self, text: &str) -> Value {
        let typed = match self.kind {
            ParamKind::Number => number(text),
            ParamKind::Bool => text.parse().ok().map(Value::Bool),
            ParamKind::Text | ParamKind::Choice(_) | ParamKind::Artifact => None,
        };
        typed.unwrap_or_else(|| Value::String(text.to_string()))
    }
}

fn number(text: &str) -> Option<Value> {
    let whole = text.parse::<i64>().ok().map(Value::from);
    whole.or_else(|| text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Value::from))
}

/// Why the whole value does not match; the message contains `shown` instead of the value.
fn check_pattern(name: &str, value: &str, shown: &str, pattern: &str) -> Result<(), String> {
    let regex =
        Regex::new(&format!("^(?:{pattern})$")).map_err(|error| format!("param `{name}`: {error}"))?;
    match regex.is_match(value) {
        true => Ok(()),
        false => Err(format!("{name}={shown} does not match {pattern}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_address_is_shown_without_credentials() {
        for (url, shown) in [
            ("https://builds/app.tgz", "https://builds/app.tgz"),
            ("https://ann:s3cr3t@builds:8443/a@b", "https://***@builds:8443/a@b"),
            ("https://a:b@c@builds", "https://***@builds"),
            ("https://bucket/app?X-Signature=ab/c@d", "https://bucket/app?***"),
            ("http://builds?token=x", "http://builds?***"),
        ] {
            assert_eq!(shown_url(url), shown);
        }
    }

    #[test]
    fn values_are_what_their_kind_says() {
        let of = |kind: ParamKind| Param { kind, ..Param::default() };
        let choice = || of(ParamKind::Choice(vec!["prod".into(), "test".into()]));
        let pattern = Param { pattern: Some(r"\d+".into()), ..Param::default() };
        let secret = || Param { secret: true, ..Param::default() };
        let kept = format!("sha256:{}", "0a".repeat(32));
        let table = [
            (of(ParamKind::Number), "3", Ok(json!(3))),
            (of(ParamKind::Number), "-2.5", Ok(json!(-2.5))),
            (of(ParamKind::Number), "many", Err("x=many is no number")),
            (of(ParamKind::Number), "inf", Err("x=inf is no number")),
            (of(ParamKind::Bool), "true", Ok(json!(true))),
            (of(ParamKind::Bool), "yes", Err("x=yes is neither true nor false")),
            (choice(), "prod", Ok(json!("prod"))),
            (choice(), "prd", Err("x=prd is none of: prod, test; did you mean `prod`?")),
            (of(ParamKind::Artifact), &kept, Ok(json!(kept.clone()))),
            (
                of(ParamKind::Artifact),
                "app.tgz",
                Err("x=app.tgz is no artifact; try: x=- with the file on standard input, or x=sha256:HEX"),
            ),
            (pattern.clone(), "12", Ok(json!("12"))),
            (pattern.clone(), "1a", Err(r"x=1a does not match \d+")),
            (Param { secret: true, ..pattern }, "hunter22", Err(r"x=*** does not match \d+")),
            (
                secret(),
                "abc",
                Err(
                    "x=***: a secret has at least 4 bytes, and this one has 3: hiding it would hide everything",
                ),
            ),
        ];
        for (param, value, wanted) in table {
            let got = param.check("x", value).map(|()| param.value(value));
            assert_eq!(got, wanted.map_err(String::from), "{value}");
        }
    }
}
