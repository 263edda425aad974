//! The syntax tree of a scenario.
//!
//! Statements and words carry the span of the text they came from. Equality ignores spans: two trees are equal when they
//! mean the same. Quotes are gone; what remains of them is whether a substituted value may be split (`quoted`).

use ifnet::Errno;

use super::source::Span;

/// A whole scenario. `Display` prints it as text that parses back to an equal tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// The statements, in order. After the last one everything still running is waited for.
    pub stmts: Vec<Stmt>,
}

impl Script {
    /// True if anything runs concurrently: decides the default of `--tasks`.
    #[must_use]
    pub fn is_concurrent(&self) -> bool {
        let mut found = false;
        walk(&self.stmts, &mut |stmt| found |= matches!(stmt.kind, StmtKind::Background(_)));
        found
    }

    /// Whether it speaks the Linux dialect: devices are then unregistered by a worker for each vnet.
    #[must_use]
    pub fn is_linux(&self) -> bool {
        let mut found = false;
        walk(&self.stmts, &mut |stmt| {
            found |= stmt.words().first().and_then(Word::literal) == Some("ip");
        });
        found
    }

    /// The panic text that the scenario is expected to end in.
    #[must_use]
    pub fn expected_panic(&self) -> Option<&str> {
        self.stmts.iter().find_map(|stmt| match &stmt.kind {
            StmtKind::ExpectPanic(text) => Some(text.as_str()),
            _ => None,
        })
    }
}

/// One statement.
#[derive(Clone, Debug)]
pub struct Stmt {
    /// From its first to its last character.
    pub span: Span,
    /// What it is.
    pub kind: StmtKind,
}

impl PartialEq for Stmt {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for Stmt {}

/// What must come out of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// A plain command: it must succeed.
    #[default]
    Success,
    /// `! cmd`: it must fail; `!ENXIO cmd`: it must fail with that error.
    Failure(Option<Errno>),
    /// `cmd || true`: either will do.
    Any,
}

/// The kinds of statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StmtKind {
    /// A command of words; [`decode`](super::command::decode) says what it does once the words are expanded.
    Command {
        /// The command and its arguments; never empty.
        words: Vec<Word>,
        /// What must come out of it.
        expect: Expect,
    },
    /// `a && b && c`: each runs if the one before succeeded. A failure before the last one ends the chain and is no
    /// violated expectation, as under `set -e`; what is expected of the last one is in that statement.
    AndThen(Vec<Stmt>),
    /// `x=word` or `x=$(cmd)`. The status is that of the substituted command.
    Assign {
        /// The variable.
        name: String,
        /// Its new value.
        value: Word,
        /// What must come out of the substituted command.
        expect: Expect,
    },
    /// `( … ) &` or `cmd &`: the statements run on a new thread, which starts in the vnet and with a copy of the
    /// variables of this one.
    Background(Vec<Stmt>),
    /// `( … )`: the statements run on this thread; assignments do not leave.
    Subshell(Vec<Stmt>),
    /// `{ …; }`: the statements run on this thread.
    Group(Vec<Stmt>),
    /// `wait`: joins everything that this thread started.
    Wait,
    /// `for x in words; do …; done`.
    For {
        /// The variable.
        name: String,
        /// The words; a value substituted outside quotes is split on blanks ([`fields`](super::expand::fields)).
        words: Vec<Word>,
        /// What is done for each.
        body: Vec<Stmt>,
    },
    /// `if cond; then …; else …; fi`. A condition that does not hold is no violated expectation.
    If {
        /// The condition: it holds if its own expectation is met.
        cond: Box<Stmt>,
        /// What is done if it holds.
        then: Vec<Stmt>,
        /// What is done otherwise.
        otherwise: Vec<Stmt>,
    },
    /// `net_epoch { … }`: the statements run in a net epoch section of this thread.
    NetEpoch(Vec<Stmt>),
    /// `expect panic "TEXT"`, at top level only.
    ExpectPanic(String),
}

/// A word: parts that stand together without a blank.
#[derive(Clone, Debug)]
pub struct Word {
    /// From its first to its last character, quotes included.
    pub span: Span,
    /// Its parts; none for `''`. Two texts never stand side by side.
    pub parts: Vec<Part>,
    /// Where the value stands in the source exactly as it is, if it does: diagnostics in a `sh -c 'text'` then point
    /// into the text itself.
    pub(super) verbatim: Option<usize>,
}

impl Word {
    /// The value, if it does not depend on anything.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        self.parts == other.parts
    }
}

impl Eq for Word {}

/// A part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// `$x`, `${x}`, `${x%suffix}`.
    Var {
        /// The variable.
        name: String,
        /// Removed from the end of the value if it is there.
        suffix: Option<String>,
        /// Inside double quotes: never split.
        quoted: bool,
    },
    /// `$( … )`: what the statements printed, without trailing newlines.
    Command {
        /// The statements.
        body: Vec<Stmt>,
        /// Inside double quotes: never split.
        quoted: bool,
    },
}

/// Calls `f` for every statement, those inside words included, outermost first.
pub fn walk<'a>(stmts: &'a [Stmt], f: &mut dyn FnMut(&'a Stmt)) {
    for stmt in stmts {
        f(stmt);
        for word in stmt.words() {
            for part in &word.parts {
                if let Part::Command { body, .. } = part {
                    walk(body, f);
                }
            }
        }
        for block in stmt.blocks() {
            walk(block, f);
        }
    }
}

impl Stmt {
    /// The words that stand directly in this statement.
    #[must_use]
    pub fn words(&self) -> &[Word] {
        match &self.kind {
            StmtKind::Command { words, .. } | StmtKind::For { words, .. } => words,
            StmtKind::Assign { value, .. } => core::slice::from_ref(value),
            _ => &[],
        }
    }

    /// The statements that stand directly in this statement, block by block.
    #[must_use]
    pub fn blocks(&self) -> [&[Self]; 3] {
        match &self.kind {
            StmtKind::AndThen(body)
            | StmtKind::Background(body)
            | StmtKind::Subshell(body)
            | StmtKind::Group(body)
            | StmtKind::For { body, .. }
            | StmtKind::NetEpoch(body) => [body, &[], &[]],
            StmtKind::If { cond, then, otherwise } => [core::slice::from_ref(&**cond), then, otherwise],
            StmtKind::Command { .. } | StmtKind::Assign { .. } | StmtKind::Wait | StmtKind::ExpectPanic(_) => {
                [&[], &[], &[]]
            }
        }
    }
}
