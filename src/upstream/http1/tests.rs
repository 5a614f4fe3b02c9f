//! Answers are read the same however they come in pieces, never more leniently than hyper reads them, and a connection
//! serves one request after the other or none.

use super::*;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use proptest::{prelude::*, sample::select};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// What becomes of bytes that are sent as an answer, with the end of the connection behind them.
#[derive(Debug, PartialEq)]
enum Outcome {
    Whole { status: u16, body: Vec<u8>, trailers: HeaderMap, left: Vec<u8>, keeps: bool },
    Cut,
    Unsound(&'static str),
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>, is_to_head: bool) -> Outcome {
    try_read(pieces, is_to_head).unwrap_or_else(|Unsound(why)| Outcome::Unsound(why))
}

fn try_read<'a>(mut pieces: impl Iterator<Item = &'a [u8]>, is_to_head: bool) -> Result<Outcome, Unsound> {
    let (mut read, mut searched) = (BytesMut::new(), 0);
    let answer = loop {
        if head::may_be_whole(&read, searched)
            && let Some(answer) = Answer::read(&mut read, is_to_head)?
        {
            break answer;
        }
        searched = read.len();
        let Some(piece) = pieces.next() else { return Ok(Outcome::Cut) };
        read.extend_from_slice(piece);
    };
    let (mut framed, mut body, mut trailers) = (answer.body, Vec::new(), HeaderMap::new());
    loop {
        match framed.take(&mut read)? {
            Piece::Data(data) => {
                assert!(!data.is_empty());
                body.extend_from_slice(&data);
            }
            Piece::Trailers(fields) => trailers = fields,
            Piece::End => break,
            Piece::Unfinished => match pieces.next() {
                Some(piece) => read.extend_from_slice(piece),
                None if framed.close() => break,
                None => return Ok(Outcome::Cut),
            },
        }
    }
    pieces.for_each(|piece| read.extend_from_slice(piece));
    let (status, left) = (answer.head.status().as_u16(), read.to_vec());
    Ok(Outcome::Whole { status, body, trailers, left, keeps: answer.keeps })
}

/// Reads it at once, byte by byte, and cut in two anywhere.
fn read_every_way(bytes: &[u8], is_to_head: bool) -> Outcome {
    let whole = read([bytes].into_iter(), is_to_head);
    assert_eq!(read(bytes.chunks(1), is_to_head), whole, "byte by byte: {}", bytes.escape_ascii());
    for cut in 0..bytes.len().min(2000) {
        let (before, after) = bytes.split_at(cut);
        assert_eq!(read([before, after].into_iter(), is_to_head), whole, "cut at {cut}: {}", bytes.escape_ascii());
    }
    whole
}

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
        let answer = Answer::read(&mut read, true)?.expect("it is whole");
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

/// What hyper makes of it; `None` = it refuses it, or finds it cut off.
async fn as_hyper_reads(bytes: Vec<u8>, is_to_head: bool) -> Option<(u16, Vec<u8>, HeaderMap)> {
    let (ours, mut theirs) = tokio::io::duplex(1 << 16);
    tasks::background(async move {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") && theirs.read_buf(&mut asked).await.is_ok_and(|read| read > 0) {}
        let _ = theirs.write_all(&bytes).await;
    });
    let mut builder = http1::Builder::new();
    builder.max_buf_size(128 * 1024);
    let (mut sender, driver) = builder.handshake(TokioIo::new(ours)).await.expect("a connection");
    tasks::background(async move { drop(driver.await) });
    let request = Request::builder().method(if is_to_head { Method::HEAD } else { Method::GET });
    let answer = sender.send_request(request.body(RequestBody::none()).expect("a request")).await.ok()?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.ok()?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    Some((status, body.to_bytes().to_vec(), trailers))
}

/// What we refuse though hyper does not.
const STRICTER: [&str; 6] = [
    "its Transfer-Encoding is another than chunked",
    "its Content-Length may be read in two ways",
    "HTTP/1.0 has no Transfer-Encoding",
    "a chunk does not say how long it is",
    "its trailers are no fields",
    "its chunks have more extensions than 16 KiB",
];

fn lines() -> impl Strategy<Value = Vec<u8>> {
    let telling: &[&str] = &[
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.1 304\r\n",
        "HTTP/1.1 100 Continue\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n",
        "Content-Length: 2\r\n",
        "Content-Length: 02\r\n",
        "Content-Length: 3\r\n",
        "content-length: 2, 2\r\n",
        "Content-Length: 2 ,3\r\n",
        "Content-Length: +2\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "transfer-encoding: Chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Connection: close\r\n",
        "A: b\r\n",
        "A : b\r\n",
        " folded\r\n",
        "A: b\n",
        "\n",
        "\r",
        "\r\n",
        "\r\n\r\n",
        "ok",
        "2\r\n",
        "2\r\nok\r\n",
        "2;a=b\r\nok\r\n",
        "2 \r\nok\r\n",
        "002\r\nok\r\n",
        "ffffffffffffffff\r\n",
        "10000000000000000\r\n",
        "0\r\n",
        "0\r\n\r\n",
        "0;x\r\nT: u\r\n\r\n",
        "0\r\nT: u\r\nT: v\r\n\r\n",
        "\0",
        "x",
    ];
    let telling = select(telling).prop_map(|line| line.as_bytes().to_vec());
    prop_oneof![20 => telling, 1 => proptest::collection::vec(any::<u8>(), 1..4)]
}

/// Lines in any order, mostly those of an answer.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let any_lines = |count| proptest::collection::vec(lines(), count).prop_map(|lines| lines.concat());
    let framing = select(&["Content-Length: 2\r\n", "Transfer-Encoding: chunked\r\n", "", "Connection: close\r\n"][..]);
    let chunks = select(&["2\r\nok\r\n0\r\n\r\n", "2;a\r\nok\r\n1\r\n!\r\n0\r\nT: u\r\n\r\n", "ok", "2\r\no"][..]);
    let likely = (
        select(&["HTTP/1.1 200 OK\r\n", "HTTP/1.0 200 OK\r\n"][..]),
        framing,
        any_lines(0..3),
        chunks,
        any_lines(0..4),
    );
    let likely = likely.prop_map(|(status, framing, fields, body, rest)| {
        [status.as_bytes(), framing.as_bytes(), &fields, b"\r\n", body.as_bytes(), &rest].concat()
    });
    prop_oneof![3 => likely, 1 => any_lines(1..12)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn hyper_reads_the_same_in_whatever_is_taken_for_sound(bytes in answers(), is_to_head: bool, piece in 1_usize..20) {
        let ours = read([&*bytes].into_iter(), is_to_head);
        // A head that comes in pieces is looked at again only when its end may be there.
        let is_whole = |outcome: &Outcome| matches!(outcome, Outcome::Whole { .. });
        let in_pieces = read(bytes.chunks(piece), is_to_head);
        prop_assert!(in_pieces == ours || !is_whole(&in_pieces) && !is_whole(&ours), "{:?}", in_pieces);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let theirs = runtime.block_on(as_hyper_reads(bytes, is_to_head));
        match ours {
            Outcome::Whole { status, body, trailers, .. } => prop_assert_eq!(theirs, Some((status, body, trailers))),
            Outcome::Unsound(why) => prop_assert!(theirs.is_none() || STRICTER.contains(&why), "{} {:?}", why, theirs),
            Outcome::Cut => prop_assert_eq!(theirs, None),
        }
    }
}

/// Both ends of a connection.
fn wire() -> (Box<Wire>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    (Box::new(Wire::new(Socket::Unix(ours))), theirs)
}

const ASKED: &[u8; 30] = b"GET /a?b HTTP/1.1\r\nhost: x\r\n\r\n";

fn request() -> Request<RequestBody> {
    Request::get("/a?b").header("host", "x").body(RequestBody::none()).expect("a request")
}

/// Asks, answers with these bytes, and reads the body.
async fn ask(mut wire: Box<Wire>, theirs: &mut UnixStream, answer: &[u8]) -> (Box<Wire>, Vec<u8>) {
    let serving = async {
        let mut asked = [0; ASKED.len()];
        theirs.read_exact(&mut asked).await.expect("a request");
        assert_eq!(&asked, ASKED);
        theirs.write_all(answer).await.expect("it is taken");
    };
    let asking = async {
        let answered = wire.exchange(&mut request()).await.expect("an answer");
        assert_eq!(answered.status(), StatusCode::OK);
        let mut body = Vec::new();
        while !wire.is_over() {
            let Some(frame) = poll_fn(|cx| wire.poll_frame(cx)).await else { break };
            body.extend_from_slice(&frame.expect("it is sound").into_data().expect("no trailers"));
        }
        body
    };
    let (body, ()) = tokio::join!(asking, serving);
    (wire, body)
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other_and_holds_nothing_meanwhile() {
    let (mut wire, mut theirs) = wire();
    for body in [&b"one"[..], &[7; 300_000], b""] {
        let answer = [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
        assert!(wire.is_open());
        let (used, read) = ask(wire, &mut theirs, &answer).await;
        assert!(read == body);
        wire = used.finish().expect("it is kept");
        assert_eq!((wire.read.capacity(), wire.is_open(), wire.is_silent()), (0, true, true));
    }
    drop(theirs);
    assert!(!wire.is_silent());
    tokio::task::yield_now().await;
    assert!(!wire.is_open());
}

#[tokio::test]
async fn a_byte_more_than_the_answer_ends_the_connection() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!",
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let (wire, mut theirs) = wire();
        let (used, body) = ask(wire, &mut theirs, answer.as_bytes()).await;
        assert_eq!(body, b"ok");
        assert!(used.finish().is_none(), "{answer:?}");
    }
    let (wire, mut theirs) = wire();
    let (used, _) = ask(wire, &mut theirs, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let mut kept = used.finish().expect("nothing speaks against it");
    theirs.write_all(b"!").await.expect("it is taken");
    while kept.is_open() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_request_that_finds_nobody_was_not_sent() {
    let (mut wire, theirs) = wire();
    drop(theirs);
    let lost = wire.exchange(&mut request()).await.expect_err("nobody is there");
    assert!(lost.unsent && matches!(lost.failure, Failure::Unreachable(_)), "{lost:?}");
}

#[tokio::test]
async fn a_request_whose_connection_closes_unanswered_is_left_as_it_was() {
    for answer in [&b""[..], b"HTTP/1.1 200 OK\r\nA:", b"HTTP/1.1 100 Continue\r\n\r\n"] {
        let (mut wire, mut theirs) = wire();
        let serving = async {
            theirs.read_exact(&mut [0; ASKED.len()]).await.expect("a request");
            theirs.write_all(answer).await.expect("it is taken");
            drop(theirs);
        };
        let mut asked = request();
        let (lost, ()) = tokio::join!(wire.exchange(&mut asked), serving);
        let lost = lost.expect_err("there is no answer");
        assert!(!lost.unsent && matches!(lost.failure, Failure::Unreachable(_)), "{lost:?}");
        assert_eq!((asked.uri(), asked.headers()), (request().uri(), request().headers()));
    }
}
