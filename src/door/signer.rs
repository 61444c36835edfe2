//! The key of the door as a key that signs records, in the form of `ssh-keygen -Y`.

use std::sync::Arc;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{HashAlg, PrivateKey};

use crate::domain::base::refusal::Refusal;
use crate::domain::run::receipt::NAMESPACE;

/// The name of the signer in the list of allowed signers.
const NAME: &str = "rollcall";

/// Signs receipts. Cheap to clone.
#[derive(Clone)]
pub struct Signer(Arc<PrivateKey>);

impl Signer {
    pub fn new(key: PrivateKey) -> Signer {
        Signer(Arc::new(key))
    }

    /// A detached signature of a receipt.
    pub fn sign(&self, text: &str) -> Result<String, Refusal> {
        let signed = self.0.sign(NAMESPACE, HashAlg::Sha512, text.as_bytes());
        let pem = signed.and_then(|signature| signature.to_pem(LineEnding::LF));
        // The armour of ssh-keygen ends with a newline.
        let pem = pem.map(|text| format!("{}\n", text.trim_end()));
        pem.map_err(|error| Refusal::internal(format!("the receipt cannot be signed: {error}")))
    }

    /// The line of the list of allowed signers.
    pub fn allowed_signers(&self) -> Result<String, Refusal> {
        let mut key = self.0.public_key().clone();
        key.set_comment("");
        let key = key.to_openssh().map_err(|error| Refusal::internal(format!("host key: {error}")))?;
        Ok(format!("{NAME} namespaces=\"{NAMESPACE}\" {}\n", key.trim_end()))
    }
}
