//! Trailers and gRPC: what is named passes behind a body, both ways and over both versions, and who is calling never does.

use crate::harness::{
    Connection, Gateway, Http2App, Http2Reply, Http2Setup, Listener, Redis, Reply, Request, Upstream, express_gateway,
    frames::{DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM},
    get, http2_block as block, open_rule, post_http2,
};
use std::thread;

const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");

fn gateway(upstream: &str) -> Gateway {
    Gateway::start(format!("h2c = true\n{}", open_rule(upstream)))
}

fn named(url: &str) -> Gateway {
    gateway(&format!("{{ endpoints = {url:?}, trailers = [\"Server-Timing\", \"X-Sum\"] }}"))
}

fn chunked(gateway: &Gateway, more: &str) -> Connection {
    let mut client = Connection::open(gateway.address);
    client.write(format!(
        "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nConnection: close, TE\r\n{more}\r\n3\r\nabc\r\n0\r\n\
         X-Sum: 6\r\nX-Other: 1\r\nX-Forwarded-User: root\r\nx_forwarded_user: root\r\n\r\n"
    ));
    client
}

#[test]
fn named_trailers_pass_over_http1() {
    let app = Upstream::start(|_| {
        Reply::raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-Other, Set-Cookie\r\n\r\n\
             2\r\nok\r\n0\r\nX-Sum: 7\r\nX-Other: 2\r\nSet-Cookie: a=b\r\nRemote_User: root\r\n\r\n",
        )
    });
    let gateway = named(&app.url());
    let answer = chunked(&gateway, "TE: trailers\r\nTrailer: X-Sum, X-Forwarded-User\r\n").response(false).unwrap();
    assert_eq!((answer.text().as_str(), answer.header("trailer")), ("ok", Some("x-sum")));
    assert_eq!(answer.trailers, ["x-sum: 7"]);
    let seen = app.last();
    assert_eq!((seen.text().as_str(), seen.header("te")), ("abc", Some("trailers")));
    assert_eq!(seen.trailers, ["x-sum: 6"]);
    // Who does not say that trailers are welcome gets none.
    let answer = chunked(&gateway, "").response(false).unwrap();
    assert_eq!((answer.text().as_str(), answer.trailers.len()), ("ok", 0));
    // The connection is used again.
    assert_eq!(gateway.get("/").text(), "ok");
}

#[test]
fn without_a_name_no_trailer_passes() {
    let app = Upstream::start(|_| {
        Reply::raw(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
        )
    });
    let gateway = gateway(&format!("{:?}", app.url()));
    let answer = chunked(&gateway, "TE: trailers\r\nTrailer: X-Sum\r\n").response(false).unwrap();
    assert_eq!((answer.text().as_str(), answer.header("trailer"), answer.trailers.len()), ("ok", None, 0));
    let seen = app.last();
    assert_eq!((seen.trailers.len(), seen.header("te"), seen.header("trailer")), (0, None, None));
    let answer = post_http2(gateway.address, "/", &[], b"abc", &[("x-sum", "1")]);
    assert_eq!((answer.trailer("x-sum"), app.last().trailers.len()), (None, 0));
}

#[test]
fn named_trailers_pass_over_http2_and_from_one_version_to_the_other() {
    let app = Http2App::start(Http2Setup::default(), |_| Http2Reply {
        headers: vec![("trailer", "x-sum")],
        trailers: vec![("x-sum", "7"), ("x-other", "2"), ("x-onedoor-session", "a")],
        ..Http2Reply::new("ok")
    });
    let gateway = named(&app.url());
    let trailers = [("x-sum", "6"), ("x-other", "1"), ("x-forwarded-user", "root"), ("x_forwarded_user", "root")];
    let answer = post_http2(gateway.address, "/", &[], b"abc", &trailers);
    assert_eq!((answer.status, answer.trailer("x-sum"), answer.trailer("x-other")), (200, Some("7"), None));
    assert_eq!(answer.trailer("x-onedoor-session"), None);
    let sent = |app: &Http2App| app.last().trailers.unwrap_or_default();
    assert_eq!((sent(&app).len(), sent(&app)["x-sum"].to_str().unwrap()), (1, "6"));
    assert_eq!(app.last().all("te"), ["trailers"]);
    // A length leaves no room for trailers over HTTP/1.1.
    let answer = chunked(&gateway, "TE: trailers\r\n").response(false).unwrap();
    assert_eq!((answer.text().as_str(), answer.trailers.len()), ("ok", 0));
    assert_eq!((sent(&app).len(), sent(&app)["x-sum"].to_str().unwrap()), (1, "6"));

    let app = Listener::bind();
    let gateway = named(&app.url().replace("http", "h2c"));
    let mut client = chunked(&gateway, "TE: trailers\r\n");
    let mut http2 = app.accept_http2(&[]);
    let stream = http2.request().unwrap();
    http2.send(HEADERS, END_HEADERS, stream, &block(&[(":status", "200"), ("trailer", "x-sum")]));
    http2.send(DATA, 0, stream, b"ok");
    http2.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[("x-sum", "7"), ("x-other", "1")]));
    let answer = client.response(false).unwrap();
    assert_eq!((answer.text().as_str(), answer.trailers), ("ok", vec!["x-sum: 7".to_owned()]));
    // What cannot be a trailer ends the answer as broken.
    let mut client = chunked(&gateway, "TE: trailers\r\n");
    let stream = http2.request().unwrap();
    http2.send(HEADERS, END_HEADERS, stream, &block(&[(":status", "200")]));
    http2.send(DATA, 0, stream, b"ok");
    http2.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(&[(":status", "200")]));
    assert!(client.response(false).is_none_or(|answer| answer.status() == 502));
}

#[test]
fn a_grpc_answer_ends_with_its_status() {
    let app = Http2App::start(Http2Setup::default(), |seen| {
        let trailers =
            vec![("grpc-status", "0"), ("grpc-message", "fine"), ("my-own-bin", "AAE"), ("x_forwarded_user", "a")];
        match seen.url.ends_with("/refused") {
            true => Http2Reply { headers: vec![GRPC, ("grpc-status", "5")], ..Http2Reply::new("") },
            false => Http2Reply { headers: vec![GRPC], trailers, ..Http2Reply::new("answer") },
        }
    });
    let gateway = gateway(&format!("{:?}", app.url()));
    let answer = post_http2(gateway.address, "/a.B/C", &[GRPC, ("te", "trailers")], b"call", &[]);
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(GRPC.1)));
    assert_eq!((answer.trailer("grpc-status"), answer.trailer("my-own-bin")), (Some("0"), Some("AAE")));
    assert_eq!((answer.trailer("x_forwarded_user"), answer.header("grpc-status")), (None, None));
    let seen = app.last();
    assert_eq!((seen.all("te"), seen.body.as_ref()), (vec!["trailers"], &b"call"[..]));
    let answer = post_http2(gateway.address, "/refused", &[GRPC], b"call", &[]);
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("5")));
}

#[test]
fn a_grpc_call_that_breaks_off_never_looks_whole() {
    let app = Listener::bind();
    let gateway = gateway(&format!("{:?}", app.url().replace("http", "h2c")));
    // Reset with an error, without one, and a connection that ends.
    for end in [Some(2_u32), Some(0), None] {
        let address = gateway.address;
        let asked = thread::spawn(move || post_http2(address, "/a.B/C", &[GRPC], b"call", &[]));
        let mut http2 = app.accept_http2(&[]);
        let stream = http2.request().unwrap();
        http2.send(HEADERS, END_HEADERS, stream, &block(&[(":status", "200"), GRPC]));
        http2.send(DATA, 0, stream, b"half");
        if let Some(code) = end {
            http2.send(RST_STREAM, 0, stream, &code.to_be_bytes());
            let answer = asked.join().unwrap();
            assert!(answer.body.is_err(), "{answer:?}");
        } else {
            drop(http2);
            let answer = asked.join().unwrap();
            assert!(answer.body.is_err(), "{answer:?}");
        }
    }
}

#[test]
fn refusals_of_grpc_calls_are_a_status_of_grpc() {
    let (app, redis) = (Upstream::echo(), Redis::start());
    let dead = crate::harness::free_address();
    let rules = format!(
        "[[rules]]\npath = \"/dead/*\"\ndest = \"h2c://{dead}\"\nsession = \"off\"\n\
         [[rules]]\npath = \"/small/*\"\ndest = \"app\"\nsession = \"off\"\nbody = \"3B\"\n\
         [[rules]]\npath = \"/often/*\"\ndest = \"app\"\nsession = \"off\"\nlimit = \"once\"\n\
         [[rules]]\npath = \"/near/*\"\ndest = \"app\"\nsession = \"off\"\nallow = \"10.0.0.0/8\"\n\
         [[rules]]\npath = \"/closed/*\"\ndest = \"app\"\n\
         [limits.once]\nrequests = 1\nper = \"1h\"\nby = \"ip\"\nscope = \"local\"\n"
    );
    let gateway = express_gateway(&redis, &app.url(), "login = \"https://id.test/\"", &rules);
    let call = |path: &str| {
        let grpc = Request::new("POST", path).header(GRPC.0, GRPC.1).body("call");
        let response = gateway.send(&grpc);
        assert_eq!((response.status(), response.body.len()), (200, 0), "{path}");
        assert_eq!(response.header("content-type"), Some(GRPC.1), "{path}");
        assert!(response.header("grpc-message").is_some(), "{path}");
        response.header("grpc-status").unwrap().to_owned()
    };
    assert_eq!(gateway.send(&Request::new("POST", "/often/x").body("x")).status(), 200);
    let statuses = ["/closed/x", "/near/x", "/none", "/small/x", "/often/x", "/dead/x"].map(call);
    assert_eq!(statuses, ["16", "7", "12", "8", "8", "13"]);
    assert_eq!(gateway.log_line("/closed/x")["reason"], "session_required");
    assert_eq!(gateway.get("/closed/x").status(), 401, "others are refused as ever");
    assert_eq!(get("/closed/x").html().send(gateway.address).status(), 303);
    assert!(app.requests().iter().all(|request| request.header("content-type") != Some(GRPC.1)));
}
