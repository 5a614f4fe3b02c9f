//! `[pages]`: HTML of the site's own instead of the built-in pages.

use super::{
    keys::{Key, Shape, Table},
    section::Section,
};
use bytes::Bytes;
use http::StatusCode;
use std::{fs, path::PathBuf};

/// A page is held in memory; a larger one is a mistake.
const BYTES_MAX: usize = 1 << 20;

/// The keys of `[pages]`: the statuses.
pub(super) static TABLE: Table = Table {
    name: "[pages]",
    keys: &[
        Key { name: "401", shape: Shape::Text(None), meaning: "Shown where a session is required." },
        Key { name: "403", shape: Shape::Text(None), meaning: "Shown where something is not allowed." },
        Key { name: "404", shape: Shape::Text(None), meaning: "Shown where no rule matches." },
        Key { name: "502", shape: Shape::Text(None), meaning: "Shown when a service is not reached." },
        Key { name: "503", shape: Shape::Text(None), meaning: "Shown when something is unavailable." },
    ],
};

/// The pages that were written, by status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pages(pub Vec<(StatusCode, Bytes)>);

/// Reads `[pages]`. The files are added to `watched`, whether they can be read or not.
pub(super) fn read(mut section: Section<'_>, watched: &mut Vec<PathBuf>) -> Pages {
    let mut pages = Vec::new();
    for key in TABLE.keys {
        let Some(file) = section.text(key.name) else { continue };
        let path = section.reader.directory.join(&file.text);
        let page = fs::read(&path);
        watched.push(path);
        let status = key.name.parse().ok();
        match (page, status) {
            (Ok(page), Some(status)) if page.len() <= BYTES_MAX => pages.push((status, page.into())),
            (Ok(_), _) => section.reader.error(file.span, format!("`{}` is too large", file.text), "at most 1 MiB"),
            (Err(fault), _) => {
                let message = format!("cannot read `{}`: {fault}", file.text);
                section.reader.error(file.span, message, "name an HTML file that the gateway may read");
            }
        }
    }
    section.finish();
    Pages(pages)
}
