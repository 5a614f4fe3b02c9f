//! Whole files: `tests/config/refused` and `tests/config/accepted` are data, walked here.

use super::{environment::Environment, read, rules, session, store, upstreams};
use std::{fs, path::Path, path::PathBuf, time::Duration};

fn environment() -> Environment {
    [
        ("SESSION_SECRET", "a long enough secret of a test"),
        ("REDIS_SESSION_URL", "redis://:hunter2@127.0.0.1:6379/1"),
        ("EMPTY", ""),
        ("SHORT", "hunter2"),
        ("PORT", "8081"),
    ]
    .into_iter()
    .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("tests/config").join(folder)).expect("the folder of cases");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a case").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

/// The `# expect:` lines that a case begins with; one holds parts of one finding, separated by ` | `.
fn expectations(text: &str) -> Vec<&str> {
    text.lines().map_while(|line| line.strip_prefix("# expect: ")).collect()
}

/// What is wrong with a case: each finding is expected, each expectation is found, and nothing shows a secret.
fn judge(file: &Path, refused: bool) -> Result<(), String> {
    let loaded = super::load(file, &environment());
    let text = fs::read_to_string(file).expect("a case");
    let shown = loaded.diagnostics.render(&loaded.source, false);
    let expected = expectations(&text);
    let found = |line: &str| shown.split("\n\n").any(|finding| line.split(" | ").all(|part| finding.contains(part)));
    let missing: Vec<_> = expected.iter().filter(|line| !found(line)).copied().collect();
    let (errors, warnings) = loaded.diagnostics.counts();
    let fault = match () {
        () if !missing.is_empty() => format!("missing: {missing:?}"),
        () if errors + warnings != expected.len() => format!("{} expected", expected.len()),
        () if loaded.config.is_some() == refused => format!("refused is not {refused}"),
        () if shown.contains("hunter2") => "shows a secret".to_owned(),
        () => return Ok(()),
    };
    Err(format!("{}: {fault}\n{shown}", file.display()))
}

#[test]
fn refused_files_are_refused_for_every_reason_at_once() {
    let files = files("refused");
    assert!(files.len() >= 50, "there are {} cases", files.len());
    let faults: Vec<_> = files.iter().filter_map(|file| judge(file, true).err()).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn accepted_files_are_accepted_with_the_expected_warnings() {
    let faults: Vec<_> = files("accepted").iter().filter_map(|file| judge(file, false).err()).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_annotated_example_loads_without_a_finding() {
    let loaded = super::load(&root().join("gateway.toml"), &environment());
    let shown = loaded.diagnostics.render(&loaded.source, false);
    assert!(loaded.config.is_some() && shown.is_empty(), "{shown}");
}

#[test]
fn a_missing_file_is_a_finding_that_names_it() {
    let loaded = super::load(Path::new("/nowhere/gateway.toml"), &environment());
    let shown = loaded.diagnostics.render(&loaded.source, false);
    assert!(loaded.config.is_none() && shown.contains("cannot read /nowhere/gateway.toml"), "{shown}");
}

#[test]
fn the_smallest_file_means_what_it_says() {
    let file = root().join("tests/config/accepted/smallest.toml");
    let config = super::load(&file, &environment()).config.expect("a configuration");
    let store::Url::Redis(redis) = &config.store.url else { panic!("not Redis") };
    assert_eq!((redis.database, redis.password.is_some()), (1, true));
    let session = &config.sessions[0];
    assert_eq!(
        (session.name.as_str(), session.prefix.as_str(), session.login.as_str()),
        ("express", "sess:", "/login")
    );
    assert_eq!(session.cookie.as_deref(), Some("connect.sid"));
    assert_eq!(session.return_to.as_deref(), Some("return_to"));
    assert_eq!(session.set_by, session::SetBy::Verified);
    assert!(matches!(&session.format, session::Format::Express { secrets, cookie_path, .. }
        if secrets[0].expose() == "a long enough secret of a test" && cookie_path == "/"));
    assert_eq!(
        config.upstreams.iter().map(|upstream| upstream.endpoints.len()).collect::<Vec<_>>(),
        [2, 1].into_iter().rev().collect::<Vec<_>>()
    );
    assert_eq!(config.rules[0].session, rules::Requirement::Optional);
    assert_eq!(config.rules[1].session, rules::Requirement::Required);
    assert_eq!((config.rules[1].paths.len(), &config.rules[1].action), (0, &rules::Action::Forward(1)));
    assert_eq!(config.server.drain, Duration::from_secs(30));
    assert_eq!(config.server.limits.header_bytes, 32 << 10);
    assert_eq!(config.server.limits.body_bytes, None);
    assert_eq!(config.identity.headers.len(), 2);
    assert_eq!(config.admin.listen.map(|address| address.port()), Some(9090));
}

#[test]
fn a_managed_session_needs_a_format_and_nothing_else() {
    let text = "[session]\nformat = 'onedoor'\n[upstreams]\na = { endpoints = 'http://a', session_authority = true }\n\
                [[rules]]\npath = '/login'\nsession = 'off'\ndest = 'a'\n[[rules]]\ndest = 'http://[::1]:81'\n";
    let config = read("gateway.toml", text, &environment()).config.expect("a configuration");
    let session = &config.sessions[0];
    assert_eq!((session.cookie.as_ref(), session.prefix.as_str()), (None, "onedoor:session:"));
    assert_eq!(
        (session.user[0].0.join("."), session.roles.as_ref().map(|path| path.0.join("."))),
        ("user.id".into(), Some("roles".into()))
    );
    let hour = Duration::from_secs(3600);
    assert_eq!(session.format, session::Format::Onedoor { ttl: hour, max_age: 12 * hour });
    let endpoint = upstreams::Endpoint { https: false, host: "::1".into(), port: 81 };
    assert_eq!((config.upstreams[1].name.as_str(), &config.upstreams[1].endpoints[0]), ("http://[::1]:81", &endpoint));
    assert_eq!(config.upstreams[1].connections, 1024);
}

#[test]
fn one_url_in_two_rules_is_one_upstream() {
    let text = "[[rules]]\npath='/a'\nsession='off'\ndest='http://a'\n[[rules]]\nsession='off'\ndest='http://a'\n";
    let config = read("gateway.toml", text, &environment()).config.expect("a configuration");
    assert_eq!(config.upstreams.len(), 1);
}

#[test]
fn secrets_of_a_file_are_read_and_the_file_is_watched() {
    let folder = std::env::temp_dir().join(format!("onedoor-secrets-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("secrets"), "the newest of the secrets\n\nthe oldest of the secrets\r\n").expect("a file");
    let text = "[store]\nurl='redis://h'\n[session]\nformat='express'\nuser='id'\nsecrets_file='secrets'\n[[rules]]\ndest='http://a'\n";
    let loaded = read(&folder.join("gateway.toml").display().to_string(), text, &environment());
    let config = loaded.config.expect("a configuration");
    let session::Format::Express { secrets, .. } = &config.sessions[0].format else { panic!("not express") };
    let exposed: Vec<_> = secrets.iter().map(crate::secret::Secret::expose).collect();
    assert_eq!(exposed, ["the newest of the secrets", "the oldest of the secrets"]);
    assert_eq!(config.watched, [folder.join("secrets")]);
    fs::remove_dir_all(&folder).expect("to tidy up");
}

#[test]
fn a_secret_is_not_shown_even_where_its_line_is_underlined() {
    for text in [
        "[session]\nsecrets = \"hunter2\"\nformat = \"expres\"\n",
        "[session]\nsecret = \"hunter2\"\n",
        "[session]\nsecrets = [\"hunter2\", 5]\n",
        "[session]\nsecrets = [\"hunter2\n",
        "[session]\nsecrets = [\"${NOT_SET}hunter2\"]\n",
        "[session]\nsecrets = [\"${NOT_SET:-hunter2}\"]\n",
        "[session]\nformat = \"onedoor\"\nsecrets = \"hunter2\"\n",
        "[session]\nsercets = [\"hunter2\"]\n",
        "session = { secrets = \"hunter2\" , x = 1 }\n",
        "[store]\nurl = \"redis://u:hunter2@h:x\"\n",
        "[store]\nurl = \"redis://h?password=hunter2\"\n",
        "[upstreams]\na = \"http://u:hunter2@h\"\n",
        "[[rules]]\ndest = \"http://u:hunter2@h\"\n",
        "[session]\nsecrets = 12345\n",
    ] {
        let loaded = read("gateway.toml", text, &environment());
        let shown = loaded.diagnostics.render(&loaded.source, true);
        assert!(
            loaded.diagnostics.has_errors() && !shown.contains("hunter2") && !shown.contains("12345"),
            "{text}\n{shown}"
        );
    }
}

#[test]
fn no_text_makes_reading_or_rendering_panic() {
    use proptest::prelude::*;
    let smallest = fs::read_to_string(root().join("gateway.toml")).expect("the example");
    let lines: Vec<String> = smallest.lines().map(str::to_owned).collect();
    let strategy = (proptest::collection::vec(0..lines.len(), 0..20), "\\PC{0,12}", 0_usize..400);
    proptest!(ProptestConfig::with_cases(200), |((picks, noise, cut) in strategy)| {
        let mut text: String = picks.iter().map(|pick| format!("{}\n", lines[*pick].trim_start_matches("# "))).collect();
        text.insert_str(text.floor_char_boundary(cut), &noise);
        let loaded = read("gateway.toml", &text, &environment());
        loaded.diagnostics.render(&loaded.source, false);
    });
}
