//! Steps about files, on a real sshd: the first run changes, the second has nothing to do, and a look before each
//! told the truth.

use crate::support::site::{Answer, Site};
use crate::support::{as_account, read, write};

fn names(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

/// A task of one step.
async fn with_step(site: &Site, name: &str, step: &str) {
    write(&site.config.join(format!("tasks/{name}.toml")), &format!("[[steps]]\nname = \"it\"\n{step}\n"));
    site.ask("reload").await.expect(0);
}

/// Looks, runs, looks, runs. What the first look said, and the first run.
async fn twice(site: &Site, task: &str) -> (Answer, Answer) {
    let look = site.ask(&format!("plan --diff {task} web01")).await.expect(0);
    assert!(look.out.contains("it: would change: web01"), "{look:#?}");
    let first = site.ask(&format!("{task} web01")).await.expect(0);
    assert!(first.out.contains("web01  it: ok") || first.out.contains("it: ok"), "{first:#?}");
    let again = site.ask(&format!("plan --diff {task} web01")).await.expect(0);
    assert!(again.out.contains("it: unchanged: web01"), "{again:#?}");
    let second = site.ask(&format!("{task} web01")).await.expect(0);
    assert!(second.out.contains("it: unchanged"), "{second:#?}");
    (look, first)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_changes_what_differs_and_says_so_before() {
    let site = Site::start(1).await;
    let dir = &site.hosts[0].dir;
    write(&site.config.join("files/app.conf"), "on {{ host.name }}\nroot = \"/srv\"\n");
    let step = "upload = { from = \"app.conf\", to = \"{{ root }}/state/app.conf\", template = true, mode = \"0600\", \
                backup = true, validate = 'grep -q root \"$1\" || { echo no root; exit 1; }' }";
    with_step(&site, "conf", step).await;
    let (look, _) = twice(&site, "conf").await;
    assert!(look.out.contains("    +on web01\n"), "{}", look.out);
    assert_eq!(read(&dir.join("state/app.conf")), "on web01\nroot = \"/srv\"\n");
    // Another content: a diff; the old file is kept.
    write(&site.config.join("files/app.conf"), "at {{ host.name }}\nroot = \"/srv\"\n");
    let (look, _) = twice(&site, "conf").await;
    assert!(look.out.contains("    -on web01\n    +at web01\n     root = \"/srv\"\n"), "{}", look.out);
    let kept = |name: &String| name.starts_with("app.conf.~");
    assert_eq!(names(&dir.join("state")).iter().filter(|name| kept(name)).count(), 1);
    // One that is refused changes nothing, and tells why.
    write(&site.config.join("files/app.conf"), "nothing\n");
    let refused = site.ask("conf web01").await.expect(2);
    assert!(
        refused.out.contains("app.conf is as it was: `validate` refuses the new content: no root"),
        "{refused:#?}"
    );
    assert_eq!(read(&dir.join("state/app.conf")), "at web01\nroot = \"/srv\"\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_is_sent_in_one_go() {
    let site = Site::start(1).await;
    let dir = &site.hosts[0].dir;
    for number in 0..60 {
        write(&site.config.join(format!("files/site/d{}/f {number}", number % 7)), &format!("{number}\n"));
    }
    std::fs::create_dir_all(site.config.join("files/site/cache/deep")).unwrap();
    with_step(&site, "tree", "upload = { from = \"site/\", to = \"{{ root }}/state/site\" }").await;
    let (look, _) = twice(&site, "tree").await;
    assert!(look.out.contains("+++ b"), "{}", look.out);
    assert!(look.out.contains("state/site/cache/deep: a directory (was missing)"), "{}", look.out);
    assert!(dir.join("state/site/cache/deep").is_dir(), "a directory without files");
    assert_eq!(read(&dir.join("state/site/d3/f 59")), "59\n");
    // One of them differs: one is told, and one is sent.
    write(&site.config.join("files/site/d3/f 59"), "sixty\n");
    write(&dir.join("state/site/mine"), "not ours");
    let (look, _) = twice(&site, "tree").await;
    assert!(look.out.contains("    -59\n    +sixty\n"), "{}", look.out);
    assert_eq!(look.out.matches("+++ ").count(), 1, "{}", look.out);
    assert_eq!(read(&dir.join("state/site/d3/f 59")), "sixty\n");
    assert_eq!(read(&dir.join("state/site/mine")), "not ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_commented_out_and_lines_kept_in_order() {
    let site = Site::start(1).await;
    let dir = site.hosts[0].dir.join("state");
    let conf = dir.join("nginx.conf");
    let text = "upstream app {\n    server web1;\n    server web2;\n}\n";
    let mut make = std::process::Command::new("sh");
    make.args(["-c", "printf %s \"$1\" >\"$2\"", "sh", text]).arg(&conf);
    as_account(&mut make);
    assert!(make.status().unwrap().success());
    let line = |keys: &str| format!("line = {{ path = \"{{{{ root }}}}/state/nginx.conf\", {keys} }}");
    let server = "matches = '^\\s*server web1;'";
    with_step(&site, "off", &line(&format!("{server}, state = \"commented\", backup = true"))).await;
    let (look, _) = twice(&site, "off").await;
    assert!(look.out.contains("    -    server web1;\n    +    #server web1;\n"), "{}", look.out);
    assert_eq!(read(&conf), "upstream app {\n    #server web1;\n    server web2;\n}\n");
    with_step(&site, "on", &line(&format!("{server}, state = \"uncommented\""))).await;
    twice(&site, "on").await;
    assert_eq!(read(&conf), "upstream app {\n    server web1;\n    server web2;\n}\n");
    let wrong = "matches = 'web9', state = \"uncommented\"";
    with_step(&site, "none", &line(wrong)).await;
    let none = site.ask("none web01").await.expect(2);
    assert!(none.out.contains("nginx.conf: no line of it is meant by `web9`"), "{none:#?}");
    let block =
        "block = { path = \"{{ root }}/state/new.conf\", text = \"a\\nb\", create = true, marker = \"x\" }";
    with_step(&site, "made", &block.replace(", create = true", "")).await;
    let missing = site.ask("made web01").await.expect(2);
    assert!(missing.out.contains("new.conf is not there; `create = true` makes it"), "{missing:#?}");
    with_step(&site, "made", block).await;
    twice(&site, "made").await;
    assert_eq!(read(&dir.join("new.conf")), "# BEGIN x\na\nb\n# END x\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_come_and_go() {
    let site = Site::start(1).await;
    let dir = site.hosts[0].dir.join("state");
    with_step(&site, "dir", "directory = { path = \"{{ root }}/state/a/b\", mode = \"0750\" }").await;
    twice(&site, "dir").await;
    assert!(dir.join("a/b").is_dir());
    with_step(&site, "gone", "delete = \"{{ root }}/state/a\"").await;
    let (look, _) = twice(&site, "gone").await;
    assert!(look.out.contains("/state/a: directory with 1 entries"), "{}", look.out);
    assert!(!dir.join("a").exists());
    with_step(&site, "never", "delete = \"{{ root }}/../../etc\"").await;
    let never = site.ask("never web01").await.expect(2);
    assert!(never.out.contains("it goes up by `..`; write where it is"), "{never:#?}");
}

/// A tar.gz below files/, of these files.
fn pack(site: &Site, name: &str, files: &[(&str, &str)]) {
    let dir = site.dir.path().join("packed").join(name);
    files.iter().for_each(|(path, text)| write(&dir.join(path), text));
    std::fs::create_dir_all(site.config.join("files")).unwrap();
    let archive = site.config.join("files").join(name);
    let status =
        std::process::Command::new("tar").arg("czf").arg(archive).arg("-C").arg(&dir).arg(".").status();
    assert!(status.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_unpacked_once() {
    let site = Site::start(1).await;
    let dir = site.hosts[0].dir.join("state");
    pack(&site, "a.tar.gz", &[("top/x", "1"), ("top/sub/y", "2")]);
    with_step(&site, "unpack", "archive = { from = \"a.tar.gz\", to = \"{{ root }}/state/a/\", strip = 1 }")
        .await;
    let (look, first) = twice(&site, "unpack").await;
    assert!(look.out.contains("/state/a: files/a.tar.gz would be unpacked"), "{}", look.out);
    assert_eq!((read(&dir.join("a/x")), read(&dir.join("a/sub/y"))), ("1".into(), "2".into()), "{first:?}");
    assert!(!names(&dir).iter().any(|name| name.contains("archive")), "{:?}", names(&dir));
    // One that was put there by itself.
    std::fs::copy(site.config.join("files/a.tar.gz"), dir.join("b.tar.gz")).unwrap();
    with_step(
        &site,
        "remote",
        "archive = { path = \"{{ root }}/state/b.tar.gz\", to = \"{{ root }}/state/b\" }",
    )
    .await;
    twice(&site, "remote").await;
    assert_eq!(read(&dir.join("b/top/x")), "1");
    assert!(dir.join("b.tar.gz").exists(), "it is not ours to take away");
    // One that leaves is refused.
    std::os::unix::fs::symlink("../../../etc", site.dir.path().join("packed/a.tar.gz/top/l")).unwrap();
    pack(&site, "a.tar.gz", &[]);
    site.ask("reload").await.expect(0);
    let refused = site.ask("unpack web01").await.expect(2);
    assert!(
        refused.out.contains("`./top/l` links to `../../../etc`, which leaves the archive"),
        "{refused:#?}"
    );
    assert_eq!(names(&dir).iter().filter(|name| name.starts_with("a.") || *name == "a").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_fails_its_check_is_rolled_back_to_the_one_before() {
    let site = Site::start(2).await;
    for version in ["1.1.0", "2.0.0"] {
        pack(&site, &format!("app-{version}.tar.gz"), &[("VERSION", &format!("{version}\n"))]);
    }
    write(&site.config.join("files/app-2.0.0.tar.gz"), "");
    pack(&site, "app-2.0.0.tar.gz", &[("VERSION", "2.0.0\n"), ("BROKEN", "")]);
    write(&site.config.join("tasks/deploy.toml"), RELEASE);
    site.ask("reload").await.expect(0);
    let on = |version: &str| assert_eq!(site.releases(), vec![version; 2]);
    site.ask("deploy prod version=1.1.0").await.expect(0);
    on("1.1.0");
    let again = site.ask("deploy prod version=1.1.0").await.expect(0);
    assert!(again.out.contains("  unchanged  2"), "{again:#?}");
    let failed = site.ask("deploy prod version=2.0.0").await.expect(2);
    assert!(failed.out.contains("  rolled-back  1  web01"), "{failed:#?}");
    on("1.1.0");
    assert!(site.hosts[0].dir.join("releases/2.0.0/VERSION").exists());
    assert_eq!(
        std::fs::read_link(site.hosts[0].dir.join("current")).unwrap().to_str(),
        Some("releases/1.1.0")
    );
    assert!(site.hosts[0].dir.join("shared/log").is_dir());
    assert_eq!(site.nginx.out_of_rotation(), Vec::<String>::new());
}

const RELEASE: &str = r#"
hosts = "web"
params.version = {}
[rollout]
serial = 1
on_failure = "rollback"
[[steps]]
name = "release"
release = { root = "{{ root }}", name = "{{ version }}", from = "app-{{ version }}.tar.gz", shared = ["log"], keep = 2 }
[[rollback]]
name = "switch back"
link = { from = "{{ previous }}", at = "{{ root }}/current" }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_is_kept_and_given_to_operators() {
    let site = Site::start(2).await;
    let noise: Vec<u8> =
        (0..300_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 7) as u8).collect();
    for host in &site.hosts {
        std::fs::write(host.dir.join("state/core it's"), &noise).unwrap();
        write(&host.dir.join("state/logs/a/b.log"), "line\n");
    }
    let file = "download = { from = \"{{ root }}/state/core it's\", to = \"cores/{{ host.name }}\" }";
    let logs = "download = { from = \"{{ root }}/state/logs\", to = \"logs\" }";
    with_step(&site, "get", &format!("{file}\n[[steps]]\nname = \"logs\"\n{logs}")).await;
    let look = site.ask("plan --diff get web01").await.expect(0);
    assert!(look.out.contains("would be fetched; nothing is changed on the host"), "{}", look.out);
    let run = site.ask("get prod.web").await.expect(0);
    let kept = site.dir.path().join("downloads/2");
    assert_eq!(std::fs::read(kept.join("web01/cores/web01")).unwrap(), noise, "{run:?}");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(kept.join("web01/logs.tar")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    let list = site.ask_as("bob", "artifacts 2 --list").await.expect(0);
    assert!(list.out.starts_with("      300000  web01/cores/web01\n"), "{}", list.out);
    assert_eq!(site.ask("artifacts 2 web02 --json").await.expect(0).out.lines().count(), 2);
    let out = site.ssh("bob", "artifacts 2 web02").output().await.unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut tar = tar::Archive::new(&out.stdout[..]);
    let found: Vec<(String, u64)> = tar
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.path().unwrap().display().to_string(), entry.size()))
        .collect();
    assert_eq!(found[0], ("web02/cores/web02".to_string(), 300_000));
    assert_eq!((found.len(), found[1].0.as_str()), (2, "web02/logs.tar"));
    let none = site.ask("artifacts 1").await.expect(64);
    assert!(none.err.contains("run 1 has kept nothing; a step `download` does"), "{none:#?}");
    with_step(&site, "away", "download = { from = \"/etc/hostname\", to = \"../{{ host.name }}\" }").await;
    let away = site.ask("away web01").await.expect(2);
    assert!(away.out.contains("`to`: `../web01` is no plain path below a directory"), "{away:#?}");
    with_step(&site, "none", "download = { from = \"/no/such\", to = \"x\" }").await;
    let none = site.ask("none web01").await.expect(2);
    assert!(none.out.contains("/no/such is not there"), "{none:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_else_changes_meanwhile_is_read_again_once() {
    let site = Site::start(1).await;
    let dir = site.hosts[0].dir.join("state");
    // Whoever validates is somebody else here, too.
    let change = |often: usize| {
        format!(
            "in = \"{{{{ root }}}}/state\"\nrun = \"echo one >f; rm -f n\"\n[[steps]]\nname = \"edit\"\n\
             in = \"{{{{ root }}}}/state\"\n\
             line = {{ path = \"f\", line = \"ours\", validate = 'echo x >>n; [ $(wc -l <n) -gt {often} ] || echo theirs >>f' }}"
        )
    };
    with_step(&site, "once", &change(1)).await;
    site.ask("once web01").await.expect(0);
    assert_eq!(read(&dir.join("f")), "one\ntheirs\nours\n");
    with_step(&site, "always", &change(9)).await;
    let always = site.ask("always web01").await.expect(2);
    let why =
        "was changed by another process while it was edited, 2 times; nothing was changed here: run it again";
    assert!(always.out.contains(why), "{always:#?}");
    assert_eq!(read(&dir.join("f")), "one\ntheirs\ntheirs\n");
}
