//! First match, folding, methods, and paths that are refused once the rule is known.

use super::*;
use crate::{
    config::{
        rules::{
            CrossSite,
            Requirement::{Off, Optional, Required},
        },
        security_headers::SecurityHeaders,
    },
    rules::sample::rule,
};
use proptest::prelude::*;

fn path(target: &str) -> NormalPath {
    NormalPath::of(&target.parse().expect("the test's target is a URI")).expect("the test's path is accepted")
}

fn found(rules: &Rules<usize>, method: &str, target: &str) -> Result<usize, Unmatched> {
    let method = Method::from_bytes(method.as_bytes()).expect("the test's method is a token");
    rules.find(&method, &path(target)).map(|rule| rule.index)
}

fn compile(rules: &[config::rules::Rule]) -> Rules<usize> {
    Rules::compile(rules, &SecurityHeaders::Inherited, |upstream| upstream)
}

#[test]
fn the_first_rule_that_matches_governs() {
    let rules = compile(&[rule(&["/login", "/logout"], Optional), rule(&["/a/**"], Off), rule(&[], Required)]);
    for (target, index) in
        [("/login", 0), ("/logout?x", 0), ("/a", 1), ("/a/b", 1), ("/", 2), ("/LOGIN", 2), ("/login/", 2)]
    {
        assert_eq!(found(&rules, "GET", target), Ok(index), "{target}");
    }
    assert_eq!(
        rules.rules.iter().map(|rule| &*rule.name).collect::<Vec<_>>(),
        ["rules[0] /login", "rules[1] /a/**", "rules[2] /**"]
    );
    assert_eq!(found(&compile(&[rule(&["/a"], Off)]), "GET", "/b"), Err(Unmatched::NoRule));
}

#[test]
fn protected_and_answering_rules_fold_and_others_do_not() {
    let respond = config::rules::Action::Respond { status: StatusCode::NOT_FOUND, body: String::new() };
    let redirect = config::rules::Action::Redirect(HeaderValue::from_static("/x"));
    let with = |action: &config::rules::Action, session| config::rules::Rule {
        action: action.clone(),
        ..rule(&["/a"], session)
    };
    let forward = config::rules::Action::Forward(0);
    for (action, session, folds) in [
        (&forward, Required, true),
        (&respond, Off, true),
        (&forward, Optional, false),
        (&forward, Off, false),
        (&redirect, Off, false),
    ] {
        let rules = compile(&[with(action, session)]);
        for target in ["/A", "/a/", "/A/"] {
            assert_eq!(found(&rules, "GET", target).is_ok(), folds, "{action:?} {session:?} {target}");
        }
    }
}

#[test]
fn a_method_that_does_not_match_goes_on() {
    let get = config::rules::Rule { methods: vec![Method::GET], ..rule(&["/a"], Required) };
    let rules = compile(&[get, rule(&[], Off)]);
    for (method, index) in [("GET", 0), ("HEAD", 0), ("POST", 1), ("get", 0), ("head", 0), ("post", 1), ("OPTIONS", 1)]
    {
        assert_eq!(found(&rules, method, "/a"), Ok(index), "{method}");
    }
}

#[test]
fn an_encoded_slash_is_refused_once_the_rule_is_known() {
    let keeps = config::rules::Rule { keeps_encoded_slash: true, ..rule(&["/files/*"], Off) };
    let rules = compile(&[keeps, rule(&["/a/**"], Off)]);
    assert_eq!(found(&rules, "GET", "/files/a%2fb"), Ok(0));
    assert!(matches!(found(&rules, "GET", "/a/b%2fc"), Err(Unmatched::BadPath(_))));
    assert_eq!(found(&rules, "GET", "/b%2fc"), Err(Unmatched::NoRule));
}

#[test]
fn a_named_segment_cannot_hide_behind_parameters() {
    let rules = compile(&[rule(&["/admin/**"], Required), rule(&[], Off)]);
    for target in ["/admin;x/y", "/ADMIN;x", "/a/admin;x=1", "/admin%3bx", "/admin%3Fx", "/admin%23", "/admin/admin;"] {
        assert!(matches!(found(&rules, "GET", target), Err(Unmatched::BadPath(_))), "{target}");
    }
    for target in ["/a;v=1/b", "/administrator;x", "/a;admin", "/what%3F"] {
        assert_eq!(found(&rules, "GET", target), Ok(1), "{target}");
    }
}

#[test]
fn an_encoded_character_does_not_lead_past_a_protected_rule() {
    let rules = compile(&[rule(&["/v1/jobs:purge", "/@me/**"], Required), rule(&["/v1/**", "/%40me"], Off)]);
    for target in ["/v1/jobs:purge", "/v1/jobs%3Apurge", "/v1/JOBS%3apurge/", "/@me", "/%40me", "/%40ME/x"] {
        assert_eq!(found(&rules, "GET", target), Ok(0), "{target}");
    }
    assert!(matches!(found(&rules, "GET", "/v1/jobs%3Apurge;x"), Err(Unmatched::BadPath(_))));
    assert_eq!(found(&rules, "GET", "/v1/jobs%3Alist"), Ok(1));
}

#[test]
fn a_path_cut_at_an_encoded_question_mark_is_not_a_protected_one() {
    let rules = compile(&[rule(&["/x/*/pub"], Off), rule(&["/x/**"], Required)]);
    for target in ["/x/y%3F/pub", "/x/y%23/pub", "/x/y%3Fz/pub"] {
        assert!(matches!(found(&rules, "GET", target), Err(Unmatched::BadPath(_))), "{target}");
    }
    assert_eq!(found(&rules, "GET", "/x/y/pub"), Ok(0));
    assert_eq!(found(&rules, "GET", "/x/y%3Fz"), Ok(1));
}

#[test]
fn empty_segments_go_on_where_a_rule_keeps_them_and_choose_none() {
    let keeps = |rule| config::rules::Rule { keeps_empty_segments: true, ..rule };
    let rules =
        compile(&[keeps(rule(&["/proxy/**"], Off)), keeps(rule(&["/in/**"], Required)), rule(&["/*/x", "/**"], Off)]);
    for (target, index, form) in [
        ("/proxy/http://a//b?c=//", 0, "/proxy/http://a//b?c=//"),
        ("/proxy//", 0, "/proxy//"),
        ("//proxy/a", 0, "/proxy/a"),
        ("/IN//x//", 1, "/IN//x//"),
        ("//in//x", 1, "/in/x"),
        ("/a//x", 2, "/a/x"),
    ] {
        let (path, rule) = (path(target), found(&rules, "GET", target));
        assert_eq!(rule, Ok(index), "{target}");
        assert_eq!(rules.at(index).form(&path).target(), form, "{target}");
    }
}

#[test]
fn a_path_without_its_last_parameters_is_the_same_rules() {
    let limited = config::rules::Rule { limits: vec![0], ..rule(&["/login"], Optional) };
    let rules = compile(&[rule(&["/in"], Required), limited, rule(&["/", "/**"], Off)]);
    for target in ["/in/;x", "/IN/;", "/login/;x"] {
        assert!(matches!(found(&rules, "GET", target), Err(Unmatched::BadPath(_))), "{target}");
    }
    for target in ["/;jsessionid=1", "/a/;jsessionid=1", "/in/x/;y"] {
        assert_eq!(found(&rules, "GET", target), Ok(2), "{target}");
    }
}

#[test]
fn examining_says_why_each_rule_was_missed() {
    let post = config::rules::Rule { methods: vec![Method::POST], ..rule(&["/a"], Required) };
    let rules = compile(&[rule(&["/b"], Off), rule(&["/A"], Off), post, rule(&["/A"], Required), rule(&[], Off)]);
    let outcomes: Vec<_> = rules.examine(&Method::GET, &path("/a")).iter().map(|examined| examined.outcome).collect();
    let missed = [Miss::Path, Miss::Spelling, Miss::Method].map(Outcome::Miss);
    assert_eq!(outcomes, [&missed[..], &[Outcome::Match { folded: true }]].concat());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn examining_ends_at_the_rule_that_is_found(target in "(/[abAB]){1,3}/?", method in "(GET|HEAD|POST)") {
        let get = config::rules::Rule { methods: vec![Method::GET], ..rule(&["/a/**"], Required) };
        let rules = compile(&[rule(&["/a/b", "/b/*"], Optional), get, rule(&["/B"], Required), rule(&["/*/a"], Off)]);
        let examined = rules.examine(&method.parse().expect("a method"), &path(&target));
        let last = examined.last().filter(|last| matches!(last.outcome, Outcome::Match { .. }));
        prop_assert_eq!(last.map(|last| last.rule.index), found(&rules, &method, &target).ok());
    }

    /// Whatever habit a server has, a path that a public rule lets through is not the protected one to it.
    #[test]
    fn no_reading_of_a_public_path_is_protected(target in targets()) {
        let keeps = config::rules::Rule { keeps_empty_segments: true, ..rule(&["/x/**"], Off) };
        let rules = compile(&[rule(&["/admin/**", "/a/*/secret"], Required), keeps, rule(&[], Off)]);
        let Ok(uri) = target.parse() else { return Ok(()) };
        let Ok(path) = NormalPath::of(&uri) else { return Ok(()) };
        if let Some(rule) = rules.find(&Method::GET, &path).ok().filter(|rule| rule.index > 0) {
            let protected = [Pattern::parse("/admin/**"), Pattern::parse("/a/*/secret")];
            for reading in readings(rule.form(&path).as_str()) {
                let reached = protected.iter().any(|pattern| pattern.matches(&reading, Spelling::Folded));
                prop_assert!(!reached, "{} is read as {}", path.as_str(), reading);
            }
        }
    }
}

/// Paths made of what attacks are made of.
fn targets() -> impl Strategy<Value = String> {
    let pieces = [
        "/", "/", "//", "admin", "ADMIN", "a", "secret", "x", ";", ";x", "%3b", "%3B", "%3f", "%23", "%2f", "%5c", ".",
        "%2e", "%61", "%41dmin", "%20", "%25", "%00",
    ];
    let pieces = proptest::collection::vec(proptest::sample::select(pieces.to_vec()), 0..8);
    pieces.prop_map(|pieces| format!("/{}", pieces.concat()))
}

/// What servers with other habits make of a path: decoded, cut at parameters, query and fragment, slashes merged.
fn readings(path: &str) -> Vec<String> {
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
    let mut readings = vec![path.to_owned(), decoded];
    let cut = |path: &str| path.split(['\0', '?', '#']).next().unwrap_or("").to_owned();
    let without_parameters = |path: &str| {
        let segments = path.split('/').map(|segment| segment.split(';').next().unwrap_or(""));
        segments.collect::<Vec<_>>().join("/")
    };
    for reading in [&cut as &dyn Fn(&str) -> String, &without_parameters] {
        let more: Vec<_> = readings.iter().map(|path| reading(path)).collect();
        readings.extend(more);
    }
    let merged =
        |path: &String| format!("/{}", path.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/"));
    let more: Vec<_> = readings.iter().map(merged).collect();
    readings.extend(more);
    readings
}

#[test]
fn a_guard_holds_for_what_an_upstream_may_take_for_its_path() {
    let guarded = config::rules::Rule { cross_site: CrossSite::Refuse(Vec::new()), ..rule(&["/login"], Optional) };
    let rules = compile(&[guarded, rule(&["/logout"], Off), rule(&[], Required)]);
    let overlooked = |target: &str| {
        let path = path(target);
        let rule = rules.find(&Method::POST, &path).expect("a rule matches");
        rules.overlooked(rule, &Method::POST, &path).map(|rule| rule.index).collect::<Vec<_>>()
    };
    assert_eq!((overlooked("/LOGIN"), overlooked("/login/")), (vec![0], vec![0]));
    assert!(["/login", "/login/x", "/LOGOUT", "/"].into_iter().all(|target| overlooked(target).is_empty()));
}
