//! Telling people through real ways: mail over SMTP and sendmail, webhooks, commands; a daemon that is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mail_parser::MessageParser;
use rollcall::daemon::{Daemon, SystemClock};
use rollcall::domain::ask::access::{Operator, Role, authorize};
use rollcall::domain::ask::command::Command as Ask;
use rollcall::domain::base::outcome::Verdict;
use rollcall::domain::check::id::CheckId;
use rollcall::domain::notify::channel::fill;
use rollcall::domain::notify::notice::{About, Notice, NoticeContent, NoticeKind};
use rollcall::domain::watch::alert::{Alert, AlertChange};
use rollcall::domain::watch::roster::Batch;
use rollcall::port::{Clock, Watches};
use rollcall::present::notice::words;
use serde_json::Value;
use sha2::Sha256;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::support::listeners::{Listener, Mood, Taken, Wire, certificate};
use crate::support::site::Site;
use crate::support::{eventually, folder, read, write};

/// A configuration with one group and the channels of a test; no host is ever reached.
struct Post {
    dir: TempDir,
    config: PathBuf,
}

impl Post {
    fn new(channels: &str) -> Post {
        let dir = folder();
        let config = dir.path().join("config");
        let at = dir.path().display();
        let settings = format!(
            "listen = [\"127.0.0.1:0\"]\nhost_key = \"{at}/state/host_key\"\nstore = \"{at}/state/rollcall.db\"\n\
             [fleet]\nknown_hosts = \"{at}/state/known_hosts\"\n{channels}"
        );
        write(&config.join("rollcall.toml"), &settings);
        let check = |name: &str| format!("[[check]]\nname = \"{name}\"\nrun = \"true\"\n");
        write(&config.join("checks/set.toml"), &["http", "disk"].map(check).concat());
        write(
            &config.join("hosts/prod.toml"),
            "[web]\nhosts = \"web[01-20]\"\nchecks = [\"set\"]\n[db]\nhosts = \"db1\"\n",
        );
        Post { dir, config }
    }

    async fn start(&self) -> Daemon {
        Daemon::start(&self.config).await.unwrap_or_else(|why| panic!("{why}"))
    }

    /// The real binary without a daemon.
    async fn local(&self, words: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
        let output =
            command.arg("--config").arg(&self.config).arg("--local").args(words).output().await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
    }

    fn alert(&self, check: &str, host: &str, change: AlertChange) -> Alert {
        Alert {
            at: SystemClock.now(),
            since: None,
            host: host.into(),
            group: "prod.web".into(),
            check: CheckId::new("set", check).into(),
            change,
            text: "HTTP status 503, wanted 200 <&>".into(),
        }
    }

    /// In the store of a daemon that is not there.
    fn break_down(&self, check: &str, host: &str) {
        let alert = self.alert(check, host, BROKEN);
        let store = rusqlite::Connection::open(self.dir.path().join("state/rollcall.db")).unwrap();
        let body = serde_json::to_string(&alert).unwrap();
        store.execute("INSERT INTO alert (at, body) VALUES (?, ?)", [alert.at.to_string(), body]).unwrap();
    }
}

const BROKEN: AlertChange = AlertChange::Problem { verdict: Verdict::Critical };

fn watches(daemon: &Daemon) -> &dyn Watches {
    let ann = Operator::new("ann", "SHA256:ann", Role::Admin);
    let granted =
        authorize(&ann, Ask::Whoami, jiff::Timestamp::UNIX_EPOCH).expect("an admin may do everything");
    daemon.desk.watches.of(&granted)
}

/// As the monitor keeps what has changed: hosts that broke down, or that are well again.
async fn changed(daemon: &Daemon, post: &Post, check: &str, hosts: &[&str], change: AlertChange) {
    let alerts = hosts.iter().map(|host| post.alert(check, host, change.clone())).collect();
    let batch = Batch { alerts, ..Batch::default() };
    watches(daemon).keep(std::sync::Arc::new(batch)).await.unwrap();
    daemon.desk.tell.ring();
}

fn header(taken: &Taken, name: &str) -> String {
    let line = taken.head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
    });
    line.unwrap_or_else(|| panic!("{name}: {}", taken.head))
}

async fn until_taken(listener: &Listener, count: usize) -> Vec<Taken> {
    eventually("they are taken", async || listener.taken().len() >= count).await;
    listener.taken()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_has_the_headers_that_threads_need() {
    let server = Listener::mail().await;
    let post = Post::new(&format!(
        "[[notify]]\nname = \"ops\"\ngather = \"0s\"\n\
         mail = {{ from = \"rollcall <rollcall@example.com>\", to = [\"ops@example.com\", \"Ann <ann@example.com>\"], \
         smtp = \"{}\", tls = \"none\", user = \"rollcall\", password_file = \"password\" }}\n",
        server.address
    ));
    write(&post.config.join("password"), "correct horse\n");
    let daemon = post.start().await;
    changed(&daemon, &post, "http", &["web03", "web07"], BROKEN).await;
    let first = until_taken(&server, 1).await.remove(0);
    changed(&daemon, &post, "http", &["web03", "web07"], AlertChange::Recovery).await;
    let last = until_taken(&server, 2).await.pop().unwrap();
    assert!(first.head.contains("MAIL FROM:<rollcall@example.com>"), "{}", first.head);
    assert!(
        first.head.contains("RCPT TO:<ops@example.com>") && first.head.contains("RCPT TO:<ann@example.com>")
    );
    assert!(first.head.contains("AUTH PLAIN "), "{}", first.head);
    let mail = MessageParser::default().parse(first.body.as_bytes()).unwrap();
    let subject = mail.subject().unwrap();
    assert_eq!(subject, "[rollcall] CRITICAL set/http web[03,07] (2/20) prod");
    assert!(mail.date().is_some() && mail.from().is_some());
    assert_eq!(mail.to().unwrap().as_list().unwrap().len(), 2);
    assert_eq!(mail.header("Auto-Submitted").unwrap().as_text(), Some("auto-generated"));
    let text = mail.body_text(0).unwrap();
    assert!(
        text.contains("critical: HTTP status 503, wanted 200 <&>") && text.contains("ssh rollcall why web03"),
        "{text}"
    );
    let id = mail.message_id().unwrap();
    assert!(id.starts_with("rollcall.") && id.ends_with("@example.com"), "{id}");
    let over = MessageParser::default().parse(last.body.as_bytes()).unwrap();
    assert!(
        over.subject().unwrap().starts_with("[rollcall] RECOVERED set/http web["),
        "{:?}",
        over.subject()
    );
    assert_eq!(over.in_reply_to().as_text(), Some(id));
    assert_eq!(over.references().as_text(), Some(id));
    assert_ne!(over.message_id(), Some(id));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sendmail_and_commands_are_told_on_their_standard_input() {
    let dir = folder();
    let script = |name: &str, text: &str| {
        let path = dir.path().join(name);
        write(&path, text);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    let out = dir.path().display().to_string();
    let sendmail = script(
        "sendmail",
        &format!("#!/bin/sh\necho \"$@\" >{out}/args\ncat >{out}/mail.new && mv {out}/mail.new {out}/mail\n"),
    );
    let command = script(
        "page.sh",
        &format!("#!/bin/sh\n(env | grep ^ROLLCALL_; cat) >{out}/page.new && mv {out}/page.new {out}/page\n"),
    );
    let post = Post::new(&format!(
        "[[notify]]\nname = \"mail\"\ngather = \"0s\"\nmail = {{ from = \"r@example.com\", to = \"ops@example.com\", sendmail = \"{sendmail} -t -i\" }}\n\
         [[notify]]\nname = \"pager\"\ngather = \"0s\"\ncommand = \"{command}\"\n\
         [[notify]]\nname = \"broken\"\ngather = \"0s\"\ncommand = \"echo no modem >&2; exit 3\"\n"
    ));
    let daemon = post.start().await;
    changed(&daemon, &post, "http", &["web03"], BROKEN).await;
    let there = |name: &str| Path::new(&out).join(name).exists();
    eventually("both are told", async || there("mail") && there("page")).await;
    assert_eq!(read(&dir.path().join("args")), "-t -i\n");
    let text = read(&dir.path().join("mail"));
    let mail = MessageParser::default().parse(text.as_bytes()).unwrap();
    assert_eq!(mail.subject(), Some("[rollcall] CRITICAL set/http web03 (1/20) prod"));
    let page = read(&dir.path().join("page"));
    for line in [
        "ROLLCALL_KIND=opened",
        "ROLLCALL_VERDICT=critical",
        "ROLLCALL_HOSTS=web03",
        "ROLLCALL_SET=set",
        "ROLLCALL_CHECK=http",
        "[rollcall] CRITICAL set/http web03 (1/20) prod\nsince ",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    let fares = async || daemon.desk.tell.fares().await.unwrap();
    eventually("the broken one is known", async || {
        fares().await.get("broken").is_some_and(|fares| fares.trouble.is_some())
    })
    .await;
    let broken = fares().await.remove("broken").unwrap();
    assert!(broken.trouble.unwrap().ends_with("exit status: 3: no modem"));
    assert_eq!(broken.waiting, 1);
    daemon.stop().await;
    drop(daemon);
    let (status, said) = post.local(&["notify", "list"]).await;
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("pager") && said.contains("no modem"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_gets_signed_json_of_any_shape_and_can_tell_repetitions() {
    let (plain, shaped) = (Listener::hook().await, Listener::hook().await);
    let post = Post::new(&format!(
        "[[notify]]\nname = \"chat\"\ngather = \"0s\"\nwebhook = {{ url_file = \"chat.url\" }}\n\
         [[notify]]\nname = \"pager\"\ngather = \"0s\"\n[notify.webhook]\nurl = \"http://{}/v2?x=1\"\nsecret_file = \"secret\"\n\
         headers = {{ X-Team = \"ops\" }}\n[notify.webhook.body]\nsummary = \"{{{{ subject }}}}\"\nn = 3\n\
         details = [{{ said = \"{{{{ text }}}}\" }}]\n",
        shaped.address
    ));
    write(&post.config.join("chat.url"), &format!("http://{}/services/T0/KEY\n", plain.address));
    write(&post.config.join("secret"), "a secret of ours\n");
    let daemon = post.start().await;
    plain.be(Mood::CutsAfter);
    changed(&daemon, &post, "http", &["web03"], BROKEN).await;
    let told = until_taken(&shaped, 1).await.remove(0);
    assert!(told.head.starts_with("POST /v2?x=1 HTTP/1.1\r\n"), "{}", told.head);
    assert_eq!(
        (header(&told, "x-team"), header(&told, "content-type")),
        ("ops".into(), "application/json".into())
    );
    let body: Value = serde_json::from_str(&told.body).unwrap();
    assert_eq!(body["summary"], "[rollcall] CRITICAL set/http web03 (1/20) prod");
    assert_eq!(body["n"], 3);
    assert!(body["details"][0]["said"].as_str().unwrap().contains("wanted 200 <&>"));
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<Sha256>::new_from_slice(b"a secret of ours").unwrap();
    mac.update(told.body.as_bytes());
    let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(header(&told, "x-rollcall-signature"), format!("sha256={digits}"));

    // The chat has taken it and said nothing: it is told again, and can see that it is the same.
    eventually("its trouble is known", async || {
        daemon.desk.tell.fares().await.unwrap().get("chat").is_some_and(|fares| fares.trouble.is_some())
    })
    .await;
    let trouble = daemon.desk.tell.fares().await.unwrap()["chat"].trouble.clone().unwrap();
    assert!(trouble.starts_with("127.0.0.1: ") && !trouble.contains("KEY"), "{trouble}");
    plain.be(Mood::Well);
    // Something new to tell: it shows that the chat is back.
    changed(&daemon, &post, "disk", &["web03"], BROKEN).await;
    let taken = until_taken(&plain, 3).await;
    let keys: Vec<String> = taken.iter().map(|taken| header(taken, "idempotency-key")).collect();
    assert_eq!((keys.len(), keys.iter().collect::<BTreeSet<_>>().len()), (3, 2), "{keys:?}");
    assert_eq!(keys[0], keys[2]);
    let text: Value = serde_json::from_str(&taken[0].body).unwrap();
    let text = text["text"].as_str().unwrap();
    assert!(
        text.starts_with("*[rollcall] CRITICAL set/http web03 (1/20) prod*\n")
            && text.contains("&lt;&amp;&gt;"),
        "{text}"
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_where_it_is_wanted_and_nothing_else_then() {
    let certificates = folder();
    let acceptor = certificate(certificates.path());
    let ca = certificates.path().join("ca.pem").display().to_string();
    let starttls = Listener::mail_over(Wire::Starttls(acceptor.clone())).await;
    let tls = Listener::mail_over(Wire::Tls(acceptor.clone())).await;
    let hook = Listener::hook_over(Wire::Tls(acceptor)).await;
    let plain = Listener::mail().await;
    let mail = |name: &str, listener: &Listener, more: &str| {
        format!(
            "[[notify]]\nname = \"{name}\"\nmail = {{ from = \"r@example.com\", to = \"ops@example.com\", smtp = \"{}\"{more} }}\n",
            listener.address
        )
    };
    let trusted = format!(", ca = \"{ca}\"");
    let channels = [
        mail("starttls", &starttls, &trusted),
        mail("tls", &tls, &format!(", tls = \"tls\"{trusted}")),
        format!(
            "[[notify]]\nname = \"hook\"\nwebhook = {{ url = \"https://{}/\", ca = \"{ca}\" }}\n",
            hook.address
        ),
        mail("untrusted", &starttls, ""),
        mail("untrusted-tls", &tls, ", tls = \"tls\""),
        format!(
            "[[notify]]\nname = \"untrusted-hook\"\nwebhook = {{ url = \"https://{}/\" }}\n",
            hook.address
        ),
        mail("plain", &plain, &trusted),
        mail("hasty", &plain, &format!(", tls = \"tls\"{trusted}")),
    ];
    let post = Post::new(&channels.concat());
    let (status, said) = post.local(&["notify", "test"]).await;
    assert_eq!(status, 4, "{said}");
    for (line, name) in said.lines().zip(["starttls", "tls", "hook"]) {
        assert!(line.starts_with(&format!("{name}: ")) && line.ends_with(" was delivered"), "{said}");
    }
    for line in said.lines().skip(3) {
        assert!(line.contains("was not delivered"), "{said}");
    }
    let untrusted = said.lines().skip(3).take(3).filter(|line| line.contains("UnknownIssuer"));
    assert_eq!(untrusted.count(), 3, "{said}");
    for (name, hint) in [
        ("untrusted", "; try: ca = \"FILE\" with the certificate of the authority"),
        ("untrusted-tls", "; try: ca = \"FILE\" with the certificate of the authority"),
        ("plain", "; try: tls = \"tls\" with port 465, or tls = \"none\" for a server on this machine"),
        ("hasty", "; the server does not begin with TLS; try: tls = \"starttls\""),
    ] {
        let line = said.lines().find(|line| line.starts_with(&format!("{name}: "))).unwrap();
        assert!(line.contains(hint), "{line}");
    }
    assert_eq!(
        (starttls.taken().len(), tls.taken().len(), hook.taken().len(), plain.taken().len()),
        (1, 1, 1, 0)
    );
}

/// Names and texts come from hosts, and from people who write checks.
#[tokio::test(flavor = "multi_thread")]
async fn what_hosts_print_makes_no_header_and_calls_nobody() {
    let (mail, hook) = (Listener::mail().await, Listener::hook().await);
    let post = Post::new(&format!(
        "[[notify]]\nname = \"mail\"\ngather = \"0s\"\nmail = {{ from = \"r@example.com\", to = \"ops@example.com\", smtp = \"{}\", tls = \"none\" }}\n\
         [[notify]]\nname = \"hook\"\ngather = \"0s\"\n[notify.webhook]\nurl = \"http://{}/\"\nbody = {{ check = \"{{{{ check }}}}\", text = \"{{{{ text }}}}\" }}\n",
        mail.address, hook.address
    ));
    let daemon = post.start().await;
    let check = "x\r\nBcc: all@example.com\r\n\r\n{{ key }} \u{1F600} \"}<!channel>";
    let text = format!(".\r\nQUIT\r\n{}\u{0}\u{1b}[2J ünïcödé", "long ".repeat(3_000));
    let alert = Alert { text, ..post.alert(check, "web03", BROKEN) };
    let batch = Batch { alerts: vec![alert], ..Batch::default() };
    watches(&daemon).keep(std::sync::Arc::new(batch)).await.unwrap();
    daemon.desk.tell.ring();
    let told = until_taken(&mail, 1).await.remove(0);
    let parsed = MessageParser::default().parse(told.body.as_bytes()).unwrap();
    assert_eq!(parsed.bcc(), None);
    let subject = parsed.subject().unwrap();
    assert!(
        subject.starts_with("[rollcall] CRITICAL set/x Bcc: all@example.com {{ key }} \u{1F600}"),
        "{subject}"
    );
    assert!(parsed.body_text(0).unwrap().contains("QUIT\r\nlong long"), "{}", told.body);
    assert!(told.body.lines().all(|line| line.len() <= 998 && line.is_ascii()), "{}", told.body);
    assert_eq!(told.head.matches("RCPT TO").count(), 1, "{}", told.head);
    let told = until_taken(&hook, 1).await.remove(0);
    let body: Value = serde_json::from_str(&told.body).unwrap();
    assert_eq!(body["check"], check.replace('\r', ""));
    assert!(body["text"].as_str().unwrap().len() < 3_000, "bounded");
    daemon.stop().await;
}

/// Each way to fail, told by `notify test`, which tells nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_test_says_what_happened() {
    let (mail, hook) = (Listener::mail().await, Listener::hook().await);
    let post = Post::new(&format!(
        "[[notify]]\nname = \"mail\"\nmail = {{ from = \"r@example.com\", to = \"ops@example.com\", smtp = \"{}\", tls = \"none\" }}\n\
         [[notify]]\nname = \"hook\"\nwebhook = {{ url = \"http://{}/\" }}\n",
        mail.address, hook.address
    ));
    let (status, said) = post.local(&["notify", "test"]).await;
    assert_eq!(
        (status, said.as_str()),
        (0, "mail: the mail was delivered\nhook: the webhook was delivered\n")
    );
    for (mood, mail_says, hook_says) in [
        (
            Mood::Away,
            "mail: the mail was not delivered: 127.0.0.1:",
            "hook: the webhook was not delivered: 127.0.0.1: ",
        ),
        (Mood::Busy, "transient error (451): not now", "503 Service Unavailable"),
        (Mood::Refuses, "permanent error (550): never", "400 Bad Request"),
        (Mood::CutsInside, "not delivered", "not delivered"),
    ] {
        mail.be(mood);
        hook.be(mood);
        let (status, said) = post.local(&["notify", "test"]).await;
        assert_eq!(status, 4, "{mood:?}: {said}");
        let said_mail = said.lines().find(|line| line.starts_with("mail")).unwrap();
        let said_hook = said.lines().find(|line| line.starts_with("hook")).unwrap();
        assert!(
            said_mail.contains(mail_says) || mood == Mood::Busy && said_mail.contains("451"),
            "{mood:?}: {said}"
        );
        assert!(said_hook.contains(hook_says), "{mood:?}: {said}");
    }
    assert_eq!((mail.taken().len(), hook.taken().len()), (1, 1));
    let (status, said) = post.local(&["notify", "test", "hok"]).await;
    assert_eq!(
        (status, said.as_str()),
        (64, "rollcall: no channel is called `hok`; did you mean `hook`?; try: notify list\n")
    );
}

/// The daemon dies at any moment, and its listeners fail in every way; in the end everybody was told everything,
/// and what came more than once can be recognised.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_killed_again_and_again_loses_no_message() {
    let (mail, hook) = (Listener::mail().await, Listener::hook().await);
    let post = Post::new(&format!(
        "[[notify]]\nname = \"mail\"\ngather = \"0s\"\nmail = {{ from = \"r@example.com\", to = \"ops@example.com\", smtp = \"{}\", tls = \"none\" }}\n\
         [[notify]]\nname = \"hook\"\ngather = \"0s\"\nwebhook = {{ url = \"http://{}/\" }}\n",
        mail.address, hook.address
    ));
    // Makes the store.
    post.start().await.stop().await;
    let moods = [Mood::Well, Mood::Hangs, Mood::CutsInside, Mood::CutsAfter, Mood::Busy, Mood::Away];
    let checks: Vec<String> = (0..12).map(|number| format!("check{number}")).collect();
    for (number, check) in checks.iter().enumerate() {
        mail.be(moods[number % moods.len()]);
        hook.be(moods[(number + 2) % moods.len()]);
        let came = (mail.came(), hook.came());
        post.break_down(check, "web03");
        let mut daemon = spawn(&post);
        // In the middle of a delivery, whatever becomes of it.
        eventually("both are asked", async || mail.came() > came.0 && hook.came() > came.1).await;
        daemon.kill().await.unwrap();
    }
    mail.be(Mood::Well);
    hook.be(Mood::Well);
    // What was tried in vain waits for its time: a message that arrives is word that they are back.
    post.break_down("the last one", "web03");
    let mut daemon = spawn(&post);
    let mails = || ids(mail.taken().iter().map(|taken| mail_id(&taken.body)));
    let hooks = || ids(hook.taken().iter().map(|taken| header(taken, "idempotency-key")));
    eventually("everybody was told everything", async || {
        mails().len() > checks.len() && hooks().len() > checks.len()
    })
    .await;
    daemon.kill().await.unwrap();
    assert_eq!((mails().len(), hooks().len()), (checks.len() + 1, checks.len() + 1));
    for check in &checks {
        let told = |taken: &[Taken]| taken.iter().any(|taken| taken.body.contains(&format!(" set/{check} ")));
        assert!(told(&mail.taken()) && told(&hook.taken()), "{check}");
    }
    // Only those whose listener said nothing, or whose daemon died before it noted the answer, come again.
    let again = |all: BTreeMap<String, usize>| all.values().filter(|times| **times > 1).count();
    eprintln!(
        "repeated: {} of {} mails, {} of {} webhooks",
        again(mails()),
        mails().len(),
        again(hooks()),
        hooks().len()
    );
}

fn spawn(post: &Post) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    command
        .arg("--config")
        .arg(&post.config)
        .arg("serve")
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true);
    command.spawn().unwrap()
}

fn ids(all: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    all.for_each(|id| *counted.entry(id).or_insert(0) += 1);
    counted
}

fn mail_id(body: &str) -> String {
    MessageParser::default().parse(body.as_bytes()).unwrap().message_id().unwrap().to_string()
}

/// The pager's answer to each kind of message, by the template that the documentation shows.
#[test]
fn the_pager_of_the_documentation_knows_every_kind_of_message() {
    let docs = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/notifications.md"));
    let block = docs.split("```toml\n").find(|block| block.contains("event_action")).expect("the template");
    let block: toml::Value = toml::from_str(block.split("```").next().unwrap()).expect("toml");
    let body = serde_json::to_value(&block["notify"][0]["webhook"]["body"]).expect("json");
    let about = |kind| {
        NoticeContent::Incident(Box::new(About {
            kind,
            thread: "7-1800000000".into(),
            first: false,
            check: CheckId::new("http", "up").into(),
            group: "prod".into(),
            since: SystemClock.now(),
            verdict: Verdict::Critical,
            hosts: "web01".into(),
            count: 1,
            of: 2,
            example: "web01".into(),
            seen: vec![],
            not_shown: 0,
            new: String::new(),
            recovered: String::new(),
            dropped: String::new(),
            acknowledged: vec![],
            waited: None,
        }))
    };
    let rows = [
        (about(NoticeKind::Opened), "trigger"),
        (about(NoticeKind::Update), "trigger"),
        (about(NoticeKind::Reminder), "trigger"),
        (about(NoticeKind::Acknowledged), "acknowledge"),
        (about(NoticeKind::Recovered), "resolve"),
        (about(NoticeKind::Silenced), "resolve"),
        (NoticeContent::Digest { open: vec![], past: vec![], left_out: 0 }, "trigger"),
        (NoticeContent::GaveUp { channel: "chat".into(), count: 1, why: "x".into() }, "trigger"),
        (NoticeContent::WatchingFailed, "trigger"),
        (NoticeContent::Test { by: "ann".into() }, "trigger"),
    ];
    for (what, action) in rows {
        let is_incident = matches!(what, NoticeContent::Incident(_));
        let notice = Notice { key: "k".into(), at: SystemClock.now(), what };
        let sent = fill(&body, &words(&notice, "events")).expect("it is rendered");
        assert_eq!(sent["event_action"], action, "{notice:?}");
        assert_eq!(sent["dedup_key"], if is_incident { "7-1800000000" } else { "" }, "{notice:?}");
        assert!(!sent["payload"]["summary"].as_str().unwrap().is_empty());
    }
}

/// From a file on a host to a message: sshd, the schedule, the store, the channel; and back.
#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_on_hosts_is_told_once_and_so_is_its_end() {
    let hook = Listener::hook().await;
    let mut site = Site::without_daemon(3).await;
    let settings = site.config.join("rollcall.toml");
    let channel = format!(
        "[[notify]]\nname = \"ops\"\ngather = \"3s\"\nwebhook = {{ url = \"http://{}/\" }}\n",
        hook.address
    );
    write(&settings, &(read(&settings) + &channel));
    let watch =
        "every = \"1s\"\nmax_attempts = 1\n[[check]]\nname = \"flag\"\nrun = \"test ! -e {{ root }}/bad\"\n";
    write(&site.config.join("checks/http.toml"), watch);
    site.start_daemon().await;
    let stands = async |verdict: &str, count: usize| {
        eventually(&format!("{count} are {verdict}"), async || {
            let status = site.ask("status --json").await;
            let lines = status.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            lines
                .filter(|line| line["check"] == "flag" && line["verdict"] == verdict && line["hard"] == true)
                .count()
                == count
        })
        .await;
    };
    stands("ok", 3).await;
    for host in &site.hosts {
        write(&host.dir.join("bad"), "");
    }
    stands("critical", 3).await;
    let text = |taken: &Taken| {
        serde_json::from_str::<Value>(&taken.body).unwrap()["text"].as_str().unwrap().to_string()
    };
    let first = text(&until_taken(&hook, 1).await[0]);
    assert!(first.starts_with("*[rollcall] CRITICAL http/flag web[01-03] (3/3) prod*\n"), "{first}");
    site.ask("ack web01 flag because it is known").await.expect(0);
    let second = text(&until_taken(&hook, 2).await[1]);
    assert!(second.starts_with("*[rollcall] ACKNOWLEDGED http/flag web[01-03] (3/3) prod*\n"), "{second}");
    assert!(second.contains("acknowledged by ann, for web01: it is known"), "{second}");
    for host in &site.hosts {
        std::fs::remove_file(host.dir.join("bad")).unwrap();
    }
    stands("ok", 3).await;
    let last = text(&until_taken(&hook, 3).await[2]);
    assert!(last.starts_with("*[rollcall] RECOVERED http/flag web[01-03] (3/3) prod*\n"), "{last}");
    let metrics = site.ask_as("vic", "metrics").await.expect(0).out;
    assert!(
        metrics.contains(
            "rollcall_check_status{host=\"web02\",group=\"prod.web\",set=\"http\",check=\"flag\"} 0\n"
        ),
        "{metrics}"
    );
    assert!(metrics.contains("rollcall_notices_delivered_total{channel=\"ops\"} 3\n"), "{metrics}");
    let list = site.ask("notify list").await.expect(0);
    assert!(list.out.contains("ops      webhook  3"), "{}", list.out);
    site.ask_as("bob", "notify test").await.expect(77);
    assert_eq!(hook.taken().len(), 3);
}

/// `notify list` says how a channel waits, and what it holds back.
#[tokio::test(flavor = "multi_thread")]
async fn notify_list_shows_how_a_channel_waits_and_what_it_holds_back() {
    let post = Post::new(
        "[[notify]]\nname = \"plain\"\ngather = \"0s\"\ncommand = \"true\"\n\
         [[notify]]\nname = \"boss\"\ncommand = \"true\"\nafter = \"15m\"\n\
         [[notify]]\nname = \"office\"\ncommand = \"true\"\nafter = \"24h\"\n\
         hours = [\"Mon-Fri 08:00-18:00\"]\ntime_zone = \"Europe/Berlin\"\n",
    );
    let daemon = post.start().await;
    changed(&daemon, &post, "http", &["web03"], BROKEN).await;
    let channels = daemon.desk.tell.channels();
    eventually("both hold it back", async || {
        let mut held = Vec::new();
        for channel in &channels.list {
            held.push(daemon.desk.tell.pending(channel).await.unwrap().incidents);
        }
        held == [0, 1, 1] && daemon.desk.tell.fares().await.unwrap().contains_key("plain")
    })
    .await;
    daemon.stop().await;
    drop(daemon);
    let (status, said) = post.local(&["notify", "list"]).await;
    assert_eq!(status, 0, "{said}");
    assert!(!said.contains("\nplain:"), "{said}");
    assert!(said.contains("\nboss: after 15m; held back: 1 incident, the first until 20"), "{said}");
    assert!(said.contains("\noffice: after 1d; hours Mon-Fri 08:00-18:00 (Europe/Berlin); "), "{said}");
    assert_eq!(said.matches("held back: 1 incident, ").count(), 2, "{said}");
    let (_, said) = post.local(&["--json", "notify", "list"]).await;
    let boss: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let boss = boss.iter().find(|line| line["channel"] == "boss").unwrap();
    assert_eq!((&boss["held"]["after_s"], &boss["held"]["incidents"]), (&900.into(), &1.into()), "{boss}");
}
