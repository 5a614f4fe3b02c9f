//! What a configuration asks of this machine, looked at without running anything.

use super::certificates;
use crate::{
    config::{Config, diagnostic::Diagnostics},
    upstream::Upstreams,
};

/// Notes what the file alone cannot show, such as missing root certificates: what compiling it would fail on.
pub fn check(config: &Config, diagnostics: &mut Diagnostics) {
    Upstreams::check(&config.upstreams, diagnostics);
    if let Some(tls) = &config.server.tls {
        // What is wrong was noted.
        let _ = certificates::compile_or_note(tls, diagnostics);
    }
}
