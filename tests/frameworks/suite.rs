//! What must hold for every framework, from the first visit to the logout.

use crate::{
    harness::{Gateway, Jar, Message, Process, Redis, eventually, free_address, get, post},
    judged,
};
use std::{
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

/// How long a session that its app has ended may be believed; a busy machine is forgiven much.
const BELIEF: Duration = Duration::from_secs(15);

/// A framework's app. It serves `/login` (a form, or `user` and `roles` sent by it), `/increment`, `/logout`, and on
/// any other path what it knows of its user (`user.id`, `user.roles`), `count`, and the headers it has `seen`.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    /// What goes on where `[session]` has begun.
    pub(crate) session: String,
    /// The session's cookie.
    pub(crate) cookie: &'static str,
    process: Process,
}

/// What an app is started with.
pub(crate) struct Place {
    /// Where it is to serve, on the loopback.
    pub(crate) port: u16,
    /// Where its Redis is, on the loopback.
    pub(crate) redis_port: String,
    /// Which of two secrets it has, where it has any.
    pub(crate) secret: Secret,
}

/// The site's secret, or somebody else's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Secret {
    Ours,
    Foreign,
}

impl Place {
    fn new(redis: &Redis, secret: Secret) -> Self {
        let redis_port = redis.url().rsplit(':').next().unwrap().to_owned();
        Self { port: free_address().port(), redis_port, secret }
    }
}

impl App {
    /// Starts it in `tests/frameworks/<folder>` and waits until it serves.
    pub(crate) fn start(
        place: &Place,
        folder: &str,
        cookie: &'static str,
        session: &str,
        mut command: Command,
    ) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/frameworks").join(folder);
        let address = SocketAddr::from(([127, 0, 0, 1], place.port));
        let process = Process::start(command.current_dir(folder));
        let app = Self { address, session: session.to_owned(), cookie, process };
        eventually("the app serves", || get("/login").try_send(address).filter(|response| response.status() == 200));
        app
    }

    fn gateway(&self, redis: &Redis, cached: usize) -> Gateway {
        Gateway::start(format!(
            r#"
            [store]
            url = "{}"
            timeout = "20s"
            cache.entries = {cached}
            [session]
            {}
            [upstreams]
            app = "http://{}"
            [[rules]]
            path = ["/login", "/increment", "/logout"]
            session = "optional"
            dest = "app"
            [[rules]]
            path = "/open"
            session = "optional"
            dest = "app"
            [[rules]]
            path = "/admin"
            roles = "admin"
            dest = "app"
            [[rules]]
            dest = "app"
            "#,
            redis.url(),
            self.session,
            self.address
        ))
    }
}

/// Drives one app through all of it. `signs`: its cookie cannot be made without the secret.
pub(crate) fn run(signs: bool, start: impl Fn(&Place) -> App) {
    let redis = Redis::start();
    let app = start(&Place::new(&redis, Secret::Ours));
    let mut gateway = app.gateway(&redis, 1000);

    a_stranger_is_refused(&gateway);
    let mut zoe = log_in(gateway.address, "42", "admin,reader");
    the_app_learns_who_it_is(&app, &gateway, &zoe);
    let max = log_in(gateway.address, "zo%C3%AB", "reader");
    roles_and_users_are_kept_apart(&gateway, &zoe, &max);
    spoilt_cookies_are_refused(&app, &gateway, &zoe);
    only_the_judged_cookie_goes_on(&app, &gateway, &zoe, &max);
    what_is_not_judged_does_not_go_on(&app, &gateway, &zoe);
    if signs {
        let foreign = start(&Place::new(&redis, Secret::Foreign));
        let theirs = log_in(foreign.address, "42", "admin");
        assert_eq!(foreign_view(&foreign, &theirs), 200, "their own app knows them");
        assert_eq!(gateway.send(&theirs.with(get("/"))).status(), 401, "signed with another secret");
    }

    gateway.restart();
    assert_eq!(zoe.send(post("/increment", ""), gateway.address).json()["count"], 1);
    assert_eq!(home(&gateway, &zoe).json()["count"], 1, "the session is there after a restart");
    logging_out_ends_it(&app, &gateway, zoe);
    assert_eq!(home(&gateway, &max).status(), 200, "nobody else was logged out");
}

/// Gives app and gateway what `tests/fixtures/judged` has for it.
pub(crate) fn compare(judged: &str, start: impl Fn(&Place) -> App) {
    let redis = Redis::start();
    let app = start(&Place::new(&redis, Secret::Ours));
    let mut jar = Jar::default();
    jar.send(post("/login", "user=42&roles=admin"), app.address);
    let fresh = redis.keys("*").pop().map(|key| (jar.text(), key));
    // Nothing from memory: records change under the same id.
    judged::compare(judged, &app.gateway(&redis, 0), &redis, fresh);
}

fn log_in(address: SocketAddr, user: &str, roles: &str) -> Jar {
    let mut jar = Jar::default();
    let response = jar.send(post("/login", &format!("user={user}&roles={roles}")), address);
    assert!(matches!(response.status(), 200..=303), "{} {}", response.start, response.text());
    jar
}

fn home(gateway: &Gateway, jar: &Jar) -> Message {
    gateway.send(&jar.with(get("/")))
}

fn foreign_view(app: &App, jar: &Jar) -> u16 {
    let response = jar.with(get("/")).send(app.address);
    if response.json()["user"].is_null() { 401 } else { response.status() }
}

fn a_stranger_is_refused(gateway: &Gateway) {
    let door = gateway.get("/");
    assert_eq!((door.status(), door.reason().as_str()), (401, "session_required"));
    let page = gateway.send(&get("/start?a=b").html());
    assert_eq!(page.status(), 303);
    assert!(page.header("location").unwrap().starts_with("/login?"), "{:?}", page.header("location"));
    let visit = gateway.get("/login");
    let mut visitor = Jar::default();
    visitor.keep(&visit);
    assert_eq!(visit.status(), 200);
    assert_eq!(home(gateway, &visitor).status(), 401, "a visitor's own session has no user");
}

fn the_app_learns_who_it_is(app: &App, gateway: &Gateway, zoe: &Jar) {
    assert!(zoe.value(app.cookie).is_some(), "{}", zoe.text());
    let request = zoe.with(get("/")).header("X-Forwarded-User", "mallory").header("x_forwarded_groups", "root");
    let body = gateway.send(&request).json();
    assert_eq!((&body["user"]["id"], &body["count"]), (&serde_json::json!(42), &serde_json::json!(0)), "{body}");
    assert_eq!(
        (&body["seen"]["x-forwarded-user"], &body["seen"]["x-forwarded-groups"]),
        (&"42".into(), &"admin,reader".into())
    );
    assert!(!body.to_string().contains("mallory"), "{body}");
}

fn roles_and_users_are_kept_apart(gateway: &Gateway, zoe: &Jar, max: &Jar) {
    assert_eq!(gateway.send(&zoe.with(get("/admin"))).status(), 200);
    let refused = gateway.send(&max.with(get("/admin")));
    assert_eq!((refused.status(), refused.reason().as_str()), (403, "forbidden"));
    let body = home(gateway, max).json();
    assert_eq!((&body["user"]["id"], &body["seen"]["x-forwarded-user"]), (&"zo\u{eb}".into(), &"zo%C3%AB".into()));
}

fn spoilt_cookies_are_refused(app: &App, gateway: &Gateway, zoe: &Jar) {
    let value = zoe.value(app.cookie).unwrap();
    let send = |value: &str| {
        let cookies = zoe
            .text()
            .replace(&format!("{}={}", app.cookie, zoe.value(app.cookie).unwrap()), &format!("{}={value}", app.cookie));
        gateway.send(&get("/").cookie(cookies)).status()
    };
    assert_eq!(send(value), 200);
    for at in (0..value.len()).step_by(7) {
        assert_eq!(send(&value[..at]), 401, "cut at {at}: {value}");
        let other = if value.as_bytes()[at] == b'a' { "b" } else { "a" };
        let spoilt = [&value[..at], other, &value[at + 1..]].concat();
        let status = send(&spoilt);
        // A few characters of an envelope say nothing, such as the spelling of what nobody looks at; and so may the last
        // bits of a signature's last one.
        let says_little = value.len() > 100 || at + 1 == value.len();
        assert!(status == 401 || says_little, "changed at {at}: {value}");
    }
    for value in ["", "x", "../../x", "%00", &"a".repeat(4000), "null", "*", "{}"] {
        assert_eq!(send(value), 401, "{value}");
    }
    let renamed = zoe.text().replace(&format!("{}=", app.cookie), "another=");
    assert_eq!(gateway.send(&get("/").cookie(renamed)).status(), 401);
}

/// Whoever plants a second cookie: gateway and app see the same user, since the app gets one cookie alone.
fn only_the_judged_cookie_goes_on(app: &App, gateway: &Gateway, zoe: &Jar, max: &Jar) {
    for (first, second, user) in [
        (format!("{}=planted", app.cookie), zoe.text(), serde_json::json!(42)),
        (zoe.text(), max.text(), serde_json::json!(42)),
        (max.text(), zoe.text(), serde_json::json!("zo\u{eb}")),
    ] {
        let body = gateway.send(&get("/").cookie(format!("{first}; {second}"))).json();
        assert_eq!(body["user"]["id"], user, "{body}");
        let seen = body["seen"]["cookie"].as_str().unwrap();
        assert_eq!(seen.matches(&format!("{}=", app.cookie)).count(), 1, "{seen}");
    }
    // As PHP spells names: these, too, are the session's cookie, and come first.
    let spellings = [app.cookie.replace('_', "."), app.cookie.replace('_', "["), format!("{}[0]", app.cookie)];
    for name in spellings.iter().filter(|name| *name != app.cookie) {
        let planted = format!("{name}={}", max.value(app.cookie).unwrap());
        let body = gateway.send(&get("/").cookie(format!("{planted}; {}", zoe.text()))).json();
        assert_eq!((&body["user"]["id"], &body["seen"]["x-forwarded-user"]), (&42.into(), &"42".into()), "{body}");
    }
    // As no browser writes it: frameworks read that in different ways, and the gateway as the app does.
    let theirs = max.value(app.cookie).unwrap();
    for name in ["", " =", "\t=", "= "].map(|mark| format!("{}{mark}", app.cookie)) {
        let planted = if name == app.cookie { name } else { format!("{name}{theirs}") };
        let body = gateway.send(&get("/").cookie(format!("{planted}; {}", zoe.text()))).json();
        let told = if body["user"]["id"] == 42 { "42" } else { "zo%C3%AB" };
        assert_eq!(body["seen"]["x-forwarded-user"], told, "{planted}: {body}");
    }
    let planted = format!("\u{3000}{}={theirs}", app.cookie);
    for line in [format!("{planted}; {}", zoe.text()), format!("{}; {planted}", zoe.text())] {
        // tower and actix read no cookie at all in a line that is not ASCII, and so does the gateway.
        let answer = gateway.send(&get("/").cookie(line));
        assert!(answer.status() == 401 || answer.json()["user"]["id"] == 42, "{planted}");
    }
}

/// Where anybody may come: by a cookie that the gateway does not read, the app knows nobody either.
fn what_is_not_judged_does_not_go_on(app: &App, gateway: &Gateway, zoe: &Jar) {
    let line = zoe.text();
    let spell = |name: &str| line.replace(&format!("{}=", app.cookie), &format!("{name}="));
    let lines = ["\u{a0}NAME", "\u{3000}NAME", "NAME\u{a0}", "NAME ", "NAME\t", " =NAME", "=NAME", "NAME= "]
        .map(|name| spell(&name.replace("NAME", app.cookie)));
    let dotted =
        [app.cookie.replace('_', "."), format!("{}[0]", app.cookie), format!("%{:x}", app.cookie.as_bytes()[0])];
    let dotted = dotted.map(|name| if name.starts_with('%') { name + &app.cookie[1..] } else { name });
    let spaced = [format!("{line} ; a=b"), format!("{line}\t; a=b"), format!("a=\"b; {line}; c=\"")];
    for line in lines.into_iter().chain(dotted.iter().map(|name| spell(name))).chain(spaced) {
        let answer = gateway.send(&get("/open").cookie(&line));
        let body = answer.json();
        let told = &body["seen"]["x-forwarded-user"];
        assert!(body["user"]["id"].is_null() && told.is_null() || *told == "42", "{line}: {body}");
    }
}

fn logging_out_ends_it(app: &App, gateway: &Gateway, zoe: Jar) {
    assert_eq!(home(gateway, &zoe).status(), 200);
    let old = zoe.clone();
    // Not through the gateway, which must learn it from the store.
    let response = zoe.with(post("/logout", "")).send(app.address);
    assert_eq!(response.status(), 200, "{}", response.text());
    let since = Instant::now();
    eventually("the session is over", || (home(gateway, &old).status() == 401).then_some(()));
    assert!(since.elapsed() < BELIEF, "{:?}", since.elapsed());
    assert_eq!(gateway.send(&old.with(post("/increment", ""))).status(), 403, "the app itself agrees");
}
