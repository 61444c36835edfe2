//! Settings of hosts, layer by layer.

use toml::Spanned;

use crate::config::text::vars::Values;

/// Settings that hosts inherit from group to group; the one nearest to the host wins.
#[derive(Clone, Default)]
pub struct Layer {
    pub vars: Values,
    /// In the order in which they are tried; never empty.
    pub addresses: Option<Vec<String>>,
    pub port: Option<u16>,
    pub login: Option<String>,
    /// The name of a key of `[fleet.keys]`.
    pub key: Option<Named>,
    pub via: Option<Via>,
    /// No jump host, whatever groups say.
    pub direct: bool,
}

/// A name, where it is written.
pub type Named = Spanned<String>;

/// A jump host by name.
#[derive(Clone)]
pub struct Via {
    pub name: Named,
    /// Written for this one host, not for a group.
    pub own: bool,
}

impl Layer {
    /// Puts `nearer` on top: its settings replace those of `self`.
    pub fn cover(&mut self, nearer: &Layer) {
        self.vars.cover(&nearer.vars);
        replace(&mut self.addresses, &nearer.addresses);
        replace(&mut self.port, &nearer.port);
        replace(&mut self.login, &nearer.login);
        replace(&mut self.key, &nearer.key);
        self.via.take_if(|_| nearer.direct);
        replace(&mut self.via, &nearer.via);
    }
}

pub fn replace<T: Clone>(old: &mut Option<T>, new: &Option<T>) {
    if new.is_some() {
        old.clone_from(new);
    }
}
