//! Sessions that end while something is open: WebSockets and streams go with them, in every gateway.

use crate::harness::{Connection, Gateway, Jar, Message, Redis, SECRET, eventually, get, post, record, store_session};
use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

/// The Close frame that a client is sent: 1008, and why.
const OVER: &[u8] = b"\x88\x15\x03\xf0the session is over";
/// A short text frame as clients send it.
const HELLO: [u8; 8] = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];

/// A service with a WebSocket that says everything back, streams, and other pages, which `page` answers. Ends with the
/// test's process.
fn service(page: impl Fn(&Message) -> String + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let page = page.clone();
            thread::spawn(move || converse(Connection::new(stream), page));
        }
    });
    url
}

fn converse(mut client: Connection, page: impl Fn(&Message) -> String) -> Option<()> {
    client.patience(Duration::from_secs(600));
    loop {
        let request = client.request()?;
        let path = request.target().split('?').next().unwrap_or_default();
        let kind = match path {
            "/events" => "text/event-stream",
            "/lines" => "application/x-ndjson",
            _ if request.header("upgrade").is_some() => {
                client.write("HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
                while let Some(bytes) = client.some() {
                    client.write(bytes);
                }
                return None;
            }
            _ => {
                client.write(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{}\r\nok", page(&request)));
                continue;
            }
        };
        client.write(format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"));
        while client.try_write("6\r\nhello\n\r\n") {
            thread::sleep(Duration::from_millis(if path == "/lines" { 100 } else { 600_000 }));
        }
        return None;
    }
}

fn socket(address: SocketAddr, path: &str, cookie: &str) -> Connection {
    let mut client = Connection::open(address);
    let request = get(path).cookie(cookie).header("Connection", "Upgrade").header("Upgrade", "websocket");
    let request = request.header("Sec-WebSocket-Version", "13").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    client.write(request.bytes(address));
    assert_eq!(client.head().unwrap().status(), 101);
    works(&mut client);
    client
}

fn works(socket: &mut Connection) {
    socket.write(HELLO);
    let mut heard = Vec::new();
    while heard.len() < HELLO.len() {
        heard.extend(socket.some().expect("the WebSocket is open"));
    }
    assert_eq!(heard, HELLO);
}

fn stream(address: SocketAddr, path: &str, cookie: &str) -> Connection {
    let mut client = Connection::open(address);
    client.write(get(path).cookie(cookie).bytes(address));
    assert_eq!(client.head().unwrap().status(), 200);
    assert!(client.some().is_some());
    client
}

fn is_told(socket: &mut Connection) {
    let mut heard = Vec::new();
    while let Some(bytes) = socket.some().filter(|_| heard.len() < OVER.len()) {
        heard.extend(bytes);
    }
    assert_eq!(heard, OVER);
}

/// Everything until the end of a stream.
fn rest(stream: &mut Connection) -> String {
    let mut heard = Vec::new();
    while let Some(bytes) = stream.some() {
        heard.extend(bytes);
        if heard.ends_with(b"0\r\n\r\n") {
            break;
        }
    }
    String::from_utf8_lossy(&heard).into_owned()
}

fn ends(stream: &mut Connection) {
    assert!(rest(stream).ends_with("0\r\n\r\n"), "an event stream ends as if its service had ended it");
}

fn express(url: &str, app: &str, cache: &str) -> String {
    format!(
        r#"
        [store]
        url = "{url}"
        {cache}
        [session]
        format = "express"
        secrets = ["{SECRET}"]
        user = "user.id"
        roles = "user.roles"
        login = "https://id.test/"
        [upstreams]
        app = "{app}"
        [[rules]]
        path = "/admin"
        dest = "app"
        roles = "admin"
        [[rules]]
        dest = "app"
        session = "optional"
        "#
    )
}

#[test]
fn a_logout_ends_what_the_session_has_open_and_nothing_else() {
    let app = service(|request| match request.target() {
        "/login" => "Session-Login: {\"user\":{\"id\":\"42\"}}\r\n".to_owned(),
        "/logout" => "Session-Logout: this\r\n".to_owned(),
        _ => String::new(),
    });
    let gateway = Gateway::start(format!(
        "[session]\nformat = \"onedoor\"\n[upstreams]\napp = {{ endpoints = \"{app}\", session_authority = true }}\n\
         [[rules]]\npath = \"/login\"\ndest = \"app\"\nsession = \"optional\"\n[[rules]]\ndest = \"app\"\n"
    ));
    let jars = [(); 2].map(|()| {
        let mut jar = Jar::default();
        assert_eq!(jar.send(post("/login", ""), gateway.address).status(), 200);
        jar
    });
    let [mut leaver, stayer] = jars;
    let mut sockets = [&leaver, &leaver, &stayer].map(|jar| socket(gateway.address, "/", &jar.text()));
    let mut events = [&leaver, &stayer].map(|jar| stream(gateway.address, "/events", &jar.text()));
    assert!(gateway.measures("onedoor_websockets{rule=\"rules[1] /**\",upstream=\"app\"} 3"));
    assert!(gateway.measures("onedoor_streams{rule=\"rules[1] /**\",upstream=\"app\"} 2"));
    assert_eq!(leaver.send(post("/logout", ""), gateway.address).status(), 200);
    is_told(&mut sockets[0]);
    is_told(&mut sockets[1]);
    ends(&mut events[0]);
    works(&mut sockets[2]);
    for socket in &sockets[..2] {
        socket.close();
    }
    let line = gateway.log_line("the session is over");
    assert_eq!((line["user"].as_str(), line["upstream"].as_str()), (Some("42"), Some("app")), "{line}");
    eventually("the others are closed", || {
        (gateway.measures("onedoor_websockets{rule=\"rules[1] /**\",upstream=\"app\"} 1")
            && gateway.measures("onedoor_streams{rule=\"rules[1] /**\",upstream=\"app\"} 1")
            && gateway.measures("onedoor_streams_cut_total{session=\"onedoor\"} 3"))
        .then_some(())
    });
    events[1].close();
}

#[test]
fn a_logout_everywhere_ends_what_all_of_the_users_sessions_have_open_in_every_gateway() {
    let redis = Redis::start();
    let app = service(|request| match request.target() {
        "/login" => format!("Session-Login: {{\"user\":{{\"id\":\"{}\"}}}}\r\n", request.text()),
        "/logout" => "Session-Logout: everywhere\r\n".to_owned(),
        _ => String::new(),
    });
    for format in ["\"onedoor\"".to_owned(), format!("\"express\"\nsecrets = [\"{SECRET}\"]\nuser = \"user.id\"")] {
        let url = redis.url();
        let gateways = [(); 2].map(|()| {
            Gateway::start(format!(
                "[store]\nurl = \"{url}\"\n[session]\nformat = {format}\n[upstreams]\n\
                 app = {{ endpoints = \"{app}\", session_authority = true }}\n\
                 [[rules]]\npath = \"/login\"\ndest = \"app\"\nsession = \"optional\"\n[[rules]]\ndest = \"app\"\n"
            ))
        });
        gateways.iter().for_each(Gateway::armed);
        let [mut leaver, elsewhere, stayer] = ["42", "42", "4"].map(|user| {
            let mut jar = Jar::default();
            assert_eq!(jar.send(post("/login", user), gateways[0].address).status(), 200);
            jar
        });
        let open = |jar: &Jar| [0, 1].map(|at: usize| socket(gateways[at].address, "/", &jar.text()));
        let (mut others, mut own, mut foreign) = (open(&elsewhere), open(&leaver), open(&stayer));
        assert_eq!(leaver.send(post("/logout", ""), gateways[1].address).status(), 200);
        others.iter_mut().chain(&mut own).for_each(is_told);
        foreign.iter_mut().for_each(works);
        for gateway in &gateways {
            assert_eq!(gateway.send(&elsewhere.with(get("/"))).status(), 401);
        }
    }
}

#[test]
fn what_happens_to_a_record_ends_its_streams_in_every_gateway() {
    for flags in ["Kg$hxe", ""] {
        let redis = Redis::start();
        redis.ask(&["CONFIG", "SET", "notify-keyspace-events", flags]);
        let app = service(|_| String::new());
        let gateways = [(); 2].map(|()| Gateway::start(express(&redis.url(), &app, "")));
        gateways.iter().for_each(Gateway::armed);
        let both = |path: &str, cookie: &str| [0, 1].map(|at: usize| socket(gateways[at].address, path, cookie));
        let admin = record("42", "[\"admin\"]");
        let cookie = store_session(&redis, "one", &admin);
        let (mut open, mut admins) = (both("/", &cookie), both("/admin", &cookie));
        let mut events = [0, 1].map(|at: usize| stream(gateways[at].address, "/events", &cookie));
        redis.ask(&["EXPIRE", "sess:one", "5000"]);
        redis.set("sess:one", &admin);
        open.iter_mut().chain(&mut admins).for_each(works);
        redis.set("sess:one", record("42", "[]"));
        admins.iter_mut().for_each(is_told);
        open.iter_mut().for_each(works);
        redis.ask(&["DEL", "sess:one"]);
        open.iter_mut().for_each(is_told);
        events.iter_mut().for_each(ends);
        let cookie = store_session(&redis, "two", &admin);
        let mut open = both("/", &cookie);
        redis.set("sess:two", "{\"cookie\":{}}");
        open.iter_mut().for_each(is_told);
        let cookie = store_session(&redis, "three", &admin);
        let mut open = both("/", &cookie);
        redis.ask(&["FLUSHALL"]);
        open.iter_mut().for_each(is_told);
    }
}

#[test]
fn without_memory_a_logout_through_the_gateway_is_noticed_at_once_and_others_soon() {
    let redis = Arc::new(Redis::start());
    let cookies = ["one", "two"].map(|id| store_session(&redis, id, &record("42", "[]")));
    // The service outlives the test, and Redis must not.
    let store = Arc::downgrade(&redis);
    let app = service(move |request| {
        if let Some(redis) = store.upgrade().filter(|_| request.target() == "/logout") {
            redis.ask(&["DEL", "sess:one"]);
        }
        String::new()
    });
    let gateway = Gateway::start(express(&redis.url(), &app, "[store.cache]\nentries = 0"));
    let [mut one, mut two] = cookies.each_ref().map(|cookie| socket(gateway.address, "/", cookie));
    assert_eq!(gateway.send(&post("/logout", "").cookie(&cookies[0])).status(), 200);
    is_told(&mut one);
    redis.ask(&["DEL", "sess:two"]);
    two.patience(Duration::from_secs(60));
    is_told(&mut two);
}

#[test]
fn an_answer_that_goes_on_and_on_breaks_off_with_its_session() {
    let redis = Redis::start();
    let app = service(|_| String::new());
    let gateway = Gateway::start(express(&redis.url(), &app, ""));
    gateway.armed();
    let cookie = store_session(&redis, "one", &record("42", "[]"));
    let mut lines = stream(gateway.address, "/lines", &cookie);
    eventually("it counts as a stream", || {
        gateway.measures("onedoor_streams{rule=\"rules[1] /**\",upstream=\"app\"} 1").then_some(())
    });
    redis.ask(&["DEL", "sess:one"]);
    assert!(!rest(&mut lines).ends_with("0\r\n\r\n"), "it is not whole, and must not look so");
    assert_eq!(gateway.log_line("\"/lines\"")["cause"], "the session is over");
}

#[test]
fn another_configuration_judges_what_is_open() {
    let redis = Redis::start();
    let app = service(|_| String::new());
    let before = express(&redis.url(), &app, "");
    let gateway = Gateway::start(&before);
    gateway.armed();
    let text = record("42", "[]");
    let [one, two] = ["one", "two"].map(|id| store_session(&redis, id, &text));
    redis.set("sess:two", text.replacen("{\"id\"", "{\"name\":\"zoe\",\"id\"", 1));
    let [mut one, mut two] = [one, two].map(|cookie| socket(gateway.address, "/", &cookie));
    gateway.replace(&before.replace("\"user.id\"", "[\"user.name\", \"user.id\"]"));
    is_told(&mut two);
    works(&mut one);
    redis.ask(&["DEL", "sess:one"]);
    is_told(&mut one);
}
