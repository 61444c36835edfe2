//! The thin entry: reads the command line, starts what it asks for, and turns the end into an exit status.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rollcall::config::shape;
use rollcall::daemon::{self, Daemon, SystemClock};
use rollcall::domain::ask::command::parse_words;
use rollcall::domain::base::refusal::Cause;
use rollcall::logging;
use rollcall::port::Clock;
use rollcall::support;

/// Push a release host by host, then call the roll: every host answers for itself.
#[derive(Parser)]
#[command(name = "rollcall", version, disable_help_subcommand = true)]
struct Line {
    /// The configuration directory
    #[arg(long, value_name = "DIR", env = "ROLLCALL_CONFIG", default_value = "/etc/rollcall")]
    config: PathBuf,
    /// Answer a command without a daemon: rollcall --local deploy prod version=1.4.2
    #[arg(long)]
    local: bool,
    #[command(subcommand)]
    words: Option<Words>,
}

#[derive(Subcommand)]
enum Words {
    /// Run the daemon
    Serve {
        /// How the log on standard error is written
        #[arg(long, value_name = "FORMAT", env = "ROLLCALL_LOG", default_value = "text")]
        log: logging::Format,
    },
    /// Check a configuration directory and tell every mistake in it
    CheckConfig { dir: Option<PathBuf> },
    /// Print the JSON Schema of a kind of file, for editors: rollcall, hosts, tasks or checks
    Schema { file: String },
    /// Write one file without secrets for a bug report: version, configuration, facts of the store, log
    Support {
        /// The file to write; it must not exist yet
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Show a rolling release on a fleet inside this process; needs nothing but this binary
    Demo {
        /// End when it was shown, instead of leaving the daemon up
        #[arg(long)]
        once: bool,
    },
    #[command(external_subcommand)]
    Command(Vec<String>),
}

fn main() -> ExitCode {
    let line = match Line::try_parse() {
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

/// The journal, known hosts and keys are nobody else's to read. Only here: it holds for a whole process.
fn keep_files_private() {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
}

async fn run(line: Line) -> ExitCode {
    if line.local || matches!(line.words, Some(Words::Serve { .. })) {
        keep_files_private();
    }
    let words = match line.words {
        Some(Words::Serve { log }) => return serve(&line.config, log).await,
        Some(Words::CheckConfig { dir }) => return check_config(&dir.unwrap_or(line.config)),
        Some(Words::Schema { file }) => return schema(&file),
        Some(Words::Support { to }) => return support(&line.config, to),
        Some(Words::Demo { once }) => return ended(rollcall::demo::run(&std::env::temp_dir(), once).await),
        Some(Words::Command(words)) => words,
        None => vec![],
    };
    if !line.local {
        let asked = words.join(" ");
        let why = format!(
            "commands are given over ssh (ssh rollcall {asked}); without a daemon: rollcall --local {asked}"
        );
        return fail(why.trim_end(), Cause::Usage.exit_status());
    }
    match parse_words(&words) {
        Ok(request) => ExitCode::from(daemon::answer_locally(&line.config, request).await),
        Err(error) => fail(&error.text, Cause::Usage.exit_status()),
    }
}

async fn serve(config: &std::path::Path, log: logging::Format) -> ExitCode {
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

fn support(config: &std::path::Path, to: Option<PathBuf>) -> ExitCode {
    match support::write(config, to, SystemClock.now()) {
        Ok(path) => {
            println!("{}: read it before you attach it", path.display());
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why, Cause::Internal.exit_status()),
    }
}

fn check_config(dir: &std::path::Path) -> ExitCode {
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
