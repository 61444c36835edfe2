//! The thin entry: reads the command line, starts what it asks for, and turns the end into an exit status.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use rollcall::config::shape;
use rollcall::daemon::{self, Daemon, SystemClock};
use rollcall::domain::ask::command::parse_words;
use rollcall::domain::base::refusal::Cause;
use rollcall::import;
use rollcall::init;
use rollcall::init::options::{self, InitOptions};
use rollcall::logging;
use rollcall::port::Clock;
use rollcall::support;
use rollcall::version::VERSION;

/// Push a release host by host, then call the roll: every host answers for itself.
#[derive(Parser)]
#[command(name = "rollcall", version = VERSION, disable_help_subcommand = true, after_help = AFTER_HELP)]
struct CommandLine {
    /// The configuration directory
    #[arg(long, global = true, value_name = "DIR", env = "ROLLCALL_CONFIG", default_value = "/etc/rollcall")]
    config: PathBuf,
    /// Answer a command without a daemon: rollcall --local deploy prod version=1.4.2
    #[arg(long, global = true)]
    local: bool,
    /// With serve: how the log on standard error is written
    #[arg(long, global = true, value_name = "FORMAT", env = "ROLLCALL_LOG", default_value = "text")]
    log: logging::Format,
    /// With --local: answer in JSON, one object a line
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    words: Option<LocalCommand>,
}

const AFTER_HELP: &str = "\
Commands on hosts are given over ssh to the daemon (ssh rollcall help), or without one: rollcall --local help.
To see a rolling release on this machine alone: rollcall demo";

#[derive(Subcommand)]
enum LocalCommand {
    /// Run the daemon
    Serve,
    /// Check a configuration directory and tell every mistake in it
    CheckConfig { dir: Option<PathBuf> },
    /// Print the JSON Schema of a kind of file, for editors: rollcall, hosts, tasks or checks
    Schema { file: String },
    /// Print the hosts of an ssh_config as a file of hosts/, with what was not taken and why
    HostsImport {
        /// The ssh_config; `ssh -G` reads it for each host that it names
        #[arg(long, value_name = "FILE")]
        ssh_config: PathBuf,
    },
    /// Write one file without secrets for a bug report: version, configuration, facts of the store, log
    Support {
        /// The file to write; it must not exist yet
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Give the space of removed runs back to the disk; the daemon must be stopped
    Vacuum,
    /// Write a configuration for your own hosts; on a terminal it asks for what is missing
    Init(InitOptions),
    /// Show a rolling release on a fleet inside this process; needs nothing but this binary
    Demo {
        /// End when it was shown, instead of leaving the daemon up
        #[arg(long)]
        once: bool,
        /// Web hosts of the fleet; 500 took 250 MB of memory
        #[arg(long, value_name = "NUMBER", default_value_t = rollcall::demo::WEB_HOSTS, value_parser = web_hosts)]
        hosts: usize,
    },
    #[command(external_subcommand)]
    Command(Vec<String>),
}

fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // Help is printed, too, and is no mistake.
            let status = if error.use_stderr() { Cause::Usage.exit_status() } else { 0 };
            return match error.print() {
                Ok(()) => ExitCode::from(status),
                Err(error) => fail(&error.to_string(), Cause::Internal.exit_status()),
            };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string(), Cause::Internal.exit_status()),
    };
    runtime.block_on(run(line))
}

/// Each host takes descriptors, and a shell or a service often allows 1,024. As many as `systemd/rollcall.service` has.
fn open_many_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    const ENOUGH: u64 = 65_536;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft < hard.min(ENOUGH) {
        // Without more of them rollcall works, too; `doctor` says when few are left.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(ENOUGH), hard);
    }
}

fn web_hosts(text: &str) -> Result<usize, String> {
    let most = rollcall::embedded::MOST_WEB_HOSTS;
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("1 to {most}"))
}

/// No other account may read the journal, known hosts and keys. Only here: it holds for a whole process.
fn keep_files_private() {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
}

async fn run(line: CommandLine) -> ExitCode {
    let line = match line.words {
        Some(LocalCommand::Command(words)) => with_options_behind(CommandLine { words: None, ..line }, words),
        words => Ok((CommandLine { words, ..line }, Vec::new())),
    };
    let (line, mut words) = match line {
        Ok(line) => line,
        Err(why) => return fail(&why, Cause::Usage.exit_status()),
    };
    if line.json && !line.local {
        return fail("`--json` is for commands that --local answers", Cause::Usage.exit_status());
    }
    if line.local || matches!(line.words, Some(LocalCommand::Serve)) {
        keep_files_private();
    }
    if matches!(line.words, Some(LocalCommand::Serve | LocalCommand::Demo { .. })) {
        open_many_files();
    }
    match line.words {
        Some(LocalCommand::Serve) => return serve(&line.config, line.log).await,
        Some(LocalCommand::CheckConfig { dir }) => return check_config(&dir.unwrap_or(line.config)),
        Some(LocalCommand::Schema { file }) => return schema(&file),
        Some(LocalCommand::HostsImport { ssh_config }) => return hosts_import(&ssh_config),
        Some(LocalCommand::Support { to }) => return support(&line.config, to),
        Some(LocalCommand::Init(options)) => return init(&options),
        Some(LocalCommand::Vacuum) => return vacuum(&line.config),
        Some(LocalCommand::Demo { once, hosts }) => {
            return ended(rollcall::demo::run(&std::env::temp_dir(), hosts, once).await);
        }
        Some(LocalCommand::Command(_)) | None => {}
    }
    if !line.local && words.first().is_none_or(|word| word == "help") {
        return help(&words);
    }
    if !line.local {
        let asked = words.join(" ");
        let why = format!(
            "commands are given over ssh (ssh rollcall {asked}); without a daemon: rollcall --local {asked}"
        );
        return fail(why.trim_end(), Cause::Usage.exit_status());
    }
    if line.json {
        words.insert(0, "--json".into());
    }
    match parse_words(&words) {
        Ok(request) => {
            let typed = shell_words::join(&words);
            ExitCode::from(daemon::answer_locally(&line.config, request, typed).await)
        }
        Err(error) => fail(&error.text, Cause::Usage.exit_status()),
    }
}

/// Takes the options of the program out of a command for `--local`, where they may be behind it, too.
fn with_options_behind(
    mut line: CommandLine,
    words: Vec<String>,
) -> Result<(CommandLine, Vec<String>), String> {
    let (mut left, mut words) = (Vec::new(), words.into_iter());
    while let Some(word) = words.next() {
        match word.as_str() {
            // The rest is for the shell of the hosts.
            "--" => {
                left.push(word);
                left.extend(words.by_ref());
            }
            "--local" => line.local = true,
            "--config" => line.config = words.next().ok_or("`--config` needs a directory")?.into(),
            _ => match word.strip_prefix("--config=") {
                Some(dir) => line.config = dir.into(),
                None => left.push(word),
            },
        }
    }
    Ok((line, left))
}

/// `rollcall help`, and `rollcall` alone: a script whose command is empty has made a mistake, and must not succeed.
fn help(words: &[String]) -> ExitCode {
    let mut grammar = CommandLine::command();
    grammar.build();
    let [_, rest @ ..] = words else {
        eprint!("{}", grammar.render_help());
        return ExitCode::from(Cause::Usage.exit_status());
    };
    match rest.first().map(|name| (name, grammar.find_subcommand_mut(name))) {
        None => print!("{}", grammar.render_help()),
        Some((_, Some(found))) => print!("{}", found.render_help()),
        Some((name, None)) => {
            let why = format!(
                "the program has no command `{name}`; try: rollcall help, or ssh rollcall help {name}"
            );
            return fail(&why, Cause::Usage.exit_status());
        }
    }
    ExitCode::SUCCESS
}

async fn serve(config: &Path, log: logging::Format) -> ExitCode {
    if !config.exists() {
        let dir = config.display();
        let why = format!(
            "there is no configuration directory {dir}; try: rollcall serve --config DIR, or make {dir} with files in \
             hosts/ and tasks/, a file `operators` with the public keys of people, and rollcall.toml; then: rollcall \
             check-config {dir}. To see it work first: rollcall demo"
        );
        return fail(&why, Cause::Internal.exit_status());
    }
    logging::start(log);
    let daemon = match Daemon::start(config).await {
        Ok(daemon) => daemon,
        Err(why) => return fail(&why, Cause::Internal.exit_status()),
    };
    ended(daemon.run().await)
}

fn ended(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why, Cause::Internal.exit_status()),
    }
}

fn schema(file: &str) -> ExitCode {
    match shape::schema(file).map(|schema| serde_json::to_string_pretty(&schema)) {
        Some(Ok(text)) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Some(Err(error)) => fail(&error.to_string(), Cause::Internal.exit_status()),
        None => fail(
            &format!("`{file}` is no kind of file; try: {}", shape::FILES.join(", ")),
            Cause::Usage.exit_status(),
        ),
    }
}

fn hosts_import(ssh_config: &Path) -> ExitCode {
    match import::hosts_of(ssh_config) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why, Cause::Internal.exit_status()),
    }
}

fn support(config: &Path, to: Option<PathBuf>) -> ExitCode {
    match support::write(config, to, SystemClock.now()) {
        Ok(path) => {
            println!("{}: read it before you attach it", path.display());
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why, Cause::Internal.exit_status()),
    }
}

/// Writes a configuration, and checks it as the daemon will read it.
fn init(options: &InitOptions) -> ExitCode {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let user = std::env::var("USER").or_else(|_| std::env::var("LOGNAME")).unwrap_or_default();
    let mut ask = |question: &str, default: &str| {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        eprint!("{question} [{default}]: ");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).ok().filter(|read| *read > 0).map(|_| answer)
    };
    let wanted = match options::complete(options, &home, &user, &mut ask) {
        Ok(wanted) => wanted,
        Err(why) => return fail(&why, Cause::Usage.exit_status()),
    };
    let written = init::write(&options.dir, &wanted)
        .and_then(|next| daemon::check_config(&options.dir).map(|said| format!("{said}\n\n{next}")));
    match written {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why, Cause::Internal.exit_status()),
    }
}

fn vacuum(config: &Path) -> ExitCode {
    match daemon::vacuum(config) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why, Cause::Internal.exit_status()),
    }
}

fn check_config(dir: &Path) -> ExitCode {
    match daemon::check_config(dir) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why, 1),
    }
}

fn fail(why: &str, status: u8) -> ExitCode {
    eprintln!("rollcall: {why}");
    ExitCode::from(status)
}
