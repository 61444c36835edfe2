//! Balancers that answer without an end, or not at all: each read is bounded, and the error names the balancer.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;

use crate::support::site::{FIRST, Site};
use crate::support::write;

/// A runtime API that sends one byte for ever.
fn endless_socket(path: &Path) {
    let listener = UnixListener::bind(path).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 1024]);
                while stream.write_all(&[b'x'; 65_536]).is_ok() {}
            });
        }
    });
}

/// A release changes nothing and says why, in a text that a person can read.
async fn refused(site: &Site, why: &str) {
    let answer = site.ask("deploy prod version=2.0.0").await;
    assert!(answer.status != 0 && answer.out.contains(why), "{}: {}", answer.status, head(&answer.out));
    assert!(answer.out.len() < 20_000, "{} bytes", answer.out.len());
    assert_eq!(site.releases(), [FIRST]);
    // So do the commands that look at balancers.
    let shown = site.ask("balancer prod").await;
    assert!((0..=5).contains(&shown.status) || shown.status == 64, "{shown:?}");
}

fn head(text: &str) -> String {
    text.chars().take(2_000).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_haproxy_that_answers_without_an_end_is_named() {
    let site = Site::start(1).await;
    let socket = site.dir.path().join("endless.sock");
    endless_socket(&socket);
    let socket = socket.display();
    let keys = format!("driver = \"haproxy\"\non = \"lb\"\nsocket = \"{socket}\"\nbackend = \"app\"\n");
    site.stand_behind(&keys).await;
    refused(
        &site,
        "lb1: HAProxy answered `show servers state app` with more than the 8388608 bytes that rollcall reads",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_print_without_an_end_are_named() {
    let site = Site::start(1).await;
    let flood = "head -c 20000000 /dev/zero | tr '\\\\0' x; echo; echo up";
    let keys = format!(
        "driver = \"command\"\non = \"lb\"\ndrain = \"{flood}\"\nenable = \"{flood}\"\nstatus = \"{flood}\"\n"
    );
    site.stand_behind(&keys).await;
    refused(&site, "bytes more than the 1048576 that rollcall reads; try: a command that prints one line")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_nginx_file_that_is_too_large_is_named() {
    let site = Site::start(1).await;
    let config = site.nginx.config();
    write(&config, &format!("{}\n# {}\n", crate::support::read(&config), "x".repeat(2_000_000)));
    refused(&site, "larger than 1048576 bytes; try: the upstream block in a file of its own").await;
}
