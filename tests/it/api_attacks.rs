//! Attacks of the front door through the API: requests that hide in others, heads and bodies without an end, and what
//! operators with groups could read of others.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::support::api::Forward;
use crate::support::site::Site;
use crate::support::{DEADLINE, keygen, read, write};

/// How long a connection is silent before the test takes all answers for read.
const SILENCE: Duration = Duration::from_millis(500);

/// Sends bytes as they are; what comes back until the server closes, or is silent behind an answer.
async fn raw(api: &Forward, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(&api.socket).await.unwrap();
    // The server may close before it has read all.
    let _ = stream.write_all(bytes).await;
    let (mut all, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let patience = if all.is_empty() { DEADLINE } else { SILENCE };
        match timeout(patience, stream.read(&mut piece)).await {
            Ok(Ok(read)) if read > 0 => all.extend_from_slice(&piece[..read]),
            _ => return String::from_utf8_lossy(&all).into_owned(),
        }
    }
}

fn statuses(text: &str) -> Vec<u16> {
    text.split("HTTP/1.").skip(1).filter_map(|answer| answer.get(2..5)?.parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_hides_in_another_and_heads_have_bounds() {
    let site = Site::start(1).await;
    let api = Forward::open(&site, "ann").await;
    let head = format!("Host: localhost\r\nAuthorization: Bearer {}\r\n", api.token);
    let lock = "{\"selector\":\"prod\",\"for\":\"2h\",\"because\":\"smuggled\"}";
    let hidden = format!(
        "POST /v1/leases HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{lock}",
        lock.len()
    );
    let post = format!("POST /v1/doctor HTTP/1.1\r\n{head}Content-Type: application/json\r\n");
    let get = format!("GET /v1/version HTTP/1.1\r\n{head}");
    let rows = [
        (
            "two lengths",
            format!("{post}Content-Length: 0\r\nContent-Length: {}\r\n\r\n{hidden}", hidden.len()),
            400,
        ),
        ("two lengths in one", format!("{post}Content-Length: 0, {}\r\n\r\n{hidden}", hidden.len()), 400),
        ("no number", format!("{post}Content-Length: +0\r\n\r\n{hidden}"), 400),
        (
            "a length, then chunks",
            format!(
                "{post}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
                hidden.len() + 5
            ),
            400,
        ),
        (
            "chunks, then a length",
            format!(
                "{post}Transfer-Encoding: chunked\r\nContent-Length: {}\r\n\r\n0\r\n\r\n{hidden}",
                hidden.len() + 5
            ),
            400,
        ),
        (
            "chunks twice",
            format!(
                "{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}"
            ),
            400,
        ),
        ("another encoding", format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"), 400),
        ("no size of a chunk", format!("{post}Transfer-Encoding: chunked\r\n\r\nzz\r\n{hidden}"), 400),
        ("a space before the colon", format!("{get}Content-Length : {}\r\n\r\n{hidden}", hidden.len()), 400),
        (
            "a folded header",
            format!("{get}X-Folded: a\r\n Content-Length: {}\r\n\r\n{hidden}", hidden.len()),
            400,
        ),
        ("a bare CR", format!("{get}X-Bare: a\rContent-Length: {}\r\n\r\n{hidden}", hidden.len()), 400),
        ("a NUL", format!("{get}X-Nul: a\0b\r\n\r\n"), 400),
        ("two hosts", format!("{get}Host: evil.example\r\n\r\n"), 400),
        ("an old version", format!("GET /v1/version HTTP/1.0\r\n{head}\r\n"), 200),
        ("many headers", format!("{get}{}\r\n", "X-Many: a\r\n".repeat(70)), 431),
        ("a long header", format!("{get}X-Long: {}\r\n\r\n", "a".repeat(80_000)), 431),
        ("a long path", format!("GET /{} HTTP/1.1\r\n{head}\r\n", "a".repeat(80_000)), 431),
        (
            "a large body in chunks",
            format!("{post}Transfer-Encoding: chunked\r\n\r\n11170\r\n{}\r\n0\r\n\r\n", " ".repeat(70_000)),
            413,
        ),
    ];
    for (what, bytes, status) in rows {
        let answer = raw(&api, bytes.as_bytes()).await;
        let found = statuses(&answer);
        assert_eq!(found, [status], "{what}: {answer}");
    }
    assert_eq!(site.ask("lock").await.expect(0).out, "no operator keeps hosts for themselves\n");
    assert!(!site.ask("audit").await.expect(0).out.contains("smuggled"));
}

/// A path with its fields filled in: hosts that the operator sees, and the run that they do not.
fn filled(path: &str) -> String {
    let rows = [("{host}", "lb1"), ("{run}", "1"), ("{word}", "x")];
    rows.iter().fold(path.to_string(), |path, (field, value)| path.replace(field, value))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_resource_names_what_an_operator_with_groups_may_not_see() {
    let site = Site::start(2).await;
    for (name, role) in [("lia", "operator"), ("lou", "admin")] {
        keygen(&site.dir.path().join(name), name);
        let operators = site.config.join("operators");
        let key = read(&site.dir.path().join(format!("{name}.pub")));
        write(&operators, &(read(&operators) + &format!("role=\"{role}\",groups=\"prod.lb\" {key}")));
    }
    site.ask("reload").await.expect(0);
    site.ask("deploy prod version=2.0.0").await.expect(0);
    site.ask("lock prod.web for 2h because a test of web01").await.expect(0);
    site.ask("downtime web01 for 2h because a test of web01").await.expect(0);
    let document: Value = serde_json::from_str(&rollcall::door::api::document()).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let reads = paths.filter(|(_, verbs)| verbs.get("get").is_some()).map(|(path, _)| filled(path));
    // The help names hosts of its own.
    let reads: Vec<String> = reads.filter(|path| !path.contains('{') && path != "/v1/help").collect();
    for who in ["lia", "lou"] {
        let api = Forward::open(&site, who).await;
        let mut answered = BTreeSet::new();
        for path in &reads {
            let reply = api.get(path).await;
            let text = format!("{}{}", reply.headers, reply.body);
            assert!(!text.contains("web01") && !text.contains("prod.web"), "{who} {path}: {text}");
            if reply.status == 200 {
                answered.insert(path.as_str());
            }
        }
        assert!(answered.contains("/v1/hosts") && answered.contains("/v1/runs"), "{answered:?}");
        assert!(!answered.contains("/v1/runs/1"), "{answered:?}");
    }
}
