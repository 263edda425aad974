//! The few commands that are sh's own: tests, numbers, pauses; and the marks of a golden log.

use core::time::Duration;

use super::super::diag::quote;
use super::args::Args;
use super::{Cmd, CmdError};

/// `seq FIRST LAST`. Empty if `last < first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seq {
    /// The first number.
    pub first: u32,
    /// The last number.
    pub last: u32,
}

/// The largest number of `seq`, so that a slip does not run for ever.
const MAX_SEQ: u32 = 100_000;

/// A condition on strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// `A = B`
    Equal(String, String),
    /// `A != B`
    Unequal(String, String),
    /// `-z A`
    Empty(String),
    /// `-n A`
    NonEmpty(String),
}

impl Test {
    /// Whether it is true.
    #[must_use]
    pub fn holds(&self) -> bool {
        match self {
            Self::Equal(a, b) => a == b,
            Self::Unequal(a, b) => a != b,
            Self::Empty(a) => a.is_empty(),
            Self::NonEmpty(a) => !a.is_empty(),
        }
    }
}

/// What `show` prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Show {
    /// `show vN`: the interface list of a vnet.
    Vnet(u32),
    /// `show if_index`: the index table's extent.
    IfIndex,
    /// `show monitor NS`: what `ip -n NS monitor` has noted so far, in one line.
    Monitor(String),
}

pub(super) fn show(args: &mut Args<'_>) -> Result<Show, CmdError> {
    let arg = args.need("`v0`, `v1`, …, `if_index` or `monitor`")?;
    if arg.text == "if_index" {
        return Ok(Show::IfIndex);
    }
    if arg.text == "monitor" {
        return Ok(Show::Monitor(args.value(arg, "a namespace")?.text.clone()));
    }
    let number = arg.text.strip_prefix('v').filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
    let number = number.and_then(|n| n.parse().ok());
    number
        .map(Show::Vnet)
        .ok_or_else(|| arg.error(format!("{} is not `vN`, `if_index` or `monitor`", quote(&arg.text))))
}

pub(super) fn sleep(args: &mut Args<'_>) -> Result<Duration, CmdError> {
    let arg = args.need("a number of seconds")?;
    let digits = arg.text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match arg.text.parse::<f64>() {
        Ok(n) if digits && (0.0..=86_400.0).contains(&n) => Ok(Duration::from_secs_f64(n)),
        _ => Err(arg.error(format!("{} is not a number of seconds up to a day", quote(&arg.text)))),
    }
}

pub(super) fn seq(args: &mut Args<'_>) -> Result<Seq, CmdError> {
    let number = |args: &mut Args<'_>| args.need("a number")?.number("a number for `seq`", 0..=MAX_SEQ);
    let first = number(args)?;
    if args.peek().is_none() {
        return Ok(Seq { first: 1, last: first });
    }
    Ok(Seq { first, last: number(args)? })
}

pub(super) fn test(args: &mut Args<'_>) -> Result<Test, CmdError> {
    let name = args.name();
    let mut words = args.rest();
    if name.text == "[" {
        match words.split_last() {
            Some((last, rest)) if last.text == "]" => words = rest,
            _ => return Err(name.error("`[` is not closed").help("end the command with ` ]`")),
        }
    }
    match words {
        [op, a] if op.text == "-z" => Ok(Test::Empty(a.text.clone())),
        [op, a] if op.text == "-n" => Ok(Test::NonEmpty(a.text.clone())),
        [a, op, b] if op.text == "=" => Ok(Test::Equal(a.text.clone(), b.text.clone())),
        [a, op, b] if op.text == "!=" => Ok(Test::Unequal(a.text.clone(), b.text.clone())),
        _ => Err(name.error("not a test").help("known are `A = B`, `A != B`, `-z A` and `-n A`")),
    }
}

pub(super) fn sh(args: &mut Args<'_>) -> Result<Cmd, CmdError> {
    let option = args.need("`-c 'commands'`")?;
    if option.text != "-c" {
        return Err(option.error("only `sh -c 'commands'` is known"));
    }
    Ok(Cmd::ShC(args.value(option, "commands in quotes")?.clone()))
}
