//! What signs cookies: `secrets` and `secrets_file`.

use super::preset::{Preset, Secrets};
use crate::{
    config::{Span, section::Section},
    secret::Secret,
};
use std::{fs, path::PathBuf};
use toml::de::DeValue;

/// Shorter than this is too easy to guess.
const LENGTH_MIN: usize = 16;

/// Straight from tutorials and examples.
const WELL_KNOWN: &[&str] = &[
    "keyboard cat",
    "secret",
    "changeme",
    "change me",
    "change-me",
    "password",
    "your secret",
    "your-secret",
    "your_secret",
    "your-secret-key",
    "your_secret_key",
    "supersecret",
    "super secret",
    "super-secret",
    "mysecret",
    "my secret",
    "my-secret",
    "shhhh",
    "topsecret",
    "session secret",
    "session-secret",
    "secretkey",
    "secret key",
    "secret-key",
    "sessionsecret",
    "thisismysecret",
    "this is a secret",
    "some secret",
    "ssshhhhh",
    "keyboardcat",
    "default",
    "development",
    "test",
];

/// Reads `secrets` or `secrets_file`. A file is added to `watched`, whether it can be read or not.
pub(super) fn read(section: &mut Section<'_>, preset: &Preset, named: bool, watched: &mut Vec<PathBuf>) -> Vec<Secret> {
    let literal = section.take("secrets");
    let file = section.text("secrets_file");
    if literal.is_some() && file.is_some() {
        let remedy = "keep one of them: a file may hold several secrets, newest first";
        section.reader.error(section.span_of("secrets_file"), "`secrets_file` stands instead of `secrets`", remedy);
    }
    let required = named && preset.secrets == Secrets::Always;
    if required && literal.is_none() && !section.has("secrets_file") {
        let remedy =
            "give the secret that the app signs with: `secrets = [\"${SESSION_SECRET}\"]`, or a `secrets_file`";
        section.require("secrets", remedy);
    }

    let values = match literal.map(|value| (value, value.get_ref())) {
        Some((value, DeValue::Array(values))) if values.is_empty() => {
            section.reader.error(
                value.span(),
                "`secrets` is an empty list",
                "name at least one: `secrets = [\"${SESSION_SECRET}\"]`",
            );
            Vec::new()
        }
        Some((_, DeValue::Array(values))) => values.iter().collect(),
        Some((value, _)) => vec![value],
        None => Vec::new(),
    };
    let mut secrets = Vec::new();
    for text in values.into_iter().filter_map(|value| section.reader.secret(value)) {
        judge(section, preset, &text.text, text.span, "this secret");
        secrets.push(Secret::new(text.text));
    }
    if let Some(file) = file {
        secrets.extend(read_file(section, preset, &file.text, file.span, watched));
    }
    secrets
}

/// One secret a line; empty lines are skipped, so that a line break at the end does no harm.
fn read_file(
    section: &Section<'_>,
    preset: &Preset,
    name: &str,
    span: Span,
    watched: &mut Vec<PathBuf>,
) -> Vec<Secret> {
    let path = section.reader.directory.join(name);
    let text = fs::read_to_string(&path);
    watched.push(path);
    let text = match text {
        Ok(text) => text,
        Err(fault) => {
            let remedy = "it holds one secret a line, and the gateway must be able to read it";
            section.reader.error(span, format!("cannot read `{name}`: {fault}"), remedy);
            return Vec::new();
        }
    };
    let mut secrets = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        judge(section, preset, line, span.clone(), &format!("the secret on line {}", index + 1));
        secrets.push(Secret::new(line));
    }
    if secrets.is_empty() {
        section.reader.error(span, format!("`{name}` holds no secret"), "write one secret a line, newest first");
    }
    secrets
}

/// Says what makes a secret easy to guess, without showing it.
fn judge(section: &Section<'_>, preset: &Preset, secret: &str, span: Span, which: &str) {
    let remedy =
        "make one with `openssl rand -base64 32`, put it first and keep the old one behind it until sessions have gone";
    if secret.trim().is_empty() {
        let remedy = "anybody could sign a session with it: set the variable, or leave the entry out";
        section.reader.error(span, format!("{which} is empty"), remedy);
    } else if let Some(wanted) = preset.secret_form.missed_by(secret) {
        let remedy = "give the key that the app has; write what is no text as `base64:…` or `hex:…`";
        section.reader.error(span, format!("{which} is not a key of {wanted}"), remedy);
    } else if WELL_KNOWN.contains(&secret.trim().to_lowercase().as_str()) {
        section.reader.warning(span, format!("{which} is well known"), remedy);
    } else if secret.chars().count() < LENGTH_MIN {
        section.reader.warning(span, format!("{which} is shorter than {LENGTH_MIN} characters"), remedy);
    }
}
