//! What rollcall talks about, and every decision it takes. Pure: no I/O, no async, no clock, no SSH.
//!
//! The files form a chain; each imports only files that stand before it
//! (`tests/it/architecture.rs` reads this list and holds it):
//!
//! name, paths, archive, digest, shared, nodeset, outcome, range, perf, output, shell, expansion, jinja, secret, template, param, schedule, rotation, inventory,
//! alert, probe, seen, judge, across, check, roll, watched, channel, notice, incident, incidents, body, edit, step, hook, result, task,
//! facts, selector, ask, grammar, command, access, release, plan, veil, size, given, expand, checking, roster, watchlist, planner, adhoc, event,
//! record, health, phase, bracket, run, decision, around, leave, turn, rollout, wish, restart
//!
//! Time is an argument, randomness does not exist, and whatever has to be read from a disk arrives as
//! a value.

pub mod access;
pub mod across;
pub mod adhoc;
pub mod alert;
pub mod archive;
pub mod around;
pub mod ask;
pub mod body;
pub mod bracket;
pub mod channel;
pub mod check;
pub mod checking;
pub mod command;
pub mod decision;
pub mod digest;
pub mod edit;
pub mod event;
pub mod expand;
pub mod expansion;
pub mod facts;
pub mod given;
pub mod grammar;
pub mod health;
pub mod hook;
pub mod incident;
pub mod incidents;
pub mod inventory;
pub mod jinja;
pub mod judge;
pub mod leave;
pub mod name;
pub mod nodeset;
pub mod notice;
pub mod outcome;
pub mod output;
pub mod param;
pub mod paths;
pub mod perf;
pub mod phase;
pub mod plan;
pub mod planner;
pub mod probe;
pub mod range;
pub mod record;
pub mod release;
pub mod restart;
pub mod result;
pub mod roll;
pub mod rollout;
pub mod roster;
pub mod rotation;
pub mod run;
pub mod schedule;
pub mod secret;
pub mod seen;
pub mod selector;
pub mod shared;
pub mod shell;
pub mod size;
pub mod step;
pub mod task;
pub mod template;
pub mod turn;
pub mod veil;
pub mod watched;
pub mod watchlist;
pub mod wish;
