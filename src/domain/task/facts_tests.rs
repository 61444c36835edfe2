//! Parsing a host's answer, and answers that make no sense.

use serde_json::json;

use super::*;

fn parse(lines: &str) -> Facts {
    Facts::parse(&format!("Welcome!\nfacts begin\n{lines}\nfacts end\n")).unwrap()
}

#[test]
fn an_answer_is_read_whole() {
    let facts = parse(
        "system Linux\nmachine x86_64\nkernel_release 6.1.0-18-amd64\nhostname web01\nfqdn web01.example.com\n\
         release PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nrelease NAME=\"Debian GNU/Linux\"\n\
         release VERSION_ID=\"12\"\nrelease ID=debian\naddr 10.0.0.5\naddr fe80::1\naddr 127.0.0.1\naddr 10.0.0.5\n\
         addr 2001:db8::5\ndefault_addr 10.0.0.5\ndefault_addr 2001:db8::5\ncpus 4\nmemory_kb 8128000\nswap_kb 0\n\
         init systemd\npackage_manager apt\npython /usr/bin/python3\nvirtualization kvm\nboot_id 5c2a\n\
         uptime_s 77\nuser deploy\nshell /bin/bash\nsudo true\ndisk 4096 5242880 1310720 / /dev/vda1\n\
         disk 1024 2048 1024 /my /dev/disk with blanks",
    );
    let expected = json!({
        "os": "debian", "os_family": "debian", "os_version": "12", "os_name": "Debian GNU/Linux 12 (bookworm)",
        "arch": "x86_64", "arch_family": "x86_64", "kernel": { "name": "Linux", "release": "6.1.0-18-amd64" },
        "hostname": "web01", "fqdn": "web01.example.com", "address": "10.0.0.5",
        "addresses": ["10.0.0.5", "2001:db8::5"], "cpus": 4, "memory_mb": 7937, "swap_mb": 0,
        "disks": [
            { "mount": "/", "device": "/dev/vda1", "size_mb": 20480, "free_mb": 5120 },
            { "mount": "/my", "device": "/dev/disk with blanks", "size_mb": 2, "free_mb": 1 },
        ],
        "init": "systemd", "package_manager": "apt", "python": "/usr/bin/python3", "virtualization": "kvm",
        "boot_id": "5c2a", "uptime_s": 77, "user": "deploy", "sudo": true, "shell": "/bin/bash",
        "custom": {}, "custom_errors": {},
    });
    assert_eq!(facts.to_value(), expected);
    assert_eq!(serde_json::from_value::<Facts>(expected).unwrap(), facts);
}

#[test]
fn systems_are_of_their_families() {
    let os = |lines: &str| {
        let facts = parse(lines);
        [facts.os, facts.os_family, facts.os_version].map(Option::unwrap_or_default).join(" ")
    };
    let table = [
        ("system Linux\nrelease ID=alpine\nrelease VERSION_ID=3.20.1", "alpine alpine 3.20.1"),
        (
            "system Linux\nrelease ID=\"rocky\"\nrelease ID_LIKE=\"rhel centos\"\nrelease VERSION_ID='9.4'",
            "rocky redhat 9.4",
        ),
        ("system Linux\nrelease ID=pop\nrelease ID_LIKE=\"ubuntu debian\"", "pop debian "),
        ("system Linux\nrelease ID=opensuse-leap\nrelease ID_LIKE=\"suse opensuse\"", "opensuse-leap suse "),
        ("system FreeBSD\nrelease ID=freebsd\nrelease VERSION_ID=14.1", "freebsd freebsd 14.1"),
        ("system Darwin\nrelease VERSION_ID=14.5", "darwin darwin 14.5"),
        ("system Linux\nrelease ID=nixos", "nixos  "),
        ("system Linux", "  "),
        ("release PRETTY_NAME=\"a \\\"b\\\" \\\\ c\"", "  "),
    ];
    for (lines, wanted) in table {
        assert_eq!(os(lines), wanted, "{lines}");
    }
    assert_eq!(parse("release NAME=\"a \\\"b\\\" \\\\ c\"").os_name.as_deref(), Some("a \"b\" \\ c"));
    let machines =
        [("aarch64", "arm64"), ("amd64", "x86_64"), ("i686", "x86"), ("armv7l", "arm"), ("vax", "")];
    for (machine, family) in machines {
        assert_eq!(parse(&format!("machine {machine}")).arch_family.unwrap_or_default(), family, "{machine}");
    }
}

#[test]
fn nonsense_is_left_out() {
    let table = [
        "",
        "cpus",
        "cpus many",
        "cpus 0",
        "cpus -1",
        "memory_kb 1.5",
        "memory_kb 99999999999999999999999",
        "uptime_s now",
        "sudo perhaps",
        "addr nowhere",
        "addr 999.1.1.1",
        "default_addr ::",
        "python none",
        "disk",
        "disk 1 2 3",
        "disk a b c / /dev/x",
        "disk 4096 1 1 relative /dev/x",
        "disk 4096 1 1 / ",
        "disk 18446744073709551615 18446744073709551615 1 / /dev/x",
        "release",
        "release ID",
        "release ID=",
        "\u{1b}[2J",
        "os solaris",
        "custom {}",
        "= =",
        "system",
    ];
    for line in table {
        assert_eq!(parse(line), Facts::default(), "{line}");
    }
}

#[test]
fn an_answer_that_is_not_whole_is_none() {
    for text in
        ["", "facts begin\ncpus 4\n", "cpus 4\nfacts end", "facts end\nfacts begin", "command not found"]
    {
        assert!(Facts::parse(text).unwrap_err().contains("`facts end` is missing"), "{text}");
    }
    proptest::proptest!(|(text in "(facts begin|facts end|disk|addr|release|[a-z]+)?[ -~\n]{0,40}")| {
        let _ = Facts::parse(&text);
        let _ = Facts::parse(&format!("facts begin\n{text}\nfacts end"));
    });
}

#[test]
fn custom_facts_are_json_or_pairs() {
    let table = [
        ("{\"rack\": [1, null]}\n", Ok(json!({ "rack": [1, null] }))),
        (" 42 ", Ok(json!(42))),
        ("\"r12\"", Ok(json!("r12"))),
        ("# note\nrack = r12\nrole=db = x\n\n", Ok(json!({ "rack": "r12", "role": "db = x" }))),
        ("", Err("it printed nothing")),
        ("{\"rack\": ", Err("it printed neither JSON (EOF")),
        ("my rack=1", Err("it printed neither JSON")),
        ("hello", Err("it printed neither JSON")),
    ];
    for (text, wanted) in table {
        match (parse_custom(text), wanted) {
            (Ok(value), Ok(wanted)) => assert_eq!(value, wanted, "{text}"),
            (Err(why), Err(wanted)) => assert!(why.starts_with(wanted), "{text}: {why}"),
            (got, _) => panic!("{text}: {got:?}"),
        }
    }
}

#[test]
fn facts_that_no_host_has_are_told_with_the_nearest() {
    let custom = ["rack", "role"];
    let table = [
        ("arch", Ok(())),
        ("kernel.release", Ok(())),
        ("os.upper", Ok(())),
        ("custom", Ok(())),
        ("custom.rack.row", Ok(())),
        ("achr", Err("there is no fact `achr`; did you mean `facts.arch`?")),
        ("weather", Err("there is no fact `weather`")),
        ("custom.rakc", Err("no file in files/facts/ is called `rakc`; did you mean `facts.custom.rack`?")),
        ("kernel.version", Err("facts.kernel has no `version`; did you mean `facts.kernel.release`?")),
    ];
    for (path, wanted) in table {
        assert_eq!(check_path(path, custom.into_iter()), wanted.map_err(String::from), "{path}");
    }
    let all = Facts::default().to_value();
    let mut known: Vec<&str> = all.as_object().unwrap().keys().map(String::as_str).collect();
    let mut names = NAMES.to_vec();
    known.sort_unstable();
    names.sort_unstable();
    assert_eq!(known, names, "NAMES are the fields");
}
