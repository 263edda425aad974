//! Changes inputs by what they mean: whole operations, and single switches.
//!
//! A fuzzer that changes bytes finds the operations, but rarely two in the right order on two threads with a switch inside
//! one of them: each is several bytes at fixed distances. Here one change is one thought: another operation, the same
//! operation again or elsewhere or on another thread, a switch sooner or later, two operations at the same time. The rest is
//! left to the fuzzer's own changes, every now and then.
//!
//! To join two inputs was tried (a crossover of the beginning of one with the end of another) and found nothing sooner.

use super::input::{Input, MAX_RECORDS, RECORD, Record};
use super::ops::RECENT;

/// Verbs ([`choose`](super::ops::choose)) that end something or take it elsewhere: interfaces, drivers, jails, modules,
/// names, groups.
pub(super) const ENDS: [u8; 16] = [0, 6, 12, 15, 20, 24, 27, 29, 46, 47, 48, 49, 50, 52, 53, 60];
/// What a driver does with an interface of its own; the bit of the start that gives the second thread one.
pub(super) const DRIVE: u8 = 48;
const DRIVEN: u16 = 1 << 10;
/// Those that end a jail.
pub(super) const JAIL_ENDS: [u8; 2] = [24, 53];
/// Verbs that look something up, and use what they have found; those of them that look by index.
pub(super) const USES: [u8; 8] = [5, 14, 34, 36, 38, 40, 57, 59];
pub(super) const LOOKUPS: [u8; 2] = [5, 14];

/// A source of numbers (splitmix64), the same for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn byte(&mut self) -> u8 {
        (self.next() >> 32) as u8
    }

    /// Below `bound`, or 0.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound.max(1)
    }

    /// Once in so many times.
    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// 1 to 255, small ones more often: each doubling is as likely as the next.
    fn distance(&mut self) -> u8 {
        let top = 1 << self.below(8);
        top | (self.byte() & (top - 1))
    }

    fn record(&mut self) -> Record {
        let pick = [self.byte(), self.byte() % 4, self.thing(), self.byte()];
        // Operations before the threads start make what these act on.
        let who = if self.one_in(4) { Record::SETUP } else { self.byte() % 8 };
        let mut record = Record { who, pick, ..Record::default() };
        if self.one_in(2) {
            self.switch(&mut record);
        }
        record
    }

    /// What another thread is busy with, or could be.
    fn busy(&mut self) -> u8 {
        if self.one_in(2) { RECENT } else { RECENT + self.byte() % 4 }
    }

    /// Which interface: what another thread is busy with, or one of the first on a list, or any.
    fn thing(&mut self) -> u8 {
        match self.below(4) {
            0 | 1 => self.busy(),
            2 => self.byte() % 8,
            _ => self.byte(),
        }
    }

    fn one_of(&mut self, verbs: &[u8]) -> u8 {
        verbs[self.below(verbs.len())]
    }

    /// Another switch inside an operation.
    fn switch(&mut self, record: &mut Record) {
        match self.below(5) {
            0 => record.leave = [0; 2],
            1 => record.leave[0] = record.leave[0].wrapping_add(1),
            2 => record.leave[0] = record.leave[0].wrapping_sub(1),
            3 => record.leave[1] = self.distance(),
            _ => record.leave[0] = self.distance(),
        }
        if self.one_in(2) {
            record.to = self.byte() & 0x33;
        }
    }
}

/// One to four changes of an input; `None`: this time let the fuzzer change bytes.
#[must_use]
pub fn mutate(bytes: &[u8], max: usize, seed: u64) -> Option<Vec<u8>> {
    let mut dice = Dice(seed);
    if dice.one_in(8) {
        return None;
    }
    let mut input = Input::from_bytes(bytes);
    for _ in 0..=dice.below(4) {
        change(&mut input, &mut dice);
    }
    // The first eight bytes are the head.
    input.records.truncate((max / RECORD).saturating_sub(1).min(MAX_RECORDS));
    Some(input.to_bytes()).filter(|bytes| bytes.len() <= max)
}

/// An operation in which its thread is left, and one or two others that then happen, as a rule to the same interface. Half
/// the time all that was there before has happened before.
fn race(input: &mut Input, dice: &mut Dice) {
    if dice.one_in(2) {
        let before = |it: &mut Record| (it.who, it.leave, it.to) = (Record::SETUP, [0; 2], 0);
        input.records.iter_mut().for_each(before);
    }
    let mut left = Record { who: 0, leave: [dice.distance(), 0], to: 0, ..dice.record() };
    let mut others: Vec<_> = (0..=dice.below(2)).map(|_| Record { who: 1, ..dice.record() }).collect();
    for other in &mut others {
        if !dice.one_in(4) {
            other.pick[2] = dice.busy();
        }
    }
    // Most are between who uses something and who ends it, in either order, or between two that end it.
    let verbs = match dice.below(8) {
        0 | 1 => Some([dice.one_of(&USES), dice.one_of(&ENDS)]),
        2 => Some([dice.one_of(&ENDS), dice.one_of(&USES)]),
        3 | 4 => Some([dice.one_of(&ENDS), dice.one_of(&ENDS)]),
        5 => {
            // An interface that a thread drives and has from the start; others find it by its index.
            input.start |= DRIVEN;
            left.pick[2] = dice.busy();
            Some([dice.one_of(&LOOKUPS), DRIVE])
        }
        6 => {
            // A jail ends while something happens in it. The host's is the first on the list of those that operations are in.
            let jail = dice.byte() % 2;
            (left.pick[1], left.pick[2]) = (jail + 1, dice.byte() % 8);
            others[0].pick[3] = jail;
            let verb = if dice.one_in(2) { dice.one_of(&ENDS) } else { dice.one_of(&USES) };
            Some([verb, dice.one_of(&JAIL_ENDS)])
        }
        _ => None,
    };
    if let Some(verbs) = verbs {
        [left.pick[0], others[0].pick[0]] = verbs;
    }
    input.records.push(left);
    input.records.append(&mut others);
}

fn change(input: &mut Input, dice: &mut Dice) {
    let count = input.records.len();
    let at = dice.below(count);
    match dice.below(18) {
        16.. => race(input, dice),
        kind if count == 0 || kind < 3 => {
            let record = dice.record();
            input.records.insert(dice.below(count + 1), record);
        }
        3 | 4 if count > 1 => drop(input.records.remove(at)),
        5 => {
            let mut again = Record { who: dice.byte() % 8, ..input.records[at] };
            if dice.one_in(2) {
                again.pick[0] = dice.byte();
            }
            input.records.insert(dice.below(count + 1), again);
        }
        6 => input.records.swap(at, dice.below(count)),
        7 => input.records[at].who = dice.record().who,
        8 => input.records[at].pick[0] = dice.byte(),
        9 | 10 => {
            let operand = 1 + dice.below(3);
            input.records[at].pick[operand] = if operand == 2 { dice.thing() } else { dice.byte() % 16 };
        }
        11 => input.start ^= 1 << dice.below(16),
        12 if dice.one_in(2) => input.worker = [dice.distance(), dice.byte() % 4],
        12 => input.forced[dice.below(4)] = dice.byte() % 4,
        _ => dice.switch(&mut input.records[at]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_fit_are_repeatable_and_reach_every_part() {
        let input = Input { records: vec![Record::default(); 3], ..Input::default() };
        let bytes = input.to_bytes();
        let mut reached = [false; 8];
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..2_000 {
            let Some(changed) = mutate(&bytes, 48, seed) else { continue };
            assert_eq!(mutate(&bytes, 48, seed).as_ref(), Some(&changed));
            assert!(changed.len() <= 48 && changed.len() % RECORD == 0);
            lengths.insert(changed.len());
            for chunk in changed.chunks(RECORD).skip(1) {
                chunk.iter().zip(&mut reached).for_each(|(byte, reached)| *reached |= *byte != 0);
            }
        }
        assert_eq!((reached, lengths.len()), ([true; 8], 5), "{lengths:?}");
        assert_eq!(mutate(&bytes, 3, 1), None, "no room");
        assert!((0..9).filter_map(|seed| mutate(&[], 64, seed)).all(|changed| changed.len() > RECORD));
    }
}
