//! One host behind several backends or balancers: out of all, or of none.

use crate::support::haproxy::Haproxy;
use crate::support::site::{Answer, Site};

/// The servers of a site, as lines of a backend.
fn lines(site: &Site, hosts: usize) -> Vec<String> {
    site.hosts[..hosts].iter().map(|host| format!("{} {}", host.name, host.server)).collect()
}

/// The keys of an HAProxy in front of the group.
fn keys(haproxy: &Haproxy, rest: &str) -> String {
    format!("driver = \"haproxy\"\non = \"lb\"\nsocket = \"{}\"\n{rest}\n", haproxy.socket().display())
}

/// Two backends with these numbers of the hosts.
async fn two_backends(site: &Site, app: usize, api: usize) -> Haproxy {
    let (app, api) = (lines(site, app), lines(site, api));
    let dir = site.dir.path().join("haproxy");
    Haproxy::with_backends(&dir, &[("app", &app), ("api", &api)]).await
}

fn has(answer: &Answer, text: &str) {
    assert!(answer.out.contains(text) || answer.err.contains(text), "{text}\n{answer:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_in_two_backends_is_out_of_both_or_of_none() {
    let site = Site::start(3).await;
    let haproxy = two_backends(&site, 3, 2).await;
    let both = "backend = [\"app\", \"api\"]";
    site.stand_behind(&keys(&haproxy, both)).await;
    // web03 is no server of `api`.
    let missing = site.ask("balancer drain web03 because of a test").await;
    assert_ne!(missing.status, 0);
    has(&missing, "no server is called `api/web03` there; did you mean `api/web01`?");
    site.ask("balancer drain web01 because of a test").await.expect(0);
    assert_eq!(haproxy.drained().await, ["app/web01", "api/web01"]);
    let status = site.ask("balancer status web01").await.expect(0);
    has(&status, "web01  prod.web  out       run 2");
    has(&status, "prod.web: 1 of 2 servers in service, 1 have to stay");
    // The last one of `api`, though not of `app`.
    let full = site.ask("balancer drain web02 because of a test").await.expect(2);
    has(&full, "too few would be left in service");
    assert_eq!(haproxy.drained().await, ["app/web01", "api/web01"]);
    site.ask("balancer enable web01").await.expect(0);
    assert_eq!(haproxy.drained().await, Vec::<String>::new());
    assert!(site.ask("debts").await.expect(0).out.starts_with("no debts"));
    // A colleague has taken it out of one of them.
    haproxy.tell("set server api/web01 state drain").await;
    let alien = site.ask("balancer drain web01 because of a test").await;
    assert_ne!(alien.status, 0);
    has(&alien, "web01 is taken out on lb1 backend api by another process, and not on lb1 backend app");
    assert_eq!(haproxy.drained().await, ["api/web01"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_behind_two_balancers_leaves_both_or_none() {
    let site = Site::start(2).await;
    let haproxy = Haproxy::start(&site.dir.path().join("haproxy"), &lines(&site, 2)).await;
    let nginx = format!(
        "driver = \"nginx\"\non = \"lb\"\nconfig = \"{}\"\nserver = \"{{{{ server }}}}\"\ntest = \"nginx -t -p {dir} -c {dir}/nginx.conf\"\n",
        site.nginx.config().display(),
        dir = site.nginx.dir.display(),
    );
    let two = |second: &str| format!("{}[[web.balancer]]\n{second}", keys(&haproxy, "backend = \"app\""));
    site.stand_behind_all(&two(&nginx)).await;
    let none = Vec::<String>::new();
    let status = site.ask("balancer status prod.web").await.expect(0);
    has(&status, "prod.web: 2 of 2 servers in service");
    has(&status, "prod.web#2: 2 of 2 servers in service");
    site.ask("deploy prod version=2.0.0").await.expect(0);
    assert_eq!((haproxy.drained().await, site.nginx.out_of_rotation()), (none.clone(), none.clone()));

    site.ask("balancer drain web01 because of a test").await.expect(0);
    assert_eq!(haproxy.drained().await, ["app/web01"]);
    assert_eq!(site.nginx.out_of_rotation(), [site.hosts[0].server.clone()]);
    let full = site.ask("balancer drain web02 because of a test").await.expect(2);
    has(&full, "too few would be left in service");
    site.ask("balancer enable web01").await.expect(0);
    assert_eq!((haproxy.drained().await, site.nginx.out_of_rotation()), (none.clone(), none.clone()));

    // The second cannot be drained: the first is put back, and nothing is owed.
    site.stand_behind_all(&two(&format!("{nginx}reload = \"false\"\n"))).await;
    let failed = site.ask("balancer drain web01 because of a test").await;
    assert_ne!(failed.status, 0);
    has(&failed, "it would not reload, the old file is back");
    assert_eq!((haproxy.drained().await, site.nginx.out_of_rotation()), (none.clone(), none));
    assert!(site.ask("debts").await.expect(0).out.starts_with("no debts"));
}
