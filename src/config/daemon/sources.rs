//! Sources of values that are not in the configuration itself: files, the environment, commands,
//! systemd's credentials, age. All of them are read while the configuration is loaded.

use std::cell::OnceCell;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use super::settings::Settings;
use crate::config::text::origin::{Origin, SecretText, SourceError, Sources};
use crate::local::planned::reason;
use crate::local::process::{self, Failed, ProcessLimits};

/// Largest value that is read, in bytes.
pub const VALUE_LIMIT_BYTES: u64 = 64 * 1024;

/// The time limit of a command: a reload waits for it.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// The credential that decrypts age files if `age_identity` is not set.
const AGE_CREDENTIAL: &str = "age";

fn trouble<T>(why: impl Into<String>, hint: &str) -> Result<T, SourceError> {
    Err(SourceError { why: why.into(), hint: Some(hint.into()) })
}

/// The daemon's machine.
pub struct Machine {
    root: PathBuf,
    allow_local: bool,
    age_identity: Option<PathBuf>,
    /// Its text, after the first use.
    identity: OnceCell<SecretText>,
}

impl Machine {
    /// With the settings of the configuration at `root`.
    pub fn new(root: &Path, settings: &Settings) -> Machine {
        Machine {
            root: root.to_path_buf(),
            allow_local: settings.allow_local,
            age_identity: settings.age_identity.clone(),
            identity: OnceCell::new(),
        }
    }

    /// Below the configuration directory, or absolute.
    fn path(&self, path: &str) -> Result<PathBuf, SourceError> {
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if Path::new(path).is_absolute() || Path::new(path).components().all(plain) {
            return Ok(self.root.join(path));
        }
        trouble(
            format!("`{path}` leaves the configuration directory"),
            "write an absolute path, or one below that directory",
        )
    }

    fn command(&self, command: &str) -> Result<SecretText, SourceError> {
        if !self.allow_local {
            return trouble(
                "commands on the machine of rollcall are not allowed",
                "write allow_local = true in rollcall.toml: everyone who may write these files can then act as rollcall",
            );
        }
        let by_hand = "run it by hand, as rollcall's user and in the configuration directory";
        let mut sh = process::command("sh");
        sh.args(["-c", command]).current_dir(&self.root);
        let limits = ProcessLimits { time: COMMAND_TIMEOUT, output_bytes: VALUE_LIMIT_BYTES };
        let ran = match process::run(sh, &limits) {
            Ok(ran) => ran,
            Err(Failed::Start(error)) => return Err(format!("sh: {}", reason(&error)).into()),
            Err(Failed::Read(error)) => {
                return Err(format!("the output of the command cannot be read: {}", reason(&error)).into());
            }
            Err(Failed::TooLong) => {
                return trouble(
                    format!("the command took longer than {COMMAND_TIMEOUT:?} and was ended"),
                    by_hand,
                );
            }
            Err(Failed::TooMuch) => {
                return Err(
                    format!("what the command printed has more than {VALUE_LIMIT_BYTES} bytes").into()
                );
            }
        };
        if !ran.status.success() {
            let how = match (ran.status.code(), ran.status.signal()) {
                (Some(code), _) => format!("exit status {code}"),
                (None, signal) => format!("signal {}", signal.unwrap_or_default()),
            };
            return trouble(format!("the command ended with {how}"), by_hand);
        }
        text(ran.output).map_err(|why| format!("what the command printed {why}").into())
    }

    fn credential(&self, name: &str) -> Result<SecretText, SourceError> {
        let unit = format!("write LoadCredential={name}:PATH in the unit of rollcall");
        let Some(dir) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
            return trouble(format!("systemd gave rollcall no credentials, and so no `{name}`"), &unit);
        };
        if name.contains('/') || name.starts_with('.') {
            return Err(format!("`{name}` cannot name a credential").into());
        }
        file(&PathBuf::from(dir).join(name))
            .map_err(|why| SourceError { why: format!("credential `{name}`: {why}"), hint: Some(unit) })
    }

    fn identity(&self) -> Result<&SecretText, SourceError> {
        if let Some(text) = self.identity.get() {
            return Ok(text);
        }
        let text = match &self.age_identity {
            Some(path) => file(path).map_err(|why| format!("age_identity {}: {why}", path.display()))?,
            None => self.credential(AGE_CREDENTIAL).map_err(|_| SourceError {
                why: "no identity is known that could decrypt it".into(),
                hint: Some(
                    "write age_identity = \"PATH\" in rollcall.toml, or give the credential `age`".into(),
                ),
            })?,
        };
        Ok(self.identity.get_or_init(|| text))
    }

    fn age(&self, path: &str) -> Result<SecretText, SourceError> {
        let file = bytes(&self.path(path)?).map_err(|why| format!("{path}: {why}"))?;
        let identities = age::IdentityFile::from_buffer(self.identity()?.as_bytes())
            .ok()
            .and_then(|file| file.into_identities().ok())
            .filter(|identities| !identities.is_empty())
            .ok_or_else(|| "the age identity cannot be read: it is no file of age-keygen".to_string())?;
        let refused = |error: age::DecryptError| format!("{path}: {error}");
        let decryptor =
            age::Decryptor::new(age::armor::ArmoredReader::new(file.as_slice())).map_err(refused)?;
        let identities = identities.iter().map(|identity| &**identity as &dyn age::Identity);
        let mut plain = decryptor.decrypt(identities).map_err(refused)?;
        let plain = limited(&mut plain).map_err(|why| format!("{path}: {why}"))?;
        text(plain).map_err(|why| format!("{path}: the text {why}").into())
    }
}

impl Sources for Machine {
    fn read(&self, origin: &Origin) -> Result<SecretText, SourceError> {
        match origin {
            Origin::File(path) => file(&self.path(path)?).map_err(|why| format!("{path}: {why}").into()),
            Origin::Env(name) => match std::env::var(name) {
                Ok(value) => Ok(without_line_end(value)),
                Err(_) => trouble(
                    format!("the environment of rollcall has no `{name}`, or it is not UTF-8"),
                    "write Environment= or EnvironmentFile= in the unit of rollcall",
                ),
            },
            Origin::Command(command) => self.command(command),
            Origin::Credential(name) => self.credential(name),
            Origin::Age(path) => self.age(path),
        }
    }
}

fn file(path: &Path) -> Result<SecretText, String> {
    text(bytes(path)?)
}

fn bytes(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |error: std::io::Error| reason(&error);
    // Opening a pipe would wait for a writer.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err("is no regular file".into());
    }
    limited(&mut File::open(path).map_err(failed)?)
}

fn limited(reader: &mut dyn Read) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = Zeroizing::new(Vec::new());
    reader.take(VALUE_LIMIT_BYTES + 1).read_to_end(&mut bytes).map_err(|error| reason(&error))?;
    match bytes.len() as u64 > VALUE_LIMIT_BYTES {
        true => Err(format!("has more than {VALUE_LIMIT_BYTES} bytes")),
        false => Ok(bytes),
    }
}

fn text(bytes: Zeroizing<Vec<u8>>) -> Result<SecretText, String> {
    if bytes.len() as u64 > VALUE_LIMIT_BYTES {
        return Err(format!("has more than {VALUE_LIMIT_BYTES} bytes"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| "is not UTF-8".to_string())?;
    Ok(without_line_end(text.to_string()))
}

fn without_line_end(mut text: String) -> SecretText {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Zeroizing::new(text)
}
