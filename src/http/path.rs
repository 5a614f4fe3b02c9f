//! The one form of a path: what is matched is what is forwarded.

use bytes::Bytes;
use http::{
    Uri,
    uri::{PathAndQuery, Scheme},
};

/// A path in its one normal form, with the raw query behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NormalPath {
    target: PathAndQuery,
    encoded_slash: bool,
    /// The same with the empty segments that it came with.
    unmerged: Option<Box<Self>>,
}

/// Why a path cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathFault(pub &'static str);

/// What a raw byte of a path means to [`NormalPath`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Stays as it is wherever it stands.
    Plain,
    /// `/`, `.` or `;`: stays, but may begin something else than plain text.
    Mark,
    /// `%`
    Percent,
    /// Sent raw by some clients; percent-encoded here.
    Encoded,
    /// Read differently by different servers.
    Refused,
}

const CLASSES: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut table = [Class::Refused; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte] = match byte as u8 {
            b'/' | b'.' | b';' => Class::Mark,
            b'%' => Class::Percent,
            b'|' | b'^' | b'{' | b'}' | b'"' | b'<' | b'>' | b'`' => Class::Encoded,
            b'\\' | b'?' | b'#' => Class::Refused,
            _ => Class::Plain,
        };
        byte += 1;
    }
    table
}

impl NormalPath {
    /// Normalises the path of `uri`, or says why it cannot be done safely.
    ///
    /// Takes origin-form and, with `http` or `https` and without user information, absolute-form (RFC 9112 section
    /// 3.2). What every server reads alike (RFC 3986 section 6.2.2) is brought into one form: unreserved octets are
    /// decoded, hex digits upper-cased, empty segments merged. What servers read differently is refused.
    pub fn of(uri: &Uri) -> Result<Self, PathFault> {
        match (uri.scheme(), uri.authority()) {
            (None, None) => {}
            (Some(scheme), Some(authority)) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS => {
                if authority.as_str().contains('@') {
                    return Err(PathFault("the target holds user information"));
                }
            }
            (Some(_), _) => return Err(PathFault("the target's scheme is neither http nor https")),
            (None, Some(_)) => return Err(PathFault("the target is an authority, not a path")),
        }
        match uri.path_and_query() {
            Some(target) => Self::normalise(target),
            None => Err(PathFault("the target has no path")),
        }
    }

    /// Takes a path and query that a rewrite has put together: it must be in normal form already, but for empty
    /// segments, which only those rewrite that keep them.
    pub fn rewritten(text: String) -> Result<Self, PathFault> {
        let target = parse(text)?;
        let mut normal = Self::normalise(&target)?;
        let normal = normal.unmerged.take().map_or(normal, |unmerged| *unmerged);
        if normal.target != target {
            return Err(PathFault("the rewritten path is not in normal form"));
        }
        Ok(normal)
    }

    /// The path, without the query. Begins with `/`.
    pub fn as_str(&self) -> &str {
        self.target.path()
    }

    /// The raw query, never decoded.
    pub fn query(&self) -> Option<&str> {
        self.target.query()
    }

    /// The path and the raw query: what is forwarded.
    pub fn target(&self) -> &PathAndQuery {
        &self.target
    }

    /// Whether it holds `%2F`, which only some rules let through.
    pub fn holds_encoded_slash(&self) -> bool {
        self.encoded_slash
    }

    /// The same path with the empty segments that it came with, if it came with some: only some rules forward these.
    pub fn unmerged(&self) -> Option<&Self> {
        self.unmerged.as_deref()
    }

    /// Whether it holds neither escapes nor parameters: then there is only one way to read it.
    pub fn is_plain(&self) -> bool {
        !self.as_str().bytes().any(|byte| matches!(byte, b'%' | b';'))
    }

    /// The segments of which an upstream may see only the beginning: what stands before a `;`, `?` or `#`, written
    /// or encoded.
    pub fn cut_segments(&self) -> impl Iterator<Item = &str> {
        segments(self.as_str()).filter_map(|segment| cut(segment).map(|at| &segment[..at]))
    }

    /// The path without a last segment that is nothing but parameters, as a server sees it which cuts them off.
    pub fn bare_reading(&self) -> Option<Self> {
        let (before, _) = self.as_str().rsplit_once("/;")?;
        Self::rewritten(format!("{before}/")).ok()
    }

    /// The paths that a server sees which decodes first and then ends the path at the first `?` or `#`.
    pub fn cut_readings(&self) -> impl Iterator<Item = Self> {
        let path = self.as_str();
        let cuts = ["%3F", "%23"].into_iter().filter_map(|end| path.find(end));
        cuts.filter_map(|at| Self::rewritten(path[..at].to_owned()).ok())
    }

    fn normalise(target: &PathAndQuery) -> Result<Self, PathFault> {
        if is_plainly_normal(target.as_str(), target.path()) {
            return Ok(Self { target: target.clone(), encoded_slash: false, unmerged: None });
        }
        if !target.path().starts_with('/') {
            return Err(PathFault("the path does not begin with a slash"));
        }

        let path = rewrite(target.path())?;
        refuse_ambiguous(&path)?;
        if !path.contains("//") {
            return Self::spelled(path, target);
        }
        let merged = Self::spelled(merge(&path), target)?;
        Ok(Self { unmerged: Some(Box::new(Self::spelled(path, target)?)), ..merged })
    }

    /// A path in normal form, with the query of `target`.
    fn spelled(path: String, target: &PathAndQuery) -> Result<Self, PathFault> {
        let encoded_slash = path.contains("%2F");
        if path == target.path() && target.as_str().starts_with('/') {
            return Ok(Self { target: target.clone(), encoded_slash, unmerged: None });
        }
        let text = match target.query() {
            Some(query) => path + "?" + query,
            None => path,
        };
        Ok(Self { target: parse(text)?, encoded_slash, unmerged: None })
    }
}

/// Without empty segments; a slash at the end stays.
fn merge(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for octet in path.chars() {
        if octet != '/' || !merged.ends_with('/') {
            merged.push(octet);
        }
    }
    merged
}

fn parse(text: String) -> Result<PathAndQuery, PathFault> {
    PathAndQuery::from_maybe_shared(Bytes::from(text)).map_err(|_| PathFault("the path is too long or malformed"))
}

/// One scan, no copy: most paths pass here. A dot or `;` at the beginning of a segment is left to the thorough look.
fn is_plainly_normal(target: &str, path: &str) -> bool {
    if !target.starts_with('/') {
        return false;
    }
    let mut at_start = false;
    path.bytes().all(|byte| {
        let was_at_start = std::mem::replace(&mut at_start, byte == b'/');
        match CLASSES[usize::from(byte)] {
            Class::Plain => true,
            Class::Mark => byte != b';' && !was_at_start,
            Class::Percent | Class::Encoded | Class::Refused => false,
        }
    })
}

/// Brings a path into normal form, octet by octet; empty segments stay.
fn rewrite(path: &str) -> Result<String, PathFault> {
    let mut normal = String::with_capacity(path.len() + 8);
    let mut octets = path.bytes();
    while let Some(byte) = octets.next() {
        match CLASSES[usize::from(byte)] {
            Class::Plain | Class::Mark => normal.push(char::from(byte)),
            Class::Encoded => push_encoded(&mut normal, byte),
            Class::Percent => {
                let (high, low) = (octets.next().and_then(hex), octets.next().and_then(hex));
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(PathFault("a percent sign is not followed by two hex digits"));
                };
                push_decoded(&mut normal, high << 4 | low)?;
            }
            Class::Refused => return Err(PathFault("the path holds a byte that must be percent-encoded")),
        }
    }
    Ok(normal)
}

fn push_decoded(normal: &mut String, octet: u8) -> Result<(), PathFault> {
    match octet {
        0x00..=0x1f | 0x7f => Err(PathFault("the path holds an encoded control character")),
        b'\\' => Err(PathFault("the path holds an encoded backslash")),
        b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => {
            normal.push(char::from(octet));
            Ok(())
        }
        _ => {
            push_encoded(normal, octet);
            Ok(())
        }
    }
}

fn push_encoded(normal: &mut String, octet: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    normal.push('%');
    normal.push(char::from(DIGITS[usize::from(octet >> 4)]));
    normal.push(char::from(DIGITS[usize::from(octet & 15)]));
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Refuses what stays ambiguous in normal form; looking at this form leaves no other spelling to think of.
fn refuse_ambiguous(path: &str) -> Result<(), PathFault> {
    if percent_encoding::percent_decode_str(path).decode_utf8().is_err() {
        return Err(PathFault("the path is not UTF-8"));
    }
    if path.match_indices("%25").any(|(at, _)| is_hidden_octet(&path.as_bytes()[at + 3..])) {
        return Err(PathFault("the path is encoded twice"));
    }
    for segment in segments(path) {
        let seen = &segment[..cut(segment).unwrap_or(segment.len())];
        if seen == "." || seen == ".." {
            return Err(PathFault("the path holds a dot segment"));
        }
    }
    // Without them it would be an empty segment, and so another path to whoever merges these; not at the end.
    let (_, last) = path.rsplit_once('/').unwrap_or_default();
    let bare = segments(path).filter(|segment| segment.starts_with(';') || segment.starts_with("%3B")).count();
    if bare > usize::from(last.starts_with(';') && !last.contains("%2F")) {
        return Err(PathFault("a segment of the path is nothing but parameters"));
    }
    Ok(())
}

/// The segments as a server sees them that decodes `%2F` first.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').flat_map(|segment| segment.split("%2F"))
}

/// Whether what follows `%25` makes it an encoded dot, slash, backslash or NUL for a server that decodes twice.
fn is_hidden_octet(following: &[u8]) -> bool {
    let Some(digits) = following.first_chunk::<2>() else { return false };
    [b"2E", b"2F", b"5C", b"00"].iter().any(|hidden| digits.eq_ignore_ascii_case(*hidden))
}

/// Where a server that cuts off parameters, a query or a fragment would end the segment.
fn cut(segment: &str) -> Option<usize> {
    let encoded = |at: usize| matches!(segment.as_bytes().get(at + 1..at + 3), Some(b"3B" | b"3F" | b"23"));
    segment.bytes().enumerate().position(|(at, byte)| byte == b';' || byte == b'%' && encoded(at))
}

#[cfg(test)]
mod tests;
