//! What is asked over a reader and what is answered, byte by byte.
//!
//! Strict and without waiting: an answer is taken from a buffer once it is whole, and only what these few commands are
//! answered with (RESP2) is one. Pushes, and whatever greetings bring (RESP3), are read by [`Wire`](super::wire::Wire) as
//! they come: one reader for both would wait on the way of every request, or take more for an answer than is one.

use bytes::Bytes;
use fred::error::{Error, ErrorKind};

/// The longest line that is read: an error's text, a number.
const LINE_MAX: usize = 4 * 1024;

/// A command.
#[derive(Clone, Copy)]
pub(super) enum Command<'c> {
    /// The first so many bytes of a string, at least one.
    Beginning(&'c str, usize),
    /// How many milliseconds a key has to live.
    Remaining(&'c str),
    /// How many of these keys there are.
    Exist(&'c [&'c str]),
    /// A script about one key, with one number: by its digest, or whole.
    Script { by: Script<'c>, key: &'c str, number: u64 },
    /// Writes a number that lives for so many milliseconds, and tells what the key held before.
    Exchange { key: &'c str, number: u64, milliseconds: u64 },
    /// The next command's key may be on its way to this server.
    Asking,
    /// Nothing.
    Ping,
}

/// How a script is named.
#[derive(Clone, Copy)]
pub(super) enum Script<'c> {
    Digest(&'c str),
    Text(&'c str),
}

/// An answer.
#[derive(Debug, Default)]
pub(super) enum Reply {
    /// There is nothing under the key.
    #[default]
    Nothing,
    Text(Bytes),
    Number(i64),
    Done,
    /// The server refuses; its words may quote the command.
    Refusal(Error),
}

impl Command<'_> {
    /// Adds the command to what is sent.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Beginning(key, bytes_max) => {
                out.extend_from_slice(b"*4\r\n$8\r\nGETRANGE\r\n");
                text(out, key);
                out.extend_from_slice(b"$1\r\n0\r\n");
                number(out, bytes_max.saturating_sub(1) as u64);
            }
            Self::Remaining(key) => {
                out.extend_from_slice(b"*2\r\n$4\r\nPTTL\r\n");
                text(out, key);
            }
            Self::Exist(keys) => {
                let words: Vec<_> = std::iter::once("EXISTS").chain(keys.iter().copied()).map(str::as_bytes).collect();
                command(out, &words);
            }
            Self::Script { by, key, number: argument } => {
                let (name, script) = match by {
                    Script::Digest(digest) => ("EVALSHA", digest),
                    Script::Text(script) => ("EVAL", script),
                };
                out.extend_from_slice(b"*5\r\n");
                text(out, name);
                text(out, script);
                text(out, "1");
                text(out, key);
                number(out, argument);
            }
            Self::Exchange { key, number: new, milliseconds } => {
                out.extend_from_slice(b"*6\r\n$3\r\nSET\r\n");
                text(out, key);
                number(out, new);
                text(out, "PX");
                number(out, milliseconds);
                text(out, "GET");
            }
            Self::Asking => out.extend_from_slice(b"*1\r\n$6\r\nASKING\r\n"),
            Self::Ping => out.extend_from_slice(b"*1\r\n$4\r\nPING\r\n"),
        }
    }
}

/// Adds a command of any words to what is sent.
pub(super) fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.push(b'*');
    digits(out, words.len() as u64);
    out.extend_from_slice(b"\r\n");
    words.iter().for_each(|word| text(out, word));
}

fn text(out: &mut Vec<u8>, text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    out.push(b'$');
    digits(out, text.len() as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn number(out: &mut Vec<u8>, number: u64) {
    let length = number.checked_ilog10().unwrap_or(0) + 1;
    out.push(b'$');
    digits(out, length.into());
    out.extend_from_slice(b"\r\n");
    digits(out, number);
    out.extend_from_slice(b"\r\n");
}

fn digits(out: &mut Vec<u8>, mut number: u64) {
    let (mut buffer, mut at) = ([0; 20], 20);
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&buffer[at..]);
        }
    }
}

/// Reads the answer at the beginning of `bytes` and tells how long it is; `None` = it has not come whole.
///
/// # Errors
/// When no Redis server says such a thing to these commands, or a text is longer than `text_max`.
pub(super) fn read(bytes: &[u8], text_max: usize) -> Result<Option<(Reply, usize)>, Error> {
    let begun = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = begun.iter().position(|byte| *byte == b'\n') else {
        return if begun.len() < LINE_MAX { Ok(None) } else { Err(garbled()) };
    };
    let line = begun[..end].strip_suffix(b"\r").ok_or_else(garbled)?;
    let (kind, rest) = line.split_first().ok_or_else(garbled)?;
    let after = end + 1;
    let reply = match kind {
        b'$' if rest == b"-1" => Reply::Nothing,
        b'$' => {
            let length = usize::try_from(whole(rest)?).ok().filter(|length| *length <= text_max);
            let length = length.ok_or_else(garbled)?;
            let Some(text) = bytes.get(after..after + length + 2) else { return Ok(None) };
            let text = text.strip_suffix(b"\r\n").ok_or_else(garbled)?;
            return Ok(Some((Reply::Text(Bytes::copy_from_slice(text)), after + length + 2)));
        }
        b':' => Reply::Number(whole(rest)?),
        b'+' => Reply::Done,
        b'-' => Reply::Refusal(Error::new(ErrorKind::Unknown, String::from_utf8_lossy(rest).into_owned())),
        _ => return Err(garbled()),
    };
    Ok(Some((reply, after)))
}

fn whole(digits: &[u8]) -> Result<i64, Error> {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or_else(garbled)
}

fn garbled() -> Error {
    Error::new(ErrorKind::Protocol, "not what a Redis server says")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(command: Command<'_>) -> String {
        let mut out = Vec::new();
        command.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn commands_are_written_as_redis_reads_them() {
        let range = Command::Beginning("sess:ä", 1_048_577);
        assert_eq!(written(range), "*4\r\n$8\r\nGETRANGE\r\n$7\r\nsess:ä\r\n$1\r\n0\r\n$7\r\n1048576\r\n");
        assert_eq!(written(Command::Beginning("", 1)), "*4\r\n$8\r\nGETRANGE\r\n$0\r\n\r\n$1\r\n0\r\n$1\r\n0\r\n");
        assert_eq!(written(Command::Remaining("k\r\n")), "*2\r\n$4\r\nPTTL\r\n$3\r\nk\r\n\r\n");
        assert_eq!(
            written(Command::Exchange { key: "k", number: u64::MAX, milliseconds: 10 }),
            "*6\r\n$3\r\nSET\r\n$1\r\nk\r\n$20\r\n18446744073709551615\r\n$2\r\nPX\r\n$2\r\n10\r\n$3\r\nGET\r\n"
        );
        let script = Command::Script { by: Script::Digest("abc"), key: "k", number: 99 };
        assert_eq!(written(script), "*5\r\n$7\r\nEVALSHA\r\n$3\r\nabc\r\n$1\r\n1\r\n$1\r\nk\r\n$2\r\n99\r\n");
    }

    #[test]
    fn an_answer_is_read_once_it_is_whole_and_not_a_byte_earlier() {
        let answers: [(&[u8], &str); 6] = [
            (b"$5\r\na\r\n\0\xff\r\n", r#"Text(b"a\r\n\0\xff")"#),
            (b"$0\r\n\r\n", r#"Text(b"")"#),
            (b"$-1\r\n", "Nothing"),
            (b":-2\r\n", "Number(-2)"),
            (b"+OK\r\n", "Done"),
            (b"-NOPERM no\r\n", r#"Refusal(Error { details: "NOPERM no", kind: Unknown })"#),
        ];
        for (bytes, expected) in answers {
            for cut in 0..bytes.len() {
                assert!(read(&bytes[..cut], 5).unwrap().is_none(), "{expected} cut at {cut}");
            }
            let (reply, length) = read(&[bytes, b"$1\r\nz\r\n"].concat(), 5).unwrap().unwrap();
            assert_eq!((format!("{reply:?}").as_str(), length), (expected, bytes.len()));
        }
    }

    #[test]
    fn what_no_redis_says_is_an_error() {
        let endless = [b'+'; LINE_MAX];
        let garbage: [&[u8]; 12] = [
            b"$6\r\nabcdef\r\n",
            b"$99999999999999999999\r\n",
            b"$18446744073709551615\r\n",
            b"$-2\r\n",
            b"$1\r\nab\r\n",
            b":x\r\n",
            b":\r\n",
            b"*1\r\n$1\r\na\r\n",
            b">2\r\n",
            b"\r\n",
            b"+OK\n",
            &endless,
        ];
        for bytes in garbage {
            assert!(read(bytes, 5).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
