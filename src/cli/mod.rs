//! The command line: one file per command, and what each returns to the shell.

mod check;
mod demo;
mod explain;
mod health;
mod import;
mod run;
mod schema;
mod session;
mod site;

use crate::{config::Loaded, reload::Source};
use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};
use std::{
    ffi::OsString,
    fmt::Display,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

/// Exit codes, as in sysexits.h.
mod code {
    /// The command line is wrong.
    pub(super) const USAGE: u8 = 64;
    /// An address cannot be had, or nobody is there.
    pub(super) const UNAVAILABLE: u8 = 69;
    /// The configuration is wrong.
    pub(super) const CONFIG: u8 = 78;
}

/// Puts all services behind one domain and enforces the session there.
#[derive(Debug, Parser)]
#[command(name = "onedoor", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Run(Files),
    /// Check the configuration: all errors and warnings at once
    Check(Files),
    /// Tell what would happen to a request, and why
    Explain(explain::Question),
    /// Look into sessions
    #[command(subcommand)]
    Session(session::Command),
    /// Run the counter site in one process: the gateway and two small services
    Demo(demo::Options),
    /// Turn a now.sh rules file into a gateway.toml on standard output
    Import {
        /// The rules file
        file: PathBuf,
    },
    /// Print the JSON Schema of gateway.toml, for editors
    Schema,
    /// Ask a running gateway whether it is healthy, for container probes
    Health(health::Question),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct Files {
    /// The configuration
    #[arg(short, long, default_value = "gateway.toml", value_name = "FILE")]
    config: PathBuf,
    /// Variables for ${NAME}, one NAME=value a line; those of the process win
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

/// Runs one command.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed terminal is nobody's fault.
            let _ = error.print();
            let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return if asked_for { ExitCode::SUCCESS } else { ExitCode::from(code::USAGE) };
        }
    };
    let outcome = match cli.command {
        Command::Run(files) => run::run(files.into()),
        Command::Check(files) => check::run(&files.into()),
        Command::Explain(question) => explain::run(question),
        Command::Session(command) => session::run(command),
        Command::Demo(options) => demo::run(&options),
        Command::Import { file } => import::run(&file),
        Command::Schema => schema::run(),
        Command::Health(question) => health::run(question),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "onedoor", &mut script);
            say(String::from_utf8_lossy(&script).trim_end())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            // A closed terminal is nobody's fault.
            let _ = writeln!(io::stderr(), "{}", exit.text.trim_end());
            ExitCode::from(exit.code)
        }
    }
}

/// Why a command ends early: for the shell, and for people.
#[derive(Debug)]
struct Exit {
    code: u8,
    text: String,
}

impl Exit {
    fn new(code: u8, text: impl Display) -> Self {
        Self { code, text: format!("error: {text}") }
    }

    /// Something is wrong with the configuration; these are the findings, rendered.
    fn misconfigured(findings: String) -> Self {
        Self { code: code::CONFIG, text: findings }
    }
}

type Outcome = Result<(), Exit>;

/// Writes to standard output.
fn say(text: impl Display) -> Outcome {
    match writeln!(io::stdout(), "{text}") {
        // Whoever read it has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Exit::new(code::UNAVAILABLE, format_args!("standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Reads and checks a configuration.
fn load(source: &Source) -> Result<Loaded, Exit> {
    let loaded = source.load().map_err(|why| Exit::new(code::CONFIG, why))?;
    if loaded.diagnostics.has_errors() {
        return Err(Exit::misconfigured(loaded.diagnostics.render(&loaded.source, colour())));
    }
    Ok(loaded)
}

/// As [`load`], for who is about to use it: what is worth a warning goes to standard error.
fn load_aloud(source: &Source) -> Result<Loaded, Exit> {
    let loaded = load(source)?;
    let warnings = loaded.diagnostics.render(&loaded.source, colour());
    if !warnings.is_empty() {
        // A closed terminal is nobody's fault.
        let _ = writeln!(io::stderr(), "{}", warnings.trim_end());
    }
    Ok(loaded)
}

/// Whether a person reads standard error, and likes colours.
fn colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

impl From<Files> for Source {
    fn from(files: Files) -> Self {
        Self { path: files.config, env_file: files.env_file }
    }
}
