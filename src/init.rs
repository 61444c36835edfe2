//! `rollcall init`: writes a commented configuration that works as it is, and the key that hosts know rollcall by.

pub mod options;

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey, PublicKey};

use self::options::{AppKind, BalancerKind, Wanted};
use crate::config;

/// The key of the fleet, private and public, as OpenSSH has them.
struct FleetKey {
    private: String,
    public: String,
}

/// Writes the configuration into a directory, and returns what to do next. Files that are there stay, and are a mistake.
pub fn write(dir: &Path, wanted: &Wanted) -> Result<String, String> {
    let operator = operator_line(&wanted.operator_key)?;
    let key = fleet_key()?;
    let files = files(wanted, &operator, &key);
    if let Some((name, ..)) = files.iter().find(|(name, ..)| dir.join(name).symlink_metadata().is_ok()) {
        let path = dir.join(name);
        return Err(format!("{} is there, and nothing was written; try: another directory", path.display()));
    }
    let written = files.iter().try_for_each(|(name, text, mode)| {
        let path = dir.join(name);
        put(&path, text, *mode).map_err(|error| format!("{}: {error}", path.display()))
    });
    // What the daemon would refuse is not left behind.
    match written.and_then(|()| config::load(dir).map(drop).map_err(|wrong| wrong.to_string())) {
        Ok(()) => Ok(next(dir, wanted, &key)),
        Err(why) => {
            files.iter().for_each(|(name, ..)| _ = std::fs::remove_file(dir.join(name)));
            Err(format!("{why}\nnothing was written"))
        }
    }
}

fn put(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())
}

/// The line of `operators` for a public key.
fn operator_line(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => format!("{}: there is no such file; try: --operator-key FILE", path.display()),
        _ => format!("{}: {error}", path.display()),
    })?;
    let key = PublicKey::from_openssh(text.trim()).map_err(|error| {
        format!("{}: no public key of OpenSSH: {error}; try: the file that ends in .pub", path.display())
    })?;
    let line = key.to_openssh().map_err(|error| error.to_string())?;
    Ok(format!(
        "# Who may connect, one key a line: keys.example of rollcall and docs/access.md have more.\nrole=\"admin\" {line}\n"
    ))
}

fn fleet_key() -> Result<FleetKey, String> {
    let failed = |error: &dyn std::fmt::Display| format!("the key of the fleet cannot be made: {error}");
    let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519)
        .map_err(|error| failed(&error))?;
    let public = PublicKey::new(key.public_key().key_data().clone(), "rollcall");
    Ok(FleetKey {
        private: key.to_openssh(LineEnding::LF).map_err(|error| failed(&error))?.to_string(),
        public: public.to_openssh().map_err(|error| failed(&error))?,
    })
}

/// All files: the path in the directory, the text, and the mode.
fn files(wanted: &Wanted, operator: &str, key: &FleetKey) -> Vec<(String, String, u32)> {
    let Wanted { file, name, .. } = wanted;
    vec![
        ("rollcall.toml".into(), include_str!("init/rollcall.toml").into(), 0o644),
        ("operators".into(), operator.into(), 0o644),
        (format!("hosts/{file}.toml"), hosts(wanted), 0o644),
        ("tasks/deploy.toml".into(), task(wanted), 0o644),
        (format!("checks/{name}.toml"), include_str!("init/check.toml").into(), 0o644),
        ("fleet_key".into(), key.private.clone(), 0o600),
        ("fleet_key.pub".into(), format!("{}\n", key.public), 0o644),
        (".gitignore".into(), "fleet_key\nstate/\n".into(), 0o644),
    ]
}

fn hosts(wanted: &Wanted) -> String {
    filled(include_str!("init/hosts.toml"), wanted) + &balancer(wanted)
}

/// The tables of the balancer, and of the hosts on which it runs.
fn balancer(wanted: &Wanted) -> String {
    let text = match wanted.balancer {
        BalancerKind::None => return String::new(),
        BalancerKind::Nginx => include_str!("init/nginx.toml"),
        BalancerKind::Haproxy => include_str!("init/haproxy.toml"),
        BalancerKind::File => include_str!("init/file.toml"),
        BalancerKind::Command => include_str!("init/command.toml"),
    };
    filled(text, wanted)
}

fn task(wanted: &Wanted) -> String {
    let text = match wanted.app {
        AppKind::Release | AppKind::Static => include_str!("init/release.toml"),
        AppKind::Service => include_str!("init/service.toml"),
        AppKind::Container => include_str!("init/container.toml"),
    };
    let restart = |table: &str| match wanted.app {
        AppKind::Release | AppKind::Service => format!(
            "\n[[{table}]]\nname = \"restart\"\nservice = {{ name = \"%app%\", state = \"restarted\" }}\nsudo = true\n"
        ),
        AppKind::Static | AppKind::Container => String::new(),
    };
    let text = text
        .replace("%rollout%\n", include_str!("init/rollout.toml"))
        .replace("%restart%\n", &restart("steps"))
        .replace("%restart_back%\n", &restart("rollback"));
    filled(&text, wanted)
}

/// A text with the values in the place of their names.
fn filled(text: &str, wanted: &Wanted) -> String {
    let quoted = |text: &str| toml::Value::String(text.into()).to_string();
    let list = |sets: &[String]| toml::Value::from(sets.to_vec()).to_string();
    let balancer_group = if wanted.group == "lb" { "balancers" } else { "lb" };
    let values = [
        ("%file%", wanted.file.clone()),
        ("%group%", wanted.group.clone()),
        ("%hosts%", list(&wanted.hosts)),
        ("%login%", quoted(&wanted.login)),
        ("%app%", wanted.name.clone()),
        ("%port%", wanted.port.to_string()),
        ("%image%", quoted(&wanted.image)),
        ("%balancer_group%", balancer_group.into()),
        ("%balancer_hosts%", list(&wanted.balancer_hosts)),
    ];
    values.into_iter().fold(text.to_string(), |text, (name, value)| text.replace(name, &value))
}

/// What to do on the hosts, and the next three commands.
fn next(dir: &Path, wanted: &Wanted, key: &FleetKey) -> String {
    let Wanted { file, login, name, .. } = wanted;
    let dir = shell_words::quote(&dir.display().to_string()).into_owned();
    let root = match wanted.app {
        AppKind::Container => format!("    {login} may use docker\n"),
        AppKind::Release | AppKind::Service | AppKind::Static => {
            format!("    install -d -o {login} /srv/{name}\n")
        }
    };
    let has_sudo = matches!(wanted.app, AppKind::Release | AppKind::Service)
        || matches!(wanted.balancer, BalancerKind::Nginx | BalancerKind::Haproxy);
    let sudo = match has_sudo {
        true => format!("What sudo must allow on them: rollcall --config {dir} --local sudoers {file}\n"),
        false => String::new(),
    };
    let deploy = match wanted.app {
        AppKind::Container => format!("deploy {file} version=1.0.0"),
        AppKind::Release | AppKind::Static => format!("deploy {file} artifact=- version=1.0.0 < {name}.tgz"),
        AppKind::Service => format!("deploy {file} artifact=- version=1.0.0 < {name}"),
    };
    format!(
        "On each host, once: this line in ~{login}/.ssh/authorized_keys\n    {}\nand, as root:\n{root}\
{sudo}\n\
         The next three commands; the second one prints the keys of the hosts, and the command that records them:\n    \
         rollcall serve --config {dir}\n    ssh -p 2222 rollcall@localhost host accept {file}\n    \
         ssh -p 2222 rollcall@localhost {deploy}\n",
        key.public
    )
}

#[cfg(test)]
#[path = "init/tests.rs"]
mod tests;
