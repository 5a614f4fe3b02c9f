//! `strip_prefix` and `add_prefix`: the forwarded path of a rule, by segments.

use crate::{
    config,
    http::path::{NormalPath, PathFault},
};
use http::{HeaderValue, uri::PathAndQuery};

/// How a rule changes the path that it forwards.
#[derive(Debug, Clone, Default)]
pub struct Rewrite {
    pub(super) strip: Option<Box<str>>,
    pub(super) add: Option<Box<str>>,
    /// What was stripped, for `X-Forwarded-Prefix`.
    pub(super) prefix: Option<HeaderValue>,
    /// `rewrite_location`
    pub(super) restores: bool,
}

/// A path as it is forwarded.
#[derive(Debug)]
pub struct Rewritten<'a> {
    /// The path and the client's raw query.
    pub target: PathAndQuery,
    /// The value of `X-Forwarded-Prefix`, where a prefix was stripped.
    pub prefix: Option<&'a HeaderValue>,
}

impl Rewrite {
    /// Takes a rule's own slice.
    pub fn compile(rule: &config::rules::Rule) -> Self {
        let strip: Option<Box<str>> = rule.strip_prefix.as_deref().map(Into::into);
        let prefix = strip.as_deref().and_then(|strip| HeaderValue::from_str(strip).ok());
        Self { strip, add: rule.add_prefix.as_deref().map(Into::into), prefix, restores: rule.rewrites_location }
    }

    /// Rewrites a path. The result must be in normal form, or it could be read as another path than was matched.
    pub fn apply(&self, path: &NormalPath) -> Result<Rewritten<'_>, PathFault> {
        let stripped = self.strip.as_deref().and_then(|prefix| strip(path.as_str(), prefix));
        if stripped.is_none() && self.add.is_none() {
            return Ok(Rewritten { target: path.target().clone(), prefix: None });
        }

        let rest = stripped.unwrap_or(path.as_str());
        let mut text =
            String::with_capacity(path.target().as_str().len() + self.add.as_deref().map_or(0, str::len) + 1);
        text.push_str(self.add.as_deref().unwrap_or_default());
        text.push_str(rest);
        if text.is_empty() {
            text.push('/');
        }
        if let Some(query) = path.query() {
            text.push('?');
            text.push_str(query);
        }
        let target = NormalPath::rewritten(text)?.target().clone();
        Ok(Rewritten { target, prefix: stripped.and(self.prefix.as_ref()) })
    }
}

/// What follows `prefix`, which ends where a segment ends; the prefix is compared folded, the rest keeps its spelling.
fn strip<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = path.split_at_checked(prefix.len())?;
    (head.eq_ignore_ascii_case(prefix) && (rest.is_empty() || rest.starts_with('/'))).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rewrite(strip: Option<&str>, add: Option<&str>) -> Rewrite {
        let prefix = strip.map(|strip| HeaderValue::from_str(strip).expect("the test's prefix is a value"));
        Rewrite { strip: strip.map(Into::into), add: add.map(Into::into), prefix, restores: false }
    }

    fn path(target: &str) -> NormalPath {
        NormalPath::of(&target.parse().expect("the test's target is a URI")).expect("the test's path is accepted")
    }

    fn applied(strip: Option<&str>, add: Option<&str>, target: &str) -> (String, Option<String>) {
        let rewrite = rewrite(strip, add);
        let rewritten = rewrite.apply(&path(target)).expect("the rewritten path is normal");
        let prefix = rewritten.prefix.map(|prefix| prefix.to_str().expect("the prefix is text").to_owned());
        (rewritten.target.to_string(), prefix)
    }

    #[test]
    fn prefixes_are_stripped_and_added_by_segments() {
        let app = Some("/app");
        let cases = [
            (app, None, "/app/x?y=/app", "/x?y=/app", app),
            (app, None, "/APP/X", "/X", app),
            (app, None, "/app", "/", app),
            (app, None, "/app/?q", "/?q", app),
            (app, None, "/application", "/application", None),
            (app, None, "/x/app", "/x/app", None),
            (app, Some("/v1"), "/app", "/v1", app),
            (app, Some("/v1"), "/app/x", "/v1/x", app),
            (None, Some("/v1"), "/", "/v1/", None),
            (app, Some("/v1"), "/b?c", "/v1/b?c", None),
            (None, None, "/b?c", "/b?c", None),
            (app, Some("/v1"), "/app//x", "/v1/x", app),
        ];
        for (strip, add, target, wanted, prefix) in cases {
            let wanted = (wanted.to_owned(), prefix.map(str::to_owned));
            assert_eq!(applied(strip, add, target), wanted, "{strip:?} {add:?} {target}");
        }
    }

    #[test]
    fn empty_segments_stay_where_they_are_kept() {
        let path = path("/app//x//?y");
        let unmerged = path.unmerged().expect("the path has empty segments");
        for (strip, add, wanted) in [(None, Some("/v1"), "/v1/app//x//?y"), (Some("/app"), None, "//x//?y")] {
            let rewritten = rewrite(strip, add);
            assert_eq!(rewritten.apply(unmerged).expect("the rewritten path is normal").target, wanted);
        }
    }

    proptest! {
        #[test]
        fn a_rewritten_path_is_normal(
            target in "(/([a-c]|app|APP|%2F|\\.a)){0,4}/?(\\?[a-z/]{0,4})?",
            added in any::<bool>(),
        ) {
            let target = if target.starts_with('/') { target } else { format!("/{target}") };
            let rewrite = rewrite(Some("/app"), added.then_some("/v1"));
            let before = path(&target);
            if let Ok(rewritten) = rewrite.apply(&before) {
                let again = path(rewritten.target.as_str());
                prop_assert_eq!(again.target(), &rewritten.target);
                prop_assert_eq!(rewritten.target.query(), before.query());
            }
        }
    }
}
