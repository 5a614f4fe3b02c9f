//! `onedoor import`: a now.sh rules file becomes a gateway.toml that serves the same site.

mod aliases;

use super::{Exit, Outcome, code, say};
use crate::config::{self, Environment};
use aliases::Alias;
use std::{collections::HashSet, fmt::Write as _, fs, path::Path};

/// Prints the translation of the rules file at `path`, or everything that is wrong with it.
pub(super) fn run(path: &Path) -> Outcome {
    let text = fs::read_to_string(path)
        .map_err(|fault| Exit::new(code::USAGE, format_args!("cannot read {}: {fault}", path.display())))?;
    let translated = translate(&text).map_err(|faults| {
        let faults: Vec<_> = faults.iter().map(|fault| format!("{}: {fault}", path.display())).collect();
        Exit::new(code::CONFIG, faults.join("\nerror: "))
    })?;
    say(translated.trim_end())
}

/// Translates the text of a now.sh rules file, or says everything that is wrong with it.
fn translate(text: &str) -> Result<String, Vec<String>> {
    let mut aliases = aliases::parse(text)?;
    hoist_exact(&mut aliases);
    let upstreams = name_upstreams(&aliases);
    let translated = write(&aliases, &upstreams);

    // The last word on what can be loaded has the loader.
    let loaded = config::read("gateway.toml", &translated, &Environment::default());
    if loaded.diagnostics.has_errors() {
        return Err(loaded.diagnostics.sorted().iter().map(|finding| finding.message.clone()).collect());
    }
    Ok(translated)
}

/// Moves a rule for exactly `/x` in front of an earlier `/x/**`: there `/x/**` did not match `/x`, here it does.
fn hoist_exact(aliases: &mut Vec<Alias>) {
    let mut index = 0;
    while index < aliases.len() {
        let exact = aliases[index].pattern.as_deref().filter(|pattern| !pattern.contains('*'));
        let below = exact.map(|exact| format!("{exact}/**"));
        let earlier = aliases[..index].iter().position(|alias| alias.pattern.is_some() && alias.pattern == below);
        if let Some(earlier) = earlier {
            let mut moved = aliases.remove(index);
            let known = &mut aliases[earlier];
            if known.took_bare || (known.dest == moved.dest && known.methods == moved.methods) {
                known
                    .notes
                    .push(format!("It also takes {:?}, which had a rule of its own further down.", moved.written));
                continue;
            }
            moved.notes.push("Stood further down; here the next rule would take this path, too.".to_owned());
            aliases.insert(earlier, moved);
        }
        index += 1;
    }
}

/// One readable name for every distinct `dest`, in the order in which they are first used.
fn name_upstreams(aliases: &[Alias]) -> Vec<(String, String)> {
    let mut named: Vec<(String, String)> = Vec::new();
    let mut taken = HashSet::new();
    for alias in aliases {
        if named.iter().any(|(_, dest)| *dest == alias.dest) {
            continue;
        }
        let name = candidates(&alias.dest).find(|name| taken.insert(name.clone())).unwrap_or_default();
        named.push((name, alias.dest.clone()));
    }
    named
}

/// Names for a URL, the shortest first, without an end: `my-api`, `my-api-now-sh`, `my-api-now-sh-2` …
fn candidates(dest: &str) -> impl Iterator<Item = String> {
    let authority = dest.split_once("://").map_or(dest, |(_, authority)| authority);
    let readable = |text: &str| {
        let dashed = text.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-").to_ascii_lowercase();
        dashed.trim_matches('-').to_owned()
    };
    let first = authority.split(['.', ':']).next().unwrap_or_default();
    // The first label of an address says nothing.
    let short = Some(readable(first)).filter(|name| name.contains(|letter: char| letter.is_ascii_alphabetic()));
    let whole = readable(authority);
    let numbered = whole.clone();
    short.into_iter().chain([whole]).chain((2..).map(move |number| format!("{numbered}-{number}")))
}

const HEAD: &str = r#"# Made by `onedoor import` from a now.sh rules file.
#
# The rules stand in the same order, and still the first that matches counts. What is different here:
# - "/x/**" also matches "/x" itself;
# - `*` and `**` are whole segments, and the query never takes part.
#
# Nothing is protected yet. To protect a rule, fill in the two sections below and change the rule's `session` to
# "required" (a session or no entry) or "optional" (who it is, if anybody is logged in).
#
# [store]
# url = "${REDIS_SESSION_URL}"      # the Redis in which the apps keep their sessions
#
# [session]
# format = "express"                # express-session with connect-redis
# secrets = ["${SESSION_SECRET}"]   # what the apps sign their cookie with
# user = "user.id"                  # where the user's id is in a session
# login = "/login"                  # where a browser without a session is sent; its own rule must not be "required"

[upstreams]
"#;

fn write(aliases: &[Alias], upstreams: &[(String, String)]) -> String {
    let mut text = HEAD.to_owned();
    for (name, dest) in upstreams {
        // As there, services see the name in `dest` as their Host; over https that is so by itself.
        let line = match dest.starts_with("https://") {
            true => format!("{name} = \"{dest}\"\n"),
            false => format!("{name} = {{ endpoints = \"{dest}\", host = \"upstream\" }}\n"),
        };
        text.push_str(&line);
    }
    for alias in aliases {
        let dest = upstreams.iter().find(|(_, dest)| *dest == alias.dest).map_or("", |(name, _)| name);
        text.push_str("\n[[rules]]\n");
        // Writing into a text cannot fail.
        let _ = alias.notes.iter().try_for_each(|note| writeln!(text, "# {note}"));
        if let Some(pattern) = &alias.pattern {
            let _ = writeln!(text, "path = \"{pattern}\"");
        }
        if !alias.methods.is_empty() {
            let _ = writeln!(text, "method = [\"{}\"]", alias.methods.join("\", \""));
        }
        let _ = writeln!(
            text,
            "dest = \"{dest}\"\nsession = \"off\" # \"required\" protects it, once there is a [session]"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::rules::Action;
    use proptest::prelude::*;

    /// The rules of the translation as `path > upstream's name`, after loading it.
    fn translated(text: &str) -> Vec<String> {
        let text = translate(text).expect("a rules file");
        let config = config::read("gateway.toml", &text, &Environment::default()).config.expect(&text);
        let line = |rule: &config::rules::Rule| {
            let Action::Forward(index) = rule.action else { panic!("not forwarded") };
            let path = rule.paths.first().map_or("everything", |path| &path.text);
            let methods: Vec<_> = rule.methods.iter().map(http::Method::as_str).collect();
            format!("{}{path} > {}", methods.join(","), config.upstreams[index].name)
        };
        config.rules.iter().map(line).collect()
    }

    #[test]
    fn the_rules_of_2017_are_translated_in_order() {
        let text = r#"{"rules": [
            {"pathname": "/api/**", "method": ["GET", "post"], "dest": "my-api.now.sh"},
            {"pathname": "/user/*/profile?x=1#y", "dest": "https://my-api.now.sh/"},
            {"pathname": "/b", "method": "PUT", "dest": "http://127.0.0.1:8080"},
            {"pathname": "/**", "method": [], "dest": "my-api.example.com"},
            {"dest": "my-website.now.sh"}
        ]}"#;
        assert_eq!(
            translated(text),
            [
                "GET,POST/api/** > my-api",
                "/user/*/profile > my-api",
                "PUT/b > 127-0-0-1-8080",
                "everything > my-api-example-com",
                "everything > my-website",
            ]
        );
        let text = translate(text).expect("a rules file");
        assert!(text.contains("my-api = \"https://my-api.now.sh\"\n"), "{text}");
        assert!(
            text.contains("127-0-0-1-8080 = { endpoints = \"http://127.0.0.1:8080\", host = \"upstream\" }\n"),
            "{text}"
        );
    }

    #[test]
    fn stars_inside_segments_become_whole_segments_and_say_so() {
        let text = r#"{"rules": [{"pathname": "/folder**", "dest": "a"}, {"pathname": "/img-*.png", "dest": "a"},
            {"pathname": "x y/**.js", "dest": "a"}, {"pathname": "/a//**/**", "dest": "a"}]}"#;
        assert_eq!(translated(text), ["/folder/** > a", "/* > a", "/x%20y/** > a", "/a/** > a"]);
        let text = translate(text).expect("a rules file");
        for note in ["\"/folder**\" there also matched names that merely begin so", "\"/img-*.png\" is wider here"] {
            assert!(text.contains(note), "{note} is missing in\n{text}");
        }
    }

    #[test]
    fn a_rule_for_the_bare_path_stays_in_force() {
        let text = r#"{"rules": [{"pathname": "/x/**", "dest": "a"}, {"pathname": "/y/**", "dest": "a"},
            {"pathname": "/x", "dest": "b"}, {"pathname": "/y", "dest": "a"}, {"pathname": "/z", "dest": "a"}]}"#;
        assert_eq!(translated(text), ["/x > b", "/x/** > a", "/y/** > a", "/z > a"]);
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let faults = |text| translate(text).expect_err(text).join("\n");
        for (text, expected) in [
            ("{", "not JSON"),
            ("[]", "{\"rules\": [...]}"),
            ("{\"rules\": []}", "empty"),
            ("{\"rules\": 1, \"x\": 2}", "unknown key `x`"),
            ("{\"rules\": [7]}", "rule 1 is not an object"),
            ("{\"rules\": [{}]}", "rule 1 has no `dest`"),
            (
                "{\"rules\": [{\"path\": \"/\", \"dest\": \"a\"}]}",
                "rule 1: unknown key `path`, did you mean `pathname`?",
            ),
            ("{\"rules\": [{\"methods\": \"GET\", \"dest\": \"a\"}]}", "did you mean `method`?"),
            (
                "{\"rules\": [{\"dest\": \"a\"}, {\"pathname\": \"/a\", \"dest\": \"b/c\"}]}",
                "rule 2: `dest` must not have a path",
            ),
            ("{\"rules\": [{\"dest\": \"a b\"}]}", "rule 1: `dest` is not"),
            ("{\"rules\": [{\"dest\": \"\\\"]\\nx\"}]}", "rule 1: `dest` is not"),
            ("{\"rules\": [{\"dest\": \"ftp://a\"}]}", "rule 1: `dest` is not"),
            ("{\"rules\": [{\"dest\": 5}]}", "rule 1: `dest` is not a text"),
            ("{\"rules\": [{\"dest\": \"a\", \"pathname\": 5}]}", "rule 1: `pathname` is not a text"),
            ("{\"rules\": [{\"dest\": \"a\", \"pathname\": \"/%zz\"}]}", "rule 1: `pathname`"),
            ("{\"rules\": [{\"dest\": \"a\", \"pathname\": \"/../x\"}]}", "dot segments"),
            ("{\"rules\": [{\"dest\": \"a\", \"method\": [5]}]}", "rule 1: `method` is not"),
            ("{\"rules\": [{\"dest\": \"a\", \"method\": \"A B\"}]}", "rule 1: `A B` is not a method"),
        ] {
            assert!(faults(text).contains(expected), "{text}: {}", faults(text));
        }
        let both = faults("{\"rules\": [{\"x\": 1}, {\"dest\": 1}]}");
        assert!(both.contains("rule 1") && both.contains("rule 2"), "{both}");
    }

    #[test]
    fn exit_codes_say_who_is_to_blame() {
        let file = std::env::temp_dir().join(format!("onedoor-import-{}.json", std::process::id()));
        let missing = run(Path::new("/nowhere/aliases.json")).expect_err("it is not there");
        assert!(missing.code == 64 && missing.text.contains("/nowhere/aliases.json"), "{}", missing.text);
        fs::write(&file, "{}").expect("a file");
        let broken = run(&file).expect_err("it has no rules");
        assert!(broken.code == 78 && broken.text.starts_with("error: "), "{}", broken.text);
        fs::remove_file(&file).expect("to tidy up");
    }

    proptest! {
        #[test]
        fn every_translation_loads(paths in proptest::collection::vec("[/a*%.?#é{4-]{0,10}", 1..6), dest in "[a-z.:/0-9]{1,12}") {
            let rules: Vec<_> = paths.iter().map(|path| serde_json::json!({ "pathname": path, "dest": dest })).collect();
            if let Ok(text) = translate(&serde_json::json!({ "rules": rules }).to_string()) {
                prop_assert!(!config::read("gateway.toml", &text, &Environment::default()).diagnostics.has_errors());
            }
        }
    }
}
