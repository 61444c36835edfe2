//! The pages: one file for each, from what the door has collected to a [`Page`](super::page::Page).

pub mod audit;
pub mod checks;
pub mod debts;
pub mod fleet;
pub mod host;
pub mod run;
pub mod run_host;
pub mod run_step;
pub mod run_steps;
pub mod runs;
pub mod since;
pub mod step;
