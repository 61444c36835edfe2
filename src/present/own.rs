//! Texts of hosts that differ in nothing but the hosts' own values: each value is replaced by its name, as in a task.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::domain::plan::plan::{HostPlan, Plan};

/// Longest value that is looked for, in bytes: longer ones are no names, ports or paths.
const VALUE_LIMIT_BYTES: usize = 512;

/// The names of variables that differ between the hosts of a plan.
pub struct DifferingVars {
    names: BTreeSet<String>,
}

impl DifferingVars {
    /// The variables whose values are not the same on all hosts.
    pub fn of(plan: &Plan) -> DifferingVars {
        let mut first: Option<BTreeMap<String, String>> = None;
        let mut names = BTreeSet::new();
        for host in plan.hosts.values() {
            let values = values(host);
            let Some(first) = &first else {
                first = Some(values);
                continue;
            };
            let differ = first.iter().filter(|(name, value)| values.get(*name) != Some(value));
            names.extend(differ.map(|(name, _)| name.clone()));
            names.extend(values.into_keys().filter(|name| !first.contains_key(name)));
        }
        DifferingVars { names }
    }

    /// The text with the host's own values as `{{ name }}`, and the names that are in it.
    pub fn named(&self, host: &HostPlan, text: &str) -> (String, BTreeSet<String>) {
        let mut values: Vec<(String, String)> = values(host)
            .into_iter()
            .filter(|(name, value)| self.names.contains(name) && text.contains(value.as_str()))
            .collect();
        // A path before the name that is a part of it.
        values.sort_by_key(|(name, value)| (std::cmp::Reverse(value.len()), name.len()));
        let (mut named, mut used) = (String::new(), BTreeSet::new());
        let mut at = 0;
        while at < text.len() {
            let here = values.iter().find(|(_, value)| stands_at(text, at, value));
            match here {
                Some((name, value)) => {
                    named += &format!("{{{{ {name} }}}}");
                    used.insert(name.clone());
                    at += value.len();
                }
                None => {
                    let width = text[at..].chars().next().map_or(1, char::len_utf8);
                    named += &text[at..at + width];
                    at += width;
                }
            }
        }
        (named, used)
    }
}

/// True if the value is at this place, and is no part of a longer word or number.
fn stands_at(text: &str, at: usize, value: &str) -> bool {
    let Some(rest) = text[at..].strip_prefix(value) else { return false };
    let joins = |beside: Option<char>, own: Option<char>| {
        beside.is_some_and(char::is_alphanumeric) && own.is_some_and(char::is_alphanumeric)
    };
    !joins(text[..at].chars().next_back(), value.chars().next())
        && !joins(rest.chars().next(), value.chars().next_back())
}

/// The texts and numbers among the variables of a host: `root`, `host.name`.
fn values(host: &HostPlan) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, value) in host.vars.iter() {
        match value {
            Value::Object(parts) => {
                found.extend(
                    parts.iter().filter_map(|(part, value)| Some((format!("{name}.{part}"), scalar(value)?))),
                );
            }
            value => found.extend(scalar(value).map(|text| (name.clone(), text))),
        }
    }
    found
}

fn scalar(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty() && text.len() <= VALUE_LIMIT_BYTES).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::inventory::inventory::Endpoint;
    use crate::domain::value::template::Vars;

    fn host(name: &str, root: &str, port: u16) -> HostPlan {
        let endpoint = Endpoint {
            name: name.into(),
            here: false,
            address: name.into(),
            further: Vec::new(),
            key: None,
            port: 22,
            login: "d".into(),
            via: None,
        };
        let vars =
            json!({ "root": root, "port": port, "version": "1.2.3", "host": { "name": name, "port": 22 } });
        let vars: Vars = serde_json::from_value(vars).unwrap();
        HostPlan { vars: vars.into(), ..HostPlan::bare(endpoint) }
    }

    #[test]
    fn own_values_become_their_names_and_nothing_else_does() {
        let hosts = [host("web1", "/srv/web1", 80), host("web2", "/srv/web2", 8080)];
        let plan = crate::domain::plan::plan::read(
            r#"{"title": "x", "kind": "run", "params": {}, "rollout": {}, "batches": [], "hosts": {}, "balancers": {},
               "leases": [], "files_root": "files"}"#,
        );
        let mut plan = plan.unwrap();
        plan.hosts = hosts.iter().map(|host| (host.endpoint.name.clone(), host.clone())).collect();
        let own = DifferingVars::of(&plan);
        assert_eq!(own.names, ["host.name", "port", "root"].map(String::from).into());
        let table = [
            ("cd /srv/web1 && run 1.2.3", "cd {{ root }} && run 1.2.3"),
            ("web1: curl web1:80/80", "{{ host.name }}: curl {{ host.name }}:{{ port }}/{{ port }}"),
            ("180 web10 xweb1 80.5 é", "180 web10 xweb1 {{ port }}.5 é"),
        ];
        for (text, wanted) in table {
            assert_eq!(own.named(&hosts[0], text).0, wanted);
            let other = text.replace("/srv/web1", "/srv/web2").replace("web1:", "web2:");
            let (_, used) = own.named(&hosts[0], text);
            assert!(!used.is_empty(), "{other}");
        }
    }
}
