//! A command's arguments, taken one by one.

use core::fmt::{self, Display};
use core::ops::RangeInclusive;
use core::str::FromStr;

use super::super::ast::Word;
use super::super::diag::{Diagnostic, quote};
use super::super::source::Span;
use super::CmdError;

/// One argument: the value of a word, and where the word stands.
#[derive(Clone, Debug)]
pub struct Arg {
    /// The value.
    pub text: String,
    /// The word.
    pub span: Span,
    /// Where the value stands in the source as it is, if it does.
    pub(in super::super) verbatim: Option<usize>,
}

/// A command as it is written: its words, with spaces between them.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a>(pub &'a [Arg]);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, arg) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&arg.text)?;
        }
        Ok(())
    }
}

impl PartialEq for Arg {
    /// Compares values; places do not count.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Arg {}

impl Arg {
    /// The argument that `word` stands for when its value is `text`.
    pub fn new(text: impl Into<String>, span: Span) -> Self {
        Self { text: text.into(), span, verbatim: None }
    }

    /// The argument of a word that depends on nothing.
    #[must_use]
    pub fn literal(word: &Word) -> Option<Self> {
        let text = word.literal()?.to_owned();
        Some(Self { text, span: word.span, verbatim: word.verbatim })
    }

    /// `message` about this argument.
    pub(super) fn error(&self, message: impl Into<String>) -> CmdError {
        Diagnostic::new(self.span, message)
    }

    /// The argument is not one of `known`.
    pub(super) fn unknown(&self, what: &str, known: &[&str]) -> CmdError {
        self.error(format!("unknown {what} {}", quote(&self.text))).suggest(&self.text, known)
    }

    /// The argument as a number in a range.
    pub(super) fn number<T>(&self, what: &str, range: RangeInclusive<T>) -> Result<T, CmdError>
    where
        T: FromStr + PartialOrd + Display,
    {
        match self.text.parse() {
            Ok(n) if range.contains(&n) => Ok(n),
            _ => {
                let (low, high) = (range.start(), range.end());
                Err(self.error(format!("{} is not {what}: a number from {low} to {high}", quote(&self.text))))
            }
        }
    }

    /// The argument as a link-level address, `02:00:00:00:00:0a`.
    pub(super) fn mac(&self) -> Result<[u8; 6], CmdError> {
        let mut mac = [0; 6];
        let mut bytes = self.text.split(':');
        for slot in &mut mac {
            let byte = bytes.next().filter(|b| matches!(b.len(), 1 | 2) && b.bytes().all(|c| c.is_ascii_hexdigit()));
            let byte = byte.and_then(|b| u8::from_str_radix(b, 16).ok());
            *slot = byte.ok_or_else(|| self.bad_mac())?;
        }
        if bytes.next().is_some() { Err(self.bad_mac()) } else { Ok(mac) }
    }

    fn bad_mac(&self) -> CmdError {
        self.error(format!("{} is not a link-level address", quote(&self.text))).help("as in `02:00:00:00:00:0a`")
    }
}

/// The arguments that are still to be read.
pub(super) struct Args<'a> {
    name: &'a Arg,
    rest: &'a [Arg],
}

impl<'a> Args<'a> {
    pub(super) fn new(argv: &'a [Arg]) -> Result<Self, CmdError> {
        match argv {
            [] => Err(Diagnostic::new(Span::default(), "an empty command")),
            [name, rest @ ..] => Ok(Self { name, rest }),
        }
    }

    /// The command itself.
    pub(super) const fn name(&self) -> &'a Arg {
        self.name
    }

    /// `message` about the command as a whole.
    pub(super) fn error(&self, message: impl Into<String>) -> CmdError {
        self.name.error(message)
    }

    /// The next argument, left in place.
    pub(super) fn peek(&self) -> Option<&'a Arg> {
        self.rest.first()
    }

    /// The next argument.
    pub(super) fn next(&mut self) -> Option<&'a Arg> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// Takes the next argument if it is `text`.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        let found = self.peek().is_some_and(|arg| arg.text == text);
        if found {
            self.next();
        }
        found
    }

    /// The next argument, which must be there.
    pub(super) fn need(&mut self, what: &str) -> Result<&'a Arg, CmdError> {
        let name = self.name;
        self.next().ok_or_else(|| name.error(format!("{} needs {what}", quote(&name.text))))
    }

    /// The value that must follow `option`.
    pub(super) fn value(&mut self, option: &Arg, what: &str) -> Result<&'a Arg, CmdError> {
        self.next().ok_or_else(|| option.error(format!("{} needs {what}", quote(&option.text))))
    }

    /// The next argument's text, which must be there.
    pub(super) fn text(&mut self, what: &str) -> Result<String, CmdError> {
        self.need(what).map(|arg| arg.text.clone())
    }

    /// All remaining arguments.
    pub(super) fn rest(&mut self) -> &'a [Arg] {
        core::mem::take(&mut self.rest)
    }

    /// The remaining arguments as a command, which must be there.
    pub(super) fn command(&mut self) -> Result<Vec<Arg>, CmdError> {
        match self.rest() {
            [] => Err(self.error(format!("{} needs a command", quote(&self.name.text)))),
            rest => Ok(rest.to_vec()),
        }
    }

    /// The remaining arguments as one line of text.
    pub(super) fn line(&mut self) -> String {
        let words: Vec<&str> = self.rest().iter().map(|arg| arg.text.as_str()).collect();
        words.join(" ")
    }

    /// Refuses what nobody has read.
    pub(super) fn end(&self) -> Result<(), CmdError> {
        match self.peek() {
            Some(extra) => Err(extra.error(format!("unexpected argument {}", quote(&extra.text)))),
            None => Ok(()),
        }
    }
}
