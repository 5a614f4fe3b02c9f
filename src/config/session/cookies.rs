//! What some frameworks' cookies are signed and encrypted with, beyond one list of secrets.

use super::{Format, preset::Preset, read_cookie_max_age};
use crate::{config::section::Section, secret::Secret};
use toml::de::DeValue;

/// A key that signs, with the key that encrypts beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyPair {
    /// One of `secrets`.
    pub hash: Secret,
    /// The one of `block_keys` at the same position, of 16, 24 or 32 bytes; `None` = nothing is encrypted.
    pub block: Option<Secret>,
}

/// `cookie_security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieSecurity {
    /// `"private"`: encrypted.
    Private,
    /// `"signed"`
    Signed,
}

/// Without secrets there is nothing to secure.
pub(super) fn read_security(section: &mut Section<'_>, secrets: &[Secret]) -> CookieSecurity {
    if secrets.is_empty() && section.has("cookie_security") {
        let remedy = "leave it out: without `secrets` the cookie is the bare id";
        section.reader.error(section.span_of("cookie_security"), "`cookie_security` needs `secrets`", remedy);
    }
    match section.choice("cookie_security") {
        Some("signed") => CookieSecurity::Signed,
        _ => CookieSecurity::Private,
    }
}

/// Reads what securecookie's pairs are made of.
pub(super) fn read_gorilla(section: &mut Section<'_>, preset: &Preset, secrets: Vec<Secret>) -> Format {
    let blocks = read_block_keys(section);
    if blocks.len() > secrets.len() && !secrets.is_empty() {
        let remedy = "a block key belongs to the secret at the same position: leave the others out";
        section.reader.error(section.span_of("block_keys"), "there are more `block_keys` than `secrets`", remedy);
    }
    let mut blocks = blocks.into_iter();
    let pairs = secrets.into_iter().map(|hash| KeyPair { hash, block: blocks.next().flatten() });
    Format::Gorilla { pairs: pairs.collect(), cookie_max_age: read_cookie_max_age(section, preset) }
}

/// An empty text is no key: its pair encrypts nothing.
fn read_block_keys(section: &mut Section<'_>) -> Vec<Option<Secret>> {
    let values = match section.take("block_keys").map(|value| (value, value.get_ref())) {
        Some((_, DeValue::Array(values))) => values.iter().collect(),
        Some((value, _)) => vec![value],
        None => Vec::new(),
    };
    let mut keys = Vec::new();
    for text in values.into_iter().filter_map(|value| section.reader.secret(value)) {
        let key = Secret::new(text.text);
        let length = key.bytes().map(|bytes| bytes.len());
        if !matches!(length, Some(0 | 16 | 24 | 32)) {
            let remedy = "AES keys have 16, 24 or 32 bytes; write what is no text as `base64:…` or `hex:…`";
            section.reader.error(text.span, "this is not a block key", remedy);
        }
        keys.push((length != Some(0)).then_some(key));
    }
    keys
}
