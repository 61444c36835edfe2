//! Values that are outside of the configuration: their origins, and the port that reads them.

use zeroize::Zeroizing;

/// The origin of a value.
pub enum Origin {
    File(String),
    Env(String),
    Command(String),
    Credential(String),
    Age(String),
}

/// Why a value could not be read, and the next thing to try.
pub struct SourceError {
    pub why: String,
    pub hint: Option<String>,
}

impl From<String> for SourceError {
    fn from(why: String) -> SourceError {
        SourceError { why, hint: None }
    }
}

/// A text that may be a secret.
pub type SecretText = Zeroizing<String>;

/// Reads values.
pub trait Sources {
    /// The value, without the line end behind it.
    fn read(&self, origin: &Origin) -> Result<SecretText, SourceError>;
}

/// A source that has no values.
pub struct Nowhere;

impl Sources for Nowhere {
    fn read(&self, _: &Origin) -> Result<SecretText, SourceError> {
        Err("values from other places need a configuration on disk".to_string().into())
    }
}
