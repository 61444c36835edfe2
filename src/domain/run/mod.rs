//! One execution of a plan: its events, its state, and every decision of a rollout.

pub mod agenda;
pub mod around;
pub mod bracket;
pub mod decision;
pub mod event;
pub mod health;
pub mod history;
mod index;
pub mod leave;
pub mod phase;
pub mod receipt;
pub mod record;
pub mod report;
pub mod request;
pub mod restart;
pub mod retention;
pub mod rollout;
pub mod run;
pub mod times;
pub mod turn;
pub mod visit;
