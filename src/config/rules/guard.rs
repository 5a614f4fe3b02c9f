//! What a rule guards beside access: `cross_site`, `limit` and `body`.

use super::Requirement;
use crate::{
    config::{Span, diagnostic::Fault, keys::similar, limits::Limit, origin::Origin, section::Section, server::Server},
    http::origin::{self, Initiator},
};
use http::Method;

/// `cross_site`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CrossSite {
    /// Whoever starts a request.
    Allow,
    /// Unsafe methods and upgrades only where this site or one of these started them.
    Refuse(Vec<Initiator>),
}

/// A request that a session decides about must come from our own pages, unless the file says otherwise.
pub(super) fn read_cross_site(section: &mut Section<'_>, session: Requirement) -> CrossSite {
    let texts = section.texts("cross_site");
    match texts.as_slice() {
        [] if session == Requirement::Required || section.has("cross_site") => CrossSite::Refuse(Vec::new()),
        [] => CrossSite::Allow,
        [only] if only.text == "allow" => CrossSite::Allow,
        [only] if only.text == "refuse" => CrossSite::Refuse(Vec::new()),
        listed => {
            let reader = section.reader;
            CrossSite::Refuse(listed.iter().filter_map(|text| reader.parse(text, parse_initiator)).collect())
        }
    }
}

/// The places of the limits that the rule names.
pub(super) fn read_limits(section: &mut Section<'_>, limits: &[(Limit, Span)]) -> Vec<usize> {
    let names = || limits.iter().map(|(limit, _)| limit.name.as_str());
    let places = section.parsed_list("limit", |name| {
        names().position(|known| known == name).ok_or_else(|| {
            let remedy = match similar(name, names()) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("add it: [limits.{name}] requests = 5, per = \"15m\""),
            };
            Fault::new(format!("there is no limit `{name}`"), remedy)
        })
    });
    section.refuse_repeated("limit", "limit", &places);
    places
}

/// A preflight is an OPTIONS request.
pub(super) fn read_preflight(section: &mut Section<'_>, methods: &[Method]) -> bool {
    let passes = section.choice("preflight") == Some("pass");
    if passes && !methods.is_empty() && !methods.contains(&Method::OPTIONS) {
        let message = "`preflight` means nothing here: OPTIONS is none of this rule's methods";
        section.reader.warning(section.span_of("preflight"), message, "add \"OPTIONS\" to `method`");
    }
    passes
}

fn parse_initiator(text: &str) -> Result<Initiator, Fault> {
    if text == "null" {
        return Ok(Initiator::Null);
    }
    let remedy = "\"refuse\", \"allow\", or origins such as \"https://partner.example\"";
    match Origin::parse(text) {
        Ok(Origin { https, host, port }) => Ok(Initiator::Page(origin::Origin::new(https, &host, port))),
        Err(_) => Err(Fault::new(format!("`{text}` is not an origin"), remedy)),
    }
}

pub(super) fn read_body(section: &mut Section<'_>, server: &Server) -> Option<u64> {
    let written = section.size("body");
    if section.has("body") { Some(written).filter(|size| *size != 0) } else { server.limits.body_bytes }
}
