//! Adds a line to `operators`: the file is replaced as a whole, or stays as it is.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::config::{Config, check_operators};
use crate::domain::base::refusal::Refusal;
use crate::local::planned::reason;

/// The mode of a new file: it holds no secret.
const MODE: u32 = 0o644;

/// Appends the line, if the whole is right then.
pub fn append(root: &Path, config: &Config, line: &str) -> Result<(), Refusal> {
    let failed = |error: io::Error| {
        let why = format!("`operators` cannot be written: {}", reason(&error));
        Refusal::rule(why).hint(format!("add this line to it, then: ssh rollcall reload\n{line}"))
    };
    // A link stays one.
    let path = fs::canonicalize(root.join("operators")).unwrap_or_else(|_| root.join("operators"));
    let before = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    let newline = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    let text = format!("{before}{newline}{line}\n");
    check_operators(config, &text)
        .map_err(|wrong| Refusal::usage(format!("`operators` would be wrong with it:\n{wrong}")))?;
    replace(&path, &text).map_err(failed)
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mode = fs::metadata(path).map_or(MODE, |about| about.permissions().mode());
    let temporary = path.with_file_name(".operators.new");
    let mut file = File::create(&temporary)?;
    let written = file
        .set_permissions(Permissions::from_mode(mode))
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}
