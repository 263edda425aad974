//! What the bytes of an input mean: a program for a few threads, and when they are switched.
//!
//! Everything is made of records of eight bytes, the first of which says how the world begins. A scheduling decision
//! belongs to the operation during which it is made: a record holds the operation *and* after how many decisions inside it
//! the thread is left, and for whom. So an operation can be inserted, deleted, or moved, and the switches inside the
//! others stay where they are; and a record whose last four bytes are zero runs undisturbed. A schedule that needs two
//! preemptions is two small numbers, not two changes in a stream of hundreds of choices.
//!
//! Every byte string is an input: what is missing is zero, what is too much is not read.

/// Bytes of a record.
pub const RECORD: usize = 8;
/// As many operations are read.
pub const MAX_RECORDS: usize = 32;
/// As many threads run at a time, without the one that starts them and the worker.
pub const THREADS: usize = 4;

/// One operation of one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Who: from [`SETUP`](Self::SETUP) on the thread that starts the others, before it does; otherwise one of these.
    pub who: u8,
    /// What, and three operands.
    pub pick: [u8; 4],
    /// After so many decisions inside the operation the thread is left; after so many more, once again. 0: not.
    pub leave: [u8; 2],
    /// For which of the others: the first time in the lower half.
    pub to: u8,
}

impl Record {
    /// The first value of `who` that stands for the setup.
    pub const SETUP: u8 = 0xe0;

    /// The thread, from 1; `None` for the setup.
    #[must_use]
    pub fn thread(&self) -> Option<usize> {
        // Two threads are enough for most races.
        const OF: [usize; 8] = [1, 2, 1, 2, 3, 1, 2, 4];
        (self.who < Self::SETUP).then(|| OF[usize::from(self.who) % OF.len()])
    }
}

/// An input. See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// What exists at the start, a bit each.
    pub start: u16,
    /// After so many decisions the worker is left, and for whom.
    pub worker: [u8; 2],
    /// Who runs when the current thread cannot go on.
    pub forced: [u8; 4],
    /// The operations of all threads.
    pub records: Vec<Record>,
}

impl Input {
    /// Reads an input; every byte string is one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut chunks = bytes.chunks(RECORD).map(|chunk| {
            let mut record = [0; RECORD];
            record[..chunk.len()].copy_from_slice(chunk);
            record
        });
        let [s0, w0, w1, forced @ .., s1] = chunks.next().unwrap_or_default();
        let records = chunks.take(MAX_RECORDS).map(|[who, verb, a, b, c, l0, l1, to]| Record {
            who,
            pick: [verb, a, b, c],
            leave: [l0, l1],
            to,
        });
        Self { start: u16::from_le_bytes([s0, s1]), worker: [w0, w1], forced, records: records.collect() }
    }

    /// The bytes of an input.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let ([s0, s1], [w0, w1], [f0, f1, f2, f3]) = (self.start.to_le_bytes(), self.worker, self.forced);
        let mut bytes = vec![s0, w0, w1, f0, f1, f2, f3, s1];
        for Record { who, pick: [verb, a, b, c], leave: [l0, l1], to } in &self.records {
            bytes.extend([who, verb, a, b, c, l0, l1, to]);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_both_ways_and_a_record_is_local() {
        let bytes: Vec<u8> = (0..8 * 5).collect();
        let input = Input::from_bytes(&bytes);
        assert_eq!(input.to_bytes(), bytes);
        assert_eq!(input.records.len(), 4);
        let mut shorter = bytes;
        shorter.drain(16..24);
        let mut without = input;
        without.records.remove(1);
        assert_eq!(Input::from_bytes(&shorter), without);
    }

    #[test]
    fn any_length_is_an_input() {
        assert_eq!(Input::from_bytes(&[]), Input::default());
        assert_eq!(Input::from_bytes(&[1; 9]).records, [Record { who: 1, ..Record::default() }]);
        assert_eq!(Input::from_bytes(&vec![0xff; 100_000]).records.len(), MAX_RECORDS);
    }
}
