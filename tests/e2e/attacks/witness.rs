//! The stage, and what must be true of everything that happens on it.

use super::corpus::Row;
use crate::harness::{Gateway, Message, Redis, SECRET, Upstream, eventually, get, record, signature, store_session};
use std::cell::{Cell, RefCell};

/// Names by which an upstream learns who asks and where from; nobody else may write them, in whatever spelling.
const OURS: [&str; 9] = [
    "x-forwarded-user",
    "x-forwarded-groups",
    "x-onedoor-session",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-request-id",
    "x-forwarded-prefix",
];
/// Names that no upstream is ever told.
const NOBODYS: [&str; 24] = [
    "x-forwarded-email",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "remote-user",
    "remote-groups",
    "remote-name",
    "remote-email",
    "forwarded",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "proxy",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

/// A gateway with a protected, an optional and a public part.
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    pub(crate) cookies: Cookies,
    pub(crate) app: Upstream,
    _redis: Redis,
    looked_at: Cell<usize>,
    complaints: RefCell<Vec<String>>,
}

/// Cookies of the site.
pub(crate) struct Cookies {
    pub(crate) ada: String,
    bob: String,
    anonymous: String,
}

impl Stage {
    /// `limits` goes on where `[server.limits]` has begun.
    pub(crate) fn new(limits: &str) -> Self {
        let (redis, app) = (Redis::start(), Upstream::echo());
        let cookies = Cookies {
            ada: store_session(&redis, "ada", &record("\"ada\"", r#"["staff"]"#)),
            bob: store_session(&redis, "bob", &record("\"bob\"", "[]")),
            anonymous: store_session(&redis, "anonymous", r#"{"cookie":{}}"#),
        };
        let gateway = Gateway::start(format!(
            r#"
            h2c = true
            hosts = ["site.test", "[::1]"]
            [server.limits]
            body = "1MiB"
            {limits}
            [store]
            url = "{}"
            timeout = "10s"
            [session]
            format = "express"
            secrets = "{SECRET}"
            user = "user.id"
            roles = "user.roles"
            [upstreams]
            app = "{}"
            [[rules]]
            path = "/login"
            session = "optional"
            dest = "app"
            [[rules]]
            path = ["/admin/**", "/in"]
            dest = "app"
            [[rules]]
            path = "/optional/**"
            session = "optional"
            dest = "app"
            [[rules]]
            session = "off"
            dest = "app"
            "#,
            redis.url(),
            app.url()
        ));
        Self { gateway, cookies, app, _redis: redis, looked_at: Cell::new(0), complaints: RefCell::default() }
    }

    /// Puts cookies and signatures where a row names them.
    pub(crate) fn fill(&self, text: &[u8]) -> Vec<u8> {
        let value = |cookie: &str| cookie.trim_start_matches("connect.sid=").to_owned();
        let decoded = |id: &str| format!("s:{id}.{}", signature(id, SECRET));
        let table = [
            ("{ADA}", value(&self.cookies.ada)),
            ("{BOB}", value(&self.cookies.bob)),
            ("{ANON}", value(&self.cookies.anonymous)),
            ("{ADA RAW}", decoded("ada")),
            ("{ADA SIGNATURE}", signature("ada", SECRET)),
            ("{BOB SIGNATURE}", signature("bob", SECRET)),
            ("{GONE}", value(&format!("connect.sid={}", crate::harness::signed("gone", SECRET)))),
            ("{FOREIGN}", crate::harness::signed("ada", "the secret of another site")),
            ("{EMPTY}", crate::harness::signed("", SECRET)),
        ];
        let mut text = text.to_vec();
        for (name, value) in table {
            while let Some(at) = text.windows(name.len()).position(|window| window == name.as_bytes()) {
                text.splice(at..at + name.len(), value.bytes());
            }
        }
        text
    }

    /// A request that stands behind another one.
    pub(crate) fn sentinel(&self) -> String {
        "GET /sentinel HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n".to_owned()
    }

    /// What the upstream has seen since it was looked at last, the requests behind others aside. Nothing else may
    /// have come: each is one request that can be read in one way, and says what the gateway says.
    pub(crate) fn take(&self) -> Vec<Message> {
        let seen = self.app.requests().split_off(self.looked_at.get());
        self.looked_at.set(self.looked_at.get() + seen.len());
        for request in &seen {
            let told = request.target() != "/sentinel" && text(&request.head).contains("mallory");
            self.expect(!told, || format!("a client's word about itself in {}", text(&request.head)));
            let fault = fault(request);
            self.expect(fault.is_none(), || format!("{} in {}", fault.unwrap_or_default(), text(&request.head)));
        }
        seen.into_iter().filter(|request| request.target() != "/sentinel").collect()
    }

    /// Notes what came of a row where it is not what should.
    pub(crate) fn judge(&self, row: &Row, statuses: &[u16], seen: &[Message], how: &str) {
        let fault = row.judge(statuses, seen);
        self.expect(fault.is_none(), || format!("{row} over {how}: {}", fault.unwrap_or_default()));
    }

    /// An answer is a head of whole lines that says nothing twice, and repeats nothing that it was told.
    pub(crate) fn judge_answer(&self, row: &Row, answer: &Message) {
        let head = text(&answer.head);
        let framings = answer.all("content-length").len() + answer.all("transfer-encoding").len();
        let once = ["location", "content-type", "www-authenticate"].iter().all(|name| answer.all(name).len() <= 1);
        let whole = format!("{head}{}", answer.text());
        let repeats = answer.status() >= 300 && whole.contains("mallory");
        self.expect(are_lines(&head) && framings <= 1 && once && !repeats, || format!("{row} is answered {whole}"));
        let missing = row.told().find(|text| !whole.contains(text));
        self.expect(missing.is_none(), || format!("{row}: no {missing:?} in {whole}"));
    }

    /// Notes a complaint: at the end all are told at once.
    pub(crate) fn expect(&self, sound: bool, complaint: impl FnOnce() -> String) {
        if !sound {
            self.complaints.borrow_mut().push(complaint());
        }
    }

    /// The log tells of every request that the upstream saw, under the path that it saw, and each line is whole.
    pub(crate) fn conclude(self) {
        let complaints = self.complaints.take();
        assert!(complaints.is_empty(), "{} complaints:\n{}", complaints.len(), complaints.join("\n"));
        let mut seen: Vec<String> = self.app.requests().iter().map(|request| path(request.target())).collect();
        seen.sort();
        let told = eventually("all requests are told of", || {
            let mut told: Vec<String> = lines(&self.gateway.output()).filter_map(|line| forwarded(&line)).collect();
            told.sort();
            (told.len() >= seen.len()).then_some(told)
        });
        assert_eq!(told, seen, "what was matched is what was forwarded");
        self.is_well();
    }

    /// The gateway goes on, and has written nothing but whole lines.
    pub(crate) fn is_well(&self) {
        eventually("the gateway answers", || {
            get("/_onedoor/healthz").try_send(self.gateway.address).filter(|answer| answer.status() == 200)
        });
        let output = self.gateway.output();
        assert!(!output.contains("panicked"), "{output}");
        assert!(output.chars().all(|character| character == '\n' || !character.is_control()), "{output:?}");
        // Each is JSON, or this says which is not.
        lines(&output).for_each(drop);
    }
}

fn lines(output: &str) -> impl Iterator<Item = serde_json::Value> {
    output
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}")))
}

/// The path of a request that was forwarded and answered.
fn forwarded(line: &serde_json::Value) -> Option<String> {
    let was_answered = line["message"] == "request" && line.get("upstream_ms").is_some();
    was_answered.then(|| line["path"].as_str().unwrap().to_owned())
}

fn path(target: &str) -> String {
    target.split('?').next().unwrap_or_default().to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a head is lines that end as lines do.
fn are_lines(head: &str) -> bool {
    let is_whole =
        |line: &str| !line.is_empty() && !line.contains(['\r', '\n', '\0']) && !line.starts_with([' ', '\t']);
    head.strip_suffix("\r\n\r\n").is_some_and(|head| head.split("\r\n").all(is_whole))
}

/// What is wrong with a request that an upstream sees, whatever the client had sent.
pub(crate) fn fault(request: &Message) -> Option<String> {
    let head = text(&request.head);
    let words: Vec<&str> = request.start.split(' ').collect();
    let (lengths, codings) = (request.all("content-length"), request.all("transfer-encoding"));
    let is_number = |length: &&str| length.parse::<u64>().is_ok_and(|number| number.to_string() == **length);
    let table = [
        (are_lines(&head), "a broken line"),
        (words.len() == 3 && words[2] == "HTTP/1.1", "a first line that is none"),
        (request.target().starts_with('/') && request.target().is_ascii(), "a target that is no path"),
        (request.all("host").len() == 1, "no host or two"),
        (lengths.len() + codings.len() <= 1 && lengths.iter().all(is_number), "a length that may be read otherwise"),
        (codings.iter().all(|coding| *coding == "chunked"), "a coding"),
        (request.trailers.is_empty(), "trailers"),
    ];
    let broken = table.iter().find(|(sound, _)| !sound).map(|(_, fault)| (*fault).to_owned());
    broken.or_else(|| request.headers.iter().find_map(|(name, value)| forged(request, name, value)))
}

/// Whether this line is one that nobody, or only the gateway, may write.
fn forged(request: &Message, name: &str, value: &str) -> Option<String> {
    let folded = name.to_ascii_lowercase().replace(['_', '.'], "-");
    let ours = OURS.contains(&folded.as_str());
    let beginnings = ["x-auth-request-", "x-onedoor-", "x-forwarded-"];
    let nobodys =
        NOBODYS.contains(&folded.as_str()) || !ours && beginnings.iter().any(|start| folded.starts_with(start));
    let twice = ours && (!name.eq_ignore_ascii_case(&folded) || request.all(name).len() != 1);
    let connection = folded == "connection" && !["close", "keep-alive"].contains(&value);
    (nobodys || twice || connection).then(|| format!("the line {name}: {value}"))
}
