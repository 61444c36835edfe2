//! The task language on real hosts: conditions, results, handlers, loops, calls, other hosts, and looks that change
//! nothing.

use crate::support::site::{Answer, Site};
use crate::support::{read, write};

/// A site whose tasks are these; the daemon runs.
pub async fn site(hosts: usize, tasks: &[(&str, &str)]) -> Site {
    let mut site = Site::without_daemon(hosts).await;
    for (name, text) in tasks {
        write(&site.config.join(format!("tasks/{name}.toml")), text);
    }
    site.start_daemon().await;
    site
}

/// The lines about one step of one host, without the host.
fn told(answer: &Answer, host: &str, step: &str) -> Vec<String> {
    let prefix = format!("{host} | ");
    let lines = answer.out.lines().filter_map(|line| line.trim_start().strip_prefix(&prefix));
    lines.filter(|line| line.starts_with(step)).map(String::from).collect()
}

pub fn last(answer: &Answer, host: &str, step: &str) -> String {
    told(answer, host, step)
        .pop()
        .unwrap_or_else(|| panic!("nothing is told of {step} on {host}: {answer:#?}"))
}

const CONDITIONS: &str = r#"
params.colour = { default = "red" }
[[steps]]
name = "early"
run = "true"
when = "colour == 'blue'"
[[steps]]
name = "by facts"
run = "true"
when = "facts.os_family == 'debian' and facts.cpus > 0"
[[steps]]
name = "not this os"
run = "false"
when = "facts.os == 'plan9'"
[[steps]]
name = "list"
run = "printf 'one\ntwo\n'; echo '{\"port\": 80}' >&2"
register = "listed"
changed_when = false
[[steps]]
name = "by result"
run = "echo {{ listed.lines | length }} {{ (listed.stderr | from_json).port }} >counted"
in = "{{ root }}"
when = "listed.ok and 'two' in listed.lines"
[[steps]]
name = "grep"
run = "grep three counted"
in = "{{ root }}"
register = "grepped"
failed_when = "result.code > 1"
changed_when = false
[[steps]]
name = "found nothing"
run = "true"
when = "grepped.code == 1 and not grepped.changed"
[[steps]]
name = "until"
run = "echo x >>tries; wc -l <tries"
in = "{{ root }}"
until = "result.stdout | int >= 3"
retries = 5
delay = "10ms"
[[steps]]
name = "removes"
run = "rm tries"
removes = "tries"
in = "{{ root }}"
[[steps]]
name = "removes again"
run = "rm tries"
removes = "{{ root }}/tries"
[[steps]]
name = "warned"
run = "exit 3"
warn_only = true
"#;

#[tokio::test(flavor = "multi_thread")]
async fn conditions_see_facts_params_and_earlier_results() {
    let site = site(1, &[("conditions", CONDITIONS)]).await;
    let answer = site.ask("conditions web01").await.expect(0);
    let last = |step: &str| last(&answer, "web01", step);
    assert_eq!(last("early"), "early: skipped: when colour == 'blue'");
    assert!(last("by facts").starts_with("by facts: ok"), "{answer:#?}");
    assert_eq!(last("not this os"), "not this os: skipped: when facts.os == 'plan9'");
    assert_eq!(last("list"), "list: unchanged");
    assert!(last("by result").starts_with("by result: ok"));
    assert_eq!(read(&site.hosts[0].dir.join("counted")), "2 80\n");
    assert_eq!(last("grep"), "grep: ok".to_string().replace("ok", "unchanged"));
    assert!(last("found nothing").starts_with("found nothing: ok"));
    assert_eq!(told(&answer, "web01", "until").len(), 3, "{answer:#?}");
    assert!(last("until").starts_with("until (attempt 3): ok"));
    assert!(last("removes:").starts_with("removes: ok"));
    assert_eq!(last("removes again"), "removes again: unchanged");
    assert!(last("warned").starts_with("warned: FAILED: exit status 3"));
}

const HANDLERS: &str = r#"
params.text = { default = "one" }
vars.services = ["a", "b"]
[[steps]]
name = "write"
run = "echo {{ text }} >{{ item }}.conf"
unless = "grep -qx {{ text }} {{ item }}.conf"
in = "{{ root }}"
loop = "services"
notify = ["restart", "never mind"]
[[steps]]
name = "quiet"
run = "true"
changed_when = false
notify = "other"
[[steps]]
name = "before handlers"
run = "test ! -e restarted"
in = "{{ root }}"
[[handlers]]
name = "restart"
run = "echo x >>restarted"
in = "{{ root }}"
[[handlers]]
name = "never mind"
run = "false"
when = "text == 'two'"
[[handlers]]
name = "other"
run = "false"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn handlers_run_once_at_the_end_and_only_if_something_changed() {
    let site = site(1, &[("handle", HANDLERS)]).await;
    let restarted = site.hosts[0].dir.join("restarted");
    let first = site.ask("handle web01").await.expect(0);
    assert!(last(&first, "web01", "write (a)").starts_with("write (a): ok"));
    assert!(last(&first, "web01", "write (b)").starts_with("write (b): ok"));
    assert!(last(&first, "web01", "restart").starts_with("restart: ok"));
    assert_eq!(last(&first, "web01", "never mind"), "never mind: skipped: when text == 'two'");
    assert_eq!(
        last(&first, "web01", "other"),
        "other: skipped: nothing that notifies it has changed anything"
    );
    assert_eq!(read(&restarted), "x\n", "once, though two steps have notified it");
    std::fs::remove_file(&restarted).unwrap();
    let again = site.ask("handle web01").await.expect(0);
    assert_eq!(last(&again, "web01", "write (a)"), "write (a): unchanged");
    assert_eq!(
        last(&again, "web01", "restart"),
        "restart: skipped: nothing that notifies it has changed anything"
    );
    assert!(!restarted.exists());
}

const OUTER: &str = r#"
[[steps]]
name = "one page"
task = "page"
with = { name = "index", text = "hello {{ host.name }}" }
[[steps]]
name = "pages"
task = "page"
with = { name = "{{ item }}", text = "a page" }
loop = ["a", "b"]
when = "host.name == 'web01'"
tags = ["pages"]
[[steps]]
name = "count"
run = "ls *.html | wc -l"
in = "{{ root }}"
register = "pages"
changed_when = false
"#;

/// Puppet's define: install unless it is there.
const PAGE: &str = r#"
params.name = { pattern = '\w+' }
params.text = { default = "empty" }
[[steps]]
name = "write"
run = "printf '%s\n' \"$TEXT\" >{{ name }}.html"
env = { TEXT = "{{ text }}" }
in = "{{ root }}"
unless = "test \"$(cat {{ name }}.html)\" = \"$TEXT\""
notify = "index pages"
[[handlers]]
name = "index pages"
run = "ls *.html >index.txt"
in = "{{ root }}"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn tasks_call_tasks_with_parameters() {
    let site = site(2, &[("outer", OUTER), ("page", PAGE)]).await;
    let plan = site.ask("plan outer prod.web").await.expect(0);
    assert!(plan.out.contains("pages (a): write: run printf"), "{}", plan.out);
    assert!(plan.out.contains("(skipped: when host.name == 'web01')"), "{}", plan.out);
    let answer = site.ask("outer prod.web").await.expect(0);
    assert!(last(&answer, "web01", "pages (b): write").starts_with("pages (b): write: ok"), "{answer:#?}");
    assert_eq!(
        last(&answer, "web02", "pages (b): write"),
        "pages (b): write: skipped: when host.name == 'web01'"
    );
    assert!(
        last(&answer, "web02", "one page: index pages").starts_with("one page: index pages: ok"),
        "{answer:#?}"
    );
    assert_eq!(read(&site.hosts[0].dir.join("index.html")), "hello web01\n");
    assert_eq!(read(&site.hosts[0].dir.join("index.txt")), "a.html\nb.html\nindex.html\n");
    // Tags leave steps out; one that nobody has is a mistake.
    let tagged = site.ask("outer prod.web --tags pages").await.expect(0);
    assert_eq!(
        last(&tagged, "web01", "one page: write"),
        "one page: write: skipped: its tags were not asked for"
    );
    assert_eq!(last(&tagged, "web01", "pages (a): write"), "pages (a): write: unchanged");
    let wrong = site.ask("outer prod.web --tags page").await.expect(64);
    assert!(
        wrong.err.contains("no step of task `outer` has the tag `page`; did you mean `pages`?"),
        "{wrong:#?}"
    );
}

const TOGETHER: &str = r#"
[[steps]]
name = "migrate"
run = "echo x >>{{ hosts_dir }}/migrated; echo 42"
run_once = true
register = "migration"
[[steps]]
name = "after it"
run = "test {{ migration.stdout }} = 42"
[[steps]]
name = "one at a time"
run = "mkdir {{ hosts_dir }}/busy && sleep 0.2 && rmdir {{ hosts_dir }}/busy"
throttle = 1
[[steps]]
name = "tell the balancers"
run = "echo {{ host.name }} >>{{ hosts_dir }}/told"
on = "lb1"
throttle = 1
"#;

#[tokio::test(flavor = "multi_thread")]
async fn one_host_does_it_for_all_others_wait_and_steps_run_elsewhere() {
    let mut site = Site::without_daemon(4).await;
    let shared = site.dir.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    crate::support::open_to_all(&shared);
    let text = format!("vars.hosts_dir = \"{}\"\n{TOGETHER}", shared.display());
    write(&site.config.join("tasks/together.toml"), &text);
    site.start_daemon().await;
    let answer = site.ask("together prod.web").await.expect(0);
    assert_eq!(read(&shared.join("migrated")), "x\n", "{answer:#?}");
    let skipped = answer.out.lines().filter(|line| line.contains("migrate: skipped: once for all: web0"));
    assert_eq!(skipped.count(), 3, "{answer:#?}");
    let mut told: Vec<String> = read(&shared.join("told")).lines().map(String::from).collect();
    told.sort();
    assert_eq!(told, ["web01", "web02", "web03", "web04"]);
    let shown = site.ask("plan together web01").await.expect(0);
    assert!(shown.out.contains("tell the balancers on lb1: run echo"), "{}", shown.out);
}

const FAILS_ONCE: &str = r#"
[[steps]]
name = "migrate"
run = "exit 9"
run_once = true
[[steps]]
name = "after it"
run = "true"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_one_host_could_not_do_for_all_fails_on_all() {
    let site = site(3, &[("migrate", FAILS_ONCE)]).await;
    let answer = site.ask("migrate prod.web").await.expect(2);
    let told = answer.out.lines().filter(|line| line.contains("migrate: FAILED: exit status 9")).count();
    let others = answer.out.lines().filter(|line| {
        line.contains("migrate: FAILED: web0") && line.ends_with("was to do it once for all, and failed")
    });
    assert_eq!((told, others.count()), (1, 2), "{answer:#?}");
}

const UNDO: &str = r#"
params.version = { default = "1.0.0" }
[rollout]
on_failure = "rollback"
[[steps]]
name = "first"
run = "touch first"
in = "{{ root }}"
undo = "rm first; echo first >>{{ root }}/undone"
[[steps]]
name = "second"
run = "touch second"
in = "{{ root }}"
[[steps.undo]]
name = "remove"
run = "rm {{ root }}/second; echo second >>{{ root }}/undone"
[[steps]]
name = "breaks"
run = "exit 1"
undo = "true"
[[steps]]
name = "never begun"
run = "true"
undo = "touch {{ root }}/wrong"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn steps_are_taken_back_in_reverse_as_far_as_they_were_begun() {
    let site = site(2, &[("undoable", UNDO)]).await;
    let answer = site.ask("undoable web01").await.expect(2);
    assert!(answer.out.contains("rolled-back  1  web01"), "{answer:#?}");
    let dir = &site.hosts[0].dir;
    assert_eq!(read(&dir.join("undone")), "second\nfirst\n");
    assert!(!dir.join("first").exists() && !dir.join("wrong").exists());
    assert!(
        answer.out.contains("undo never begun: undo: skipped: what it takes back was never done"),
        "{answer:#?}"
    );
}

const LOOKED_AT: &str = r#"
[[steps]]
name = "link"
link = { from = "releases/9", at = "{{ root }}/now" }
[[steps]]
name = "guarded"
run = "touch {{ root }}/made"
creates = "{{ root }}/made"
[[steps]]
name = "blind"
run = "touch {{ root }}/blind"
register = "blind"
[[steps]]
name = "depends"
run = "echo {{ blind.stdout }}"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_look_says_what_would_change_and_changes_nothing() {
    let site = site(2, &[("look", LOOKED_AT)]).await;
    let dir = &site.hosts[0].dir;
    for line in ["plan --diff look web01", "look web01 --check"] {
        let answer = site.ask(line).await.expect(0);
        assert!(answer.out.contains("link: would change: web01\n"), "{answer:#?}");
        assert!(answer.out.contains("/now -> releases/9\n"), "{answer:#?}");
        assert!(answer.out.contains("guarded: would change: web01\n"), "{answer:#?}");
        let unknown = "blind: not known beforehand (what a command does is known when it has run): web01\n";
        assert!(answer.out.contains(unknown), "{answer:#?}");
        assert!(answer.out.contains("would change: web01\n"), "{answer:#?}");
        assert!(!dir.join("now").is_symlink() && !dir.join("made").exists() && !dir.join("blind").exists());
    }
    site.ask("look web01").await.expect(0);
    let after = site.ask("look web01 --check").await.expect(0);
    assert!(after.out.contains("link: unchanged: web01\n"), "{after:#?}");
    assert!(after.out.contains("guarded: unchanged: web01\n"), "{after:#?}");
    let viewer = site.ask_as("vic", "plan --diff look web01").await.expect(77);
    assert!(viewer.err.contains("needs the role operator"), "{viewer:#?}");
}

const TAKEN_LITERALLY: &str = r#"
params.p = {}
params.version = { default = "1.0.0" }
[rollout]
on_failure = "rollback"
[[steps]]
name = "there already {{ p }}"
run = "false"
unless = "true"
changed_when = true
undo = "touch {{ root }}/wrong"
tags = "config"
[[steps]]
name = "write {{ p }}"
run = "printf '%s' {{ p }} >literal"
in = "{{ root }}"
undo = "rm literal"
tags = "config"
[[steps]]
name = "not wanted"
run = "touch {{ root }}/untagged"
[[steps]]
name = "breaks"
run = "echo x >>{{ root }}/tried; exit 1"
retries = 2
delay = "10ms"
tags = "config"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn values_are_no_templates_and_the_way_back_is_walked_whole_for_what_was_done() {
    let site = site(2, &[("literal", TAKEN_LITERALLY)]).await;
    let answer = site.ask("literal web01 'p={{ 7*7919 }}' --tags config").await.expect(2);
    assert!(!answer.out.contains("55433"), "{answer:#?}");
    assert_eq!(last(&answer, "web01", "there already"), "there already {{ 7*7919 }}: unchanged");
    assert_eq!(last(&answer, "web01", "not wanted"), "not wanted: skipped: its tags were not asked for");
    let undone = last(&answer, "web01", "rollback: undo write {{ 7*7919 }}: undo");
    assert!(undone.contains(": ok"), "{answer:#?}");
    let kept = last(&answer, "web01", "rollback: undo there already");
    assert!(kept.ends_with("skipped: what it takes back was never done"), "{answer:#?}");
    let dir = &site.hosts[0].dir;
    assert!(!dir.join("literal").exists() && !dir.join("wrong").exists() && !dir.join("untagged").exists());
    assert_eq!(read(&dir.join("tried")), "x\nx\nx\n");
    assert!(answer.out.contains("rolled-back  1  web01"), "{answer:#?}");
}

const FEW: &str = r#"
vars.nobody = []
[[steps]]
name = "for nobody"
run = "false"
loop = "nobody"
"#;

const NAMED: &str = r#"
[[steps]]
name = "once on {{ host.name }}"
run = "echo x >>{{ root }}/../once; exit 1"
run_once = true
warn_only = true
retries = 1
delay = "10ms"
[[steps]]
name = "config"
run = "echo changed"
notify = "tell"
tags = "config"
[[handlers]]
name = "tell"
run = "touch {{ root }}/told"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_do_ends_and_one_for_all_is_one_whatever_it_is_called() {
    let site = site(3, &[("few", FEW), ("named", NAMED)]).await;
    crate::support::open_to_all(site.dir.path());
    let none = site.ask("few prod.web").await.expect(0);
    assert!(none.out.contains("done  3  web[01-03]  it has no steps here"), "{none:#?}");
    let once = site.ask("named prod.web").await.expect(0);
    assert_eq!(read(&site.dir.path().join("once")), "x\nx\n", "one host, and its second attempt: {once:#?}");
    std::fs::remove_file(site.hosts[0].dir.join("told")).unwrap();
    let tagged = site.ask("named web01 --tags config").await.expect(0);
    assert!(last(&tagged, "web01", "tell").starts_with("tell: ok"), "{tagged:#?}");
    assert!(site.hosts[0].dir.join("told").exists());
}
