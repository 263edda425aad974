//! Diagnostics: what is wrong, where, and what to write instead.
//!
//! One diagnostic can be shown in two ways. [`Diagnostics::render`] draws the line and points into it, as rustc does.
//! `Display` prints the one-line form `file:line:col: message` that editors and `grep` understand. Whether there is colour
//! is the caller's decision, because only the caller knows where the text goes.

use core::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::source::{Source, Span};

/// One thing that is wrong with a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where.
    pub span: Span,
    /// What, in one line.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// `message` about the text under `span`.
    pub fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None }
    }

    /// Adds advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds `; did you mean X?` where one of `known` is a near miss of `written`, otherwise the list when it is short.
    #[must_use]
    pub(super) fn suggest(self, written: &str, known: &[&str]) -> Self {
        let asked = self.suggest_only(written, known);
        if asked.message.ends_with('?') || known.len() > 16 {
            return asked;
        }
        asked.help(format!("known are: {}", known.join(", ")))
    }

    /// As [`suggest`](Self::suggest), without the list.
    #[must_use]
    pub(super) fn suggest_only(mut self, written: &str, known: &[&str]) -> Self {
        if let Some(near) = super::suggest::nearest(written, known) {
            self.message = format!("{}; did you mean `{near}`?", self.message);
        }
        self
    }
}

/// Quotes text of the scenario for use inside a message: control characters are shown escaped, long text is cut.
pub(super) fn quote(text: &str) -> String {
    let mut out = String::from("`");
    for (n, c) in text.chars().enumerate() {
        if n == 48 {
            out.push('…');
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out.push('`');
    out
}

/// Everything that is wrong with one source. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    source: Source,
    items: Vec<Diagnostic>,
}

impl Diagnostics {
    /// No more than so many are kept: a reader fixes the first few.
    pub const MAX: usize = 20;

    /// A line longer than this is not drawn.
    const MAX_DRAWN_LINE: usize = 2000;

    /// The diagnostics of `source`, in the order in which they are to be shown.
    #[must_use]
    pub fn new(source: Source, mut items: Vec<Diagnostic>) -> Self {
        items.truncate(Self::MAX);
        Self { source, items }
    }

    /// The source they are about.
    #[must_use]
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// The single diagnostics.
    #[must_use]
    pub fn items(&self) -> &[Diagnostic] {
        &self.items
    }

    /// The form for people: each diagnostic with its line drawn and pointed into. `colour` adds ANSI escapes.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for item in &self.items {
            out.push_str(&renderer.render(&[self.group(item)]));
            out.push('\n');
        }
        out
    }

    fn group<'a>(&'a self, item: &'a Diagnostic) -> Group<'a> {
        let text = &self.source.text;
        let position = self.source.position(item.span.start);
        let line = self.line_of(item.span);
        let group = Level::ERROR.primary_title(&*item.message);
        let group = if line.end - line.start > Self::MAX_DRAWN_LINE || line.end == line.start {
            let origin = Origin::path(&*self.source.name).line(position.line).char_column(position.column);
            group.element(origin)
        } else {
            // Only this line is handed over: the renderer's work must not grow with the file.
            let start = item.span.start.clamp(line.start, line.end) - line.start;
            let end = item.span.end.clamp(line.start, line.end) - line.start;
            let snippet = Snippet::source(&text[line.start..line.end])
                .path(&*self.source.name)
                .line_start(position.line)
                .annotation(AnnotationKind::Primary.span(start..end.max(start)));
            group.element(snippet)
        };
        match &item.help {
            Some(help) => group.element(Level::HELP.message(&**help)),
            None => group,
        }
    }

    /// The line in which `span` starts, without its newline.
    fn line_of(&self, span: Span) -> Span {
        let text = &self.source.text;
        let at = span.start.min(text.len());
        let start = text.as_bytes()[..at].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        let end = text.as_bytes()[at..].iter().position(|&b| b == b'\n').map_or(text.len(), |n| at + n);
        Span::new(start, end)
    }
}

impl fmt::Display for Diagnostics {
    /// One line for each diagnostic: `file:line:col: message`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, item) in self.items.iter().enumerate() {
            let at = self.source.position(item.span.start);
            let newline = if n == 0 { "" } else { "\n" };
            write!(f, "{newline}{}:{}:{}: {}", self.source.name, at.line, at.column, item.message)?;
        }
        Ok(())
    }
}

impl core::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Diagnostics {
        let source = Source::new("a.ifn", "wait\n\tifconifg lo0 up\n");
        let item = Diagnostic::new(Span::new(6, 14), "unknown command `ifconifg`").help("see the manual");
        Diagnostics::new(source, vec![item])
    }

    #[test]
    fn drawn_form_points_into_the_line() {
        let expected = "\
error: unknown command `ifconifg`
 --> a.ifn:2:2
  |
2 |     ifconifg lo0 up
  |     ^^^^^^^^
  |
  = help: see the manual
";
        assert_eq!(sample().render(false), expected);
        assert!(sample().render(true).contains("\u{1b}["));
    }

    #[test]
    fn one_line_form() {
        assert_eq!(sample().to_string(), "a.ifn:2:2: unknown command `ifconifg`");
    }

    #[test]
    fn any_span_can_be_drawn() {
        let source = Source::new("t", "a\u{1b}[31mé\n\n\r\nlast");
        for start in 0..=source.text.len() + 1 {
            for end in start..=source.text.len() + 2 {
                let inside = |at| at >= source.text.len() || source.text.is_char_boundary(at);
                if inside(start) && inside(end) {
                    let all = Diagnostics::new(source.clone(), vec![Diagnostic::new(Span::new(start, end), "m")]);
                    assert!(!all.render(false).contains('\u{1b}'));
                }
            }
        }
        let long = Source::new("t", "x".repeat(100_000));
        let all = Diagnostics::new(long, vec![Diagnostic::new(Span::new(70_000, 70_001), "m")]);
        assert_eq!(all.render(false), "error: m\n--> t:1:70001\n");
    }

    #[test]
    fn quoted_text_is_harmless() {
        assert_eq!(quote("a\u{1b}b"), "`a\\u{1b}b`");
        assert_eq!(quote(&"x".repeat(100)).chars().count(), 51);
    }
}
