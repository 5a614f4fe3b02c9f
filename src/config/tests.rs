//! Whole files: `tests/config/refused` and `tests/config/accepted` are data, walked here.

use super::{environment::Environment, read, rules, security_headers::SecurityHeaders, session, store, upstreams};
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
        () if loaded.diagnostics.has_errors() != refused => format!("refused is not {refused}"),
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
    assert_eq!((config.upstreams[0].endpoints.len(), config.upstreams[1].endpoints.len()), (1, 2));
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
    let endpoint = upstreams::Endpoint { https: false, h2c: false, host: "::1".into(), port: 81, socket: None };
    assert_eq!((config.upstreams[1].name.as_str(), &config.upstreams[1].endpoints[0]), ("http://[::1]:81", &endpoint));
    assert_eq!(config.upstreams[1].connections, 1024);
}

#[test]
fn every_key_reaches_the_configuration() {
    let file = root().join("tests/config/accepted/every_key.toml");
    let config = super::load(&file, &environment()).config.expect("a configuration");
    let seconds = Duration::from_secs;
    let server = &config.server;
    assert_eq!((server.workers, server.drain, server.drain_delay), (3, seconds(31), seconds(5)));
    assert!(server.handover && !server.method_override && server.trusts_unix && server.trusted_networks.len() == 2);
    assert_eq!(
        server.public_url.as_ref().map(|url| (url.https, url.host.as_str(), url.port)),
        Some((true, "example.com", 443))
    );
    assert_eq!(
        (server.listen.len(), server.hosts.as_slice()),
        (2, &["example.com".to_owned(), "api.example.com".to_owned()][..])
    );
    assert_eq!(server.redirect_hosts, ["www.example.com"]);
    let limits = super::server::Limits {
        header_bytes: 16 << 10,
        headers: 50,
        uri_bytes: 4 << 10,
        body_bytes: Some(10 << 20),
        header_timeout: seconds(11),
        keepalive: seconds(76),
        body_timeout: seconds(32),
        connections: 100,
        http2_streams: 16,
    };
    assert_eq!(server.limits, limits);
    let tls = server.tls.as_ref().expect("there is a section");
    assert_eq!((tls.certificates.len(), tls.only_newest, tls.http2), (1, true, false));
    assert!(tls.client_roots.is_some() && tls.redirect_from.is_some() && server.h2c);
    assert_eq!(server.proxy_protocol, super::server::ProxyProtocol::Optional);
    assert_eq!((config.store.namespace.as_str(), config.store.connections), ("door:", Some(4)));
    assert_eq!(config.store.timeout, Duration::from_millis(250));

    let session = &config.sessions[0];
    assert_eq!(
        (session.name.as_str(), session.cookie.as_deref(), session.prefix.as_str()),
        ("site", Some("sid"), "s:")
    );
    assert_eq!((session.user.len(), session.roles.is_some(), session.return_to.as_ref()), (2, true, None));
    assert_eq!(
        (session.login.as_str(), session.forward_cookie, session.harden),
        ("https://id.example.com/", false, false)
    );
    assert_eq!(session.same_site, Some(session::SameSite::Strict));
    assert_eq!(session.set_by, session::SetBy::Upstreams(vec!["auth".into()]));
    let session::Format::Express { secrets, cookie_path, cookie_domain, cookie_max_age } = &session.format else {
        panic!("not express")
    };
    assert_eq!((secrets.len(), cookie_path.as_str(), cookie_domain.as_deref()), (2, "/app", Some("example.com")));
    assert_eq!(*cookie_max_age, Some(seconds(86_400)));

    let auth = &config.upstreams[0];
    assert_eq!(
        (auth.connect_timeout, auth.response_timeout, auth.idle_timeout),
        (seconds(1), seconds(61), seconds(62))
    );
    assert_eq!((auth.keepalive, auth.connections, auth.session_authority), (seconds(3), 12, true));
    assert_eq!(auth.trailers[..], ["server-timing"]);
    let by_header = upstreams::HashBy::Header(http::HeaderName::from_static("x-tenant"));
    assert_eq!((&auth.balance, auth.retries), (&upstreams::Balance::Hash(by_header), 2));
    assert_eq!(auth.retry_on, [http::StatusCode::BAD_GATEWAY, http::StatusCode::SERVICE_UNAVAILABLE]);
    assert_eq!((auth.tunnel_idle, auth.eject), (seconds(7200), upstreams::Eject { errors: 6, duration: seconds(11) }));
    let health = auth.health.as_ref().expect("it was written");
    assert_eq!((health.path.as_str(), health.interval, health.timeout), ("/healthz", seconds(6), seconds(2)));
    assert_eq!((health.unhealthy_after, health.healthy_after), (4, 5));
    assert_eq!(auth.host, upstreams::Host::Literal(http::HeaderValue::from_static("auth.internal:81")));
    assert_eq!(config.upstreams[1].host, upstreams::Host::Auto);

    let rule = &config.rules[0];
    assert_eq!((rule.paths[0].text.as_str(), rule.methods.len(), rule.roles.len()), ("/a/**", 2, 1));
    assert_eq!((rule.on_refusal, rule.enforce, rule.keeps_encoded_slash), (rules::OnRefusal::Redirect, false, true));
    assert_eq!((rule.allow.len(), rule.passes_preflight, rule.body_bytes), (2, true, Some(1 << 20)));
    assert!(matches!(&rule.cross_site, rules::CrossSite::Refuse(listed) if listed.len() == 2));
    assert!(matches!(&rule.security_headers, SecurityHeaders::Also(headers) if headers.len() == 2));
    assert!(matches!(&config.security_headers, SecurityHeaders::Also(headers) if headers.len() == 1));
    assert_eq!(config.pages.0[0].0, 404);
    assert_eq!((rule.rewrites_location, rule.request_headers.len(), rule.response_headers.len()), (true, 2, 1));
    assert_eq!((rule.timeout, rule.total_timeout), (Some(seconds(5)), Some(seconds(120))));
    assert_eq!((rule.strip_prefix.as_deref(), rule.add_prefix.as_deref()), (Some("/a"), Some("/b/c")));
    assert_eq!(
        config.rules[1].action,
        rules::Action::Redirect(http::HeaderValue::from_static("https://new.example/x"))
    );
    let gone = rules::Action::Respond { status: http::StatusCode::GONE, body: "gone".into() };
    assert_eq!((&config.rules[3].action, config.rules[3].session), (&gone, rules::Requirement::Off));

    let names: Vec<_> = config.identity.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-who", "x-as", "x-by", "x-email"], "in the order written");
    assert_eq!(config.identity.headers[2].1, super::identity::Value::Session);
    assert_eq!(config.admin.listen, None);
    let log =
        super::log::Log { format: super::log::Format::Json, level: tracing::Level::WARN, access: false, query: true };
    assert_eq!(config.log, log);
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
        "[store]\nsecrets = \"hunter2\"\n",
        "sesion = { secrets = [\"hunter2\"] }\n",
        "store = \"redis://:hunter2@h\"\n",
        "redis_url = \"redis://:hunter2@h\"\n",
        "[store]\nurl = \"redis:hunter2@h\"\npassword = \"hunter2\"\n",
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
