//! The promise about secrets, on a real sshd and with the real binary: wherever they come from and however a
//! host prints them, they are in nothing that is shown, stored or logged; and the host gets the right ones.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use age::secrecy::ExposeSecret;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use rollcall::domain::base::digest::sha256_hex;
use tokio::process::{Child, Command};

use crate::support::site::{Site, answer_of};
use crate::support::{eventually, read, write};

/// By the name of the var that each of them is.
const SECRETS: [(&str, &str); 7] = [
    ("of_file", "file-s3cret/it's \"quoted\" & wörd"),
    ("of_env", "env-s3cret-0123456789"),
    ("of_command", "command-s3cret+abc/xyz=="),
    ("of_credential", "credential-s3cret-value"),
    ("of_age", "age-s3cret, line one\nage-s3cret, line two"),
    ("of_task", "task-s3cret?x=1&y=2"),
    ("token", "param-s3cret%$x"),
];

const VARS: &str = r#"
[web.vars]
of_file = { from_file = "secrets/db", secret = true }
of_env = { from_env = "ROLLCALL_TEST_SECRET", secret = true }
of_command = { from_command = "cat secrets/command", secret = true }
of_credential = { from_credential = "session" }
of_age = { from_age = "secrets/token.age" }
"#;

const TELL: &str = r#"
[params]
token = { secret = true, description = "as it was mailed" }
count = { type = "number", default = 2 }
[vars]
of_task = { value = "task-s3cret?x=1&y=2", secret = true }
[[steps]]
name = "sums"
run = "for s in ALL; do printf %s \"$s\" | sha256sum | cut -c1-64; done >sums"
in = "{{ root }}"
[[steps]]
name = "plain"
run = "for s in ALL; do echo \"plain: $s;\"; echo \"error: $s\" >&2; done; echo {{ count + 1 }} done"
[[steps]]
name = "base64"
run = '''
for s in ALL; do
  for before in "" a ab abc; do printf %s "$before$s" | base64; printf %s "$before$s and more" | base64 -w0; echo; done
done
'''
[[steps]]
name = "url"
run = '''for s in ALL; do printf %s "$s" | perl -0pe 's/([^A-Za-z0-9_.~-])/sprintf("%%%02X", ord($1))/ge'; echo; done'''
[[steps]]
name = "environment"
run = 'env | grep KEY; printf "{\"key\": \"%s\"}\n" "$KEY"'
env = { KEY = "{{ of_env }}" }
[[steps]]
name = "upload"
upload = { from = "secret.conf", to = "{{ root }}/secret.conf", template = true, mode = "0644" }
[[steps]]
name = "halves"
run = '''printf %s {{ of_file }} | { head -c 7; touch half; until [ -e go ]; do sleep 0.05; done; cat; }'''
in = "{{ root }}"
[[steps]]
name = "fails"
run = "echo it was {{ of_command }} and {{ token }} >&2; exit 3"
"#;

const LEAK: &str = "[[check]]\nname = \"shows it\"\nrun = \"cat {{ root }}/secret.conf\"\n\
                    [[check]]\nname = \"says it\"\nrun = \"cat {{ root }}/secret.conf >&2; exit 1\"\n";

fn write_secrets(site: &Site) {
    let [file, _, command, credential, age, ..] = SECRETS.map(|(_, secret)| secret);
    let at = |path: &str| site.config.join(path);
    write(&at("secrets/db"), &format!("{file}\n"));
    write(&at("secrets/command"), command);
    write(&at("credentials/session"), credential);
    let identity = age::x25519::Identity::generate();
    write(&at("age.key"), identity.to_string().expose_secret());
    let encrypted = age::encrypt_and_armor(&identity.to_public(), age.as_bytes()).unwrap();
    write(&at("secrets/token.age"), &encrypted);
    let settings = read(&at("rollcall.toml"));
    write(&at("rollcall.toml"), &format!("allow_local = true\nage_identity = \"age.key\"\n{settings}"));
    let hosts =
        read(&at("hosts/prod.toml")).replacen("checks = [\"http\"]", "checks = [\"http\", \"leak\"]", 1);
    write(&at("hosts/prod.toml"), &(hosts + VARS));
    write(&at("checks/leak.toml"), LEAK);
    let all = SECRETS.map(|(name, _)| format!("{{{{ {name} }}}}")).join(" ");
    write(&at("tasks/tell.toml"), &TELL.replace("ALL", &all));
    write(&at("files/secret.conf"), "password {{ of_file }}\ntoken={{ token }};\n");
}

/// The real binary, which writes its log to a file, and the port where it listens.
async fn serve(site: &Site, log: &Path) -> (Child, u16) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    command.arg("--config").arg(&site.config).arg("serve").kill_on_drop(true);
    command.env("RUST_LOG", "trace,russh=warn").env("ROLLCALL_TEST_SECRET", SECRETS[1].1);
    command.env("CREDENTIALS_DIRECTORY", site.config.join("credentials"));
    command.stderr(Stdio::from(std::fs::File::create(log).unwrap()));
    let daemon = command.spawn().expect("the binary is there");
    let port = || {
        let text = read(log);
        let line = text.lines().find(|line| line.contains("addresses=["))?;
        line.split_once("127.0.0.1:")?.1.split(']').next()?.parse().ok()
    };
    eventually("the daemon listens", async || port().is_some()).await;
    (daemon, port().expect("a port"))
}

/// What each secret may look like; made in another way than the redactor does it.
fn forms() -> Vec<(String, String)> {
    let mut forms = Vec::new();
    for (name, secret) in SECRETS {
        for text in secret.lines().chain([secret]) {
            forms.push((format!("{name}, plain"), text.to_string()));
            forms.push((
                format!("{name}, json"),
                serde_json::to_string(text).unwrap().trim_matches('"').to_string(),
            ));
            forms.push((format!("{name}, base64"), STANDARD.encode(text)));
            for before in 0..3 {
                let shifted = ["x".repeat(before), text.to_string()].concat();
                for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                    let encoded = engine.encode(&shifted);
                    let inner = &encoded[(before * 8).div_ceil(6)..shifted.len() * 8 / 6];
                    forms.push((format!("{name}, base64 behind {before} bytes"), inner.to_string()));
                }
            }
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
            let encoded =
                |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
            forms.push((format!("{name}, url"), text.bytes().map(encoded).collect()));
        }
    }
    forms
}

/// Every form of every secret that stands in a text.
fn found_in(what: &str, text: &[u8]) -> Vec<String> {
    let stands = |form: &str| text.windows(form.len()).any(|window| window == form.as_bytes());
    let forms = forms().into_iter().filter(|(_, form)| stands(form));
    forms.map(|(name, form)| format!("{what}: {name}: {form}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_shown_or_kept_anywhere() {
    let site = Site::without_daemon(1).await;
    write_secrets(&site);
    let log = site.dir.path().join("log");
    let (mut daemon, port) = serve(&site, &log).await;
    let host = &site.hosts[0].dir;
    let tell = format!("tell prod.web 'token={}'", SECRETS[6].1);

    let mut shown = vec![site.ask_at(port, &format!("plan {tell}")).await.expect(0)];
    shown.push(site.ask_at(port, &format!("plan {tell} --json")).await.expect(0));
    let running = site.ssh_to(port, "ann", &tell).spawn().unwrap();
    eventually("the half of a secret is printed", async || host.join("half").exists()).await;
    let watching = site.ssh_to(port, "vic", "watch 1").spawn().unwrap();
    write(&host.join("go"), "");
    for child in [running, watching] {
        let output = child.wait_with_output().await.unwrap();
        shown.push(crate::support::site::Answer {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }

    // The host was told the right ones.
    let wanted: String = SECRETS.iter().map(|(_, secret)| sha256_hex(secret.as_bytes()) + "\n").collect();
    assert_eq!(read(&host.join("sums")), wanted, "{shown:#?}");
    let conf = format!("password {}\ntoken={};\n", SECRETS[0].1, SECRETS[6].1);
    assert_eq!(read(&host.join("secret.conf")), conf);

    for line in [
        "show 1",
        "show 1 --json",
        "show 1 --host web01",
        "check prod.web leak",
        "check prod.web leak --json",
        &format!("run prod.web -- cat {}/secret.conf", host.display()),
        "hosts --json",
        "runs",
        "runs --json",
        "releases",
        "retry 1",
        "reload",
        &format!("tell prod.web 'tokne={}'", SECRETS[6].1),
        &format!("mark bad tell 'token={}' because it leaks", SECRETS[6].1),
    ] {
        shown.push(site.ask_at(port, line).await);
    }
    // What is not understood is no better known to the log.
    site.ask_at(port, &format!("tell prod.web token='{}", SECRETS[6].1)).await;
    let [.., story, checked, _, printed, _, _, _, _, retried, _, _, _] = &shown[..] else {
        panic!("{shown:#?}")
    };
    assert!(story.out.contains("plain: ***;") && story.out.contains("3 done"), "{story:#?}");
    assert!(story.out.contains("exit status 3: it was *** and ***"), "{story:#?}");
    assert!(checked.out.contains("***"), "{checked:#?}");
    assert!(printed.out.contains("token=***;"), "{printed:#?}");
    assert!(
        retried.err.contains("run 1 was given the secret parameter `token`, and its value was not kept; try: tell web01 ... token=VALUE"),
        "{retried:#?}"
    );

    daemon.kill().await.unwrap();
    let mut leaks: Vec<String> = shown
        .iter()
        .enumerate()
        .flat_map(|(at, answer)| {
            found_in(&format!("answer {at}"), format!("{answer:?}{}{}", answer.out, answer.err).as_bytes())
        })
        .collect();
    for file in ["log", "state/rollcall.db", "state/rollcall.db-wal"] {
        let path = site.dir.path().join(file);
        leaks.extend(std::fs::read(&path).map(|bytes| found_in(file, &bytes)).unwrap_or_default());
    }
    assert!(std::fs::metadata(site.dir.path().join("state/rollcall.db")).unwrap().len() > 0);
    assert!(read(&log).contains("asked"), "the log says what was asked");
    assert!(!found_in("what the host has", conf.as_bytes()).is_empty(), "the search finds nothing at all");
    assert_eq!(leaks, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_changed_is_hidden_before_and_after() {
    let mut site = Site::without_daemon(1).await;
    let at = |path: &str| site.config.join(path);
    let hosts = read(&at("hosts/prod.toml"));
    write(
        &at("hosts/prod.toml"),
        &format!("{hosts}[web.vars]\nkey = {{ from_file = \"key\", secret = true }}\n"),
    );
    write(&at("key"), "the-first-one\n");
    write(
        &at("tasks/tell.toml"),
        "[[steps]]\nname = \"tell\"\nrun = \"echo the-first-one the-second-one {{ key }}\"\n",
    );
    site.start_daemon().await;
    let first = site.ask("tell prod.web").await.expect(0);
    assert!(first.out.contains("*** the-second-one ***"), "{}", first.out);
    write(&site.config.join("key"), "the-second-one\n");
    site.ask("reload").await.expect(0);
    let second = site.ask("tell prod.web").await.expect(0);
    assert!(second.out.contains("*** *** ***"), "{}", second.out);
    // A file that went away: the reload is refused, and the old value stays in force.
    std::fs::remove_file(site.config.join("key")).unwrap();
    let refused = site.ask("reload").await.expect(64);
    assert!(refused.err.contains("var `key`: key: no such file or directory"), "{}", refused.err);
    let third = answer_of(site.ssh("ann", "tell prod.web")).await.expect(0);
    assert!(third.out.contains("*** *** ***"), "{}", third.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_was_given_for_a_run_ends_with_its_daemon() {
    let site = Site::without_daemon(1).await;
    let hold = "echo {{ token }} $PWD; touch half; until [ -e go ]; do sleep 0.05; done; echo {{ token }}";
    let task = format!(
        "params.token = {{ secret = true }}\n[[steps]]\nname = \"hold\"\nrun = '{hold}'\nin = \"{{{{ root }}}}\"\n"
    );
    write(&site.config.join("tasks/keep.toml"), &task);
    let log = site.dir.path().join("log");
    let (mut daemon, port) = serve(&site, &log).await;
    let mut asking = site.ssh_to(port, "ann", "keep prod.web token=param-s3cret").spawn().unwrap();
    let host = &site.hosts[0].dir;
    eventually("the step runs", async || host.join("half").exists()).await;
    daemon.kill().await.unwrap();
    asking.wait().await.unwrap();
    write(&host.join("go"), "");
    let (mut daemon, port) = serve(&site, &log).await;
    let watched = site.ask_at(port, "watch 1").await;
    assert!(watched.out.contains("the secret parameter `token` was kept in memory alone"), "{watched:#?}");
    assert!(watched.out.contains("what it did is not known"), "{watched:#?}");
    let shown = site.ask_at(port, "show 1 --host web01").await.expect(0);
    daemon.kill().await.unwrap();
    for text in [
        watched.out,
        shown.out,
        String::from_utf8_lossy(&std::fs::read(site.dir.path().join("state/rollcall.db")).unwrap())
            .into_owned(),
    ] {
        assert!(!text.contains("param-s3cret"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_parameter_may_look_like_a_hidden_one() {
    let site = Site::start(1).await;
    let task = "params.token = { secret = true }\nparams.note = { default = \"none\" }\n\
                [[steps]]\nname = \"say\"\nrun = \"echo {{ note }} {{ token }}\"\n";
    write(&site.config.join("tasks/say.toml"), task);
    site.ask("reload").await.expect(0);
    let said = site.ask("say web01 note='***' token=a-long-s3cret").await;
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.out.contains("web01 |   *** ***\n"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_secret_was_not_kept_is_not_repeated_with_the_word_for_it() {
    let site = Site::start(1).await;
    let task = |param: &str| {
        format!(
            "params.token = {param}\n[[steps]]\nname = \"say\"\n\
             run = \"echo {{{{ token }}}} >>heard; test -e well\"\nin = \"{{{{ root }}}}\"\n"
        )
    };
    let path = site.config.join("tasks/say.toml");
    write(&path, &task("{ secret = true }"));
    site.ask("reload").await.expect(0);
    let failed = site.ask("say web01 token=a-long-s3cret").await;
    assert_ne!(failed.status, 0, "{failed:?}");
    // The parameter is not secret any more: `***` would be as good a value as any other.
    write(&path, &task("{}"));
    site.ask("reload").await.expect(0);
    let heard = site.hosts[0].dir.join("heard");
    assert_eq!(read(&heard), "a-long-s3cret\n");
    let retried = site.ask("retry 1").await;
    assert_ne!(retried.status, 0, "{retried:?}");
    let wanted = "run 1 was given the secret parameter `token`, and its value was not kept; \
                  try: say web01 ... token=VALUE";
    assert!(retried.err.contains(wanted), "{retried:?}");
    assert_eq!(read(&heard), "a-long-s3cret\n");
}

/// Runs `rollcall support` with a journal of systemd that prints every secret of the configuration.
async fn support(site: &Site, to: &Path, with_secrets: bool) -> std::process::Output {
    let bin = site.dir.path().join("bin");
    let printed: String = SECRETS[..6].iter().map(|(name, secret)| format!("{name} {secret}\n")).collect();
    write(&bin.join("printed"), &format!("the service has started\n{printed}"));
    write(&bin.join("journalctl"), &format!("#!/bin/sh\nexec cat {}/printed\n", bin.display()));
    std::fs::set_permissions(bin.join("journalctl"), PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    command.arg("--config").arg(&site.config).arg("support").arg("--to").arg(to).env("PATH", path);
    if with_secrets {
        command.env("ROLLCALL_TEST_SECRET", SECRETS[1].1);
        command.env("CREDENTIALS_DIRECTORY", site.config.join("credentials"));
    }
    command.output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_for_a_bug_report_holds_no_secret() {
    let site = Site::without_daemon(1).await;
    write_secrets(&site);
    let settings = site.config.join("rollcall.toml");
    let hook = "[[notify]]\nname = \"duty\"\ncommand = \"curl -u me:channel-s3cret https://example.com\"\n";
    write(&settings, &(read(&settings) + hook));
    let step = "[[steps]]\nname = \"as root\"\nrun = \"PASS=inline-s3cret true\"\nenv = { KEY = \"env-table-s3cret\" }\n\
                timeout = \"90s\"\n";
    write(&site.config.join("tasks/inline.toml"), step);
    let (mut daemon, port) = serve(&site, &site.dir.path().join("log")).await;
    site.ask_at(port, "run prod.web -- true").await.expect(0);
    daemon.kill().await.unwrap();

    let to = site.dir.path().join("report.txt");
    let done = support(&site, &to, true).await;
    assert!(done.status.success(), "{done:?}");
    let said = format!("{}: read it before you attach it\n", to.display());
    assert_eq!(String::from_utf8_lossy(&done.stdout), said);
    assert_eq!(std::fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    let report = read(&to);
    for part in [
        &format!("rollcall {}\n", env!("CARGO_PKG_VERSION")),
        "-- hosts/prod.toml\n",
        "driver = \"nginx\"\n",
        "on = \"***\"\n",
        "app_port = ",
        "timeout = \"90s\"\n",
        "1 with viewer\n",
        "yes: 2 hosts, ",
        "events: ",
        "debts, open: 0\n",
        "runs, \"done\": 1\n",
        "the service has started\n",
        "of_file ***\n",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }
    let planted = ["channel-s3cret", "inline-s3cret", "env-table-s3cret", "ssh-ed25519"];
    assert_eq!(planted.iter().find(|secret| report.contains(**secret)), None, "{report}");
    assert_eq!(found_in("report", report.as_bytes()), Vec::<String>::new());

    let again = support(&site, &to, true).await;
    let why = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && why.contains("with a name that is not in use"), "{again:?}");

    // A file that is wrong is not quoted, and a log that cannot be masked is left out.
    write(&site.config.join("tasks/inline.toml"), "[[steps]]\nname = broken-s3cret\n");
    let blind = site.dir.path().join("blind.txt");
    let done = support(&site, &blind, false).await;
    assert!(done.status.success(), "{done:?}");
    let report = read(&blind);
    assert!(report.contains("-- tasks/inline.toml\n2 lines, no TOML at line 2\n"), "{report}");
    assert!(report.contains("left out: the configuration could not be loaded"), "{report}");
    assert!(!report.contains("broken-s3cret"), "{report}");
    assert_eq!(found_in("report", report.as_bytes()), Vec::<String>::new());
}
