//! The story for programs.

use serde_json::{Value, json};

use super::{Class, Story};

/// The story as JSON. Keys are stable; new ones may be added.
#[must_use]
pub fn render(story: &Story) -> Value {
    let rows: Vec<Value> = (story.rows.iter())
        .map(|row| {
            let class = match row.class {
                Class::Switch { .. } => "switch",
                Class::Command => "command",
                Class::End => "end",
                Class::Trace => "trace",
                Class::Lock => "lock",
                Class::Note => "note",
                Class::Failed => "failed",
            };
            let holds: Vec<_> = row.lanes.iter().map(|lane| &lane.holds).collect();
            let waits: Vec<_> = row.lanes.iter().map(|lane| &lane.waits).collect();
            json!({
                "step": row.step, "thread": story.lanes[row.lane], "class": class, "text": row.text,
                "holds": holds, "waits": waits,
            })
        })
        .collect();
    json!({
        "kind": story.kind,
        "message": story.message,
        "threads": story.lanes,
        "rows": rows,
        "locks": story.locks,
        "preemptions": story.preemptions,
        "steps": story.steps,
        "left_out": story.left_out,
    })
}
