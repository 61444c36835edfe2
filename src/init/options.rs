//! The options of `rollcall init`, and its questions.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::domain::base::nodeset;

/// The options of `rollcall init`. On a terminal, what is missing is asked for.
#[derive(Args, Clone, Debug, Default)]
pub struct InitOptions {
    /// The directory to write
    #[arg(default_value = "rollcall")]
    pub dir: PathBuf,
    /// The group of the hosts, as FILE.GROUP
    #[arg(long, default_value = "prod.web")]
    pub group: String,
    /// The hosts, such as 'web[01-03].example.com,db1.example.com'
    #[arg(long)]
    pub hosts: Option<String>,
    /// The account on the hosts
    #[arg(long)]
    pub login: Option<String>,
    /// What is in front of the hosts
    #[arg(long)]
    pub balancer: Option<BalancerKind>,
    /// The hosts on which the balancer runs
    #[arg(long, value_name = "HOSTS")]
    pub balancer_hosts: Option<String>,
    /// The kind of application
    #[arg(long)]
    pub app: Option<AppKind>,
    /// Its name: of the unit, the container, and the directory below /srv
    #[arg(long)]
    pub name: Option<String>,
    /// The port that answers on each host
    #[arg(long)]
    pub port: Option<u16>,
    /// With --app container: the image, without its tag
    #[arg(long)]
    pub image: Option<String>,
    /// Your public key; it becomes an admin. Default: the first of ~/.ssh/id_*.pub
    #[arg(long, value_name = "FILE")]
    pub operator_key: Option<PathBuf>,
}

/// What takes hosts out of rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BalancerKind {
    None,
    Nginx,
    Haproxy,
    /// A file on each host that the balancer's health check reads.
    File,
    /// Commands of your own.
    Command,
}

/// What is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AppKind {
    /// Release directories and the link `current`; a systemd unit is restarted.
    Release,
    /// One program that a systemd unit runs.
    Service,
    /// A container of docker.
    Container,
    /// Files that a web server serves from `current`.
    Static,
}

/// What a configuration is written from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// `prod` and `web` of `prod.web`.
    pub file: String,
    pub group: String,
    pub hosts: Vec<String>,
    pub login: String,
    pub balancer: BalancerKind,
    pub balancer_hosts: Vec<String>,
    pub app: AppKind,
    pub name: String,
    pub port: u16,
    pub image: String,
    pub operator_key: PathBuf,
}

/// Asks for one value: the question, and what an empty answer means. `None` without a terminal to ask on.
pub type Ask<'a> = &'a mut dyn FnMut(&str, &str) -> Option<String>;

/// Completes the options by questions.
pub fn complete(options: &InitOptions, home: &Path, user: &str, ask: Ask<'_>) -> Result<Wanted, String> {
    let (file, group) = options
        .group
        .split_once('.')
        .filter(|(file, group)| is_name(file) && is_name(group) && *group != "all")
        .ok_or_else(|| {
            format!(
                "--group `{}` is not FILE.GROUP, such as prod.web; `all` is the name of all hosts",
                options.group
            )
        })?;
    let hosts = value(options.hosts.clone(), ask, ("--hosts", "hosts, such as web[01-03].example.com", ""))?;
    let login = value(options.login.clone(), ask, ("--login", "the account on the hosts", user))?;
    let app = chosen(options.app, ask, ("--app", "kind of application", AppKind::Release))?;
    let name = value(options.name.clone(), ask, ("--name", "name of the application", "app"))?;
    let port = value(
        options.port.map(|port| port.to_string()),
        ask,
        ("--port", "the port that answers on each host", "8080"),
    )?;
    let image = match app {
        AppKind::Container => {
            value(options.image.clone(), ask, ("--image", "the image, without its tag", ""))?
        }
        AppKind::Release | AppKind::Service | AppKind::Static => String::new(),
    };
    let balancer =
        chosen(options.balancer, ask, ("--balancer", "balancer in front of them", BalancerKind::None))?;
    let balancer_hosts = match balancer {
        BalancerKind::Nginx | BalancerKind::Haproxy | BalancerKind::Command => value(
            options.balancer_hosts.clone(),
            ask,
            ("--balancer-hosts", "hosts on which the balancer runs", ""),
        )?,
        BalancerKind::None | BalancerKind::File => String::new(),
    };
    let operator_key = options.operator_key.clone().or_else(|| own_key(home)).ok_or(
        "your public key was not found below ~/.ssh; try: --operator-key FILE, or ssh-keygen -t ed25519 first",
    )?;
    let sets = |option: &str, text: &str| {
        let sets = parts(text);
        let wrong = sets.iter().find_map(|set| nodeset::expand(set).err());
        wrong.map_or(Ok(sets), |why| Err(format!("{option} `{text}`: {why}")))
    };
    let (hosts, balancer_hosts) = (sets("--hosts", &hosts)?, sets("--balancer-hosts", &balancer_hosts)?);
    let plain = [
        ("--name", &name, is_name(&name)),
        ("--login", &login, is_login(&login)),
        ("--image", &image, is_image(&image)),
    ];
    if let Some((option, text, _)) = plain.into_iter().find(|(_, _, is_plain)| !is_plain) {
        return Err(format!("{option} `{text}`: letters, digits and `-` only, beginning with a letter"));
    }
    let port =
        port.parse().ok().filter(|port| *port > 0).ok_or_else(|| format!("--port `{port}` is no port"))?;
    let (file, group) = (file.to_string(), group.to_string());
    Ok(Wanted { file, group, hosts, login, balancer, balancer_hosts, app, name, port, image, operator_key })
}

/// `web[1,3],db1 db2` is `web[1,3]`, `db1` and `db2`.
fn parts(text: &str) -> Vec<String> {
    let mut depth = 0;
    let is_end = |c: char| {
        depth += i32::from(c == '[') - i32::from(c == ']');
        depth == 0 && (c == ',' || c.is_whitespace())
    };
    text.split(is_end).filter(|part| !part.is_empty()).map(String::from).collect()
}

fn value(
    given: Option<String>,
    ask: Ask<'_>,
    (option, question, default): (&str, &str, &str),
) -> Result<String, String> {
    let answer = given.or_else(|| ask(question, default)).map(|text| text.trim().to_string());
    let text = answer.filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_string());
    if text.is_empty() { Err(format!("{option} is missing: {question}")) } else { Ok(text) }
}

/// One of the words of an enum.
fn chosen<T: ValueEnum + Copy>(
    given: Option<T>,
    ask: Ask<'_>,
    (option, question, default): (&str, &str, T),
) -> Result<T, String> {
    if let Some(given) = given {
        return Ok(given);
    }
    let word =
        |one: &T| one.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default();
    let words = T::value_variants().iter().map(word).collect::<Vec<_>>().join(", ");
    let text = value(None, ask, (option, &format!("{question} ({words})"), &word(&default)))?;
    T::from_str(&text, true).map_err(|_| format!("{option} `{text}` is none of: {words}"))
}

fn own_key(home: &Path) -> Option<PathBuf> {
    ["id_ed25519_sk", "id_ed25519", "id_ecdsa_sk", "id_ecdsa", "id_rsa"]
        .iter()
        .map(|name| home.join(".ssh").join(format!("{name}.pub")))
        .find(|path| path.is_file())
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn is_login(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

fn is_image(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./:".contains(c))
}
