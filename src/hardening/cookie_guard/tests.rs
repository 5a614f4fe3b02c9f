//! Which `Set-Cookie` lines pass, and how.

use super::*;
use crate::{
    secret::Secret,
    session::tests::{SECRET, config, express, onedoor, store},
    telemetry::metrics::Metrics,
};
use proptest::prelude::*;

// Signed with "keyboard cat".
const VALUE: &str = "s%3AjPOoc3wVQR_NytJ5knzmEHu1x08o0m-M.ANYcl%2B0DzbIl9%2BLZRASjDsAqogVop6AJzR27Z%2B2pfuw";

fn guard(change: impl FnOnce(&mut session::Session)) -> CookieGuard {
    let mut express = config(express(&[SECRET]));
    change(&mut express);
    let own = config(onedoor());
    let both =
        [&express, &own].map(|config| (config, Arc::new(Sessions::compile(config, store(None), &Metrics::new(1)))));
    CookieGuard::compile(both)
}

/// What is left of one line, and how many were removed.
fn pass(guard: &CookieGuard, line: &str, exchange: Exchange<'_>) -> Option<String> {
    pass_carrying(guard, line, exchange, None)
}

fn pass_carrying(
    guard: &CookieGuard,
    line: &str,
    exchange: Exchange<'_>,
    carried: Option<&SessionId>,
) -> Option<String> {
    let mut headers: HeaderMap =
        [(SET_COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap())].into_iter().collect();
    let removed = guard.apply(&mut headers, exchange, &|_| carried);
    let left: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
    assert_eq!(left.len() + removed, 1);
    left.first().map(|line| String::from_utf8(line.as_bytes().to_vec()).unwrap())
}

fn from(upstream: &str) -> Exchange<'_> {
    Exchange { upstream, waived: false, https: false }
}

#[test]
fn a_session_cookie_passes_if_it_verifies_or_deletes() {
    let guard = guard(|_| {});
    let passes = [
        &format!("connect.sid={VALUE}; Path=/; HttpOnly"),
        &format!("  connect.sid = {VALUE} ;HTTPONLY"),
        "connect.sid=; Path=/; HttpOnly",
        "connect.sid=; HttpOnly; Max-Age=0",
        "connect.sid=; HttpOnly; Max-Age=-1; Expires=Fri, 01 Jan 2100 00:00:00 GMT",
        "connect.sid=; HttpOnly; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "connect.sid=; HttpOnly; expires=Thu, 01-Jan-1970 00:00:01 GMT",
    ];
    for line in passes {
        assert_eq!(pass(&guard, line, from("app")).as_deref(), Some(line));
    }
    // What one browser takes for the past another takes for the future: such a value never gets there.
    for attributes in ["Max-Age=0", "Expires=Thu, 01 Jan 60 00:00:00 GMT", "Expires=Thu, 01 Jan 1970 00:00:00 GMT"] {
        let line = format!("connect.sid=planted; {attributes}; HttpOnly");
        let emptied = format!("connect.sid=; {attributes}; HttpOnly");
        assert_eq!(pass(&guard, &line, from("app")), Some(emptied));
    }
    let removed = [
        "connect.sid=planted",
        "connect.sid=s%3Aid.forged; Max-Age=5; Max-Age=x",
        "connect.sid=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=1000",
        "connect.sid=x; Max-Age=0; Max-Age=10",
        "connect.sid=x; Expires=never",
        "connect.sid=x; Expires=Fri, 01 Jan 2100 00:00:00 GMT",
        "=connect.sid=planted",
        " = connect.sid = planted; Path=/",
        "connect.sid=\u{e9}",
    ];
    for line in removed {
        assert_eq!(pass(&guard, line, from("app")), None, "{line}");
    }
}

#[test]
fn other_cookies_stay_byte_for_byte() {
    let guard = guard(|_| {});
    let lines = [
        "a=b",
        "Connect.sid=x",
        "connect.sid2=x",
        "connect.sid",
        "",
        ";;;",
        "=",
        "theme=\u{e9}; Path=/;",
        "x=connect.sid=y",
    ];
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(SET_COOKIE, HeaderValue::from_bytes(line.as_bytes()).unwrap());
    }
    let before = headers.clone();
    assert_eq!(guard.apply(&mut headers, Exchange { https: true, ..from("app") }, &|_| None), 0);
    assert_eq!(headers, before);
    headers.append(SET_COOKIE, HeaderValue::from_static("connect.sid=planted"));
    assert_eq!(guard.apply(&mut headers, from("app"), &|_| None), 1);
    assert_eq!(headers, before);
}

#[test]
fn a_list_lets_only_these_upstreams_set_it_and_others_renew_it() {
    let guard = guard(|config| config.set_by = SetBy::Upstreams(vec!["auth".to_owned()]));
    let line = format!("connect.sid={VALUE}; HttpOnly");
    assert!(pass(&guard, &line, from("auth")).is_some());
    assert!(pass(&guard, &line, from("app")).is_none());
    let carried = SessionId::new("jPOoc3wVQR_NytJ5knzmEHu1x08o0m-M");
    assert!(pass_carrying(&guard, &line, from("app"), Some(&carried)).is_some());
    let other = SessionId::new("other");
    assert!(pass_carrying(&guard, &line, from("app"), Some(&other)).is_none());
    assert!(pass_carrying(&guard, "connect.sid=planted", from("app"), Some(&carried)).is_none());
}

/// Of koa: the signature is a cookie of its own, and renewed alone where a key was rotated.
#[test]
fn a_signature_that_is_a_cookie_of_its_own_is_judged_like_the_cookie() {
    const ID: &str = "gtw81HCzReIIx1XuA2ovipK_tzasDqEZ";
    const TAG: &str = "EofcuBuKCgHUhAvqVs3lCitaS8s";
    let koa = |set_by| {
        let mut config = config(session::Format::Koa { secrets: vec![Secret::new("koa key one")] });
        (config.cookie, config.set_by) = (Some("koa.sid".to_owned()), set_by);
        CookieGuard::compile([(&config, Arc::new(Sessions::compile(&config, store(None), &Metrics::new(1))))])
    };
    let left = |guard: &CookieGuard, lines: &[String], carried: Option<&str>| {
        let line = |line: &String| (SET_COOKIE, HeaderValue::from_str(line).unwrap());
        let mut headers: HeaderMap = lines.iter().map(line).collect();
        let carried = carried.map(SessionId::new);
        guard.apply(&mut headers, from("app"), &|_| carried.as_ref());
        headers.get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let session = |value: &str| format!("koa.sid={value}; HttpOnly");
    let signature = |value: &str| format!("koa.sid.sig={value}; HttpOnly");
    let verified = koa(SetBy::Verified);
    let both = [session(ID), signature(TAG)];
    assert_eq!(left(&verified, &both, None), both);
    let planted = [signature("planted"), both[0].clone(), both[1].clone()];
    assert_eq!(left(&verified, &planted, None), both);
    assert_eq!(left(&verified, &[signature(TAG)], Some(ID)), [signature(TAG)]);
    assert_eq!(left(&verified, &["koa.sid.sig=old; HttpOnly; Max-Age=0".to_owned()], None).len(), 1);
    for (lines, carried) in [
        (vec![signature(TAG)], None),
        (vec![signature(TAG)], Some("another")),
        (vec![signature("planted")], Some(ID)),
        (vec![session("another"), signature(TAG)], None),
        (vec![session(ID), signature("planted")], None),
        (vec!["=koa.sid.sig=planted".to_owned()], Some(ID)),
    ] {
        assert_eq!(left(&verified, &lines, carried), [""; 0], "{lines:?}");
    }
    let others = koa(SetBy::Upstreams(vec!["auth".to_owned()]));
    assert_eq!(left(&others, &both, None), [""; 0]);
    assert_eq!(left(&others, &[signature(TAG)], Some(ID)), [signature(TAG)]);
}

#[test]
fn the_gateways_own_cookie_is_set_by_nobody_else() {
    let guard = guard(|config| config.set_by = SetBy::Any);
    let id = "A".repeat(43);
    for line in
        [format!("onedoor={id}"), format!("__Host-onedoor={id}; Path=/; Secure"), "onedoor=; Max-Age=0".to_owned()]
    {
        assert_eq!(pass(&guard, &line, from("app")), None, "{line}");
    }
    assert!(pass(&guard, "connect.sid=anything; HttpOnly", from("app")).is_some());
}

#[test]
fn what_is_missing_is_added_once() {
    let line = format!("connect.sid={VALUE}");
    let secure = Exchange { https: true, ..from("app") };
    let plain = guard(|_| {});
    assert_eq!(pass(&plain, &line, from("app")), Some(format!("{line}; HttpOnly")));
    assert_eq!(pass(&plain, &line, secure), Some(format!("{line}; HttpOnly; Secure")));
    let complete = format!("{line}; httponly; SECURE; samesite=none");
    assert_eq!(pass(&plain, &complete, secure), Some(complete.clone()));
    let strict = guard(|config| config.same_site = Some(SameSite::Strict));
    assert_eq!(pass(&strict, &line, from("app")), Some(format!("{line}; HttpOnly; SameSite=Strict")));
    assert_eq!(pass(&strict, &complete, secure), Some(complete));
    let soft = guard(|config| config.harden = false);
    assert_eq!(pass(&soft, &line, secure), Some(line));
}

proptest! {
    #[test]
    fn any_line_is_judged_without_a_panic(line in prop::collection::vec(any::<u8>(), 0..60), named in any::<bool>()) {
        let line = if named { [b"connect.sid=".as_slice(), &line].concat() } else { line };
        if let Ok(line) = HeaderValue::from_bytes(&line) {
            let mut headers: HeaderMap = [(SET_COOKIE, line)].into_iter().collect();
            let removed = guard(|_| {}).apply(&mut headers, from("app"), &|_| None);
            prop_assert_eq!(removed + headers.len(), 1);
        }
    }
}
