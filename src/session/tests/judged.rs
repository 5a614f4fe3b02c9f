//! Odd cookies and records with the judgement of the running app: each is read as the app reads it, or refused.

use super::*;
use std::{fs, path::Path};

/// A file of `tests/fixtures/judged`: a section, and what stands in for the half that a row does not name.
#[derive(Default)]
struct File {
    section: String,
    key: String,
    cookie: Vec<u8>,
    record: Vec<u8>,
}

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

fn unescape(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(&part.as_bytes()[2..]);
    }
    bytes
}

/// Judges the rows of a file; how many there are, and what was judged otherwise.
async fn judge_all(path: &Path) -> (usize, Vec<String>) {
    let (mut file, mut config, mut rows, mut wrong) = (File::default(), None, 0, Vec::new());
    for line in fs::read_to_string(path).unwrap().lines().filter(|line| !line.starts_with('#')) {
        if let Some(line) = line.strip_prefix("= ") {
            file.section += &format!("{line}\n");
            continue;
        }
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["key", key] => file.key = String::from_utf8(unescape(key)).unwrap(),
            ["cookie", line] => file.cookie = unescape(line),
            ["record", record] => file.record = unescape(record),
            [half, app, gateway, note, bytes] => {
                let bytes = unescape(bytes);
                let (line, record) = match half {
                    "cookie" => (&bytes, &file.record),
                    _ => (&file.cookie, &bytes),
                };
                let config = config.get_or_insert_with(|| read_section(&file.section));
                let judged = judge(config, &file.key, line, record).await;
                rows += 1;
                if judged != gateway || gateway != "-" && gateway != app {
                    wrong.push(format!("{path:?}: {half} {note}: app {app}, gateway {judged}, recorded {gateway}"));
                }
            }
            _ => panic!("{path:?}: {line}"),
        }
    }
    (rows, wrong)
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
