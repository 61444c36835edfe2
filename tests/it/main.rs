//! The integration tests, in one binary: they link once.

mod architecture;
mod balancers;
mod config;
mod demo;
mod door;
mod embedded;
mod facts;
mod failures;
mod fleet;
mod haproxy;
mod inventory;
mod killed;
mod language;
mod matrix;
mod operators;
mod outcomes;
mod readme;
mod release;
mod secrets;
mod sim;
mod steps_system;
mod support;
mod systemd;
mod wrapper;
