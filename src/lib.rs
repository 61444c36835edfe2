//! rollcall: push a release host by host, then call the roll: every host answers for itself.
//!
//! The modules form layers, lowest first; imports point down only, and `tests/it/architecture.rs`
//! verifies that. The map follows; it is `ARCHITECTURE.md`.

#![cfg_attr(doc, doc = include_str!("../ARCHITECTURE.md"))]
// The pictures of the map are indented, and not Rust.
#![allow(rustdoc::invalid_rust_codeblocks)]

pub mod cut;
pub mod domain;
pub mod local;
pub mod panics;
pub mod port;
pub mod script;
pub mod version;

pub mod config;
pub mod engine;
pub mod logging;
pub mod notices;
pub mod present;
pub mod probes;
pub mod steps;
pub mod tui;
pub mod watch;

pub mod balancer;
pub mod fleet;
pub mod net;
pub mod notify;
pub mod store;
pub mod vault;

pub mod door;
pub mod embedded;

pub mod daemon;
pub mod import;
pub mod support;

pub mod demo;
pub mod init;
