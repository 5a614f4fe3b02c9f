//! Whatever a client sends, an upstream sees the gateway's word alone.

use super::*;
use crate::{
    access::Access,
    caller::Caller,
    config::{
        path::RecordPath,
        rules::{Requirement, sample},
    },
    http::{arrival::Site, folded::tests::spellings, peer::Peer},
    session::{Verdict, id::SessionId, value::json},
    tasks::Worker,
};
use proptest::prelude::*;
use std::sync::{Arc, OnceLock};

fn identity(method_override: bool) -> Identity {
    let name = HeaderName::from_static;
    let path = |steps: &[&str]| Value::Record(RecordPath(steps.iter().map(|step| (*step).to_owned()).collect()));
    let headers = vec![
        (name("x-forwarded-user"), Value::User),
        (name("x-roles"), Value::Roles),
        (name("x-shop"), path(&["user", "shop"])),
        (name("x-missing"), path(&["nowhere"])),
    ];
    let session_header = Some(identity::SessionHeader { name: name("x-record"), bytes_max: 64 });
    Identity::compile(&identity::Identity { headers, session_header }, method_override)
}

fn session() -> Session {
    let record = json::read(br#"{"cookie":{"path":"/"},"user":{"id":"ada","shop":{"n":1}}}"#)
        .expect("the test's record is readable");
    let (user, roles) = ("ada l".to_owned(), vec!["a,b".to_owned(), "c".to_owned()]);
    Session {
        name: "express".into(),
        id: SessionId::new("id"),
        user,
        roles,
        record,
        own_members: &["cookie"],
        begun: None,
        identity: OnceLock::new(),
    }
}

fn grant(session: Option<Session>, edits: Vec<CookieEdit>) -> Grant {
    let rule = sample::rule(Requirement::Optional);
    let verdict = session.map_or(Verdict::NotAsked, |session| Verdict::Known(Arc::new(session)));
    let access = Access::compile(&rule);
    let head = http::Request::new(()).into_parts().0;
    let site = Site::new(None, Vec::new(), Vec::new(), Vec::new(), false);
    let arrival = Arrival::of(&head, &Peer::new(None, None, false, Worker(0)), &site);
    let entry = access.admit(&head, &arrival, &site, []).expect("nothing is asked of the address");
    access
        .decide(entry, Caller { verdict, started: None, presented: Vec::new(), edits, source: None })
        .expect("an optional rule lets pass")
}

fn attach(identity: &Identity, fields: &[(HeaderName, &str)], grant: &Grant) -> Forward {
    let mut request = http::Request::builder().method("POST").uri("/a?b").header("host", "Example.test");
    for (name, value) in fields {
        request = request.header(name, *value);
    }
    let (head, ()) = request.body(()).expect("the test's request is valid").into_parts();
    let peer = Peer::new("9.9.9.9".parse().ok(), None, false, Worker(0));
    let arrival = Arrival::of(&head, &peer, &Site::new(None, Vec::new(), Vec::new(), Vec::new(), false));
    let target = PathAndQuery::from_static("/v1/a?b");
    identity.attach(head, target, Some(&HeaderValue::from_static("/shop")), &arrival, grant)
}

fn named(name: &'static str) -> HeaderName {
    HeaderName::from_bytes(name.as_bytes()).expect("the test's name is a token")
}

#[test]
fn a_session_is_written_as_configured() {
    let forward = attach(&identity(false), &[], &grant(Some(session()), Vec::new()));
    assert_eq!(forward.target, "/v1/a?b");
    let wanted = [
        ("x-onedoor-session", "express"),
        ("x-forwarded-user", "ada l"),
        ("x-roles", "a%2Cb,c"),
        ("x-shop", r#"{"n":1}"#),
        ("x-record", "eyJ1c2VyIjp7ImlkIjoiYWRhIiwic2hvcCI6eyJuIjoxfX19"),
        ("x-forwarded-prefix", "/shop"),
        ("x-forwarded-for", "9.9.9.9"),
    ];
    for (name, value) in wanted {
        assert_eq!(forward.headers.get(name).map(HeaderValue::as_bytes), Some(value.as_bytes()), "{name}");
    }
    assert!(!forward.headers.contains_key("x-missing"));
    let (method, _, _, host) = forward.into_parts();
    assert_eq!((method, host), (Method::POST, HeaderValue::from_static("Example.test")));
}

#[test]
fn a_record_that_is_too_long_for_its_header_is_left_out() {
    let user = |length: usize| Session {
        record: json::read(format!("[\"{}\"]", "x".repeat(length)).as_bytes()).expect("JSON"),
        ..session()
    };
    for (length, left_out) in [(44, false), (45, true)] {
        let forward = attach(&identity(false), &[], &grant(Some(user(length)), Vec::new()));
        assert_eq!(forward.record_is_left_out(), left_out, "{length}");
        assert_eq!(forward.headers.get("x-record").is_some_and(|value| value == "!too-large"), left_out, "{length}");
    }
}

#[test]
fn connection_cannot_name_what_the_gateway_writes() {
    let named_fields = "X-Forwarded-User, x-onedoor-session, X-Forwarded-For, cookie, close";
    let fields = [(header::CONNECTION, named_fields), (header::COOKIE, "a=1")];
    let forward = attach(&identity(false), &fields, &grant(Some(session()), Vec::new()));
    for name in ["x-forwarded-user", "x-onedoor-session", "x-forwarded-for", "cookie"] {
        assert!(forward.headers.contains_key(name), "{name}");
    }
    assert!(!forward.headers.contains_key("connection"));
}

#[test]
fn fields_that_only_concern_the_gateway_stay_here() {
    let fields = ["expect", "te", "trailer", "upgrade", "keep-alive", "transfer-encoding", "x_http_method-override"];
    let sent: Vec<_> = fields.iter().map(|name| (named(name), "x")).collect();
    let forward = attach(&identity(false), &sent, &grant(None, Vec::new()));
    for name in fields {
        assert!(!forward.headers.contains_key(name), "{name}");
    }
    let forward = attach(&identity(true), &sent, &grant(None, Vec::new()));
    assert!(forward.headers.contains_key("x_http_method-override"));
}

#[test]
fn cookies_are_cut_as_the_grant_says_and_sent_on_one_line() {
    let cookies = |lines: &[&str], edits| {
        let fields: Vec<_> = lines.iter().map(|line| (header::COOKIE, *line)).collect();
        let forward = attach(&identity(false), &fields, &grant(Some(session()), edits));
        forward.headers.get(header::COOKIE).map(|value| value.to_str().expect("the cookies are text").to_owned())
    };
    let edit = |keep| vec![CookieEdit { name: "sid".into(), keep }];
    assert_eq!(cookies(&["a=1;sid=x;  sid=y"], Vec::new()).as_deref(), Some("a=1;sid=x;  sid=y"));
    assert_eq!(cookies(&["a=1;sid=x", "sid=y"], Vec::new()).as_deref(), Some("a=1; sid=x; sid=y"));
    assert_eq!(cookies(&["a=1;sid=x", "sid=y"], edit(crate::session::Keep::Only(2))).as_deref(), Some("a=1; sid=y"));
    let cut = edit(crate::session::Keep::AllBut(vec![1]));
    assert_eq!(cookies(&["a=1; sid=x; sid=y"], cut).as_deref(), Some("a=1; sid=y"));
    assert_eq!(cookies(&["sid=x; sid=y"], edit(crate::session::Keep::Nothing)), None);
}

#[test]
fn the_preview_is_what_is_written() {
    let (identity, session) = (identity(false), session());
    let preview = identity.preview(&session);
    let forward = attach(&identity, &[], &grant(Some(session), Vec::new()));
    assert_eq!(preview.len(), 5);
    for (name, value) in preview {
        assert_eq!(forward.headers.get(&name), Some(&value), "{name}");
    }
}

fn identity_names() -> impl Strategy<Value = HeaderName> {
    prop_oneof![
        spellings("x-forwarded-user"),
        spellings("x-forwarded-email"),
        spellings("x-forwarded-groups"),
        spellings("x-forwarded-preferred-username"),
        spellings("x-forwarded-access-token"),
        spellings("remote-user"),
        spellings("remote-groups"),
        spellings("remote-name"),
        spellings("remote-email"),
        spellings("x-roles"),
        spellings("x-auth-request-user"),
        spellings("x-auth-request-anything"),
        spellings("x-onedoor-session"),
        spellings("x-onedoor-"),
        spellings("x-shop"),
        spellings("x-record"),
        spellings("x-missing"),
        spellings("x-http-method-override"),
        spellings("x-method-override"),
        spellings("x-http-method"),
    ]
}

proptest! {
    #[test]
    fn nothing_of_the_clients_reaches_an_upstream_as_identity(
        names in proptest::collection::vec(identity_names(), 1..5),
        with_session in any::<bool>(),
    ) {
        let fields: Vec<_> = names.into_iter().map(|name| (name, "planted")).collect();
        let identity = identity(false);
        let forward = attach(&identity, &fields, &grant(with_session.then(session), Vec::new()));
        prop_assert!(!forward.headers.values().any(|value| value == "planted"));
        let written = forward.headers.iter().filter(|(name, _)| identity.removed.contains(name)).count();
        prop_assert_eq!(written, if with_session { 5 } else { 0 });
    }
}
