//! The facts script on real shells.

use std::process::{Command, Stdio};

use super::*;

/// The facts as one shell gathers them.
fn gather(shell: &[&str]) -> Facts {
    let script = shell::with_arguments(LOOK, &[]);
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).args(["-c", &script]).stdin(Stdio::null()).env("SHELL", "/bin/sh");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{shell:?}: {output:?}");
    Facts::parse(&String::from_utf8_lossy(&output.stdout)).unwrap()
}

fn output(command: &mut Command) -> String {
    String::from_utf8_lossy(&command.output().unwrap().stdout).trim().to_string()
}

#[test]
fn every_shell_sees_the_same_host() {
    let mut all = [&["sh"][..], &["dash"], &["busybox", "sh"]].map(gather);
    let [first, ..] = &all;
    assert_eq!(first.arch.as_deref(), Some(output(Command::new("uname").arg("-m")).as_str()));
    assert_eq!(first.kernel.release.as_deref(), Some(output(Command::new("uname").arg("-r")).as_str()));
    assert_eq!(first.hostname.as_deref(), Some(output(Command::new("uname").arg("-n")).as_str()));
    assert_eq!(first.user.as_deref(), Some(output(Command::new("id").arg("-un")).as_str()));
    assert_eq!(first.shell.as_deref(), Some("/bin/sh"));
    assert!(first.os.is_some() && first.cpus.is_some() && first.init.is_some(), "{first:?}");
    assert!(first.memory_mb.is_some_and(|mb| mb > 0) && first.swap_mb.is_some(), "{first:?}");
    assert!(first.boot_id.is_some() && first.package_manager.is_some() && first.sudo.is_some(), "{first:?}");
    let free = |facts: &Facts| facts.disks.iter().all(|disk| disk.free_mb <= disk.size_mb);
    assert!(all.iter().all(free), "{:?}", first.disks);
    // Facts that change by themselves between two runs.
    for facts in &mut all {
        facts.uptime_s = None;
        facts.disks.iter_mut().for_each(|disk| disk.free_mb = 0);
    }
    let [first, others @ ..] = &all;
    for other in others {
        assert_eq!(first, other);
    }
}

/// A host with almost no tools still answers, and reports nothing that it does not have.
#[test]
fn a_host_without_tools_says_less_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let tools = ["cat", "cut", "echo", "grep", "head", "sed", "sleep", "tr", "uname"];
    for tool in tools {
        let found = output(Command::new("sh").args(["-c", &format!("command -v {tool}")]));
        if found.starts_with('/') {
            std::os::unix::fs::symlink(found, dir.path().join(tool)).unwrap();
        }
    }
    let own = format!("PATH={}", dir.path().display());
    let script =
        LOOK.replacen("PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", &own, 1);
    assert_ne!(script, LOOK);
    let output = Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    let facts = Facts::parse(&String::from_utf8_lossy(&output.stdout)).unwrap();
    assert!(facts.arch.is_some() && facts.kernel.name.is_some(), "{facts:?}");
    assert_eq!((facts.user, facts.python, facts.addresses.len()), (None, None, 0));
    assert_eq!((facts.package_manager.as_deref(), facts.sudo), (Some("none"), Some(false)));
}

#[test]
fn scripts_for_sh_are_told_from_other_programs() {
    let table: [(&[u8], bool); 8] = [
        (b"echo 1", true),
        (b"#!/bin/sh\necho 1", true),
        (b"#! /usr/bin/sh\n", true),
        (b"#!/bin/sh -e\n", false),
        (b"#!/usr/bin/env python3\n", false),
        (b"#!/bin/bash\n", false),
        (b"\x7fELF\xff", false),
        (b"", true),
    ];
    for (program, wanted) in table {
        assert_eq!(is_for_sh(program), wanted, "{program:?}");
    }
}
