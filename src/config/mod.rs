//! The configuration directory -> domain values. All mistakes of all files are reported at once, each
//! with file, line, caret and the nearest known name; a configuration that holds one is not used.
//!
//! Rooms, lowest first; each imports only rooms that are listed before it, which `tests/it/architecture.rs` holds:
//!
//! text, checks, tasks, daemon, hosts, disk, shape
//!
//! Reading the disk is kept apart from understanding what was read, so that [`from_texts`] is a pure function.

mod checks;
mod config;
mod daemon;
mod disk;
mod hosts;
mod load;
mod redacted;
pub mod shape;
mod tasks;
mod text;
mod version;

pub use checks::watching::Schedule;
pub use config::{Config, check_operators, from_texts};
pub use daemon::certificates::CertificateSettings;
pub use daemon::door::DoorSettings;
pub use daemon::keys::Profile;
pub use daemon::settings::{FleetSettings, Settings};
pub use disk::files::{FilesDir, TEXT_LIMIT_BYTES};
pub use hosts::scripted::Scripted;
pub use load::{load, load_kept, on_disk_now, refresh, store_of};
pub use redacted::{redacted, redacted_files};
pub use text::diagnostic::{Diagnostic, Diagnostics};
pub use text::keys::size_text;
