//! Hints with the nearest known names.

use crate::domain::base::name::nearest;

/// Keys of other programs, mostly of Ansible, with ours. A key is suggested only where a table has it.
const FOREIGN: [(&str, &str, &str); 47] = [
    ("any_errors_fatal", "rollout", "max_failures = 0 in [rollout]"),
    ("apt", "package", ""),
    ("become", "sudo", ""),
    ("become_user", "sudo", "sudo = \"USER\""),
    ("blockinfile", "block", ""),
    ("bastion", "via", ""),
    ("chdir", "in", ""),
    ("command", "run", ""),
    ("copy", "upload", ""),
    ("cwd", "in", ""),
    ("delegate_to", "on", ""),
    ("dnf", "package", ""),
    ("environment", "env", ""),
    ("fail", "check", ""),
    ("fetch", "download", ""),
    ("file", "directory", "directory, link or delete"),
    ("get_url", "run", "run = \"curl -fsSLo FILE URL\""),
    ("git", "run", "run = \"git ...\" with `in`"),
    ("ignore_errors", "warn_only", ""),
    ("import_role", "task", ""),
    ("import_tasks", "task", ""),
    ("include_role", "task", ""),
    ("include_tasks", "task", ""),
    ("inventory_hostname", "hosts", ""),
    ("lineinfile", "line", ""),
    ("local_action", "local", ""),
    ("max_fail_percentage", "max_failures", ""),
    ("pre_tasks", "hooks", ""),
    ("post_tasks", "hooks", ""),
    ("proxy_jump", "via", ""),
    ("raw", "run", ""),
    ("remote_user", "login", ""),
    ("roles", "steps", "a step with `task`"),
    ("set_fact", "register", "`register`, or a var"),
    ("shell", "run", ""),
    ("ssh_user", "login", ""),
    ("symlink", "link", ""),
    ("systemd", "service", ""),
    ("tasks", "steps", "[[steps]]"),
    ("template", "upload", "upload with template = true"),
    ("unarchive", "archive", ""),
    ("uri", "wait_for", "wait_for, or a check"),
    ("user", "login", ""),
    ("vars_prompt", "params", ""),
    ("with_items", "loop", ""),
    ("workdir", "in", ""),
    ("yum", "package", ""),
];

/// `; rollcall calls it ...` for a key of another program, if `known` has ours.
pub fn foreign(wrong: &str, known: &[&str]) -> Option<String> {
    let (_, ours, how) = FOREIGN.iter().find(|(word, ours, _)| *word == wrong && known.contains(ours))?;
    let how = if how.is_empty() { format!("`{ours}`") } else { how.to_string() };
    Some(format!("; in rollcall that is {how}"))
}

/// How many known names a hint lists before it says "and N more".
const NAMES_SHOWN: usize = 12;

/// `; did you mean ...?` for the nearest of the known names, or nothing.
pub fn did_you_mean<'n>(wrong: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    nearest(wrong, known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// `known: a, b`, for a hint.
pub fn known_names(mut known: Vec<&str>) -> String {
    if known.is_empty() {
        return "known: there are none".into();
    }
    let more = known.len().saturating_sub(NAMES_SHOWN);
    known.truncate(NAMES_SHOWN);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("known: {}{tail}", known.join(", "))
}
