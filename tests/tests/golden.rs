//! The trace of the golden scenarios equals the log of a FreeBSD 15.1 kernel, line by line.
//!
//! Nothing may differ but the lines listed in `golden/differences.txt`, and each of those must.

use std::collections::BTreeMap;

use ifnet_std::runner::{Options, Verdict, run};
use ifnet_std::scenario::Source;
use ifnet_tests::read;

const SEQUENCES: [&str; 13] = ["S0", "S1", "S1b", "S1c", "S2", "S3", "S3b", "S4", "S4b", "S4c", "S5", "S5b", "S7"];

/// What ours says in the place of a line of the log, and behind it.
#[derive(Default)]
struct Difference {
    replaced: Option<String>,
    after: Vec<String>,
}

/// The differences of a sequence by line number, counted from 1.
fn differences(sequence: &str) -> BTreeMap<usize, Difference> {
    let mut all: BTreeMap<usize, Difference> = BTreeMap::new();
    for entry in read("golden/differences.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let mut fields = entry.splitn(4, ' ');
        let mut field = || fields.next().unwrap_or_else(|| panic!("differences.txt: {entry:?} is too short"));
        let (name, line, how, text) = (field(), field(), field(), field());
        assert!(SEQUENCES.contains(&name), "differences.txt: no sequence {name}");
        if name != sequence {
            continue;
        }
        let line = line.parse().unwrap_or_else(|_| panic!("differences.txt: {line} is no line number"));
        let difference = all.entry(line).or_default();
        match how {
            "replace" => assert!(difference.replaced.replace(text.to_owned()).is_none(), "{entry:?} a second time"),
            "after" => difference.after.push(text.to_owned()),
            _ => panic!("differences.txt: {how:?} is neither `replace` nor `after`"),
        }
    }
    all
}

/// The lines that ours must say for a sequence.
fn expected(sequence: &str) -> Vec<String> {
    let log = read(&format!("golden/{sequence}.txt"));
    let mut differences = differences(sequence);
    let mut lines = Vec::new();
    for (n, line) in log.lines().enumerate() {
        let Difference { replaced, after } = differences.remove(&(n + 1)).unwrap_or_default();
        if let Some(replaced) = &replaced {
            assert_ne!(replaced, line, "differences.txt: {sequence} line {} does not differ", n + 1);
        }
        lines.push(replaced.unwrap_or_else(|| line.to_owned()));
        lines.extend(after);
    }
    assert!(differences.is_empty(), "differences.txt: {sequence} has no lines {:?}", differences.keys());
    lines
}

/// What a scenario prints, from its first `sequence` on.
fn ours(name: &str) -> Vec<String> {
    let file = format!("scenarios/golden/{name}.ifn");
    let report = run(&Source::new(&*file, read(&file)), &Options { trace: true, ..Options::default() });
    assert_eq!(report.verdict, Verdict::Passed, "{}\n{}", report.verdict, report.lines.join("\n"));
    let lines = report.lines.into_iter().skip_while(|line| !line.starts_with("## "));
    lines.filter(|line| !line.is_empty()).collect()
}

/// An event, or a line of the kernel's log: what the emulation says, not the scenario.
fn is_of_the_kernel(line: &str) -> bool {
    line.starts_with("    . ") || !line.starts_with([' ', '#'])
}

fn compare(name: &str, expected: &[String], ours: &[String]) {
    let differ = expected.iter().zip(ours).position(|(expected, ours)| expected != ours);
    let shorter = expected.len().min(ours.len());
    let at = differ.or_else(|| (expected.len() != ours.len()).then_some(shorter));
    if let Some(at) = at {
        let line = |lines: &[String], n: usize| lines.get(n).cloned().unwrap_or_else(|| "(nothing)".into());
        let before: Vec<_> = (at.saturating_sub(5)..at).map(|n| line(expected, n)).collect();
        let before = before.join("\n  ");
        let (expected, ours) = (line(expected, at), line(ours, at));
        panic!("{name}: line {} differs\n  {before}\n- {expected}\n+ {ours}", at + 1);
    }
}

#[test]
fn every_sequence_equals_its_log() {
    let mut total = 0;
    for sequence in SEQUENCES {
        let (expected, ours) = (expected(sequence), ours(sequence));
        compare(sequence, &expected, &ours);
        let events = expected.iter().filter(|line| is_of_the_kernel(line)).count();
        println!("{sequence}: {} lines equal, {events} of them from the kernel", expected.len());
        total += events;
    }
    println!("all: {total} lines from the kernel");
    // The log has 583; 57 are the ones that the recorder missed.
    assert_eq!(total, 583 + 57);
}

#[test]
fn the_sequences_in_one_run_equal_the_whole_log() {
    let expected: Vec<_> = SEQUENCES.iter().flat_map(|sequence| expected(sequence)).collect();
    compare("all", &expected, &ours("all"));
    println!("all: {} lines equal", expected.len());
}
