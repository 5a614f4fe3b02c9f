//! Findings, and configurations in which there is nothing to find.

use super::*;
use crate::{
    config::{
        Environment, Span,
        diagnostic::Severity,
        read,
        rules::{
            Action, OnRefusal,
            Requirement::{Off, Optional, Required},
        },
    },
    rules::sample,
};

fn config(mut rules: Vec<Rule>, login: &str) -> Config {
    for (index, rule) in rules.iter_mut().enumerate() {
        rule.span = span(index);
    }
    let text = "[session]\nformat = 'onedoor'\n[[rules]]\nredirect = '/'\n";
    let mut config = read("", text, &Environment::default()).config.expect("the text is a configuration");
    config.sessions[0].login = login.to_owned();
    config.sessions[0].span = 99..100;
    config.rules = rules;
    config
}

fn span(index: usize) -> Span {
    10 * (index + 1)..10 * (index + 1) + 1
}

/// The findings as severity, rule (9 = the session), and text.
fn findings(config: &Config) -> Vec<(Severity, usize, String)> {
    let mut diagnostics = Diagnostics::default();
    lint(config, &mut diagnostics);
    let place = |start: usize| if start == 99 { 9 } else { (start / 10).saturating_sub(1) };
    diagnostics.sorted().iter().map(|found| (found.severity, place(found.span.start), found.message.clone())).collect()
}

/// Checks that the rules, beside an open login page, give exactly these findings.
fn expect(rules: Vec<Rule>, wanted: &[(Severity, usize, &str)]) {
    let rules = rules.into_iter().map(|rule| Rule {
        paths: rule.paths.into_iter().map(|path| crate::config::rules::Pattern { span: 1..1, ..path }).collect(),
        ..rule
    });
    let open = sample::rule(&["/login", "/login/"], Optional);
    let found = findings(&config([open].into_iter().chain(rules).collect(), "/login"));
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (severity, index, text) in wanted {
        let is_wanted = |(found, place, message): &(Severity, usize, String)| {
            found == severity && message.contains(text) && (*place == *index || *place == 0)
        };
        assert!(found.iter().any(is_wanted), "no `{text}` in {found:#?}");
    }
}

/// What is found in a text, errors of reading it included.
fn found(text: &str) -> String {
    let mut loaded = read("gateway.toml", text, &Environment::default());
    if let Some(config) = &loaded.config {
        lint(config, &mut loaded.diagnostics);
    }
    loaded.diagnostics.render(&loaded.source, false)
}

#[test]
fn rules_are_judged_against_each_other_also_where_a_dest_or_a_session_is_wrong() {
    let all = "[session]\nformat = 'expres'\n[[rules]]\nsession = 'off'\ndest = 'nowhere'\n[[rules]]\npath = '/x'\nredirect = '/'\n";
    let found = found(all);
    for text in ["did you mean \"express\"", "no upstream `nowhere`", "can never match"] {
        assert!(found.contains(text), "no {text} in\n{found}");
    }
}

#[test]
fn nothing_is_said_about_a_rule_that_could_not_be_read() {
    let site = "[session]\nformat = 'onedoor'\n[upstreams]\na = { endpoints = 'http://a', session_authority = true }\n";
    let rest = "[[rules]]\npath = '/login'\ndest = 'a'\nsession = 'optional'\n[[rules]]\ndest = 'a'\n";
    for broken in ["path = '/login'\nsession = 'off!'", "path = 5", "method = 'get'"] {
        let found = found(&format!("{site}[[rules]]\ndest = 'a'\n{broken}\n{rest}"));
        assert_eq!(found.matches("error").count(), 1, "{broken}: {found}");
    }
}

fn rule(paths: &[&str], session: Requirement) -> Rule {
    sample::rule(paths, session)
}

fn limited(methods: &[&str], rule: Rule) -> Rule {
    let methods = methods.iter().map(|method| method.parse().expect("the test's method is a token"));
    Rule { methods: methods.collect(), ..rule }
}

fn roles(roles: &[&str], rule: Rule) -> Rule {
    Rule { roles: roles.iter().map(|role| (*role).to_owned()).collect(), ..rule }
}

fn keeping(rule: Rule) -> Rule {
    Rule { keeps_encoded_slash: true, ..rule }
}

use Severity::{Error, Warning};

#[test]
fn ordinary_rules_give_no_finding() {
    expect(vec![rule(&[], Required)], &[]);
    expect(vec![rule(&["/a/*"], Off), rule(&["/a/**"], Required), rule(&[], Optional)], &[]);
    expect(vec![rule(&["/admin/**"], Required), rule(&[], Off)], &[]);
    expect(vec![rule(&["/"], Off), rule(&["/shop/**"], Required), rule(&[], Required)], &[]);
    expect(vec![rule(&["/docs/readme"], Off), rule(&["/docs/**"], Required)], &[]);
    expect(vec![roles(&["admin"], rule(&["/admin/**"], Required)), rule(&[], Required)], &[]);
    expect(vec![limited(&["GET"], rule(&["/a"], Off)), rule(&["/a"], Required)], &[]);
}

#[test]
fn a_rule_that_an_earlier_one_takes_whole_is_an_error() {
    expect(vec![rule(&[], Required), rule(&["/a"], Off)], &[(Error, 2, "can never match")]);
    expect(vec![rule(&["/a/**"], Off), rule(&["/a/b", "/a"], Off)], &[(Error, 2, "can never match")]);
    expect(vec![rule(&["/a"], Required), rule(&["/A/"], Off)], &[(Error, 2, "can never match")]);
    let get = limited(&["GET", "POST"], rule(&["/a"], Off));
    expect(vec![get.clone(), limited(&["GET"], rule(&["/a"], Off))], &[(Error, 2, "can never match")]);
    expect(vec![get, rule(&["/a"], Off)], &[]);
}

#[test]
fn a_path_that_an_earlier_rule_takes_is_a_warning() {
    expect(vec![rule(&["/a/**"], Off), rule(&["/a/b", "/c"], Off)], &[(Warning, 2, "never matches here")]);
    expect(vec![rule(&["/a"], Off), rule(&["/a"], Required)], &[(Warning, 2, "only other spellings")]);
}

#[test]
fn a_login_page_behind_the_door_is_an_error() {
    let judge = |rules: Vec<Rule>, login: &str| findings(&config(rules, login));
    let closed = judge(vec![rule(&[], Required)], "/login?x=1");
    assert!(matches!(closed.as_slice(), [(Error, 9, text)] if text.contains("nobody could log in")), "{closed:?}");
    let unsent = judge(vec![Rule { on_refusal: OnRefusal::Status, ..rule(&[], Required) }], "/login");
    assert!(matches!(unsent.as_slice(), [(Warning, 9, text)] if text.contains("nobody could log in")), "{unsent:?}");
    let missing = judge(vec![rule(&["/a"], Required)], "/login");
    assert!(matches!(missing.as_slice(), [(Error, 9, text)] if text.contains("no rule matches")), "{missing:?}");
    let posted = judge(vec![limited(&["POST"], rule(&["/login"], Off)), rule(&[], Required)], "/login");
    assert!(matches!(posted.as_slice(), [(Error, 9, _)]), "{posted:?}");

    for login in ["/login", "/login/"] {
        let twin = judge(vec![rule(&[login], Optional), rule(&[], Required)], login);
        assert!(matches!(twin.as_slice(), [(Warning, 9, text)] if text.contains("requires a session")), "{twin:?}");
    }
    assert_eq!(judge(vec![rule(&[], Required)], "https://login.test/"), []);
    assert_eq!(judge(vec![rule(&[], Optional)], "/login"), []);
    assert_eq!(judge(vec![rule(&["/login/**"], Off), rule(&[], Required)], "/login"), []);
}

#[test]
fn a_method_that_falls_through_to_less_protection_is_a_warning() {
    let deletes = limited(&["DELETE"], rule(&["/a/*"], Required));
    expect(vec![deletes.clone(), rule(&[], Off)], &[(Warning, 1, "GET, POST, PUT, PATCH, OPTIONS")]);
    let admin = roles(&["admin"], deletes.clone());
    expect(vec![admin.clone(), rule(&[], Required)], &[(Warning, 1, "asks for less")]);
    expect(vec![admin.clone(), roles(&["admin"], rule(&[], Required))], &[]);
    expect(vec![deletes.clone(), limited(&["GET"], rule(&[], Off))], &[]);
    expect(vec![deletes, limited(&["GET", "POST"], rule(&[], Off))], &[(Warning, 1, "by POST")]);
    expect(vec![limited(&["POST"], rule(&["/a"], Required)), limited(&["GET"], rule(&[], Off))], &[]);
    expect(vec![limited(&["POST"], rule(&["/a"], Off)), rule(&[], Off)], &[]);
}

#[test]
fn methods_mean_nothing_where_a_header_replaces_them() {
    let mut config = config(vec![limited(&["GET"], rule(&["/login"], Off))], "/login");
    config.server.method_override = true;
    assert!(matches!(findings(&config).as_slice(), [(Error, 0, text)] if text.contains("method_override")));
}

#[test]
fn a_public_path_close_to_a_protected_one_is_a_warning() {
    expect(vec![rule(&["/Admin/**"], Off), rule(&["/admin/**"], Required)], &[(Warning, 1, "do not count")]);
    expect(vec![rule(&["/a/"], Optional), rule(&["/a"], Required)], &[(Warning, 1, "do not count")]);
    expect(vec![rule(&["/docs"], Off), rule(&["/docs/**"], Required)], &[(Warning, 1, "only `/docs` itself")]);
}

#[test]
fn an_encoded_slash_that_leads_into_a_stricter_rule_is_an_error() {
    let secret = rule(&["/files/secret/**"], Required);
    expect(vec![secret.clone(), keeping(rule(&["/files/**"], Off))], &[(Error, 2, "rules[1]")]);
    expect(vec![keeping(rule(&["/files/*"], Off)), rule(&["/files/**"], Required)], &[(Error, 1, "rules[2]")]);
    let admin = roles(&["admin"], rule(&["/admin"], Required));
    expect(vec![admin, keeping(rule(&[], Required))], &[(Error, 2, "rules[1]")]);
    let below = rule(&["/files/*"], Required);
    expect(vec![below.clone(), keeping(rule(&["/files/*/x"], Off))], &[(Error, 2, "rules[1]")]);

    expect(vec![keeping(rule(&["/files/**"], Off)), rule(&[], Required)], &[]);
    expect(vec![keeping(rule(&["/files/**"], Required)), rule(&[], Off)], &[]);
    expect(vec![secret, keeping(rule(&["/files/**"], Required))], &[]);
    expect(vec![keeping(rule(&["/a"], Off)), rule(&[], Required)], &[]);
}

#[test]
fn empty_segments_that_lead_into_a_stricter_rule_are_an_error() {
    let keeping = |rule: Rule| Rule { keeps_empty_segments: true, ..rule };
    let secret = rule(&["/files/secret/**"], Required);
    expect(vec![secret.clone(), keeping(rule(&["/files/**"], Off))], &[(Error, 2, "`//` that this rule lets through")]);
    expect(vec![rule(&["/admin"], Required), keeping(rule(&[], Optional))], &[(Error, 2, "rules[1]")]);
    let admin = roles(&["admin"], rule(&["/a/b"], Required));
    expect(vec![admin, keeping(rule(&["/a/**"], Required))], &[(Error, 2, "`/a/b` once merged")]);

    expect(vec![secret.clone(), keeping(rule(&["/files/**"], Required))], &[]);
    expect(vec![secret, keeping(rule(&["/proxy/**"], Off)), rule(&[], Required)], &[]);
    expect(vec![rule(&["/a/b"], Required), keeping(rule(&["/a/*"], Off))], &[]);
    expect(vec![keeping(rule(&[], Off))], &[]);
}

#[test]
fn a_rewritten_path_that_leads_into_a_stricter_rule_of_its_upstream_is_a_warning() {
    let stripping = |prefix: &str, rule: Rule| Rule { strip_prefix: Some(prefix.to_owned()), ..rule };
    let admin = rule(&["/admin/**"], Required);
    let shop = stripping("/shop", rule(&["/shop/**"], Off));
    expect(vec![admin.clone(), shop.clone()], &[(Warning, 2, "`/shop/admin` is forwarded as `/admin`")]);
    expect(vec![shop.clone(), rule(&[], Required)], &[(Warning, 1, "is forwarded as `/`")]);
    let adding = Rule { add_prefix: Some("/admin".to_owned()), ..rule(&["/a/**"], Optional) };
    expect(vec![adding, rule(&["/admin/a/*"], Required)], &[(Warning, 1, "`/a/~` is forwarded as `/admin/a/~`")]);

    let elsewhere = Rule { action: Action::Forward(1), ..shop.clone() };
    expect(vec![admin.clone(), elsewhere], &[]);
    expect(vec![admin.clone(), Rule { session: Required, ..shop }], &[]);
    expect(vec![admin, stripping("/shop", rule(&["/shop/*/x"], Off))], &[]);
}
