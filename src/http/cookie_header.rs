//! The Cookie header as bytes: pairs in order, over all its lines.

use http::{HeaderMap, HeaderValue, header::COOKIE};
use memchr::{memchr, memchr_iter};
use percent_encoding::percent_decode;
use std::iter;

/// One `name=value` of a Cookie header, without the spaces and tabs around either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair<'a> {
    /// Its place, counted over all pieces of all lines.
    pub position: usize,
    /// Before the first `=`; never decoded. One that begins with `=` belongs to a cookie without a name, whose value
    /// looks like a pair.
    pub name: &'a [u8],
    /// After it; quotes and encoding stay.
    pub value: &'a [u8],
    /// How the two are written.
    pub writing: Writing,
}

impl Pair<'_> {
    /// Whether there was nothing between two semicolons.
    fn is_nothing(&self) -> bool {
        self.name.is_empty() && self.writing == Writing::Bare
    }
}

/// How a pair is written, which servers do not all read alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// As browsers do: spaces before the name alone.
    Plain,
    /// With white space elsewhere, which some take for a part of the name or the value.
    Spaced,
    /// A name without `=`, which some take for a cookie without a value, some for one without a name.
    Bare,
}

/// The pairs of all Cookie lines, in order. Only `;` separates (RFC 6265 section 5.4).
pub fn pairs(headers: &HeaderMap) -> impl Iterator<Item = Pair<'_>> {
    pieces(headers).enumerate().map(|(position, piece)| pair(position, piece)).filter(|pair| !pair.is_nothing())
}

/// Drops the pairs that `keep` does not want and joins what is left into one line, each piece as it came.
///
/// Without a piece left the header is removed.
pub fn rewrite(headers: &mut HeaderMap, mut keep: impl FnMut(&Pair<'_>) -> bool) {
    let mut line = Vec::new();
    for (position, piece) in pieces(headers).enumerate() {
        let pair = pair(position, piece);
        if pair.is_nothing() || !keep(&pair) {
            continue;
        }
        if !line.is_empty() {
            line.extend_from_slice(b"; ");
        }
        line.extend_from_slice(trimmed(piece));
    }
    headers.remove(COOKIE);
    if !line.is_empty() {
        let value = HeaderValue::from_maybe_shared(bytes::Bytes::from(line));
        headers.insert(COOKIE, value.expect("pieces of valid values are a valid value"));
    }
}

/// Whether some app takes a cookie of this name for the one that it knows: because it trims white space beyond ASCII
/// (JavaScript's `trim` in cookie before 0.7, Python's `strip` in Django and Starlette, in whatever encoding they have
/// decoded it from), steps over an empty name (Werkzeug before 2.2.3), decodes names (PHP before 7.4.11, Rack before
/// 2.2.3, the crate cookie), or spells them as PHP does, to which a dot, a space and a bracket are an underscore, and
/// what stands behind a bracket is no name.
pub fn is_taken_for(name: &[u8], known: &[u8]) -> bool {
    let mut name = name;
    while let [b' ' | b'\t' | 0x80.. | b'=', rest @ ..] | [rest @ .., b' ' | b'\t' | 0x80..] = name {
        name = rest;
    }
    if name == known || name.len() < known.len() {
        return name == known;
    }
    let mut decoded = percent_decode(name);
    let alike = known.iter().all(|known| match decoded.next() {
        Some(byte) => byte == *known || *known == b'_' && matches!(byte, b'.' | b' ' | b'['),
        None => false,
    });
    alike && matches!(decoded.next(), None | Some(b'['))
}

/// Whether there is more than one Cookie line, which upstreams join differently.
pub fn is_split(headers: &HeaderMap) -> bool {
    headers.keys_len() < headers.len() && headers.get_all(COOKIE).iter().nth(1).is_some()
}

/// Whether a quoted value holds a semicolon, which does not end it for Werkzeug: what follows it is no cookie to it.
pub fn quotes_a_semicolon(headers: &HeaderMap) -> bool {
    headers.get_all(COOKIE).into_iter().any(|line| {
        let (line, mut end) = (line.as_bytes(), 0);
        line.split(|byte| *byte == b';').any(|piece| {
            let start = end;
            end += piece.len() + 1;
            let equals = piece.iter().position(|byte| *byte == b'=');
            equals.is_some_and(|at| is_quoted_beyond(line[start + at + 1..].trim_ascii_start()))
        })
    })
}

/// Whether a quoted value begins here that holds a semicolon and ends at one, or at the end of the line.
fn is_quoted_beyond(text: &[u8]) -> bool {
    let Some(text) = text.strip_prefix(b"\"") else { return false };
    let mut escaped = false;
    let length = text.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    });
    length.is_some_and(|length| {
        let ends = matches!(text[length + 1..].trim_ascii_start(), [] | [b';', ..]);
        ends && text[..length].contains(&b';')
    })
}

/// Whether a Cookie line holds what is no ASCII.
pub fn is_beyond_ascii(headers: &HeaderMap) -> bool {
    headers.get_all(COOKIE).into_iter().any(|line| !line.as_bytes().is_ascii())
}

fn pieces(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(COOKIE).into_iter().flat_map(|line| pieces_of(line.as_bytes()))
}

fn pieces_of(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    iter::from_fn(move || {
        let line = rest?;
        let end = memchr(b';', line);
        rest = end.map(|end| &line[end + 1..]);
        Some(&line[..end.unwrap_or(line.len())])
    })
}

fn pair(position: usize, piece: &[u8]) -> Pair<'_> {
    let written = piece.len() - piece.iter().take_while(|byte| **byte == b' ').count();
    let piece = trimmed(piece);
    let is_named = |at: &usize| piece[..*at].iter().any(|byte| *byte != b'=');
    let mut ends = memchr_iter(b'=', piece);
    let Some(equals) = ends.clone().find(is_named).or_else(|| ends.next()) else {
        return Pair { position, name: piece, value: b"", writing: Writing::Bare };
    };
    let (name, value) = (trimmed(&piece[..equals]), trimmed(&piece[equals + 1..]));
    let writing = if name.len() + 1 + value.len() == written { Writing::Plain } else { Writing::Spaced };
    Pair { position, name, value, writing }
}

/// Without spaces and tabs at either end; other white space belongs to the name.
fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).expect("the test's value is valid"));
        }
        headers
    }

    fn listed(lines: &[&[u8]]) -> Vec<(usize, Vec<u8>, Vec<u8>)> {
        pairs(&headers(lines)).map(|pair| (pair.position, pair.name.to_vec(), pair.value.to_vec())).collect()
    }

    fn kept(lines: &[&[u8]], keep: impl FnMut(&Pair<'_>) -> bool) -> Option<Vec<u8>> {
        let mut headers = headers(lines);
        rewrite(&mut headers, keep);
        assert!(!is_split(&headers));
        headers.get(COOKIE).map(|value| value.as_bytes().to_vec())
    }

    #[test]
    fn a_quote_may_reach_over_a_semicolon() {
        for line in [&b"a=\"b; c=d\""[..], b"x; a= \"b;\"; c", b"a=\"\\\"; b\" ; c"] {
            assert!(quotes_a_semicolon(&headers(&[b"z=1", line])), "{line:?}");
        }
        for line in [
            &b"a=\"b\"; c=\"d\""[..],
            b"a=\"b; c=d",
            b"a=b\"; c=d\"",
            b"a=\"b\\\"; c=d",
            b"a=\"b; c=\"d",
            b"a=b \"c;\"",
            b"",
        ] {
            assert!(!quotes_a_semicolon(&headers(&[line])), "{line:?}");
        }
        assert_eq!([&b"a=b"[..], b"a=\xe9"].map(|line| is_beyond_ascii(&headers(&[line]))), [false, true]);
    }

    #[test]
    fn pairs_are_counted_over_all_lines_and_pieces() {
        let found = listed(&[b"a=1; alone;b =\t\"x=y\"", b"c=3;;=nameless; d="]);
        let pair = |position: usize, name: &[u8], value: &[u8]| (position, name.to_vec(), value.to_vec());
        let wanted = [
            pair(0, b"a", b"1"),
            pair(1, b"alone", b""),
            pair(2, b"b", b"\"x=y\""),
            pair(3, b"c", b"3"),
            pair(5, b"", b"nameless"),
            pair(6, b"d", b""),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn how_a_pair_is_written_is_told() {
        let line = b"a=1;  b=;c; d =2; e= 3;\tf=4; g=5 ; =h; i=6";
        let writing: Vec<_> = pairs(&headers(&[line])).map(|pair| pair.writing).collect();
        use Writing::{Bare, Plain, Spaced};
        assert_eq!(writing, [Plain, Plain, Bare, Spaced, Spaced, Spaced, Spaced, Plain, Plain]);
    }

    #[test]
    fn a_value_without_a_name_may_look_like_a_pair() {
        let names: Vec<_> =
            listed(&[b"=sid=x; == sid =y=z; =alone; ==="]).into_iter().map(|(_, name, _)| name).collect();
        assert_eq!(names, [&b"=sid"[..], b"== sid", b"", b""]);
        assert!(names[..2].iter().all(|name| is_taken_for(name, b"sid")));
    }

    #[test]
    fn a_comma_and_bytes_beyond_ascii_are_ordinary() {
        assert_eq!(
            listed(&[b"a=1, b=2; \xa0sid=\xff"]),
            [(0, b"a".to_vec(), b"1, b=2".to_vec()), (1, b"\xa0sid".to_vec(), b"\xff".to_vec()),]
        );
    }

    #[test]
    fn dropped_pairs_leave_the_others_byte_for_byte() {
        let lines: &[&[u8]] = &[b"a=\"1\" ; sid=x;alone", b"b = 2;; sid=y"];
        assert_eq!(kept(lines, |pair| pair.name != b"sid").as_deref(), Some(&b"a=\"1\"; alone; b = 2"[..]));
        assert_eq!(kept(lines, |pair| pair.position == 5).as_deref(), Some(&b"sid=y"[..]));
        assert_eq!(kept(&[b"sid=x; sid=y"], |_| false), None);
        assert_eq!(kept(&[], |_| true), None);
    }

    #[test]
    fn a_name_is_known_in_every_spelling_of_the_apps() {
        let spellings: [&[u8]; 10] = [
            b"app_sid",
            b"\xa0app_sid\xa0",
            b"\xe3\x80\x80app_sid\x85",
            b"app.sid",
            b"app sid",
            b"app[sid",
            b"app%5Fsid",
            b"%61pp%2esid",
            b"app_sid[0]",
            b"app.sid[",
        ];
        for name in spellings {
            assert!(is_taken_for(name, b"app_sid"), "{name:?}");
        }
        for name in
            [&b""[..], b"app", b"app_si", b"App_sid", b"app-sid", b"app_sid2", b"xapp_sid", b"app_sid.", b"app%_sid"]
        {
            assert!(!is_taken_for(name, b"app_sid"), "{name:?}");
        }
        assert!(is_taken_for(b"connect.sid", b"connect.sid") && !is_taken_for(b"connect_sid", b"connect.sid"));
    }

    proptest! {
        #[test]
        fn rewriting_keeps_exactly_the_wanted_pairs(lines in proptest::collection::vec("[ab=; \t]{0,12}", 0..4)) {
            let bytes: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            let wanted: Vec<_> = listed(&bytes).into_iter().filter(|(_, name, _)| name != b"a").collect();
            let left = kept(&bytes, |pair| pair.name != b"a");
            let left = left.iter().map(Vec::as_slice).collect::<Vec<_>>();
            let without_position = |pairs: Vec<(usize, Vec<u8>, Vec<u8>)>| {
                pairs.into_iter().map(|(_, name, value)| (name, value)).collect::<Vec<_>>()
            };
            prop_assert_eq!(without_position(listed(&left)), without_position(wanted));
        }
    }
}
