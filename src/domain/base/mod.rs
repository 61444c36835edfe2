//! Names, sets, bounded text and other small values that every room above needs.

pub mod answer;
pub mod archive;
pub mod configuration;
pub mod digest;
pub mod name;
pub mod networks;
pub mod nodes;
pub mod nodeset;
pub mod outcome;
pub mod output;
pub mod paths;
pub mod perf;
pub mod range;
pub mod refusal;
pub mod rendered;
pub mod request;
pub mod schedule;
pub mod shared;
pub mod style;
