//! The files of the configuration directory as read.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Path relative to the configuration directory -> content.
pub type Texts = BTreeMap<String, Arc<str>>;
