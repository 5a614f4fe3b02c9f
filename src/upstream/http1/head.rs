//! Heads: a request's is written, an answer's is read.

use super::{FIELDS_MAX, Framed, Unsound, framing::Said};
use crate::http::body::RequestBody;
use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version,
    header::{CONNECTION, TRANSFER_ENCODING},
};
use http_body::Body;
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;
use memchr::memmem;
use std::{mem::MaybeUninit, ops::Range};

/// The longest head that is read, and the most of those that only say that there will be one.
const BYTES_MAX: usize = 128 * 1024;

/// How much most heads of requests have room in.
const WRITTEN_BYTES: usize = 1024;

/// About as many fields as may be added to an answer. The server's connection keeps the map for the next request, to
/// which as many are added: with room for all, neither is made anew.
const ADDED: usize = 12;

/// The head of an answer, and what it says of what follows.
#[derive(Debug)]
pub struct Answer {
    /// Its fields say how its body is framed in one way only.
    pub head: Response<()>,
    /// Its body, all still to come.
    pub body: Framed,
    /// Whether the other side will take another request once the body is over.
    pub keeps: bool,
}

/// The head of an answer that is looked for in what was read.
#[derive(Debug, Default)]
pub struct Search {
    /// So much of it was looked through.
    searched: usize,
    /// So much was taken off before it.
    passed: usize,
}

/// How the body of a request is framed.
#[derive(Debug)]
pub(super) enum Sends {
    /// So many bytes are still to come.
    Length(u64),
    Chunks,
}

/// Writes the head of a request, and says how its body is to follow.
pub(super) fn write(request: &Request<RequestBody>) -> (Vec<u8>, Sends) {
    let mut text = Vec::with_capacity(WRITTEN_BYTES);
    text.extend_from_slice(request.method().as_str().as_bytes());
    text.push(b' ');
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    text.extend_from_slice(target.as_bytes());
    text.extend_from_slice(b" HTTP/1.1\r\n");
    write_fields(request.headers(), &mut text);
    let sends = match request.body().size_hint().exact() {
        _ if request.body().progress().is_none() => Sends::Length(0),
        _ if request.headers().contains_key(TRANSFER_ENCODING) => Sends::Chunks,
        Some(length) => {
            text.extend_from_slice(b"content-length: ");
            text.extend_from_slice(length.to_string().as_bytes());
            text.extend_from_slice(b"\r\n");
            Sends::Length(length)
        }
        // Nothing says how it ends: not a byte of it is sent.
        None => Sends::Length(0),
    };
    text.extend_from_slice(b"\r\n");
    (text, sends)
}

/// Writes fields, each as a line.
pub(super) fn write_fields(fields: &HeaderMap, text: &mut Vec<u8>) {
    for (name, value) in fields {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
}

impl Search {
    /// Takes the head of an answer off `read`, and those before it that only say that there will be one; `None` until
    /// it is whole.
    ///
    /// # Errors
    /// When that is no head of an answer, or one that two clients may read differently.
    pub fn take(&mut self, read: &mut BytesMut, is_to_head: bool) -> Result<Option<Answer>, Unsound> {
        while self.may_find(read) {
            let Some(parsed) = Parsed::of(read)? else {
                let is_long = read.len() >= BYTES_MAX;
                self.searched = read.len();
                return if is_long { Err(Unsound("its head is longer than 128 KiB")) } else { Ok(None) };
            };
            let text = read.split_to(parsed.length).freeze();
            self.searched = 0;
            if parsed.status.is_informational() && parsed.status != StatusCode::SWITCHING_PROTOCOLS {
                self.passed += parsed.length;
                if self.passed > BYTES_MAX {
                    return Err(Unsound("more than 128 KiB come before it"));
                }
                continue;
            }
            let answer = parsed.into_answer(&text, is_to_head)?;
            answer.body.foresee(read)?;
            return Ok(Some(answer));
        }
        self.searched = read.len();
        Ok(None)
    }

    /// Whether the end of a head may stand in `read`. So that one that comes in many pieces is not read from its
    /// beginning for each.
    fn may_find(&self, read: &[u8]) -> bool {
        let new = &read[self.searched.saturating_sub(3)..];
        self.searched == 0 && !read.is_empty()
            || read.len() >= BYTES_MAX
            || memmem::find(new, b"\n\r\n").is_some()
            || memmem::find(new, b"\n\n").is_some()
    }
}

/// A head that is whole, before it is taken out of what was read.
struct Parsed {
    length: usize,
    version: Version,
    status: StatusCode,
    reason: Option<ReasonPhrase>,
    /// Where the names and values are.
    fields: Vec<[Range<usize>; 2]>,
}

impl Parsed {
    fn of(read: &[u8]) -> Result<Option<Self>, Unsound> {
        let mut room = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut answer = httparse::Response::new(&mut []);
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut answer, read, &mut room);
        let length = match parsed {
            Ok(Status::Complete(length)) if length <= BYTES_MAX => length,
            Ok(Status::Complete(_)) => return Err(Unsound("its head is longer than 128 KiB")),
            Ok(Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Unsound("its head has more than 100 fields")),
            Err(_) => return Err(Unsound("it is no answer of HTTP/1.1")),
        };
        let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(Unsound("it has no status"))?;
        let reason = answer.reason.filter(|reason| Some(*reason) != status.canonical_reason());
        let place = |part: &[u8]| {
            let start = part.as_ptr().addr() - read.as_ptr().addr();
            start..start + part.len()
        };
        Ok(Some(Self {
            length,
            version: if answer.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 },
            status,
            reason: reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok()),
            fields: answer.headers.iter().map(|field| [place(field.name.as_bytes()), place(field.value)]).collect(),
        }))
    }

    fn into_answer(self, text: &Bytes, is_to_head: bool) -> Result<Answer, Unsound> {
        let Self { version, status, reason, fields, .. } = self;
        let mut head = Response::new(());
        (*head.status_mut(), *head.version_mut()) = (status, version);
        if let Some(reason) = reason {
            head.extensions_mut().insert(reason);
        }
        let headers = head.headers_mut();
        headers.reserve(fields.len() + ADDED);
        let (mut keeps, mut said) = (Keeps::new(version), Said::default());
        for [name, value] in fields {
            let unsound = |_| Unsound("a field of its head has no sound name");
            let name = HeaderName::from_bytes(&text[name]).map_err(unsound)?;
            let value = HeaderValue::from_maybe_shared(text.slice(value));
            let value = value.map_err(|_| Unsound("a field of its head has no sound value"))?;
            if name == CONNECTION {
                keeps.hear(&value);
            }
            said.hear(&name, &value);
            headers.append(name, value);
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Answer { head, body: Framed::Over, keeps: false });
        }
        let is_clear = !said.is_ambiguous();
        let body = Framed::of(status, version, is_to_head, headers, said)?;
        let keeps = keeps.holds() && is_clear && body != Framed::Close;
        Ok(Answer { head, body, keeps })
    }
}

/// Whether the other side keeps its connection, as the `Connection` fields of its answer say.
struct Keeps {
    asks: bool,
    closes: bool,
}

impl Keeps {
    fn new(version: Version) -> Self {
        Self { asks: version == Version::HTTP_11, closes: false }
    }

    fn hear(&mut self, connection: &HeaderValue) {
        for option in connection.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.closes |= option.eq_ignore_ascii_case(b"close");
            self.asks |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn holds(&self) -> bool {
        self.asks && !self.closes
    }
}
