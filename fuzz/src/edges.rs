//! What the fuzzer is told about coverage: only what no execution of this process reached before.
//!
//! An execution reaches some six thousand edges, all but a few of them for the thousandth time. libFuzzer looks each one up
//! in tables of many megabytes, which takes longer than to play the input. What decides whether an input is kept is whether
//! it has reached something new, so the rest is taken out of the counters before libFuzzer reads them (AFL's virgin map).
//! It then knows no longer how rare an edge is, nor that a shorter input reaches the same; `-merge=1` still minimises a
//! corpus, since it plays short inputs first and each edge goes to the first that reaches it.
//!
//! `cov:` in what it prints is without the edges that an empty input reaches, which it plays first and does not count.

use core::slice;
use std::sync::Mutex;

/// As many counters are looked at together.
type Block = [u64; 8];

/// What is new about an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum New {
    /// That it was reached.
    Reached,
    /// That it was reached so many times: once, twice, three, four to seven times, and so on.
    Times,
}

/// Takes out of the counters of this execution what is not new. The last thing that a target does.
pub fn keep(what: New) {
    static SEEN: Mutex<Vec<Block>> = Mutex::new(Vec::new());
    let Ok(mut seen) = SEEN.lock() else { return };
    // SAFETY: nobody else reads or writes counters now. An input is played on one OS thread, and libFuzzer, which looks at
    // them when that has returned, is called from the same.
    let counters = unsafe { counters() };
    seen.resize(counters.len(), Block::default());
    filter(counters, &mut seen, what);
}

/// Not instrumented for the sanitizer, whose checks would take as long as all else here; and so without iterators, which
/// are instrumented, and not inlined for that reason. Nor is it counted, which would slow its loops down as much: LLVM leaves
/// out functions with names like this one, which it takes for the sanitizer's own.
#[sanitize(address = "off")]
// SAFETY: 1. Nothing else in the program has this name, nor one of the sanitizer's functions.
#[unsafe(export_name = "__sanitizer_ifnet_filter")]
fn filter(counters: &mut [Block], seen: &mut [Block], what: New) {
    let mut block = 0;
    while block < counters.len() {
        let [a, b, c, d, e, f, g, h] = counters[block];
        if a | b | c | d | e | f | g | h != 0 {
            match what {
                New::Reached => new_edges(&mut counters[block], &mut seen[block]),
                New::Times => new_times(&mut counters[block], &mut seen[block]),
            }
        }
        block += 1;
    }
}

/// Leaves the counters of edges that were not reached before. Each byte of `seen` is all or nothing.
#[sanitize(address = "off")]
#[inline(always)]
#[expect(inline_no_sanitize, reason = "what it is inlined into is not instrumented either")]
fn new_edges(hits: &mut Block, seen: &mut Block) {
    let (mut any, mut word) = (0, 0);
    while word < hits.len() {
        hits[word] &= !seen[word];
        any |= hits[word];
        word += 1;
    }
    let mut byte = 0;
    while any != 0 && byte < size_of::<Block>() {
        let (word, shift) = (byte / 8, byte % 8 * 8);
        if hits[word] >> shift & 0xff != 0 {
            seen[word] |= 0xff << shift;
        }
        byte += 1;
    }
}

/// Leaves the counters that are in a class in which they were not before. Each bit of `seen` is a class.
#[sanitize(address = "off")]
#[inline(always)]
#[expect(inline_no_sanitize, reason = "what it is inlined into is not instrumented either")]
fn new_times(hits: &mut Block, seen: &mut Block) {
    let mut word = 0;
    while word < hits.len() {
        let mut shift = 0;
        while hits[word] != 0 && shift < u64::BITS {
            let times = hits[word] >> shift & 0xff;
            let class = CLASSES[times as usize] << shift;
            if seen[word] & class == class {
                hits[word] &= !(0xff << shift);
            }
            seen[word] |= class;
            shift += 8;
        }
        word += 1;
    }
}

/// The class of each count, as libFuzzer has them: a bit.
const CLASSES: [u64; 256] = {
    let mut classes = [0; 256];
    let mut times = 1;
    while times < classes.len() {
        classes[times] = match times {
            1..4 => 1 << (times - 1),
            4..8 => 1 << 3,
            8..16 => 1 << 4,
            16..32 => 1 << 5,
            32..128 => 1 << 6,
            _ => 1 << 7,
        };
        times += 1;
    }
    classes
};

/// The counters of the edges of all crates, one byte each, which the linker has put side by side. The few before the first
/// whole block and behind the last are left out. None, in a program without them: one that is built to measure coverage.
///
/// # Safety
///
/// Nobody else reads or writes counters while the slice is used.
unsafe fn counters<'c>() -> &'c mut [Block] {
    unsafe extern "C" {
        #[link_name = "__start___sancov_cntrs"]
        #[linkage = "extern_weak"]
        static START: *mut u8;
        #[link_name = "__stop___sancov_cntrs"]
        #[linkage = "extern_weak"]
        static STOP: *mut u8;
    }
    // SAFETY: the linker fills them in before the program begins, with nothing if there is no such section.
    let (start, stop) = unsafe { (START, STOP) };
    if start.is_null() {
        return &mut [];
    }
    let bytes = stop.addr() - start.addr();
    // SAFETY:
    // 1. The section is mapped, readable and writable as long as the program runs, and any bytes are blocks.
    // 2. `align_to_mut` gives what of it is aligned.
    // 3. The caller promises that nobody else uses it. That the functions of this file are counted as well is done by
    //    instructions which the compiler adds to what it has finished, so it assumes nothing of them; a count may be lost.
    unsafe { slice::from_raw_parts_mut(start, bytes).align_to_mut().1 }
}
