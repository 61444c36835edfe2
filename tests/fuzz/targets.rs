//! What is fuzzed: each parser of what operators, hosts, files and the store say, as a function of bytes. None may panic,
//! recurse without bound, or take memory without bound. `cargo fuzz` drives them from `fuzz_targets/`; the tests of
//! rollcall run their seeds and some thousands of mutations of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use rollcall::config::{Config, from_texts};
use rollcall::domain::ask::command::parse_line;
use rollcall::domain::ask::resource::{Given, RESOURCES};
use rollcall::domain::base::nodeset::{EXPANSION_LIMIT_NAMES, expand, fold};
use rollcall::domain::base::output::Output;
use rollcall::domain::base::rendered::{LINE_BYTES, LineRenderer, SPANS_LIMIT, Sequences};
use rollcall::domain::inventory::selector::select;
use rollcall::domain::run::event::Event;
use rollcall::domain::value::template::{self, Vars};
use rollcall::fleet::known_hosts::KnownHosts;
use rollcall::port::{ExecEnd, ExecReport};
use rollcall::steps::wrapper::hear;

/// A parser under test.
pub type Target = fn(&[u8]);

/// All of them, by the name of their seeds.
pub const TARGETS: [(&str, Target); 13] = [
    ("nodeset", nodeset),
    ("selector", selector),
    ("condition", condition),
    ("script", script),
    ("line", line),
    ("operators", operators),
    ("revoked", revoked),
    ("toml", toml),
    ("known_hosts", known_hosts),
    ("wrapper", wrapper),
    ("event", event),
    ("resource", resource),
    ("log", log),
];

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// `web[01-20]`
pub fn nodeset(bytes: &[u8]) {
    if let Ok(names) = expand(text(bytes)) {
        assert!(names.len() <= EXPANSION_LIMIT_NAMES);
        fold(names.iter().map(String::as_str));
    }
}

/// `web:&prod:!web03`
pub fn selector(bytes: &[u8]) {
    let _ = select(&CONFIG.inventory, text(bytes));
}

/// `facts.os == "debian"`
pub fn condition(bytes: &[u8]) {
    let text = text(bytes);
    let _ = template::check_expression(text);
    let _ = template::holds(text, &vars());
}

/// `echo {{ version }}`. What loads holds the same text for all values.
pub fn script(bytes: &[u8]) {
    let text = text(bytes);
    let _ = template::text(text, &vars());
    if template::check_script(text).is_err() || text.contains("script") || text.contains("{%") {
        return;
    }
    let with = |value: &str| template::script(text, &Vars::from([("v".to_string(), value.into())]));
    if let (Ok(one), Ok(other)) = (with("plain"), with("'; id #")) {
        let body = |script: &str| rollcall::domain::value::expansion::split(script).1.to_string();
        if text.contains("{{ v }}") && text.matches("{{").count() == text.matches("{{ v }}").count() {
            assert_eq!(body(&one), body(&other), "{text:?}");
        }
    }
}

/// A line as it comes over SSH.
pub fn line(bytes: &[u8]) {
    let _ = parse_line(bytes);
}

/// The file `operators`.
pub fn operators(bytes: &[u8]) {
    let texts = BTreeMap::from([
        ("hosts/prod.toml".to_string(), Arc::from("[web]\nhosts = \"web1\"\n")),
        ("operators".to_string(), Arc::from(text(bytes))),
    ]);
    let _ = from_texts(Path::new("/nowhere"), &texts).map_err(|wrong| wrong.to_string());
}

/// The file `revoked`, as text and as a binary list.
pub fn revoked(bytes: &[u8]) {
    let packed = base64(&[b"SSHKRL\n\0\0\0\0\x01", bytes].concat());
    for text in [text(bytes).to_string(), packed] {
        let texts = BTreeMap::from([
            ("hosts/prod.toml".to_string(), Arc::from("[web]\nhosts = \"web1\"\n")),
            ("revoked".to_string(), Arc::from(text.as_str())),
        ]);
        let _ = from_texts(Path::new("/nowhere"), &texts).map_err(|wrong| wrong.to_string());
    }
}

/// A file of the configuration; its first line says which.
pub fn toml(bytes: &[u8]) {
    let Some((name, content)) = text(bytes).split_once('\n') else { return };
    let mut texts = BTreeMap::from([
        (
            "hosts/prod.toml".to_string(),
            Arc::from("[web]\nhosts = \"web1\"\ntags = { canary = [\"web1\"] }\n"),
        ),
        ("tasks/deploy.toml".to_string(), Arc::from("[deploy]\nsteps = [{ run = \"true\" }]\n")),
    ]);
    let file = name.trim_start_matches(['#', ' ']);
    if ["hosts/prod.toml", "tasks/deploy.toml", "checks/web.toml", "rollcall.toml"].contains(&file) {
        texts.insert(file.to_string(), Arc::from(content));
        let _ = from_texts(Path::new("/nowhere"), &texts).map_err(|wrong| wrong.to_string());
    }
}

/// The keys of hosts.
pub fn known_hosts(bytes: &[u8]) {
    static FILE: LazyLock<std::path::PathBuf> =
        LazyLock::new(|| std::env::temp_dir().join(format!("rollcall-fuzz-{}", std::process::id())));
    std::fs::write(&*FILE, bytes).expect("a folder for temporary files");
    let keys = KnownHosts::new(FILE.clone());
    for port in [22, 2222] {
        let _ = keys.preferences("web1.example.com", port);
    }
    let _ = std::fs::remove_file(&*FILE);
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |three: &[u8]| {
        let bits =
            three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        (0..4)
            .map(move |at| match at <= three.len() {
                true => char::from(LETTERS[(bits >> (18 - 6 * at)) as usize & 63]),
                false => '=',
            })
            .collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// What comes back from a host that ran a step.
pub fn wrapper(bytes: &[u8]) {
    let stderr = Output { text: String::from_utf8_lossy(bytes).into_owned(), left_out: 0 };
    let mut report = ExecReport { end: ExecEnd::Exited(0), stdout: Output::default(), stderr };
    let _ = hear("7/web1/s0/0", None, &mut report);
}

/// An event of the journal.
pub fn event(bytes: &[u8]) {
    if let Ok(event) = serde_json::from_slice::<Event>(bytes) {
        let text = serde_json::to_vec(&event).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<Event>(&text).expect("and read again"), event);
    }
}

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let hosts = "[web]\nhosts = \"web[01-20].example.com\"\ntags = { canary = [\"web01\"] }\n[db]\nhosts = \"db[1-3]\"\n";
    let texts = BTreeMap::from([("hosts/prod.toml".to_string(), Arc::from(hosts))]);
    from_texts(Path::new("/nowhere"), &texts).expect("a configuration")
});

/// Lines of a host's output.
pub fn log(bytes: &[u8]) {
    for sequences in [Sequences::Dropped, Sequences::Printed] {
        let mut renderer = LineRenderer::new(sequences);
        for line in bytes.split(|byte| *byte == b'\n') {
            let rendered = renderer.line(line);
            let text = rendered.text();
            assert!(text.len() <= LINE_BYTES.min(4 * line.len()) && rendered.spans.len() <= SPANS_LIMIT);
            assert!(text.chars().all(|c| c == '\t' || !c.is_control()), "{text:?}");
            assert!(!rollcall::present::log::html(&rendered).contains("<script"));
        }
    }
}

/// The fields of a request of the API, as JSON behind a byte that picks the resource. Whatever they hold, the line is one of
/// the resource's command.
pub fn resource(bytes: &[u8]) {
    let Some((pick, fields)) = bytes.split_first() else { return };
    let resource = &RESOURCES[usize::from(*pick) % RESOURCES.len()];
    let Ok(given) = serde_json::from_slice::<Given>(fields) else { return };
    let Ok(line) = resource.line(&given) else { return };
    if let Ok(request) = parse_line(line.as_bytes()) {
        let path = request.command.path();
        assert!(resource.is_for(path) || resource.is_for("TASK"), "{}: {line} is {path}", resource.path);
    }
}

fn vars() -> Vars {
    Vars::from([
        ("v".to_string(), "a b".into()),
        ("version".to_string(), "1.2.3".into()),
        ("n".to_string(), 7.into()),
    ])
}
