//! Upstreams: connections are kept and used again, bodies stream, and one stale connection is not a lost request.

use crate::harness::{
    Connection, Dir, Gateway, Listener, Message, Reply, Request, Upstream, eventually, free_address, get, onedoor,
    open_gateway, open_rule, post,
};
use sha2::{Digest, Sha256};
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixListener,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc,
    },
    thread,
};

fn single_worker(app: &str) -> Gateway {
    Gateway::start(open_rule(&format!("{{ endpoints = \"{app}\", keepalive = \"30s\" }}")))
}

/// Ten mebibytes without a pattern that a wrong offset could repeat.
fn ten_mebibytes() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(10 * 1024 * 1024 / 8)
    .flatten()
    .collect()
}

#[test]
fn connections_are_used_again() {
    let app = Upstream::echo();
    let gateway = single_worker(&app.url());
    let mut connection = Connection::open(gateway.address);
    for n in 0..50 {
        let response = get(&format!("/{n}")).send_on(&mut connection, gateway.address);
        assert_eq!(response.json()["target"], format!("/{n}"));
    }
    assert_eq!(app.accepted(), 1, "one worker keeps one connection busy");
}

#[test]
fn a_get_on_a_connection_that_has_gone_stale_is_sent_again() {
    let app = Upstream::echo();
    let gateway = single_worker(&app.url());
    let mut connection = Connection::open(gateway.address);
    for _ in 0..20 {
        assert_eq!(get("/").send_on(&mut connection, gateway.address).status(), 200);
        app.hang_up();
    }
}

#[test]
fn a_post_is_not_lost_on_a_connection_that_has_gone_stale() {
    let app = Upstream::echo();
    let gateway = single_worker(&app.url());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Others keep the worker from looking at its sockets all the time.
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = Connection::open(gateway.address);
                while !over.load(SeqCst) {
                    get("/_onedoor/healthz").send_on(&mut connection, gateway.address);
                }
            });
        }
        let mut connection = Connection::open(gateway.address);
        let lost = (0..300).filter(|_| {
            app.hang_up();
            post("/", "a=1").send_on(&mut connection, gateway.address).status() != 200
        });
        let lost = lost.count();
        over.store(true, SeqCst);
        assert_eq!(lost, 0);
    });
}

#[test]
fn a_get_whose_connection_closes_unanswered_is_sent_again_and_a_post_is_not() {
    let app = Listener::bind();
    let gateway = single_worker(&app.url());
    let address = gateway.address;
    let upstream = thread::spawn(move || {
        let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let mut seen = Vec::new();
        for _ in 0..2 {
            // Answers one request, then closes upon the next, as a server does whose idle time has just run out.
            let mut first = app.accept();
            seen.push(first.request().unwrap());
            first.write(ok);
            seen.push(first.request().unwrap());
            first.close();
            let Some(expected) = seen.last().filter(|request| request.method() == "GET") else { break };
            let mut second = app.accept();
            let again = second.request().unwrap();
            assert_eq!(again.target(), expected.target());
            second.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            second.close();
        }
        (seen, app)
    });
    let mut connection = Connection::open(address);
    assert_eq!(get("/warm").send_on(&mut connection, address).status(), 200);
    assert_eq!(get("/again").send_on(&mut connection, address).status(), 200);
    assert_eq!(get("/warm").send_on(&mut connection, address).status(), 200);
    assert_eq!(post("/once", "x").send_on(&mut connection, address).status(), 502);
    let (seen, app) = upstream.join().unwrap();
    assert_eq!(seen.len(), 4);
    assert!(app.is_idle(), "the POST was not sent again");
}

#[test]
fn a_connection_that_closes_upon_a_request_takes_those_along_that_are_unused() {
    let meeting = Barrier::new(2);
    let app = Upstream::start(move |request| match request.target() {
        "/meet" => {
            meeting.wait();
            Reply::new(200, &[], "")
        }
        "/die" => Reply::raw("").close(),
        _ => Reply::new(200, &[], ""),
    });
    let gateway = single_worker(&app.url());
    let clients = [(); 2].map(|()| {
        let address = gateway.address;
        let mut connection = Connection::open(address);
        thread::spawn(move || {
            assert_eq!(get("/meet").send_on(&mut connection, address).status(), 200);
            connection
        })
    });
    let [mut one, mut other] = clients.map(|client| client.join().unwrap());
    assert_eq!(app.accepted(), 2);
    assert_eq!(post("/die", "").send_on(&mut one, gateway.address).status(), 502);
    assert_eq!(post("/", "").send_on(&mut other, gateway.address).status(), 200);
    assert_eq!(app.accepted(), 3, "it was not sent on a connection that may be about to close, too");
}

#[test]
fn with_one_endpoint_dead_the_other_answers() {
    let app = Upstream::named("alive");
    let dead = free_address();
    let url = app.url();
    let gateway = Gateway::start(open_rule(&format!("[\"http://{dead}\", \"{url}\"]")));
    for _ in 0..20 {
        assert_eq!(gateway.get("/").status(), 200, "what was never sent goes elsewhere");
        assert_eq!(gateway.send(&post("/", "x")).status(), 200, "whatever the method");
    }
}

#[test]
fn requests_go_round_over_the_endpoints() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let gateway = Gateway::start(open_rule(&format!("[\"{}\", \"{}\"]", one.url(), two.url())));
    for _ in 0..40 {
        assert_eq!(gateway.get("/").status(), 200);
    }
    assert!(one.requests().len() >= 5 && two.requests().len() >= 5);
}

#[test]
fn ten_mebibytes_arrive_as_they_were_sent_both_ways() {
    let body = ten_mebibytes();
    let (sent, digest) = (body.clone(), Sha256::digest(&body).to_vec());
    let app = Upstream::start(move |request| match request.target() {
        "/length" => Reply::new(200, &[], &sent),
        "/chunks" => {
            let mut bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for chunk in sent.chunks(70_001) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            Reply::raw(bytes)
        }
        "/close" => Reply::raw([b"HTTP/1.1 200 OK\r\n\r\n", sent.as_slice()].concat()).close(),
        _ => Reply::new(200, &[], request.digest()),
    });
    let gateway = open_gateway("", &app.url());
    for target in ["/length", "/chunks", "/close"] {
        assert_eq!(gateway.get(target).digest(), digest, "{target}");
    }
    assert_eq!(gateway.send(&Request::new("POST", "/up").body(&body)).body, digest);
    let mut connection = Connection::open(gateway.address);
    connection.write(format!("POST /up HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", gateway.address));
    for chunk in body.chunks(65_537) {
        connection.write(format!("{:x}\r\n", chunk.len()));
        connection.write(chunk);
        connection.write("\r\n");
    }
    connection.write("0\r\n\r\n");
    assert_eq!(connection.response(false).unwrap().body, digest);
}

#[test]
fn a_response_streams_and_a_slow_reader_slows_the_upstream_down() {
    let app = Listener::bind();
    let gateway = single_worker(&app.url());
    let mut client = Connection::open(gateway.address);
    client.write(get("/").bytes(gateway.address));
    let mut upstream = app.accept();
    upstream.request().unwrap();
    upstream.write("HTTP/1.1 200 OK\r\nContent-Length: 268435456\r\n\r\nfirst");
    assert_eq!(client.head().unwrap().status(), 200);
    assert_eq!(client.some().unwrap(), b"first", "before the body is whole");
    let (progress, written) = mpsc::channel();
    let writer = thread::spawn(move || {
        let block = vec![7; 1024 * 1024];
        for _ in 0..256 {
            if !upstream.try_write(&block) || progress.send(()).is_err() {
                break;
            }
        }
    });
    // Nobody reads: the sockets' buffers fill, and then the upstream must wait although it has much more to say.
    let patience = std::time::Duration::from_secs(2);
    let taken = std::iter::from_fn(|| written.recv_timeout(patience).ok()).count();
    assert!(taken < 64, "{taken} MiB were taken for a client that does not read");
    client.close();
    drop(written);
    writer.join().unwrap();
}

#[test]
fn a_request_streams_to_the_upstream() {
    let app = Listener::bind();
    let gateway = single_worker(&app.url());
    let mut client = Connection::open(gateway.address);
    client.write(format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 10\r\n\r\n12345", gateway.address));
    let mut upstream = app.accept();
    let head = upstream.head().unwrap();
    assert_eq!(head.header("content-length"), Some("10"));
    assert_eq!(upstream.some().unwrap(), b"12345", "before the body is whole");
    client.write("67890");
    assert_eq!(upstream.some().unwrap(), b"67890");
    upstream.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.response(false).unwrap().text(), "ok");
}

#[test]
fn an_early_answer_reaches_a_client_that_is_still_uploading() {
    let app = Listener::bind();
    let gateway = single_worker(&app.url());
    let mut client = Connection::open(gateway.address);
    client.write(format!("POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000000\r\n\r\nbegin", gateway.address));
    let mut upstream = app.accept();
    upstream.head().unwrap();
    upstream.write("HTTP/1.1 413 Too Much\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull");
    let response = client.response(false).unwrap();
    assert_eq!((response.status(), response.text().as_str()), (413, "full"));
}

#[test]
fn a_client_that_leaves_ends_the_request_upstream() {
    let app = Listener::bind();
    let gateway = single_worker(&app.url());
    let mut client = Connection::open(gateway.address);
    client.write(get("/slow").bytes(gateway.address));
    let mut upstream = app.accept();
    upstream.request().unwrap();
    client.close();
    drop(client);
    assert!(upstream.is_closed());
}

#[test]
fn an_upload_that_is_cut_off_does_not_look_whole() {
    let app = Upstream::echo();
    let gateway = open_gateway("", &app.url());
    let mut client = Connection::open(gateway.address);
    client.write(format!("POST /cut HTTP/1.1\r\nHost: {}\r\nContent-Length: 10\r\n\r\n12345", gateway.address));
    client.close();
    drop(client);
    assert_eq!(gateway.get("/after").status(), 200);
    assert!(app.requests().iter().all(|request| request.target() == "/after"));
}

#[test]
fn a_response_that_is_cut_off_does_not_look_whole() {
    let app = Upstream::start(|request| match request.target() {
        "/length" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345").close(),
        _ => Reply::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n").close(),
    });
    let gateway = open_gateway("", &app.url());
    for target in ["/length", "/chunks"] {
        let response = get(target).try_send(gateway.address);
        assert!(response.as_ref().is_none_or(|response| response.status() == 502), "{target}: {response:?}");
    }
}

#[test]
fn answers_without_a_body_stay_without_one() {
    let app = Upstream::start(|request| match request.target() {
        "/204" => Reply::raw("HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n"),
        "/304" => Reply::raw("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
        "/early" => {
            Reply::raw("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        }
        _ if request.method() == "HEAD" => Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"),
        _ => Reply::new(200, &[], ""),
    });
    let gateway = open_gateway("", &app.url());
    let mut connection = Connection::open(gateway.address);
    let mut send = |request: Request| request.send_on(&mut connection, gateway.address);
    assert_eq!(send(get("/204")).status(), 204);
    assert_eq!(send(get("/304")).header("etag"), Some("\"x\""));
    let head = send(Request::new("HEAD", "/head"));
    assert_eq!((head.status(), head.header("content-length")), (200, Some("1234")));
    assert_eq!(send(get("/empty")).status(), 200);
    assert_eq!(send(get("/early")).text(), "ok");
}

#[test]
fn framing_and_hop_by_hop_fields_of_an_answer_end_here() {
    let app = Upstream::start(|_| {
        let lines = [("Connection", "X-Named"), ("X-Named", "1"), ("Keep-Alive", "timeout=5"), ("X-Kept", "1")];
        Reply::new(200, &lines, "body")
    });
    let gateway = open_gateway("", &app.url());
    let response = gateway.get("/");
    assert_eq!((response.header("x-kept"), response.text().as_str()), (Some("1"), "body"));
    assert_eq!((response.header("x-named"), response.header("keep-alive")), (None, None));
    let both = Upstream::start(|_| {
        Reply::raw("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")
            .close()
    });
    let gateway = open_gateway("", &both.url());
    let response = gateway.get("/");
    assert!(response.status() == 502 || response.text() == "body", "{response:?}");
}

#[test]
fn the_host_is_the_clients_or_the_upstreams_as_the_file_says() {
    let app = Upstream::echo();
    let url = app.url();
    let own = url.trim_start_matches("http://").to_owned();
    for (host, seen) in
        [("auto", "door.test"), ("client", "door.test"), ("upstream", own.as_str()), ("fixed.test", "fixed.test")]
    {
        let gateway = Gateway::start(open_rule(&format!("{{ endpoints = \"{url}\", host = \"{host}\" }}")));
        assert_eq!(gateway.send(&get("/").header("Host", "door.test")).status(), 200);
        assert_eq!(app.last().all("host"), [seen], "{host}");
    }
}

#[test]
fn an_upstream_that_comes_back_is_used_again() {
    let mut app = Upstream::echo();
    let gateway = open_gateway("", &app.url());
    assert_eq!(gateway.get("/").status(), 200);
    app.stop();
    assert_eq!(gateway.get("/").status(), 502);
    app.restart();
    eventually("the upstream answers again", || Some(gateway.get("/")).filter(|response| response.status() == 200));
}

#[test]
fn parallel_requests_do_not_mix() {
    let app = Upstream::echo();
    let gateway = open_gateway("", &app.url());
    thread::scope(|scope| {
        for client in 0..16 {
            let address = gateway.address;
            scope.spawn(move || {
                let mut connection = Connection::open(address);
                for n in 0..50 {
                    let target = format!("/{client}/{n}");
                    let response: Message = post(&target, &"x".repeat(n)).send_on(&mut connection, address);
                    assert_eq!(
                        (response.json()["target"].as_str(), response.json()["length"].as_u64()),
                        (Some(target.as_str()), Some(n as u64))
                    );
                }
            });
        }
    });
}

#[test]
fn an_upstream_may_listen_on_a_unix_socket() {
    let dir = Dir::new();
    let path = dir.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let (seen, requests) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            while let Some(first) = head.next() {
                let lines: Vec<String> = head.by_ref().take_while(|line| !line.is_empty()).collect();
                seen.send((first, lines)).unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            }
        }
    });
    let gateway = Gateway::start(open_rule(&format!("\"unix:{}\"", path.display())));
    for target in ["/one", "/two"] {
        assert_eq!(gateway.send(&get(target).header("Host", "door.test")).text(), "ok");
        let (first, lines) = requests.recv().unwrap();
        assert_eq!(first, format!("GET {target} HTTP/1.1"));
        assert!(lines.iter().any(|line| line.eq_ignore_ascii_case("host: door.test")), "{lines:?}");
    }
    let explained = onedoor(&["explain", "GET", "/", "-c"]).arg(gateway.file()).output().unwrap();
    let told = String::from_utf8(explained.stdout).unwrap();
    assert!(told.contains(&format!("endpoint  unix:{}", path.display())), "{told}");
}
