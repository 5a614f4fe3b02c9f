//! How the body of an answer ends (RFC 9112 section 6.3), and the body itself, taken out of what was read.
//!
//! Whatever two clients may read differently is refused.

use super::{FIELDS_MAX, Unsound};
use crate::http::message;
use bytes::{Buf, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING},
};
use memchr::{memchr, memchr_iter, memmem};

/// The most of chunk extensions in one body, of one line that says a chunk's size, and of trailers.
const EXTENSIONS_MAX: usize = 16 * 1024;
const SIZE_LINE_MAX: usize = 16 * 1024;
const TRAILERS_MAX: usize = 16 * 1024;

/// The largest length: beyond it some clients read a negative one.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// What follows the last byte of most bodies in chunks.
const LAST: &[u8] = b"\r\n0\r\n\r\n";

/// The body of an answer, as far as it is still to come.
#[derive(Debug, PartialEq)]
pub enum Framed {
    /// Nothing more belongs to it.
    Over,
    /// So many bytes, at least one.
    Length(u64),
    /// Chunks until the last.
    Chunked(Chunks),
    /// Whatever comes until the other side closes.
    Close,
}

/// Where in a body of chunks the next byte stands.
#[derive(Debug, Default, PartialEq)]
pub struct Chunks {
    next: Next,
    /// How many bytes of extensions there were so far.
    extensions: usize,
}

#[derive(Debug, Default, PartialEq)]
enum Next {
    /// The line that says how long the next chunk is.
    #[default]
    Size,
    /// So many bytes of a chunk, at least one.
    Data(u64),
    /// The line end behind a chunk.
    LineEnd,
    /// Fields, and the empty line behind them.
    Trailers,
}

/// What stood at the beginning of what was read.
#[derive(Debug)]
pub enum Piece {
    /// Some of the body, never empty.
    Data(Bytes),
    /// The fields behind the body, which is over with them.
    Trailers(HeaderMap),
    /// The end of the body.
    End,
    /// Nothing that is whole yet.
    Unfinished,
}

/// What a head says of how its body ends: noted when it is read, as most have one plain length and nothing else.
#[derive(Default)]
pub(super) struct Said {
    codings: usize,
    lengths: usize,
    /// A length that is written as all will read it.
    plain: Option<u64>,
}

impl Said {
    /// Notes a field.
    pub(super) fn hear(&mut self, name: &HeaderName, value: &HeaderValue) {
        if *name == CONTENT_LENGTH {
            self.lengths += 1;
            self.plain = Some(value.as_bytes()).filter(|digits| message::is_canonical_number(digits)).and_then(number);
        } else if *name == TRANSFER_ENCODING {
            self.codings += 1;
        }
    }

    /// Whether it says so twice. It may be an attempt to pass one answer off as two (RFC 9112 section 6.3).
    pub(super) fn is_ambiguous(&self) -> bool {
        self.codings > 0 && self.lengths > 0
    }
}

impl Framed {
    /// The body of an answer of this status whose head has these fields; leaves in them what all will read alike.
    pub(super) fn of(
        status: StatusCode,
        version: Version,
        is_to_head: bool,
        headers: &mut HeaderMap,
        said: Said,
    ) -> Result<Self, Unsound> {
        let is_chunked = said.codings > 0 && is_chunked(version, headers)?;
        let length = match said {
            Said { lengths: 0, .. } => None,
            Said { lengths: 1, plain: Some(length), .. } if status != StatusCode::NO_CONTENT => Some(length),
            Said { .. } => settle_length(status, headers)?,
        };
        if is_chunked {
            headers.remove(CONTENT_LENGTH);
        }
        let has_none = is_to_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(match length {
            _ if has_none => Self::Over,
            _ if is_chunked => Self::Chunked(Chunks::default()),
            Some(0) => Self::Over,
            Some(length) => Self::Length(length),
            None => Self::Close,
        })
    }

    /// Whether what came with the head can be the beginning of this body: afterwards the client knows only that it broke
    /// off.
    pub(super) fn foresee(&self, read: &[u8]) -> Result<(), Unsound> {
        match self {
            Self::Chunked(_) => memchr(b'\n', read).map_or(Ok(()), |end| size_line(&read[..end]).map(drop)),
            Self::Over | Self::Length(_) | Self::Close => Ok(()),
        }
    }

    /// Takes what stands at the beginning of `read` off it.
    ///
    /// # Errors
    /// When that is no body.
    pub fn take(&mut self, read: &mut BytesMut) -> Result<Piece, Unsound> {
        let piece = match self {
            Self::Over => Piece::End,
            _ if read.is_empty() => Piece::Unfinished,
            Self::Close => Piece::Data(read.split().freeze()),
            Self::Length(left) => {
                let data = split(read, left);
                if *left == 0 {
                    *self = Self::Over;
                }
                Piece::Data(data)
            }
            Self::Chunked(chunks) => {
                let (piece, is_over) = chunks.take(read)?;
                if is_over {
                    *self = Self::Over;
                }
                piece
            }
        };
        Ok(piece)
    }

    /// The other side has closed; answers whether the body is whole.
    pub fn close(&mut self) -> bool {
        if *self == Self::Close {
            *self = Self::Over;
        }
        *self == Self::Over
    }
}

impl Chunks {
    /// A piece, and whether the body is over with it.
    fn take(&mut self, read: &mut BytesMut) -> Result<(Piece, bool), Unsound> {
        loop {
            match &mut self.next {
                Next::Size => {
                    let Some(end) = memchr(b'\n', read) else {
                        let is_long = read.len() > SIZE_LINE_MAX;
                        return if is_long { Err(SIZE) } else { Ok((Piece::Unfinished, false)) };
                    };
                    let (size, extensions) = size_line(&read[..end])?;
                    self.extensions += extensions;
                    if self.extensions > EXTENSIONS_MAX {
                        return Err(Unsound("its chunks have more extensions than 16 KiB"));
                    }
                    read.advance(end + 1);
                    self.next = if size == 0 { Next::Trailers } else { Next::Data(size) };
                }
                Next::Data(_) if read.is_empty() => return Ok((Piece::Unfinished, false)),
                Next::Data(left) => {
                    let data = split(read, left);
                    if *left > 0 {
                        return Ok((Piece::Data(data), false));
                    }
                    let is_over = read.starts_with(LAST);
                    if is_over {
                        read.advance(LAST.len());
                    }
                    self.next = Next::LineEnd;
                    return Ok((Piece::Data(data), is_over));
                }
                Next::LineEnd => match &read[..] {
                    [b'\r', b'\n', ..] => {
                        read.advance(2);
                        self.next = Next::Size;
                    }
                    [] | [b'\r'] => return Ok((Piece::Unfinished, false)),
                    _ => return Err(Unsound("a chunk is longer than it says")),
                },
                Next::Trailers => {
                    if read.starts_with(b"\r\n") {
                        read.advance(2);
                        return Ok((Piece::End, true));
                    }
                    let end = memmem::find(read, b"\r\n\r\n").map(|end| end + 4);
                    if end.unwrap_or(read.len()) >= TRAILERS_MAX {
                        return Err(Unsound("its trailers are not shorter than 16 KiB"));
                    }
                    let Some(end) = end else { return Ok((Piece::Unfinished, false)) };
                    return Ok((Piece::Trailers(trailers(&read.split_to(end))?), true));
                }
            }
        }
    }
}

const SIZE: Unsound = Unsound("a chunk does not say how long it is");

/// As much as there is of the next `left` bytes.
fn split(read: &mut BytesMut, left: &mut u64) -> Bytes {
    let here = usize::try_from(*left).map_or(read.len(), |left| left.min(read.len()));
    *left -= here as u64;
    read.split_to(here).freeze()
}

/// The size in a chunk's first line, of which the last byte is left out, and how much of it is extensions.
fn size_line(line: &[u8]) -> Result<(u64, usize), Unsound> {
    let line = line.strip_suffix(b"\r").filter(|line| line.len() <= SIZE_LINE_MAX).ok_or(SIZE)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, behind) = line.split_at(digits);
    let space = behind.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let extensions = &behind[space..];
    let is_clean = |byte: &u8| !byte.is_ascii_control() || *byte == b'\t';
    if digits.is_empty() || !(extensions.is_empty() || extensions[0] == b';') || !extensions.iter().all(is_clean) {
        return Err(SIZE);
    }
    let size = digits.iter().try_fold(0_u64, |size, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        size.checked_mul(16)?.checked_add(digit.into())
    });
    Ok((size.ok_or(SIZE)?, extensions.len()))
}

/// Fields behind a body, with the empty line at their end.
fn trailers(lines: &[u8]) -> Result<HeaderMap, Unsound> {
    let unsound = || Unsound("its trailers are no fields");
    if memchr_iter(b'\n', lines).any(|at| at == 0 || lines[at - 1] != b'\r') {
        return Err(unsound());
    }
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let parsed = httparse::parse_headers(lines, &mut fields).map_err(|_| unsound())?;
    let httparse::Status::Complete((length, fields)) = parsed else { return Err(unsound()) };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| unsound())?;
        trailers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| unsound())?);
    }
    if length == lines.len() { Ok(trailers) } else { Err(unsound()) }
}

/// Whether the body, which is coded, comes in chunks; no other coding is taken.
fn is_chunked(version: Version, headers: &HeaderMap) -> Result<bool, Unsound> {
    if version != Version::HTTP_11 {
        return Err(Unsound("HTTP/1.0 has no Transfer-Encoding"));
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = codings.next().is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
    let is_chunked = is_chunked && codings.next().is_none();
    if is_chunked { Ok(true) } else { Err(Unsound("its Transfer-Encoding is another than chunked")) }
}

/// The length that an answer says it has. From now on it says so once, in plain digits, and not where there can be none.
pub(in crate::upstream) fn settle_length(status: StatusCode, headers: &mut HeaderMap) -> Result<Option<u64>, Unsound> {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else { return Ok(None) };
    let is_plain = message::is_canonical_number(first.as_bytes()) && lines.next().is_none();
    let lines = headers.get_all(CONTENT_LENGTH).iter();
    let mut lengths = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(number);
    let length = lengths.next().flatten();
    let length = length.filter(|length| lengths.all(|other| other == Some(*length)));
    let length = length.ok_or(Unsound("its Content-Length may be read in two ways"))?;
    if status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    } else if !is_plain {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    Ok(Some(length))
}

fn number(text: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(text.trim_ascii()).ok()?;
    let digits = Some(digits).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
    digits.parse().ok().filter(|length| *length <= LENGTH_MAX)
}
