//! The text of a scenario, and how a place in it is named.
//!
//! Every node of the syntax tree and every diagnostic holds a [`Span`] of byte offsets. Lines and columns are computed only
//! when somebody has to read them. Text comes from files, fuzzers and mailing lists, so what cannot be text is refused
//! here, with its position: invalid UTF-8, NUL bytes, and more than [`Source::MAX_BYTES`].

use core::fmt;

use super::diag::{Diagnostic, Diagnostics};

/// A half-open range of byte offsets in a [`Source`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

impl Span {
    /// The bytes from `start` up to but not including `end`.
    #[must_use]
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// From the start of `self` to the end of `last`.
    #[must_use]
    pub const fn to(self, last: Self) -> Self {
        Self { start: self.start, end: if last.end > self.end { last.end } else { self.end } }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// A line and a column, both counted from 1. Columns count characters, not bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

/// The text of a scenario and the name it is reported under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What diagnostics call it: a path, or a made-up name such as `<seed 2>`.
    pub name: String,
    /// The text.
    pub text: String,
}

impl Source {
    /// The largest text that is parsed: 1 MiB.
    pub const MAX_BYTES: usize = 1 << 20;

    /// A source of text that is already known to be UTF-8. [`parse`](super::parse) checks the rest.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// A source of bytes of any origin.
    ///
    /// # Errors
    ///
    /// More than [`MAX_BYTES`](Self::MAX_BYTES), invalid UTF-8, a NUL byte. The diagnostic points at the first bad byte.
    pub fn from_bytes(name: impl Into<String>, bytes: &[u8]) -> Result<Self, Diagnostics> {
        let name = name.into();
        if bytes.len() > Self::MAX_BYTES {
            return Err(Self::new(name, "").too_big(bytes.len()));
        }
        match core::str::from_utf8(bytes) {
            Ok(text) => {
                let source = Self::new(name, text);
                source.check()?;
                Ok(source)
            }
            Err(error) => {
                // The valid part keeps its offsets; what follows is shown with replacement characters.
                let start = error.valid_up_to();
                let bad = bytes.get(start).copied().unwrap_or_default();
                let source = Self::new(name, String::from_utf8_lossy(bytes));
                let span = Span::new(start, start + char::REPLACEMENT_CHARACTER.len_utf8());
                let item = Diagnostic::new(span, format!("byte 0x{bad:02x} is not valid UTF-8"));
                Err(Diagnostics::new(source, vec![item]))
            }
        }
    }

    /// Refuses what no parser should see.
    pub(super) fn check(&self) -> Result<(), Diagnostics> {
        if self.text.len() > Self::MAX_BYTES {
            return Err(Self::new(self.name.clone(), "").too_big(self.text.len()));
        }
        match self.text.find('\0') {
            Some(at) => {
                let item = Diagnostic::new(Span::new(at, at + 1), "a NUL byte cannot stand in a scenario");
                Err(Diagnostics::new(self.clone(), vec![item]))
            }
            None => Ok(()),
        }
    }

    fn too_big(self, len: usize) -> Diagnostics {
        let message = format!("the scenario is {len} bytes long; at most {} are read", Self::MAX_BYTES);
        Diagnostics::new(self, vec![Diagnostic::new(Span::default(), message)])
    }

    /// The line and column of a byte offset. Offsets past the end, or inside a character, are brought to the nearest
    /// place before them.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let before = &self.text[..self.floor(offset)];
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        Position { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
    }

    /// The text under a span.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        let (start, end) = (self.floor(span.start), self.floor(span.end));
        self.text.get(start..end).unwrap_or_default()
    }

    fn floor(&self, offset: usize) -> usize {
        let mut at = offset.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters() {
        let source = Source::new("t", "one\nzwö drei\n");
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(9), Position { line: 2, column: 5 });
        assert_eq!(source.position(999), Position { line: 3, column: 1 });
        assert_eq!(source.slice(Span::new(4, 8)), "zwö");
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let utf8 = Source::from_bytes("t", b"wait\nx=\xff\n").unwrap_err();
        assert_eq!(utf8.to_string(), "t:2:3: byte 0xff is not valid UTF-8");
        let nul = Source::from_bytes("t", b"wait\n  \0").unwrap_err();
        assert_eq!(nul.to_string(), "t:2:3: a NUL byte cannot stand in a scenario");
        let big = Source::from_bytes("t", &vec![b' '; Source::MAX_BYTES + 1]).unwrap_err();
        assert_eq!(big.to_string(), "t:1:1: the scenario is 1048577 bytes long; at most 1048576 are read");
        assert!(Source::from_bytes("t", &vec![b' '; Source::MAX_BYTES]).is_ok());
    }
}
