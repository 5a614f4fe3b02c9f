//! Reading one section key by key: what nobody asked for is unknown, what has the wrong shape is said so, all at once.

use super::{
    Span,
    diagnostic::Fault,
    keys::{Key, ROOT, Shape, Table, quoted_list, similar},
    reader::{Reader, Text, Value},
    units,
};
use http::StatusCode;
use std::time::Duration;
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

/// One section while it is read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    pub(super) reader: &'a Reader<'a>,
    /// Where to point when something is missing: the section's header.
    pub(super) span: Span,
    table: &'static Table,
    entries: Option<&'a DeTable<'a>>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// A section with these entries; without any, every key has its default.
    pub(super) fn new(
        reader: &'a Reader<'a>,
        table: &'static Table,
        entries: Option<&'a DeTable<'a>>,
        span: Span,
    ) -> Self {
        Self { reader, span, table, entries, asked: Vec::new() }
    }

    /// The value of a key, raw. Asking makes the key known, even if it is not there.
    pub(super) fn take(&mut self, name: &'static str) -> Option<&'a Value<'a>> {
        debug_assert!(self.table.key(name).is_some(), "{} has no key {name} in its table", self.table.name);
        self.asked.push(name);
        self.entry(name).map(|(_, value)| value)
    }

    /// Whether the section was written, and as a table.
    pub(super) fn exists(&self) -> bool {
        self.entries.is_some()
    }

    /// Whether the key was written, whatever its value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// Where the key's value stands, or else the section.
    pub(super) fn span_of(&self, name: &str) -> Span {
        self.entry(name).map_or_else(|| self.span.clone(), |(_, value)| value.span())
    }

    /// Every key with its value, in the order written, for tables whose keys are the user's.
    pub(super) fn everything(&self) -> Vec<(&'a Spanned<DeString<'a>>, &'a Value<'a>)> {
        let mut entries: Vec<_> = self.entries.into_iter().flatten().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries
    }

    /// True or false; the default if it is not there or wrong.
    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        let default = matches!(self.shape(name), Some(Shape::Flag(true)));
        let Some(value) = self.take(name) else { return default };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.reader.wrong_type(name, value, "true or false", "write true or false, without quotes");
            default
        })
    }

    /// A whole number; the default if it is not there or wrong.
    pub(super) fn count(&mut self, name: &'static str) -> Option<usize> {
        let Some(&Shape::Count { default, from, to }) = self.shape(name) else { return None };
        let narrow = |number: u64| usize::try_from(number).ok();
        let Some(value) = self.take(name) else { return default.and_then(narrow) };
        let Some(number) = value.get_ref().as_integer() else {
            self.reader.wrong_type(name, value, "a whole number", format!("between {from} and {to}, without quotes"));
            return default.and_then(narrow);
        };
        let number =
            u64::from_str_radix(number.as_str(), number.radix()).ok().filter(|number| (from..=to).contains(number));
        if number.is_none() {
            self.reader.error(value.span(), format!("`{name}` is out of range"), format!("between {from} and {to}"));
        }
        number.or(default).and_then(narrow)
    }

    /// A size in bytes; the default if it is not there or wrong.
    pub(super) fn size(&mut self, name: &'static str) -> u64 {
        let Some(&Shape::Size { default, from, to }) = self.shape(name) else { return 0 };
        let default = units::size(default).unwrap_or_default();
        let Some(value) = self.take(name) else { return default };
        if let DeValue::Integer(number) = value.get_ref() {
            let written = if number.as_str() == "0" { "0".to_owned() } else { format!("{number}B") };
            self.reader.wrong_type(name, value, "a size", format!("write \"{written}\""));
            return default;
        }
        let Some(text) = self.reader.text(name, value) else { return default };
        let Some(size) = self.reader.parse(&text, units::size) else { return default };
        if !(from..=to).contains(&size) {
            self.reader.error(
                text.span,
                format!("`{name}` is out of range"),
                format!("between \"{from}B\" and \"{to}B\""),
            );
        }
        size
    }

    /// A duration; the default if it is not there or wrong.
    pub(super) fn duration(&mut self, name: &'static str) -> Duration {
        self.optional_duration(name).unwrap_or_default()
    }

    /// A duration; nothing if it is not there and has no default, or was reported.
    pub(super) fn optional_duration(&mut self, name: &'static str) -> Option<Duration> {
        let Some(&Shape::Duration { default, zero }) = self.shape(name) else { return None };
        let default = default.and_then(|text| units::duration(text).ok());
        let Some(value) = self.take(name) else { return default };
        if let DeValue::Integer(number) = value.get_ref() {
            self.reader.wrong_type(name, value, "a duration", format!("write \"{number}s\""));
            return default;
        }
        let text = self.reader.text(name, value)?;
        let duration = self.reader.parse(&text, units::duration)?;
        if duration.is_zero() && !zero {
            self.reader.error(text.span, format!("`{name}` must not be zero"), "give it time, such as \"5s\"");
        }
        Some(duration)
    }

    /// A text as written, or the default of the table.
    pub(super) fn text(&mut self, name: &'static str) -> Option<Text> {
        let default = match self.shape(name) {
            Some(Shape::Text(default)) => default.map(|text| Text { text: text.to_owned(), span: self.span.clone() }),
            _ => None,
        };
        match self.take(name) {
            Some(value) => self.reader.text(name, value),
            None => default,
        }
    }

    /// A text, parsed; nothing if it is neither there nor has a default, or was reported.
    pub(super) fn parsed<T>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Result<T, Fault>) -> Option<T> {
        let text = self.text(name)?;
        self.reader.parse(&text, parse)
    }

    /// A list of texts, or the default of the table.
    pub(super) fn texts(&mut self, name: &'static str) -> Vec<Text> {
        let default = match self.shape(name) {
            Some(Shape::Texts(default)) => *default,
            _ => &[],
        };
        match self.take(name) {
            Some(value) => self.reader.texts(name, value),
            None => default.iter().map(|text| Text { text: (*text).to_owned(), span: self.span.clone() }).collect(),
        }
    }

    /// A list of statuses; one is a list of one.
    pub(super) fn statuses(&mut self, name: &'static str) -> Vec<StatusCode> {
        let Some(value) = self.take(name) else { return Vec::new() };
        let written = match value.get_ref() {
            DeValue::Array(values) => values.iter().collect(),
            _ => vec![value],
        };
        written.into_iter().filter_map(|value| self.reader.status(name, value)).collect()
    }

    /// Whether an empty list stands here, which says: none, and I thought about it.
    pub(super) fn is_empty_list(&self, name: &str) -> bool {
        let list = self.entry(name).and_then(|(_, value)| value.get_ref().as_array());
        list.is_some_and(|list| list.is_empty())
    }

    /// A list of texts, each parsed; what cannot be is reported and left out.
    pub(super) fn parsed_list<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, Fault>) -> Vec<T> {
        let texts = self.texts(name);
        texts.iter().filter_map(|text| self.reader.parse(text, &parse)).collect()
    }

    /// One of the key's words; nothing if it is not there and has no default, or was reported.
    pub(super) fn choice(&mut self, name: &'static str) -> Option<&'static str> {
        let Some(&Shape::Choice { default, of }) = self.shape(name) else { return None };
        let Some(value) = self.take(name) else { return default };
        let list = || format!("one of {}", quoted_list(of.iter().copied()));
        if !value.get_ref().is_str() {
            self.reader.wrong_type(name, value, "a text", list());
            return None;
        }
        let text = self.reader.text(name, value)?;
        let known = of.iter().find(|word| **word == text.text);
        if known.is_none() {
            let list = list();
            let remedy = match similar(&text.text, of.iter().copied()) {
                Some(word) => format!("did you mean \"{word}\"? It is {list}"),
                None => list,
            };
            self.reader.error(text.span, format!("`{name}` cannot be `{}`", text.text), remedy);
        }
        known.copied()
    }

    /// The section below this key; an empty one if it is not there.
    pub(super) fn table(&mut self, name: &'static str) -> Section<'a> {
        let (table, written) = match self.shape(name) {
            Some(Shape::Table(table) | Shape::Upstreams(table) | Shape::Headers(table) | Shape::Named(table)) => {
                (*table, table.name.to_owned())
            }
            _ => (self.table, format!("`{name} = {{ NAME = \"value\" }}`")),
        };
        let span = self.span_of(name);
        let entries = self.take(name).and_then(|value| {
            let entries = value.get_ref().as_table();
            if entries.is_none() {
                self.reader.wrong_type(name, value, "a table", format!("write it as {written}"));
            }
            entries
        });
        Section::new(self.reader, table, entries, span)
    }

    /// The sections below this key, in the order written.
    pub(super) fn tables(&mut self, name: &'static str) -> Vec<Section<'a>> {
        let (table, one_will_do) = match self.shape(name) {
            Some(Shape::OneOrMore(table)) => (*table, true),
            Some(Shape::Tables(table)) => (*table, false),
            _ => return Vec::new(),
        };
        let Some(value) = self.take(name) else { return Vec::new() };
        let sections = match value.get_ref() {
            DeValue::Array(values) if values.is_empty() => {
                self.reader.error(
                    value.span(),
                    format!("`{name}` is an empty list"),
                    format!("write it as {}", table.name),
                );
                Vec::new()
            }
            DeValue::Array(values) => values.iter().map(|value| (value, value.get_ref().as_table())).collect(),
            DeValue::Table(entries) if one_will_do => vec![(value, Some(entries))],
            _ => vec![(value, None)],
        };
        let mut read = Vec::with_capacity(sections.len());
        for (value, entries) in sections {
            match entries {
                Some(entries) => read.push(Section::new(self.reader, table, Some(entries), value.span())),
                None => self.reader.wrong_type(name, value, "a list of tables", format!("write it as {}", table.name)),
            }
        }
        read
    }

    /// Refuses a key that means nothing here.
    pub(super) fn refuse(&mut self, name: &'static str, message: &str, remedy: &str) {
        self.asked.push(name);
        if let Some((key, _)) = self.entry(name) {
            self.reader.error(key.span(), message, remedy);
        }
    }

    /// Reports a list that names something twice.
    pub(super) fn refuse_repeated<T: PartialEq>(&self, name: &str, what: &str, values: &[T]) {
        if values.iter().enumerate().any(|(index, value)| values[..index].contains(value)) {
            self.reader.error(self.span_of(name), format!("`{name}` names one {what} twice"), "leave one out");
        }
    }

    /// Reports a required key that is not there.
    pub(super) fn require(&self, name: &'static str, remedy: &str) {
        if !self.has(name) {
            self.reader.error(self.span.clone(), format!("{} needs `{name}`", self.table.name), remedy);
        }
    }

    /// Ends the section: keys that nobody asked for are unknown.
    pub(super) fn finish(self) {
        debug_assert!(
            self.table.keys.iter().all(|key| self.asked.contains(&key.name)),
            "{} has keys in its table that nobody reads",
            self.table.name
        );
        for (key, value) in self.everything() {
            if self.asked.contains(&key.get_ref().as_ref()) {
                continue;
            }
            let name = key.get_ref();
            let meant = self.table.similar(name);
            if matches!(meant, Some(Key { shape: Shape::Secrets, .. })) {
                self.reader.hide(value.span());
            }
            let known = self.table.known();
            let remedy = match (meant, ROOT.home_of(name)) {
                (Some(key), _) => format!("did you mean `{}`? Known in {}: {known}", key.name, self.table.name),
                (None, Some(home)) => {
                    format!("`{name}` is a key of {}. Known in {}: {known}", home.name, self.table.name)
                }
                (None, None) => format!("known in {}: {known}", self.table.name),
            };
            self.reader.error(key.span(), format!("unknown key `{name}` in {}", self.table.name), remedy);
        }
    }

    /// The key as written, with its value.
    fn entry(&self, name: &str) -> Option<(&'a Spanned<DeString<'a>>, &'a Value<'a>)> {
        self.entries?.iter().find(|(key, _)| key.get_ref() == name)
    }

    fn shape(&self, name: &str) -> Option<&'static Shape> {
        self.table.key(name).map(|key| &key.shape)
    }
}
