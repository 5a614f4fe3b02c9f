//! Reload: load, compile, swap in one step; or change nothing and say why not.

use crate::{
    config::{self, Config, Environment, Loaded, server::Server, store},
    gateway::{Gateway, snapshot::Snapshot},
    rules::lint,
    tasks::{Worker, Workers},
    telemetry::{
        events::Levels,
        metrics::{Metrics, families},
        output::Output,
    },
};
use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
    recommended_watcher,
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// Editors and deployments change a file in several steps; this long after the last one it is read.
const SETTLE: Duration = Duration::from_millis(150);

/// A directory that never rests, such as one with a log in it, is not waited for longer than so many times [`SETTLE`].
const SETTLES_MAX: u32 = 10;

/// What is needed to build a configuration again.
#[derive(Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// `--env-file`, read again at every reload.
    pub env_file: Option<PathBuf>,
}

/// What stays the same over reloads.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The workers.
    pub workers: Workers,
    /// Where the log goes.
    pub output: Output,
    /// Where things are counted.
    pub metrics: Metrics,
}

impl Source {
    /// Reads and checks the configuration, lints included.
    ///
    /// # Errors
    /// When a file cannot be read; what is wrong inside it is in the result's diagnostics.
    pub fn load(&self) -> Result<Loaded, String> {
        let mut environment = Environment::process();
        if let Some(file) = &self.env_file {
            environment = environment.with_file(file)?;
        }
        let mut loaded = config::load(&self.path, &environment);
        if let Some(config) = &loaded.config {
            lint::lint(config, &mut loaded.diagnostics);
        }
        Ok(loaded)
    }
}

impl Surroundings {
    /// Builds a snapshot of what was loaded, or says why that cannot be done.
    ///
    /// # Errors
    /// All findings, rendered.
    pub fn compile(&self, loaded: Loaded, previous: Option<&Snapshot>, colour: bool) -> Result<Snapshot, String> {
        let Loaded { config, source, mut diagnostics } = loaded;
        let config = config.filter(|_| !diagnostics.has_errors());
        let Self { workers, output, metrics } = self;
        let snapshot =
            config.and_then(|config| Snapshot::compile(config, workers, output, metrics, previous, &mut diagnostics));
        snapshot.ok_or_else(|| diagnostics.render(&source, colour))
    }
}

/// Loads again whenever the file changes or SIGHUP arrives, until the process ends.
pub async fn watch(source: Source, gateway: Arc<Gateway>, surroundings: Surroundings, levels: Levels) {
    let (changed, mut changes) = mpsc::channel(1);
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    let result = |result| gateway.metrics().counter(&families::RELOADS, &[result]);
    let (loaded, refused) = (result("loaded"), result("refused"));
    let mut watched = Watched::new(changed);
    watched.follow(&source, &gateway.current().config().watched);
    let mut told = String::new();
    // What changed between the first reading and the watch was not noticed: read once more.
    let mut asked = false;
    loop {
        match reload(&source, &gateway, &surroundings) {
            Ok(None) if asked || !told.is_empty() => {
                told.clear();
                tracing::info!("the configuration is the same as before");
            }
            Ok(None) => {}
            Ok(Some(warnings)) => {
                loaded.add(Worker(0));
                told.clear();
                let current = gateway.current();
                levels.set(current.config().log.level);
                watched.follow(&source, &current.config().watched);
                tracing::info!(rules = current.config().rules.len(), "the configuration was reloaded");
                if !warnings.is_empty() {
                    tracing::warn!(warnings, "the configuration is in use, and may not do what was meant");
                }
            }
            // Something else in the directory changed, and the file is as wrong as it was.
            Err(why) if !asked && why == told => {}
            Err(why) => {
                refused.add(Worker(0));
                tracing::error!(why, "the configuration was not reloaded: the old one stays");
                told = why;
            }
        }
        asked = tokio::select! {
            _ = hangup.recv() => true,
            change = changes.recv() => if change.is_none() { return } else { false },
        };
        if !asked {
            settle(&mut changes).await;
        }
    }
}

async fn settle(changes: &mut mpsc::Receiver<()>) {
    for _ in 0..SETTLES_MAX {
        tokio::time::sleep(SETTLE).await;
        if changes.try_recv().is_err() {
            return;
        }
    }
}

/// Swaps in the configuration of now, and returns what there is to be warned of; `None` when it is the same as before.
fn reload(source: &Source, gateway: &Gateway, surroundings: &Surroundings) -> Result<Option<String>, String> {
    let loaded = source.load()?;
    let current = gateway.current();
    if let Some(config) = loaded.config.as_ref().filter(|_| !loaded.diagnostics.has_errors()) {
        if config == current.config() {
            return Ok(None);
        }
        refuse_what_needs_a_restart(current.config(), config)?;
    }
    let warnings = loaded.diagnostics.render(&loaded.source, false);
    gateway.swap(surroundings.compile(loaded, Some(&current), false)?);
    Ok(Some(warnings))
}

fn refuse_what_needs_a_restart(old: &Config, new: &Config) -> Result<(), String> {
    let is_memory = |config: &Config| config.store.url == store::Url::Memory;
    let differs = |key: fn(&Server) -> String| key(&old.server) != key(&new.server);
    let changed = [
        ("[server] listen", differs(|server| format!("{:?}", server.listen))),
        ("[server.tls]", differs(|server| format!("{:?}", server.tls.as_ref().map(|tls| tls.redirect_from)))),
        ("[server] workers", differs(|server| server.workers.to_string())),
        ("[admin] listen", old.admin != new.admin),
        ("[store] url", is_memory(old) != is_memory(new)),
    ];
    let changed: Vec<_> = changed.iter().filter(|(_, changed)| *changed).map(|(key, _)| *key).collect();
    if changed.is_empty() { Ok(()) } else { Err(format!("a change of {} needs a restart", changed.join(", "))) }
}

/// The directories of the files that matter. Directories, because files are replaced by renaming.
struct Watched {
    watcher: Option<RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
}

impl Watched {
    fn new(changed: mpsc::Sender<()>) -> Self {
        let notice = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_change(event.kind)) {
                // One that is waiting already tells the same.
                let _ = changed.try_send(());
            }
        };
        let watcher = recommended_watcher(notice);
        if let Err(error) = &watcher {
            tracing::warn!(%error, "the configuration's file cannot be watched: send SIGHUP after changing it");
        }
        Self { watcher: watcher.ok(), directories: BTreeSet::new() }
    }

    fn follow(&mut self, source: &Source, others: &[PathBuf]) {
        let Some(watcher) = &mut self.watcher else { return };
        let files = [Some(&source.path), source.env_file.as_ref()].into_iter().flatten().chain(others);
        for directory in files.map(|file| directory(file)) {
            if self.directories.contains(&directory) {
                continue;
            }
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.directories.insert(directory);
                }
                Err(error) => tracing::warn!(%error, directory = %directory.display(), "cannot be watched"),
            }
        }
    }
}

/// Whether a file may be another than before. Reading is none: a reload reads, and would call for the next one.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, DataChange, ModifyKind, RenameMode};

    #[test]
    fn reading_a_file_is_no_change_and_would_never_end_if_it_were() {
        for access in [AccessKind::Open(AccessMode::Any), AccessKind::Close(AccessMode::Read), AccessKind::Read] {
            assert!(!is_change(EventKind::Access(access)), "{access:?}");
        }
    }

    #[test]
    fn writing_creating_and_renaming_are_changes() {
        for kind in [
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            EventKind::Modify(ModifyKind::Data(DataChange::Any)),
            EventKind::Modify(ModifyKind::Name(RenameMode::To)),
            EventKind::Create(CreateKind::File),
        ] {
            assert!(is_change(kind), "{kind:?}");
        }
    }
}
