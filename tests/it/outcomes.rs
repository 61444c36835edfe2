//! What becomes of steps whose connection is gone, on real sshds: every outcome is found out, nothing is run
//! twice, and what nobody confirms is undone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rollcall::config::FilesDir;
use rollcall::domain::ask::command::Ask;
use rollcall::domain::ask::run_ask::RunAsk;
use rollcall::domain::base::name::{HostName, RunId};
use rollcall::domain::base::outcome::Outcome;
use rollcall::domain::plan::adhoc::plan_run;
use rollcall::domain::plan::plan::{Plan, World};
use rollcall::domain::plan::planner::plan_task;
use rollcall::domain::run::event::{BracketDirection, EventKind};
use rollcall::domain::run::rollout::Effect;
use rollcall::domain::run::run::Run;
use rollcall::engine::feed::Live;
use rollcall::engine::ports::Ports;
use rollcall::engine::work::Work;
use rollcall::steps::ports::HostPorts;
use tokio_util::sync::CancellationToken;

use crate::support::site::{Site, WebHost};
use crate::support::{eventually, read, write};

/// Steps on each host, and hosts: so many sessions are killed, each in the middle of a step.
const STEPS: usize = 25;
const HOSTS: usize = 8;

async fn with_task(site: &Site, name: &str, text: &str) {
    write(&site.config.join(format!("tasks/{name}.toml")), text);
    site.ask("reload").await.expect(0);
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(String::from).collect()
}

/// Cuts every connection of a host each time that a step is in its middle; how many there were.
async fn cut_in_every_step(host: &WebHost) -> usize {
    let mut cut = 0;
    for step in 0..STEPS {
        let begun = host.dir.join("begun");
        eventually("the step is in its middle", async || lines(&begun).len() > step).await;
        cut += host.sshd.cut();
        write(&host.dir.join(format!("go-{step}")), "");
    }
    cut
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_sessions_are_killed_in_mid_step_and_every_outcome_is_known() {
    let site = Site::start(HOSTS).await;
    let step = |number: usize| {
        format!(
            "[[steps]]\nname = \"{number}\"\nin = \"{{{{ root }}}}\"\n\
             run = \"echo {number} >>begun; until [ -e go-{number} ]; do sleep 0.01; done; echo {number} >>done; exit 0\"\n"
        )
    };
    with_task(&site, "long", &(0..STEPS).map(step).collect::<String>()).await;
    let (answer, cut) = tokio::join!(
        site.ask("long prod.web"),
        futures::future::join_all(site.hosts.iter().map(cut_in_every_step))
    );
    let answer = answer.expect(0);
    let cut: usize = cut.iter().sum();
    assert!(cut >= STEPS * HOSTS, "{cut} sessions were killed");
    assert_eq!(answer.out.matches(": ok").count(), STEPS * HOSTS, "{}", answer.out);
    let once: Vec<String> = (0..STEPS).map(|number| number.to_string()).collect();
    for host in &site.hosts {
        assert_eq!(lines(&host.dir.join("begun")), once, "{}", host.name);
        assert_eq!(lines(&host.dir.join("done")), once, "{}", host.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cuts_the_host_off_is_undone_by_the_host() {
    let site = Site::start(1).await;
    let step = |lock: &str| {
        format!(
            "[[steps]]\nname = \"firewall\"\nin = \"{{{{ root }}}}\"\nrun = \"{lock}\"\n\
             dead_man = \"1s\"\nundo = \"rm -f no-entry; echo back >>undone\"\n"
        )
    };
    with_task(&site, "harmless", &step("touch rule")).await;
    with_task(&site, "lockout", &step("touch no-entry")).await;
    let undone = site.hosts[0].dir.join("undone");
    site.ask("harmless web01").await.expect(0);
    assert!(!undone.exists());
    let answer = site.ask("lockout web01").await.expect(2);
    let why = "firewall: FAILED: not confirmed through a new connection within 1.0s; the host undid it";
    assert!(answer.out.contains(why), "{}", answer.out);
    assert_eq!(read(&undone), "back\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_run_the_steps_is_not_taken_out_of_rotation() {
    let site = Site::start(2).await;
    let deploy = site.config.join("tasks/deploy.toml");
    let as_nobody = "name = \"start\"\nsudo = \"no-such-user\"\n";
    write(&deploy, &read(&deploy).replace("name = \"start\"\n", as_nobody));
    site.ask("reload").await.expect(0);
    let answer = site.ask("deploy web01 version=2.0.0 hook=true").await.expect(2);
    assert!(
        answer.out.contains("its steps cannot be run with sudo as no-such-user: exit status"),
        "{}",
        answer.out
    );
    assert!(!answer.out.contains("taking out"), "{}", answer.out);
}

/// The plan of a task on all web hosts, or of an ad-hoc command.
fn plan_of(site: &Site, task: Option<&str>) -> Plan {
    let config = rollcall::config::load(&site.config).unwrap_or_else(|wrong| panic!("{wrong}"));
    let world = World {
        inventory: &config.inventory,
        tasks: &config.tasks,
        checks: &config.checks,
        files: &FilesDir::new(&config.root),
        facts: &config.facts,
        files_root: config.root.join("files"),
        taken: Default::default(),
        marks: Vec::new(),
        owed: Default::default(),
        written_off: Default::default(),
    };
    match task {
        Some(task) => plan_task(&world, &Ask::new(task, "web01", &Default::default())).unwrap(),
        None => plan_run(&world, &RunAsk::line("web01", "touch ran")).unwrap(),
    }
}

pub fn ports_of(site: &Site) -> Ports {
    site.ports()
}

/// The work on one step of the only host, in run 77.
pub fn work(site: &Site, task: Option<&str>, step: usize) -> Work {
    work_of(&ports_of(site), site, task, step)
}

fn work_of(ports: &Ports, site: &Site, task: Option<&str>, step: usize) -> Work {
    let effect =
        Effect::Step { host: HostName::from("web01"), way: BracketDirection::Forward, step, attempt: 1 };
    work_on(ports, site, task, effect)
}

/// The work on an effect in run 77.
pub fn work_on(ports: &Ports, site: &Site, task: Option<&str>, effect: Effect) -> Work {
    let plan = plan_of(site, task);
    let (live, _) = Live::new(RunId(77), Arc::new(plan.clone()), "ann".into(), Arc::default());
    Work::new(ports, &live, &Run::new(RunId(77), plan), effect, &CancellationToken::new())
}

pub fn ended(event: EventKind) -> (Outcome, String) {
    let EventKind::StepEnded { outcome, stdout, .. } = event else { panic!("{event:?}") };
    (outcome, stdout.text)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_host_is_asked_and_nothing_is_begun() {
    let site = Site::start(1).await;
    let run = |name: &str, script: &str| {
        format!("[[steps]]\nname = \"{name}\"\nin = \"{{{{ root }}}}\"\nrun = \"{script}\"\n")
    };
    let link =
        "[[steps]]\nname = \"link\"\nlink = { from = \"releases/1.0.0\", at = \"{{ root }}/current\" }\n";
    let waits = "echo ran >>ran; until [ -e go ]; do sleep 0.01; done; echo whole; exit 3";
    let steps = [run("quick", "echo quick"), run("waits", waits), run("never", "touch never"), link.into()];
    with_task(&site, "some", &steps.concat()).await;
    let at = |name: &str| site.hosts[0].dir.join(name);
    let age = Duration::from_secs(1);
    let resume = |step: usize| work(&site, Some("some"), step).resuming(age).perform();

    // It had ended.
    assert_eq!(ended(work(&site, Some("some"), 0).perform().await), (Outcome::Ok, "quick\n".into()));
    assert_eq!(ended(resume(0).await), (Outcome::Ok, "quick\n".into()));
    // It is still running.
    let begun = tokio::spawn(work(&site, Some("some"), 1).perform());
    eventually("it runs", async || at("ran").exists()).await;
    begun.abort();
    let asked = tokio::spawn(resume(1));
    write(&at("go"), "");
    let (outcome, printed) = ended(asked.await.unwrap());
    assert!(matches!(outcome, Outcome::Failed { code: Some(3), .. }), "{outcome:?}");
    assert_eq!((printed.as_str(), read(&at("ran")).as_str()), ("whole\n", "ran\n"));
    // It had not begun, and will not: not even when what was sent arrives late.
    for outcome in [ended(resume(2).await).0, ended(work(&site, Some("some"), 2).perform().await).0] {
        assert_eq!(outcome, Outcome::NotStarted { why: "it was never begun".into() });
    }
    assert!(!at("never").exists());
    // What does no harm is done again; whether it was the first time that changed something is not known.
    assert_eq!(ended(resume(3).await).0, Outcome::Ok);
    // Nobody keeps how ad-hoc commands end.
    let ad_hoc = work(&site, None, 0).resuming(age).perform().await;
    assert!(matches!(ended(ad_hoc).0, Outcome::Lost { .. }));
    assert!(!at("ran").parent().unwrap().join("state/ran").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollcall_that_was_replaced_begins_nothing_on_hosts() {
    let site = Site::start(1).await;
    let run = |name: &str| format!("[[steps]]\nname = \"{name}\"\nrun = \"touch {{{{ root }}}}/{name}\"\n");
    with_task(&site, "some", &[run("one"), run("two")].concat()).await;
    let old = ports_of(&site);
    let new = Ports { hosts: HostPorts { epoch: old.hosts.epoch + 1, ..old.hosts.clone() }, ..old.clone() };
    assert_eq!(ended(work_of(&new, &site, Some("some"), 0).perform().await).0, Outcome::Ok);
    let why = rollcall::steps::wrapper::REPLACED.to_string();
    let refused = work_of(&old, &site, Some("some"), 1).perform().await;
    assert_eq!(ended(refused).0, Outcome::NotStarted { why: why.clone() });
    let asked = work_of(&old, &site, Some("some"), 1).resuming(Duration::from_secs(1)).perform().await;
    assert_eq!(ended(asked).0, Outcome::Lost { why });
    assert!(!site.hosts[0].dir.join("two").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_somebody_removed_is_no_proof_that_nothing_was_begun() {
    let site = Site::start(1).await;
    // It ends with the folder that holds its mark.
    let run = "touch begun; while [ -e begun ]; do sleep 0.05; done";
    let task = format!("[[steps]]\nname = \"waits\"\nin = \"{{{{ root }}}}\"\nrun = \"{run}\"\n");
    with_task(&site, "waits", &task).await;
    let host = &site.hosts[0];
    let asking = site.ssh("ann", "waits web01").spawn().unwrap();
    eventually("it runs", async || host.dir.join("begun").exists()).await;
    std::fs::remove_dir_all(host.dir.join("state/rollcall")).unwrap();
    host.sshd.cut();
    let output = asking.wait_with_output().await.unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{out}");
    // Whoever asked first may have seen it go; everybody else sees that it is gone.
    let gone = ["the host has no record of it any more", "its record was removed"];
    assert!(gone.iter().any(|why| out.contains(why)), "{out}");
}

/// In the folder of the records of the login, which the site keeps below its home.
const RECORDS: &str =
    "cd $(ls -d $XDG_STATE_HOME/rollcall/*/ops ~/.local/state/rollcall/*/ops 2>/dev/null | head -1)";

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_forges_records_makes_no_step_look_done() {
    let site = Site::start(1).await;
    let step = |name: &str, run: &str| format!("[[steps]]\nname = \"{name}\"\nrun = '''{run}'''\n");
    // It makes the record of the next one, under each name that it can think of.
    let makes = format!(
        "{RECORDS}; own=$(ls -d *-web01-0-1.*); for name in $(echo $own | sed s/-web01-0-1/-web01-1-1/) \
         $(echo $own | sed 's/-web01-0-1/-web01-1-1/; s/[.][^.]*$//'); do mkdir $name; echo go >$name/go; echo exit 0 >$name/rc; done"
    );
    let next = "touch {{ root }}/next";
    with_task(&site, "stands-in", &[step("evil", &makes), step("next", next)].concat()).await;
    site.ask("stands-in web01").await.expect(0);
    assert!(site.hosts[0].dir.join("next").exists(), "the next step has run");
    // It writes its own end.
    let lies = format!("{RECORDS}; cd *-web01-0-1.*; echo exit 0 >rc; sleep 1; exit 3");
    with_task(&site, "lies", &step("liar", &lies)).await;
    std::fs::remove_dir_all(site.hosts[0].dir.join("state/rollcall")).unwrap();
    let answer = site.ask("lies web01").await.expect(2);
    assert!(answer.out.contains("liar: FAILED: exit status 3"), "{}", answer.out);
    // It ends its own runner, too: nobody knows how it ended, and that is what is said.
    let kills = format!(
        "{RECORDS}; cd *-web01-0-1.*; read runner _ <pid; kill -9 $runner; echo exit 0 >rc; sleep 60"
    );
    let task = step("killer", &kills).replace("[[steps]]", "[[steps]]\ntimeout = \"2s\"");
    with_task(&site, "kills", &task).await;
    std::fs::remove_dir_all(site.hosts[0].dir.join("state/rollcall")).unwrap();
    let answer = site.ask("kills web01").await.expect(3);
    assert!(
        answer.out.contains("another program on the host wrote the record of this step"),
        "{}",
        answer.out
    );
}
