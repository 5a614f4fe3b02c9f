//! Which parts of records somebody will look at, so that the rest need not be built.

use crate::config::path::RecordPath;
use smol_str::SmolStr;

/// The parts of a record under some paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    whole: bool,
    members: Vec<(SmolStr, Selection)>,
}

impl Selection {
    /// Everything.
    pub fn whole() -> Self {
        Self { whole: true, members: Vec::new() }
    }

    /// What is selected of a map's member; `None` = nothing.
    pub fn member(&self, name: &str) -> Option<&Self> {
        if self.whole {
            return Some(self);
        }
        self.members.iter().find(|(known, _)| known == name).map(|(_, selection)| selection)
    }

    fn add(&mut self, steps: &[String]) {
        let Some((first, rest)) = steps.split_first() else {
            self.whole = true;
            return;
        };
        let known = self.members.iter().position(|(name, _)| name == first);
        let at = known.unwrap_or_else(|| {
            self.members.push((first.as_str().into(), Self::default()));
            self.members.len() - 1
        });
        self.members[at].1.add(rest);
    }
}

impl<'a> Extend<&'a RecordPath> for Selection {
    fn extend<T: IntoIterator<Item = &'a RecordPath>>(&mut self, paths: T) {
        for path in paths {
            self.add(&path.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::value::json::{self, Author};
    use proptest::prelude::*;

    fn path(text: &str) -> RecordPath {
        RecordPath::parse(text).expect("the test's path is valid")
    }

    fn selected(record: &str, paths: &[&str]) -> String {
        let paths: Vec<_> = paths.iter().map(|text| path(text)).collect();
        let mut selection = Selection::default();
        selection.extend(&paths);
        let value = json::read_selected(Author::Anyone, record.as_bytes(), &selection);
        json::write(&value.expect("the test's record is readable"))
    }

    #[test]
    fn of_a_record_only_what_is_selected_is_kept() {
        let record = r#"{"cookie":{"path":"/"},"user":{"id":42,"name":"Zo\u00eb","tags":[{"a":"\\"}]},"cart":["a"]}"#;
        assert_eq!(selected(record, &["user.id"]), r#"{"user":{"id":42}}"#);
        assert_eq!(selected(record, &["user.id", "cart"]), r#"{"user":{"id":42},"cart":["a"]}"#);
        assert_eq!(selected(record, &["user.id", "user"]), selected(record, &["user"]));
        assert_eq!(selected(record, &["user.tags.0"]), r#"{"user":{"tags":[{"a":"\\"}]}}"#);
        assert_eq!(selected(record, &[]), "{}");
    }

    #[test]
    fn of_equal_keys_all_that_are_selected_are_kept() {
        assert_eq!(selected(r#"{"user":1,"a":2,"user":{"id":3}}"#, &["user.id"]), r#"{"user":1,"user":{"id":3}}"#);
        assert_eq!(selected(r#"{"\u0075ser":7}"#, &["user"]), r#"{"user":7}"#);
    }

    fn json_like() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("-12.5e3".to_owned()),
            Just("-Infinity".to_owned()),
            Just("\"\\ud83d\"".to_owned()),
            Just("9007199254740993".to_owned()),
            "[a-z\\\\\"{}\\[\\],:u0-9]{0,6}".prop_map(|text| format!("\"{text}\"")),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
                proptest::collection::vec(("[ab]|\\\\ud83d", inner), 0..4).prop_map(|entries| {
                    let entries: Vec<_> = entries.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                    format!("{{{}}}", entries.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_selected_path_leads_to_the_same_value_and_faults_are_the_same(
            record in json_like(), steps in proptest::collection::vec("[ab01]", 1..4), cut in 0_usize..200
        ) {
            let record = &record.as_bytes()[..cut.min(record.len())];
            let path = RecordPath(steps);
            let mut selection = Selection::default();
            selection.extend([&path]);
            for author in [Author::Anyone, Author::JavaScript, Author::Python, Author::Rust] {
                match (json::read_as(author, record), json::read_selected(author, record, &selection)) {
                    (Ok(whole), Ok(part)) => prop_assert_eq!(whole.at(&path), part.at(&path)),
                    (whole, part) => prop_assert_eq!(whole.err(), part.err()),
                }
            }
        }
    }
}
