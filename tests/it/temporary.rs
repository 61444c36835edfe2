//! Rights for a time, with plain ssh: asked for, granted by another person, over by themselves.

use crate::support::site::Site;
use crate::support::{eventually, keygen, read, until, write};

/// Ann is an admin, vic a viewer. Eve is a viewer of a group of her own, and amy its admin.
async fn site() -> Site {
    let mut site = Site::without_daemon(1).await;
    write(&site.config.join("hosts/test.toml"), "[web]\nhosts = \"t1\"\n");
    let operators = site.config.join("operators");
    for (name, role) in [("eve", "viewer"), ("amy", "admin")] {
        keygen(&site.dir.path().join(name), name);
        let key = read(&site.dir.path().join(format!("{name}.pub")));
        write(&operators, &(read(&operators) + &format!("role=\"{role}\",groups=\"test\" {key}")));
    }
    site.start_daemon().await;
    site
}

const LINE: &str = "touch web01";

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_granted_by_another_person_and_end() {
    let mut site = site().await;
    site.ask_as("vic", LINE).await.expect(77);
    let asked = site.ask_as("vic", "ask operator prod.web for 2h because bob is ill").await.expect(0).out;
    assert_eq!(
        asked,
        "request 1: the role operator in prod.web for 2h; it waits for an hour\nan admin grants it: ssh rollcall grant 1\n"
    );
    // Asking gives nothing, and neither the asker nor an operator grants it.
    site.ask_as("vic", LINE).await.expect(77);
    site.ask_as("vic", "grant 1").await.expect(77);
    site.ask_as("bob", "grant 1").await.expect(77);
    // An admin of other groups does not even see it.
    let refused = site.ask_as("amy", "grant 1").await.expect(64);
    assert_eq!(refused.err, "rollcall: no request or right 1 is open; see: ask\n");
    assert!(site.ask("ask").await.expect(0).out.contains("bob is ill"));
    let granted = site.ask("grant 1").await.expect(0).out;
    assert!(granted.starts_with("vic has the role operator in prod.web until "), "{granted}");
    let again = site.ask("grant 1").await.expect(69);
    assert_eq!(again.err, "rollcall: request 1 is over, or granted already; see: ask\n");

    let about = site.ask_as("vic", "whoami").await.expect(0).out;
    assert!(about.contains("besides:  operator in prod.web until "), "{about}");
    site.ask_as("vic", "run web01 -- true").await.expect(0);
    site.ask_as("vic", "reload").await.expect(77);
    // Only in the groups of the right.
    let elsewhere = site.ask_as("vic", "run test -- true").await.expect(64);
    assert!(elsewhere.err.contains("no group or host is called"), "{elsewhere:?}");

    // It survives a restart of rollcall, and its end closes the connections that may use it.
    site.daemon.take().unwrap().stop().await;
    site.start_daemon().await;
    site.ask_as("vic", "run web01 -- true").await.expect(0);
    let mut following = site.ssh("vic", "events --follow").spawn().unwrap();
    until(following.stdout.as_mut().unwrap(), "seq").await;
    let ended = site.ask("grant end 1 because bob is back").await.expect(0).out;
    assert_eq!(ended, "1: ended; vic has these rights no more, and runs continue\n");
    until(following.stderr.as_mut().unwrap(), "your temporary rights have ended; connect again").await;
    eventually("vic is a viewer again", async || site.ask_as("vic", LINE).await.status == 77).await;
    assert!(site.ask("ask").await.out.contains("no temporary right is asked for or held"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_ends_by_itself_and_reveals_nothing_before() {
    let site = site().await;
    // Whether a group that she does not see exists, the answer does not say.
    let one = site.ask_as("eve", "ask viewer prod.web for 5s because a look").await.expect(0).out;
    let other = site.ask_as("eve", "ask viewer nonesuch for 5s because a look").await.expect(0).out;
    assert_eq!(one.replace("prod.web", "X"), other.replace("nonesuch", "X").replace('2', "1"));
    assert!(site.ask("grant 2").await.expect(64).err.contains("no group is called `nonesuch`"));
    assert!(!site.ask_as("eve", "hosts").await.expect(0).out.contains("web01"));
    site.ask("grant 1").await.expect(0);
    eventually("it begins and is over", async || !site.ask_as("eve", "hosts").await.out.contains("web01"))
        .await;
    // Requests are bounded for each operator.
    for _ in 0..7 {
        site.ask_as("eve", "ask viewer prod.web for 2h because a look").await.expect(0);
    }
    let refused = site.ask_as("eve", "ask viewer prod.web for 2h because a look").await.expect(5);
    assert_eq!(refused.err, "rollcall: eve has 8 requests and rights already; try: grant end N; see: ask\n");
    site.ask_as("eve", "grant end 2").await.expect(0);
    site.ask_as("eve", "ask viewer prod.web for 2h because a look").await.expect(0);
    site.ask("grant 3").await.expect(0);
    assert!(site.ask_as("eve", "hosts").await.expect(0).out.contains("web01"));
    site.ask_as("eve", LINE).await.expect(77);
}
