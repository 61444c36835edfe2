//! The words of `config`, and those of the clients of git.

use clap::Subcommand;

#[derive(Subcommand, Debug)]
pub(super) enum ConfigWords {
    /// The versions that were in force: when, by whom, and which files changed
    Log,
    /// What differs between versions, without texts that may be secret; alone: the disk against what is in force
    Diff { old: Option<String>, new: Option<String> },
}

#[derive(Subcommand, Debug)]
pub(super) enum GitWords {
    /// `git push` of the configuration
    #[command(name = "git-receive-pack", hide = true)]
    Push { path: String },
    /// `git fetch` of the configuration
    #[command(name = "git-upload-pack", hide = true)]
    Fetch { path: String },
}
