//! Bytes as an upstream may send them, and what becomes of them.

mod answers;
mod oracle;
mod wire;

use super::*;
use http::HeaderMap;

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
    let (mut read, mut search) = (BytesMut::new(), Search::default());
    let answer = loop {
        if let Some(answer) = search.take(&mut read, is_to_head)? {
            break answer;
        }
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
