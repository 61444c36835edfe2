//! What somebody inside may try: lines, parameters and files that are meant to bring the daemon down, to take its memory,
//! to freeze it for others, or to run a command on a host. All of it by plain `ssh`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rollcall::config::from_texts;
use tokio_util::sync::CancellationToken;

use crate::support::site::Site;
use crate::support::write;

/// The longest argument that `ssh` and the door take, in bytes, with some room.
const LINE_BYTES: usize = 60_000;

/// Lines of a viewer, the exit status of each, and what the answer says.
fn attacks() -> Vec<(String, i32, &'static str)> {
    let many = |text: &str| text.repeat(LINE_BYTES / text.len());
    vec![
        (format!("hosts x{}", "[1]".repeat(4_000)), 64, "has more than 16 brackets"),
        (format!("hosts {}", "a,".repeat(8_000)), 64, "a selector has at most 256 terms"),
        (format!("hosts {}", "!~a,".repeat(4_000)), 64, "a selector has at most 256 terms"),
        (format!("hosts '{}'", "we*,".repeat(100)), 64, "a selector has at most 16 patterns"),
        ("hosts '~x{999}{999}'".into(), 64, "takes too much memory"),
        (format!("hosts '~{}'", "(".repeat(10_000)), 64, "a pattern has at most 1024 bytes"),
        (format!("hosts '~{}'", "(".repeat(1_000)), 64, "is no pattern"),
        (format!("hosts {}", many("x")), 64, "no group or host is called `xxx"),
        (format!("hosts w[{}1-9]", "0".repeat(10_000)), 64, "bad range"),
        (format!("run web {}", many("' -- '")), 64, "unexpected argument"),
        (many("' -- '"), 64, ""),
        (many("a "), 64, "a command has at most 1000 words"),
        (many("'a' \"b\" "), 64, "a command has at most 1000 words"),
        (
            format!("plan deploy prod version=1.0.0 hook={}", "b".repeat(50_000)),
            64,
            "`hook` has more than 4096 bytes",
        ),
        (format!("check prod {}", many("a=b ")), 64, "a command has at most 1000 words"),
        (
            format!("check prod {}", (0..100).map(|n| format!("p{n}=1 ")).collect::<String>()),
            64,
            "at most 64 parameters",
        ),
        (format!("history web01 {}", "x".repeat(50_000)), 64, ""),
        (format!("help {}", "x".repeat(50_000)), 64, "no task or command is called"),
        (
            format!("downtime {} for 2h because x", many("w").get(..9_000).unwrap_or_default()),
            77,
            "needs the role operator",
        ),
        (format!("{}whoami", "\u{202e}".repeat(1_000)), 64, ""),
        (format!("hosts '{}'", "\u{1b}[2J\u{7}".repeat(500)), 64, ""),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_of_a_viewer_brings_anything_down() {
    let site = Site::start(1).await;
    for (line, status, text) in attacks() {
        let answer = site.ask_as("vic", &line).await;
        assert_eq!(answer.status, status, "{line:.80}: {:.300}", answer.err);
        assert!(answer.err.contains(text), "{line:.80}: {:.300}", answer.err);
        assert!(
            answer.err.len() < 10_000 && !answer.err.contains('\u{1b}'),
            "{line:.80}: {:.300}",
            answer.err
        );
    }
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..40 {
        let line = random_line(&mut random);
        let answer = site.ask_as("vic", &line).await;
        assert!([0, 1, 2, 3, 4, 64, 77].contains(&answer.status), "{line:?}: {answer:#?}");
        assert!(!answer.err.contains("internal error"), "{line:?}: {answer:#?}");
    }
    site.ask_as("vic", "whoami").await.expect(0);
}

/// Words of the grammar, and what parsers find hard.
fn random_line(random: &mut StdRng) -> String {
    const WORDS: [&str; 38] = [
        "hosts",
        "plan",
        "deploy",
        "check",
        "status",
        "history",
        "why",
        "runs",
        "show",
        "watch",
        "releases",
        "facts",
        "help",
        "prod",
        "web01",
        "web[1-",
        "[",
        "]",
        "x[1-9]",
        "~(",
        "~.*",
        "@",
        "!",
        "&",
        ":",
        ",",
        "version=1.0.0",
        "--json",
        "--format",
        "junit",
        "--",
        "'",
        "\"",
        "\\",
        "because",
        "9999999999999999999999",
        "é\u{202e}",
        "{{ 1 }}",
    ];
    let count = random.random_range(1..30);
    let words: Vec<&str> = (0..count).map(|_| *WORDS.choose(random).unwrap()).collect();
    // A blank before it: `ssh` would take a word that begins with `-` for an option of its own.
    format!(" {}", words.join(random_separator(random)))
}

fn random_separator(random: &mut StdRng) -> &'static str {
    [" ", "", ","].choose(random).unwrap()
}

/// Checks whose commands hold a value, in all places that were once quoted wrongly.
const PLACES: [&str; 9] = [
    "echo \"costs ${{ price }} a year\"",
    "echo \"$$({{ price }})\"",
    "echo ${{ price }}",
    "echo $'{{ price }}'",
    "echo $(( {{ price }} ))",
    "echo \"C:\\{{ price }}\"",
    "sh -c \"echo {{ price }}\"",
    "echo `echo {{ price }}`",
    "python3 <<E\n{{ price }}\nE",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_value_of_a_viewer_runs_as_a_command() {
    let site = Site::start(1).await;
    let dir = site.hosts[0].dir.clone();
    let check = |run: &str| format!("[[check]]\nname = \"price\"\nrun = '''{run}'''\n");
    // A parameter of a task, which checks may be given.
    let task = "params.price = {}\nparams.hook = { default = \"true\" }\n[[steps]]\nname = \"x\"\nrun = \"echo {{ price }}\"\n";
    write(&site.config.join("tasks/price.toml"), task);
    let mut loaded = Vec::new();
    for run in PLACES {
        write(&site.config.join("checks/price.toml"), &check(run));
        let answer = site.ask("reload").await;
        match answer.status {
            0 => loaded.push(run),
            _ => assert!(answer.err.contains("`run`: a value cannot be "), "{run}: {answer:#?}"),
        }
    }
    assert_eq!(loaded, ["echo \"$$({{ price }})\""], "it is a dollar sign, and then a value");
    let run = "echo {{ price }} \"{{ price }}\" '{{ price }}' \"$$({{ price }})\" $(echo {{ price }}); cat <<E\n{{ price }}\nE";
    write(&site.config.join("checks/price.toml"), &check(run));
    let hosts = site.config.join("hosts/prod.toml");
    let text =
        std::fs::read_to_string(&hosts).unwrap().replace("checks = [\"http\"]", "checks = [\"price\"]");
    write(&hosts, &text);
    site.ask("reload").await.expect(0);
    let mark = dir.join("INJECTED");
    let touch = format!("touch {}", mark.display());
    for value in [
        format!("({touch};id -un)"),
        format!("\\';{touch};#"),
        format!("$({touch})"),
        format!("`{touch}`"),
        format!("\n{touch}\n"),
        format!("\nE\n{touch}\n"),
        format!("a[$({touch})]"),
        format!("x;{touch}"),
        format!("'; {touch}; '"),
        format!("\"; {touch}; \""),
    ] {
        let line = format!("check web01 {}", shell_words::quote(&format!("price={value}")));
        site.ask_as("vic", &line).await.expect(0);
        assert!(!mark.exists(), "{value:?} was run");
    }
    let option = site.ask_as("vic", "check web01 price=-n").await.expect(64);
    assert!(option.err.contains("echo would read it as an option; try: `--` before it"), "{}", option.err);

    write(&site.config.join("checks/price.toml"), &check("{{ hook | script }}"));
    site.ask("reload").await.expect(0);
    let script = site.ask_as("vic", &format!("check web01 'hook={touch}'")).await.expect(64);
    assert!(
        script.err.contains(
            "check `price/price` takes `hook` as a command (`| script`), and a check is given no commands"
        ),
        "{}",
        script.err
    );
    assert!(!mark.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_of_the_configuration_takes_the_stack_or_the_memory() {
    let load = |file: &str, text: String| {
        let texts: BTreeMap<String, Arc<str>> = [
            ("hosts/prod.toml".to_string(), Arc::from("[web]\nhosts = \"web1\"\n")),
            (file.to_string(), Arc::from(text)),
        ]
        .into();
        from_texts(Path::new("/nowhere"), &texts).map(drop).map_err(|wrong| wrong.to_string())
    };
    let task = |run: &str| format!("[[steps]]\nname = \"x\"\nrun = '''{run}'''\n");
    let when = |when: &str| format!("[[steps]]\nname = \"x\"\nrun = \"true\"\nwhen = '''{when}'''\n");
    let groups: String = (0..60).map(|n| format!("[g{n}]\nhosts = \"h{n}-[00001-99999]\"\n")).collect();
    let table = [
        (
            "hosts/x.toml",
            format!("[web]\nhosts = \"x{}\"\n", "[1]".repeat(4_000)),
            "has more than 16 brackets",
        ),
        ("hosts/x.toml", groups, "a configuration has at most 100000 hosts"),
        (
            "tasks/x.toml",
            when(&format!("1{}", " + 1".repeat(15_000))),
            "an expression has at most 200 operators",
        ),
        (
            "tasks/x.toml",
            when(&format!("{}true", "not ".repeat(15_000))),
            "an expression has at most 200 operators",
        ),
        (
            "tasks/x.toml",
            task(&format!("{{{{ host{} }}}}", " | upper".repeat(5_000))),
            "an expression has at most 200 operators",
        ),
        ("tasks/x.toml", task(&"{% if host %}".repeat(5_000)), "a template has at most 50 blocks"),
        ("tasks/x.toml", task(&"(".repeat(100_000)), ""),
        (
            "tasks/x.toml",
            task(&format!("echo {} {{{{ host.name }}}}", "\"$(".repeat(20_000))),
            "deeply nested quotes",
        ),
        ("tasks/x.toml", format!("{} = 1\n", vec!["a"; 50_000].join(".")), ""),
        ("tasks/x.toml", format!("[{}]\n", vec!["a"; 50_000].join(".")), ""),
        ("tasks/x.toml", format!("x = {}1{}\n", "[".repeat(50_000), "]".repeat(50_000)), ""),
        ("operators", "a".repeat(1_000_000), ""),
    ];
    for (file, text, wanted) in table {
        let start = text.get(..80).unwrap_or(&text).to_string();
        match load(file, text) {
            Ok(()) => assert_eq!(wanted, "", "{start}"),
            Err(wrong) => assert!(wrong.contains(wanted), "{start}: {wrong:.500}"),
        }
    }
}

/// Ten viewers attack while a release is under way: it ends as without them.
#[tokio::test(flavor = "multi_thread")]
async fn a_release_among_hostile_viewers_ends_as_without_them() {
    let site = Arc::new(Site::start(5).await);
    let over = CancellationToken::new();
    let mut viewers = tokio::task::JoinSet::new();
    for seed in 0..10 {
        let (site, over) = (site.clone(), over.clone());
        viewers.spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            let attacks = attacks();
            let mut asked = 0;
            while !over.is_cancelled() {
                let (line, status, _) = attacks.choose(&mut random).unwrap();
                let answer = site.ask_as("vic", line).await;
                assert_eq!(answer.status, *status, "{line:.80}: {:.300}", answer.err);
                site.ask_as("vic", "check prod version=1.0.0").await;
                asked += 1;
            }
            asked
        });
    }
    let answer = site.ask("deploy prod version=1.2.3").await.expect(0);
    over.cancel();
    assert!(answer.out.contains(": done\n  released  5  web[01-05]\n"), "{}", answer.out);
    assert_eq!(site.releases(), vec!["1.2.3"; 5]);
    assert_eq!(site.nginx.out_of_rotation(), Vec::<String>::new());
    for asked in viewers.join_all().await {
        assert!(asked > 0, "each viewer was answered during the release");
    }
}
