//! The guides for people who come from Fabric, Puppet and Ansible: their files are loaded, and run on real hosts.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rollcall::config::{from_texts, load};

use crate::support::site::{Answer, Site};
use crate::support::{give_to_account, open_to_all, read, write};

fn guide(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/coming-from").join(name)
}

/// Puts the tasks and files of a guide into a site's configuration, which has none of its own any more. The account
/// of the test hosts has no right to sudo, and owns what it changes.
fn take_over(site: &Site, name: &str) {
    std::fs::remove_dir_all(site.config.join("tasks")).unwrap();
    for folder in ["tasks", "files"] {
        copy(&guide(name).join(folder), &site.config.join(folder));
    }
}

fn copy(from: &Path, to: &Path) {
    let Ok(entries) = std::fs::read_dir(from) else { return };
    for entry in entries.map(Result::unwrap) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy(&path, &to),
            false => write(&to, &read(&path).replace("sudo = true\n", "")),
        }
    }
}

fn has(answer: &Answer, text: &str) {
    assert!(answer.out.contains(text), "`{text}` is not told: {answer:#?}");
}

#[test]
fn the_files_of_the_guides_load_as_they_are() {
    for name in ["fabric", "puppet", "ansible"] {
        let config = load(&guide(name)).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        assert!(!config.tasks.is_empty() && !config.inventory.hosts.is_empty());
    }
}

#[test]
fn the_examples_for_people_of_ansible_are_files_that_load() {
    let text = read(&guide("ansible.md"));
    let examples: Vec<&str> =
        text.split("```toml\n").skip(1).map(|part| part.split_once("```").unwrap().0).collect();
    let [steps, hosts] = examples[..] else { panic!("{} examples", examples.len()) };
    let params = "params.version = {}\nparams.sha256 = {}\nparams.commit = {}\n";
    let texts = [("hosts/prod.toml", hosts.to_string()), ("tasks/deploy.toml", format!("{params}{steps}"))];
    let texts = texts.into_iter().map(|(path, text)| (path.to_string(), text.into())).collect();
    let config = from_texts(Path::new("/etc/rollcall"), &texts).unwrap_or_else(|wrong| panic!("{wrong}"));
    assert_eq!(config.tasks["deploy"].steps.len(), 4);
    let ports: Vec<u16> = config.inventory.hosts.iter().map(|host| host.endpoint.port).collect();
    assert_eq!((ports, config.inventory.groups["prod.site"].hosts.len()), (vec![2200, 22], 2));
}

/// `fab prod disable_server_in_lb:web1`, `deploy`, `enable_server_in_lb:web1`, one by one, as it was done.
#[tokio::test(flavor = "multi_thread")]
async fn the_founding_fabfile_works_function_by_function() {
    let mut site = Site::without_daemon(2).await;
    take_over(&site, "fabric");
    let config = site.nginx.config();
    let (dir, file) = (config.parent().unwrap().display(), config.file_name().unwrap().to_str().unwrap());
    let restart = format!(
        "PATH=$PATH:/usr/sbin nginx -s reload -p {} -c {}",
        site.nginx.dir.display(),
        config.display()
    );
    let inventory = site.config.join("hosts/prod.toml");
    let app = "[app.vars]\napp_restart = \"touch restarted\"\n[app.hosts]\n";
    let hosts = read(&inventory)
        .replace("[web.hosts]\n", app)
        .replace("[web", "[app")
        .replace("root = ", "app_root = ");
    let lb = format!(
        "[lb.vars]\nnginx_conf = \"{dir}\"\nnginx_file = \"{file}\"\nnginx_restart = \"{restart}\"\n"
    );
    write(&inventory, &(hosts + &lb));
    write(&site.config.join("files/app-1.2.3.tar"), "one");
    write(&site.config.join("files/app-1.2.4.tar"), "two");
    for host in &site.hosts {
        std::fs::create_dir(host.dir.join("backup")).unwrap();
        give_to_account(&host.dir.join("backup"));
        open_to_all(&host.dir);
    }
    give_to_account(&config);
    site.start_daemon().await;
    let server = site.hosts[0].server.clone();
    let before = read(&config);

    let look = site.ask(&format!("plan --diff disable_server_in_lb prod server={server}")).await.expect(0);
    has(&look, "comment the server out: would change: lb1\n");
    has(&look, &format!("+    #server {server} max_fails=0;\n"));
    assert_eq!(read(&config), before, "a look changes nothing");

    let off = site.ask(&format!("disable_server_in_lb prod server={server}")).await.expect(0);
    has(&off, "comment the server out: ok");
    has(&off, "restart nginx: ok");
    let line = read(&config).lines().find(|line| line.contains(&server)).unwrap().trim_start().to_string();
    assert!(line.starts_with('#'), "{line}");
    let again = site.ask(&format!("disable_server_in_lb prod server={server}")).await.expect(0);
    has(&again, "comment the server out: unchanged");
    has(&again, "restart nginx: skipped");

    site.ask("deploy web01 version=1.2.3").await.expect(0);
    let second = site.ask("deploy web01 version=1.2.4").await.expect(0);
    has(&second, "keep the old package: ok");
    assert_eq!(read(&site.hosts[0].dir.join("app.tar")), "two");
    assert_eq!(read(&site.hosts[0].dir.join("backup/app.tar")), "one");

    let on = site.ask(&format!("enable_server_in_lb prod server={server}")).await.expect(0);
    has(&on, "restart nginx: ok");
    assert_eq!(read(&config), before, "as it was");
    let running = site.ask("is_nginx_running prod").await.expect(0);
    has(&running, "look for the process: unchanged");
    let told = site.ask("is_nginx_running prod warn_only=true").await.expect(0);
    has(&told, "say so: unchanged");
    let wrong = site.ask("is_nginx_running prod warn_only=maybe").await.expect(64);
    assert!(wrong.err.contains("warn_only"), "{wrong:#?}");
    site.ask("restart_nginx prod").await.expect(0);
}

/// Everything that the module said: files, packages, a define, variants by architecture, guards, order, a notify.
#[tokio::test(flavor = "multi_thread")]
async fn the_founding_puppet_module_converges_and_stays_so() {
    let mut site = Site::without_daemon(2).await;
    take_over(&site, "puppet");
    let tools = site.dir.path().join("tools");
    // What they install is what they can import afterwards.
    let pip = "#!/bin/sh\nfor last; do :; done\ntouch \"$(dirname \"$0\")/$last.$USER_DIR.installed\"\n";
    let python = "#!/bin/sh\nmodule=$3\ncase $module in curl) module=pycurl ;; MySQLdb) module=MySQL-python ;; esac\n\
                  test -e \"$(dirname \"$0\")/$module.$USER_DIR.installed\"\n";
    for (name, text) in [("pip", pip), ("python", python)] {
        write(&tools.join(name), &text.replace(".$USER_DIR", ""));
        std::fs::set_permissions(tools.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    give_to_account(&tools);
    let inventory = site.config.join("hosts/prod.toml");
    let dir = tools.display();
    let base = format!(
        "[base]\nchildren = [\"web\", \"plain\"]\n[base.vars]\npython = \"{dir}/python\"\npip = \"{dir}/pip\"\n\
         modules = []\ntornado_dir = \"{dir}/none\"\n[plain]\nhosts = []\n[web.vars]\nmodules = [\"rewrite\", \"proxy\"]\n"
    );
    let host = site.hosts[0].dir.join("tornado");
    let hosts =
        read(&inventory).replacen("root = ", &format!("tornado_dir = \"{}\", root = ", host.display()), 1);
    write(&inventory, &(base + &hosts));
    open_to_all(&site.hosts[0].dir);
    site.start_daemon().await;

    let look = site.ask("tornado web01 --check").await.expect(0);
    has(&look, "directory: would change: web01\n");
    assert!(!host.exists(), "a look changes nothing");
    let first = site.ask("tornado web01").await.expect(0);
    for step in
        ["directory", "configuration", "unpack", "enable Apache's modules (rewrite)", "restart apache"]
    {
        has(&first, &format!("{step}: ok"));
    }
    has(&first, "install pycurl: ok");
    let arch = std::env::consts::ARCH;
    let build = if arch == "x86_64" { "tornado-64" } else { "tornado-arm" };
    assert_eq!(read(&host.join("current/VERSION")), format!("{build}\n"));
    assert_eq!(read(&host.join("etc/conf.d/log.conf")), "level = info\n");
    assert_eq!(read(&host.join("restarts")), "restarted\n", "once for two modules");

    let again = site.ask("tornado web01").await.expect(0);
    assert!(!again.out.contains(": ok"), "nothing is left to do: {again:#?}");
    has(&again, "restart apache: skipped: nothing that notifies it has changed anything");
}

/// A rolling playbook: batches, the bracket, a migration once, a template that is validated, and the way back.
#[tokio::test(flavor = "multi_thread")]
async fn the_ansible_playbook_rolls_and_rolls_back() {
    let mut site = Site::without_daemon(3).await;
    take_over(&site, "ansible");
    let shared = site.dir.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    open_to_all(&shared);
    let inventory = site.config.join("hosts/prod.toml");
    let vars = format!("[web.vars]\nshared = \"{}\"\n[web.balancer]\n", shared.display());
    write(&inventory, &read(&inventory).replace("[web.balancer]\n", &vars));
    site.hosts.iter().for_each(|host| open_to_all(&host.dir));
    site.start_daemon().await;
    let answer = site.ask("site prod version=2.0.0").await.expect(0);
    has(&answer, "batch 1/3: web01");
    has(&answer, "released  3  web[01-03]");
    assert_eq!(site.releases(), vec!["2.0.0"; 3]);
    assert_eq!(read(&shared.join("migrated")), "x\n", "once for all");
    assert_eq!(read(&site.hosts[1].dir.join("app.conf")), "release 2.0.0 on web02 (debian)\n");
    assert!(site.hosts.iter().all(|host| host.dir.join("debian").exists()));
    assert_eq!(site.nginx.out_of_rotation(), Vec::<String>::new());
    // What the validation refuses never takes the file's place, and the host goes back.
    write(&site.config.join("files/app.conf"), "nonsense {{ version }}\n");
    let broken = site.ask("site prod version=3.0.0").await.expect(2);
    has(&broken, "configuration: FAILED");
    assert_eq!(read(&site.hosts[0].dir.join("app.conf")), "release 2.0.0 on web01 (debian)\n");
    assert_eq!(site.releases(), vec!["2.0.0"; 3]);
    assert_eq!(site.nginx.out_of_rotation(), Vec::<String>::new());
}
