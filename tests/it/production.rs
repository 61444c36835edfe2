//! Production checks on real parts: the founding examples, plugins, and every kind of look.

use std::path::Path;
use std::process::Command;

use crate::support::mariadb::MariaDb;
use crate::support::nginx::Nginx;
use crate::support::site::{Answer, Site};
use crate::support::{account, eventually, open_to_all, read, write};

/// A site without a release in it, whose web hosts have the sets of checks `sets`, and vars of their own.
async fn site_with(count: usize, sets: &[(&str, &str)], vars: &[Vec<(&str, String)>]) -> Site {
    let mut site = Site::without_daemon(count).await;
    let names: Vec<String> = sets.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let path = site.config.join("hosts/prod.toml");
    let mut text =
        read(&path).replacen("checks = [\"http\"]", &format!("checks = [{}]", names.join(", ")), 1);
    for (number, vars) in vars.iter().enumerate() {
        let more: String = vars.iter().map(|(name, value)| format!(", {name} = \"{value}\"")).collect();
        let begin = format!("web{:02} = {{ address = \"127.0.0.1\"", number + 1);
        assert!(text.contains(&begin), "{text}");
        text = text.replacen(&begin, &format!("{begin}{more}"), 1);
    }
    write(&path, &text);
    for (name, checks) in sets {
        write(&site.config.join(format!("checks/{name}.toml")), checks);
    }
    site.start_daemon().await;
    site
}

fn has(answer: &Answer, line: &str) {
    assert!(
        answer.out.lines().any(|own| own.split_whitespace().eq(line.split_whitespace())),
        "{line}\n{}",
        answer.out
    );
}

/// The founding examples 1 and 2: the same data in every database, and replicas that follow.
#[tokio::test(flavor = "multi_thread")]
async fn databases_hold_the_same_and_replicas_follow() {
    let folder = crate::support::folder();
    let at = ["one", "two", "three"].map(|name| folder.path().join(name));
    let (primary, replica, stray) =
        tokio::join!(MariaDb::start(&at[0], 1), MariaDb::start(&at[1], 2), MariaDb::start(&at[2], 3));
    replica.follow(&primary);
    stray.follow(&primary);
    primary.ask("CREATE DATABASE shop; CREATE TABLE shop.prices (id INT PRIMARY KEY, price INT); INSERT INTO shop.prices VALUES (1, 10), (2, 20)");
    for follower in [&replica, &stray] {
        eventually("the rows arrive", async || {
            follower.ask("SHOW DATABASES").contains("shop")
                && follower.ask("SELECT COUNT(*) FROM shop.prices") == "2"
        })
        .await;
    }
    let shipped = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("checks/mysql.toml"));
    let of = |database: &MariaDb, role: &str| {
        let client = format!("mariadb --no-defaults -uroot -S {}", database.socket.display());
        vec![
            ("mysql", client),
            ("role", role.to_string()),
            ("primary", "web01".to_string()),
            ("table", "shop.prices".to_string()),
        ]
    };
    let vars = [of(&primary, "primary"), of(&replica, "replica"), of(&stray, "replica")];
    let site = site_with(3, &[("mysql", &shipped)], &vars).await;
    let fine = site.ask("check prod.web").await.expect(0);
    has(&fine, "ok web[01-03] mysql/the same rows everywhere: the same on all 3 hosts");
    // Somebody writes into a replica, and stops another one.
    stray.ask("SET sql_log_bin=0; INSERT INTO shop.prices VALUES (3, 30)");
    let apart = site.ask("check prod.web").await.expect(2);
    assert!(apart.out.contains("web03") && apart.out.contains("not what web[01-02] say"), "{}", apart.out);
    has(&apart, "ok web[01-02] mysql/the same rows everywhere: the same on web[01-02]; out of line: web03");
    assert!(apart.out.contains("-1 behind web01 (3 of 2)"), "{}", apart.out);
    let run = apart.out.lines().last().unwrap().split([' ', ':']).nth(1).unwrap().to_string();
    let story = site.ask(&format!("show {run} --host web03")).await.expect(0);
    assert!(story.out.contains("3 hosts probed within"), "how near the looks were is told: {}", story.out);
    replica.ask("STOP SLAVE");
    let stopped = site.ask("check web02 'replication runs'").await.expect(2);
    assert!(stopped.out.contains("replication runs"), "{}", stopped.out);
    let lag = site.ask("check web02 'replication lag'").await.expect(3);
    assert!(
        lag.out.contains(r#"stdout is "NULL", wanted a number"#),
        "what is not known is no number: {}",
        lag.out
    );
}

/// The founding examples 3 to 5: a periodic job, a module, requests per second.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_happen_modules_are_there_and_requests_come_in() {
    let folder = crate::support::folder();
    let nginx = folder.path().join("nginx");
    let socket = nginx.join("sock");
    let status = format!(
        "server {{ listen unix:{}; location /status {{ stub_status; }} location / {{ return 200 'x'; }} }}\n",
        socket.display()
    );
    let _server = Nginx::with(&nginx, &status);
    eventually("nginx listens", async || std::os::unix::net::UnixStream::connect(&socket).is_ok()).await;
    let log = folder.path().join("cron.log");
    write(&log, "backup: begun\nbackup: done\n");
    open_to_all(&log);
    let curl = format!("curl -s --unix-socket {} http://x", socket.display());
    let checks = format!(
        r#"
        [[check]]
        name = "backup"
        log = {{ path = "{log}", fresh = "1h", appears = "backup: done$", never = "ERROR|FATAL" }}
        [[check]]
        name = "module"
        run = "perl -MPOSIX -e 1"
        [[check]]
        name = "no module"
        run = "perl -MNo::Such::Module -e 1"
        [[check]]
        name = "requests"
        metric = "count() {{ {curl}/status | awk 'NR == 3 {{ print $3 }}'; }}; a=$(count); sleep 1; b=$(count); echo $((b - a - 1))"
        unit = "req/s"
        warning = "5:"
        critical = "1:1000"
        "#,
        log = log.display()
    );
    let site = site_with(2, &[("work", &checks)], &[]).await;
    let idle = site.ask("check web01").await.expect(2);
    has(&idle, "critical web01 work/requests: 0 req/s is not in critical range 1:1000");
    has(&idle, "ok web01 work/module: exit status 0");
    assert!(idle.out.contains("ok") && idle.out.contains("backup: last written"), "{}", idle.out);
    assert!(idle.out.contains("no module: exit status 2, wanted 0: BEGIN failed"), "{}", idle.out);
    // Somebody comes.
    let busy = socket.clone();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (stopped, client) = (
        stop.clone(),
        tokio::task::spawn_blocking(move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                use std::io::{Read, Write};
                let mut stream = std::os::unix::net::UnixStream::connect(&busy).unwrap();
                stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
                stream.read_to_end(&mut Vec::new()).unwrap();
                std::thread::yield_now();
                // Between a trickle and a flood.
                std::thread::park_timeout(std::time::Duration::from_millis(20));
            }
        }),
    );
    let answer = site.ask("check web01 requests").await.expect(0);
    assert!(answer.out.contains("req/s"), "{}", answer.out);
    stopped.store(true, std::sync::atomic::Ordering::Relaxed);
    client.await.unwrap();
    // The job has not happened since the last probe; and then it went wrong.
    let silent = site.ask("check web01 backup").await.expect(2);
    assert!(silent.out.contains("no line since the last probe"), "{}", silent.out);
    write(&log, &(read(&log) + "FATAL: disk full\n"));
    let bad = site.ask("check web01 backup").await.expect(2);
    assert!(
        bad.out.contains("1 lines since the last probe") && bad.out.contains("FATAL: disk full"),
        "{}",
        bad.out
    );
    // Another host has seen none of it before: everybody goes on where they were themselves.
    let other = site.ask("check web02 backup").await.expect(2);
    assert!(other.out.contains("in the log (this is the first probe): FATAL: disk full"), "{}", other.out);
}

/// Run by hand over ssh, a plugin says what it says here.
#[tokio::test(flavor = "multi_thread")]
async fn plugins_run_unchanged_and_say_the_same() {
    let folder = crate::support::folder();
    let database = MariaDb::start(&folder.path().join("db"), 1).await;
    let plugins = [
        "check_disk -w 10% -c 5% -p /",
        "check_load -w 1000,1000,1000 -c 2000,2000,2000",
        "check_procs -w 1:100000 -c 1:200000",
        "check_users -w 1000 -c 2000",
        "check_dummy 1 'a warning'",
        "check_dummy 2 trouble",
        "check_dummy 3",
        "check_tcp -H 127.0.0.1 -p {{ app_port }}",
        "check_tcp -H 127.0.0.1 -p 1",
        "check_http -H 127.0.0.1 -p {{ app_port }} -u /health",
        "check_http -H 127.0.0.1 -p {{ app_port }} -u /no-such-page -e 404",
        "check_file_age -f /etc/passwd -w 9999999999 -c 9999999999",
        "check_log -F /no/such/log -O /tmp/none -q x",
        "check_ssh -p {{ host.port }} 127.0.0.1",
        "check_mysql -u root -s {{ socket }}",
        "check_nosuch",
        "check_load --no-such-option",
    ];
    let checks: String = plugins
        .iter()
        .enumerate()
        .map(|(number, plugin)| format!("[[check]]\nname = \"p{number}\"\nplugin = \"{plugin}\"\n"))
        .collect();
    let socket = database.socket.display().to_string();
    let site = site_with(2, &[("plugins", &checks)], &[vec![("socket", socket.clone())]]).await;
    let host = &site.hosts[0];
    let app_port = host.server.rsplit(':').next().unwrap().to_string();
    let ssh_port = host.sshd.address.port().to_string();
    for (number, plugin) in plugins.iter().enumerate() {
        let answer = site.ask(&format!("check web01 p{number} --format nagios")).await;
        let plugin = plugin
            .replace("{{ app_port }}", &app_port)
            .replace("{{ host.port }}", &ssh_port)
            .replace("{{ socket }}", &socket);
        let mut by_hand = Command::new("ssh");
        by_hand.args(["-F", "none", "-p", &ssh_port, "-i"]).arg(site.dir.path().join("fleet"));
        by_hand.args([
            "-o",
            "BatchMode=yes",
            "-o",
            "LogLevel=ERROR",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
        ]);
        by_hand.arg(format!("{}@127.0.0.1", account())).arg(format!("/usr/lib/nagios/plugins/{plugin}"));
        let by_hand = by_hand.output().unwrap();
        let out = String::from_utf8_lossy(&by_hand.stdout);
        let status = by_hand.status.code().unwrap();
        if status > 3 {
            assert_eq!(answer.status, 3, "{plugin}: what could not be run is unknown: {answer:?}");
            assert!(answer.out.contains("the plugin could not be run"), "{plugin}: {}", answer.out);
            continue;
        }
        assert_eq!(answer.status, status, "{plugin}: {answer:?}\n{out}");
        assert_eq!(steady(&answer.out), steady(&out), "{plugin}");
    }
}

/// What a plugin printed, without what differs from one moment to the next: its numbers stay where they are.
fn steady(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default().trim_end().replace('|', " | ");
    let mut steady = String::new();
    let mut in_number = false;
    for c in first.chars() {
        let digit = c.is_ascii_digit() || (in_number && c == '.');
        if !digit {
            steady.push(c);
        } else if !in_number {
            steady.push('#');
        }
        in_number = digit;
    }
    // Trailing empty fields of performance data may be dropped.
    steady
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| word.trim_end_matches(';'))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A plugin of files/ is sent once, and again when it is another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_of_files_is_sent_and_kept() {
    let checks = "[[check]]\nname = \"own\"\nplugin = { upload = \"plugins/check_own\", args = \"{{ what }} -w 5\" }\n";
    let home = crate::support::folder();
    crate::support::give_to_account(home.path());
    let site = site_with(1, &[("own", checks)], &[vec![("what", "it's $(id)".to_string())]]).await;
    let plugin = site.config.join("files/plugins/check_own");
    let missing = site.ask("check web01").await.expect(3);
    assert!(missing.out.contains("files/plugins/check_own: no such file"), "{}", missing.out);
    write(&plugin, "#!/bin/sh\necho \"OWN $1 $2 $3 in $0 | n=7;5\"\nexit 1\n");
    let first = site.ask("check web01").await.expect(1);
    assert!(first.out.contains("OWN it's $(id) -w 5 in "), "{}", first.out);
    write(&plugin, "#!/bin/sh\necho 'OWN two'\n");
    let second = site.ask("check web01").await.expect(0);
    has(&second, "ok web01 own/own: OWN two");
}

/// TLS, redirects, headers, JSON, caches, banners: through the SSH connection, and from elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn services_are_looked_at_from_every_side() {
    let folder = crate::support::folder();
    let nginx = folder.path().join("nginx");
    std::fs::create_dir_all(&nginx).unwrap();
    let certificate = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "20",
            "-subj",
            "/CN=shop",
        ])
        .args(["-addext", "subjectAltName=DNS:shop.example.com,DNS:*.shop.example.com", "-keyout"])
        .arg(nginx.join("key"))
        .arg("-out")
        .arg(nginx.join("cert"))
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(certificate.success());
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (plain, secure) = (port(), port());
    let http = format!(
        r#"server {{ listen 127.0.0.1:{plain}; listen 127.0.0.1:{secure} ssl; ssl_certificate {0}/cert; ssl_certificate_key {0}/key; root {0}/www;
          location = /old {{ return 302 /state; }}
          location = /away {{ return 302 https://elsewhere.example.com/; }}
          location = /state {{ default_type application/json; return 200 '{{"db": {{"state": "up", "lag": 3}}}}'; }}
          location = /echo {{ return 200 "$request_method $http_x_probe $host"; }}
          location /static {{ add_header Cache-Control "public, max-age=600"; }}
        }}
        "#,
        nginx.display()
    );
    write(&nginx.join("www/static/a.txt"), "static\n");
    crate::support::give_to_account(&nginx.join("key"));
    open_to_all(&nginx.join("www"));
    let _server = Nginx::with(&nginx, &http);
    eventually("nginx listens", async || std::net::TcpStream::connect(("127.0.0.1", secure)).is_ok()).await;
    let checks = format!(
        r#"
        [[check]]
        name = "redirect"
        http = {{ port = {plain}, path = "/old", follow = 1, json = {{ "$.db.state" = "up", "db.lag" = 3 }}, answers = {{ content-type = "json" }} }}
        critical = "30"
        [[check]]
        name = "away"
        http = {{ port = {plain}, path = "/away", follow = 1 }}
        [[check]]
        name = "echo"
        http = {{ port = {plain}, path = "/echo", method = "POST", headers = {{ X-Probe = "{{{{ host.name }}}}" }}, host = "shop.example.com", body = "x", body_matches = "^POST web0[12] shop.example.com$" }}
        [[check]]
        name = "cache"
        http = {{ port = {plain}, path = "/static/a.txt", cache = {{ shared = true, fresh = "60:", revalidates = true }} }}
        [[check]]
        name = "not cached"
        http = {{ port = {plain}, path = "/state", cache = {{ fresh = "60:" }} }}
        [[check]]
        name = "https any"
        http = {{ port = {secure}, path = "/state", tls = true, verify = false }}
        [[check]]
        name = "https trusted"
        http = {{ port = {secure}, path = "/state", tls = true, host = "shop.example.com" }}
        [[check]]
        name = "certificate"
        tls = {{ port = {secure}, name = "shop.example.com", names = ["www.shop.example.com"], verify = false }}
        warning = "30:"
        critical = "7:"
        [[check]]
        name = "other name"
        tls = {{ port = {secure}, name = "shop.example.com", names = ["example.org"], verify = false }}
        [[check]]
        name = "no tls"
        tls = {{ port = {plain}, verify = false }}
        critical = "7:"
        [[check]]
        name = "banner"
        tcp = {{ port = "{{{{ host.port }}}}", banner = "SSH-2.0-OpenSSH" }}
        [[check]]
        name = "from the balancer"
        from = "group:lb"
        tcp = {{ port = "{{{{ app_port }}}}" }}
        [[check]]
        name = "from rollcall"
        from = "daemon"
        unknown_is = "warning"
        tcp = {{ port = "{{{{ app_port }}}}" }}
        [[check]]
        name = "listens"
        port = {{ number = "{{{{ host.port }}}}", address = "127.0.0.1" }}
        [[check]]
        name = "clock"
        clock = true
        critical = "5"
        [[check]]
        name = "resolves"
        dns = {{ name = "localhost", record = "A", answers = ["127.0.0.1"] }}
        "#
    );
    let site = site_with(2, &[("services", &checks)], &[]).await;
    let answer = site.ask("check web01").await.expect(2);
    for line in [
        "ok web01 services/redirect: HTTP status 200",
        "ok web01 services/echo: HTTP status 200",
        "ok web01 services/cache: HTTP status 200",
        "ok web01 services/https any: HTTP status 200",
        "critical web01 services/not cached: nothing says for how long it is fresh (no max-age, no Expires)",
        "critical web01 services/away: it leads to https://elsewhere.example.com/, which is not followed: only paths on the same service are",
        "critical web01 services/other name: the certificate is not for example.org; its names are shop.example.com, *.shop.example.com",
        "ok web01 services/resolves: localhost is 127.0.0.1",
    ] {
        has(&answer, line);
    }
    let said = |name: &str| {
        answer
            .out
            .lines()
            .find(|line| line.contains(&format!("  services/{name}: ")))
            .unwrap_or_else(|| panic!("{name}\n{}", answer.out))
            .to_string()
    };
    assert!(
        said("https trusted").contains("critical")
            && said("https trusted").contains("the certificate is not trusted"),
        "{}",
        answer.out
    );
    assert!(
        said("certificate").starts_with("warning")
            && said("certificate").contains("days left is not in warning range 30:"),
        "{}",
        answer.out
    );
    assert!(said("no tls").starts_with("critical"), "{}", answer.out);
    assert!(said("banner").contains("ok") && said("banner").contains("SSH-2.0-OpenSSH"), "{}", answer.out);
    assert!(said("from the balancer").contains("from lb1: port "), "{}", answer.out);
    // Loopback of rollcall's own machine is for steps that are allowed there.
    assert!(
        said("from rollcall").starts_with("warning")
            && said("from rollcall").contains("unknown, which counts as warning: from rollcall's machine"),
        "{}",
        answer.out
    );
    assert!(said("listens").starts_with("ok"), "{}", answer.out);
    assert!(said("clock").starts_with("ok"), "{}", answer.out);
}

/// A host that cannot be reached is one thing, and what it has another; neither is a verdict on it.
#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_cannot_be_asked_are_unknown_and_do_not_spoil_a_comparison() {
    let checks = "[[check]]\nname = \"same\"\nrun = \"echo same\"\nsame_across = \"group\"\n[[check]]\nname = \"three\"\nrun = \"true\"\ncount = \"3:\"\n";
    let site = site_with(3, &[("fleet", checks)], &[]).await;
    site.ask("check prod.web").await.expect(0);
    site.hosts[2].sshd.kill();
    let answer = site.ask("check prod.web").await.expect(3);
    has(&answer, "ok web[01-02] fleet/same: the same on all 2 hosts");
    has(&answer, "unknown web[01-02] fleet/three: hosts that are ok is not known without web03");
    assert!(
        answer
            .out
            .lines()
            .any(|line| line.starts_with("unknown") && line.contains("web03") && line.contains("same: ")),
        "{}",
        answer.out
    );
    // Whoever is asked about, all that are compared are looked at.
    let one = site.ask("check web01 same").await.expect(0);
    has(&one, "ok web01 fleet/same: the same on all 2 hosts");
}

/// A gate that could not look pauses the release where it is told to, and a person has the word.
#[tokio::test(flavor = "multi_thread")]
async fn an_inconclusive_gate_pauses_the_release() {
    let mut site = Site::without_daemon(2).await;
    let task = site.config.join("tasks/deploy.toml");
    write(
        &task,
        &read(&task).replacen(
            "on_failure = \"rollback\"",
            "on_failure = \"rollback\"\nunknown_is = \"unknown\"",
            1,
        ),
    );
    let checks =
        "[[check]]\nname = \"oracle\"\nplugin = \"cat {{ root }}/oracle; exit $(cat {{ root }}/says)\"\n";
    write(&site.config.join("checks/http.toml"), checks);
    for host in &site.hosts {
        write(&host.dir.join("oracle"), "nobody knows\n");
        write(&host.dir.join("says"), "3\n");
    }
    site.start_daemon().await;
    let deploying =
        tokio::spawn(crate::support::site::answer_of(site.ssh("ann", "deploy prod version=1.2.0")));
    eventually("the run pauses", async || {
        site.ask("show 1").await.out.contains(
            "paused by rollcall: the gate of web01 is inconclusive: check `http/oracle`: nobody knows",
        )
    })
    .await;
    assert_eq!(site.nginx.out_of_rotation().len(), 1, "the host waits out of rotation, as a debt");
    write(&site.hosts[0].dir.join("says"), "0\n");
    write(&site.hosts[1].dir.join("says"), "0\n");
    site.ask("resume 1").await.expect(0);
    deploying.await.unwrap().expect(0);
    assert_eq!(site.releases(), ["1.2.0", "1.2.0"]);
    assert!(site.nginx.out_of_rotation().is_empty());
}
