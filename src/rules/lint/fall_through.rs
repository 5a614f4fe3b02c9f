//! Rules limited to methods, behind which the same path is easier to reach by another method.

use super::{Book, is_weaker, name, samples};
use crate::{
    config::{diagnostic::Diagnostics, rules::Rule},
    rules::table,
};
use http::Method;

/// Methods by which a path may be reached; an upstream that knows others is beyond guessing.
const METHODS: [Method; 6] = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
/// Methods that frameworks let a POST stand for, by a `_method` in its body.
const BEHIND_POST: [Method; 3] = [Method::PUT, Method::PATCH, Method::DELETE];

pub(super) fn lint(book: &Book<'_>, method_override: bool, diagnostics: &mut Diagnostics) {
    for (index, rule) in book.numbered().filter(|(_, rule)| !rule.methods.is_empty()) {
        if method_override {
            let message =
                "this rule is limited to methods, but `method_override = true` lets a header replace the method";
            diagnostics.error(rule.span.clone(), message, "remove `method` here, or `method_override` from [server]");
            continue;
        }
        let mut ways = Vec::new();
        for pattern in table::patterns(rule) {
            for path in samples(&pattern) {
                collect(book, index, rule, &path, &mut ways);
            }
        }
        report(book, rule, &ways, diagnostics);
    }
}

/// Notes the methods by which `path`, governed by `rule` for its own methods, reaches a weaker rule.
fn collect(book: &Book<'_>, index: usize, rule: &Rule, path: &str, ways: &mut Vec<(usize, Method)>) {
    let is_governed =
        rule.methods.iter().any(|method| book.first(method, path).is_some_and(|(first, _)| first == index));
    if !is_governed {
        return;
    }
    for method in METHODS {
        let Some((other_index, other)) = book.first(&method, path) else { continue };
        let falls = other_index > index && !other.methods.contains(&method);
        let stands_for = method == Method::POST && rule.methods.iter().any(|method| BEHIND_POST.contains(method));
        let way = (other_index, method);
        if other_index != index && is_weaker(other, rule) && (falls || stands_for) && !ways.contains(&way) {
            ways.push(way);
        }
    }
}

fn report(book: &Book<'_>, rule: &Rule, ways: &[(usize, Method)], diagnostics: &mut Diagnostics) {
    let Some((weaker, _)) = ways.first() else { return };
    let methods: Vec<_> = ways.iter().filter(|(index, _)| index == weaker).map(|(_, method)| method.as_str()).collect();
    let weaker = book.rules.get(*weaker).map_or_else(String::new, |rule| name(*weaker, rule));
    let message = format!("by {} the same path reaches {weaker}, which asks for less", methods.join(", "));
    let stands_for = methods == ["POST"] && rule.methods.iter().any(|method| BEHIND_POST.contains(method));
    let remedy = if stands_for {
        "protect POST too: many frameworks let `_method` in its body stand for PUT, PATCH or DELETE"
    } else {
        "protect the other methods too, or list in the later rule the methods that it is meant for"
    };
    diagnostics.warning(rule.span.clone(), message, remedy);
}
