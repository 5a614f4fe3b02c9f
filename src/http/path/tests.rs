//! Tables and properties of the path policy.

use super::*;
use proptest::prelude::*;

fn of(target: &str) -> Result<NormalPath, PathFault> {
    let uri = Uri::try_from(target).map_err(|_| PathFault("refused by the HTTP library"))?;
    NormalPath::of(&uri)
}

#[test]
fn what_servers_read_differently_is_refused() {
    let refused = [
        "/.",
        "/..",
        "/a/.",
        "/a/..",
        "/a/../b",
        "/./a",
        "/%2e",
        "/%2E%2e/a",
        "/a/.%2e/b",
        "/a/%2e./b",
        "/..;x",
        "/a/..;/b",
        "/a/.;v=1",
        "/a/..;x/b",
        "/%2e%2e;x/b",
        "/..%3Bx",
        "/..%3bx/y",
        "/a/..%3Fx",
        "/a/..%23x",
        "/a%2f..%2fb",
        "/a%2F%2e%2e",
        "/%2f..",
        "/a/..%2Fb",
        "/;x/a",
        "/a/;x/b",
        "/%3Bx/a",
        "/a/%3Bx",
        "/;/;x",
        "/a%2F;x",
        "/a\\b",
        "/\\evil.test",
        "/..\\a",
        "/a%5cb",
        "/a%5Cb",
        "/%5c..",
        "/a%00",
        "/a%00.html",
        "/%0d%0a",
        "/%1f",
        "/%7f",
        "/%7F",
        "/%09",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a%2g",
        "/%u002e",
        "/%c0%ae",
        "/%C0%AF",
        "/%ff",
        "/%e2%82",
        "/%ed%a0%80",
        "/%f8%88%80%80%80",
        "/%252e",
        "/%252E%252e/a",
        "/a%252fb",
        "/a%252Fb",
        "/a%255cb",
        "/a%255Cb",
        "/a%2500",
        "/%25%32e",
        "/%25%32%65/",
        "/%252%46",
        "/%255%63",
        "/\u{e9}",
        "/a\u{202e}b",
        "/a b",
        "*",
        "evil.test:80",
        "ftp://a/b",
        "http://u@a/b",
        "http://u:p@a/b",
        "http:a",
        "",
        "//a/../b",
        "/a/%2e%2e/%2e%2e/etc",
    ];
    for target in refused {
        assert!(of(target).is_err(), "{target:?} was accepted as {:?}", of(target));
    }
}

#[test]
fn benign_look_alikes_pass_unchanged() {
    let accepted = [
        "/",
        "/a",
        "/a/",
        "/a.b/..c/...",
        "/...",
        "/..a",
        "/a..",
        "/a../b",
        "/.well-known/x",
        "/.a/.b",
        "/%E2%82%AC",
        "/a;v=1/b",
        "/a;..",
        "/;jsessionid=1",
        "/a/;",
        "/a%20b",
        "/~u",
        "/a+b",
        "/a,b",
        "/a:b@c",
        "/a=b&c",
        "/a!$'()*",
        "/[a]",
        "/a%3Fb",
        "/a%23",
        "/100%25",
        "/%25",
        "/%2525",
        "/a%252",
        "/%25zz",
        "/a%2Fb",
        "/a?",
        "/a?b=%2e%2e/..//%zz\\",
        "/?x=/../",
        "/a?b?c",
        "/a%C3%A9b",
        "/index.html",
        "/a%3Bb",
        "/%3F",
    ];
    for target in accepted {
        let path = of(target).unwrap_or_else(|fault| panic!("{target:?}: {fault:?}"));
        assert_eq!(path.target().as_str(), target);
    }
}

#[test]
fn what_every_server_reads_alike_gets_one_form() {
    let forms = [
        ("/%41bc", "/Abc"),
        ("/%7eu", "/~u"),
        ("/a%2db", "/a-b"),
        ("/%e2%82%ac", "/%E2%82%AC"),
        ("//a", "/a"),
        ("/a//b///c", "/a/b/c"),
        ("/a//", "/a/"),
        ("//", "/"),
        ("//evil.test/p", "/evil.test/p"),
        ("/a%2fb", "/a%2Fb"),
        ("/a|b^c{d}\"", "/a%7Cb%5Ec%7Bd%7D%22"),
        ("/.%61", "/.a"),
        ("http://a.test", "/"),
        ("http://a.test/b", "/b"),
        ("HTTPS://a.test:8443/%62?%62", "/b?%62"),
        ("http://a.test?q", "/?q"),
        ("//?a//b", "/?a//b"),
        ("/%2541", "/%2541"),
        ("/a/%2e%2ea", "/a/..a"),
    ];
    for (target, normal) in forms {
        assert_eq!(of(target).map(|path| path.target().to_string()), Ok(normal.to_owned()), "{target:?}");
    }
}

#[test]
fn an_encoded_slash_is_noted_in_either_case() {
    assert!(of("/a%2fb").is_ok_and(|path| path.holds_encoded_slash()));
    assert!(of("/a%2Fb").is_ok_and(|path| path.holds_encoded_slash()));
    assert!(of("/a?b%2fc").is_ok_and(|path| !path.holds_encoded_slash()));
}

#[test]
fn a_rewritten_path_must_be_normal_already() {
    assert!(NormalPath::rewritten("/a/b?x".to_owned()).is_ok());
    assert!(NormalPath::rewritten("//a//b?x".to_owned()).is_ok_and(|path| path.as_str() == "//a//b"));
    for text in ["/%41", "/a/../b", "a", "", "?x", "/a b"] {
        assert!(NormalPath::rewritten(text.to_owned()).is_err(), "{text:?}");
    }
}

#[test]
fn empty_segments_are_remembered_as_they_came() {
    let unmerged = |target| of(target).expect("the path is accepted").unmerged().map(|path| path.target().to_string());
    for (target, form) in [("//a///%62/?c//", "//a///b/?c//"), ("/a//", "/a//"), ("//", "//"), ("//%2f", "//%2F")] {
        assert_eq!(unmerged(target), Some(form.to_owned()), "{target}");
    }
    assert_eq!((unmerged("/a/b?//"), unmerged("/%62/")), (None, None));
    assert!(of("/a//%2f").is_ok_and(|path| path.unmerged().is_some_and(NormalPath::holds_encoded_slash)));
}

#[test]
fn a_last_segment_of_parameters_is_read_as_none() {
    let bare =
        |target: &str| of(target).expect("the path is accepted").bare_reading().map(|path| path.target().to_string());
    assert_eq!(bare("/;x?y"), Some("/".to_owned()));
    assert_eq!(bare("/a;b//;x"), Some("/a;b/".to_owned()));
    assert_eq!(bare("/a;x"), None);
}

#[test]
fn a_server_that_decodes_first_ends_a_path_at_the_first_mark_of_its_kind() {
    let read = |target: &str| -> Vec<_> {
        let path = of(target).expect("the path is accepted");
        path.cut_readings().map(|path| path.target().to_string()).collect()
    };
    assert_eq!(read("/a%3Fb%3Fc"), ["/a"]);
    assert_eq!(read("/a%23b%3Fc%23"), ["/a%23b", "/a"]);
    assert_eq!(read("/a%3B?b%3F"), [""; 0]);
    assert_eq!(read(&"/a%3F%23".repeat(1000)).len(), 2, "what a long path costs grows with its length, no faster");
}

#[test]
fn cut_segments_are_those_with_parameters() {
    let path = of("/a;v=1/b/c%3Bd/e%3F/f").expect("the path is accepted");
    assert_eq!(path.cut_segments().collect::<Vec<_>>(), ["a", "c", "e"]);
}

/// Targets made of what attacks are made of.
fn targets() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("/"),
        Just("//"),
        Just("."),
        Just(".."),
        Just("%2e"),
        Just("%2E"),
        Just("%2f"),
        Just("%2F"),
        Just("%5c"),
        Just("\\"),
        Just(";"),
        Just("%3b"),
        Just(";x"),
        Just("%25"),
        Just("%"),
        Just("2"),
        Just("5"),
        Just("e"),
        Just("F"),
        Just("%00"),
        Just("%41"),
        Just("%c3%a9"),
        Just("%C3"),
        Just("admin"),
        Just("A"),
        Just("?"),
        Just("%3f"),
        Just("%23"),
        Just("%20"),
        Just("|"),
        Just("+"),
        Just("~"),
        Just("%7e"),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
}

fn decoded(path: &str) -> String {
    percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned()
}

fn without_parameters(path: &str) -> String {
    let segments: Vec<_> = path.split('/').map(|segment| segment.split(';').next().unwrap_or("")).collect();
    segments.join("/")
}

/// What servers with other habits make of a path.
fn readings(path: &str) -> Vec<String> {
    let backslashes = |path: &str| path.replace('\\', "/");
    let cut = |path: &str| path.split(['\0', '?', '#']).next().unwrap_or("").to_owned();
    let mut readings = vec![path.to_owned(), decoded(path)];
    for reading in [backslashes, without_parameters, cut] {
        let more: Vec<_> = readings.iter().map(|path| reading(path)).collect();
        readings.extend(more);
    }
    readings
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn normalising_twice_changes_nothing(target in targets()) {
        if let Ok(path) = of(&target) {
            let again = of(path.target().as_str());
            prop_assert_eq!(again.as_ref().map(NormalPath::target), Ok(path.target()));
            prop_assert_eq!(again.map(|path| path.unmerged), Ok(None));
            if let Some(unmerged) = path.unmerged() {
                let again = of(unmerged.target().as_str());
                prop_assert_eq!(again.as_ref().map(NormalPath::target), Ok(path.target()));
                prop_assert_eq!(again.map(|path| path.unmerged), Ok(path.unmerged));
            }
        }
    }

    #[test]
    fn what_is_forwarded_is_what_is_matched(target in targets()) {
        if let Ok(path) = of(&target) {
            let forwarded = path.target().as_str();
            prop_assert_eq!(forwarded.split('?').next(), Some(path.as_str()));
            prop_assert_eq!(forwarded.split_once('?').map(|(_, query)| query), path.query());
            prop_assert_eq!(target.split_once('?').map(|(_, query)| query), path.query());
        }
    }

    #[test]
    fn no_reading_of_an_accepted_path_moves_to_another_place(target in targets()) {
        if let Ok(path) = of(&target) {
            for reading in readings(path.as_str()) {
                prop_assert!(!reading.split('/').any(|segment| segment == "." || segment == ".."), "{:?}", reading);
                let merged = |path: &str| path.split('/').filter(|segment| !segment.is_empty()).count();
                if !path.holds_encoded_slash() {
                    prop_assert!(merged(&reading) <= merged(path.as_str()));
                    prop_assert!(!reading.contains("//"), "{:?}", reading);
                }
            }
        }
    }

    #[test]
    fn any_text_is_judged_without_a_panic(target in "\\PC*") {
        let _ = of(&target);
    }
}
