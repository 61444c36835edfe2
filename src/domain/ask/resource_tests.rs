use serde_json::json;

use super::*;
use crate::domain::ask::command::command_paths;
use crate::domain::ask::field_notes::note;

fn given(value: Value) -> Given {
    value.as_object().unwrap().clone()
}

fn line(verb: Verb, path: &str, value: Value) -> Result<String, String> {
    Resource::find(verb, path).unwrap().line(&given(value)).map_err(|refusal| refusal.to_string())
}

#[test]
fn every_command_has_its_resource() {
    let mut commands = command_paths();
    commands.push("TASK".into());
    // Clients of git speak a protocol of their own.
    commands.retain(|command| !command.starts_with("git-"));
    for command in commands {
        assert!(RESOURCES.iter().any(|one| one.is_for(&command)), "no resource for `{command}`");
    }
}

#[test]
fn a_path_and_a_method_are_one_resource_and_paths_name_their_fields() {
    for (at, one) in RESOURCES.iter().enumerate() {
        assert!(
            !RESOURCES[..at].iter().any(|other| (other.verb, other.path) == (one.verb, one.path)),
            "{one:?}"
        );
        assert!(one.fields().iter().all(|field| !note(field.name).is_empty()), "{one:?}");
        let in_path = one.fields().iter().filter(|field| field.is_in_path).count();
        assert_eq!(one.path.matches('{').count(), in_path, "{one:?}");
    }
}

#[test]
fn fields_become_words() {
    let rows = [
        (Verb::Get, "/v1/hosts", json!({}), "hosts --json"),
        (Verb::Get, "/v1/hosts", json!({ "selector": "web:&prod" }), "hosts 'web:&prod' --json"),
        (Verb::Get, "/v1/runs", json!({ "last": 5 }), "runs --last 5 --json"),
        (Verb::Get, "/v1/runs", json!({ "last": "5" }), "runs --last 5 --json"),
        (
            Verb::Post,
            "/v1/runs",
            json!({ "task": "deploy", "selector": "prod", "wait": true, "params": { "version": "1 2", "n": 3 }, "break_glass": "it burns" }),
            "deploy prod --wait 'n=3' 'version=1 2' --json --break-glass because 'it burns'",
        ),
        (
            Verb::Post,
            "/v1/leases",
            json!({ "selector": "prod", "for": "2h", "because": "it's a test", "take_over": true }),
            "lock prod --take-over for 2h --json because 'it'\\''s a test'",
        ),
        (
            Verb::Post,
            "/v1/commands",
            json!({ "selector": "web", "command": "echo 'a  b' \"$X\"; --json" }),
            "run web --json -- echo 'a  b' \"$X\"; --json",
        ),
        (Verb::Get, "/v1/help", json!({ "words": ["balancer", "drain"] }), "help balancer drain"),
        (Verb::Get, "/v1/help", json!({ "words": "balancer drain" }), "help balancer drain"),
    ];
    for (verb, path, value, wanted) in rows {
        assert_eq!(line(verb, path, value).as_deref(), Ok(wanted));
    }
}

#[test]
fn no_field_is_taken_for_an_option_or_for_another_word() {
    let rows = [
        (
            Verb::Get,
            "/v1/hosts",
            json!({ "selector": "--fresh" }),
            "`selector` begins with `-`, which is for options",
        ),
        (
            Verb::Post,
            "/v1/runs",
            json!({ "task": "--local", "selector": "x" }),
            "`task` begins with `-`, which is for options",
        ),
        (Verb::Post, "/v1/runs", json!({ "task": "deploy" }), "the field `selector` is missing"),
        (
            Verb::Post,
            "/v1/runs",
            json!({ "task": "deploy", "selector": "x", "params": { "--check": "1" } }),
            "`--check` is no name of a parameter",
        ),
        (
            Verb::Post,
            "/v1/runs",
            json!({ "task": "deploy", "selector": "x", "params": { "a": ["1"] } }),
            "`params` is no object with a text or a number for each name",
        ),
        (
            Verb::Post,
            "/v1/leases",
            json!({ "selector": "x", "for": "2h", "because": "--write-off" }),
            "`because` begins with `-`, which is for options",
        ),
        (
            Verb::Get,
            "/v1/hosts",
            json!({ "selectr": "web" }),
            "no field `selectr`; did you mean `selector`? (known: selector)",
        ),
        (Verb::Get, "/v1/queue", json!({ "x": "web" }), "no field `x` (known: none)"),
        (Verb::Get, "/v1/hosts", json!({ "selector": "" }), "`selector` is empty"),
        (Verb::Get, "/v1/hosts", json!({ "selector": ["a"] }), "`selector` is no text"),
        (
            Verb::Post,
            "/v1/runs/{run}/cancel",
            json!({ "run": 1, "now": "yes" }),
            "`now` is neither true nor false",
        ),
        (Verb::Get, "/v1/help", json!({ "words": [1] }), "`words` is no list of texts"),
    ];
    for (verb, path, value, wanted) in rows {
        assert_eq!(line(verb, path, value), Err(wanted.to_string()));
    }
}
