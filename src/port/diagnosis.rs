//! A connection to a host, measured.

use std::time::Duration;

use super::exec::ExecReport;

/// A new connection to a host, phase by phase. The last phase may have failed.
#[derive(Debug, Default)]
pub struct Diagnosis {
    pub phases: Vec<PhaseReport>,
    /// The end of the script, and how long it took, if all phases passed.
    pub report: Option<(ExecReport, Duration)>,
}

/// One phase of a connection.
#[derive(Debug)]
pub struct PhaseReport {
    pub name: &'static str,
    pub took: Duration,
    /// What was found; or why it failed.
    pub end: Result<String, String>,
}
