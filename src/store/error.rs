//! Errors of SQLite and of files as errors of the store.

use std::path::Path;

use crate::port::StoreError;

pub fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

pub fn failed_at(path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Failed(format!("{}: {error}", path.display()))
}
