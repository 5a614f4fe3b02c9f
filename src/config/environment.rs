//! The variables that `${NAME}` stands for, and putting them in their places.

use super::diagnostic::Fault;
use std::{borrow::Cow, collections::HashMap, fmt, fs, path::Path};

/// Environment variables, as the process has them or a file brings them. Its `Debug` shows names only.
#[derive(Clone, Default)]
pub struct Environment(HashMap<String, String>);

impl Environment {
    /// The variables of this process. Those that are not UTF-8 are not there.
    pub fn process() -> Self {
        let texts =
            std::env::vars_os().map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self(texts.flatten().collect())
    }

    /// Adds the variables of a file of `NAME=value` lines. What is set already stays: the process wins over the file.
    ///
    /// A line may begin with `export `, a value may stand in single quotes (taken as it is) or double quotes (with
    /// `\n`, `\t`, `\"`, `\\` and `\$`). `#` begins a comment, on a line of its own or behind a space. Nothing is
    /// expanded. Fails with a text that names the file and the line, never a value.
    pub fn with_file(mut self, path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|fault| format!("cannot read {}: {fault}", path.display()))?;
        let mut read = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let place = || format!("{}:{}", path.display(), index + 1);
            if let Some((name, value)) = assignment(line).map_err(|fault| format!("{}: {fault}", place()))? {
                read.insert(name.to_owned(), value);
            }
        }
        for (name, value) in read {
            self.0.entry(name).or_insert(value);
        }
        Ok(self)
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// `text` with `${NAME}` and `${NAME:-default}` replaced, and `$${` as a plain `${`.
    ///
    /// As in a shell, the default also stands for a variable that is set but empty. Fails with every fault in the text.
    pub(super) fn fill<'t>(&self, text: &'t str) -> Result<Cow<'t, str>, Vec<Fault>> {
        if !text.contains("${") {
            return Ok(Cow::Borrowed(text));
        }
        let mut filled = String::with_capacity(text.len());
        let mut faults = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, reference) = (&rest[..start], &rest[start + 2..]);
            if let Some(before) = before.strip_suffix('$') {
                filled.push_str(before);
                filled.push_str("${");
                rest = reference;
                continue;
            }
            filled.push_str(before);
            let Some((inner, behind)) = reference.split_once('}') else {
                faults.push(Fault::new("`${` without its `}`", "close it, or write `$${` for a literal `${`"));
                return Err(faults);
            };
            match self.resolve(inner) {
                Ok(value) => filled.push_str(value),
                Err(fault) => faults.push(fault),
            }
            rest = behind;
        }
        filled.push_str(rest);
        if faults.is_empty() { Ok(Cow::Owned(filled)) } else { Err(faults) }
    }

    /// What stands for `NAME` or `NAME:-default`.
    fn resolve<'a>(&'a self, inner: &'a str) -> Result<&'a str, Fault> {
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if !is_name(name) {
            let remedy =
                "write `${NAME}` or `${NAME:-default}` with letters, digits and `_`, or `$${` for a literal `${`";
            return Err(Fault::new("`${...}` does not name an environment variable", remedy));
        }
        let value = self.variable(name);
        match default {
            Some(default) => Ok(value.filter(|value| !value.is_empty()).unwrap_or(default)),
            None => value.ok_or_else(|| {
                let remedy = format!("set it, read it with --env-file, or give a default: `${{{name}:-...}}`");
                Fault::new(format!("the environment variable `{name}` is not set"), remedy)
            }),
        }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Letters, digits and `_`, not beginning with a digit, as shells have it.
fn is_name(name: &str) -> bool {
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    letters && !name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// The variable that a line sets; `None` for empty lines and comments.
fn assignment(line: &str) -> Result<Option<(&str, String)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, value) = line.split_once('=').ok_or("this is not NAME=value")?;
    let name = name.trim_end();
    if !is_name(name) {
        return Err("the name before `=` is not letters, digits and `_`");
    }
    Ok(Some((name, unquoted(value.trim_start())?)))
}

/// The value behind `=`, without its quotes and the comment behind it.
fn unquoted(value: &str) -> Result<String, &'static str> {
    if let Some(value) = value.strip_prefix('\'') {
        let (value, behind) = value.split_once('\'').ok_or("the closing quote is missing")?;
        return comment_or_nothing(behind).map(|()| value.to_owned());
    }
    if let Some(value) = value.strip_prefix('"') {
        return double_quoted(value);
    }
    // Only behind a space is `#` a comment: passwords hold it, too.
    let end =
        value.match_indices('#').find(|(at, _)| value[..*at].ends_with([' ', '\t'])).map_or(value.len(), |(at, _)| at);
    let value = if value.starts_with('#') { "" } else { &value[..end] };
    Ok(value.trim_end().to_owned())
}

fn double_quoted(value: &str) -> Result<String, &'static str> {
    let mut text = String::new();
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return comment_or_nothing(letters.as_str()).map(|()| text),
            '\\' => match letters.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some(letter @ ('"' | '\\' | '$')) => text.push(letter),
                Some(letter) => text.extend(['\\', letter]),
                None => break,
            },
            _ => text.push(letter),
        }
    }
    Err("the closing quote is missing")
}

fn comment_or_nothing(behind: &str) -> Result<(), &'static str> {
    let behind = behind.trim();
    if behind.is_empty() || behind.starts_with('#') { Ok(()) } else { Err("there is text behind the closing quote") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn environment() -> Environment {
        [("A", "1"), ("EMPTY", ""), ("TRICKY", "${A}")].into_iter().collect()
    }

    #[test]
    fn references_are_filled_once() {
        let filled = |text| environment().fill(text).expect("a good text").into_owned();
        assert_eq!(filled("x"), "x");
        assert_eq!(filled("${A}/${A}"), "1/1");
        assert_eq!(filled("${B:-two}${EMPTY:-three}${EMPTY}${B:-}"), "twothree");
        assert_eq!(filled("$${A} $$ $ {A}"), "${A} $$ $ {A}");
        assert_eq!(filled("${TRICKY}"), "${A}", "a value is never filled again");
        assert_eq!(filled("${B:-a:-b}"), "a:-b");
    }

    #[test]
    fn every_fault_of_a_text_is_reported() {
        let faults = environment().fill("${B} ${C} ${} ${1X} ${A").expect_err("faults");
        let messages: Vec<_> = faults.iter().map(|fault| fault.message.as_str()).collect();
        assert_eq!(messages.len(), 5);
        assert!(messages[0].contains("`B` is not set") && messages[1].contains("`C` is not set"));
        assert!(messages[4].contains("without its `}`"));
    }

    #[test]
    fn lines_of_an_environment_file_are_read_as_shells_do() {
        let value = |line: &str| assignment(line).map(|found| found.map(|(name, value)| format!("{name}={value}")));
        let reads = |line: &str, expected: &str| assert_eq!(value(line), Ok(Some(expected.to_owned())), "{line}");
        reads("A=1", "A=1");
        reads("  export A = 1 # note", "A=1");
        reads("A=", "A=");
        reads("A= # note", "A=");
        reads("A=p#ss#", "A=p#ss#");
        reads("A='x # $y \\n' # note", "A=x # $y \\n");
        reads(r#"A="x \"y\" \\ \$z \w""#, r#"A=x "y" \ $z \w"#);
        reads("A=b=c", "A=b=c");
        assert_eq!(value("# A=1"), Ok(None));
        assert_eq!(value("  "), Ok(None));
        for line in ["A", "1A=x", "A B=x", "A='x", "A=\"x", "A=\"x\" y", "=x", "A=\"x\\"] {
            assert!(value(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_process_wins_over_the_file_and_values_are_not_shown() {
        let file = std::env::temp_dir().join(format!("onedoor-environment-{}", std::process::id()));
        fs::write(&file, "A=from file\nB=old\nB=hidden\n").expect("a file");
        let read = environment().with_file(&file).expect("a good file");
        assert_eq!((read.variable("A"), read.variable("B")), (Some("1"), Some("hidden")));
        assert!(!format!("{read:?}").contains("hidden"));
        fs::write(&file, "A=1\nhidden\n").expect("a file");
        let fault = environment().with_file(&file).expect_err("a bad line");
        assert!(fault.contains(":2: ") && !fault.contains("hidden"), "{fault}");
        fs::remove_file(&file).expect("to tidy up");
        assert!(environment().with_file(&file).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in "[$#{}:'\"\\\\=A é-]{0,24}") {
            let _ = environment().fill(&text);
            let _ = assignment(&text);
        }
    }
}
