//! All readers, and the recorded sessions that each can begin with.

use base64::{Engine, engine::general_purpose::STANDARD};
use onedoor::session::value::{Fault, Value, gob, java, json, marshal, msgpack, php, pickle, zlib};

/// A reader of foreign bytes.
pub(crate) struct Reader {
    pub(crate) name: &'static str,
    pub(crate) read: fn(&[u8]) -> Result<Value, Fault>,
    /// A record in base64, for a reader that no recorded session is for.
    example: Option<&'static str>,
}

pub(crate) const READERS: &[Reader] = &[
    Reader { name: "json", read: json::read, example: None },
    Reader { name: "msgpack", read: msgpack::read, example: None },
    Reader { name: "pickle", read: pickle::read, example: None },
    Reader { name: "zlib", read: |bytes| zlib::unpack(bytes).map(|unpacked| Value::bytes(&unpacked)), example: None },
    Reader { name: "php", read: php::read, example: Some("YToxOntzOjI6ImlkIjtpOjQyO30=") },
    Reader { name: "php_session", read: php::read_session, example: None },
    Reader { name: "igbinary", read: php::igbinary::read, example: Some("AAAAAhQBEQJpZAYq") },
    Reader { name: "marshal", read: marshal::read, example: None },
    Reader { name: "java", read: java::read, example: Some("rO0ABXQAA3pvZQ==") },
    Reader { name: "gob", read: gob::read, example: Some("BgwAA2FiYw==") },
];

impl Reader {
    /// The recorded sessions that it reads, packed and unpacked.
    pub(crate) fn seeds(&self) -> Vec<Vec<u8>> {
        let mut seeds: Vec<Vec<u8>> = records();
        seeds.extend(self.example.map(|example| STANDARD.decode(example).unwrap()));
        seeds.retain(|seed| !seed.is_empty() && (self.read)(seed).is_ok());
        seeds.sort();
        seeds.dedup();
        seeds
    }
}

/// Everything that was recorded, hashes field by field.
fn records() -> Vec<Vec<u8>> {
    let sessions = include_str!("../fixtures/sessions.jsonl").lines().map(|line| (line, "redis_value_b64"));
    let pickles = include_str!("../fixtures/pickles.jsonl").lines().map(|line| (line, "pickle_b64"));
    let mut records = Vec::new();
    for (line, key) in sessions.chain(pickles) {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        match &row[key] {
            serde_json::Value::String(text) => records.push(STANDARD.decode(text).unwrap()),
            serde_json::Value::Object(fields) => {
                records.extend(fields.values().map(|field| STANDARD.decode(field.as_str().unwrap()).unwrap()));
            }
            other => panic!("{other} is no record"),
        }
    }
    let unpacked: Vec<_> = records.iter().filter_map(|record| zlib::unpack(record).ok()).collect();
    records.extend(unpacked);
    records
}
