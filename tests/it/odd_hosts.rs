//! Hosts as they are: other login shells, shells that talk at login, full disks, read-only file systems, floods of
//! output, and values that try to be commands.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::dropbear::Dropbear;
use crate::support::site::{Answer, Site};
use crate::support::sshd::Sshd;
use crate::support::{folder, give_to_account, read, write};

/// A host of its own, beside those of a site.
struct Odd {
    sshd: Sshd,
    dir: PathBuf,
}

impl Odd {
    /// A host whose sshd has further lines in its configuration.
    async fn start(site: &Site, name: &str, more: &str) -> Odd {
        let dir = site.dir.path().join(name);
        let sshd = Sshd::start_with(&dir, &site.dir.path().join("fleet.pub"), more).await;
        let root = dir.join("root");
        std::fs::create_dir(&root).unwrap();
        give_to_account(&root);
        Odd { sshd, dir: root }
    }
}

/// A site with these hosts in the group `odd`, and these tasks; the daemon runs.
async fn serve(site: &mut Site, hosts: &[(&str, &Odd)], tasks: &[(&str, &str)]) {
    let known = site.dir.path().join("state/known_hosts");
    let mut text = read(&known);
    let mut inventory = "[all.vars]\n[g.hosts]\n".to_string();
    for (name, odd) in hosts {
        text += &odd.sshd.known_hosts_line();
        let port = odd.sshd.address.port();
        let root = odd.dir.display();
        inventory += &format!("{name} = {{ address = \"127.0.0.1\", port = {port}, root = \"{root}\" }}\n");
    }
    write(&known, &text);
    write(&site.config.join("hosts/odd.toml"), &inventory);
    for (name, text) in tasks {
        write(&site.config.join(format!("tasks/{name}.toml")), text);
    }
    write(&site.config.join("files/motd"), "it's {{ host.name }} \\ !\n");
    site.start_daemon().await;
}

const EVERYTHING: &str = r#"
[[steps]]
name = "run"
run = '''
printf '%s\n' "it's a \\ backslash! and \$HOME" >said
echo "to stderr" >&2
'''
in = "{{ root }}"
[[steps]]
name = "guarded"
run = "touch made"
creates = "made"
in = "{{ root }}"
[[steps]]
name = "upload"
upload = { from = "motd", to = "{{ root }}/motd", template = true }
[[steps]]
name = "link"
link = { from = "motd", at = "{{ root }}/link it's" }
[[steps]]
name = "family"
run = "echo {{ facts.os_family }} >family"
in = "{{ root }}"
changed_when = false
"#;

fn ends_well(answer: &Answer, dir: &Path, name: &str) {
    assert_eq!(read(&dir.join("said")), "it's a \\ backslash! and $HOME\n", "{answer:#?}");
    assert_eq!(read(&dir.join("motd")), format!("it's {name} \\ !\n"));
    assert_eq!(std::fs::read_link(dir.join("link it's")).unwrap(), Path::new("motd"));
    assert_eq!(read(&dir.join("family")), "debian\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_shell_a_login_has_and_whatever_it_prints_steps_do_the_same() {
    let mut site = Site::without_daemon(1).await;
    let shell = |name: &str| format!("ForceCommand /usr/bin/{name} -c \"$SSH_ORIGINAL_COMMAND\"\n");
    let csh = Odd::start(&site, "csh1", &shell("csh")).await;
    let fish = Odd::start(&site, "fish1", &shell("fish")).await;
    let chatty =
        "ForceCommand echo Welcome; echo unchanged; echo beware >&2; exec sh -c \"$SSH_ORIGINAL_COMMAND\"\n";
    let chatty = Odd::start(&site, "chatty1", chatty).await;
    let hosts = [("csh1", &csh), ("fish1", &fish), ("chatty1", &chatty)];
    serve(&mut site, &hosts, &[("everything", EVERYTHING)]).await;
    let first = site.ask("everything odd").await.expect(0);
    for (name, odd) in hosts {
        ends_well(&first, &odd.dir, name);
    }
    let look = site.ask("everything odd --check").await.expect(0);
    for step in ["guarded", "upload", "link"] {
        assert!(look.out.contains(&format!("{step}: unchanged: chatty1,csh1,fish1\n")), "{look:#?}");
    }
    let again = site.ask("everything odd").await.expect(0);
    assert_eq!(again.out.matches("upload: unchanged").count(), 3, "{again:#?}");
    assert_eq!(again.out.matches("guarded: unchanged").count(), 3, "{again:#?}");
}

/// Values that would be commands, options or the end of something, were they not values.
const VALUES: [&str; 17] = [
    "a\u{e0f0}0\u{e0f1}b",
    "; touch INJECTED",
    "$(touch INJECTED)",
    "`touch INJECTED`",
    "a\ntouch INJECTED",
    "--help",
    "-rf",
    "it's",
    "\"",
    "\\",
    "\\n'",
    "*",
    "~",
    "\u{202e}txt.exe",
    "é\u{1}\u{7f}",
    "# no comment",
    "!! !x",
];

const PARAMETERS: &str = r#"
params.value = {}
[[steps]]
name = "bare"
run = "printf -- '%s' {{ value }} >bare"
in = "{{ root }}/{{ host.name }}"
[[steps]]
name = "double"
run = "printf -- '%s' \"{{ value }}\" >double"
in = "{{ root }}/{{ host.name }}"
[[steps]]
name = "single"
run = "printf -- '%s' '{{ value }}' >single"
in = "{{ root }}/{{ host.name }}"
[[steps]]
name = "environment"
run = "printf '%s' \"$VALUE\" >env"
env = { VALUE = "{{ value }}" }
in = "{{ root }}/{{ host.name }}"
[[steps]]
name = "template"
upload = { from = "value", to = "{{ root }}/{{ host.name }}/template", template = true }
[[steps]]
name = "link"
link = { from = "{{ value }}", at = "{{ root }}/{{ host.name }}/link" }
[[steps]]
name = "guards"
run = "false"
unless = "test x{{ value }} = x{{ value }}"
"#;

/// The words of a line as an operator would have to quote them.
fn param(value: &str) -> String {
    format!("values odd value={}", shell_words::quote(value))
}

#[tokio::test(flavor = "multi_thread")]
async fn values_arrive_as_they_are_whatever_is_in_them() {
    let mut site = Site::without_daemon(1).await;
    let shell = |name: &str| format!("ForceCommand /usr/bin/{name} -c \"$SSH_ORIGINAL_COMMAND\"\n");
    let plain = Odd::start(&site, "plain1", "").await;
    let csh = Odd::start(&site, "csh1", &shell("csh")).await;
    let fish = Odd::start(&site, "fish1", &shell("fish")).await;
    let hosts = [("plain1", &plain), ("csh1", &csh), ("fish1", &fish)];
    for (name, odd) in hosts {
        std::fs::create_dir(odd.dir.join(name)).unwrap();
        give_to_account(&odd.dir.join(name));
    }
    write(&site.config.join("files/value"), "{{ value }}");
    serve(&mut site, &hosts, &[("values", PARAMETERS)]).await;
    for value in VALUES {
        let answer = site.ask(&param(value)).await.expect(0);
        for (name, odd) in hosts {
            let dir = odd.dir.join(name);
            for file in ["bare", "double", "single", "env", "template"] {
                assert_eq!(read(&dir.join(file)), *value, "{file} on {name}: {answer:#?}");
            }
            assert_eq!(std::fs::read_link(dir.join("link")).unwrap(), Path::new(value), "{name}");
            assert!(!dir.join("INJECTED").exists(), "{value:?} was run on {name}");
        }
    }
}

const RANDOM: &str = r#"
[[steps]]
name = "bare"
run = "printf -- '%s' {{ item.text }} >bare{{ item.number }}"
in = "{{ root }}"
loop = "values"
[[steps]]
name = "double"
run = "printf '%s' \"$(printf -- '%s' \"{{ item.text }}\")\" >double{{ item.number }}"
in = "{{ root }}"
loop = "values"
[[steps]]
name = "environment"
run = "printf '%s' \"$V\" >env{{ item.number }}"
env = { V = "{{ item.text }}" }
in = "{{ root }}"
loop = "values"
[[steps]]
name = "link"
link = { from = "{{ item.text }}", at = "{{ root }}/link{{ item.number }}" }
loop = "values"
when = "item.text"
"#;

/// Any text but NUL and what rollcall keeps for itself, odd characters more often than others.
fn random_texts(count: usize) -> Vec<String> {
    use proptest::strategy::{Strategy, ValueTree};
    let odd = proptest::sample::select(
        "'\"\\`$!#*?~;&|<>(){}[]%^=\n\t -\u{1}\u{7f}é\u{202e}".chars().collect::<Vec<_>>(),
    );
    let any = proptest::char::range('\u{1}', '\u{d7ff}');
    let text = proptest::collection::vec(proptest::prop_oneof![3 => odd, 1 => any], 0..24);
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    (0..count).map(|_| text.new_tree(&mut runner).unwrap().current().into_iter().collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn random_texts_come_back_from_a_host_as_they_were() {
    let mut site = Site::without_daemon(1).await;
    let host = Odd::start(&site, "plain1", "").await;
    let texts = random_texts(30);
    let values: Vec<toml::Value> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let number = toml::Value::from(number as i64);
            toml::Value::Table(toml::Table::from_iter(
                [("number", number), ("text", toml::Value::from(text.as_str()))]
                    .map(|(name, value): (&str, toml::Value)| (name.to_string(), value)),
            ))
        })
        .collect();
    let vars = toml::to_string(&toml::Table::from_iter([("values".to_string(), toml::Value::from(values))]))
        .unwrap();
    let vars = vars.replace("[[values]]", "[[vars.values]]");
    serve(&mut site, &[("plain1", &host)], &[("random", &(RANDOM.to_string() + &vars))]).await;
    site.ask("random odd").await.expect(0);
    for (number, text) in texts.iter().enumerate() {
        // A shell takes the ends of lines at the end of what a command printed.
        let cut = text.trim_end_matches('\n');
        assert_eq!(read(&host.dir.join(format!("bare{number}"))), *text);
        assert_eq!(read(&host.dir.join(format!("double{number}"))), cut);
        assert_eq!(read(&host.dir.join(format!("env{number}"))), *text);
        if !text.is_empty() {
            assert_eq!(std::fs::read_link(host.dir.join(format!("link{number}"))).unwrap(), Path::new(text));
        }
    }
}

const FLOOD: &str = r#"
[[steps]]
name = "flood"
run = "head -c 100000000 /dev/zero | tr '\\0' 'x'; echo; echo the end"
[[steps]]
name = "no text"
run = "printf '\\377\\376 \\033[31mred\\033[0m\\n'"
register = "odd"
[[steps]]
name = "told"
run = "printf '%s' {{ odd.stdout }} >{{ root }}/told"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_and_bytes_that_are_no_text_do_no_harm() {
    let mut site = Site::without_daemon(1).await;
    let host = Odd::start(&site, "loud1", "").await;
    serve(&mut site, &[("loud1", &host)], &[("flood", FLOOD)]).await;
    let answer = site.ask("flood odd").await.expect(0);
    assert!(answer.out.contains("flood: ok"), "{}", &answer.out[answer.out.len().saturating_sub(2000)..]);
    assert!(!answer.out.contains('\u{1b}'), "no host steers the terminal");
    let shown = site.ask("show 1 --host loud1").await.expect(0);
    assert!(shown.out.len() < 200_000, "{} bytes are shown of a flood", shown.out.len());
    assert_eq!(read(&host.dir.join("told")), "\\xff\\xfe \u{1b}[31mred\u{1b}[0m");
}

/// A file system of its own, made by the test, and gone with it.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: &Path, options: &str) -> Mounted {
        std::fs::create_dir_all(at).unwrap();
        let args = ["-t", "tmpfs", "-o", options, "tmpfs"];
        let done = Command::new("mount").args(args).arg(at).stderr(Stdio::piped()).output().unwrap();
        assert!(
            done.status.success(),
            "this test mounts a tmpfs, as root: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        Mounted(at.to_path_buf())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_runs_no_programs_is_told_or_gone_around() {
    let mut site = Site::without_daemon(1).await;
    let home = site.dir.path().join("home");
    let _mounted = Mounted::new(&home, "size=1m,mode=1777,noexec");
    // The account has no home of its own.
    let forced =
        format!("ForceCommand HOME={0} TMPDIR={0} exec sh -c \"$SSH_ORIGINAL_COMMAND\"\n", home.display());
    let host = Odd::start(&site, "noexec1", &forced).await;
    serve(&mut site, &[("noexec1", &host)], &[]).await;
    let plugins = site.config.join("files/plugins");
    write(&plugins.join("script"), "#!/bin/sh -u\necho \"fine $1\"\n");
    write(&plugins.join("crlf"), "#!/bin/sh\r\necho fine\r\n");
    std::fs::copy("/bin/true", plugins.join("binary")).unwrap();
    write(&site.config.join("files/facts/colour"), "#!/usr/bin/env bash\necho '{\"colour\": \"red\"}'\n");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(site.config.join("files/facts/colour"), executable).unwrap();
    let checks: String = ["script", "crlf", "binary"]
        .map(|name| {
            format!(
                "[[check]]\nname = \"{name}\"\nplugin = {{ upload = \"plugins/{name}\", args = \"one\" }}\n"
            )
        })
        .concat();
    write(&site.config.join("checks/odd.toml"), &checks);
    let inventory = site.config.join("hosts/odd.toml");
    write(&inventory, &read(&inventory).replace("[all.vars]", "[all]\nchecks = [\"odd\"]\n[all.vars]"));
    site.ask("reload").await.expect(0);
    let answer = site.ask("check odd").await.expect(3);
    for (verdict, check, said) in [
        ("ok", "script", "fine one"),
        ("unknown", "crlf", "ends with a carriage return"),
        (
            "unknown",
            "binary",
            "which is mounted noexec; try: a script, or a program that is installed on the host",
        ),
    ] {
        let line = answer.out.lines().find(|line| line.contains(&format!("odd/{check}"))).unwrap();
        assert!(line.starts_with(verdict) && line.contains(said), "{answer:#?}");
    }
    let facts = site.ask("facts odd").await.expect(0);
    assert!(facts.out.contains("red"), "{facts:#?}");
}

const INTO: &str = r#"
params.dir = {}
[[steps]]
name = "upload"
upload = { from = "large", to = "{{ dir }}/large" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_and_a_read_only_one_are_told_and_leave_nothing_half() {
    let mut site = Site::without_daemon(1).await;
    let host = Odd::start(&site, "full1", "").await;
    let place = folder();
    let full = Mounted::new(&place.path().join("full"), "size=64k,mode=1777");
    let fixed = Mounted::new(&place.path().join("fixed"), "ro,size=64k,mode=1777");
    write(&site.config.join("files/large"), &"x".repeat(1024 * 1024));
    serve(&mut site, &[("full1", &host)], &[("into", INTO)]).await;
    let told = site.ask(&format!("into odd dir={}", full.0.display())).await.expect(2);
    assert!(told.out.contains("No space left on device"), "{told:#?}");
    assert_eq!(std::fs::read_dir(&full.0).unwrap().count(), 0, "nothing half is left");
    let told = site.ask(&format!("into odd dir={}", fixed.0.display())).await.expect(2);
    assert!(told.out.contains("Read-only file system"), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_dropbear_and_busybox_and_nothing_else_is_enough() {
    let mut site = Site::without_daemon(1).await;
    let small = Dropbear::start(&site.dir.path().join("small1"), &site.dir.path().join("fleet.pub")).await;
    let inventory = format!(
        "[g.hosts]\nsmall1 = {{ address = \"127.0.0.1\", port = {}, root = \"{}\" }}\n",
        small.address.port(),
        small.dir.display()
    );
    write(&site.config.join("hosts/odd.toml"), &inventory);
    let known = site.dir.path().join("state/known_hosts");
    write(&known, &(read(&known) + &small.known_hosts_line()));
    write(&site.config.join("tasks/everything.toml"), &(EVERYTHING.to_string() + SMALL));
    write(&site.config.join("files/motd"), "it's {{ host.name }} \\ !\n");
    write(&site.config.join("files/tree/sub/one"), "one\n");
    write(&site.config.join("files/script"), "echo \"$1\" >scripted\n");
    site.start_daemon().await;
    let look = site.ask("everything odd --check").await.expect(0);
    let first = site.ask("everything odd").await.expect(0);
    ends_well(&first, &small.dir, "small1");
    for step in ["guarded", "upload", "link", "line", "block", "directory", "tree"] {
        assert!(
            look.out.contains(&format!("{step}: would change: small1"))
                || look.out.contains(&format!("{step}: not known")),
            "{step}: {look:#?}"
        );
        assert!(first.out.contains(&format!("{step}: ok")), "{step}: {first:#?}");
    }
    assert_eq!(read(&small.dir.join("d/e/sub/one")), "one\n");
    assert_eq!(
        read(&small.dir.join("conf")),
        "#server a\nserver b\n# BEGIN rollcall\nx = 1\n# END rollcall\n"
    );
    assert_eq!(read(&small.dir.join("scripted")), "an argument\n");
    let again = site.ask("everything odd").await.expect(0);
    for step in ["guarded", "upload", "link", "line", "block", "directory", "tree", "delete"] {
        assert!(again.out.contains(&format!("{step}: unchanged")), "{step}: {again:#?}");
    }
}

/// More kinds of steps, for a host that has little.
const SMALL: &str = r#"
[[steps]]
name = "conf"
run = "printf 'server a\\nserver b\\n' >conf"
creates = "conf"
in = "{{ root }}"
[[steps]]
name = "line"
line = { path = "{{ root }}/conf", matches = '^server a', state = "commented" }
[[steps]]
name = "block"
block = { path = "{{ root }}/conf", text = "x = 1" }
[[steps]]
name = "directory"
directory = { path = "{{ root }}/d/e", mode = "0750" }
[[steps]]
name = "tree"
upload = { from = "tree/", to = "{{ root }}/d/e" }
[[steps]]
name = "delete"
delete = "{{ root }}/nothing"
[[steps]]
name = "script"
script = { from = "script", args = ["an argument"] }
in = "{{ root }}"
[[steps]]
name = "wait"
wait_for = { path = "{{ root }}/scripted" }
"#;
