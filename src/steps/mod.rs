//! Steps on hosts: one file for each kind of step, over the ports alone.

mod ad_hoc;
mod archive;
mod asking;
pub mod attempt;
pub mod context;
mod diff;
mod download;
mod edit;
mod facts;
mod patience;
pub mod perform;
pub mod ports;
mod program;
mod reboot;
mod recorded;
pub mod scripts;
pub mod seal;
mod stream;
mod system;
mod upload;
mod wait;
pub mod wrapper;
