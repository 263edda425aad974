//! From text to tokens.
//!
//! The lexer knows quotes, escapes, comments and operators; it does not know statements. A `$( … )` becomes a nested list
//! of tokens, so its end is found here, by counting parentheses, and its meaning is left to the parser. Every character is
//! looked at once, and nesting is bounded by [`MAX_DEPTH`], so hostile text costs time proportional to its length.

use super::diag::{Diagnostic, quote};
use super::source::Span;

/// How deep blocks, substitutions and nested `sh -c` texts may stand in each other.
pub const MAX_DEPTH: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) span: Span,
    pub(super) tok: Tok,
}

#[derive(Clone, Debug)]
pub(super) enum Tok {
    Newline,
    Semi,
    Amp,
    AndIf,
    OrIf,
    Open,
    Close,
    Word(RawWord),
}

/// A word before its substitutions are parsed.
#[derive(Clone, Debug, Default)]
pub(super) struct RawWord {
    pub(super) parts: Vec<RawPart>,
    /// So many leading bytes of the value are plain: neither quoted nor escaped nor substituted.
    pub(super) plain: usize,
    /// Something in it was quoted or escaped.
    pub(super) quoted: bool,
    /// See [`Word`](super::ast::Word).
    pub(super) verbatim: Option<usize>,
}

impl RawWord {
    /// The word, if it can be a keyword: plain text as a whole.
    pub(super) fn plain(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [RawPart::Text(text)] if !self.quoted => Some(text),
            _ => None,
        }
    }

    fn push(&mut self, c: char, quoted: bool) {
        if !quoted && !self.quoted && matches!(self.parts.as_slice(), [] | [RawPart::Text(_)]) {
            self.plain += c.len_utf8();
        }
        if let Some(RawPart::Text(text)) = self.parts.last_mut() {
            text.push(c);
        } else {
            self.parts.push(RawPart::Text(c.into()));
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum RawPart {
    Text(String),
    Var { name: String, suffix: Option<String>, quoted: bool },
    Command { tokens: Vec<Token>, end: usize, quoted: bool },
}

/// The tokens of `text[span]`, which already stands `depth` levels deep.
pub(super) fn tokens(text: &str, span: Span, depth: usize) -> Result<Vec<Token>, Diagnostic> {
    let mut lexer = Lexer { text: text.get(..span.end).unwrap_or(text), pos: span.start, depth };
    lexer.list(None)
}

pub(super) fn too_deep(span: Span) -> Diagnostic {
    Diagnostic::new(span, format!("nested more than {MAX_DEPTH} levels deep"))
}

struct Lexer<'t> {
    text: &'t str,
    pos: usize,
    depth: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.pos..].chars().next()
    }

    fn second(&self) -> Option<char> {
        self.text[self.pos..].chars().nth(1)
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.pos += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        if found {
            self.pos += c.len_utf8();
        }
        found
    }

    /// Tokens up to the end, or, for a substitution opened at `opened`, up to and including its `)`.
    fn list(&mut self, opened: Option<Span>) -> Result<Vec<Token>, Diagnostic> {
        let mut out = Vec::new();
        let mut parens = 0_usize;
        loop {
            let start = self.pos;
            let Some(c) = self.peek() else {
                return match opened {
                    Some(span) => Err(Diagnostic::new(span, "`$(` is not closed").help("add `)`")),
                    None => Ok(out),
                };
            };
            let tok = match c {
                ' ' | '\t' | '\r' => {
                    self.bump();
                    continue;
                }
                '\\' if self.text[start..].starts_with("\\\n") || self.text[start..].starts_with("\\\r\n") => {
                    while self.bump() != Some('\n') {}
                    continue;
                }
                '#' => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.bump();
                    }
                    continue;
                }
                '\n' => self.operator(Tok::Newline),
                ';' => self.operator(Tok::Semi),
                '(' => {
                    parens += 1;
                    self.operator(Tok::Open)
                }
                ')' if parens == 0 && opened.is_some() => {
                    self.bump();
                    return Ok(out);
                }
                ')' => {
                    parens = parens.saturating_sub(1);
                    self.operator(Tok::Close)
                }
                '&' => {
                    self.bump();
                    if self.eat('&') { Tok::AndIf } else { Tok::Amp }
                }
                '|' => {
                    self.bump();
                    if !self.eat('|') {
                        let span = Span::new(start, self.pos);
                        return Err(Diagnostic::new(span, "pipes are not part of the scenario language"));
                    }
                    Tok::OrIf
                }
                '<' | '>' => {
                    let span = Span::new(start, start + 1);
                    return Err(Diagnostic::new(span, "redirections are not part of the scenario language")
                        .help("remove it; `cmd || true` ignores a failure and `x=$(cmd)` keeps what is printed"));
                }
                _ => Tok::Word(self.word()?),
            };
            out.push(Token { span: Span::new(start, self.pos), tok });
        }
    }

    fn operator(&mut self, tok: Tok) -> Tok {
        self.bump();
        tok
    }

    fn word(&mut self) -> Result<RawWord, Diagnostic> {
        let start = self.pos;
        let mut word = RawWord::default();
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
                '\'' => {
                    self.single(&mut word)?;
                }
                '"' => {
                    self.double(&mut word)?;
                }
                '\\' => {
                    let at = self.pos;
                    self.bump();
                    word.quoted = true;
                    match self.bump() {
                        Some('\n') => {}
                        Some(c) => word.push(c, true),
                        None => return Err(Diagnostic::new(Span::new(at, at + 1), "a backslash ends the scenario")),
                    }
                }
                '$' => self.dollar(&mut word, false)?,
                '`' => return Err(self.backquote()),
                c => {
                    self.bump();
                    word.push(c, false);
                }
            }
        }
        // One text that fills the word, but for one pair of quotes around it, stands in the source as it is.
        if let [RawPart::Text(text)] = word.parts.as_slice() {
            let from = start + usize::from(word.quoted);
            let fills = text.len() + 2 * usize::from(word.quoted) == self.pos - start;
            word.verbatim = (fills && self.text.get(from..from + text.len()) == Some(text)).then_some(from);
        }
        Ok(word)
    }

    fn single(&mut self, word: &mut RawWord) -> Result<(), Diagnostic> {
        let open = Span::new(self.pos, self.pos + 1);
        self.bump();
        word.quoted = true;
        loop {
            match self.bump() {
                Some('\'') => return Ok(()),
                Some(c) => word.push(c, true),
                None => return Err(Diagnostic::new(open, "this quote is not closed").help("add `'`")),
            }
        }
    }

    fn double(&mut self, word: &mut RawWord) -> Result<(), Diagnostic> {
        let open = Span::new(self.pos, self.pos + 1);
        self.bump();
        word.quoted = true;
        loop {
            match self.peek() {
                None => return Err(Diagnostic::new(open, "this quote is not closed").help("add `\"`")),
                Some('"') => {
                    self.bump();
                    return Ok(());
                }
                Some('$') => self.dollar(word, true)?,
                Some('`') => return Err(self.backquote()),
                Some('\\') if matches!(self.second(), Some('"' | '\\' | '$' | '`' | '\n')) => {
                    self.bump();
                    if let Some(c) = self.bump().filter(|&c| c != '\n') {
                        word.push(c, true);
                    }
                }
                Some(c) => {
                    self.bump();
                    word.push(c, true);
                }
            }
        }
    }

    fn backquote(&self) -> Diagnostic {
        Diagnostic::new(Span::new(self.pos, self.pos + 1), "backquotes are not part of the scenario language")
            .help("write `$(command)`")
    }

    fn dollar(&mut self, word: &mut RawWord, quoted: bool) -> Result<(), Diagnostic> {
        let start = self.pos;
        self.bump();
        match self.peek() {
            Some('(') => {
                self.bump();
                let opened = Span::new(start, self.pos);
                if self.peek() == Some('(') {
                    return Err(Diagnostic::new(opened, "arithmetic is not part of the scenario language")
                        .help("for a subshell inside a substitution, write `$( (` with a blank"));
                }
                self.depth += 1;
                if self.depth > MAX_DEPTH {
                    return Err(too_deep(opened));
                }
                let tokens = self.list(Some(opened))?;
                self.depth -= 1;
                word.parts.push(RawPart::Command { tokens, end: self.pos, quoted });
            }
            Some('{') => {
                self.bump();
                let part = self.braced(start, quoted)?;
                word.parts.push(part);
            }
            Some(c) if c == '_' || c.is_ascii_alphabetic() => {
                let name = self.name();
                word.parts.push(RawPart::Var { name, suffix: None, quoted });
            }
            Some(c @ ('0'..='9' | '?' | '$' | '!' | '@' | '*' | '#' | '-')) => {
                let span = Span::new(start, self.pos + 1);
                return Err(Diagnostic::new(span, format!("`${c}` is not part of the scenario language"))
                    .help("variables are set by `x=…` and `for x in …`"));
            }
            _ => word.push('$', quoted),
        }
        Ok(())
    }

    /// What follows `${`.
    fn braced(&mut self, start: usize, quoted: bool) -> Result<RawPart, Diagnostic> {
        let opened = Span::new(start, self.pos);
        let name = self.name();
        if name.is_empty() {
            return Err(Diagnostic::new(opened, "a variable name must follow `${`"));
        }
        let suffix = if self.eat('%') { Some(self.suffix(opened)?) } else { None };
        if self.eat('}') {
            return Ok(RawPart::Var { name, suffix, quoted });
        }
        match self.peek() {
            None => Err(Diagnostic::new(opened, "`${` is not closed").help("add `}`")),
            Some(c) => {
                let span = Span::new(self.pos, self.pos + c.len_utf8());
                let c = quote(c.encode_utf8(&mut [0; 4]));
                Err(Diagnostic::new(span, format!("unexpected {c} in `${{…}}`"))
                    .help("known forms are `${x}` and `${x%suffix}`"))
            }
        }
    }

    fn suffix(&mut self, opened: Span) -> Result<String, Diagnostic> {
        let mut suffix = String::new();
        loop {
            let at = self.pos;
            match self.peek() {
                Some('}') => return Ok(suffix),
                Some('*' | '?' | '[' | '%') => {
                    let span = Span::new(at, at + 1);
                    return Err(Diagnostic::new(span, "patterns are not part of the scenario language")
                        .help("write the suffix itself, as in `${epair%a}`"));
                }
                Some('$' | '`' | '\'' | '"' | '\\' | '\n') => {
                    return Err(Diagnostic::new(Span::new(at, at + 1), "a suffix must be plain text"));
                }
                Some(c) => {
                    self.bump();
                    suffix.push(c);
                }
                None => return Err(Diagnostic::new(opened, "`${` is not closed").help("add `}`")),
            }
        }
    }

    fn name(&mut self) -> String {
        let rest = &self.text[self.pos..];
        let end = rest.bytes().position(|b| b != b'_' && !b.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let name = if rest.starts_with(|c: char| c.is_ascii_digit()) { "" } else { &rest[..end] };
        self.pos += name.len();
        name.to_owned()
    }
}
