//! nginx as people run it: the driver over real sshd on real nginx.

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
use crate::support::traffic::get_path;
use crate::support::{eventually, folder, keygen, open_to_all, read, write};

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
        let dir = folder();
        keygen(&dir.path().join("fleet"), "rollcall");
        open_to_all(dir.path());
        let apps = [App::start("web01").await, App::start("web02").await];
        let servers = apps.each_ref().map(|app| app.address.to_string());
        let nginx = Nginx::start(&dir.path().join("lb"), &servers).await;
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
    world.settings().reload = format!("nginx -s reload -p {at} -c {at}/nginx.conf");
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
    world.settings().test = "true".into();
    let why = refused(world.drain(0).await);
    assert!(
        why.ends_with("reads the file; try: `workers`, a command that prints the workers of the right one"),
        "{why}"
    );
    assert_eq!(read(&world.nginx.config()), before);
}
