//! Real Express apps, and express sessions made by hand.

use super::{Gateway, Process, Redis, Setup, Upstream, eventually, free_address, get};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::{net::SocketAddr, path::PathBuf, process::Command};

/// The counter site's file, the smallest useful one.
pub(crate) const COUNTER: &str = r#"
[store]
url = "${REDIS_SESSION_URL}"

[session]
format  = "express"
secrets = ["${SESSION_SECRET}"]
user    = "user.id"

[upstreams]
auth = "${AUTH}"
app  = ["${APP_ONE}", "${APP_TWO}"]

[[rules]]
path    = ["/login", "/increment", "/logout"]
dest    = "auth"
session = "optional"

[[rules]]
dest = "app"
"#;

/// The value of a `connect.sid` cookie, percent-encoded as Express sends it.
pub(crate) fn signed(id: &str, secret: &str) -> String {
    let text = format!("s:{id}.{}", signature(id, secret));
    percent_encoding::utf8_percent_encode(&text, COMPONENT).to_string()
}

/// What stands behind the last dot.
pub(crate) fn signature(id: &str, secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(id.as_bytes());
    STANDARD_NO_PAD.encode(mac.finalize().into_bytes())
}

/// What encodeURIComponent encodes.
const COMPONENT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// One node process.
#[derive(Debug)]
pub(crate) struct App {
    /// Where it serves.
    pub(crate) address: SocketAddr,
    script: String,
    variables: Vec<(String, String)>,
    process: Process,
}

impl App {
    /// Starts `writer` or `reader` with the dependencies of a generation (`current`, `three`).
    pub(crate) fn start(generation: &str, script: &str, redis: &Redis, secret: &str) -> Self {
        let folder = folder();
        assert!(
            folder.join(generation).join("node_modules").is_dir(),
            "the Express apps are not installed: run `npm ci` in {}",
            folder.join(generation).display()
        );
        let address = free_address();
        let variables = vec![
            ("PORT".to_owned(), address.port().to_string()),
            ("GENERATION".to_owned(), generation.to_owned()),
            ("REDIS_SESSION_URL".to_owned(), redis.url()),
            ("SESSION_SECRET".to_owned(), secret.to_owned()),
        ];
        let process = launch(script, &variables);
        let app = Self { address, script: script.to_owned(), variables, process };
        app.wait();
        app
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it at once and starts it again on the same port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.process = launch(&self.script, &self.variables);
        self.wait();
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Everything it has printed.
    pub(crate) fn output(&self) -> String {
        self.process.output()
    }

    fn wait(&self) {
        eventually(&format!("{} serves: {}", self.script, self.process.output()), || {
            get("/login").try_send(self.address).filter(|response| response.status() == 200)
        });
    }
}

/// The counter site behind a gateway.
pub(crate) struct Site {
    pub(crate) redis: Redis,
    pub(crate) writer: App,
    pub(crate) readers: [App; 2],
    pub(crate) gateway: Gateway,
}

/// Starts Redis, one writer, two readers and a gateway with `text` after `[server]`.
pub(crate) fn counter_site(generation: &str, text: &str) -> Site {
    let secret = "a secret that only the site knows";
    let redis = Redis::start();
    let writer = App::start(generation, "writer", &redis, secret);
    let readers = [App::start(generation, "reader", &redis, secret), App::start(generation, "reader", &redis, secret)];
    let gateway = Setup::new(text)
        .variable("REDIS_SESSION_URL", redis.url())
        .variable("SESSION_SECRET", secret)
        .variable("AUTH", writer.url())
        .variable("APP_ONE", readers[0].url())
        .variable("APP_TWO", readers[1].url())
        .start();
    Site { redis, writer, readers, gateway }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/frameworks/express")
}

fn launch(script: &str, variables: &[(String, String)]) -> Process {
    let mut command = Command::new("node");
    command.arg(folder().join(format!("{script}.js"))).current_dir(folder()).envs(variables.iter().cloned());
    Process::start(&mut command)
}

/// The secret of [`express_gateway`].
pub(crate) const SECRET: &str = "0123456789abcdef-onedoor-tests";

/// A gateway that reads express sessions from `redis`: `session` goes on where `[session]` has begun, `rules` after
/// an upstream `app`; `user` is `user.id`, `roles` are `user.roles` unless `session` has a `user` of its own.
pub(crate) fn express_gateway(redis: &Redis, app: &str, session: &str, rules: &str) -> Gateway {
    let user = if session.contains("user =") { "" } else { "user = \"user.id\"" };
    let secrets = if session.contains("secrets =") { String::new() } else { format!("secrets = [\"{SECRET}\"]") };
    let url = redis.url();
    Gateway::start(format!(
        r#"
        [store]
        url = "{url}"
        [session]
        format = "express"
        roles = "user.roles"
        {secrets}
        {user}
        {session}
        [upstreams]
        app = "{app}"
        {rules}
        "#
    ))
}

/// Redis, an upstream `app` that tells what it was asked, and an [`express_gateway`] in front of it.
pub(crate) fn express_stage(session: &str, rules: &str) -> (Redis, Upstream, Gateway) {
    let (redis, app) = (Redis::start(), Upstream::echo());
    let gateway = express_gateway(&redis, &app.url(), session, rules);
    (redis, app, gateway)
}

/// Stores a record under `sess:<id>` and answers the Cookie header of its browser.
pub(crate) fn store_session(redis: &Redis, id: &str, record: &str) -> String {
    redis.set(&format!("sess:{id}"), record);
    format!("connect.sid={}", signed(id, SECRET))
}

/// A record as Express writes it, of a user with this id and these roles (both JSON).
pub(crate) fn record(user: &str, roles: &str) -> String {
    let cookie = r#"{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}"#;
    format!(r#"{{"cookie":{cookie},"user":{{"id":{user},"roles":{roles}}},"count":3}}"#)
}
