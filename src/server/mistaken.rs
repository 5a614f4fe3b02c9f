//! The answer to a client that begins with HTTP/2 where HTTP/1.1 is served.

use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a person reads who looks at the frames.
const WHY: &[u8] = b"HTTP/1.1 is served here: HTTP/2 by ALPN over TLS, or where h2c is on";

/// How long, and how much, the client may still say: what it sends to a closed socket would take the answer from it.
const LINGER: Duration = Duration::from_secs(1);
const BYTES_MAX: u64 = 256 * 1024;

/// Tells it in its own protocol (RFC 9113 sections 6.8 and 7) that HTTP/1.1 is required and nothing has come of its
/// requests.
pub(super) async fn send_away(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let telling = async {
        stream.write_all(&answer()).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(BYTES_MAX), &mut tokio::io::sink()).await
    };
    // Who does not listen has had its answer.
    let _ = tokio::time::timeout(LINGER, telling).await;
}

fn answer() -> Vec<u8> {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 9] = [0, 0, 8 + WHY.len() as u8, 7, 0, 0, 0, 0, 0];
    const HTTP_1_1_REQUIRED: u8 = 0xD;
    let last_stream_and_code = [0, 0, 0, 0, 0, 0, 0, HTTP_1_1_REQUIRED];
    [&SETTINGS[..], &GOAWAY, &last_stream_and_code, WHY].concat()
}
