//! A rule for tests: everything to the upstream 0, and nothing else asked.

use super::{Action, CrossSite, OnRefusal, Requirement, Rule};
use crate::config::{security_headers::SecurityHeaders, store::OnOutage};

/// The rule; its spans are 0.
pub(crate) fn rule(session: Requirement) -> Rule {
    Rule {
        paths: Vec::new(),
        methods: Vec::new(),
        action: Action::Forward(0),
        session,
        accepts: vec![0],
        roles: Vec::new(),
        max_auth_age: None,
        on_refusal: OnRefusal::Auto,
        allow: Vec::new(),
        cross_site: CrossSite::Allow,
        passes_preflight: false,
        body_bytes: None,
        limits: Vec::new(),
        security_headers: SecurityHeaders::Inherited,
        enforce: true,
        touch: true,
        on_outage: OnOutage::Refuse,
        strip_prefix: None,
        add_prefix: None,
        rewrites_location: false,
        request_headers: Vec::new(),
        response_headers: Vec::new(),
        timeout: None,
        total_timeout: None,
        keeps_encoded_slash: false,
        keeps_empty_segments: false,
        span: 0..0,
    }
}
