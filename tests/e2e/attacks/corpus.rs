//! The rows: what is sent, what becomes of it, and what the upstream sees.

use crate::harness::Message;
use std::fmt;

/// One row. Its columns: the verdict, what is sent, what is seen.
///
/// A verdict is the statuses of all answers (`400`, `200 200`), each perhaps one of several (`400|401`), or `cut`: the
/// message never ends, and is refused or left without an answer. What is seen is text that the head has at the
/// upstream, `^` before it where the head begins with it, or in the answer where the upstream is not asked.
#[derive(Debug)]
pub(crate) struct Row {
    verdict: String,
    sent: String,
    seen: Vec<String>,
}

/// The rows of a file.
pub(crate) fn rows(name: &str) -> Vec<Row> {
    let text = match name {
        "benign" => include_str!("../../fixtures/attacks/benign.tsv"),
        "cookies" => include_str!("../../fixtures/attacks/cookies.tsv"),
        "fields" => include_str!("../../fixtures/attacks/fields.tsv"),
        "hosts" => include_str!("../../fixtures/attacks/hosts.tsv"),
        "messages" => include_str!("../../fixtures/attacks/messages.tsv"),
        "paths" => include_str!("../../fixtures/attacks/paths.tsv"),
        "returns" => include_str!("../../fixtures/attacks/returns.tsv"),
        other => panic!("there are no rows of {other}"),
    };
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("# "));
    lines.map(Row::parse).collect()
}

impl Row {
    fn parse(line: &str) -> Self {
        let mut columns = line.split('\t').map(str::to_owned);
        let (verdict, sent) = (columns.next().unwrap(), columns.next());
        Self { verdict, sent: sent.unwrap_or_else(|| panic!("{line:?} has one column")), seen: columns.collect() }
    }

    /// The bytes that are sent.
    pub(crate) fn request(&self) -> Vec<u8> {
        unescape(&self.sent)
    }

    /// Whether the message has no end.
    pub(crate) fn is_cut(&self) -> bool {
        self.verdict == "cut"
    }

    /// How many answers there are.
    pub(crate) fn answers(&self) -> usize {
        self.verdict.split(' ').count()
    }

    /// Whether nothing reaches the upstream.
    pub(crate) fn is_refused(&self) -> bool {
        !self.verdict.contains("200")
    }

    /// The header lines as HTTP/2 has them, where it could say the same.
    pub(crate) fn fields(&self) -> Option<Vec<(String, String)>> {
        let text = String::from_utf8(self.request()).ok()?;
        let split = |line: &str| {
            let (name, value) = line.split_once(':')?;
            let name = name.to_ascii_lowercase();
            let of_http1 = ["connection", "upgrade", "te", "keep-alive", "proxy-connection", "transfer-encoding"];
            (!of_http1.contains(&name.as_str())).then(|| (name, value.trim_matches([' ', '\t']).to_owned()))
        };
        text.split_terminator("\r\n").map(split).collect()
    }

    /// Says in what way that which came of it is not what should.
    pub(crate) fn judge(&self, statuses: &[u16], seen: &[Message]) -> Option<String> {
        let heads: Vec<_> = seen.iter().map(|request| String::from_utf8_lossy(&request.head).into_owned()).collect();
        if self.is_cut() {
            let sound = seen.is_empty() && statuses.iter().all(|status| *status >= 400);
            return (!sound).then(|| format!("{statuses:?}, and the upstream saw {heads:?}"));
        }
        let wanted: Vec<&str> = self.verdict.split(' ').collect();
        let agrees = |(wanted, status): (&&str, &u16)| wanted.split('|').any(|wanted| *wanted == status.to_string());
        let agree = wanted.len() == statuses.len() && wanted.iter().zip(statuses).all(agrees);
        if !agree || self.is_refused() && !seen.is_empty() {
            return Some(format!("{statuses:?}, and the upstream saw {heads:?}"));
        }
        let missing = self.seen.iter().filter(|_| !seen.is_empty()).find(|text| {
            let text = String::from_utf8_lossy(&unescape(text)).into_owned();
            let is_there = |head: &String| match (text.strip_prefix('^'), text.strip_prefix('!')) {
                (Some(start), _) => head.starts_with(start),
                (_, Some(absent)) => !head.to_lowercase().contains(&absent.to_lowercase()),
                (None, None) => head.to_lowercase().contains(&text.to_lowercase()),
            };
            !heads.iter().any(is_there)
        });
        missing.map(|text| format!("no {text:?} in {heads:?}"))
    }

    /// What the answer must say, where the gateway itself answers.
    pub(crate) fn told(&self) -> impl Iterator<Item = &str> {
        self.seen.iter().filter_map(|text| text.strip_prefix('='))
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.sent, self.verdict)
    }
}

/// `\r`, `\n`, `\t`, `\0`, `\xNN`, `\\` are bytes; `{x*5}` is `xxxxx`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hex = |text: &str| u8::from_str_radix(text, 16).unwrap();
        let (taken, length) = match first {
            '\\' => match &rest[1..2] {
                "r" => (vec![b'\r'], 2),
                "n" => (vec![b'\n'], 2),
                "t" => (vec![b'\t'], 2),
                "0" => (vec![0], 2),
                "x" => (vec![hex(&rest[2..4])], 4),
                other => (other.as_bytes().to_vec(), 2),
            },
            '{' if repeated(rest).is_some() => repeated(rest).unwrap(),
            other => (other.to_string().into_bytes(), other.len_utf8()),
        };
        bytes.extend(taken);
        rest = &rest[length..];
    }
    bytes
}

fn repeated(text: &str) -> Option<(Vec<u8>, usize)> {
    let end = text.find('}')?;
    let (what, times) = text[1..end].rsplit_once('*')?;
    Some((unescape(what).repeat(times.parse().ok()?), end + 1))
}
