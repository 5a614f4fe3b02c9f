//! `onedoor demo`: the counter site in one process, so that the main job can be seen within a minute.

use super::{Exit, Outcome, code, run, say, site};
use crate::config::{self, Environment};
use clap::Args;

/// The embedded store.
const MEMORY: &str = "memory:";

/// How the demo runs.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where the gateway listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    listen: String,
    /// Keep sessions in this Redis instead of in memory
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL", default_value = MEMORY)]
    redis_url: String,
}

pub(super) fn run(options: &Options) -> Outcome {
    // Set but empty is how shells and compose files say unset.
    let store = if options.redis_url.is_empty() { MEMORY } else { &options.redis_url };
    let site = site::Site::bind().map_err(|error| Exit::new(code::UNAVAILABLE, error))?;
    let variables = [
        ("LISTEN", options.listen.clone()),
        ("REDIS_URL", store.to_owned()),
        ("WRITER", site.writer_url()),
        ("READER", site.reader_url()),
    ];
    let environment = Environment::from_iter(variables);
    let loaded = config::read("demo.toml", include_str!("demo.toml"), &environment);
    // Nothing in the file can be wrong but what the command line has put there.
    if let Some(finding) = loaded.diagnostics.sorted().first() {
        let remedy = finding.remedy.as_deref().unwrap_or_default();
        return Err(Exit::new(code::USAGE, format_args!("{}: {remedy}", finding.message)));
    }
    run::serve(loaded, None, |address| {
        site.serve().map_err(|error| Exit::new(code::UNAVAILABLE, error))?;
        say(instructions(address, store == MEMORY))
    })
}

fn instructions(address: &str, in_memory: bool) -> String {
    let url = format!("http://{address}");
    let sessions = if in_memory {
        "Sessions live in this process's memory. Set REDIS_URL=redis://127.0.0.1:6379 and they survive a restart."
    } else {
        "Sessions live in Redis: stop the demo, start it again, and you are still logged in."
    };
    format!(
        "\nThe counter site is at {url}/ (open it in a browser), or try:\n\n  \
         curl -i {url}/                           # 401: nobody is logged in\n  \
         curl -c jar -b jar {url}/login           # log in\n  \
         curl -c jar -b jar {url}/increment       # count\n  \
         curl -c jar -b jar {url}/                # who am I, and how far have I counted?\n  \
         curl -c jar -b jar {url}/logout          # log out\n\n{sessions}\nCtrl-C stops it.\n"
    )
}
