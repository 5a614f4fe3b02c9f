//! A path into a session's record, such as `user.id`.

use super::diagnostic::Fault;
use std::fmt;

/// The steps into a record: `user.id`, `passport.user`, `'"warden.user.user.key".0.0'`.
///
/// Steps are separated by dots; a step that holds a dot is quoted as a TOML key is. A step made of digits alone
/// also steps into an array.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecordPath(pub Vec<String>);

impl RecordPath {
    /// Reads a path. Fails on empty steps, on spaces and quotes in unquoted ones, and on quotes that are not closed.
    ///
    /// In double quotes, `\\"` and `\\\\` stand for `"` and `\\`; single quotes take everything as it is.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let mut steps = Vec::new();
        let mut rest = text;
        loop {
            let (step, behind) = first_step(rest).map_err(|why| fault(text, why))?;
            steps.push(step);
            match behind.strip_prefix('.') {
                Some(more) => rest = more,
                None if behind.is_empty() => return Ok(Self(steps)),
                None => return Err(fault(text, "a dot is missing behind a quoted step")),
            }
        }
    }
}

/// As it may be written, and is read again.
impl fmt::Display for RecordPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            match first_step(step) {
                Ok((plain, "")) if plain == *step => write!(f, "{dot}{step}")?,
                _ => write!(f, "{dot}\"{}\"", step.replace('\\', "\\\\").replace('"', "\\\""))?,
            }
        }
        Ok(())
    }
}

fn fault(text: &str, why: &str) -> Fault {
    let remedy = format!("{why}; steps are separated by dots, and quoted if they hold one: 'user.id', '\"a.b\".0'");
    Fault::new(format!("`{text}` is not a path into a record"), remedy)
}

/// The first step without its quotes, and what follows it.
fn first_step(text: &str) -> Result<(String, &str), &'static str> {
    if let Some(text) = text.strip_prefix('\'') {
        let (step, behind) = text.split_once('\'').ok_or("a quote is not closed")?;
        return Ok((step.to_owned(), behind));
    }
    if let Some(text) = text.strip_prefix('"') {
        return double_quoted(text);
    }
    let (step, behind) = text.split_at(text.find('.').unwrap_or(text.len()));
    if step.is_empty() {
        return Err("a step is empty");
    }
    let strange = |letter: char| letter.is_whitespace() || letter.is_control() || matches!(letter, '"' | '\'');
    if step.contains(strange) {
        return Err("a step with spaces or quotes in it must be quoted");
    }
    Ok((step.to_owned(), behind))
}

fn double_quoted(text: &str) -> Result<(String, &str), &'static str> {
    let mut step = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => return Ok((step, letters.as_str())),
            '\\' => match letters.next() {
                Some(letter @ ('"' | '\\')) => step.push(letter),
                _ => return Err("only `\\\"` and `\\\\` are known behind a backslash"),
            },
            _ => step.push(letter),
        }
    }
    Err("a quote is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn steps(text: &str) -> Vec<String> {
        RecordPath::parse(text).expect(text).0
    }

    #[test]
    fn dots_separate_and_quotes_protect() {
        assert_eq!(steps("user.id"), ["user", "id"]);
        assert_eq!(steps("_auth_user_id"), ["_auth_user_id"]);
        assert_eq!(steps("\"warden.user.user.key\".0.0"), ["warden.user.user.key", "0", "0"]);
        assert_eq!(steps(r#"a.'b."c'."d\"\\""#), ["a", "b.\"c", "d\"\\"]);
        assert_eq!(steps("kennung-ä.$id"), ["kennung-ä", "$id"]);
        assert_eq!(steps("\"\""), [""]);
        for written in ["user.id", "\"warden.user.user.key\".0.0", "\"\"", "kennung-ä.$id"] {
            assert_eq!(RecordPath::parse(written).expect(written).to_string(), written);
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", ".", "a.", ".a", "a..b", "a b", "\"a", "'a", "\"a\"b", "a\"b\"", r#""a\n""#, "a.'"] {
            assert!(RecordPath::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn quoted_steps_are_read_back(wanted in proptest::collection::vec("\\PC{0,6}", 1..4)) {
            let quote = |step: &String| format!("\"{}\"", step.replace('\\', "\\\\").replace('"', "\\\""));
            let text = wanted.iter().map(quote).collect::<Vec<_>>().join(".");
            prop_assert_eq!(&steps(&text), &wanted);
            prop_assert_eq!(steps(&RecordPath(wanted.clone()).to_string()), wanted);
        }
    }
}
