//! Converts the output of a script in `hosts/` (Ansible's `--list`) to an equivalent TOML file: one reader
//! serves both, and every message points to a line of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use toml::{Table, Value as Toml};

/// The keys of `all` here, for every host of the file. Its children are all groups, listed or not.
const OF_ALL: [&str; 5] = ["vars", "login", "port", "via", "checks"];

/// The group of hosts that are in no other group.
const UNGROUPED: &str = "ungrouped";

/// A host with its vars in a group.
type HostVars = (String, Map<String, Value>);

/// The text of that file.
pub fn to_toml(text: &str) -> Result<String, String> {
    let said: Value = serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| format!("it prints no JSON: {error}"))?;
    let Value::Object(mut said) = said else {
        return Err("it prints JSON that is no object of groups".into());
    };
    let mut vars = match said.remove("_meta") {
        None => Map::new(),
        Some(meta) => object("_meta.hostvars", meta.get("hostvars").cloned().unwrap_or_default())?,
    };
    let mut groups = BTreeMap::new();
    for (name, value) in said {
        let group = match value {
            Value::Array(_) => Map::from_iter([("hosts".to_string(), value)]),
            other => object(&format!("group `{name}`"), other)?,
        };
        groups.insert(name, group);
    }
    let all = groups.remove("all").unwrap_or_default();
    complete(&mut groups, &all)?;
    let mut file = Table::new();
    let of_all = all.into_iter().filter(|(key, _)| OF_ALL.contains(&key.as_str()));
    put(&mut file, "all", &Value::Object(of_all.collect()))?;
    for (name, mut group) in groups {
        let mut hosts = hosts_of(&name, group.remove("hosts"))?;
        for (host, own) in &mut hosts {
            // The vars of a host that hold for all groups are written where it is named first.
            if let Some(more) = vars.remove(host) {
                let mut more = object(&format!("_meta.hostvars.{host}"), more)?;
                more.append(own);
                *own = more;
            }
        }
        let mut table = Table::new();
        put_hosts(&mut table, hosts)?;
        for (key, value) in group {
            put(&mut table, &key, &value)?;
        }
        file.insert(name, Toml::Table(table));
    }
    toml::to_string(&file).map_err(|error| error.to_string())
}

/// Adds the groups that are only named as children, and the hosts that are only named in `all`.
fn complete(
    groups: &mut BTreeMap<String, Map<String, Value>>,
    all: &Map<String, Value>,
) -> Result<(), String> {
    let empty =
        |group: &Map<String, Value>| group.values().all(|value| value.as_array().is_some_and(Vec::is_empty));
    if groups.get(UNGROUPED).is_some_and(empty) {
        groups.remove(UNGROUPED);
    }
    let children = groups.values().filter_map(|group| group.get("children")?.as_array()).flatten();
    let children: Vec<String> = children.filter_map(|child| Some(child.as_str()?.to_string())).collect();
    for child in children {
        groups.entry(child).or_default();
    }
    let mut named = BTreeSet::new();
    for (name, group) in groups.iter() {
        named.extend(hosts_of(name, group.get("hosts").cloned())?.into_iter().map(|(host, _)| host));
    }
    let loose = hosts_of("all", all.get("hosts").cloned())?;
    let loose: Map<String, Value> = loose
        .into_iter()
        .filter(|(host, _)| !named.contains(host))
        .map(|(host, vars)| (host, Value::Object(vars)))
        .collect();
    if !loose.is_empty() {
        let group = groups.entry(UNGROUPED.into()).or_default();
        let mut hosts = Map::from_iter(
            hosts_of(UNGROUPED, group.remove("hosts"))?
                .into_iter()
                .map(|(host, vars)| (host, Value::Object(vars))),
        );
        hosts.extend(loose);
        group.insert("hosts".into(), Value::Object(hosts));
    }
    Ok(())
}

/// `["a", "b"]`, or host -> vars.
fn hosts_of(group: &str, value: Option<Value>) -> Result<Vec<HostVars>, String> {
    let wrong = || format!("`hosts` of group `{group}` is neither a list of names nor an object of them");
    match value {
        None | Some(Value::Null) => Ok(vec![]),
        Some(Value::String(name)) => Ok(vec![(name, Map::new())]),
        Some(Value::Array(names)) => {
            let name = |name: Value| Ok((name.as_str().ok_or_else(wrong)?.to_string(), Map::new()));
            names.into_iter().map(name).collect()
        }
        Some(Value::Object(hosts)) => hosts
            .into_iter()
            .map(|(host, vars)| {
                Ok((host.clone(), object(&format!("host `{host}` of group `{group}`"), vars)?))
            })
            .collect(),
        Some(_) => Err(wrong()),
    }
}

fn object(what: &str, value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(object) => Ok(object),
        Value::Null => Ok(Map::new()),
        _ => Err(format!("{what} is no object")),
    }
}

fn put_hosts(table: &mut Table, hosts: Vec<HostVars>) -> Result<(), String> {
    if hosts.iter().all(|(_, vars)| vars.is_empty()) {
        let names = hosts.into_iter().map(|(host, _)| Toml::String(host)).collect::<Vec<_>>();
        if !names.is_empty() {
            table.insert("hosts".into(), Toml::Array(names));
        }
        return Ok(());
    }
    let mut all = Table::new();
    for (host, vars) in hosts {
        let mut own = Table::new();
        for (key, value) in &vars {
            put(&mut own, key, value)?;
        }
        all.insert(host, Toml::Table(own));
    }
    table.insert("hosts".into(), Toml::Table(all));
    Ok(())
}

fn put(table: &mut Table, key: &str, value: &Value) -> Result<(), String> {
    let value = value_of(value).map_err(|why| format!("`{key}`: {why}"))?;
    // An empty `all` is left out.
    let says = |value: &Toml| key != "all" || !value.as_table().is_some_and(Table::is_empty);
    if let Some(value) = value.filter(says) {
        table.insert(key.into(), value);
    }
    Ok(())
}

/// `None` for values that TOML does not have: null, and a list with null.
fn value_of(value: &Value) -> Result<Option<Toml>, String> {
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(yes) => Toml::Boolean(*yes),
        Value::String(text) => Toml::String(text.clone()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Toml::Integer(whole),
            (None, Some(number)) if !value.is_u64() => Toml::Float(number),
            _ => return Err(format!("{number} is too large a number")),
        },
        Value::Array(items) => {
            let items = items.iter().map(value_of).collect::<Result<Option<Vec<Toml>>, String>>()?;
            let Some(items) = items else { return Ok(None) };
            Toml::Array(items)
        }
        Value::Object(fields) => {
            let mut table = Table::new();
            for (key, value) in fields {
                put(&mut table, key, value)?;
            }
            Toml::Table(table)
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_becomes_the_file_that_says_the_same() {
        let table = [
            ("{}", Ok("")),
            (r#"{"web": ["a", "b"]}"#, Ok("[web]\nhosts = [\"a\", \"b\"]\n")),
            (
                r#"{"web": {"hosts": ["b", "a"], "vars": {"x": 1, "no": null, "half": [1, null], "f": 2.5}},
                    "_meta": {"hostvars": {"a": {"ansible_host": "10.0.0.1", "deep": {"y": [true]}}, "gone": {"z": 1}}}}"#,
                Ok(
                    "[web.hosts.b]\n\n[web.hosts.a]\nansible_host = \"10.0.0.1\"\n\n[web.hosts.a.deep]\ny = [true]\n\n[web.vars]\nf = 2.5\nx = 1\n",
                ),
            ),
            (
                r#"{"all": {"children": ["ungrouped", "web"], "vars": {"v": 1}, "hosts": ["a", "lone"]},
                    "ungrouped": {"hosts": []}, "web": {"hosts": ["a"], "children": ["deep"]}}"#,
                Ok(
                    "[all.vars]\nv = 1\n\n[deep]\n\n[ungrouped]\nhosts = [\"lone\"]\n\n[web]\nhosts = [\"a\"]\nchildren = [\"deep\"]\n",
                ),
            ),
            (
                r#"{"a": {"hosts": {"h": {"x": 1}}}, "b": ["h"], "_meta": {"hostvars": {"h": {"x": 2, "y": 3}}}}"#,
                Ok("[a.hosts.h]\nx = 1\ny = 3\n\n[b]\nhosts = [\"h\"]\n"),
            ),
            ("", Err("it prints no JSON: EOF")),
            ("Traceback (most recent call last)", Err("it prints no JSON")),
            ("[]", Err("it prints JSON that is no object")),
            (r#"{"web": 3}"#, Err("group `web` is no object")),
            (r#"{"web": {"hosts": 3}}"#, Err("`hosts` of group `web` is neither")),
            (r#"{"web": [3]}"#, Err("`hosts` of group `web` is neither")),
            (r#"{"web": {"hosts": {"a": 3}}}"#, Err("host `a` of group `web` is no object")),
            (r#"{"_meta": {"hostvars": []}}"#, Err("_meta.hostvars is no object")),
            (
                r#"{"web": {"vars": {"n": 18446744073709551615}}}"#,
                Err("`vars`: `n`: 18446744073709551615 is too large"),
            ),
        ];
        for (json, wanted) in table {
            match (to_toml(json), wanted) {
                (Ok(text), Ok(wanted)) => assert_eq!(text, wanted, "{json}"),
                (Err(why), Err(wanted)) => assert!(why.starts_with(wanted), "{json}: {why}"),
                (got, _) => panic!("{json}: {got:?}"),
            }
        }
    }

    #[test]
    fn no_listing_makes_it_panic() {
        proptest::proptest!(|(text in r#"\{("(all|web|_meta|ungrouped)": ?(\[|\{|"|[0-9]|null|"hosts"|"hostvars"|"a"|:|,|\}|\]){0,12},?){0,3}\}"#)| {
            let _ = to_toml(&text);
        });
    }
}
