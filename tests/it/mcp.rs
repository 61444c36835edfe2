//! Agents: the subsystem `mcp`, with plain ssh, with a client that is not ours, and with an agent that wants to do harm.

use std::collections::BTreeMap;
use std::process::Stdio;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use rollcall::domain::ask::agent::AgentUse;
use rollcall::domain::ask::command::command_paths;
use rollcall::domain::ask::resource::{Field, FieldKind, Given, Gives};
use rollcall::domain::ask::tools::{AgentTool, agent_tools};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::api::without_times;
use crate::support::site::{FIRST, Site, answer_of};
use crate::support::{eventually, keygen, read, write};

/// An agent on a channel of its own.
struct Agent {
    child: Child,
    to: ChildStdin,
    from: Lines<BufReader<ChildStdout>>,
    last: u64,
}

impl Agent {
    async fn open(site: &Site, who: &str) -> Agent {
        let mut agent = Agent::silent(site, who);
        let hello = json!({
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" },
        });
        let answer = agent.ask("initialize", hello).await;
        assert_eq!(answer["result"]["serverInfo"]["name"], "rollcall", "{answer}");
        agent.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string()).await;
        agent
    }

    /// One that has said nothing yet.
    fn silent(site: &Site, who: &str) -> Agent {
        let mut ssh = site.ssh_with(site.port(), who, &["-s"]);
        ssh.arg("mcp").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = ssh.spawn().unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Agent { child, to, from: BufReader::new(from).lines(), last: 0 }
    }

    async fn write(&mut self, line: &str) {
        self.to.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        let line = self.from.next_line().await.unwrap().expect("an answer");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Sends a request; its number.
    async fn send(&mut self, method: &str, params: Value) -> u64 {
        self.last += 1;
        let request = json!({ "jsonrpc": "2.0", "id": self.last, "method": method, "params": params });
        self.write(&request.to_string()).await;
        self.last
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        let answer = self.next().await;
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({ "name": tool, "arguments": arguments })).await["result"].take()
    }

    /// The object of an answer that is no refusal.
    async fn told(&mut self, tool: &str, arguments: Value) -> Value {
        let mut answer = self.call(tool, arguments).await;
        assert_eq!(answer["isError"], false, "{answer}");
        answer["structuredContent"].take()
    }

    /// The words of a refusal.
    async fn refused(&mut self, tool: &str, arguments: Value) -> String {
        let answer = self.call(tool, arguments).await;
        assert_eq!(answer["isError"], true, "{answer}");
        answer["content"][0]["text"].as_str().unwrap().to_string()
    }

    /// Proposes what it has planned; the number of the run.
    async fn propose(&mut self, mut fields: Value) -> u64 {
        let plan = self.told("plan", fields.clone()).await;
        fields["digest"] = plan["digest"].clone();
        self.told("start", fields).await["run"].as_u64().unwrap()
    }
}

/// A site with six more groups on the first host, and an operator `bot` with two keys: an admin, so that no right hides a fault.
async fn site() -> Site {
    let mut site = Site::without_daemon(2).await;
    let operators = site.config.join("operators");
    for key in ["bot", "bot2"] {
        keygen(&site.dir.path().join(key), "bot");
        let public = read(&site.dir.path().join(format!("{key}.pub")));
        write(&operators, &(read(&operators) + &format!("role=\"admin\" {public}")));
    }
    let (port, root) = (site.hosts[0].sshd.address.port(), site.hosts[0].dir.display().to_string());
    for group in GROUPS {
        let text = format!(
            "[web.hosts]\n{group}1 = {{ address = \"127.0.0.1\", port = {port}, root = \"{root}\" }}\n"
        );
        write(&site.config.join(format!("hosts/{group}.toml")), &text);
    }
    write(&site.config.join("tasks/hidden.toml"), HIDDEN);
    write(&site.config.join("tasks/fetched.toml"), FETCHED);
    site.start_daemon().await;
    site
}

const GROUPS: [&str; 6] = ["ga", "gb", "gc", "gd", "ge", "gf"];

const HIDDEN: &str =
    "params.token = { secret = true }\n[[steps]]\nname = \"s\"\nrun = \"touch {{ root }}/touched\"\n";

const FETCHED: &str = "params.app = { type = \"artifact\" }\n[[steps]]\nname = \"s\"\nupload = { from = \"{{ app }}\", to = \"{{ root }}/app\" }\n";

/// Every connection that the daemon has made to a host.
fn connections(site: &Site) -> usize {
    site.hosts.iter().map(|host| host.sshd.accepted()).sum::<usize>() + site.lb.accepted()
}

/// A value for each required field, of things that are there.
fn sample(tool: &AgentTool) -> Given {
    let value = |field: &Field| match (field.kind, field.name) {
        (FieldKind::Number, _) => json!(1),
        (FieldKind::List, _) => json!(["hosts"]),
        (FieldKind::Text, "format") => json!("junit"),
        (FieldKind::Text, "task") => json!("touch"),
        _ => json!("web01"),
    };
    let fields = tool.resource.fields();
    fields.iter().filter(|field| field.is_required).map(|field| (field.name.into(), value(field))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tool_of_an_agent_answers_as_its_command_does() {
    let site = site().await;
    site.ask("deploy prod version=2.0.0").await.expect(0);
    let before = connections(&site);
    let mut agent = Agent::open(&site, "ann").await;
    for tool in agent_tools().iter().filter(|tool| tool.is_for == AgentUse::Reads) {
        let given = sample(tool);
        let line = tool.resource.line(&given).unwrap();
        let typed = site.ask(&line).await;
        let answer = agent.call(&tool.name, Value::Object(given)).await;
        if let Some(why) = typed.err.strip_prefix("rollcall: ").filter(|_| typed.out.is_empty()) {
            assert_eq!(answer["isError"], true, "{line}: {answer}");
            assert_eq!(answer["content"][0]["text"], why.trim_end(), "{line}");
            continue;
        }
        assert_eq!(answer["isError"], false, "{line}: {answer}");
        let found = &answer["structuredContent"];
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        match tool.resource.gives {
            // Numbers of the process itself.
            Gives::Text(_) if tool.name == "metrics" => assert!(found["text"].as_str().unwrap().len() > 100),
            Gives::Text(_) => assert_eq!(found["text"], typed.out, "{line}"),
            Gives::One => assert_eq!(without_times(found), without_times(&parsed(&typed.out)), "{line}"),
            // Each call adds to these.
            _ if ["audit", "audit_verify", "sessions", "doctor"].contains(&tool.name.as_str()) => {
                assert!(!found["items"].as_array().unwrap().is_empty(), "{line}: {found}");
            }
            _ => {
                let typed: Vec<Value> =
                    typed.out.lines().take(100).map(|line| without_times(&parsed(line))).collect();
                assert_eq!(without_times(&found["items"]), json!(typed), "{line}");
            }
        }
    }
    let planned = agent.told("plan", json!({ "task": "touch", "selector": "prod.web" })).await;
    let typed = site.ask("plan touch prod.web --json").await.expect(0);
    let mut typed: Value = serde_json::from_str(&typed.out).unwrap();
    // The run of an agent waits for another person.
    typed["needs_approval"] = json!(true);
    typed["digest"] = planned["digest"].clone();
    assert_eq!(planned, typed);
    assert_eq!(connections(&site), before, "no tool reaches a host");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_an_agent_waits_for_another_person_whatever_its_role() {
    let site = site().await;
    let before = connections(&site);
    let mut agent = Agent::open(&site, "bot").await;
    let fields = json!({ "task": "deploy", "selector": "prod", "params": { "version": "2.0.0" } });
    let run = agent.propose(fields.clone()).await;
    let shown =
        "paused by rollcall: for approval by a second person, before anything begins; to go on: approve 1";
    eventually("it waits", async || site.ask("show 1").await.out.contains(shown)).await;
    for line in ["runs", "show 1", "events"] {
        let out = site.ask(line).await.out;
        assert!(out.contains("deploy prod hook=true version=2.0.0 (proposed through mcp)"), "{line}: {out}");
    }
    let steps = "batch 1: web01 (1)";
    let plan = site.ask("show 1").await.out;
    assert!(
        plan.starts_with("plan: deploy prod") && plan.contains(steps) && plan.contains("unpack"),
        "{plan}"
    );
    assert_eq!(connections(&site), before);
    let recap = agent.told("show", json!({ "run": run })).await;
    assert_eq!(recap["items"].as_array().unwrap().len(), 3, "{recap}");

    // Neither of its keys approves, over any way.
    for key in ["bot", "bot2"] {
        let own = site.ask_as(key, "approve 1").await.expect(77);
        let why =
            "bot asked for run 1, and a run that an agent proposed needs another person to approve it (mcp)";
        assert!(own.err.contains(why), "{}", own.err);
    }
    let answer = agent.ask("tools/call", json!({ "name": "approve", "arguments": { "run": 1 } })).await;
    assert_eq!(answer["error"]["message"], "there is no such tool; see: tools/list", "{answer}");

    site.ask_as("bob", "approve 1").await.expect(0);
    eventually("it is done", async || site.releases() == ["2.0.0", "2.0.0"]).await;
    eventually("the agent sees its end", async || {
        let shown = agent.told("show", json!({ "run": run })).await.to_string();
        shown.contains("\"outcome\":\"done\"")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_starts_the_plan_that_it_was_shown_and_no_other() {
    let site = site().await;
    let mut agent = Agent::open(&site, "bot").await;
    let fields = json!({ "task": "touch", "selector": "prod.web" });
    let digest = agent.told("plan", fields.clone()).await["digest"].clone();
    let with = |fields: &Value, digest: &Value| {
        let mut fields = fields.clone();
        fields["digest"] = digest.clone();
        fields
    };
    let changed = "the plan of now is not the one with this digest";
    let other = json!({ "task": "touch", "selector": "web01" });
    let why = agent.refused("start", with(&other, &digest)).await;
    assert!(why.starts_with(changed), "{why}");
    let why = agent.refused("start", fields.clone()).await;
    assert_eq!(why, "`digest` is missing; the answer of `plan` has it");

    let task = site.config.join("tasks/touch.toml");
    write(&task, &read(&task).replace("touched", "touched-too"));
    site.ask("reload").await.expect(0);
    let why = agent.refused("start", with(&fields, &digest)).await;
    assert!(why.starts_with(changed), "{why}");
    assert_eq!(agent.told("runs", json!({})).await["items"], json!([]));
    agent.propose(fields).await;

    let rows = [
        (
            "hidden",
            json!({ "token": "hunter2" }),
            "the parameter `token` is secret, and no agent may give or use it",
        ),
        ("fetched", json!({ "app": "-" }), "an agent gives no files, and lets none be fetched"),
        ("facts", json!({}), "`task` is the name of a command"),
        ("rollback", json!({}), "is not for agents"),
    ];
    for (task, params, wanted) in rows {
        let fields = json!({ "task": task, "selector": "ga", "params": params });
        for (tool, fields) in [("plan", fields.clone()), ("start", with(&fields, &digest))] {
            let why = agent.refused(tool, fields).await;
            let is_other_word = task == "facts" || task == "rollback";
            assert!(why.contains(wanted) || is_other_word, "{tool} {task}: {why}");
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
    assert_eq!(agent.told("runs", json!({})).await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_has_few_runs_that_wait_and_a_restart_does_not_forget_them() {
    let mut site = site().await;
    let mut agent = Agent::open(&site, "bot").await;
    for group in &GROUPS[..4] {
        agent.propose(json!({ "task": "touch", "selector": group })).await;
    }
    let limit = "4 runs that an agent of this operator has proposed have not ended, and no more are taken; \
                 another person approves or cancels them, see: runs";
    let fields = json!({ "task": "touch", "selector": "ge" });
    let digest = agent.told("plan", fields.clone()).await["digest"].clone();
    let start = json!({ "task": "touch", "selector": "ge", "digest": digest });
    assert_eq!(agent.refused("start", start.clone()).await, limit);
    site.daemon.take().unwrap().stop().await;
    site.start_daemon().await;
    let mut agent = Agent::open(&site, "bot").await;
    assert_eq!(agent.refused("start", start.clone()).await, limit);
    site.ask("cancel 2").await.expect(0);
    eventually("there is room for one", async || {
        agent.call("start", start.clone()).await["isError"] == false
    })
    .await;
    assert!(!site.hosts[0].dir.join("touched").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proposed_run_is_in_nobodys_way_until_it_is_approved() {
    let site = site().await;
    let mut agent = Agent::open(&site, "bot").await;
    let run = agent.propose(json!({ "task": "touch", "selector": GROUPS[0] })).await;
    let approve = format!("approve {run}");
    // Others release and lock there as if it were not.
    site.ask(&format!("touch {}", GROUPS[0])).await.expect(0);
    site.ask_as("bob", &format!("lock {} for 1h because 'a test'", GROUPS[0])).await.expect(0);
    let refused = site.ask(&approve).await.expect(5);
    assert!(refused.err.contains(&format!("try: approve {run} when that is over")), "{}", refused.err);
    site.ask("unlock 1 because 'over'").await.expect(0);
    site.ask(&approve).await.expect(0);
    site.ask(&format!("watch {run}")).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_of_an_agent_is_answered_and_everything_is_bounded() {
    let site = Site::start(1).await;
    let mut agent = Agent::open(&site, "vic").await;
    let call = |id: Value| json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "version" } });
    let rows = [
        ("nonsense".to_string(), json!(null), -32700, "a line is one JSON object"),
        ("[".repeat(100_000), json!(null), -32700, "a line is one JSON object"),
        ("x".repeat(1024 * 1024 + 9), json!(null), -32600, "a line has at most 1048576 bytes"),
        ("{\"id\":7}".into(), json!(7), -32600, "this is no message of the Model Context Protocol"),
        ("[]".into(), json!(null), -32600, "this is no message of the Model Context Protocol"),
        (call(json!("i".repeat(257))).to_string(), json!(null), -32600, "an `id` has at most 256 bytes"),
    ];
    for (line, id, code, why) in rows {
        agent.write(&format!("\n{line}")).await;
        let answer = agent.next().await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(code)), "{answer}");
        assert_eq!(answer["error"]["message"], why);
    }
    let answer = agent.call("hosts", json!({ "selector": "-x" })).await;
    assert_eq!(answer["structuredContent"]["type"], "urn:rollcall:usage", "{answer}");
    let why = agent.refused("config_log", json!({})).await;
    assert!(why.contains("vic has the role viewer"), "{why}");

    // What was sent is answered, and then the channel ends.
    agent.send("tools/call", json!({ "name": "hosts" })).await;
    let Agent { mut child, to, mut from, .. } = agent;
    drop(to);
    let last = from.next_line().await.unwrap().unwrap();
    assert!(last.contains("lb1"), "{last}");
    assert_eq!(child.wait().await.unwrap().code(), Some(0));

    // A key that is removed ends its agent.
    let mut agent = Agent::open(&site, "vic").await;
    let operators = site.config.join("operators");
    let without: String = read(&operators)
        .lines()
        .filter(|line| !line.ends_with(" vic"))
        .map(|line| format!("{line}\n"))
        .collect();
    write(&operators, &without);
    site.ask("reload").await.expect(0);
    assert_eq!(agent.from.next_line().await.unwrap(), None);
    // And one that begins with something else is not served.
    let mut other = Agent::silent(&site, "bob");
    other.write("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}").await;
    assert_eq!(other.from.next_line().await.unwrap(), None);
}

/// A client that is not ours.
const PYTHON: &str = r#"
import asyncio, sys
from mcp import Client, ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client

ssh = StdioServerParameters(command="ssh", args=sys.argv[1:])

async def main():
    async with stdio_client(ssh) as (read, write), ClientSession(read, write) as session:
        hello = await session.initialize()
        print(hello.server_info.name, "never an instruction" in hello.instructions)
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        print([name for name, tool in tools.items() if not tool.annotations.read_only_hint])
        print(sorted(tools["start"].input_schema["required"]))
        hosts = await session.call_tool("hosts", {"selector": "prod"})
        print([host["host"] for host in hosts.structured_content["items"]])
        wanted = {"task": "touch", "selector": "prod.web"}
        plan = await session.call_tool("plan", wanted)
        started = await session.call_tool("start", {**wanted, "digest": plan.structured_content["digest"]})
        print(started.structured_content["run"])
        again = await session.call_tool("start", {**wanted, "digest": "sha256:0"})
        print(again.is_error, again.content[0].text)
    async with Client(ssh) as client:
        shown = await client.call_tool("show", {"run": 1})
        print(shown.structured_content["items"][0]["type"])

asyncio.run(main())
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_python_reads_plans_and_proposes() {
    let site = site().await;
    let script = site.dir.path().join("client.py");
    write(&script, PYTHON);
    let python = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python/bin/python");
    let mut client = Command::new(python);
    let ssh = site.ssh_with(site.port(), "bot", &["-s"]);
    client.arg(&script).args(ssh.as_std().get_args()).arg("mcp");
    let answer = answer_of(client).await.expect(0);
    let lines: Vec<&str> = answer.out.lines().collect();
    let wanted = [
        "rollcall True",
        "['start']",
        "['digest', 'selector', 'task']",
        "['lb1', 'web01', 'web02']",
        "1",
        "True the plan of now is not the one with this digest: the configuration, the hosts or the request have changed; \
         plan it again, and start it with the digest of that plan",
        "run-started",
    ];
    assert_eq!(lines, wanted, "{answer:?}");
    site.ask_as("bob", "approve 1").await.expect(0);
    eventually("it is done", async || site.hosts.iter().all(|host| host.dir.join("touched").exists())).await;
}

/// What an agent sends that wants to do harm.
struct Hostile {
    random: StdRng,
    tools: Vec<String>,
    /// Fields of plans, and their digests.
    planned: Vec<(Value, Value)>,
}

impl Hostile {
    fn new() -> Hostile {
        let own = agent_tools().into_iter().map(|tool| tool.name);
        let others = command_paths().into_iter().flat_map(|path| [path.replace(' ', "_"), path]);
        let more = [
            "start; approve 1",
            "start\napprove 1",
            "START",
            "../start",
            "",
            "deploy",
            "touch",
            "tools/call",
        ];
        let tools = own.chain(others).chain(more.map(String::from)).collect();
        Hostile { random: StdRng::seed_from_u64(4711), tools, planned: Vec::new() }
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.random.random_range(0..all.len())].clone()
    }

    fn text(&mut self) -> String {
        let all = [
            "web01",
            "prod",
            "prod.web",
            "ga",
            "gb",
            "gc",
            "gd",
            "ge",
            "gf",
            "all",
            "1",
            "2",
            "0",
            "-1",
            "--now",
            "-- rm -rf /",
            "-b",
            "x\napprove 1",
            "x; approve 1",
            "$(touch /tmp/x)",
            "`id`",
            "web01 --force",
            "--break-glass because x",
            "'",
            "\"",
            "\\",
            "deploy",
            "touch",
            "hidden",
            "fetched",
            "approve",
            "run",
            "rollback",
            "check",
            "facts",
            "cancel",
            "plan",
            "2.0.0",
            "3.1.4",
            "bot",
            "ann",
            "admin",
            "json",
            "junit",
            "2h",
            "\u{202e}x",
            "\u{1b}[2J",
            "*",
            "@all",
            "{{ root }}",
            "-",
            "SHA256:x",
            "http://127.0.0.1:1/x#sha256=00",
        ];
        match self.random.random_range(0..40) {
            0 => "a".repeat(self.random.random_range(0..100_000)),
            1 => format!("sha256:{:064x}", self.random.next_u64()),
            _ => self.pick(&all).to_string(),
        }
    }

    fn value(&mut self, depth: usize) -> Value {
        match self.random.random_range(0..12) {
            0 => json!(self.random.random_range(-3..60)),
            1 => json!(self.random.random_bool(0.5)),
            2 => Value::Null,
            3 if depth < 3 => json!([self.value(depth + 1), self.value(depth + 1)]),
            4 if depth < 3 => self.object(depth + 1),
            5 => json!(1.5e300),
            _ => json!(self.text()),
        }
    }

    fn object(&mut self, depth: usize) -> Value {
        let names = [
            "selector",
            "task",
            "run",
            "host",
            "check",
            "params",
            "tags",
            "skip_tags",
            "force",
            "digest",
            "wait",
            "break_glass",
            "now",
            "command",
            "because",
            "for",
            "words",
            "last",
            "limit",
            "cursor",
            "since",
            "type",
            "operator",
            "format",
            "version",
            "--now",
            "x=y",
            "token",
            "hook",
            "app",
            "json",
            "line",
            "to",
        ];
        let mut object = serde_json::Map::new();
        for _ in 0..self.random.random_range(0..6) {
            let name = self.pick(&names);
            let value = self.value(depth);
            object.insert(name.into(), value);
        }
        Value::Object(object)
    }

    /// What may be planned.
    fn fields(&mut self) -> Value {
        let task = self.pick(&["touch", "touch", "touch", "deploy", "hidden", "fetched", "rollback", "help"]);
        let selector = self.pick(&["ga", "gb", "gc", "gd", "ge", "gf", "prod", "prod.web", "web01", "all"]);
        let params = match task {
            "deploy" => json!({ "version": "2.0.0", "hook": self.pick(&["true", "touch hooked", "id"]) }),
            _ => json!({}),
        };
        json!({ "task": task, "selector": selector, "params": params })
    }

    fn call(&mut self) -> (&'static str, Value) {
        let call =
            |name: &str, arguments: Value| ("tools/call", json!({ "name": name, "arguments": arguments }));
        match self.random.random_range(0..100) {
            0..15 => call("plan", self.fields()),
            15..40 if !self.planned.is_empty() => {
                let all = self.planned.clone();
                let (mut fields, digest) = self.pick(&all);
                fields["digest"] = match self.random.random_range(0..4) {
                    0 => self.pick(&all).1,
                    1 => self.value(0),
                    _ => digest,
                };
                if self.random.random_bool(0.3) {
                    let more = self.object(0);
                    let more = more.as_object().unwrap().clone();
                    fields.as_object_mut().unwrap().extend(more);
                }
                call("start", fields)
            }
            15..50 => call("start", self.object(0)),
            50..55 => {
                let methods = [
                    "tools/approve",
                    "resources/read",
                    "resources/list",
                    "prompts/get",
                    "completion/complete",
                    "tasks/cancel",
                    "tasks/update",
                    "logging/setLevel",
                    "sampling/createMessage",
                    "initialize",
                    "ping",
                    "approve",
                    "server/discover",
                ];
                (self.pick(&methods), self.object(0))
            }
            _ => {
                let tools = self.tools.clone();
                let name = self.pick(&tools);
                call(&name, self.object(0))
            }
        }
    }
}

/// What no agent may change.
async fn state(site: &Site) -> BTreeMap<&'static str, String> {
    let mut state = BTreeMap::new();
    for line in [
        "lock",
        "freeze",
        "downtime",
        "ask",
        "debts",
        "releases",
        "config log",
        "config diff",
        "notify list",
        "hosts",
        "status",
    ] {
        let options = if line == "config diff" { "" } else { " --json" };
        state.insert(line, site.ask(&format!("{line}{options}")).await.out);
    }
    for file in ["operators", "rollcall.toml", "tasks/deploy.toml"] {
        state.insert(file, read(&site.config.join(file)));
    }
    state.insert("known_hosts", read(&site.dir.path().join("state/known_hosts")));
    state
}

const CALLS: usize = 10_000;

/// Calls that are sent before their answers are read.
const AT_ONCE: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_calls_of_a_hostile_agent_come_to_no_effect() {
    let site = site().await;
    let before = (connections(&site), state(&site).await);
    let mut agent = Agent::open(&site, "bot").await;
    let mut hostile = Hostile::new();
    let mut proposed = 0;
    for _ in 0..CALLS / AT_ONCE {
        let mut sent = BTreeMap::new();
        for _ in 0..AT_ONCE {
            let (method, params) = hostile.call();
            sent.insert(agent.send(method, params.clone()).await, params);
        }
        while !sent.is_empty() {
            let answer = agent.next().await;
            let Some(params) = answer["id"].as_u64().and_then(|id| sent.remove(&id)) else {
                panic!("an answer to nothing: {answer}")
            };
            let found = &answer["result"]["structuredContent"];
            match params["name"].as_str() {
                Some("plan") if found["digest"].is_string() => {
                    hostile.planned.push((params["arguments"].clone(), found["digest"].clone()));
                    hostile.planned.truncate(50);
                }
                Some("start") if found["run"].is_number() => proposed += 1,
                _ => {}
            }
        }
    }
    assert_eq!(proposed, 4, "those that may wait");
    assert_eq!((connections(&site), state(&site).await), before);
    assert_eq!(site.releases(), [FIRST, FIRST]);
    let runs = site.ask("runs --json").await.out;
    assert_eq!(runs.lines().count(), proposed, "{runs}");
    for run in 1..=proposed {
        let story = site.ask(&format!("show {run} --json")).await.out;
        let types: Vec<String> = story
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|line| line["schema"] == "event")
            .map(|event| event["type"].as_str().unwrap().to_string())
            .collect();
        assert_eq!(types, ["run-started", "paused"], "{story}");
        assert!(story.contains("(proposed through mcp)") && story.contains("\"by\":\"bot\""), "{story}");
    }

    // One approval of another person, and one of them goes through; the others wait on.
    site.ask_as("bot2", "approve 1").await.expect(77);
    assert_eq!(connections(&site), before.0);
    site.ask_as("bob", "approve 1").await.expect(0);
    eventually("it ends", async || site.ask("runs --json").await.out.contains("\"outcome\":\"")).await;
    assert!(connections(&site) > before.0);
    let waiting = site.ask("runs").await.out;
    assert_eq!(
        waiting.lines().filter(|line| line.contains("proposed through mcp")).count(),
        proposed,
        "{waiting}"
    );
}
