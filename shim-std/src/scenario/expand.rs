//! What a word stands for when its statement runs.
//!
//! There is no field splitting: a word is one argument, even if a variable in it is empty or holds blanks. The one
//! exception is the list of `for`, where what a substitution outside quotes yields is split on blanks.

use super::ast::{Part, Stmt, Word};
use super::diag::{Diagnostic, quote};
use super::source::Span;

/// Where a word finds values: the runner's thread.
pub trait Env {
    /// Why a substituted command did not yield a value.
    type Error;

    /// The value of a variable, `None` if it was never set.
    fn variable(&self, name: &str) -> Option<String>;

    /// Runs the statements of a `$( … )` and returns what they printed.
    ///
    /// # Errors
    ///
    /// Whatever ends the run of the statement that the word belongs to.
    fn substitute(&mut self, body: &[Stmt]) -> Result<String, Self::Error>;
}

/// Why a word has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpandError<E> {
    /// The variable was never set, as under `set -u`.
    Unset {
        /// The variable.
        name: String,
        /// The word it stands in.
        span: Span,
    },
    /// The substituted command failed.
    Command(E),
}

impl<E> ExpandError<E> {
    /// The diagnostic of an unset variable, or the command's error.
    ///
    /// # Errors
    ///
    /// The substituted command's own error.
    pub fn diagnostic(self) -> Result<Diagnostic, E> {
        match self {
            Self::Unset { name, span } => {
                Ok(Diagnostic::new(span, format!("the variable {} is not set", quote(&name))))
            }
            Self::Command(error) => Err(error),
        }
    }
}

/// The value of `word` as one argument.
///
/// # Errors
///
/// An unset variable, or the error of a substituted command.
pub fn expand<V: Env + ?Sized>(word: &Word, env: &mut V) -> Result<String, ExpandError<V::Error>> {
    let mut out = String::new();
    for part in &word.parts {
        out.push_str(&value(part, word.span, env)?);
    }
    Ok(out)
}

/// The values of the words of a `for`: what is substituted outside quotes is split on blanks.
///
/// # Errors
///
/// As [`expand`].
pub fn fields<V: Env + ?Sized>(words: &[Word], env: &mut V) -> Result<Vec<String>, ExpandError<V::Error>> {
    let mut out = Vec::new();
    for word in words {
        // `field` is the one being built; text joins it, a blank in a split value ends it.
        let mut field: Option<String> = word.parts.is_empty().then(String::new);
        for part in &word.parts {
            let split = matches!(part, Part::Var { quoted: false, .. } | Part::Command { quoted: false, .. });
            let value = value(part, word.span, env)?;
            if !split {
                field.get_or_insert_default().push_str(&value);
                continue;
            }
            for c in value.chars() {
                if matches!(c, ' ' | '\t' | '\n') {
                    out.extend(field.take());
                } else {
                    field.get_or_insert_default().push(c);
                }
            }
        }
        out.extend(field);
    }
    Ok(out)
}

fn value<V: Env + ?Sized>(part: &Part, span: Span, env: &mut V) -> Result<String, ExpandError<V::Error>> {
    match part {
        Part::Text(text) => Ok(text.clone()),
        Part::Var { name, suffix, .. } => {
            let unset = || ExpandError::Unset { name: name.clone(), span };
            let mut value = env.variable(name).ok_or_else(unset)?;
            if let Some(suffix) = suffix
                && value.ends_with(suffix.as_str())
            {
                value.truncate(value.len() - suffix.len());
            }
            Ok(value)
        }
        Part::Command { body, .. } => {
            let mut value = env.substitute(body).map_err(ExpandError::Command)?;
            value.truncate(value.trim_end_matches('\n').len());
            Ok(value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ast::StmtKind;
    use super::super::{Source, parse};
    use super::*;

    /// A world in which `epair` is `epair0a`, `list` has blanks, `empty` is empty, and commands print numbers or fail.
    struct Fake;

    impl Env for Fake {
        type Error = &'static str;

        fn variable(&self, name: &str) -> Option<String> {
            let value = match name {
                "epair" => "epair0a",
                "list" => " a  b ",
                "empty" => "",
                _ => return None,
            };
            Some(value.into())
        }

        fn substitute(&mut self, body: &[Stmt]) -> Result<String, &'static str> {
            if body.is_empty() { Err("nothing to run") } else { Ok("1\n2\n\n".into()) }
        }
    }

    fn words(list: &str) -> Vec<Word> {
        let text = format!("epair=1; list=1; empty=1\nfor x in {list}; do true; done");
        match parse(&Source::new("t", text)).unwrap().stmts.remove(3).kind {
            StmtKind::For { words, .. } => words,
            other => panic!("{other:?}"),
        }
    }

    fn one(word: &str) -> String {
        expand(&words(word)[0], &mut Fake).unwrap()
    }

    #[test]
    fn a_word_is_one_argument() {
        assert_eq!(one("${epair%a}b"), "epair0b");
        assert_eq!(one("${epair%b}"), "epair0a");
        assert_eq!(one("x$epair'$epair'"), "xepair0a$epair");
        assert_eq!(one("$list"), " a  b ");
        assert_eq!(one("\"<$empty>\""), "<>");
        assert_eq!(one("n$(seq 2)"), "n1\n2");
    }

    #[test]
    fn lists_are_split_outside_quotes() {
        let split = |list: &str| fields(&words(list), &mut Fake).unwrap();
        assert_eq!(split("$(seq 2)"), ["1", "2"]);
        assert_eq!(split("\"$(seq 2)\""), ["1\n2"]);
        assert_eq!(split("x$list''y 'a b' ''"), ["x", "a", "b", "y", "a b", ""]);
        assert!(split("$empty").is_empty());
        assert_eq!(split("\"$empty\""), [""]);
    }

    #[test]
    fn what_has_no_value_is_an_error() {
        let word = Word {
            span: Span::new(3, 5),
            parts: vec![Part::Var { name: "no".into(), suffix: None, quoted: false }],
            verbatim: None,
        };
        let error = expand(&word, &mut Fake).unwrap_err();
        assert_eq!(error.diagnostic().unwrap().message, "the variable `no` is not set");
        assert_eq!(expand(&words("$()")[0], &mut Fake), Err(ExpandError::Command("nothing to run")));
    }
}
