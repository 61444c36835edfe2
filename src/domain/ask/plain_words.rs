//! Words that become commands one to one.

use super::ask::{Command, HostKeys};
use super::grammar::{HostWords, NotifyWords};

/// `host accept`, `host forget`.
pub(super) fn read_host_keys(words: HostWords) -> HostKeys {
    match words {
        HostWords::Accept { selector, fingerprint, trust } => {
            HostKeys::Accept { selector, fingerprint, trust }
        }
        HostWords::Forget { selector } => HostKeys::Forget { selector },
    }
}

/// `notify list`, `notify test`.
pub(super) fn read_notify(words: NotifyWords) -> Command {
    match words {
        NotifyWords::List => Command::NotifyList,
        NotifyWords::Test { name } => Command::NotifyTest { name },
    }
}
