//! The story as a page: one file, no scripts, nothing fetched.

use core::fmt::Write as _;

use super::{Class, Lane, Story};

const CSS: &str = "\
:root{color-scheme:light dark;--line:#8886;--hold:#c80;--wait:#c36;--bad:#c22;--soft:#8881}\
body{font:14px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:100rem;padding:0 1rem}\
h1{font-size:1.2rem}h1 b{color:var(--bad)}code,td{font-family:ui-monospace,monospace;font-size:13px}\
table{border-collapse:collapse;width:100%;table-layout:fixed}\
th{position:sticky;top:0;background:Canvas;text-align:left;border-bottom:2px solid var(--line);padding:.3rem .6rem}\
th:first-child,td:first-child{width:4rem;color:GrayText;text-align:right;border:0}\
td{border-left:3px solid transparent;padding:.1rem .6rem;vertical-align:top;overflow-wrap:anywhere}\
td.alive{border-color:var(--line)}td.holds{border-color:var(--hold)}td.waits{border-left-style:dotted;border-color:var(--wait)}\
tr.switch td{border-top:1px dashed var(--line)}td.command{font-weight:bold}td.end{color:GrayText}\
td.lock{color:var(--hold)}td.failed{background:var(--bad);color:#fff;font-weight:bold}\
td.here{background:var(--soft)}pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--soft);padding:.6rem}";

/// The page. `title` names what was explored, `token` is shown for replaying if there is one.
#[must_use]
pub fn render(story: &Story, title: &str, token: Option<&str>) -> String {
    let (title, kind, message) = (escape(title), escape(&story.kind), escape(&story.message));
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}: {kind}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{CSS}</style></head><body>\n\
         <h1>{title}: <b>{kind}</b></h1>\n<pre>{message}</pre>\n<table><thead><tr><th>step</th>"
    );
    for name in &story.lanes {
        let _ = write!(out, "<th>{}</th>", escape(name));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    let mut switched = false;
    for row in &story.rows {
        let class = match row.class {
            Class::Switch { .. } => {
                switched = true;
                continue;
            }
            Class::Command => "command",
            Class::End => "end",
            Class::Trace => "trace",
            Class::Lock => "lock",
            Class::Note => "note",
            Class::Failed => "failed",
        };
        let tr = if core::mem::take(&mut switched) { "<tr class=\"switch\">" } else { "<tr>" };
        let _ = write!(out, "{tr}<td>{}</td>", row.step);
        for (i, lane) in row.lanes.iter().enumerate() {
            let (here, text) = if i == row.lane { (class, escape(&row.text)) } else { ("", String::new()) };
            let here = if here.is_empty() { String::new() } else { format!(" here {here}") };
            let _ = write!(out, "<td class=\"{}{here}\"{}>{text}</td>", state(lane), hint(lane));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n");
    if !story.locks.is_empty() {
        let locks: Vec<_> = story.locks.iter().map(|lock| format!("<li>{}</li>", escape(lock))).collect();
        let _ = writeln!(out, "<h2>Locks at the end</h2><ul>{}</ul>", locks.concat());
    }
    let Story { preemptions, steps, left_out, .. } = story;
    let _ = writeln!(
        out,
        "<p>{preemptions} preemptions, {steps} steps; {left_out} lock operations that nobody waited for are not shown.</p>"
    );
    if let Some(token) = token {
        let _ = writeln!(out, "<p>See it again:</p><pre>ifnet replay {}</pre>", escape(token));
    }
    out.push_str("</body></html>\n");
    out
}

fn state(lane: &Lane) -> &'static str {
    match lane {
        Lane { alive: false, .. } => "gone",
        Lane { waits: Some(_), .. } => "waits",
        Lane { holds, .. } if !holds.is_empty() => "holds",
        _ => "alive",
    }
}

fn hint(lane: &Lane) -> String {
    let mut words = Vec::new();
    if !lane.holds.is_empty() {
        words.push(format!("holds {}", lane.holds.join(", ")));
    }
    words.extend(lane.waits.iter().map(|lock| format!("waits for {lock}")));
    if words.is_empty() { String::new() } else { format!(" title=\"{}\"", escape(&words.join("; "))) }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
