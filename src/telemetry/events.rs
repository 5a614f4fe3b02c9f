//! Events: start-up, reload, store trouble.

use super::output::Output;
use std::io::IsTerminal;
use tracing::Level;
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, registry, reload};

/// Lets the level change while the process runs.
#[derive(Debug, Clone)]
pub struct Levels(reload::Handle<Targets, registry::Registry>);

/// Sends the process's events to `output`, for people or as JSON. Only the first call in a process has an effect.
pub fn start(level: Level, pretty: bool, output: Output) -> Levels {
    let (filter, handle) = reload::Layer::new(ours(level));
    let registry = registry::Registry::default().with(filter);
    let outcome = if pretty {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let layer = fmt::layer().with_writer(output).with_target(false).with_ansi(colour);
        tracing::subscriber::set_global_default(registry.with(layer))
    } else {
        let layer = fmt::layer().with_writer(output).with_target(false).json().flatten_event(true);
        tracing::subscriber::set_global_default(registry.with(layer))
    };
    // Taken already: this process logs to where its first gateway does.
    let _ = outcome;
    Levels(handle)
}

impl Levels {
    /// Changes the level from now on.
    pub fn set(&self, level: Level) {
        let _ = self.0.reload(ours(level));
    }
}

/// Libraries may name what must not be logged (Redis frames, TLS keys), so only our own events pass.
fn ours(level: Level) -> Targets {
    Targets::new().with_target("onedoor", level)
}
