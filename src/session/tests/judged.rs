//! Odd cookies and records with the judgement of the running app: each is read as the app reads it, or refused.

use super::*;
use fixture::{File, Row};
use std::{fs, path::Path};

#[path = "../../../tests/fixtures/judged.rs"]
mod fixture;

/// What the gateway says of one Cookie line and one record: a user, or `-`.
async fn judge(config: &config::session::Session, key: &str, line: &[u8], record: &[u8]) -> String {
    let store = store(None);
    store.write(W, key, record.to_vec().into(), Duration::from_secs(60)).await.unwrap();
    let sessions = Arc::new(Sessions::compile(config, store, &Metrics::new(1)));
    // What is no field's value is refused before anybody asks for sessions.
    let Ok(line) = HeaderValue::from_bytes(line) else { return "-".to_owned() };
    let headers = HeaderMap::from_iter([(COOKIE, line)]);
    let identified = sessions.identify(&headers, false, Activity::Ignored, W).await;
    user(&identified).map_or("-".to_owned(), |user| escape(user.as_bytes()))
}

/// Bytes as the files write them.
fn escape(bytes: &[u8]) -> String {
    let shown = |byte: &u8| match byte {
        b' '..=b'[' | b']'..=b'~' => char::from(*byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(shown).collect()
}

/// Judges the rows of a file; how many there are, and what was judged otherwise.
async fn judge_all(path: &Path) -> (usize, Vec<String>) {
    let file = File::read(path);
    let (config, mut wrong) = (read_section(&file.section), Vec::new());
    for Row { is_cookie, app, gateway, note, bytes } in &file.rows {
        let (line, record) = if *is_cookie { (bytes, &file.record) } else { (&file.cookie, bytes) };
        let judged = judge(&config, &file.key, line, record).await;
        if judged != *gateway || gateway != "-" && gateway != app {
            wrong.push(format!("{path:?}: {note}: app {app}, gateway {judged}, recorded {gateway}"));
        }
    }
    (file.rows.len(), wrong)
}

#[tokio::test]
async fn whatever_an_app_was_asked_is_read_as_it_did_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/judged");
    let (mut rows, mut wrong) = (0, Vec::new());
    for file in fs::read_dir(folder).unwrap() {
        let (more, odd) = judge_all(&file.unwrap().path()).await;
        rows += more;
        wrong.extend(odd);
    }
    assert!(wrong.is_empty() && rows > 1000, "of {rows}:\n{}", wrong.join("\n"));
}
