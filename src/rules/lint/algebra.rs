//! Sets of paths, as patterns: whether one holds another, and where two meet.

use crate::rules::pattern::{Pattern, Segment, Spelling};

/// How many steps the search for meeting points takes at most; patterns written by people need a handful.
const STEPS_MAX: usize = 10_000;

/// Whether `outer` surely matches every path that `inner` matches, each in its spelling.
pub(super) fn covers(outer: &Pattern, outer_spelling: Spelling, inner: &Pattern, inner_spelling: Spelling) -> bool {
    match (outer_spelling, inner_spelling) {
        (Spelling::Folded, _) => {
            holds(outer.without_slash(), inner.without_slash(), |one, other| one.eq_ignore_ascii_case(other))
        }
        (Spelling::Exact, Spelling::Exact) => holds(outer.segments(), inner.segments(), |one, other| one == other),
        (Spelling::Exact, Spelling::Folded) => {
            // Text with letters has spellings that an exact literal misses.
            let same = |one: &str, other: &str| one == other && !one.bytes().any(|byte| byte.is_ascii_alphabetic());
            let with_slash = [inner.without_slash(), &[Segment::Literal("".into())]].concat();
            let is_root = inner.without_slash().is_empty();
            (is_root || holds(outer.segments(), inner.without_slash(), same))
                && holds(outer.segments(), &with_slash, same)
        }
    }
}

fn holds(outer: &[Segment], inner: &[Segment], same: impl Fn(&str, &str) -> bool + Copy) -> bool {
    match (outer, inner) {
        ([], []) => true,
        ([Segment::Any, rest @ ..], _) => {
            holds(rest, inner, same) || inner.split_first().is_some_and(|(_, inner)| holds(outer, inner, same))
        }
        ([one, outer @ ..], [other, inner @ ..]) => {
            let takes = match (one, other) {
                (Segment::One, Segment::One) => true,
                (Segment::One, Segment::Literal(literal)) => !literal.is_empty(),
                (Segment::Literal(one), Segment::Literal(other)) => same(one, other),
                _ => false,
            };
            takes && holds(outer, inner, same)
        }
        ([], _) | (_, []) => false,
    }
}

/// Paths that both match when case does not count, spelled as in `one`: not all, but one for every way in which the
/// patterns can meet.
pub(super) fn meetings(one: &[Segment], other: &[Segment]) -> Vec<String> {
    let (mut found, mut steps) = (Vec::new(), STEPS_MAX);
    meet(one, other, &mut Vec::new(), &mut found, &mut steps);
    found
}

fn meet(one: &[Segment], other: &[Segment], path: &mut Vec<Box<str>>, found: &mut Vec<String>, steps: &mut usize) {
    let Some(left) = steps.checked_sub(1) else { return };
    *steps = left;
    match (one, other) {
        ([], []) => found.push(format!("/{}", path.join("/"))),
        ([Segment::Any, rest @ ..], _) => {
            meet(rest, other, path, found, steps);
            if let Some((segment, tail)) = other.split_first() {
                through(segment, |steps, path| meet(one, tail, path, found, steps), path, steps);
            }
        }
        (_, [Segment::Any, rest @ ..]) => {
            meet(one, rest, path, found, steps);
            if let Some((segment, tail)) = one.split_first() {
                through(segment, |steps, path| meet(tail, other, path, found, steps), path, steps);
            }
        }
        ([one, one_tail @ ..], [other, other_tail @ ..]) => {
            if let Some(segment) = common(one, other) {
                through(&segment, |steps, path| meet(one_tail, other_tail, path, found, steps), path, steps);
            }
        }
        ([], _) | (_, []) => {}
    }
}

/// Goes on with `segment` at the end of the path.
fn through(
    segment: &Segment,
    go_on: impl FnOnce(&mut usize, &mut Vec<Box<str>>),
    path: &mut Vec<Box<str>>,
    steps: &mut usize,
) {
    let text: Option<Box<str>> = match segment {
        Segment::Literal(literal) => Some(literal.clone()),
        Segment::One => Some("~".into()),
        Segment::Any => None,
    };
    let length = path.len();
    path.extend(text);
    go_on(steps, path);
    path.truncate(length);
}

fn common(one: &Segment, other: &Segment) -> Option<Segment> {
    match (one, other) {
        (Segment::Literal(one), Segment::Literal(other)) => {
            one.eq_ignore_ascii_case(other).then(|| Segment::Literal(one.clone()))
        }
        (Segment::One, Segment::Literal(literal)) | (Segment::Literal(literal), Segment::One) => {
            (!literal.is_empty()).then(|| Segment::Literal(literal.clone()))
        }
        (Segment::One, Segment::One) => Some(Segment::One),
        (Segment::Any, _) | (_, Segment::Any) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Spelling::{Exact, Folded};
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text)
    }

    #[test]
    fn a_pattern_covers_what_it_surely_matches() {
        let cases = [
            ("/**", Exact, "/a", Folded, true),
            ("/a/**", Exact, "/a", Exact, true),
            ("/a/**", Exact, "/a/*", Exact, true),
            ("/a/**", Exact, "/a", Folded, false),
            ("/1/**", Exact, "/1", Folded, true),
            ("/1", Exact, "/1", Folded, false),
            ("/", Exact, "/", Folded, true),
            ("/a", Folded, "/A/", Folded, true),
            ("/a", Folded, "/a", Exact, true),
            ("/a", Exact, "/a", Folded, false),
            ("/a/*", Exact, "/a/", Exact, false),
            ("/*", Exact, "/**", Exact, false),
            ("/a/*/c", Exact, "/a/b/c", Exact, true),
        ];
        for (outer, outer_spelling, inner, inner_spelling, covered) in cases {
            let result = covers(&pattern(outer), outer_spelling, &pattern(inner), inner_spelling);
            assert_eq!(result, covered, "{outer} {outer_spelling:?} {inner} {inner_spelling:?}");
        }
    }

    const PATTERNS: &str = "(/(a|B|1|\\*|\\*\\*)){1,4}/?";

    fn spellings() -> impl Strategy<Value = Spelling> {
        prop_oneof![Just(Exact), Just(Folded)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn what_is_covered_is_matched(
            outer in PATTERNS, inner in PATTERNS, path in "(/[aAbB1x]){0,5}/?",
            outer_spelling in spellings(), inner_spelling in spellings(),
        ) {
            let path = if path.is_empty() { "/" } else { path.as_str() };
            let (outer, inner) = (pattern(&outer), pattern(&inner));
            if covers(&outer, outer_spelling, &inner, inner_spelling) && inner.matches(path, inner_spelling) {
                prop_assert!(outer.matches(path, outer_spelling));
            }
        }

        #[test]
        fn meeting_points_are_matched_by_both(one in PATTERNS, other in PATTERNS) {
            let (one, other) = (pattern(&one), pattern(&other));
            for path in meetings(one.without_slash(), other.without_slash()) {
                prop_assert!(one.matches(&path, Folded) && other.matches(&path, Folded), "{}", path);
            }
        }
    }
}
