//! What the fuzzer is told about coverage: only edges that no execution of this process reached before.
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

/// Takes out of the counters of this execution what is not new. The last thing that a target does.
pub fn keep_new() {
    static SEEN: Mutex<Vec<Block>> = Mutex::new(Vec::new());
    let Ok(mut seen) = SEEN.lock() else { return };
    // SAFETY: nobody else reads or writes counters now. An input is played on one OS thread, and libFuzzer, which looks at
    // them when that has returned, is called from the same.
    let counters = unsafe { counters() };
    seen.resize(counters.len(), Block::default());
    filter(counters, &mut seen);
}

/// Not instrumented for the sanitizer, whose checks would take as long as all else here; and so without iterators, which
/// are instrumented, and not inlined for that reason.
#[sanitize(address = "off")]
fn filter(counters: &mut [Block], seen: &mut [Block]) {
    let mut block = 0;
    while block < counters.len() {
        let [a, b, c, d, e, f, g, h] = counters[block];
        if a | b | c | d | e | f | g | h != 0 {
            let mut word = 0;
            while word < counters[block].len() {
                let new = counters[block][word] & !seen[block][word];
                counters[block][word] = new;
                if new != 0 {
                    seen[block][word] |= all_of_each(new);
                }
                word += 1;
            }
        }
        block += 1;
    }
}

/// All bits of each byte that has one.
fn all_of_each(word: u64) -> u64 {
    u64::from_ne_bytes(word.to_ne_bytes().map(|byte| if byte == 0 { 0 } else { u8::MAX }))
}

/// The counters of the edges of all crates, one byte each, which the linker has put side by side. The few before the first
/// whole block and behind the last are left out.
///
/// # Safety
///
/// Nobody else reads or writes counters while the slice is used.
unsafe fn counters<'c>() -> &'c mut [Block] {
    unsafe extern "C" {
        #[link_name = "__start___sancov_cntrs"]
        static mut START: u8;
        #[link_name = "__stop___sancov_cntrs"]
        static mut STOP: u8;
    }
    let (start, stop) = (&raw mut START, &raw mut STOP);
    let bytes = stop as usize - start as usize;
    // SAFETY:
    // 1. The section is mapped, readable and writable as long as the program runs, and any bytes are blocks.
    // 2. `align_to_mut` gives what of it is aligned.
    // 3. The caller promises that nobody else uses it. That the functions of this file are counted as well is done by
    //    instructions which the compiler adds to what it has finished, so it assumes nothing of them; a count may be lost.
    unsafe { slice::from_raw_parts_mut(start, bytes).align_to_mut().1 }
}
