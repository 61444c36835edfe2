//! The credentials of rollcall for hosts, as `[fleet]` names them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::{CertificateSettings, FleetSettings};
use crate::fleet::authority::{Authority, CertificateRules};
use crate::fleet::dial::Identity;
use crate::fleet::{read_identities, read_identity};

/// Reads all of them.
pub fn identities(settings: &FleetSettings) -> Result<Vec<Identity>, String> {
    let authority = settings.certificates.as_ref().map(authority).transpose()?;
    read_identities(authority, &settings.identity, settings.agent.as_ref())
}

/// What is wrong with each file.
pub fn mistakes(settings: &FleetSettings) -> Vec<String> {
    let authority = settings.certificates.iter().filter_map(|about| authority(about).err());
    let agent = settings.agent.as_ref();
    let identities = settings.identity.iter().filter_map(|file| read_identity("identity", file, agent).err());
    let keys = settings.keys.iter().filter_map(|(name, file)| named(name, file, agent).err());
    authority.chain(identities).chain(keys).collect()
}

/// The keys that hosts name.
pub fn keys(settings: &FleetSettings) -> Result<BTreeMap<String, Identity>, String> {
    let key =
        |(name, file): (&String, &PathBuf)| Ok((name.clone(), named(name, file, settings.agent.as_ref())?));
    settings.keys.iter().map(key).collect()
}

fn named(name: &str, file: &Path, agent: Option<&PathBuf>) -> Result<Identity, String> {
    read_identity(&format!("key `{name}`"), file, agent)
}

/// The key that signs certificates.
pub fn authority(about: &CertificateSettings) -> Result<Authority, String> {
    let rules = CertificateRules {
        valid_for: about.valid_for,
        principals: about.principals.clone(),
        source_address: about.source_address.clone(),
    };
    Authority::read(&about.ca, rules)
}
