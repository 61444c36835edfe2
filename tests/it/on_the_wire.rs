//! Answers of services as they are on the wire: compressed without a request for it, with folded headers, with old keys.

use std::io::Write;
use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::site::{Answer, Site};
use crate::support::{eventually, write};

fn answer(headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

/// Answers by the path of the request, whatever else was asked.
async fn serve(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let bytes = match request.split(' ').nth(1).unwrap_or_default() {
                "/gzip" => answer("content-encoding: gzip\r\n", &gzip("version 1.2")),
                "/brotli" => answer("content-encoding: br\r\n", b"\x0b\x05\x80version"),
                "/bom" => {
                    answer("content-type: application/json\r\n", "\u{feff}{\"state\": \"up\"}".as_bytes())
                }
                "/folded" => answer("x-long: one\r\n two\r\nserver : old\r\n", b"folded"),
                "/host" => answer("", request.as_bytes()),
                _ => answer("", b"other"),
            };
            let _ = stream.write_all(&bytes).await;
        });
    }
}

/// `openssl s_server` with a key that is too short for today.
struct OldTls(Child);

impl OldTls {
    fn start(dir: &std::path::Path, port: u16) -> OldTls {
        let made = Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-days", "20", "-subj", "/CN=old", "-keyout",
            ])
            .arg(dir.join("key"))
            .arg("-out")
            .arg(dir.join("cert"))
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        let server = Command::new("openssl")
            .args(["s_server", "-accept", &format!("127.0.0.1:{port}"), "-www", "-quiet"])
            .args(["-cipher", "DEFAULT:@SECLEVEL=0", "-key"])
            .arg(dir.join("key"))
            .arg("-cert")
            .arg(dir.join("cert"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        OldTls(server.unwrap())
    }
}

impl Drop for OldTls {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn line_of<'a>(answer: &'a Answer, check: &str) -> &'a str {
    let wanted = format!("odd/{check}:");
    answer.out.lines().find(|line| line.contains(&wanted)).unwrap_or_else(|| panic!("{check}: {answer:#?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_judged_as_they_are_meant() {
    let (v4, v6) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("[::1]:0").await.unwrap());
    let (plain, six) = (v4.local_addr().unwrap().port(), v6.local_addr().unwrap().port());
    tokio::spawn(serve(v4));
    tokio::spawn(serve(v6));
    let old = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut site = Site::without_daemon(1).await;
    let _old = OldTls::start(site.dir.path(), old);
    eventually("openssl listens", async || std::net::TcpStream::connect(("127.0.0.1", old)).is_ok()).await;
    let checks = format!(
        r#"
        [[check]]
        name = "gzip"
        http = {{ port = {plain}, path = "/gzip", body_contains = "version 1.2" }}
        [[check]]
        name = "brotli"
        http = {{ port = {plain}, path = "/brotli", body_contains = "version" }}
        [[check]]
        name = "brotli unread"
        http = {{ port = {plain}, path = "/brotli" }}
        [[check]]
        name = "bom"
        http = {{ port = {plain}, path = "/bom", json = {{ "$.state" = "up" }} }}
        [[check]]
        name = "folded"
        http = {{ port = {plain}, path = "/folded", body_contains = "folded", answers = {{ x-long = "two", server = "old" }} }}
        [[check]]
        name = "blank in a value"
        http = {{ port = {plain}, path = "/{{{{ odd }}}}" }}
        [[check]]
        name = "six"
        http = {{ port = {six}, path = "/host", address = "[::1]", body_contains = "host: [::1]:{six}" }}
        [[check]]
        name = "six bare"
        http = {{ port = {six}, path = "/host", address = "::1", body_contains = "host: [::1]:{six}" }}
        [[check]]
        name = "six tcp"
        tcp = {{ port = {six}, address = "[::1]" }}
        [[check]]
        name = "old any"
        http = {{ port = {old}, path = "/", tls = true, verify = false }}
        [[check]]
        name = "old certificate"
        tls = {{ port = {old}, verify = false }}
        critical = "7:"
        [[check]]
        name = "old trusted"
        http = {{ port = {old}, path = "/", tls = true }}
        "#
    );
    write(&site.config.join("checks/odd.toml"), &checks);
    let port = site.hosts[0].sshd.address.port();
    let inventory = format!(
        "[odd]\nchecks = [\"odd\"]\n[odd.vars]\nodd = \"two words\"\n[odd.hosts]\nodd1 = {{ address = \"127.0.0.1\", port = {port} }}\n"
    );
    write(&site.config.join("hosts/odd.toml"), &inventory);
    site.start_daemon().await;
    let answer = site.ask("check odd odd").await;
    for check in
        ["gzip", "brotli unread", "bom", "folded", "six", "six bare", "six tcp", "old any", "old certificate"]
    {
        assert!(line_of(&answer, check).starts_with("ok "), "{check}: {answer:#?}");
    }
    for (check, verdict, said) in [
        ("brotli", "unknown", "the answer is compressed with \"br\", so its text cannot be judged"),
        ("blank in a value", "unknown", "\"/two words\" cannot be requested"),
        ("old trusted", "critical", ""),
    ] {
        let line = line_of(&answer, check);
        assert!(line.starts_with(verdict) && line.contains(said), "{check}: {answer:#?}");
    }
}
