//! The credentials of rollcall for hosts, as `[fleet]` names them.

use crate::config::{CertificateSettings, FleetSettings};
use crate::fleet::authority::{Authority, CertificateRules};
use crate::fleet::dial::Identity;
use crate::fleet::read_identities;

/// Reads all of them.
pub fn identities(settings: &FleetSettings) -> Result<Vec<Identity>, String> {
    let authority = settings.certificates.as_ref().map(authority).transpose()?;
    read_identities(authority, &settings.identity, settings.agent.as_ref())
}

/// What is wrong with each file.
pub fn mistakes(settings: &FleetSettings) -> Vec<String> {
    let authority = settings.certificates.iter().filter_map(|about| authority(about).err());
    let keys = settings.identity.iter();
    let keys = keys.filter_map(|file| read_identities(None, std::slice::from_ref(file), None).err());
    authority.chain(keys).collect()
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
