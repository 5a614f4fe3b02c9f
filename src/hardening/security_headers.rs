//! Security headers: added to every answer that has not its own.

use crate::config::security_headers::SecurityHeaders as Written;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS},
};

const NO_SNIFFING: HeaderValue = HeaderValue::from_static("nosniff");
const NO_PATHS_ELSEWHERE: HeaderValue = HeaderValue::from_static("strict-origin-when-cross-origin");
const HTTPS_FOR_A_DAY: HeaderValue = HeaderValue::from_static("max-age=86400");
const FRAMED_BY_US: HeaderValue = HeaderValue::from_static("SAMEORIGIN");

/// The headers of one rule's answers.
#[derive(Debug, Default)]
pub struct SecurityHeaders {
    always: Vec<(HeaderName, HeaderValue)>,
    /// Browsers must not believe it over http.
    over_https: Option<HeaderValue>,
    /// On pages of the gateway's own, and on those behind a session.
    framing: Option<HeaderValue>,
    frames_all: bool,
}

impl SecurityHeaders {
    /// Takes what is written for the whole file, then for a rule; `protected` is a rule that requires a session.
    pub fn compile(everywhere: &Written, here: &Written, protected: bool) -> Self {
        let mut headers = vec![
            (X_CONTENT_TYPE_OPTIONS, NO_SNIFFING),
            (REFERRER_POLICY, NO_PATHS_ELSEWHERE),
            (STRICT_TRANSPORT_SECURITY, HTTPS_FOR_A_DAY),
        ];
        let mut framing = Some(FRAMED_BY_US);
        let is_off = match here {
            Written::Inherited => matches!(everywhere, Written::Off),
            Written::Off => true,
            Written::Also(_) => false,
        };
        if is_off {
            return Self::default();
        }
        for written in [everywhere, here] {
            let Written::Also(written) = written else { continue };
            for (name, value) in written {
                headers.retain(|(known, _)| known != name);
                headers.extend(value.clone().map(|value| (name.clone(), value)));
                framing = framing.filter(|_| name != X_FRAME_OPTIONS);
            }
        }
        let at = headers.iter().position(|(name, _)| name == STRICT_TRANSPORT_SECURITY);
        let over_https = at.map(|at| headers.swap_remove(at).1);
        Self { always: headers, over_https, framing, frames_all: protected }
    }

    /// Adds what is missing; `own` is an answer of the gateway itself.
    pub fn apply(&self, headers: &mut HeaderMap, https: bool, own: bool) {
        let mut add = |name: &HeaderName, value: &HeaderValue| {
            headers.entry(name).or_insert_with(|| value.clone());
        };
        for (name, value) in &self.always {
            add(name, value);
        }
        if let Some(value) = self.over_https.as_ref().filter(|_| https) {
            add(&STRICT_TRANSPORT_SECURITY, value);
        }
        if let Some(value) = self.framing.as_ref().filter(|_| own || self.frames_all) {
            add(&X_FRAME_OPTIONS, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(
        headers: &SecurityHeaders,
        https: bool,
        own: bool,
        theirs: &[(HeaderName, &'static str)],
    ) -> Vec<String> {
        let theirs = theirs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let mut answer: HeaderMap = theirs.collect();
        headers.apply(&mut answer, https, own);
        let line = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().expect("text"));
        let mut lines: Vec<_> = answer.iter().map(line).collect();
        lines.sort();
        lines
    }

    fn also(headers: &[(HeaderName, &'static str)]) -> Written {
        let value = |text: &'static str| (!text.is_empty()).then(|| HeaderValue::from_static(text));
        Written::Also(headers.iter().map(|(name, text)| (name.clone(), value(text))).collect())
    }

    #[test]
    fn what_is_missing_is_added_and_what_is_there_stays() {
        let headers = SecurityHeaders::compile(&Written::Inherited, &Written::Inherited, false);
        let referrer = "referrer-policy: strict-origin-when-cross-origin";
        let sniffing = "x-content-type-options: nosniff";
        assert_eq!(applied(&headers, false, false, &[]), [referrer, sniffing]);
        assert_eq!(
            applied(&headers, true, true, &[(REFERRER_POLICY, "no-referrer")]),
            [
                "referrer-policy: no-referrer",
                "strict-transport-security: max-age=86400",
                sniffing,
                "x-frame-options: SAMEORIGIN"
            ]
        );
        let protected = SecurityHeaders::compile(&Written::Inherited, &Written::Inherited, true);
        assert_eq!(applied(&protected, false, false, &[]).len(), 3);
    }

    #[test]
    fn a_table_adds_replaces_and_takes_away() {
        let everywhere = also(&[(X_FRAME_OPTIONS, "DENY"), (REFERRER_POLICY, "")]);
        let headers = SecurityHeaders::compile(&everywhere, &Written::Inherited, false);
        let expected = ["x-content-type-options: nosniff", "x-frame-options: DENY"];
        assert_eq!(applied(&headers, false, false, &[]), expected);
        let headers = SecurityHeaders::compile(&everywhere, &also(&[(X_FRAME_OPTIONS, "")]), true);
        assert_eq!(applied(&headers, false, true, &[]), expected[..1]);
        for (everywhere, here) in [(Written::Off, Written::Inherited), (everywhere, Written::Off)] {
            assert!(applied(&SecurityHeaders::compile(&everywhere, &here, true), true, true, &[]).is_empty());
        }
        let here = SecurityHeaders::compile(&Written::Off, &also(&[]), false);
        assert_eq!(applied(&here, false, false, &[]).len(), 2, "a rule may turn on what is off elsewhere");
    }
}
