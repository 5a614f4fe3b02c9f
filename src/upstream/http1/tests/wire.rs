//! A connection serves one request after the other or none.

use super::*;
use http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

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

#[tokio::test]
async fn a_request_whose_answer_is_over_is_sent_for_a_while_and_one_that_nobody_waits_for_is_not() {
    for (is_over, longer) in [(true, Duration::from_millis(50)), (false, Duration::from_secs(3600))] {
        let ((ours, mut theirs), (over, told)) = (UnixStream::pair().expect("a pair"), oneshot::channel());
        let sending = async move {
            let _open = ours;
            std::future::pending().await
        };
        if is_over {
            over.send(()).expect("it is waited for");
        } else {
            drop(over);
        }
        linger(sending, told, longer).await;
        assert_eq!(theirs.read(&mut [0]).await.expect("it was closed"), 0);
    }
}

#[tokio::test]
async fn a_request_that_is_sent_lingers_no_longer() {
    let (over, told) = oneshot::channel();
    linger(std::future::ready(()), told, LINGER).await;
    assert!(over.is_closed());
}
