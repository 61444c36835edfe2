//! Upstream blocks in every style.

use super::*;
use crate::balancer::sections::NginxFile;
use crate::domain::plan::plan::Seat;

const CONFIG: &str = "\
events {}
http {
  upstream app {
    zone app 64k;
    server 10.0.0.1:8080 weight=2;   # first
    server 10.0.0.11:8080;
    # server 10.0.0.3:8080;
    server 10.0.0.2:8080 down;
  }
  server { listen 80; location / { proxy_pass http://app; } }
}
";

fn member(host: &str, server: &str) -> Member {
    let seat = Seat { balancer: "prod.web".into(), server: server.into() };
    Member { host: host.into(), seat, ours: false }
}

/// One file before or after an edit.
#[derive(Debug, PartialEq)]
struct Edited {
    text: String,
    foreign: Vec<HostName>,
    already: Vec<HostName>,
}

const ORDER: Order<'_> =
    Order { style: NginxStyle::Down, direction: Direction::Out, floor: Floor::Servers(1), upstreams: &[] };

fn one_file(text: &[u8]) -> NginxFiles {
    let file = NginxFile { path: "/etc/nginx/app.conf".into(), text: text.to_vec() };
    NginxFiles { files: vec![file], included: BTreeMap::new() }
}

/// [`super::edit`] of one file with an order.
fn ordered(text: &str, order: Order<'_>, members: &[Member]) -> Result<Edited, String> {
    let super::Edited { mut files, foreign, already } =
        super::edit(&one_file(text.as_bytes()), order, members)?;
    let text = String::from_utf8(files.remove(&0).expect("the file")).expect("UTF-8");
    Ok(Edited { text, foreign, already })
}

/// The same with the default floor, without `min_in_service`.
fn edit(text: &str, style: NginxStyle, direction: Direction, members: &[Member]) -> Result<Edited, String> {
    ordered(text, Order { style, direction, ..ORDER }, members)
}

fn view(text: &str, members: &[Member]) -> BalancerView {
    super::view(&one_file(text.as_bytes()), ORDER, members)
}

fn out(style: NginxStyle, members: &[Member]) -> Result<Edited, String> {
    edit(CONFIG, style, Direction::Out, members)
}

#[test]
fn exactly_the_addressed_line_changes() {
    let edited = out(NginxStyle::Down, &[member("web1", "10.0.0.1:8080")]).unwrap();
    let wanted = CONFIG.replace(
        "10.0.0.1:8080 weight=2;   # first",
        "10.0.0.1:8080 weight=2 down;   # first # rollcall:web1",
    );
    assert_eq!(edited, Edited { text: wanted, foreign: vec![], already: vec![] });
    let edited = out(NginxStyle::Comment, &[member("web11", "10.0.0.11:8080")]).unwrap();
    assert_eq!(
        edited.text,
        CONFIG.replace("server 10.0.0.11:8080;", "#server 10.0.0.11:8080; # rollcall:web11")
    );
}

#[test]
fn taking_out_and_putting_back_gives_the_same_bytes() {
    for style in [NginxStyle::Down, NginxStyle::Comment] {
        for config in [CONFIG.to_string(), CONFIG.replace('\n', "\r\n")] {
            let members = [member("web1", "10.0.0.1:8080")];
            let once = edit(&config, style, Direction::Out, &members).unwrap().text;
            let twice = edit(&once, style, Direction::Out, &members).unwrap().text;
            assert_eq!(once, twice);
            let back = edit(&once, style, Direction::In, &members).unwrap().text;
            assert_eq!(back, config);
            assert_eq!(edit(&back, style, Direction::In, &members).unwrap().text, back);
        }
    }
}

#[test]
fn what_somebody_else_took_out_is_left_so() {
    let members = [member("web2", "10.0.0.2:8080"), member("web3", "10.0.0.3:8080")];
    let edited = out(NginxStyle::Down, &members).unwrap();
    assert_eq!(edited.text, CONFIG);
    assert_eq!(edited.foreign, [HostName::from("web2"), HostName::from("web3")]);
    let gone = [member("web2", "10.0.0.2:8080"), member("web9", "10.0.0.9:8080")];
    let back = edit(CONFIG, NginxStyle::Down, Direction::In, &gone).unwrap();
    assert_eq!(back.text, CONFIG);
    assert_eq!(back.foreign, [HostName::from("web2"), HostName::from("web9")]);
}

#[test]
fn what_cannot_be_done_safely_is_refused() {
    let error = out(NginxStyle::Down, &[member("web9", "10.0.0.9:8080")]).unwrap_err();
    assert_eq!(error, "no upstream block has a line `server 10.0.0.9:8080` for web9");
    let both = [member("web1", "10.0.0.1:8080"), member("web11", "10.0.0.11:8080")];
    let error = out(NginxStyle::Down, &both).unwrap_err();
    assert_eq!(
        error,
        "this would leave 0 of 3 servers of the upstream `app` in service, and 1 have to stay; \
         try: smaller batches (serial)"
    );
    // A `server` outside of upstream blocks is a different directive.
    for text in
        ["server { listen 1; server x:1; }", "map $a $b { server x:1; }", "http { types { server x:1; } }"]
    {
        let error = edit(text, NginxStyle::Down, Direction::Out, &[member("x", "x:1")]).unwrap_err();
        assert_eq!(error, "no upstream block has a line `server x:1` for x", "{text}");
    }
}

#[test]
fn an_old_line_kept_as_a_comment_is_only_a_comment() {
    let twin = "upstream a {\n # server x:1 weight=5;\n server x:1;\n server y:1;\n}\nupstream b {\n server x:1 down;\n server y:1;\n}";
    let out = edit(twin, NginxStyle::Down, Direction::Out, &[member("x", "x:1")]).unwrap();
    assert_eq!(out.text, twin.replace(" server x:1;", " server x:1 down; # rollcall:x"));
    assert_eq!((out.foreign, out.already), (vec![], vec![]));
    let back = edit(&out.text, NginxStyle::Down, Direction::In, &[member("x", "x:1")]).unwrap();
    assert_eq!((back.text.as_str(), back.foreign), (twin, vec![]));
}

#[test]
fn what_an_earlier_run_took_out_is_known_as_such() {
    let once = out(NginxStyle::Down, &[member("web1", "10.0.0.1:8080")]).unwrap();
    assert_eq!(once.already, Vec::<HostName>::new());
    let again =
        edit(&once.text, NginxStyle::Down, Direction::Out, &[member("web1", "10.0.0.1:8080")]).unwrap();
    assert_eq!((again.already, again.foreign), (vec![HostName::from("web1")], vec![]));
}

#[test]
fn an_upstream_that_is_down_as_a_whole_is_not_our_business() {
    let text = format!("{CONFIG}upstream other {{\n server z:1 down;\n}}\n");
    assert!(edit(&text, NginxStyle::Down, Direction::Out, &[member("web1", "10.0.0.1:8080")]).is_ok());
}

#[test]
fn a_line_put_back_by_hand_is_taken_out_again_with_one_mark() {
    let by_hand = "upstream a {\n server x:1; # rollcall:x\n server y:1;\n}";
    let edited = edit(by_hand, NginxStyle::Down, Direction::Out, &[member("x", "x:1")]).unwrap();
    assert_eq!(edited.text, "upstream a {\n server x:1 down; # rollcall:x\n server y:1;\n}");
}

#[test]
fn the_floor_holds_in_each_upstream() {
    let text = "upstream a {\n server w:1;\n server x:1;\n server y:1;\n}\nupstream b {\n server x:1;\n server z:1 down;\n}";
    let take = |server: &str, floor: Floor| ordered(text, Order { floor, ..ORDER }, &[member("h", server)]);
    assert!(take("w:1", Floor::Percent(66)).is_ok());
    assert!(take("w:1", Floor::Percent(67)).unwrap_err().contains("2 of 3 servers of the upstream `a`"));
    assert!(take("x:1", Floor::default()).unwrap_err().contains("0 of 2 servers of the upstream `b`"));
    assert!(take("x:1", Floor::Servers(0)).is_ok());
}

#[test]
fn an_inspection_reads_the_file() {
    let once = out(NginxStyle::Comment, &[member("web1", "10.0.0.1:8080")]).unwrap().text;
    let members = [
        member("web1", "10.0.0.1:8080"),
        member("web11", "10.0.0.11:8080"),
        member("web2", "10.0.0.2:8080"),
        member("web9", "10.0.0.9:8080"),
    ];
    let view = view(&once, &members);
    let rotation = |host: &str| view.rotation(&host.into());
    assert_eq!(
        ["web1", "web11", "web2", "web9"].map(rotation),
        [Rotation::Out, Rotation::In, Rotation::Out, Rotation::Unknown]
    );
    // A comment without a mark is not a server.
    assert_eq!((view.serving, view.total), (1, 3));
    let note = |host: &str| view.hosts[host].note.as_str();
    assert_eq!(note("web1"), "taken out by rollcall, as the file says");
    assert_eq!(note("web2"), "taken out by hand, as the file says");
}

#[path = "upstream_styles_tests.rs"]
mod styles;
