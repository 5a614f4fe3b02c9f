//! What is wrong with a configuration: where, why, and what to do about it.

use super::Span;
use annotate_snippets::{
    AnnotationKind, Level, Origin, Renderer, Snippet, normalize_untrusted_str, renderer::DecorStyle,
};

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// An error stops the configuration from being used, a warning does not.
    pub severity: Severity,
    /// The bytes that are underlined.
    pub span: Span,
    /// What is wrong, as one sentence fragment.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but probably does not do what was meant.
    Warning,
}

/// All findings about one configuration, in the order they were made.
#[derive(Debug, Clone, Default)]
pub struct Diagnostics(Vec<Diagnostic>);

/// What is wrong with one value, before it is known where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, as one sentence fragment; never holds a secret.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// The text that findings point into.
#[derive(Debug, Clone)]
pub struct Source {
    name: String,
    shown: String,
}

impl Source {
    /// The file called `name` with this text, of which the bytes in `hidden` are never shown.
    ///
    /// Hidden bytes become asterisks one by one, so that every span keeps its place.
    pub(super) fn new(name: &str, text: &str, hidden: &[Span]) -> Self {
        let mut bytes = text.as_bytes().to_vec();
        for byte in hidden.iter().filter_map(|span| bytes_of(text, span)).flatten() {
            bytes[byte] = if bytes[byte] == b'\n' { b'\n' } else { b'*' };
        }
        // Whole characters were replaced, so this is text as before; the lossy way only avoids a second proof.
        Self { name: name.to_owned(), shown: String::from_utf8_lossy(&bytes).into_owned() }
    }

    /// The file's name, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The bytes of a span, widened to whole characters.
fn bytes_of(text: &str, span: &Span) -> Option<Span> {
    let start = text.floor_char_boundary(span.start);
    let end = text.ceil_char_boundary(span.end);
    (start < end).then_some(start..end)
}

impl Fault {
    /// A fault and its remedy.
    pub fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { message: message.into(), remedy: remedy.into() }
    }
}

impl Diagnostics {
    /// Notes an error.
    pub fn error(&mut self, span: Span, message: impl Into<String>, remedy: impl Into<String>) {
        self.push(Severity::Error, span, message.into(), remedy.into());
    }

    /// Notes a warning.
    pub fn warning(&mut self, span: Span, message: impl Into<String>, remedy: impl Into<String>) {
        self.push(Severity::Warning, span, message.into(), remedy.into());
    }

    /// Whether one of the findings is an error.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// How many errors and how many warnings there are.
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.0.iter().filter(|finding| finding.severity == Severity::Error).count();
        (errors, self.0.len() - errors)
    }

    /// The findings, in the order of their places.
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut findings: Vec<_> = self.0.iter().collect();
        findings.sort_by_key(|finding| finding.span.start);
        findings
    }

    /// All findings for people: file, line, column, the underlined source, what is wrong and what to do about it.
    ///
    /// Empty if there are none, else it ends with a line break. Secrets in the source are shown as asterisks.
    pub fn render(&self, source: &Source, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.decor_style(DecorStyle::Ascii);
        let mut text = String::new();
        for finding in self.sorted() {
            text.push_str(&finding.render(source, &renderer));
            text.push_str("\n\n");
        }
        text
    }

    fn push(&mut self, severity: Severity, span: Span, message: String, remedy: String) {
        let remedy = Some(remedy).filter(|text| !text.is_empty());
        self.0.push(Diagnostic { severity, span, message, remedy });
    }
}

impl Diagnostic {
    fn render(&self, source: &Source, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(normalize_untrusted_str(&self.message));
        let mut group = if source.shown.trim().is_empty() {
            title.element(Origin::path(source.name.as_str()))
        } else {
            let underlined = AnnotationKind::Primary.span(self.underlined(&source.shown));
            title.element(Snippet::source(source.shown.as_str()).path(source.name.as_str()).annotation(underlined))
        };
        if let Some(remedy) = &self.remedy {
            group = group.element(Level::HELP.message(normalize_untrusted_str(remedy)));
        }
        renderer.render(&[group])
    }

    /// The span within one line and on character boundaries, whatever it was measured on.
    fn underlined(&self, text: &str) -> Span {
        let start = text.floor_char_boundary(self.span.start);
        let line_end = text[start..].find('\n').map_or(text.len(), |length| start + length);
        let end = text.ceil_char_boundary(self.span.end).clamp(start, line_end);
        start..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_shows_file_line_column_source_and_remedy() {
        let mut findings = Diagnostics::default();
        findings.error(9..13, "unknown key `pfad`", "did you mean `path`?");
        let text = findings.render(&Source::new("gateway.toml", "[[rules]]pfad = 1\n", &[]), false);
        for part in [
            "error: unknown key `pfad`",
            "gateway.toml:1:10",
            "[[rules]]pfad = 1",
            "^^^^",
            "help: did you mean `path`?",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn hidden_bytes_become_asterisks_and_places_stay() {
        let text = "secrets = [\"häm\"] # x\n";
        let source = Source::new("g", text, std::slice::from_ref(&(12..16)));
        assert_eq!(source.shown, "secrets = [\"****\"] # x\n");
        let everything = Source::new("g", "a\nb", std::slice::from_ref(&(0..900)));
        assert_eq!(everything.shown, "*\n*");
    }

    #[test]
    fn any_span_can_be_rendered() {
        let source = Source::new("g", "é\n\"x\"\n", &[]);
        for span in [0..0, 1..1, 0..900, 900..901, 1..4, 7..7] {
            let mut findings = Diagnostics::default();
            findings.warning(span, "m\u{1b}[31m", "");
            assert!(!findings.render(&source, false).contains('\u{1b}'));
        }
    }

    #[test]
    fn findings_come_in_the_order_of_their_places() {
        let mut findings = Diagnostics::default();
        findings.warning(5..6, "second", "");
        findings.error(0..1, "first", "");
        let order: Vec<_> = findings.sorted().iter().map(|finding| finding.message.clone()).collect();
        assert_eq!((order, findings.counts()), (vec!["first".to_owned(), "second".to_owned()], (1, 1)));
    }
}
