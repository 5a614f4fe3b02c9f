//! What the gateway matched is what an app behind it routes: paths in thousands of spellings, asked for by nobody, and
//! no app ever answers with a page that the gateway's rules protect.

use crate::harness::{Connection, Gateway, Process, eventually, free_address, get};
use std::{net::SocketAddr, path::PathBuf, process::Command};

/// How many spellings each app is asked for.
const RUNS: usize = 2_000;

/// What every app of this test answers `protected` to, everything else being `public`, and the rule that says so.
const PROTECTED: [&str; 6] = ["/admin", "/admin/x", "/admin/users/7", "/users/7/edit", "/secret.page", "/caf%C3%A9"];
const RULE: &str = r#"["/admin/**", "/users/*/edit", "/secret.page", "/caf%C3%A9"]"#;
const PUBLIC: [&str; 6] = ["/", "/public/x", "/users/7", "/administrator", "/x/admin/", "/users/edit"];

/// What stands between, behind and within the segments of paths that were made to mislead somebody.
const TRICKS: [&[u8]; 58] = [
    b"/",
    b"//",
    b"///",
    b"/.",
    b"/./",
    b"/..",
    b"/../",
    b"/%2e/",
    b"/%2e%2e/",
    b"/.%2E/",
    b"/..;/",
    b"/.;/",
    b";",
    b";x=1",
    b";/",
    b"%3b",
    b"%3Bx",
    b"\\",
    b"/\\",
    b"%5c",
    b"%5C..%5C",
    b"%2f",
    b"%2F",
    b"%252f",
    b"%25",
    b"%2561",
    b"%00",
    b"%20",
    b" ",
    b"+",
    b".",
    b"...",
    b"%09",
    b"%0a",
    b"%0d%0a",
    b"%c0%af",
    b"%c0%ae",
    b"\xc3\xa9",
    b"%C3%A9",
    b"%e2%88%95",
    b"%ef%bc%8f",
    b"%EF%BC%8E",
    b"%c4%b1",
    b"?",
    b"??",
    b"#",
    b"%3f",
    b"%3F/",
    b"%23",
    b"%23x",
    b".html",
    b".json",
    b"~",
    b"@",
    b":",
    b"%7f",
    b"*",
    b"|",
];

/// An app that is asked: where it serves, for as long as it lives.
pub(crate) struct App {
    address: SocketAddr,
    _process: Process,
}

impl App {
    /// Starts it in `tests/frameworks/<folder>`; `command` is told its address.
    pub(crate) fn start(folder: &str, command: impl FnOnce(SocketAddr) -> Command) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/frameworks").join(folder);
        let address = free_address();
        let process = Process::start(command(address).current_dir(folder).env("PORT", address.port().to_string()));
        eventually("the app serves", || get("/").try_send(address).filter(|answer| answer.status() == 200));
        Self { address, _process: process }
    }
}

/// Random numbers, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 1).unwrap_or(0) % limit.max(1)
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }
}

/// A target: a known path, maybe behind another one, with up to four changes.
fn spelling(random: &mut Random) -> Vec<u8> {
    let mut target = random.pick(&PROTECTED).as_bytes().to_vec();
    if random.below(3) == 0 {
        let before = [random.pick(&PUBLIC).as_bytes(), random.pick(&TRICKS)].concat();
        target.splice(0..0, before);
    }
    for _ in 0..random.below(5) {
        change(&mut target, random);
    }
    target
}

fn change(target: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(target.len() + 1);
    match random.below(8) {
        0 | 1 => drop(target.splice(at..at, random.pick(&TRICKS).iter().copied())),
        2 => target.extend(random.pick(&TRICKS)),
        3 if at < target.len() => target[at] = flipped(target[at]),
        4 if at < target.len() => {
            let escape =
                if random.below(2) == 0 { format!("%{:02x}", target[at]) } else { format!("%{:02X}", target[at]) };
            target.splice(at..=at, escape.into_bytes());
        }
        5 => target.make_ascii_uppercase(),
        6 if at < target.len() => drop(target.remove(at)),
        _ => {
            let slash = target.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            target.splice(slash..slash, random.pick(&TRICKS).iter().copied());
        }
    }
}

fn flipped(byte: u8) -> u8 {
    if byte.is_ascii_alphabetic() { byte ^ 0x20 } else { byte }
}

/// Asks for a target and answers the status and what the app said.
fn ask(connection: &mut Option<Connection>, address: SocketAddr, target: &[u8]) -> Option<(u16, String)> {
    let open = connection.get_or_insert_with(|| Connection::open(address));
    open.try_write([b"GET ", target, b" HTTP/1.1\r\nHost: site.test\r\n\r\n"].concat());
    let answer = open.response(false);
    // An answer that ends its connection, or none.
    if answer.as_ref().is_none_or(|answer| answer.status() == 400 || answer.header("connection") == Some("close")) {
        *connection = None;
    }
    answer.map(|answer| (answer.status(), answer.text()))
}

fn alone(address: SocketAddr, target: &[u8]) -> Option<String> {
    let mut connection = Connection::open(address);
    connection.try_write([b"GET ", target, b" HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n"].concat());
    connection.response(false).map(|answer| answer.text())
}

/// Whether a text is the page that only a session may see.
fn is_protected(text: &str) -> bool {
    text.trim() == "protected"
}

/// Asks the app for every spelling, through the gateway and directly.
pub(crate) fn compare(app: &App, seed: u64) {
    for path in PROTECTED {
        assert!(alone(app.address, path.as_bytes()).is_some_and(|text| is_protected(&text)), "{path}");
    }
    assert_eq!(alone(app.address, b"/public/x").as_deref().map(str::trim), Some("public"));
    let gateway = Gateway::start(format!(
        "[session]\nformat = \"onedoor\"\nlogin = \"https://id.test/\"\n[upstreams]\n\
         app = {{ endpoints = \"http://{}\", session_authority = true }}\n\
         [[rules]]\npath = {RULE}\ndest = \"app\"\n[[rules]]\ndest = \"app\"\nsession = \"off\"\n",
        app.address
    ));
    let (mut random, mut connection) = (Random(seed), None);
    let (mut crossed, mut passed, mut stopped, mut refused, mut misled) = (Vec::new(), 0, 0, 0, 0);
    for _ in 0..RUNS {
        let target = spelling(&mut random);
        let (status, text) = ask(&mut connection, gateway.address, &target).expect("every target is answered");
        match status {
            401 => stopped += 1,
            400 => refused += 1,
            _ => passed += 1,
        }
        if is_protected(&text) {
            crossed.push(String::from_utf8_lossy(&target).into_owned());
        }
        let begins = PROTECTED.iter().any(|path| target.starts_with(path.as_bytes()));
        misled += usize::from(!begins && alone(app.address, &target).is_some_and(|text| is_protected(&text)));
    }
    assert!(crossed.is_empty(), "seed {seed}: protected pages for nobody: {crossed:#?}");
    let told =
        format!("{passed} passed, {stopped} stopped, {refused} refused, {misled} would mislead a comparison of text");
    assert!(passed > RUNS / 20 && stopped > RUNS / 20 && refused > RUNS / 20, "{told}");
}

fn express(generation: &str) -> App {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/frameworks/express");
    assert!(folder.join(generation).join("node_modules").is_dir(), "Express is not installed: tests/run does that");
    App::start("express", |_| {
        let mut command = Command::new("node");
        command.arg("routes.js").env("GENERATION", generation);
        command
    })
}

#[test]
fn express_routes_what_was_matched() {
    compare(&express("current"), 0x9e37_79b9_7f4a_7c15);
}

#[test]
fn the_express_before_it_does_too() {
    compare(&express("three"), 0x2545_f491_4f6c_dd1d);
}
