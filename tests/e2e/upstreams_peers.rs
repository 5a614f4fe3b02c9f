//! Servers as they are in production behind the gateway, and curl before it.

use crate::harness::{
    Connection, Dir, Gateway, Process, Request, Setup, Upstream, eventually, free_address, get, open_gateway,
    open_rule, post,
};
use rcgen::generate_simple_self_signed;
use std::{net::TcpStream, process::Command, thread};

/// nginx with what services ask of it. Every answer says how many its connection has had.
const NGINX: &str = r#"
events { worker_connections 200; }
http {
  access_log off; keepalive_requests 1000;
  gzip on; gzip_min_length 1; gzip_types text/plain;
  add_header X-Uses $connection_requests always;
  server {
    listen ADDRESS; root PATH;
    location / { default_type text/plain; }
    location /empty { return 204; }
    location /gone { return 444; }
    location /slow { alias PATH/page; limit_rate 8k; gzip off; }
    location /small { client_max_body_size 1k; proxy_pass http://127.0.0.1:9; }
  }
}
"#;

/// A running nginx; its files live as long as it does.
struct Nginx {
    url: String,
    page: String,
    _process: Process,
    _dir: Dir,
}

fn nginx() -> Nginx {
    let (dir, address) = (Dir::new(), free_address());
    let path = dir.path().display().to_string();
    let page: String = (0..3000).map(|n| format!("line {n}\n")).collect();
    dir.write("page", &page);
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String = kinds.iter().map(|kind| format!("{kind}_temp_path {path}/{kind}; ")).collect();
    let text = NGINX.replace("ADDRESS", &address.to_string()).replace("PATH", &path);
    dir.write("nginx.conf", text.replace("access_log off;", &format!("access_log off; {temporary}")));
    let settings = format!("daemon off; master_process off; pid {path}/nginx.pid;");
    let arguments = ["-e", "stderr", "-p", &path, "-c", "nginx.conf", "-g", &settings];
    let process = Process::start(Command::new("nginx").args(arguments));
    eventually("nginx listens", || TcpStream::connect(address).ok());
    Nginx { url: format!("http://{address}"), page, _process: process, _dir: dir }
}

#[test]
fn nginx_behind_the_gateway_answers_as_it_would_alone() {
    let app = nginx();
    let gateway = Setup::new(open_rule(&format!("{:?}", app.url))).one_worker().start();
    let mut client = Connection::open(gateway.address);
    let mut ask = |request: Request| request.send_on(&mut client, gateway.address);
    let whole = ask(get("/page"));
    assert_eq!((whole.status(), whole.text()), (200, app.page.clone()));
    let length = app.page.len().to_string();
    assert_eq!((whole.header("content-length"), whole.header("accept-ranges")), (Some(length.as_str()), Some("bytes")));
    let tag = whole.header("etag").unwrap().to_owned();

    let unchanged = ask(get("/page").header("If-None-Match", &tag));
    assert_eq!((unchanged.status(), unchanged.body.len(), unchanged.header("etag")), (304, 0, Some(tag.as_str())));
    let part = ask(get("/page").header("Range", "bytes=5-9").header("If-Range", &tag));
    assert_eq!((part.status(), part.text().as_str()), (206, &app.page[5..10]));
    assert_eq!(part.header("content-range"), Some(format!("bytes 5-9/{length}").as_str()));
    let parts = ask(get("/page").header("Range", "bytes=0-1,4-5"));
    assert!(parts.status() == 206 && parts.header("content-type").unwrap().starts_with("multipart/byteranges"));
    let beyond = ask(get("/page").header("Range", "bytes=99999999-"));
    assert_eq!((beyond.status(), beyond.header("content-range")), (416, Some(format!("bytes */{length}").as_str())));

    let squeezed = ask(get("/page").header("Accept-Encoding", "gzip"));
    assert_eq!((squeezed.status(), squeezed.header("content-encoding")), (200, Some("gzip")));
    assert_eq!(squeezed.header("content-length"), None, "it comes in chunks");
    assert!(squeezed.body.starts_with(&[0x1f, 0x8b]) && squeezed.body.len() < app.page.len());
    assert_eq!(ask(get("/empty")).status(), 204);
    assert_eq!(ask(get("/nothing")).status(), 404);
    let last = ask(get("/page"));
    assert!(last.header("x-uses").unwrap().parse::<u32>().unwrap() >= 7, "one connection serves all: {last:?}");

    let mut client = Connection::open(gateway.address);
    client.write(Request::new("HEAD", "/page").bytes(gateway.address));
    let head = client.response(true).unwrap();
    assert_eq!((head.status(), head.header("content-length")), (200, Some(length.as_str())));
    let gone = gateway.get("/gone");
    assert_eq!((gone.status(), gone.reason().as_str()), (502, "upstream_unreachable"));
    assert_eq!(gateway.send(&post("/gone", "a=1")).status(), 502);
    let large = gateway.send(&Request::new("POST", "/small").body(vec![b'x'; 300_000]));
    assert_eq!(large.status(), 413);
    let slow = gateway.get("/slow");
    assert_eq!((slow.status(), slow.text()), (200, app.page.clone()));
    assert_eq!(gateway.get("/page").status(), 200);
}

/// Node's own HTTP/2, in clear, or over TLS where both versions are spoken.
const NODE: &str = r"
const http2 = require('http2'), fs = require('fs');
const [port, tls] = process.argv.slice(2);
const answer = (request, response) => {
  const session = request.stream && request.stream.session;
  response.setHeader('x-version', request.httpVersion);
  switch (request.url) {
    case '/reset': return request.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    case '/cut': response.write('half'); return setImmediate(() => request.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR));
    case '/goaway': response.end('bye'); return session.goaway();
    case '/close': response.end('bye'); return session.close();
    case '/destroy': return session.destroy();
    case '/large': return response.end('x'.repeat(3000000));
    case '/empty': response.statusCode = 204; return response.end();
  }
  let length = 0;
  request.on('data', (data) => { length += data.length; }).on('end', () => response.end(`${request.method} ${length}`));
};
const server = tls
  ? http2.createSecureServer({ allowHTTP1: true, cert: fs.readFileSync('cert.pem'), key: fs.readFileSync('key.pem') }, answer)
  : http2.createServer(answer);
server.on('sessionError', () => {});
server.listen(Number(port), '127.0.0.1', () => console.log('ready'));
";

fn node(dir: &Dir, port: u16, more: &[&str]) -> Process {
    dir.write("app.js", NODE);
    let mut command = Command::new("node");
    let process = Process::start(command.arg("app.js").arg(port.to_string()).args(more).current_dir(dir.path()));
    process.wait_for_output("ready");
    process
}

/// Everything that both kinds of connection must do.
fn speaks_http2(gateway: &Gateway) {
    let first = gateway.get("/");
    assert_eq!((first.status(), first.text().as_str(), first.header("x-version")), (200, "GET 0", Some("2.0")));
    let posted = gateway.send(&Request::new("POST", "/").body(vec![b'x'; 200_000]));
    assert_eq!(posted.text(), "POST 200000");
    assert_eq!(gateway.get("/large").body.len(), 3_000_000);
    assert_eq!(gateway.get("/empty").status(), 204);
    let reset = gateway.get("/reset");
    assert_eq!((reset.status(), reset.reason().as_str()), (502, "upstream_unreachable"));
    assert!(get("/cut").try_send(gateway.address).is_none_or(|answer| answer.status() == 502));
    for _ in 0..5 {
        assert_eq!(gateway.get("/goaway").text(), "bye");
        assert_eq!(gateway.send(&post("/", "a=1")).text(), "POST 3");
        assert_eq!(gateway.get("/close").text(), "bye");
        assert_eq!(gateway.send(&post("/", "a=1")).text(), "POST 3");
        assert_eq!(gateway.get("/destroy").status(), 502);
        assert_eq!(gateway.send(&post("/", "a=1")).text(), "POST 3");
    }
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for _ in 0..10 {
                    assert_eq!(gateway.send(&post("/", "a=1")).text(), "POST 3");
                }
            });
        }
    });
}

#[test]
fn node_speaks_http2_in_clear_behind_the_gateway() {
    let (dir, port) = (Dir::new(), free_address().port());
    let _node = node(&dir, port, &[]);
    speaks_http2(&Gateway::start(open_rule(&format!("\"h2c://127.0.0.1:{port}\""))));
}

#[test]
fn node_speaks_http2_by_alpn_behind_the_gateway() {
    let (dir, port) = (Dir::new(), free_address().port());
    let identity = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    dir.write("cert.pem", identity.cert.pem());
    dir.write("key.pem", identity.signing_key.serialize_pem());
    let _node = node(&dir, port, &["tls"]);
    let upstream = format!("{{ endpoints = \"https://localhost:{port}\", tls = {{ ca = \"own.pem\" }} }}");
    speaks_http2(&Setup::new(open_rule(&upstream)).file("own.pem", identity.cert.pem()).start());
}

#[test]
fn curl_speaks_http2_with_and_without_tls() {
    let app = Upstream::echo();
    let clear = open_gateway("h2c = true", &app.url());
    let identity = generate_simple_self_signed(["site.test".to_owned()]).unwrap();
    let tls = "[server.tls]\ncertificates = [{ cert = \"cert.pem\", key = \"key.pem\" }]";
    let secure = Setup::new(format!("{tls}\n{}", open_rule(&format!("{:?}", app.url()))))
        .file("cert.pem", identity.cert.pem())
        .file("key.pem", identity.signing_key.serialize_pem())
        .start();
    let port = secure.address.port();
    let resolve = format!("site.test:{port}:127.0.0.1");
    let ways = [
        (&clear, format!("http://{}", clear.address), vec!["--http2-prior-knowledge"]),
        (&secure, format!("https://site.test:{port}"), vec!["--http2", "--cacert", "cert.pem", "--resolve", &resolve]),
    ];
    for (gateway, url, way) in ways {
        let curl = |more: &[&str], paths: &str| {
            let output = Command::new("curl")
                .args([
                    "--silent",
                    "--max-time",
                    "60",
                    "--write-out",
                    "\n%{http_version} %{http_code} %{num_connects}\n",
                ])
                .args(&way)
                .args(more)
                .arg(format!("{url}{paths}"))
                .current_dir(gateway.dir())
                .output()
                .expect("curl is installed: apt-get install curl");
            String::from_utf8(output.stdout).unwrap()
        };
        assert!(curl(&[], "/page").ends_with("\n2 200 1\n"));
        assert_eq!(app.last().target(), "/page");
        assert!(curl(&["--data", "a=1"], "/form").contains("\"length\":3"));
        let head = curl(&["--head"], "/page");
        assert!(head.starts_with("HTTP/2 200") && head.ends_with("\n2 200 1\n"), "{head}");
        if url.starts_with("https") {
            // Some versions of curl cannot use a connection twice where nothing is negotiated.
            let many = curl(&[], "/[1-20]");
            let reused = many.lines().filter(|line| *line == "2 200 0").count();
            assert_eq!(reused, 19, "all on one connection: {many}");
        }
    }
}
