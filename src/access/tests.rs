//! Decisions before and after the look-up.

use super::*;
use crate::{config::rules::sample, http::peer::Peer, tasks::Worker};

fn rule(session: Requirement, cross_site: CrossSite) -> Rule {
    let allow = vec!["10.0.0.0/8".parse().expect("a network")];
    Rule { allow, cross_site, passes_preflight: true, ..sample::rule(session) }
}

fn enter(rule: &Rule, from: &str, method: &str, fields: &[(&str, &str)]) -> Result<Entry, Denial> {
    let mut request = ::http::Request::builder().method(method).uri("/").header("host", "a.test");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let head = request.body(()).expect("the test's request is valid").into_parts().0;
    let site = Site::new(None, Vec::new(), Vec::new(), Vec::new(), false);
    let arrival = Arrival::of(&head, &Peer::new(from.parse().ok(), None, false, Worker(0)), &site);
    Access::compile(rule).admit(&head, &arrival, &site, [])
}

fn anonymous() -> Caller {
    let verdict = Verdict::Absent(Absence::NoCookie);
    Caller { verdict, started: None, presented: Vec::new(), edits: Vec::new(), source: None }
}

const EVIL: (&str, &str) = ("origin", "http://evil.test");

#[test]
fn only_addresses_of_the_networks_are_admitted() {
    let rule = rule(Requirement::Optional, CrossSite::Allow);
    assert!(enter(&rule, "10.1.2.3", "GET", &[]).is_ok());
    assert!(enter(&rule, "::ffff:10.1.2.3", "GET", &[]).is_ok());
    for stranger in ["11.0.0.1", "::1", "a unix socket"] {
        assert!(matches!(enter(&rule, stranger, "GET", &[]), Err(Denial::Address)), "{stranger}");
    }
    let reported = Rule { enforce: false, ..rule };
    let entry = enter(&reported, "11.0.0.1", "GET", &[]).expect("it is only reported");
    let grant = Access::compile(&reported).decide(entry, anonymous()).expect("it is only reported");
    assert!(matches!(grant.would_refuse(), Some(Denial::Address)));
}

#[test]
fn what_another_site_starts_is_refused_where_it_could_change_something() {
    let rule = rule(Requirement::Optional, CrossSite::Refuse(Vec::new()));
    let decide = |method, fields: &[_]| {
        let entry = enter(&rule, "10.0.0.1", method, fields).expect("the address is allowed");
        Access::compile(&rule).decide(entry, anonymous())
    };
    for method in ["POST", "PUT", "DELETE", "PATCH", "PURGE", "get"] {
        assert!(matches!(decide(method, &[EVIL]), Err(Denial::CrossSite)), "{method}");
        assert!(decide(method, &[("origin", "http://a.test")]).is_ok(), "{method}");
        assert!(decide(method, &[]).is_ok(), "{method}");
    }
    for method in ["GET", "HEAD", "OPTIONS"] {
        assert!(decide(method, &[EVIL]).is_ok(), "{method}");
    }
    assert!(matches!(decide("GET", &[EVIL, ("upgrade", "websocket")]), Err(Denial::CrossSite)));
}

#[test]
fn without_a_session_the_session_is_what_is_missing() {
    let rule = rule(Requirement::Required, CrossSite::Refuse(Vec::new()));
    let entry = enter(&rule, "10.0.0.1", "POST", &[EVIL]).expect("the address is allowed");
    assert!(matches!(Access::compile(&rule).decide(entry, anonymous()), Err(Denial::SessionRequired(_))));
}

#[test]
fn a_preflight_goes_on_as_nobody() {
    let rule = rule(Requirement::Required, CrossSite::Refuse(Vec::new()));
    let asked = ("access-control-request-method", "PUT");
    let entry = enter(&rule, "10.0.0.1", "OPTIONS", &[EVIL, asked]).expect("the address is allowed");
    assert!(entry.is_preflight());
    let grant = Access::compile(&rule).decide(entry, anonymous()).expect("it goes on");
    assert!(grant.session().is_none() && grant.withholds_cookies());
    for (method, fields) in [("OPTIONS", &[EVIL][..]), ("OPTIONS", &[asked]), ("PUT", &[EVIL, asked])] {
        assert!(!enter(&rule, "10.0.0.1", method, fields).expect("allowed").is_preflight(), "{method} {fields:?}");
    }
}
