//! What all sections of one file share: filling in variables, saying what is wrong, and keeping secrets out of it.

use super::{
    Span,
    diagnostic::{Diagnostics, Fault},
    environment::Environment,
};
use http::StatusCode;
use std::{cell::RefCell, path::Path};
use toml::{Spanned, de::DeValue};

/// A value as it was written, with its place.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// Where values come from and where findings go.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) environment: &'a Environment,
    /// Relative file names start here.
    pub(super) directory: &'a Path,
    pub(super) diagnostics: RefCell<Diagnostics>,
    /// What the findings must not show.
    pub(super) hidden: RefCell<Vec<Span>>,
}

/// A text with its place; its variables are filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    pub(super) span: Span,
}

impl Reader<'_> {
    /// Notes an error at this place.
    pub(super) fn error(&self, span: Span, message: impl Into<String>, remedy: impl Into<String>) {
        self.diagnostics.borrow_mut().error(span, message, remedy);
    }

    /// Notes a warning at this place.
    pub(super) fn warning(&self, span: Span, message: impl Into<String>, remedy: impl Into<String>) {
        self.diagnostics.borrow_mut().warning(span, message, remedy);
    }

    /// Keeps these bytes out of everything that is shown.
    pub(super) fn hide(&self, span: Span) {
        self.hidden.borrow_mut().push(span);
    }

    /// The value, or nothing and an error at this place.
    pub(super) fn noted<T>(&self, span: &Span, outcome: Result<T, Fault>) -> Option<T> {
        outcome.map_err(|fault| self.error(span.clone(), fault.message, fault.remedy)).ok()
    }

    /// Parses a text, or says at its place what is wrong with it.
    pub(super) fn parse<T>(&self, text: &Text, parse: impl FnOnce(&str) -> Result<T, Fault>) -> Option<T> {
        self.noted(&text.span, parse(&text.text))
    }

    /// A text with its variables filled in, or nothing and why.
    pub(super) fn text(&self, name: &str, value: &Value<'_>) -> Option<Text> {
        let DeValue::String(text) = value.get_ref() else {
            self.wrong_type(name, value, "a text", quoted_remedy(value));
            return None;
        };
        self.fill(value, text)
    }

    /// A text that a finding must not repeat.
    pub(super) fn secret(&self, value: &Value<'_>) -> Option<Text> {
        let DeValue::String(text) = value.get_ref() else {
            self.error(value.span(), "a secret must be a text", "put it in quotes");
            return None;
        };
        self.fill(value, text)
    }

    fn fill(&self, value: &Value<'_>, text: &str) -> Option<Text> {
        match self.environment.fill(text) {
            Ok(text) => Some(Text { text: text.into_owned(), span: value.span() }),
            Err(faults) => {
                for fault in faults {
                    self.error(value.span(), fault.message, fault.remedy);
                }
                None
            }
        }
    }

    /// A list of texts; one text is a list of one. What is wrong is reported and left out.
    pub(super) fn texts(&self, name: &str, value: &Value<'_>) -> Vec<Text> {
        match value.get_ref() {
            DeValue::Array(values) if values.is_empty() => {
                self.error(
                    value.span(),
                    format!("`{name}` is an empty list"),
                    "name at least one, or leave the key out",
                );
                Vec::new()
            }
            DeValue::Array(values) => values.iter().filter_map(|value| self.text(name, value)).collect(),
            DeValue::String(_) => self.text(name, value).into_iter().collect(),
            _ => {
                self.wrong_type(name, value, "a text or a list of texts", quoted_remedy(value));
                Vec::new()
            }
        }
    }

    /// A status, as a number or a text.
    pub(super) fn status(&self, name: &str, value: &Value<'_>) -> Option<StatusCode> {
        let text = match value.get_ref() {
            DeValue::Integer(number) => number.to_string(),
            DeValue::String(text) => text.to_string(),
            _ => {
                self.wrong_type(name, value, "a list of statuses", "such as [502, 503]");
                return None;
            }
        };
        let status = text.parse().ok().and_then(|number: u16| StatusCode::from_u16(number).ok());
        let fault = || Fault::new(format!("`{text}` is not a status of an answer"), "a number between 200 and 599");
        self.noted(&value.span(), status.filter(|status| (200..600).contains(&status.as_u16())).ok_or_else(fault))
    }

    pub(super) fn wrong_type(&self, name: &str, value: &Value<'_>, expected: &str, remedy: impl Into<String>) {
        let found = match value.get_ref() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.error(value.span(), format!("`{name}` must be {expected}, not {found}"), remedy);
    }
}

/// For a scalar that was written bare, how it would be written as a text.
fn quoted_remedy(value: &Value<'_>) -> String {
    match value.get_ref() {
        DeValue::Integer(number) => format!("put it in quotes: \"{number}\""),
        DeValue::Float(number) => format!("put it in quotes: \"{number}\""),
        DeValue::Boolean(flag) => format!("put it in quotes: \"{flag}\""),
        _ => "write it in quotes: \"...\"".to_owned(),
    }
}
