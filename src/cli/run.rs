//! `onedoor run`: the gateway, until it is told to stop.

use super::{Exit, Outcome, code, colour, load_aloud};
use crate::{
    admin,
    config::{Config, Loaded, server::Listen, store},
    gateway::Gateway,
    reload::{self, Source, Surroundings},
    server::{
        drain::{self, Closing, Signals},
        files,
        listener::{self, Bound, Entrance, Role},
        meter::Meter,
        passed::Passed,
        places::Places,
        worker::{Shared, Threads},
    },
    tasks::{self, TaskTracker},
    telemetry::{
        events,
        metrics::{Metrics, families},
        output::Output,
    },
};
use std::{io, sync::Arc};
use tokio::runtime;
use tokio_util::sync::CancellationToken;

pub(super) fn run(source: Source) -> Outcome {
    let loaded = load_aloud(&source)?;
    serve(loaded, Some(source), |_| Ok(()))
}

/// Serves a configuration until SIGTERM or SIGINT. `beside` runs once everything listens, inside the main runtime,
/// and is told the gateway's first address.
pub(super) fn serve(loaded: Loaded, source: Option<Source>, beside: impl FnOnce(&str) -> Outcome) -> Outcome {
    let usable = loaded.config.clone().filter(|_| !loaded.diagnostics.has_errors());
    let Some(config) = usable else {
        return Err(Exit::misconfigured(loaded.diagnostics.render(&loaded.source, colour())));
    };
    let metrics = Metrics::new(config.server.workers);
    let dropped = metrics.counter(&families::LOG_DROPPED, &[]);
    let output = Output::start(io::stdout(), dropped).map_err(unavailable("the log cannot be started"))?;
    let levels = events::start(config.log.level, config.log.is_pretty(), output.clone());
    let mut threads = Threads::start(config.server.workers).map_err(unavailable("workers cannot be started"))?;
    let surroundings =
        Surroundings { workers: threads.workers().clone(), output: output.clone(), metrics: metrics.clone() };
    let snapshot = surroundings.compile(loaded, None, colour()).map_err(Exit::misconfigured)?;
    let files = files::open_all();
    let sockets = bind_all(&config)?;
    let admin = config.admin.listen.map(|address| claim(&address.to_string(), admin::bind(address))).transpose()?;

    let main = runtime::Builder::new_current_thread().enable_all().build();
    let main = main.map_err(unavailable("the main runtime cannot be started"))?;
    let outcome = main.block_on(async {
        let mut signals = Signals::listen().map_err(unavailable("signals cannot be received"))?;
        let meter = Meter::new(&metrics);
        let shared = Shared {
            places: Places::new(meter.clone(), files),
            meter,
            gateway: Arc::new(Gateway::new(snapshot, metrics)),
            connections: TaskTracker::new(),
            closing: Closing::default(),
            stop: CancellationToken::new(),
        };
        let addresses = announce(&config, &sockets, files);
        threads.serve(sockets, &shared);
        if let Some(socket) = admin {
            admin::serve(socket, shared.gateway.clone()).map_err(unavailable("the admin address cannot be watched"))?;
        }
        if let Some(source) = source {
            tasks::background(reload::watch(source, shared.gateway.clone(), surroundings, levels));
        }
        beside(&addresses[0])?;
        signals.next().await;
        let server = shared.gateway.current().config().server.clone();
        drain::drain(&server, &shared, &mut signals).await;
        Ok(())
    });
    threads.join();
    tracing::info!("stopped");
    output.close();
    outcome
}

fn bind_all(config: &Config) -> Result<Vec<Entrance>, Exit> {
    let server = &config.server;
    let to_https = server.tls.as_ref().and_then(|tls| tls.redirect_from).map(Listen::Tcp);
    let site = server.listen.iter().map(|listen| (listen, Role::Site));
    let mut passed = Passed::from_environment();
    let mut entrances = Vec::new();
    for (listen, role) in site.chain(to_https.iter().map(|listen| (listen, Role::ToHttps))) {
        let bound = listener::bind(listen, server.workers, server.handover, &mut passed);
        for sockets in claim(&name(listen), bound)? {
            let address = sockets.first().and_then(Bound::local_address);
            let name = address.map_or_else(|| name(listen), |address| address.to_string());
            entrances.push(Entrance { name, role, sockets });
        }
    }
    Ok(entrances)
}

fn claim<T>(address: &str, outcome: io::Result<T>) -> Result<T, Exit> {
    outcome.map_err(|error| {
        let is_file = address.starts_with("unix:");
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => "somebody listens there: stop it, or choose another address",
            io::ErrorKind::AddrNotAvailable => "this machine has no such address",
            io::ErrorKind::NotFound if is_file => "its directory must be there",
            io::ErrorKind::NotFound => "name it in the .socket unit: `FileDescriptorName=`",
            io::ErrorKind::PermissionDenied if is_file => "its directory must be the gateway's to write to",
            io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE",
            _ => "check the address",
        };
        Exit::new(code::UNAVAILABLE, format_args!("cannot listen on {address}: {error}\n  help: {remedy}"))
    })
}

/// Says where the gateway listens and what it keeps where; returns the addresses.
fn announce(config: &Config, entrances: &[Entrance], files: usize) -> Vec<String> {
    let connections = config.server.limits.connections;
    if files < connections {
        tracing::warn!(
            files,
            connections,
            "fewer files may be open than [server.limits] connections: raise LimitNOFILE, or ulimit -n"
        );
    }
    let addresses: Vec<_> = entrances.iter().map(|entrance| entrance.name.clone()).collect();
    let workers = config.server.workers;
    for address in &addresses {
        tracing::info!(address, workers, "listening");
    }
    if let Some(address) = config.admin.listen {
        tracing::info!(%address, "probes and metrics are served");
    }
    if config.store.url == store::Url::Memory && !config.sessions.is_empty() {
        tracing::warn!("sessions live in this process's memory: they are lost when it ends");
    }
    addresses
}

fn name(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(path) => format!("unix:{}", path.display()),
        Listen::Passed(name) => format!("systemd:{name}"),
    }
}

fn unavailable(what: &'static str) -> impl Fn(io::Error) -> Exit {
    move |error| Exit::new(code::UNAVAILABLE, format_args!("{what}: {error}"))
}
