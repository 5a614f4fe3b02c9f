//! Answers are read the same however they come in pieces, and what two clients may read differently is refused.

use super::*;

/// A body, what is left behind it, and whether the connection is kept.
type Sound = (&'static str, &'static str, &'static str, bool);

#[test]
fn sound_answers_are_read_to_their_end_and_no_further() {
    let table: &[Sound] = &[
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP", "ok", "HTTP", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nx", "", "x", true),
        ("\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", "", true),
        ("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", "ok", "", true),
        ("HTTP/1.1 200 OK\r\n\r\nall of it", "all of it", "", false),
        ("HTTP/1.1 200 OK\r\n\r\n", "", "", false),
        ("HTTP/1.1 200 OK\r\nConnection: a, Close\r\nContent-Length: 2\r\n\r\nok", "ok", "", false),
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
            "ok",
            "",
            false,
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", "", false),
        ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok", "ok", "", true),
        ("HTTP/1.1 100 A\r\nContent-Length: 9\r\n\r\nHTTP/1.1 103 B\r\n\r\nHTTP/1.1 204 C\r\n\r\nx", "", "x", true),
        ("HTTP/1.1 204 OK\r\nContent-Length: 2\r\n\r\nok", "", "ok", true),
        ("HTTP/1.1 304 OK\r\nTransfer-Encoding: chunked\r\n\r\n0", "", "0", true),
        ("HTTP/1.1 101 OK\r\nContent-Length: 7, 8\r\n\r\nframes", "", "frames", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nx", "ok", "x", true),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\no\r\n001 \t;k=\"\u{e9}\"\r\nk\r\n00\r\n\r\n",
            "ok",
            "",
            true,
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0;x\r\n\r\n", "0123456789", "", true),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "ok",
            "",
            false,
        ),
    ];
    for (bytes, body, left, keeps) in table {
        let Outcome::Whole { body: seen, left: behind, keeps: kept, .. } = read_every_way(bytes.as_bytes(), false)
        else {
            panic!("{bytes:?}");
        };
        assert_eq!((&*seen, &*behind, kept), (body.as_bytes(), left.as_bytes(), *keeps), "{bytes:?}");
    }
    let to_head = read_every_way(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true);
    assert!(matches!(to_head, Outcome::Whole { body, keeps: true, .. } if body.is_empty()));
}

#[test]
fn lengths_are_settled_or_refused() {
    let length_of = |fields: &str| {
        let mut read = BytesMut::from(&*format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        let answer = Search::default().take(&mut read, true)?.expect("it is whole");
        let mut lines = answer.head.headers().get_all("content-length").iter();
        let length = lines.next().map(|line| line.to_str().expect("digits").to_owned());
        assert!(lines.next().is_none());
        Ok(length)
    };
    for (fields, length) in [
        ("Content-Length: 2\r\n", Some("2")),
        ("Content-Length: 02\r\n", Some("2")),
        ("Content-Length: 2, 2\r\n", Some("2")),
        ("Content-Length: 2\r\nContent-Length: 2\r\n", Some("2")),
        ("Content-Length: 02\r\nA: b\r\nContent-Length: 2,\t2\r\n", Some("2")),
        ("Content-Length: 9223372036854775807\r\n", Some("9223372036854775807")),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", None),
        ("", None),
    ] {
        assert_eq!(length_of(fields), Ok(length.map(str::to_owned)), "{fields:?}");
    }
    for value in
        ["", ",", "2,", "+2", "-2", "2 2", "0x2", "2, 3", "2\r\nContent-Length: 3", "9223372036854775808", "1e3"]
    {
        let refused: Result<_, Unsound> = length_of(&format!("Content-Length: {value}\r\n"));
        assert!(refused.is_err(), "{value:?}");
    }
}

#[test]
fn what_may_be_read_in_two_ways_is_refused() {
    let heads = [
        "ICY 200 OK\r\n\r\n",
        "HTTP/1.1 99 Low\r\n\r\n",
        "HTTP/1.1 2000 High\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        "HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: x\"chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\n",
        "HTTP/1.1 204 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    ];
    let bodies = [
        "\r\n",
        "zz\r\n",
        "-2\r\nok\r\n",
        "0x2\r\nok\r\n",
        " 2\r\nok\r\n",
        "2\nok\r\n",
        "2\rok\r\n",
        "2 2\r\nok\r\n",
        "2;a\nb\r\nok\r\n",
        "2;a\rb\r\nok\r\n",
        "2;\0\r\nok\r\n",
        "2\r\nok0\r\n\r\n",
        "2\r\nok\n0\r\n\r\n",
        "2\r\nok\r0\r\n\r\n",
        "2\r\nok\r\r\n0\r\n\r\n",
        "10000000000000000\r\nok\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\nA: b\r\n c\r\n\r\n",
        "0\r\nA: b\nB: c\r\n\r\n",
        "0\r\nA\r\n\r\n",
        "0\r\n\n\r\n\r\n",
    ];
    let bodies = bodies.map(|body| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
    for bytes in heads.map(str::to_owned).iter().chain(&bodies) {
        assert!(matches!(read_every_way(bytes.as_bytes(), false), Outcome::Unsound(_)), "{bytes:?}");
    }
}

#[test]
fn what_breaks_off_is_never_whole() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nA: b\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    ] {
        for cut in 0..bytes.len() {
            assert_eq!(read([&bytes.as_bytes()[..cut]].into_iter(), false), Outcome::Cut, "{:?}", &bytes[..cut]);
        }
    }
}

#[test]
fn nothing_is_gathered_without_a_limit() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let fields = |count: usize| "A: b\r\n".repeat(count);
    let long = "x".repeat(200_000);
    for (bytes, is_sound) in [
        (format!("{}HTTP/1.1 204 OK\r\n\r\n", "HTTP/1.1 103 A\r\n\r\n".repeat(7281)), true),
        (format!("{}HTTP/1.1 204 OK\r\n\r\n", "HTTP/1.1 103 A\r\n\r\n".repeat(7282)), false),
        (format!("HTTP/1.1 200 OK\r\n{}\r\n", fields(100)), true),
        (format!("HTTP/1.1 200 OK\r\n{}\r\n", fields(101)), false),
        (format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", &long[..130_000]), true),
        (format!("HTTP/1.1 200 OK\r\nA: {long}\r\n\r\n"), false),
        (format!("HTTP/1.1 200 OK\r\nA: {long}"), false),
        (format!("{chunked}2;{}\r\nok\r\n0\r\n\r\n", &long[..16_000]), true),
        (format!("{chunked}2;{}\r\nok\r\n0\r\n\r\n", &long[..17_000]), false),
        (format!("{chunked}2;{long}"), false),
        (format!("{chunked}{}0\r\n\r\n", "1;x\r\nx\r\n".repeat(8192)), true),
        (format!("{chunked}{}0\r\n\r\n", "1;x\r\nx\r\n".repeat(8193)), false),
        (format!("{chunked}{}2\r\nok\r\n0\r\n\r\n", "0".repeat(17_000)), false),
        (format!("{chunked}0\r\n{}\r\n", fields(100)), true),
        (format!("{chunked}0\r\n{}\r\n", fields(101)), false),
        (format!("{chunked}0\r\nA: {}\r\n\r\n", &long[..16_000]), true),
        (format!("{chunked}0\r\nA: {}\r\n\r\n", &long[..17_000]), false),
        (format!("{chunked}0\r\nA: {long}"), false),
    ] {
        let outcomes = [bytes.len(), 1000].map(|piece| read(bytes.as_bytes().chunks(piece), false));
        for outcome in outcomes {
            assert_eq!(matches!(outcome, Outcome::Whole { .. }), is_sound, "{}", &bytes[..80.min(bytes.len())]);
            assert_eq!(matches!(outcome, Outcome::Unsound(_)), !is_sound, "{}", &bytes[..80.min(bytes.len())]);
        }
    }
}
