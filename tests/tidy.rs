//! The style that a compiler does not check: layers, headers, sizes, and a root without clutter.
#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Who may import whom: a module may use only modules of its own row (itself) and of rows after it.
const LAYERS: [&[&str]; 15] = [
    &["cli"],
    &["server"],
    &["admin"],
    &["reload"],
    &["gateway"],
    &["rules"],
    &["upstream"],
    &["identity"],
    &["limits"],
    &["access", "hardening"],
    &["caller"],
    &["session"],
    &["redis"],
    &["config"],
    &["http", "telemetry", "clock", "secret", "tasks"],
];

/// What may lie in the repository's root; the rest belongs into a folder, or begins with a dot.
const ROOT: [&str; 10] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "deploy",
    "gateway.toml",
    "src",
    "target",
    "tests",
];
const DOTTED: [&str; 11] = [
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".config",
    ".deny.toml",
    ".dockerignore",
    ".editorconfig",
    ".git",
    ".github",
    ".gitignore",
    ".rustfmt.toml",
];

/// A source file: its path below `src` and its text without the tests at its end.
struct Source {
    path: PathBuf,
    code: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root().join("src"), &mut found);
    assert!(found.len() > 20, "the sources were not found");
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned();
            found.push(Source { path: path.strip_prefix(root().join("src")).unwrap().to_owned(), code });
        }
    }
}

impl Source {
    /// The top-level module: the first folder, or the file's own name.
    fn module(&self) -> String {
        let first = self.path.components().next().unwrap();
        Path::new(first.as_os_str()).with_extension("").display().to_string()
    }

    /// The modules that it names after `crate::`, in `use` and elsewhere, doc links aside.
    fn imports(&self) -> Vec<String> {
        let lines = self.code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = lines.collect::<Vec<_>>().join("\n");
        let mut names = Vec::new();
        for (at, _) in code.match_indices("crate::").filter(|(at, _)| !code[..*at].ends_with('$')) {
            let rest = &code[at + "crate::".len()..];
            match rest.strip_prefix('{') {
                Some(group) => names.extend(heads(group)),
                None => names.push(word(rest)),
            }
        }
        names.into_iter().filter(|name| layer(name).is_some()).collect()
    }

    fn complain(&self, what: &str) -> String {
        format!("src/{}: {what}", self.path.display())
    }
}

/// The first names of the members of `a::{b, c}, d}`: `a` and `d`.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut names, mut fresh) = (0, Vec::new(), true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' => fresh = depth == 0,
            _ if fresh && !character.is_whitespace() => {
                names.push(word(&group[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn word(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|row| row.contains(&module))
}

/// Fails with every complaint, not with the first.
fn judge(complaints: impl Iterator<Item = String>) {
    let complaints: Vec<String> = complaints.collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn a_module_imports_only_from_the_layers_below() {
    judge(sources().iter().filter(|source| !matches!(source.module().as_str(), "lib" | "main")).flat_map(|source| {
        let own = source.module();
        let Some(row) = layer(&own) else { return vec![source.complain("is in no layer")] };
        let upward = source.imports().into_iter().filter(|name| *name != own && layer(name) <= Some(row));
        // The last row is vocabulary: its modules may use one another.
        let upward = upward.filter(|name| row + 1 < LAYERS.len() || layer(name) < Some(row));
        upward.map(|name| source.complain(&format!("`{own}` must not use `{name}`"))).collect()
    }));
}

#[test]
fn a_file_opens_with_one_sentence_and_is_short() {
    judge(sources().iter().flat_map(|source| {
        let header = (!source.code.starts_with("//! ")).then(|| source.complain("has no `//!` sentence"));
        let lines = source.code.lines().count();
        let length = (lines > 400).then(|| source.complain(&format!("has {lines} lines; 400 are allowed")));
        header.into_iter().chain(length)
    }));
}

#[test]
fn the_redis_library_is_named_in_one_place() {
    let outside = |source: &&Source| source.module() != "redis" && source.code.contains("fred::");
    judge(sources().iter().filter(outside).map(|source| source.complain("names `fred` outside src/redis")));
}

#[test]
fn nothing_is_left_to_be_done() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!("), concat!("unimple", "mented!(")];
    judge(sources().iter().flat_map(|source| {
        marks.iter().filter(|mark| source.code.contains(**mark)).map(|mark| source.complain(&format!("holds `{mark}`")))
    }));
}

#[test]
fn the_root_is_not_cluttered() {
    let names = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().display().to_string());
    judge(names.filter(|name| !ROOT.contains(&name.as_str()) && !DOTTED.contains(&name.as_str())));
}

/// What `.deny.toml` says, as far as it can be judged without the network: `cargo deny` judges the rest in CI.
#[test]
fn every_dependency_has_a_licence_that_is_allowed_and_none_is_banned() {
    let policy: toml::Table = fs::read_to_string(root().join(".deny.toml")).unwrap().parse().unwrap();
    let texts =
        |value: &toml::Value| value.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect();
    let allowed: Vec<String> = texts(&policy["licenses"]["allow"]);
    let targets: Vec<String> = texts(&policy["graph"]["targets"]);
    let banned = policy["bans"]["deny"].as_array().unwrap();
    let banned: Vec<_> = banned.iter().map(|ban| ban["name"].as_str().unwrap()).collect();
    let mut packages = BTreeMap::new();
    for target in targets {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        let arguments = ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", &target];
        let output = cargo.args(arguments).current_dir(root()).output().unwrap();
        // What is built for other targets only may not be there.
        let Ok(metadata) = serde_json::from_slice::<serde_json::Value>(&output.stdout) else { continue };
        for package in metadata["packages"].as_array().unwrap() {
            let licence = package["license"].as_str().unwrap_or_default().to_owned();
            packages.insert(package["name"].as_str().unwrap().to_owned(), licence);
        }
    }
    assert!(packages.len() > 50, "the dependencies were not found");
    judge(packages.iter().flat_map(|(name, licence)| {
        let is_banned = banned.contains(&name.as_str()).then(|| format!("{name} is banned by .deny.toml"));
        let refused =
            (!is_allowed(licence, &allowed)).then(|| format!("{name}: {licence:?} is not allowed by .deny.toml"));
        is_banned.into_iter().chain(refused)
    }));
}

/// Whether a licence expression (SPDX) holds with these licences: one of its alternatives, all of whose parts are
/// among them. Parentheses stand around alternatives that are joined with something else.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ");
    let holds = |part: &str| allowed.iter().any(|licence| licence == part.trim());
    if let (Some(open), Some(close)) = (expression.find('('), expression.find(')')) {
        let inner = is_allowed(&expression[open + 1..close], allowed);
        let word = if inner { allowed[0].as_str() } else { "none" };
        return is_allowed(&[&expression[..open], word, &expression[close + 1..]].concat(), allowed);
    }
    expression.split(" OR ").any(|alternative| alternative.split(" AND ").all(holds))
}

#[test]
fn licence_expressions_are_read_as_they_are_meant() {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];
    for expression in
        ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "MIT AND ISC", "(MIT OR GPL-3.0) AND ISC", "(GPL-3.0) OR MIT"]
    {
        assert!(is_allowed(expression, &allowed), "{expression}");
    }
    for expression in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "ISC AND (GPL-3.0 OR Zlib)"] {
        assert!(!is_allowed(expression, &allowed), "{expression}");
    }
}
