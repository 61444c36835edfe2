//! `rollcall init`, from an empty directory to a release behind nginx.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::site::{Answer, Site, answer_of};
use crate::support::{account, read, write};

/// Runs `rollcall init` for a directory, without a terminal.
async fn init(site: &Site, dir: &std::path::Path, more: &[&str]) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    let key = site.dir.path().join("ann.pub");
    command.arg("init").arg(dir).args(more).arg("--operator-key").arg(key).stdin(Stdio::null());
    answer_of(command).await
}

/// What tells the hosts of the test apart, which are one machine; everything else stays as it was written.
fn place_hosts(site: &Site) {
    let path = site.config.join("hosts/prod.toml");
    let text = read(&path);
    let kept = |line: &&str| !["hosts = ", "config = ", "sudo = "].iter().any(|key| line.starts_with(key));
    let text: String = text.lines().filter(kept).map(|line| format!("{line}\n")).collect();
    let (nginx, mut hosts) = (&site.nginx, String::from("[web.hosts]\n"));
    for host in &site.hosts {
        hosts += &format!(
            "{} = {{ address = \"127.0.0.1\", port = {}, app_root = \"{}\", app_port = {} }}\n",
            host.name,
            host.sshd.address.port(),
            host.dir.display(),
            host.server.rsplit(':').next().unwrap(),
        );
    }
    let balancer = format!(
        "driver = \"nginx\"\nconfig = \"{config}\"\ntest = \"nginx -t -p {dir} -c {config}\"\n",
        config = nginx.config().display(),
        dir = nginx.dir.display(),
    );
    let lb = format!("[lb.hosts]\nlb1 = {{ address = \"127.0.0.1\", port = {} }}\n", site.lb.address.port());
    let text = text.replace("driver = \"nginx\"\n", &balancer).replace("[lb]\n", &lb);
    write(&path, &(text + &hosts));
    let settings = site.config.join("rollcall.toml");
    write(&settings, &read(&settings).replace("127.0.0.1:2222", "127.0.0.1:0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_init_writes_releases_behind_nginx() {
    let mut site = Site::without_daemon(2).await;
    let dir = site.dir.path().join("own");
    let options = [
        "--hosts=web[01-02]",
        "--login",
        &account(),
        "--app=static",
        "--name=shop",
        "--balancer=nginx",
        "--balancer-hosts=lb1",
    ];
    let said = init(&site, &dir, &options).await.expect(0).out;
    assert!(said.contains("3 hosts, 1 task, 1 check, 1 operator"), "{said}");
    assert!(
        said.contains("ssh -p 2222 rollcall@localhost deploy prod artifact=- version=1.0.0 < shop.tgz"),
        "{said}"
    );
    // As an administrator of the hosts does.
    let authorized = site.dir.path().join("fleet.pub");
    write(&authorized, &(read(&authorized) + &read(&dir.join("fleet_key.pub"))));
    std::fs::create_dir(dir.join("state")).unwrap();
    std::fs::copy(site.dir.path().join("state/known_hosts"), dir.join("state/known_hosts")).unwrap();
    site.config = dir;
    place_hosts(&site);
    site.start_daemon().await;

    let archive = site.dir.path().join("shop.tgz");
    let built = site.dir.path().join("built");
    write(&built.join("VERSION"), "7.0.0\n");
    let tar = Command::new("tar")
        .arg("czf")
        .arg(&archive)
        .arg("-C")
        .arg(&built)
        .arg("VERSION")
        .status()
        .await
        .unwrap();
    assert!(tar.success());
    let mut deploy =
        site.ssh("ann", "deploy prod artifact=- version=7.0.0").stdin(Stdio::piped()).spawn().unwrap();
    deploy.stdin.take().unwrap().write_all(&std::fs::read(&archive).unwrap()).await.unwrap();
    let output = deploy.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(site.releases(), ["7.0.0", "7.0.0"]);
    assert_eq!(site.nginx.out_of_rotation(), Vec::<String>::new());

    let again = init(&site, &site.config.clone(), &options).await;
    assert!(again.status == 1 && again.err.contains("is there, and nothing was written"), "{again:?}");
    let missing = init(&site, &site.dir.path().join("other"), &[]).await;
    assert!(missing.status == 64 && missing.err.contains("--hosts is missing"), "{missing:?}");
}
