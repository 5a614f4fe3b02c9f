//! `[admin]`.

use super::{
    keys::{Key, Shape, Table},
    section::Section,
    server::{Listen, Server, parse_address},
};
use std::net::SocketAddr;

/// The keys of `[admin]`.
pub(super) static TABLE: Table = Table {
    name: "[admin]",
    keys: &[Key {
        name: "listen",
        shape: Shape::Text(Some("127.0.0.1:9090")),
        meaning: "Where `/livez` and `/readyz` answer: `host:port`; \"\" is off.",
    }],
};

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// `listen`; `None` = off.
    pub listen: Option<SocketAddr>,
}

/// Reads `[admin]`; it must not listen where `server` does.
pub(super) fn read(mut section: Section<'_>, server: &Server) -> Admin {
    let listen = section.text("listen").filter(|text| !text.text.is_empty());
    let listen = listen.and_then(|text| section.reader.parse(&text, parse_address));
    let is_taken = |address: SocketAddr| {
        let redirect_from = server.tls.iter().filter_map(|tls| tls.redirect_from.map(Listen::Tcp));
        server.listen.iter().cloned().chain(redirect_from).any(|listen| listen.collides(address))
    };
    if let Some(address) = listen.filter(|address| is_taken(*address)) {
        let message = format!("`{address}` is already an address of [server]");
        section.reader.error(
            section.span_of("listen"),
            message,
            "give the probes an address of their own, or \"\" for none",
        );
    }
    section.finish();
    Admin { listen }
}
