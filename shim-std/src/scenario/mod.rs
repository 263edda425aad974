//! The scenario language: the commands people already type, as a small and exact subset of sh.
//!
//! A scenario goes through four steps, each in its own file. [`source`] refuses what is no text. The lexer and the parser
//! make an [`ast`] of statements and words. The check decodes every command that is written out and reports slips before
//! anything runs. At run time [`expand`] gives words their values and [`command::decode`] turns them into a typed
//! [`Cmd`]. Nothing here knows the emulated kernel, except the names of its errors.
//!
//! ```
//! use ifnet_std::scenario::{Source, parse};
//!
//! let script = parse(&Source::new("t", "e=$(ifconfig epair create)\n( ifconfig $e destroy ) &\nwait")).unwrap();
//! assert_eq!(script.stmts.len(), 3);
//!
//! let slip = parse(&Source::new("t", "ifconifg lo0 up")).unwrap_err();
//! assert_eq!(slip.to_string(), "t:1:1: unknown command `ifconifg`; did you mean `ifconfig`?");
//! ```
//!
//! What differs from sh is refused, not guessed: pipes, redirections, arithmetic, patterns, functions, `||` other than
//! `|| true`. Names of interfaces and jails are passed on as they are; the emulated kernel judges them.

pub mod ast;
mod check;
pub mod command;
pub mod diag;
pub mod expand;
mod lexer;
mod parser;
mod print;
pub mod source;
mod suggest;
#[cfg(test)]
mod tests;

pub use ast::{Expect, Part, Script, Stmt, StmtKind, Word};
pub use command::{Arg, Cmd, decode};
pub use diag::{Diagnostic, Diagnostics};
pub use lexer::MAX_DEPTH;
pub use parser::MAX_WORDS;
pub use source::{Position, Source, Span};

/// Parses and checks a scenario.
///
/// # Errors
///
/// The first syntax error, or all commands (up to [`Diagnostics::MAX`]) that can be seen to be wrong before they run. Any
/// text gives one or the other: no input panics, overflows the stack, or takes more than time proportional to its length.
pub fn parse(source: &Source) -> Result<Script, Diagnostics> {
    source.check()?;
    let whole = Span::new(0, source.text.len());
    let script =
        parser::script(&source.text, whole, 0).map_err(|error| Diagnostics::new(source.clone(), vec![error]))?;
    let wrong = check::check(&source.text, &script.stmts);
    if wrong.is_empty() { Ok(script) } else { Err(Diagnostics::new(source.clone(), wrong)) }
}

/// Parses the text of a `sh -c` when it runs. Its commands are decoded one by one as they run.
///
/// The spans of the result are offsets into the returned source, which is the text itself. `depth` is how many `sh -c`
/// the caller is already inside; a text that runs itself ends at [`MAX_DEPTH`].
///
/// # Errors
///
/// The first syntax error.
pub fn parse_sh(text: &str, depth: usize) -> Result<(Source, Script), Diagnostics> {
    let source = Source::new("sh -c", text);
    source.check()?;
    let whole = Span::new(0, text.len());
    match parser::script(text, whole, depth.saturating_add(1)) {
        Ok(script) => Ok((source, script)),
        Err(error) => Err(Diagnostics::new(source, vec![error])),
    }
}
