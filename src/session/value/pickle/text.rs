//! Text and numbers as pickles write them, and the names that none may hold.

use crate::session::value::{Fault, Value};
use smol_str::{SmolStr, format_smolstr};

pub(super) const NO_TEXT: Fault = Fault("text that cannot be decoded");
const NO_NUMBER: Fault = Fault("not a number");
/// As many digits as Python itself is willing to read.
const DIGITS_MAX: usize = 4300;
/// The longest name of a module or a class: a name is copied wherever it is used.
const NAME_MAX: usize = 200;
/// Modules that run code or reach the system. No session needs them; a pickle that names one is an attack.
const SYSTEM: &[&str] = &[
    "asyncio",
    "bdb",
    "code",
    "commands",
    "cProfile",
    "ctypes",
    "distutils",
    "doctest",
    "ftplib",
    "http",
    "imaplib",
    "importlib",
    "io",
    "marshal",
    "multiprocessing",
    "nt",
    "os",
    "pdb",
    "pickle",
    "pip",
    "platform",
    "popen2",
    "posix",
    "profile",
    "pty",
    "pydoc",
    "requests",
    "runpy",
    "shelve",
    "shutil",
    "signal",
    "site",
    "smtplib",
    "socket",
    "subprocess",
    "sys",
    "tempfile",
    "test",
    "threading",
    "timeit",
    "trace",
    "types",
    "urllib",
    "webbrowser",
];
/// Functions of Python itself that do.
const FUNCTIONS: &[&str] = &[
    "__import__",
    "apply",
    "breakpoint",
    "compile",
    "delattr",
    "eval",
    "exec",
    "execfile",
    "file",
    "globals",
    "help",
    "input",
    "locals",
    "open",
    "setattr",
    "vars",
];

/// The name of a class or a function.
pub(super) fn global(module: &str, name: &str) -> Result<SmolStr, Fault> {
    if module.len().max(name.len()) > NAME_MAX {
        return Err(Fault("a class with too long a name"));
    }
    let package = module.split('.').next().unwrap_or_default();
    let first = name.split('.').next().unwrap_or_default();
    let of_python = matches!(package, "builtins" | "__builtin__");
    if SYSTEM.contains(&package) || (of_python && FUNCTIONS.contains(&first)) {
        return Err(Fault("it names a function that runs code or reaches the system"));
    }
    Ok(format_smolstr!("{module}.{name}"))
}

/// A decimal number of any size.
pub(super) fn integer(text: &[u8]) -> Result<Value, Fault> {
    let text = str::from_utf8(text).map_err(|_| NO_NUMBER)?;
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    // Python takes what begins with a zero for octal, or for nothing.
    let begins_so = digits.starts_with(|digit: char| matches!(digit, '1'..='9')) || digits == "0";
    if !begins_so || digits.len() > DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NO_NUMBER);
    }
    Ok(Value::integer(if digits == "0" { SmolStr::new_static("0") } else { format_smolstr!("{sign}{digits}") }))
}

/// A whole number in two's complement, the lowest byte first.
pub(super) fn long(bytes: &[u8]) -> Result<Value, Fault> {
    let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
    if !negative {
        return Value::big_integer(false, bytes);
    }
    let mut carries = true;
    let negate = |byte: &u8| {
        let (negated, carried) = (!byte).overflowing_add(u8::from(carries));
        carries = carried;
        negated
    };
    let magnitude: Vec<u8> = bytes.iter().map(negate).collect();
    Value::big_integer(true, &magnitude)
}

pub(super) fn float(text: &[u8]) -> Result<Value, Fault> {
    match text {
        b"nan" | b"inf" | b"-inf" => Ok(Value::Null),
        text => Value::decimal(text),
    }
}

/// A place in the memo.
pub(super) fn place(text: &[u8]) -> Result<usize, Fault> {
    let digits = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).ok_or(NO_NUMBER)
}

/// A text in quotes, with the escapes that Python writes; Python 3 reads it as ASCII.
pub(super) fn quoted(text: &[u8]) -> Result<String, Fault> {
    let inner = match text {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
        _ => return Err(NO_TEXT),
    };
    let mut out = String::new();
    let mut letters = inner.iter().copied();
    while let Some(letter) = letters.next() {
        let letter = match letter {
            b'\\' => match letters.next().ok_or(NO_TEXT)? {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => hex(&mut letters, 2)? as u8,
                same @ (b'\\' | b'\'' | b'"') => same,
                _ => return Err(NO_TEXT),
            },
            letter => letter,
        };
        out.push(Some(char::from(letter)).filter(char::is_ascii).ok_or(NO_TEXT)?);
    }
    Ok(out)
}

/// Latin-1 with `\uXXXX` and `\UXXXXXXXX` for the rest.
pub(super) fn raw_unicode(text: &[u8]) -> Result<String, Fault> {
    let mut out = String::new();
    let mut letters = text.iter().copied();
    while let Some(letter) = letters.next() {
        if letter != b'\\' {
            out.push(char::from(letter));
            continue;
        }
        match letters.next() {
            Some(b'u') => out.push(char::from_u32(hex(&mut letters, 4)?).ok_or(NO_TEXT)?),
            Some(b'U') => out.push(char::from_u32(hex(&mut letters, 8)?).ok_or(NO_TEXT)?),
            other => {
                out.push('\\');
                out.extend(other.map(char::from));
            }
        }
    }
    Ok(out)
}

fn hex(letters: &mut impl Iterator<Item = u8>, digits: usize) -> Result<u32, Fault> {
    (0..digits).try_fold(0_u32, |number, _| {
        let digit = letters.next().and_then(|letter| char::from(letter).to_digit(16)).ok_or(NO_TEXT)?;
        Ok(number << 4 | digit)
    })
}
