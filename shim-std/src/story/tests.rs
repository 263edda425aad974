//! A dead-lock of two commands, told in every form.

use std::sync::Arc;

use ifnet::platform::{LockEvent, Mutex as _, Platform};

use super::text::Style;
use super::*;
use crate::explore::progress::Silent;
use crate::explore::{Execution, Explorer, Program};
use crate::host::shuttle::ShuttleHost;

/// `a` and `b` take two locks in opposite orders, after a lock of their own that nobody else wants.
fn abba() -> Program {
    Arc::new(|execution| {
        type Lock = <ShuttleHost as Platform>::Mutex<()>;
        const NAMES: [&str; 3] = ["ifnet_detach_sxlock", "in_multi_sx", "if_addr_lock"];
        let locks: Arc<[Lock; 3]> = Arc::new([(); 3].map(ifnet::platform::Mutex::new));
        let take = |execution: &Execution, locks: &[Lock; 3], order: &[usize]| {
            let mut guards = Vec::new();
            for &i in order {
                execution.lock_event(NAMES[i], LockEvent::Waiting);
                guards.push(locks[i].lock());
                execution.lock_event(NAMES[i], LockEvent::Acquired { exclusive: true });
            }
            drop(guards);
            order.iter().for_each(|&i| execution.lock_event(NAMES[i], LockEvent::Released));
        };
        let start = |name: &str, command: &'static str, order: [usize; 2]| {
            let locks = Arc::clone(&locks);
            execution.spawn(name, move |execution| {
                execution.log(|| What::Command(command.into()));
                take(execution, &locks, &[2]);
                execution.log(|| What::Trace(format!("ifnet_event {name} <&> idx=3", name = command.len())));
                take(execution, &locks, &order);
                execution.log(|| What::CommandEnd("ok".into()));
            })
        };
        let threads = [start("( ) & 1", "devctl detach em0", [0, 1]), start("( ) & 2", "jail -r one", [1, 0])];
        execution.join(&threads);
        Ok(())
    })
}

fn story() -> Story {
    let failure = Explorer::default().run(&abba(), &Silent).failure.expect("found");
    Story::of(&failure)
}

#[test]
fn the_text_is_this() {
    let expected = "      ( ) & 1                                      ( ) & 2
      ───────────────────────────────────────────  ───────────────────────────────────────────
   0  │ $ devctl detach em0
   1  │ ifnet_event 17 <&> idx=3
   1  ┃ takes ifnet_detach_sxlock
   2  ┊ waits for in_multi_sx
      ╰────────────────────────────────────────────▶
   3  ┊                                            │ $ jail -r one
   4  ┊                                            │ ifnet_event 11 <&> idx=3
   4  ┊                                            ┃ takes in_multi_sx
   5  ┊                                            ┊ waits for ifnet_detach_sxlock, held by (
      ┊                                            ┊ ) & 1
   ✗  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
      deadlock: main waits for the end of ( ) & 1, ( ) & 2; ( ) & 1 holds ifnet_detach_sxlock
      and waits for in_multi_sx; ( ) & 2 holds in_multi_sx and waits for ifnet_detach_sxlock
      ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
      ( ) & 1 holds ifnet_detach_sxlock
      ( ) & 1 waits for in_multi_sx
      ( ) & 2 holds in_multi_sx
      ( ) & 2 waits for ifnet_detach_sxlock
      1 preemption, 6 steps; 4 lock operations that nobody waited for not shown. │ alive ┃ holds
      a lock ┊ waits
";
    let text = text::render(&story(), Style { width: 96, colour: false });
    assert_eq!(text, expected, "\n{text}");
}

#[test]
fn long_runs_of_events_are_cut_in_the_middle() {
    let program: Program = Arc::new(|execution| {
        (0..30).for_each(|n| execution.log(|| What::Trace(format!("event {n}"))));
        execution.kernel_panic("em0: interface is not on the active list")
    });
    let failure = Explorer::default().run(&program, &Silent).failure.expect("found");
    let text = text::render(&Story::of(&failure), Style::default());
    assert!(text.contains("panic in main: em0: interface is not on the active list"), "{text}");
    let shown: Vec<_> = text
        .lines()
        .filter(|line| line.contains("event"))
        .map(|line| line.trim_start_matches(|c: char| !c.is_alphabetic() && c != '…'))
        .collect();
    assert_eq!(
        shown,
        ["event 0", "event 1", "event 2", "event 3", "… 23 more events …", "event 27", "event 28", "event 29"]
    );
}

#[test]
fn no_line_is_wider_than_asked() {
    for width in [40, 60, 80, 120, 200] {
        let text = text::render(&story(), Style { width, colour: false });
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(widest <= width, "{widest} > {width}:\n{text}");
        assert!(text.lines().all(|line| line.trim_end() == line));
    }
}

#[test]
fn many_threads_are_folded_into_one_lane() {
    let program: Program = Arc::new(|execution| {
        let threads = [0; 12].map(|_| {
            execution.spawn("a thread with a long name", |execution| {
                execution.log(|| What::Trace("ifnet_arrival_event epair0a idx=3 in=v1 home=v0 cur=v1".into()));
            })
        });
        execution.join(&threads);
        execution.violation("I3", "two homes")
    });
    let failure = Explorer::default().run(&program, &Silent).failure.expect("found");
    let text = text::render(&Story::of(&failure), Style::default());
    let row = "   0  a thread with   │ ifnet_arrival_event epair0a idx=3 in=v1 home=v0 cur=v1";
    assert_eq!(text.lines().filter(|line| *line == row).count(), 12, "{text}");
    assert!(text.contains("I3 in main: two homes"));
    assert!(text.lines().all(|line| line.chars().count() <= 120));
}

#[test]
fn colour_changes_nothing_but_colour() {
    let coloured = text::render(&story(), Style { width: 100, colour: true });
    assert!(coloured.contains("\x1b[1;31m"));
    let mut plain = String::new();
    let mut rest = &*coloured;
    while let Some((head, tail)) = rest.split_once('\x1b') {
        plain += head;
        rest = tail.split_once('m').map_or("", |(_, tail)| tail);
    }
    plain += rest;
    let trimmed: String = plain.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
    assert_eq!(trimmed, text::render(&story(), Style { width: 100, colour: false }));
}

#[test]
fn a_replay_tells_the_same_story_byte_for_byte() {
    let explorer = Explorer::default();
    let failure = explorer.run(&abba(), &Silent).failure.expect("found");
    let again = explorer.replay(&abba(), &failure.schedule).expect("fails again");
    let render = |failure| text::render(&Story::of(failure), Style::default());
    assert_eq!(render(&failure), render(&again));
}

#[test]
fn the_page_is_whole_and_escaped() {
    let page = html::render(&story(), "abba <test>", Some("ifn1-AAAA"));
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    for part in ["abba &lt;test&gt;", "idx=3", "&lt;&amp;&gt;", "ifnet replay ifn1-AAAA", "td class=\"waits"] {
        assert!(page.contains(part), "{part} is missing in\n{page}");
    }
    assert!(!page.contains("http") && !page.contains("<script"), "nothing is fetched");
    let opened = page.matches("<td").count();
    assert_eq!(opened, page.matches("</td>").count());
}

#[test]
fn the_json_has_the_rows_and_the_locks() {
    let value = json::render(&story());
    assert_eq!(value["kind"], "deadlock");
    assert_eq!(value["threads"][1], "( ) & 2");
    let rows = value["rows"].as_array().expect("rows");
    assert!(rows.iter().any(|row| row["class"] == "lock" && row["text"] == "takes in_multi_sx"));
    assert_eq!(rows.last().expect("a last row")["class"], "failed");
    assert_eq!(value["locks"].as_array().map(Vec::len), Some(4));
}
