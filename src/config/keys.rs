//! The vocabulary of key tables: one table per section says what may stand in it, for reading, suggestions and schema.

use super::{admin, identity, limits, log, pages, rules, security_headers, server, session, store, upstreams};

/// The keys of one section.
#[derive(Debug)]
pub struct Table {
    /// How people call the section, e.g. `[server]`.
    pub name: &'static str,
    /// Its keys, in the order in which they are explained.
    pub keys: &'static [Key],
}

/// One key of a section.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value looks like, with the default.
    pub shape: Shape,
    /// What it means, for editors.
    pub meaning: &'static str,
}

/// What the value of a key looks like. Defaults are here and nowhere else.
#[derive(Debug)]
pub enum Shape {
    /// `true` or `false`.
    Flag(bool),
    /// A whole number of the range.
    Count {
        /// `None`: decided when it is read, as the meaning says.
        default: Option<u64>,
        /// The least.
        from: u64,
        /// The most.
        to: u64,
    },
    /// A size in bytes such as `"64KiB"`, of the range.
    Size {
        /// As it would be written.
        default: &'static str,
        /// The least.
        from: u64,
        /// The most.
        to: u64,
    },
    /// A duration such as `"30s"`.
    Duration {
        /// As it would be written.
        default: Option<&'static str>,
        /// Whether `"0s"` makes sense.
        zero: bool,
    },
    /// A text.
    Text(Option<&'static str>),
    /// A list of texts; one text is a list of one.
    Texts(&'static [&'static str]),
    /// A text, or a table from names of the user's choosing to whole numbers.
    Dest,
    /// A list of statuses, as numbers or texts, maybe empty.
    Statuses,
    /// A list of texts that are never shown.
    Secrets,
    /// One of a few words.
    Choice {
        /// `None`: required, or decided when it is read.
        default: Option<&'static str>,
        /// All of them.
        of: &'static [&'static str],
    },
    /// A table.
    Table(&'static Table),
    /// An array of tables.
    Tables(&'static Table),
    /// A table, or an array of tables.
    OneOrMore(&'static Table),
    /// A table from names of the user's choosing to texts.
    Names,
    /// A table of these keys, and of header names to texts.
    Headers(&'static Table),
    /// True, false, or a table from header names to texts.
    FlagOrHeaders,
    /// A table from names of the user's choosing to a text, a list of texts or a table.
    Upstreams(&'static Table),
    /// A table from names of the user's choosing to tables.
    Named(&'static Table),
}

impl Table {
    /// The key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The known key that `name` was probably meant to be.
    pub(super) fn similar(&self, name: &str) -> Option<&'static Key> {
        similar(name, self.keys.iter().map(|key| key.name)).and_then(|name| self.key(name))
    }

    /// All keys as a sentence would list them.
    pub(super) fn known(&self) -> String {
        quoted_list(self.keys.iter().map(|key| key.name))
    }

    /// The section, this one or one below it, that knows a key of exactly this name.
    pub(super) fn home_of(&'static self, name: &str) -> Option<&'static Table> {
        if self.key(name).is_some() {
            return Some(self);
        }
        self.keys.iter().find_map(|key| match key.shape {
            Shape::Table(table)
            | Shape::Tables(table)
            | Shape::OneOrMore(table)
            | Shape::Upstreams(table)
            | Shape::Named(table) => table.home_of(name),
            _ => None,
        })
    }
}

/// The candidate that `name` was probably meant to be, if one is close enough.
pub(super) fn similar<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let folded = name.to_ascii_lowercase();
    candidates
        .map(|candidate| (strsim::jaro_winkler(&folded, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(closeness, _)| *closeness >= 0.8)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

/// Names in backquotes with commas between them.
pub(super) fn quoted_list<'c>(names: impl Iterator<Item = &'c str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The whole file.
pub static ROOT: Table = Table {
    name: "the top level",
    keys: &[
        Key {
            name: "server",
            shape: Shape::Table(&server::TABLE),
            meaning: "What is in front: listeners, names, limits.",
        },
        Key { name: "store", shape: Shape::Table(&store::TABLE), meaning: "Where sessions live." },
        Key {
            name: "session",
            shape: Shape::OneOrMore(&session::TABLE),
            meaning: "The credential: whose sessions count.",
        },
        Key {
            name: "identity",
            shape: Shape::Table(&identity::TABLE),
            meaning: "What upstreams learn about the caller.",
        },
        Key {
            name: "upstreams",
            shape: Shape::Upstreams(&upstreams::TABLE),
            meaning: "The services behind the gateway: name = URL, list of URLs or table.",
        },
        Key {
            name: "rules",
            shape: Shape::Tables(&rules::TABLE),
            meaning: "Which request goes where, and who may: the first match wins.",
        },
        Key {
            name: "limits",
            shape: Shape::Named(&limits::TABLE),
            meaning: "How often somebody may, by name: rules name them in `limit`.",
        },
        Key {
            name: "security_headers",
            shape: Shape::Headers(&security_headers::TABLE),
            meaning: "Header = value, added where an upstream sent none; \"\" takes one of the built-in ones away.",
        },
        Key { name: "pages", shape: Shape::Table(&pages::TABLE), meaning: "HTML files instead of the built-in pages." },
        Key { name: "admin", shape: Shape::Table(&admin::TABLE), meaning: "The listener for probes." },
        Key { name: "log", shape: Shape::Table(&log::TABLE), meaning: "What is logged, and how." },
    ],
};
