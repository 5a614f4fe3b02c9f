//! `roles` and `max_auth_age` of a rule: what it asks of a valid session.

use super::{Requirement, Site};
use crate::config::{diagnostic::Fault, section::Section};
use std::time::Duration;

/// Reads `roles`.
pub(super) fn read_roles(
    section: &mut Section<'_>,
    requirement: Requirement,
    accepts: &[usize],
    site: &Site<'_>,
) -> Vec<String> {
    let span = section.span_of("roles");
    let roles = section.parsed_list("roles", |role| match role {
        "" => Err(Fault::new("a role is not empty", "name it, or leave it out")),
        _ => Ok(role.to_owned()),
    });
    if !section.has("roles") {
        return roles;
    }
    if requirement != Requirement::Required {
        let remedy = "write `session = \"required\"`, or leave `roles` out";
        section.reader.error(span, "`roles` means nothing without `session = \"required\"`", remedy);
    } else if site.sessions.is_some_and(|all| !all.is_empty() && accepts.iter().all(|at| all[*at].roles.is_none())) {
        let remedy = "say where the roles are in the record: `roles = \"user.roles\"` in [session]";
        section.reader.error(span, "nobody has a role: [session] has no `roles`", remedy);
    }
    roles
}

/// Reads `max_auth_age`.
pub(super) fn read_max_auth_age(
    section: &mut Section<'_>,
    requirement: Requirement,
    accepts: &[usize],
    site: &Site<'_>,
) -> Option<Duration> {
    let age = section.optional_duration("max_auth_age");
    if !section.has("max_auth_age") {
        return age;
    }
    let span = section.span_of("max_auth_age");
    if requirement != Requirement::Required {
        let remedy = "write `session = \"required\"`, or leave `max_auth_age` out";
        section.reader.error(span, "`max_auth_age` means nothing without `session = \"required\"`", remedy);
        return age;
    }
    let accepted = accepts.iter().filter_map(|at| site.sessions?.get(*at));
    let mut ageless =
        accepted.filter(|session| session.lifetime.started_at.is_none() && session.preset.format != "onedoor");
    if let Some(session) = ageless.next() {
        let remedy = "name the path to the login time in that [session], such as `started_at = \"user.loggedInAt\"`, or \
                      write \"first_seen\": when the gateway first saw the user under this id";
        let message = format!("`max_auth_age` needs `started_at`, which the session `{}` does not have", session.name);
        section.reader.error(span, message, remedy);
    }
    age
}
