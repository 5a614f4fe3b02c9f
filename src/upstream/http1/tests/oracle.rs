//! Answers are never read more leniently than hyper reads them.

use super::*;
use http_body_util::BodyExt;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use proptest::{prelude::*, sample::select};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
