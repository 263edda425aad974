//! The story for a terminal: lanes side by side, wrapped to the width that is given.
//!
//! Each lane starts with a rail that shows its state on every line: `│` the thread is alive, `┃` it holds a lock, `┊` it
//! waits for one. An arrow between rows is a switch of threads. When there are too many threads for the width, the lanes
//! are folded into one, and each row names its thread.

use core::fmt::Write as _;

use super::{Class, Lane, Row, Story};

/// How to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal. Less than 40 is taken as 40.
    pub width: usize,
    /// Whether to use ANSI colours.
    pub colour: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { width: 120, colour: false }
    }
}

const STEP: usize = 6;
/// A lane narrower than this cannot be read.
const NARROWEST: usize = 16;

const RED: &str = "1;31";
const DIM: &str = "2";

/// Renders the story. The result ends with a newline and holds no trailing blanks.
#[must_use]
pub fn render(story: &Story, style: Style) -> String {
    let width = style.width.max(40);
    let lanes = story.lanes.len().max(1);
    let lane = (width - STEP) / lanes;
    let folded = lane < NARROWEST;
    let drawing = Drawing { story, style, width, lane };
    let mut out = String::new();
    if !folded {
        drawing.head(&mut out);
    }
    for row in &story.rows {
        match row.class {
            Class::Switch { .. } if folded => {}
            Class::Failed => drawing.failed(&mut out, row),
            _ if folded => drawing.folded(&mut out, row),
            Class::Switch { from } => drawing.switch(&mut out, row, from),
            _ => drawing.row(&mut out, row),
        }
    }
    drawing.foot(&mut out);
    out
}

struct Drawing<'a> {
    story: &'a Story,
    style: Style,
    width: usize,
    lane: usize,
}

impl Drawing<'_> {
    fn head(&self, out: &mut String) {
        let mut names = " ".repeat(STEP);
        let mut rule = " ".repeat(STEP);
        for name in &self.story.lanes {
            let name: String = name.chars().take(self.lane - 2).collect();
            let _ = write!(names, "{name:<width$}", width = self.lane);
            let _ = write!(rule, "{:<width$}", "─".repeat(self.lane - 2), width = self.lane);
        }
        self.line(out, &self.paint("1", names.trim_end()));
        self.line(out, &self.paint(DIM, rule.trim_end()));
    }

    fn folded(&self, out: &mut String, row: &Row) {
        let name: String = self.story.lanes[row.lane].chars().take(NARROWEST - 2).collect();
        let rail = rail(&row.lanes[row.lane]);
        for (i, piece) in wrap(&row.text, self.width - STEP - NARROWEST - 2).iter().enumerate() {
            let (step, name) = if i == 0 { (row.step.to_string(), &*name) } else { (String::new(), "") };
            let left = format!("{step:>a$}  {name:<b$}", a = STEP - 2, b = NARROWEST);
            self.line(out, &format!("{}{rail} {}", self.paint(DIM, &left), self.paint(code(row.class), piece)));
        }
    }

    fn row(&self, out: &mut String, row: &Row) {
        let code = code(row.class);
        for (i, piece) in wrap(&row.text, self.lane - 4).iter().enumerate() {
            let step = if i == 0 { row.step.to_string() } else { String::new() };
            let mut line = self.paint(DIM, &format!("{step:>width$}  ", width = STEP - 2));
            for (lane, state) in row.lanes.iter().enumerate() {
                let text = if lane == row.lane { &**piece } else { "" };
                let pad = self.lane - 2 - text.chars().count();
                let _ = write!(line, "{} {}{}", rail(state), self.paint(code, text), " ".repeat(pad));
            }
            self.line(out, &line);
        }
    }

    fn switch(&self, out: &mut String, row: &Row, from: usize) {
        let (left, right) = (from.min(row.lane), from.max(row.lane));
        let mut line = String::new();
        for (lane, state) in row.lanes.iter().enumerate() {
            let (rail, fill) = match lane {
                _ if lane == left && left == from => ('╰', '─'),
                _ if lane == left => ('◀', '─'),
                _ if lane == right && right == from => ('╯', ' '),
                _ if lane == right => ('▶', ' '),
                _ if left < lane && lane < right => ('─', '─'),
                _ => (rail(state), ' '),
            };
            line.push(rail);
            line.extend(core::iter::repeat_n(fill, self.lane - 1));
        }
        self.line(out, &format!("{}{}", " ".repeat(STEP), self.paint(DIM, line.trim_end())));
    }

    fn failed(&self, out: &mut String, row: &Row) {
        let (kind, name) = (&self.story.kind, &self.story.lanes[row.lane]);
        // The words of a deadlock say so themselves, and name every thread.
        let words = match kind == "deadlock" {
            true => row.text.clone(),
            false => format!("{kind} in {name}: {}", row.text),
        };
        let thick = "━".repeat(self.width - STEP);
        self.line(out, &self.paint(RED, &format!("{:>w$}  {thick}", "✗", w = STEP - 2)));
        for piece in wrap(&words, self.width - STEP) {
            self.line(out, &self.paint(RED, &format!("{}{piece}", " ".repeat(STEP))));
        }
        self.line(out, &self.paint(RED, &format!("{}{thick}", " ".repeat(STEP))));
    }

    fn foot(&self, out: &mut String) {
        let indent = " ".repeat(STEP);
        for lock in &self.story.locks {
            for piece in wrap(lock, self.width - STEP) {
                self.line(out, &format!("{indent}{piece}"));
            }
        }
        let Story { preemptions, steps, left_out, .. } = self.story;
        let s = |n: u64| if n == 1 { "" } else { "s" };
        let mut last = format!("{preemptions} preemption{}, {steps} steps", s((*preemptions).into()));
        if *left_out > 0 {
            let _ = write!(last, "; {left_out} lock operation{} that nobody waited for not shown", s(*left_out as u64));
        }
        last.push_str(". │ alive ┃ holds a lock ┊ waits");
        for piece in wrap(&last, self.width - STEP) {
            self.line(out, &self.paint(DIM, &format!("{indent}{piece}")));
        }
    }

    fn line(&self, out: &mut String, line: &str) {
        out.push_str(line.trim_end());
        out.push('\n');
    }

    fn paint(&self, code: &str, text: &str) -> String {
        match self.style.colour && !code.is_empty() && !text.is_empty() {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}

/// The ANSI code of a kind of row.
fn code(class: Class) -> &'static str {
    match class {
        Class::Command => "1",
        Class::Lock => "33",
        Class::End => DIM,
        Class::Note => "35",
        _ => "",
    }
}

fn rail(lane: &Lane) -> char {
    match lane {
        Lane { alive: false, .. } => ' ',
        Lane { waits: Some(_), .. } => '┊',
        Lane { holds, .. } if !holds.is_empty() => '┃',
        _ => '│',
    }
}

/// Breaks a text at blanks so that no piece is wider than `width`; a longer word is cut. At least one piece. Control
/// characters are shown, not sent to the terminal.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    let mut used = 0;
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + word.len() <= width {
            pieces.last_mut().into_iter().for_each(|piece| piece.push(' '));
            used += 1;
        } else if used > 0 {
            pieces.push(String::new());
            used = 0;
        }
        while used + word.len() > width {
            let rest = word.split_off(width - used);
            pieces.last_mut().into_iter().for_each(|piece| piece.extend(&word));
            pieces.push(String::new());
            (word, used) = (rest, 0);
        }
        used += word.len();
        pieces.last_mut().into_iter().for_each(|piece| piece.extend(&word));
    }
    pieces
}
