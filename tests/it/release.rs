//! The main job on real parts: a release reaches twenty hosts behind nginx, and no request fails.

use crate::support::site::{FIRST, Site};
use crate::support::traffic::Traffic;

#[tokio::test(flavor = "multi_thread")]
async fn a_release_reaches_twenty_hosts_and_no_request_fails() {
    let site = Site::start(20).await;
    let traffic = Traffic::start(&site.nginx.socket());
    let answer = site.ask("deploy prod version=1.2.3").await.expect(0);
    let (sent, failures) = traffic.stop().await;
    assert_eq!(failures, Vec::<String>::new(), "{sent} requests\n{answer:#?}");
    assert!(sent > 100, "only {sent} requests were sent");

    // Three batches, as the plan says: 1, 25% and the rest.
    let batches: Vec<&str> = answer.out.lines().filter(|line| line.starts_with("batch ")).collect();
    assert_eq!(batches, ["batch 1/3: web01", "batch 2/3: web[02-06]", "batch 3/3: web[07-20]"]);
    assert!(answer.out.contains("\nrun 1: done\n  released  20  web[01-20]\n"), "{}", answer.out);

    // What the recap says is what is on disk and in the balancer.
    assert_eq!(site.releases(), vec!["1.2.3"; 20]);
    assert_eq!(site.nginx.out_of_rotation(), Vec::<String>::new());
    for host in &site.hosts {
        let conf = std::fs::read_to_string(host.dir.join("releases/1.2.3/app.conf")).unwrap();
        assert_eq!(conf, format!("release 1.2.3 on {}\n", host.name));
    }
    assert!(site.ask("debts").await.expect(0).out.starts_with("no debts"));

    // Every host answers its production checks, for the release that it took over.
    let checked = site.ask("check prod").await.expect(0);
    assert!(checked.out.contains("ok  web[01-20]  http/answers: HTTP status 200\n"), "{}", checked.out);
    assert!(checked.out.contains("ok  web[01-20]  http/serves the release: 1.2.3\n"), "{}", checked.out);
    assert!(checked.out.ends_with("run 2: ok on 20 hosts\n"), "{}", checked.out);

    // The journal tells the same story.
    let shown = site.ask("show 1 --json").await.expect(0);
    let events: Vec<serde_json::Value> =
        shown.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let settled = events.iter().filter(|event| event["type"] == "host-settled" && event["end"] == "released");
    assert_eq!(settled.count(), 20);
    let drains = events.iter().filter(|event| event["type"] == "drain-started").count();
    assert_eq!(drains, 3, "the hosts of one batch are drained in one change");

    // The same once more: there is nothing to do.
    let again = site.ask("deploy web01 version=1.2.3").await.expect(0);
    assert!(again.out.contains("  unchanged  1  web01  it was on this release already"), "{}", again.out);
    assert!(!again.out.contains("taking out"), "it is not drained for nothing: {}", again.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_release_is_rolled_back_and_no_request_fails() {
    let site = Site::start(4).await;
    let traffic = Traffic::start(&site.nginx.socket());
    let answer = site.ask("deploy prod version=2.0.0 'hook=touch releases/2.0.0/BROKEN'").await.expect(2);
    let (_, failures) = traffic.stop().await;
    assert_eq!(failures, Vec::<String>::new());
    assert!(
        answer.out.contains("  rolled-back  1  web01       check `http/serves the release` is critical"),
        "{}",
        answer.out
    );
    assert!(
        answer.out.contains("  not-started  3  web[02-04]  the run was stopped before its turn"),
        "{}",
        answer.out
    );
    assert_eq!(site.releases(), vec![FIRST; 4]);
    assert_eq!(site.nginx.out_of_rotation(), Vec::<String>::new());
}
