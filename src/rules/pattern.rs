//! Patterns of paths, matched segment by segment.

/// A pattern of paths: literals, `*` for one segment, `**` for any number of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Segment>);

/// One segment of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// This text; empty text at the end is a trailing slash.
    Literal(Box<str>),
    /// `*`: one segment that is not empty.
    One,
    /// `**`: any number of segments, none included.
    Any,
}

/// Which spellings of a path a pattern takes for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// Byte for byte.
    Exact,
    /// ASCII case, percent-encoding and one trailing slash more or less do not count, as for many upstreams.
    Folded,
}

impl Pattern {
    /// Reads a pattern that begins with `/`; there is no other way to be wrong.
    pub fn parse(text: &str) -> Self {
        let segments = text.strip_prefix('/').unwrap_or(text).split('/').map(|segment| match segment {
            "*" => Segment::One,
            "**" => Segment::Any,
            literal => Segment::Literal(literal.into()),
        });
        Self(segments.collect())
    }

    /// The pattern of every path.
    pub fn everything() -> Self {
        Self(vec![Segment::Any])
    }

    /// Whether it matches a path in normal form. Folded, it matches whatever it matches exactly.
    pub fn matches(&self, path: &str, spelling: Spelling) -> bool {
        let path = path.strip_prefix('/').unwrap_or(path);
        match spelling {
            Spelling::Exact => glob(&self.0, Some(path), str::eq),
            Spelling::Folded => {
                let path = path.strip_suffix('/').unwrap_or(path);
                glob(self.without_slash(), Some(path).filter(|path| !path.is_empty()), is_alike)
            }
        }
    }

    /// Its segments.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Its segments without a trailing slash.
    pub fn without_slash(&self) -> &[Segment] {
        match &*self.0 {
            [segments @ .., Segment::Literal(last)] if last.is_empty() => segments,
            segments => segments,
        }
    }
}

impl Segment {
    fn takes(&self, segment: &str, same: fn(&str, &str) -> bool) -> bool {
        match self {
            Self::Literal(literal) => same(literal, segment),
            Self::One => !segment.is_empty(),
            Self::Any => true,
        }
    }
}

/// Matches from left to right and, where it fails, lets the last `**` take one segment more: going back further
/// cannot help, so the work is bounded by the product of both lengths.
fn glob(pattern: &[Segment], path: Option<&str>, same: fn(&str, &str) -> bool) -> bool {
    let (mut pattern, mut path) = (pattern, path);
    let mut retry: Option<(&[Segment], &str)> = None;
    loop {
        match (pattern, path) {
            ([], None) | ([Segment::Any], _) => return true,
            ([Segment::Any, rest @ ..], _) => {
                pattern = rest;
                retry = path.map(|path| (rest, path));
                continue;
            }
            ([segment, rest @ ..], Some(text)) => {
                let (first, tail) = split(text);
                if segment.takes(first, same) {
                    (pattern, path) = (rest, tail);
                    continue;
                }
            }
            ([], Some(_)) | ([_, ..], None) => {}
        }
        let Some((rest, text)) = retry else { return false };
        (pattern, path) = (rest, split(text).1);
        retry = path.map(|path| (rest, path));
    }
}

/// Whether two segments are one to a server that decodes them and ignores ASCII case.
fn is_alike(literal: &str, segment: &str) -> bool {
    literal.eq_ignore_ascii_case(segment)
        || (literal.contains('%') || segment.contains('%')) && folded(literal).eq(folded(segment))
}

/// A segment's octets, decoded once and in lower case.
pub(super) fn folded(segment: &str) -> impl Iterator<Item = u8> {
    percent_encoding::percent_decode_str(segment).map(|octet| octet.to_ascii_lowercase())
}

fn split(path: &str) -> (&str, Option<&str>) {
    path.split_once('/').map_or((path, None), |(first, tail)| (first, Some(tail)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exact(pattern: &str, path: &str) -> bool {
        Pattern::parse(pattern).matches(path, Spelling::Exact)
    }

    fn folded(pattern: &str, path: &str) -> bool {
        Pattern::parse(pattern).matches(path, Spelling::Folded)
    }

    #[test]
    fn patterns_match_segment_by_segment() {
        let matches = [
            ("/", "/"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("/a/*", "/a/b"),
            ("/*", "/a"),
            ("/*/c", "/b/c"),
            ("/a/**", "/a"),
            ("/a/**", "/a/"),
            ("/a/**", "/a/b/c/"),
            ("/**", "/"),
            ("/**", "/a/b"),
            ("/a/**/z", "/a/z"),
            ("/a/**/z", "/a/b/c/z"),
            ("/a/**/b/**/z", "/a/b/b/q/z"),
            ("/**/z", "/z/y/z"),
            ("/a/*/**", "/a/b"),
            ("/**/*", "/a"),
            ("/a/**/", "/a/b/"),
            ("/%C3%A9", "/%C3%A9"),
        ];
        for (pattern, path) in matches {
            assert!(exact(pattern, path) && folded(pattern, path), "{pattern} {path}");
        }
        let misses = [
            ("/", "/a"),
            ("/a", "/"),
            ("/a", "/ab"),
            ("/a", "/a/b"),
            ("/a/*", "/a"),
            ("/a/*", "/a/"),
            ("/*", "/"),
            ("/a/*", "/a/b/c"),
            ("/a/**", "/ab"),
            ("/a/**/z", "/a/z/y"),
            ("/**/z", "/zz"),
            ("/*/*", "/a/"),
            ("/a*", "/ab"),
            ("/a/*/**", "/a/"),
            ("/a/**/*/z", "/a/z"),
        ];
        for (pattern, path) in misses {
            assert!(!exact(pattern, path) && !folded(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn folded_patterns_ignore_case_and_one_trailing_slash() {
        for (pattern, path) in [("/a", "/A"), ("/a", "/a/"), ("/a/", "/A"), ("/a/*", "/A/b/"), ("/a/**/Z", "/A/q/z/")] {
            assert!(folded(pattern, path) && !exact(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn folded_patterns_see_through_percent_encoding() {
        for (pattern, path) in [("/a:b", "/a%3Ab"), ("/a%3Ab", "/A:b"), ("/@a/**", "/%40A/x"), ("/%C3%A9", "/%C3%A9/")]
        {
            assert!(folded(pattern, path), "{pattern} {path}");
        }
        assert!(!folded("/a", "/%2561") && !folded("/a/b", "/a%2Fb") && !exact("/a:b", "/a%3Ab"));
    }

    #[test]
    fn many_wildcards_on_a_long_path_take_no_time() {
        let pattern = "/**/a".repeat(20) + "/b";
        assert!(!exact(&pattern, &"/a".repeat(4000)));
    }

    /// The definition, by trying everything.
    fn by_definition(pattern: &[Segment], path: &[&str]) -> bool {
        match pattern {
            [] => path.is_empty(),
            [Segment::Any, rest @ ..] => (0..=path.len()).any(|taken| by_definition(rest, &path[taken..])),
            [segment, rest @ ..] => path
                .split_first()
                .is_some_and(|(first, tail)| segment.takes(first, str::eq) && by_definition(rest, tail)),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn matching_agrees_with_the_definition(pattern in "(/(a|b|\\*|\\*\\*)){1,5}/?", path in "(/[ab]){0,6}/?") {
            let path = if path.is_empty() { "/" } else { path.as_str() };
            let segments: Vec<_> = path[1..].split('/').collect();
            let parsed = Pattern::parse(&pattern);
            prop_assert_eq!(parsed.matches(path, Spelling::Exact), by_definition(parsed.segments(), &segments));
            if parsed.matches(path, Spelling::Exact) {
                prop_assert!(parsed.matches(path, Spelling::Folded));
                prop_assert!(parsed.matches(&path.to_ascii_uppercase(), Spelling::Folded));
            }
        }
    }
}
