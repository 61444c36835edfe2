//! nginx as people run it: the driver over real sshd on real nginx.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rollcall::balancer::Balancers;
use rollcall::domain::inventory::inventory::{Balancer, Driver, Nginx as Settings};
use rollcall::domain::run::event::Change;
use rollcall::port::{BalancerDriver, Member};

use crate::balancers::behind_nginx;
use crate::support::app::App;
use crate::support::fleet::{done, fleet, members, refused, within};
use crate::support::nginx::Nginx;
use crate::support::sshd::Sshd;
use crate::support::traffic::{get, get_path};
use crate::support::{eventually, folder, keygen, open_to_all, read, write};

fn upstream([first, second]: &[String; 2]) -> String {
    format!("upstream app {{\n  server {first};\n  server {second};\n}}\n")
}

fn site(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "server {{\n  listen unix:{dir}/http.sock;\n  location / {{ proxy_pass http://app; proxy_next_upstream off; }}\n}}\n"
    )
}

/// Two applications behind an nginx, and the driver.
struct World {
    apps: [App; 2],
    nginx: Nginx,
    balancer: Balancer,
    drivers: Balancers,
    _lb: Sshd,
    // Dropped last: everything above lives in it.
    dir: tempfile::TempDir,
}

impl World {
    async fn start() -> World {
        World::with(None).await
    }

    /// The main configuration only includes `conf.d/*.conf`, and `nginx` alone means this one, as on a host with a
    /// package of it: no command is configured.
    async fn in_pieces() -> World {
        let mut world = World::with(Some("  include conf.d/*.conf;\n")).await;
        let config = world.piece().display().to_string();
        let settings = world.settings();
        (settings.config, settings.test, settings.reload) = (config, None, None);
        world
    }

    async fn with(http: Option<&str>) -> World {
        let dir = folder();
        keygen(&dir.path().join("fleet"), "rollcall");
        open_to_all(dir.path());
        let apps = [App::start("web01").await, App::start("web02").await];
        let servers = apps.each_ref().map(|app| app.address.to_string());
        let (at, bin) = (dir.path().join("lb"), dir.path().join("bin"));
        let nginx = match http {
            None => Nginx::start(&at, &servers).await,
            Some(http) => {
                write(&at.join("conf.d/app.conf"), &upstream(&servers));
                write(&at.join("conf.d/site.conf"), &site(&at));
                open_to_all(&at.join("conf.d"));
                Nginx::with(&at, http)
            }
        };
        let socket = nginx.socket();
        eventually("it listens", async || tokio::net::UnixStream::connect(&socket).await.is_ok()).await;
        let own = at.display();
        let program = format!("#!/bin/sh\nexec /usr/sbin/nginx -p {own} -c {own}/nginx.conf \"$@\"\n");
        write(&bin.join("nginx"), &program);
        open_to_all(&bin.join("nginx"));
        let lb = Sshd::start(&dir.path().join("lb-ssh"), &dir.path().join("fleet.pub")).await;
        let mut balancer = behind_nginx(dir.path(), &nginx, &lb);
        balancer.drain_timeout = Duration::from_secs(30);
        let drivers = Balancers::new(fleet(dir.path()));
        World { apps, nginx, balancer, drivers, _lb: lb, dir }
    }

    /// A second nginx on the same host, in front of the same applications.
    async fn second(&self) -> Nginx {
        let servers = self.apps.each_ref().map(|app| app.address.to_string());
        Nginx::start(&self.dir.path().join("second"), &servers).await
    }

    /// The file with the upstream block, if it has one of its own.
    fn piece(&self) -> PathBuf {
        self.nginx.dir.join("conf.d/app.conf")
    }

    fn servers(&self) -> [String; 2] {
        self.apps.each_ref().map(|app| app.address.to_string())
    }

    /// Writes the file with the upstream block, and has nginx read it.
    fn rewrite(&self, text: &[u8]) {
        std::fs::write(self.piece(), text).expect("the file can be written");
        open_to_all(&self.piece());
        self.nginx.reload();
    }

    /// The names of the applications that get requests.
    async fn serving(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for _ in 0..8 {
            let answer = get(&self.nginx.socket()).await.expect("an answer");
            names.extend(answer.split_whitespace().find(|word| word.starts_with("web")).map(String::from));
        }
        names
    }

    fn settings(&mut self) -> &mut Settings {
        let Driver::Nginx(settings) = &mut self.balancer.driver else { panic!("nginx") };
        settings
    }

    /// The application, as the balancer calls it.
    fn member(&self, app: usize) -> Vec<Member> {
        members(&[&self.apps[app].address.to_string()], false)
    }

    async fn drain(&self, app: usize) -> Change {
        within(self.drivers.drain(&self.balancer, &self.member(app))).await
    }

    async fn enable(&self, app: usize) -> Change {
        within(self.drivers.enable(&self.balancer, &self.member(app))).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_nginx_on_the_host_is_not_waited_for() {
    let world = World::start().await;
    let second = world.second().await;
    // Its old worker holds a request for as long as it likes.
    let socket = second.socket();
    let held = tokio::spawn(async move { get_path(&socket, "/held").await });
    eventually("it is in flight", async || world.apps.iter().any(|app| app.held() == 1)).await;
    second.reload();
    assert_eq!(done(world.drain(0).await), "");
    assert_eq!(world.nginx.out_of_rotation(), [world.apps[0].address.to_string()]);
    assert_eq!(done(world.enable(0).await), "");
    assert_eq!(world.nginx.out_of_rotation(), Vec::<String>::new());
    world.apps.iter().for_each(App::release);
    assert!(held.await.unwrap().unwrap().ends_with("is done\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_of_another_nginx_proves_nothing() {
    let mut world = World::start().await;
    let second = world.second().await;
    let at = second.dir.display();
    world.settings().reload = Some(format!("nginx -s reload -p {at} -c {at}/nginx.conf"));
    let change = world.drain(0).await;
    let why = "lb1: the reload was not seen to take effect".to_string();
    assert_eq!(change, Change::Unknown { why });
}

#[tokio::test(flavor = "multi_thread")]
async fn with_two_nginx_and_no_pid_file_nothing_is_guessed() {
    let mut world = World::start().await;
    let _second = world.second().await;
    let before = read(&world.nginx.config());
    let pid_file = world.nginx.dir.join("nginx.pid");
    // The pid file names a process that is no nginx.
    write(&pid_file, &std::process::id().to_string());
    let why = refused(world.drain(0).await);
    assert!(why.contains(" nginx run here, and it is not known which of them reads the file"), "{why}");
    assert!(why.contains("nginx.pid does not name it); try: `workers`"), "{why}");
    // No pid file is named at all.
    world.settings().test = Some("true".into());
    let why = refused(world.drain(0).await);
    assert!(
        why.ends_with("reads the file; try: `workers`, a command that prints the workers of the right one"),
        "{why}"
    );
    assert_eq!(read(&world.nginx.config()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_tested_with_the_configuration_that_includes_it_and_comes_back_byte_for_byte() {
    let world = World::in_pieces().await;
    let [a, b] = &world.servers();
    let texts: [Vec<u8>; 9] = [
        upstream(&world.servers()).into_bytes(),
        format!("upstream app\n{{\n\tserver\t{a}\tweight=1;\n\tserver\t{b};\n}}\n").into_bytes(),
        upstream(&world.servers()).replace('\n', "\r\n").into_bytes(),
        [b"# caf\xe9\n".to_vec(), upstream(&world.servers()).into_bytes()].concat(),
        format!("upstream app {{ server {a}; server {b}; }}").into_bytes(),
        format!("upstream \"app\" {{ server \"{a}\" 'weight=1'; # }} ;\n server {b}; }} map $uri $x {{ server {a}; }}\n")
            .into_bytes(),
        format!("upstream app {{\n  server\n    {a} # one;\n    max_fails=1\n  ;\n  server {b};\n}}\n").into_bytes(),
        format!("upstream app {{ server {a}; server {a}; zone app 64k; server {b}; }}\n# server {a};").into_bytes(),
        format!("upstream app {{\n  least_conn; server {a} max_fails=0 fail_timeout=1s;#x\n  server {b};}}").into_bytes(),
    ];
    for text in texts {
        world.rewrite(&text);
        let shown = String::from_utf8_lossy(&text);
        assert_eq!(done(world.drain(0).await), "", "{shown}");
        assert_eq!(world.serving().await, BTreeSet::from(["web02".to_string()]), "{shown}");
        assert_eq!(done(world.enable(0).await), "", "{shown}");
        assert_eq!(std::fs::read(world.piece()).unwrap(), text, "{shown}");
        assert_eq!(world.serving().await.len(), 2, "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_nginx_does_not_read_is_refused() {
    let mut world = World::in_pieces().await;
    let unread = world.nginx.dir.join("conf.d/app.conf.old");
    let text = upstream(&world.servers());
    write(&unread, &text);
    open_to_all(&unread);
    world.settings().config = unread.display().to_string();
    let why = refused(world.drain(0).await);
    assert!(
        why.contains(
            "nginx does not read this file, the old one is back: `nginx -T` does not print its text; try:"
        ),
        "{why}"
    );
    assert_eq!((read(&unread), world.serving().await.len()), (text, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_in_files_that_an_upstream_includes_are_found() {
    let world = World::in_pieces().await;
    let [a, b] = world.servers();
    let at = |name: &str| world.nginx.dir.join("app.d").join(name);
    write(&at("1 one.conf"), &format!("server {a};\n"));
    write(&at("2.conf"), &format!("server {b};\n"));
    for path in [at(""), at("1 one.conf"), at("2.conf")] {
        open_to_all(&path);
    }
    world.rewrite(b"upstream app { include \"app.d/*.conf\"; }\n");
    assert_eq!(done(world.drain(0).await), "");
    assert_eq!(read(&at("1 one.conf")), format!("server {a} down; # rollcall:{a}\n"));
    assert_eq!(read(&at("2.conf")), format!("server {b};\n"));
    assert_eq!(world.serving().await, BTreeSet::from(["web02".to_string()]));
    let view = world.drivers.inspect(&world.balancer, &world.member(0)).await.unwrap();
    assert_eq!((view.serving, view.total), (1, 2));
    assert_eq!(done(world.enable(0).await), "");
    assert_eq!(read(&at("1 one.conf")), format!("server {a};\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn links_modes_and_other_names_of_the_file_stay() {
    let mut world = World::in_pieces().await;
    let available = world.nginx.dir.join("available.conf");
    let other = world.nginx.dir.join("other-name.conf");
    std::fs::rename(world.piece(), &available).unwrap();
    std::fs::hard_link(&available, &other).unwrap();
    std::os::unix::fs::symlink("../available.conf", world.piece()).unwrap();
    std::fs::set_permissions(&available, std::fs::Permissions::from_mode(0o666)).unwrap();
    world.settings().config = world.piece().display().to_string();
    let before = std::fs::metadata(&available).unwrap();
    assert_eq!(done(world.drain(0).await), "");
    assert!(world.piece().symlink_metadata().unwrap().is_symlink());
    let after = std::fs::metadata(&available).unwrap();
    assert_eq!(
        (after.mode(), after.uid(), after.gid(), after.nlink(), after.ino()),
        (before.mode(), before.uid(), before.gid(), 2, before.ino())
    );
    assert!(read(&other).contains(" down; # rollcall:"), "{}", read(&other));
}
