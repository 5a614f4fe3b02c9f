//! Behind the balancers of `deploy/`, with their very files: the client's address and scheme are known, strangers are
//! not believed, WebSockets pass, and a gateway leaves without anybody noticing.

use crate::harness::{
    Dir, Gateway, Process, Redis, SECRET, Setup, Upstream, eventually, free_address, get, handshake, onedoor, record,
    store_session,
};
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

const NAME: &str = "example.com";
/// Where the client is, as the balancer sees it; the balancer itself is at 127.0.0.1.
const CLIENT: &str = "127.0.0.9";

/// A balancer, two gateways behind it, and what is behind those.
struct Site {
    https: SocketAddr,
    http: SocketAddr,
    dir: Dir,
    cookie: String,
    app: Upstream,
    gateways: [Gateway; 2],
    balancer: Process,
    _redis: Redis,
}

impl Site {
    /// `server` goes on in the gateways' `[server]`; `start` starts the balancer.
    fn new(server: &str, start: impl FnOnce(&Dir, [SocketAddr; 4]) -> Process) -> Self {
        let (redis, app, chat) = (Redis::start(), Upstream::echo(), crate::websockets::echo());
        let (https, http) = (free_address(), free_address());
        let port = https.port();
        let certified = certified();
        let text = format!(
            r#"
            public_url = "https://{NAME}:{port}"
            trusted_proxies = ["127.0.0.1"]
            drain_delay = "5s"
            {server}
            [store]
            url = "{}"
            [session]
            format = "express"
            secrets = ["{SECRET}"]
            user = "user.id"
            [upstreams]
            app = "{}"
            chat = "{chat}"
            [[rules]]
            path = "/login"
            dest = "app"
            session = "optional"
            [[rules]]
            path = "/chat"
            dest = "chat"
            [[rules]]
            dest = "app"
            "#,
            redis.url(),
            app.url()
        );
        let gateways = [(); 2].map(|()| {
            let setup = Setup::new(&text).file("cert.pem", certified.cert.pem());
            setup.file("key.pem", certified.signing_key.serialize_pem()).start()
        });
        let dir = Dir::new();
        let (cert, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
        dir.write("cert.pem", &cert);
        dir.write("key.pem", &key);
        std::fs::create_dir(dir.path().join("certs")).unwrap();
        dir.write("certs/both.pem", cert + &key);
        let balancer = start(&dir, [https, http, gateways[0].address, gateways[1].address]);
        let cookie = store_session(&redis, "one", &record("7", "[]"));
        let mut site = Self { https, http, dir, cookie, app, gateways, balancer, _redis: redis };
        eventually("the balancer passes requests on", || {
            assert!(site.balancer.is_running(), "{}", site.balancer.output());
            (site.curl("/page", &[]) == ["200"]).then_some(())
        });
        site
    }

    /// The statuses that a logged-in client gets, one of each URL that `path` stands for, on as few connections as
    /// possible.
    fn curl(&self, path: &str, more: &[&str]) -> Vec<String> {
        let port = self.https.port();
        let output = Command::new("curl")
            .args(["--silent", "--max-time", "60", "--interface", CLIENT, "--cacert", "cert.pem"])
            .args(["--resolve", &format!("{NAME}:{port}:127.0.0.1"), "--cookie", &self.cookie])
            .args(["--output", "/dev/null", "--write-out", "%{http_code}\n"])
            .args(more)
            .arg(format!("https://{NAME}:{port}{path}"))
            .current_dir(self.dir.path())
            .output()
            .expect("curl is installed: apt-get install curl");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    fn passes_the_tests(mut self) {
        self.knows_its_clients();
        self.sends_to_https();
        self.passes_websockets();
        self.loses_nothing_when_a_gateway_leaves();
    }

    fn knows_its_clients(&self) {
        let lies = [
            "X-Forwarded-For: 192.0.2.66",
            "Forwarded: for=192.0.2.66;proto=http",
            "X-Real-IP: 192.0.2.66",
            "X-Client-IP: 192.0.2.66",
            "True-Client-IP: 192.0.2.66",
            "CF-Connecting-IP: 192.0.2.66",
            "X-Forwarded-Proto: http",
            "X-Forwarded-Host: evil.test",
            "X-Forwarded-Port: 66",
            "X-Forwarded-User: evil",
            "x_forwarded_for: 192.0.2.66",
        ];
        let lies: Vec<_> = lies.iter().flat_map(|lie| ["--header", lie]).collect();
        for version in ["--http1.1", "--http2"] {
            assert_eq!(self.curl("/page?q=1", &[&[version], lies.as_slice()].concat()), ["200"]);
            let seen = self.app.last();
            let hops = seen.header("x-forwarded-for").unwrap();
            assert_eq!(hops.split(", ").next(), Some(CLIENT), "{hops}");
            let head = String::from_utf8_lossy(&seen.head).into_owned();
            assert!(!head.contains("192.0.2.66") && !head.contains("evil"), "{head}");
            assert_eq!((seen.target(), seen.header("x-forwarded-proto")), ("/page?q=1", Some("https")));
            assert_eq!(seen.header("x-forwarded-port"), Some(self.https.port().to_string().as_str()));
            assert_eq!((seen.header("x-forwarded-user"), seen.all("x-forwarded-for").len()), (Some("7"), 1));
        }
        assert_eq!(self.curl("/a//b", &[]), ["200"]);
        assert_eq!(self.app.last().target(), "/a/b", "the gateway judges the path");
        assert_eq!(self.curl("/a%2Fb", &[]), ["400"]);
        eventually("a log line names the client", || {
            let named = |line: &str| line.contains("\"/page\"") && line.contains(CLIENT);
            self.gateways.iter().any(|gateway| gateway.output().lines().any(named)).then_some(())
        });
    }

    fn sends_to_https(&self) {
        let answer = get("/page?q=1").header("Host", NAME).send(self.http);
        assert_eq!(answer.status(), 308);
        let to = answer.header("location").unwrap();
        assert!(to.starts_with(&format!("https://{NAME}")) && to.ends_with("/page?q=1"), "{to}");
    }

    fn passes_websockets(&self) {
        let url = format!("wss://{NAME}:{}/chat", self.https.port());
        let mut request = tungstenite::client::IntoClientRequest::into_client_request(url).unwrap();
        let anonymous = tungstenite::client(request.clone(), handshake(self.https, NAME));
        assert!(anonymous.is_err(), "the session is asked for");
        request.headers_mut().insert("Cookie", self.cookie.parse().unwrap());
        let (mut socket, _) = tungstenite::client(request, handshake(self.https, NAME)).expect("a WebSocket");
        for text in ["one", "two"] {
            socket.send(text.into()).unwrap();
            assert_eq!(socket.read().unwrap().into_text().unwrap().as_str(), text);
        }
    }

    fn loses_nothing_when_a_gateway_leaves(&mut self) {
        let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
        let site = &*self;
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !stop.load(Ordering::SeqCst) {
                        let statuses = site.curl("/page/[1-20]", &[]);
                        let good = statuses.iter().filter(|status| *status == "200").count();
                        answered.fetch_add(good, Ordering::SeqCst);
                        if good != 20 {
                            stop.store(true, Ordering::SeqCst);
                            panic!("{statuses:?}\n{}", site.balancer.output());
                        }
                    }
                });
            }
            let flows = |so_many: usize| {
                let aim = answered.load(Ordering::SeqCst) + so_many;
                eventually("requests are answered", || {
                    (answered.load(Ordering::SeqCst) >= aim || stop.load(Ordering::SeqCst)).then_some(())
                });
            };
            flows(60);
            let leaving = &site.gateways[0];
            leaving.process.signal("TERM");
            eventually("it says so", || (get("/readyz").send(leaving.admin).status() == 503).then_some(()));
            eventually("it is gone", || leaving.output().contains("\"stopped\"").then_some(()));
            flows(60);
            stop.store(true, Ordering::SeqCst);
        });
        assert_eq!(self.gateways[0].process.exit_code(), Some(0));
        assert!(!self.gateways[0].output().contains("drain has run out"), "{}", self.gateways[0].output());
    }
}

fn certified() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed([NAME.to_owned()]).unwrap()
}

/// A file of `deploy/` with other addresses and paths in it.
fn placed(dir: &Dir, name: &str, changes: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    let mut text = std::fs::read_to_string(path).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "deploy/{name} has no {from:?}");
        text = text.replace(from, to);
    }
    dir.write(name, text).display().to_string()
}

fn haproxy(dir: &Dir, name: &str, [https, http, one, two]: [SocketAddr; 4], server_port: u16) -> Process {
    let certs = format!("crt {}/", dir.path().join("certs").display());
    let changes = [
        ("bind :80", format!("bind {http}")),
        ("bind :443", format!("bind {https}")),
        (&*format!("10.0.0.11:{server_port}"), one.to_string()),
        (&*format!("10.0.0.12:{server_port}"), two.to_string()),
        // A busy machine is no sign that a gateway is ill.
        ("timeout check 2s", "timeout check 20s".to_owned()),
        ("maxconn 20000", "maxconn 200".to_owned()),
    ];
    let mut changes: Vec<_> = changes.iter().map(|(from, to)| (*from, to.as_str())).collect();
    if name == "haproxy.cfg" {
        changes.push(("crt /etc/haproxy/certs/", &certs));
    }
    let file = placed(dir, name, &changes);
    Process::start(Command::new("haproxy").args(["-db", "-f", &file]))
}

#[test]
fn haproxy_in_front() {
    Site::new("", |dir, addresses| haproxy(dir, "haproxy.cfg", addresses, 3000)).passes_the_tests();
}

#[test]
fn haproxy_in_front_that_passes_connections_on() {
    let server = "proxy_protocol = \"required\"\n[server.tls]\n\
                  certificates = { cert = \"cert.pem\", key = \"key.pem\" }";
    Site::new(server, |dir, addresses| haproxy(dir, "haproxy-tcp.cfg", addresses, 443)).passes_the_tests();
}

#[test]
fn nginx_in_front() {
    let start = |dir: &Dir, [https, http, one, two]: [SocketAddr; 4]| {
        let path = dir.path().display();
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary: String = kinds.iter().map(|kind| format!("{kind}_temp_path {path}/{kind}; ")).collect();
        let changes = [
            ("http {\n", format!("http {{\naccess_log off; {temporary}\n")),
            ("listen 80 ", format!("listen {http} ")),
            ("listen 443 ", format!("listen {https} ")),
            ("worker_processes auto", "worker_processes 1".to_owned()),
            ("worker_connections 10000", "worker_connections 200".to_owned()),
            ("10.0.0.11:3000", one.to_string()),
            ("10.0.0.12:3000", two.to_string()),
            ("/etc/nginx/certs/example.com.pem", format!("{path}/cert.pem")),
            ("/etc/nginx/certs/example.com.key", format!("{path}/key.pem")),
        ];
        let changes: Vec<_> = changes.iter().map(|(from, to)| (*from, to.as_str())).collect();
        let file = placed(dir, "nginx.conf", &changes);
        let settings = format!("daemon off; master_process off; pid {path}/nginx.pid;");
        let path = path.to_string();
        let arguments = ["-e", "stderr", "-p", &path, "-c", &file, "-g", &settings];
        Process::start(Command::new("nginx").args(arguments))
    };
    Site::new("", start).passes_the_tests();
}

#[test]
fn another_onedoor_in_front() {
    let start = |dir: &Dir, [https, http, one, two]: [SocketAddr; 4]| {
        let changes = [
            ("0.0.0.0:443", https.to_string()),
            ("0.0.0.0:80", http.to_string()),
            ("https://example.com", format!("https://{NAME}:{}", https.port())),
            ("10.0.0.11:3000", one.to_string()),
            ("10.0.0.12:3000", two.to_string()),
            ("/etc/onedoor/example.com.pem", "cert.pem".to_owned()),
            ("/etc/onedoor/example.com-key.pem", "key.pem".to_owned()),
            ("[[rules]]", "[admin]\nlisten = \"\"\n[[rules]]".to_owned()),
            ("interval = \"2s\"", "interval = \"2s\", timeout = \"20s\"".to_owned()),
        ];
        let changes: Vec<_> = changes.iter().map(|(from, to)| (*from, to.as_str())).collect();
        placed(dir, "front.toml", &changes);
        Process::start(onedoor(&["run", "-c", "front.toml"]).current_dir(dir.path()))
    };
    Site::new("", start).passes_the_tests();
}
