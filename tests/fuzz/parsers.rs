//! Parsers of what clients, balancers, upstreams and users write, and what each promises whatever it is given.

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue, Uri, header::COOKIE};
use onedoor::{
    config::{self, Environment},
    http::{cookie_header, path::NormalPath},
    server::proxy_protocol::{self, Beginning},
    upstream::http1::{Piece, Search},
};

/// A parser.
pub(crate) struct Parser {
    pub(crate) name: &'static str,
    /// Whether it takes these bytes; panics where it breaks a promise.
    pub(crate) parse: fn(&[u8]) -> bool,
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// Bytes that mean something to it.
    pub(crate) telling: &'static [&'static [u8]],
    /// How often it is tried in a usual run.
    pub(crate) runs: usize,
}

pub(crate) const PARSERS: &[Parser] = &[
    Parser {
        name: "path",
        parse: path,
        seeds: || column(include_str!("../fixtures/attacks/paths.tsv")),
        telling: &[
            b"/",
            b"//",
            b"..",
            b"/./",
            b"%2e",
            b"%2F",
            b"%25",
            b"%5c",
            b"%00",
            b"%3b",
            b";",
            b"?",
            b"#",
            b"\\",
            b"%c0%af",
            b"\xc3\xa9",
            b"http://",
            b"@",
            b"|",
        ],
        runs: 60_000,
    },
    Parser {
        name: "cookie_header",
        parse: cookies,
        seeds: || column(include_str!("../fixtures/attacks/cookies.tsv")),
        telling: &[b";", b"; ", b"=", b"sid", b"sid=", b"\"", b",", b"\t", b" ", b"\xa0", b"%73", b"[", b"\n"],
        runs: 60_000,
    },
    Parser {
        name: "proxy_header",
        parse: proxy_header,
        seeds: proxy_headers,
        telling: &[
            b"\r\n",
            b" ",
            b"TCP4",
            b"TCP6",
            b"UNKNOWN",
            b"\r\n\r\n\0\r\nQUIT\n",
            b"\x20",
            b"\x21",
            b"\x11",
            b"\x00\x0c",
            b"\xff\xff",
            b"::1",
            b"65536",
            b"0",
            b"\x20\x00\x05\x01",
        ],
        runs: 60_000,
    },
    Parser {
        name: "answer",
        parse: answer,
        seeds: answers,
        telling: &[
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
            b"\r",
            b":",
            b" ",
            b"\t",
            b",",
            b";",
            b"0",
            b"0\r\n\r\n",
            b"2\r\nok\r\n",
            b"ffffffffffffffff",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.0 ",
            b"HTTP/1.1 100 \r\n\r\n",
            b"Content-Length: 2\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"\0",
        ],
        runs: 60_000,
    },
    Parser {
        name: "config",
        parse: configuration,
        seeds: configurations,
        telling: &[
            b"[",
            b"]",
            b"[[",
            b"{",
            b"}",
            b"=",
            b"\"",
            b"'''",
            b"\n",
            b"#",
            b"${",
            b"}",
            b"true",
            b"1",
            b"\"1s\"",
            b"[server]\n",
            b"[[rules]]\n",
            b"dest",
            b"\xc3\xa9",
            b"\r",
            b".",
        ],
        runs: 3_000,
    },
];

/// The middle column of a table of attacks.
fn column(table: &str) -> Vec<Vec<u8>> {
    let rows = table.lines().filter(|line| !line.starts_with("# "));
    rows.filter_map(|row| row.split('\t').nth(1)).map(|text| text.as_bytes().to_vec()).collect()
}

/// A path that is taken is in its one form, and there is no reading of it that climbs or ends early.
pub(crate) fn path(bytes: &[u8]) -> bool {
    let Ok(path) = Uri::try_from(bytes).map_err(drop).and_then(|uri| NormalPath::of(&uri).map_err(drop)) else {
        return false;
    };
    let text = path.as_str();
    assert!(text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
    assert!(!text.contains("//") && !text.contains(['\\', '?', '#', '"']), "{text:?}");
    let again = NormalPath::of(&path.target().as_str().parse().unwrap()).unwrap();
    assert_eq!(again.target().as_str(), path.target().as_str(), "its normal form has another");
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8().unwrap().replace('\\', "/");
    assert!(!decoded.contains(|character: char| character.is_ascii_control()), "{text:?}");
    let climbs = |segment: &str| matches!(segment.split([';', '?', '#']).next(), Some("." | ".."));
    assert!(!decoded.split('/').any(climbs), "{text:?}");
    true
}

/// What is dropped is gone, what is kept is as it came.
pub(crate) fn cookies(bytes: &[u8]) -> bool {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { return false };
        headers.append(COOKIE, value);
    }
    let owned = |headers: &HeaderMap| -> Vec<_> {
        cookie_header::pairs(headers).map(|pair| (pair.name.to_vec(), pair.value.to_vec())).collect()
    };
    let is_kept = |name: &[u8]| !cookie_header::is_taken_for(name, b"sid");
    let before = owned(&headers);
    cookie_header::rewrite(&mut headers, |pair| is_kept(pair.name));
    let after = owned(&headers);
    assert!(headers.get_all(COOKIE).iter().count() <= 1);
    assert_eq!(after, before.into_iter().filter(|(name, _)| is_kept(name)).collect::<Vec<_>>());
    !after.is_empty()
}

/// A header ends within the bytes, is the same whatever follows, and no sooner known than it is whole.
pub(crate) fn proxy_header(bytes: &[u8]) -> bool {
    let Beginning::Header(length, proxied) = proxy_protocol::read(bytes) else { return false };
    assert!(length <= bytes.len());
    assert_eq!(proxy_protocol::read(&bytes[..length]), Beginning::Header(length, proxied));
    for cut in [0, length / 2, length - 1] {
        assert_eq!(proxy_protocol::read(&bytes[..cut]), Beginning::Unfinished, "{cut} of {bytes:?}");
    }
    true
}

fn proxy_headers() -> Vec<Vec<u8>> {
    let v2 = |command: u8, family: u8, body: &[u8]| {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, body].concat()
    };
    let ipv4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 0x01, 0xBB];
    vec![
        b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\nGET / HTTP/1.1\r\n".to_vec(),
        b"PROXY TCP6 2001:db8::7 ::1 12345 443\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        v2(0x21, 0x11, &ipv4),
        v2(0x21, 0x21, &[0x20; 36]),
        v2(0x20, 0x00, &[]),
        v2(0x21, 0x11, &[&ipv4[..], &[0x04, 0, 1, 0, 0x20, 0, 5, 1, 0, 0, 0, 0]].concat()),
    ]
}

/// An answer is read the same however it comes in pieces, and takes no byte that is not its own; what is none, or is cut
/// off, is never whole.
pub(crate) fn answer(bytes: &[u8]) -> bool {
    let whole = whole_answer(&mut [bytes].into_iter());
    for piece in [1, 7, 64] {
        assert_eq!(whole_answer(&mut bytes.chunks(piece)), whole, "{}", bytes.escape_ascii());
    }
    let Some((_, body, behind)) = whole else { return false };
    assert!(body.len() + behind < bytes.len());
    let end = bytes.len() - behind;
    let again = whole_answer(&mut [&bytes[..end]].into_iter());
    assert!(again.is_some_and(|(_, again, behind)| again == body && behind == 0), "{}", bytes.escape_ascii());
    true
}

/// The status and body of an answer behind which the connection ends, and how many bytes are left behind it.
fn whole_answer(pieces: &mut dyn Iterator<Item = &[u8]>) -> Option<(u16, Vec<u8>, usize)> {
    let (mut read, mut search) = (BytesMut::new(), Search::default());
    let answer = loop {
        if let Some(answer) = search.take(&mut read, false).ok()? {
            break answer;
        }
        read.extend_from_slice(pieces.next()?);
    };
    let (mut framed, mut body) = (answer.body, Vec::new());
    loop {
        match framed.take(&mut read).ok()? {
            Piece::Data(data) => body.extend_from_slice(&data),
            Piece::End | Piece::Trailers(_) => break,
            Piece::Unfinished => match pieces.next() {
                Some(piece) => read.extend_from_slice(piece),
                None if framed.close() => break,
                None => return None,
            },
        }
    }
    let behind = read.len() + pieces.map(<[u8]>::len).sum::<usize>();
    Some((answer.head.status().as_u16(), body, behind))
}

fn answers() -> Vec<Vec<u8>> {
    let answers: [&[u8]; 6] = [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n1\r\n!\r\n0\r\nT: u\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 404 Nowhere\r\nConnection: keep-alive\r\n\r\nall until the end",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 02, 2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x02hi",
    ];
    answers.map(<[u8]>::to_vec).to_vec()
}

/// A file is taken, or each thing that is wrong with it has a place within it.
pub(crate) fn configuration(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let environment: Environment = [("SESSION_SECRET", "a long enough secret of a test")].into_iter().collect();
    let loaded = config::read("gateway.toml", text, &environment);
    for diagnostic in loaded.diagnostics.sorted() {
        let span = &diagnostic.span;
        assert!(span.start <= span.end && span.end <= text.len(), "{span:?} is not in {text:?}");
        assert!(
            text.is_char_boundary(span.start) && text.is_char_boundary(span.end),
            "{span:?} cuts a character of {text:?}"
        );
    }
    let shown = loaded.diagnostics.render(&loaded.source, false);
    assert_eq!(shown.is_empty(), loaded.diagnostics.sorted().is_empty());
    assert!(
        loaded.config.is_some() || loaded.diagnostics.has_errors(),
        "{text:?} is no configuration, and nothing is wrong"
    );
    !loaded.diagnostics.has_errors()
}

fn configurations() -> Vec<Vec<u8>> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = if root.join("tests/config").is_dir() { root.to_owned() } else { root.join("../..") };
    let mut files = vec![root.join("gateway.toml")];
    for folder in ["accepted", "refused"] {
        files.extend(
            std::fs::read_dir(root.join("tests/config").join(folder)).unwrap().map(|file| file.unwrap().path()),
        );
    }
    files.sort();
    let texts = files.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "toml"));
    texts.map(|file| std::fs::read(file).unwrap()).collect()
}
