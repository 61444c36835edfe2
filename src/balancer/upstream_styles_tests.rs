//! How people write upstream blocks.

use super::*;

/// A style, a text, and the same with the member `x` at `10.0.0.1:80` out.
const STYLES: [[&str; 3]; 11] = [
    [
        "a brace on the next line",
        "upstream app\n{\n  server 10.0.0.1:80;\n  server y;\n}\n",
        "upstream app\n{\n  server 10.0.0.1:80 down; # rollcall:x\n  server y;\n}\n",
    ],
    [
        "tabs and CRLF",
        "upstream app {\r\n\tserver\t10.0.0.1:80\tweight=2 ;\t# a\r\n\tserver y;\r\n}\r\n",
        "upstream app {\r\n\tserver\t10.0.0.1:80\tweight=2 down ;\t# a # rollcall:x\r\n\tserver y;\r\n}\r\n",
    ],
    [
        "all on one line",
        "upstream app { server y; server 10.0.0.1:80; server z; } server { listen 1; }",
        "upstream app { server y; server 10.0.0.1:80 down; server z; } server { listen 1; } # rollcall:x",
    ],
    [
        "over several lines",
        "upstream app {\nserver # first;\n 10.0.0.1:80\n max_fails=3 # {\n ;server y;\n}",
        "upstream app {\nserver # first;\n 10.0.0.1:80\n max_fails=3 down # {\n ;server y; # rollcall:x\n}",
    ],
    [
        "in quotes",
        "upstream \"app\" {server \"10.0.0.1:80\" 'weight=2'; server y;}",
        "upstream \"app\" {server \"10.0.0.1:80\" 'weight=2' down; server y;} # rollcall:x",
    ],
    [
        "without a port",
        "upstream app { server 10.0.0.1; server y;\n}",
        "upstream app { server 10.0.0.1 down; server y; # rollcall:x\n}",
    ],
    [
        "a text over lines behind it",
        "upstream app { server y; server 10.0.0.1; } log_format a \"#\n;}\"; # b",
        "upstream app { server y; server 10.0.0.1 down; } log_format a \"#\n;}\"; # b # rollcall:x",
    ],
    [
        "no newline at the end of a fragment",
        "server y;\nserver 10.0.0.1:80 backup;",
        "server y;\nserver 10.0.0.1:80 backup down; # rollcall:x",
    ],
    [
        "twice, and in another block",
        "stream { upstream app {\nserver 10.0.0.1:80;\nserver 10.0.0.1:80;\nserver y;\n} }\n\
         http { upstream app {\nserver 10.0.0.1:80;\nserver y;\n} }",
        "stream { upstream app {\nserver 10.0.0.1:80 down; # rollcall:x\nserver 10.0.0.1:80 down; # rollcall:x\n\
         server y;\n} }\nhttp { upstream app {\nserver 10.0.0.1:80 down; # rollcall:x\nserver y;\n} }",
    ],
    [
        "an old block in comments",
        "# upstream app {\n#  server 10.0.0.1:80;\n# }\nupstream app { server 10.0.0.1:80; server y;\n}",
        "# upstream app {\n#  server 10.0.0.1:80;\n# }\n\
         upstream app { server 10.0.0.1:80 down; server y; # rollcall:x\n}",
    ],
    [
        "a Lua program before it",
        "init_by_lua_block { local a = '}' -- upstream {\n }\nupstream app { server 10.0.0.1:80; server y;\n}",
        "init_by_lua_block { local a = '}' -- upstream {\n }\n\
         upstream app { server 10.0.0.1:80 down; server y; # rollcall:x\n}",
    ],
];

#[test]
fn every_style_comes_back_byte_for_byte() {
    let x = [member("x", "10.0.0.1:80")];
    for [style, text, wanted] in STYLES {
        let out = edit(text, NginxStyle::Down, Direction::Out, &x);
        let out = out.unwrap_or_else(|why| panic!("{style}: {why}"));
        assert_eq!((out.text.as_str(), out.foreign, out.already), (wanted, vec![], vec![]), "{style}");
        assert_eq!(view(wanted, &x).rotation(&"x".into()), Rotation::Out, "{style}");
        for way in [NginxStyle::Down, NginxStyle::Comment] {
            let out = edit(text, way, Direction::Out, &x).unwrap();
            let again = edit(&out.text, way, Direction::Out, &x).unwrap();
            assert_eq!((&again.text, again.already.len()), (&out.text, 1), "{style}");
            let back = edit(&out.text, way, Direction::In, &x).unwrap();
            assert_eq!((back.text.as_str(), back.foreign), (text, vec![]), "{style}");
        }
    }
}

#[test]
fn a_comment_is_made_only_of_a_line_that_has_nothing_else() {
    let x = [member("x", "10.0.0.1:80")];
    let text = "upstream app {\n\tserver\t10.0.0.1 weight=2;  # a\n server y; }";
    let out = edit(text, NginxStyle::Comment, Direction::Out, &x).unwrap().text;
    assert_eq!(out, "upstream app {\n\t#server\t10.0.0.1 weight=2;  # a # rollcall:x\n server y; }");
    let text = "upstream app {\n server 10.0.0.1; server y; }";
    let out = edit(text, NginxStyle::Comment, Direction::Out, &x).unwrap().text;
    assert_eq!(out, "upstream app {\n server 10.0.0.1 down; server y; } # rollcall:x");
}

#[test]
fn an_address_is_known_in_every_form() {
    let table = [
        ("10.0.0.1", "10.0.0.1:80"),
        ("App.Example.com:8080", "app.example.com:8080"),
        ("[0:0::1]:443", "[::1]:443"),
        ("[::1]", "[::1]:80"),
        ("unix:/run/App.sock", "unix:/run/App.sock"),
        ("UNIX:/run/App.sock", "unix:/run/App.sock"),
        ("app", "app:80"),
    ];
    for (written, wanted) in table {
        assert_eq!(endpoint(written), wanted, "{written}");
    }
    let text = "upstream a { server \"[0:0::1]\"; server y; }";
    assert!(edit(text, NginxStyle::Down, Direction::Out, &[member("x", "[::1]:80")]).is_ok());
}

#[test]
fn two_servers_of_one_line_are_told_apart() {
    let text = "upstream app { server a; server b; server c; }\n";
    let (a, b) = ([member("h1", "a:80")], [member("h2", "b:80")]);
    let out =
        |text: &str, members: &[Member]| edit(text, NginxStyle::Down, Direction::Out, members).unwrap().text;
    let one = out(text, &a);
    assert_eq!(one, "upstream app { server a down; server b; server c; } # rollcall:h1\n");
    // A colleague takes the other one out: that is theirs.
    let foreign = one.replace("server b;", "server b down;");
    let edited = edit(&foreign, NginxStyle::Down, Direction::Out, &b).unwrap();
    assert_eq!((edited.text.as_str(), edited.foreign), (foreign.as_str(), vec![HostName::from("h2")]));
    let both = out(&one, &b);
    assert_eq!(
        both,
        "upstream app { server a down; server b down; server c; } # rollcall:h1 # rollcall:h2\n"
    );
    let back = edit(&both, NginxStyle::Down, Direction::In, &a).unwrap().text;
    assert_eq!(back, "upstream app { server a; server b down; server c; } # rollcall:h2\n");
    assert_eq!(edit(&back, NginxStyle::Down, Direction::In, &b).unwrap().text, text);
}

#[test]
fn text_behind_a_mark_stays_a_comment() {
    let text = "upstream a {\n server x:1 down; # rollcall:x ticket 5\n server y:1;\n}";
    let back = edit(text, NginxStyle::Down, Direction::In, &[member("x", "x:1")]).unwrap().text;
    assert_eq!(back, "upstream a {\n server x:1; # ticket 5\n server y:1;\n}");
}

#[test]
fn a_backup_server_is_no_capacity() {
    let text = "upstream a {\n server x:1;\n server y:1 backup;\n}";
    let take = |server: &str| edit(text, NginxStyle::Down, Direction::Out, &[member("h", server)]);
    assert!(take("x:1").unwrap_err().contains("leave 0 of 1 servers"));
    assert!(take("y:1").is_ok());
    let view = view(text, &[member("h", "x:1")]);
    assert_eq!((view.serving, view.total), (1, 1));
}

#[test]
fn only_the_upstreams_that_are_named_are_changed_and_all_of_them() {
    let text = "upstream app {\n server x:1;\n server y:1;\n}\nupstream api {\n server x:1;\n server y:1;\n}\n\
                upstream own {\n server x:1;\n}";
    let take = |names: &[&str], server: &str| {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        ordered(text, Order { upstreams: &names, ..ORDER }, &[member("h", server)])
    };
    let out = take(&["app", "api"], "x:1").unwrap().text;
    assert_eq!(out, text.replacen("server x:1;", "server x:1 down; # rollcall:h", 2));
    let why = take(&["app", "own"], "y:1").unwrap_err();
    assert_eq!(why, "the upstream `own` has no line `server y:1` for h");
    let why = take(&["app", "apo"], "y:1").unwrap_err();
    assert_eq!(why, "no upstream block is called `apo`; did you mean `api`?");
}

#[test]
fn includes_of_an_upstream_are_followed() {
    let file = |path: &str, text: &str| NginxFile { path: path.into(), text: text.into() };
    let root = "upstream app { least_conn; include 'app.d/*.conf'; include own.conf; }\n\
                server { include site.conf; }";
    let mut sources = NginxFiles { files: vec![file("app.conf", root)], included: BTreeMap::new() };
    let missing = sections(&sources).missing;
    assert_eq!(missing.iter().map(String::as_str).collect::<Vec<_>>(), ["app.d/*.conf", "own.conf"]);
    sources.files.push(file("app.d/1.conf", "server a;\ninclude app.conf;\n"));
    sources.files.push(file("app.d/2.conf", "server b;"));
    sources.included.insert("app.d/*.conf".into(), vec![1, 2]);
    sources.included.insert("own.conf".into(), vec![]);
    sources.included.insert("app.conf".into(), vec![0]);
    let edited = super::super::edit(&sources, ORDER, &[member("h", "b:80")]).unwrap();
    assert_eq!(edited.files, BTreeMap::from([(2, b"server b down; # rollcall:h".to_vec())]));
    let both = [member("g", "a:80"), member("h", "b:80")];
    let why = super::super::edit(&sources, ORDER, &both).unwrap_err();
    assert!(why.contains("0 of 2 servers of the upstream `app`"), "{why}");
    // A file of servers alone, as the configured file.
    let part = "server a;\nserver b;\n";
    let out = edit(part, NginxStyle::Down, Direction::Out, &[member("h", "b:80")]).unwrap().text;
    assert_eq!(out, "server a;\nserver b down; # rollcall:h\n");
}

#[test]
fn what_no_upstream_has_is_explained() {
    let take = |text: &str| edit(text, NginxStyle::Down, Direction::Out, &[member("h", "a:1")]).unwrap_err();
    assert!(take("\u{feff}upstream a { server a:1; }").contains("byte order mark"));
    assert!(take("http { include conf.d/*; }").ends_with("as `config` the file that has it"));
}

#[test]
fn bytes_of_any_encoding_stay() {
    let text = b"# caf\xe9\nupstream a { # \xff\n server x:1; # \xe9\n server y:1;\n}";
    let edited = super::super::edit(&one_file(text), ORDER, &[member("x", "x:1")]).unwrap();
    let wanted =
        b"# caf\xe9\nupstream a { # \xff\n server x:1 down; # \xe9 # rollcall:x\n server y:1;\n}".to_vec();
    assert_eq!(edited.files[&0], wanted);
}

/// Pieces of an upstream block.
const PIECES: [&str; 15] = [
    "server x:1;",
    "server\tx:1 weight=2 ;",
    "server \"x:1\"\n backup;",
    "server x:1 # b\n;",
    "server y;",
    "server z down;",
    "#server x:1;",
    "# a ; }",
    "zone a 1k;",
    "include a;",
    "\n",
    "\r\n",
    " ",
    "\t",
    "a 'b\n}' ;",
];

proptest::proptest! {
    #[test]
    fn any_text_survives(text in "[a-z0-9 {};#\"\n:.]{0,200}") {
        let _ = edit(&text, NginxStyle::Down, Direction::Out, &[member("x", "x:1")]);
    }

    #[test]
    fn out_and_in_again_gives_the_same_bytes(
        pieces in proptest::collection::vec(proptest::sample::select(PIECES.to_vec()), 0..12),
        comment: bool,
    ) {
        let text = format!("upstream a {{{}\nserver q;}}", pieces.concat());
        let style = if comment { NginxStyle::Comment } else { NginxStyle::Down };
        let x = [member("x", "x:1")];
        if let Ok(out) = ordered(&text, Order { style, floor: Floor::Servers(0), ..ORDER }, &x) {
            proptest::prop_assert_eq!(view(&out.text, &x).rotation(&"x".into()), Rotation::Out);
            proptest::prop_assert_eq!(edit(&out.text, style, Direction::In, &x).unwrap().text, text);
        }
    }
}
