//! What `rollcall check-config` finds beyond mistakes of syntax, on directories as operators leave them.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rollcall::config::{Config, Diagnostic, from_texts};

use crate::support::write;

const HOSTS: (&str, &str) = ("hosts/prod.toml", "[web]\nhosts = [\"web1\", \"web2\"]\nchecks = \"http\"\n");
const CHECKS: (&str, &str) =
    ("checks/http.toml", "[[check]]\nname = \"serves\"\nrun = \"test {{ version }} = {{ color }}\"\n");
const STEP: &str = "[[steps]]\nname = \"s\"\n";

fn read(files: &[(&str, &str)]) -> Result<Config, String> {
    let texts: BTreeMap<String, Arc<str>> =
        files.iter().map(|(path, text)| (path.to_string(), Arc::from(*text))).collect();
    from_texts(Path::new("/etc/rollcall"), &texts).map_err(|wrong| wrong.to_string())
}

fn mistakes(files: &[(&str, &str)]) -> String {
    read(files).expect_err("a mistake")
}

fn warnings(files: &[(&str, &str)]) -> String {
    let config = read(files).unwrap_or_else(|wrong| panic!("{wrong}"));
    config.warnings.iter().map(|one| format!("{}\n", one.in_one_line())).collect()
}

#[test]
fn a_task_for_hosts_that_no_file_has_is_a_mistake() {
    let task = |hosts: &str| format!("hosts = \"{hosts}\"\n{STEP}run = \"true\"\n");
    for (hosts, wanted) in [
        ("wbe", "error: `hosts`: no file of hosts/ has `wbe`: no group or host is called `wbe`"),
        ("web:!web[1-2]", "`web:!web[1-2]` selects no host"),
        ("@canary", "`@canary`"),
    ] {
        let said = mistakes(&[HOSTS, ("tasks/t.toml", &task(hosts))]);
        assert!(said.contains(wanted) && said.contains("tasks/t.toml:1:9"), "{said}");
    }
    for hosts in ["web", "web1", "prod.web", "web*", "all"] {
        read(&[HOSTS, CHECKS, ("tasks/t.toml", &task(hosts))])
            .unwrap_or_else(|wrong| panic!("{hosts}: {wrong}"));
    }
}

#[test]
fn a_release_whose_checks_need_another_parameter_is_warned_of() {
    let task = |params: &str| {
        format!(
            "{params}[rollout]\n{STEP}link = {{ from = \"/r/{{{{ host.name }}}}\", at = \"/current\" }}\n"
        )
    };
    let said = |params: &str| warnings(&[HOSTS, CHECKS, ("tasks/t.toml", &task(params))]);
    let both = "params.version = {}\nparams.color = {}\n";
    assert!(!said(both).contains("uses `"), "{}", said(both));
    let one = said("params.version = {}\n");
    let wanted = "tasks/t.toml: check `http/serves` of web1 uses `color`, and the task has no parameter of that name; \
                  write params.color = {}, or a var `color` of the host; until then no plan can be made";
    assert!(one.contains(wanted), "{one}");
    let restart = format!("[rollout]\n{STEP}run = \"true\"\n");
    let no_release = warnings(&[HOSTS, CHECKS, ("tasks/t.toml", &restart)]);
    assert!(!no_release.contains("uses `"), "the checks expect the present release: {no_release}");
}

#[test]
fn words_of_other_programs_are_answered_with_ours() {
    for (written, wanted) in [
        ("copy = {}", "a step has no key `copy`; in rollcall that is `upload`"),
        ("run = \"x\"\nbecome = true", "a step has no key `become`; in rollcall that is `sudo`"),
        ("run = \"x\"\nbecome_user = \"app\"", "in rollcall that is sudo = \"USER\""),
        ("shell = \"x\"", "a step has no key `shell`; in rollcall that is `run`"),
        ("run = \"x\"\ndelegate_to = \"lb1\"", "a step has no key `delegate_to`; in rollcall that is `on`"),
        ("run = \"x\"\nignore_errors = true", "in rollcall that is `warn_only`"),
        ("template = {}", "in rollcall that is upload with template = true"),
        ("run = \"x\"\nwith_items = []", "in rollcall that is `loop`"),
        ("run = \"x\"\nchdir = \"/srv\"", "in rollcall that is `in`"),
        ("run = \"x\"\ntimeot = \"1s\"", "a step has no key `timeot`; did you mean `timeout`?"),
    ] {
        let said = mistakes(&[HOSTS, ("tasks/t.toml", &format!("{STEP}{written}\n"))]);
        assert!(said.contains(wanted), "{written}: {said}");
    }
    let said = mistakes(&[HOSTS, ("tasks/t.toml", "tasks = []\n")]);
    assert!(said.contains("a task has no key `tasks`; in rollcall that is [[steps]]"), "{said}");
    let said = mistakes(&[("hosts/prod.toml", "[web]\nhosts = \"web1\"\nremote_user = \"x\"\n")]);
    assert!(said.contains("group `web` has no key `remote_user`; in rollcall that is `login`"), "{said}");
}

#[test]
fn one_machine_has_one_address_and_one_name() {
    let two =
        "[web.hosts]\nweb1 = { address = \"192.0.2.1\" }\n[db.hosts]\nweb1 = { address = \"192.0.2.2\" }\n";
    let said = mistakes(&[("hosts/prod.toml", two)]);
    assert!(said.contains("error: host `web1` has two addresses: 192.0.2.1 and 192.0.2.2"), "{said}");
    assert!(said.contains("hosts/prod.toml:4:1"), "{said}");
    let same = "[web.hosts]\nweb1 = { address = \"192.0.2.1\" }\nweb2 = { address = \"192.0.2.1\" }\n";
    let said = warnings(&[("hosts/prod.toml", same)]);
    assert!(said.contains("web1 and web2 have one address: 192.0.2.1 port 22"), "{said}");
    let ports =
        "[web.hosts]\nweb1 = { address = \"192.0.2.1\" }\nweb2 = { address = \"192.0.2.1\", port = 23 }\n";
    let said = warnings(&[("hosts/prod.toml", ports)]);
    assert!(!said.contains("have one address"), "{said}");
    let again = "[web.hosts]\nweb1 = { address = \"192.0.2.1\" }\n[db.hosts]\nweb1 = {}\n";
    let said = warnings(&[("hosts/prod.toml", again)]);
    assert!(!said.contains("address"), "{said}");
}

#[test]
fn a_private_key_among_the_operators_is_never_quoted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).output();
    assert!(made.unwrap().status.success());
    let key = std::fs::read_to_string(&path).unwrap();
    let body = key.lines().nth(1).unwrap();
    let first_line_lost = key.lines().skip(1).collect::<Vec<_>>().join("\n");
    let header_lost = key.lines().skip(2).collect::<Vec<_>>().join("\n");
    let other_header = format!("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n{header_lost}");
    for text in [
        key.as_str(),
        &format!("role=\"admin\" {key}"),
        &first_line_lost,
        &header_lost,
        &other_header,
        &format!("# bob\n\n{key}\nnonsense\n"),
    ] {
        let said = mistakes(&[HOSTS, ("operators", text)]);
        assert!(said.contains("error: the file holds a private key, or a part of one"), "{said}");
        assert!(said.contains("make a new key"), "{said}");
        let quoted = text.lines().filter(|line| line.len() > 8).any(|line| said.contains(line));
        assert!(!quoted && !said.contains(&body[..12]), "{said}");
    }
}

fn check_config(dir: &Path) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_rollcall")).arg("check-config").arg(dir).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn a_directory_is_compared_with_what_lies_beside_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for (path, text) in [
        HOSTS,
        ("hosts/stage.yml", "all:\n"),
        ("hosts/README.md", "notes\n"),
        ("hosts/group_vars/x.yml", "a: 1\n"),
        ("inventory.ini", "[web]\n"),
        ("tasks/old.yaml", "- hosts: all\n"),
        ("files/app.conf", "x\n"),
        ("checks/http.toml", "[[check]]\nname = \"p\"\nplugin = { upload = \"check_app\" }\n"),
        (
            "tasks/t.toml",
            "params.v = {}\n[[steps]]\nname = \"a\"\nupload = { from = \"ap.conf\", to = \"/a\" }\n\
             [[steps]]\nname = \"b\"\nupload = { from = \"app-{{ v }}.tgz\", to = \"/b\" }\n\
             [[steps]]\nname = \"c\"\nupload = { from = \"app.conf\", to = \"/c\" }\n\
             [[steps]]\nname = \"d\"\nupload = { from = \"site/\", to = \"/d\" }\n",
        ),
    ] {
        write(&root.join(path), text);
    }
    let (status, said) = check_config(root);
    assert_eq!(status, 0, "{said}");
    for wanted in [
        "warning: the file is ignored: hosts/ holds files that end in .toml\n--> hosts/stage.yml",
        "warning: the directory is ignored: files of hosts/ are read alone\n--> hosts/group_vars",
        "warning: the file is ignored: hosts are in hosts/*.toml\n--> inventory.ini",
        "warning: the file is ignored: tasks/ holds files that end in .toml\n--> tasks/old.yaml",
        "warning: step `a`: files/ap.conf: does not exist; did you mean `app.conf`?\n--> tasks/t.toml",
        "warning: step `d`: files/site: no such file or directory",
        "warning: check `p`: files/check_app: does not exist",
        "warning: no operator is known, so no one can log in\n--> operators",
        "warning: [fleet] has no `identity`, `agent` or `certificates`",
        "configuration OK: 2 hosts, 1 task, 1 check, 0 operators",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    assert!(!said.contains("README") && !said.contains("step `b`") && !said.contains("step `c`"), "{said}");
}

#[test]
fn keys_that_no_connection_could_use_are_mistakes() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    write(&root.join(HOSTS.0), HOSTS.1.replace("checks = \"http\"\n", "").as_str());
    write(&root.join("rollcall.toml"), "[fleet]\nidentity = [\"gone\", \"open\", \"locked\", \"good\"]\n");
    for (name, phrase) in [("open", ""), ("locked", "secret"), ("good", "")] {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", phrase, "-f"]).arg(root.join(name));
        assert!(command.output().unwrap().status.success());
    }
    std::fs::set_permissions(root.join("open"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let (status, said) = check_config(root);
    assert_eq!(status, 1, "{said}");
    for wanted in [
        "gone: No such file or directory",
        "open: others can read it; try: chmod 600",
        "locked: it has a passphrase; try: an agent ([fleet] agent)",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    assert!(!said.contains("good:"), "{said}");
}

#[test]
fn a_warning_takes_one_line_of_a_log() {
    let config = read(&[HOSTS, ("checks/http.toml", "[[check]]\nname = \"c\"\nrun = \"true\"\n")]).unwrap();
    let lines: Vec<String> = config.warnings.iter().map(Diagnostic::in_one_line).collect();
    let wanted = "operators: no operator is known, so no one can log in; write a file `operators`: role=\"admin\" and the \
                  line of your id_ed25519.pub; see keys.example";
    assert_eq!(lines, [wanted]);
}
