//! Random changes, the same in every run.

/// Bytes and runs of bytes that mean something in many formats.
const TELLING: [&[u8]; 12] = [
    b"\x00",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\x00\x00\x00\x00",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"999999999",
    b"-1",
    b"[[[[[[[[",
    b"@\x06@\x00",
];
/// The longest record that is made; beyond it nothing new is found.
const LENGTH_MAX: usize = 4096;
/// The most changed records that are kept to be changed again.
const KEPT_MAX: usize = 500;

/// A source of changed records.
pub(crate) struct Mutations {
    records: Vec<Vec<u8>>,
    seeds: usize,
    state: u64,
    telling: &'static [&'static [u8]],
}

impl Mutations {
    pub(crate) fn new(records: Vec<Vec<u8>>) -> Self {
        Self::of(records, &TELLING, 0)
    }

    /// Changes that know what means something here; each `run` makes others.
    pub(crate) fn of(records: Vec<Vec<u8>>, telling: &'static [&'static [u8]], run: u64) -> Self {
        Self { seeds: records.len(), records, state: 0x9e37_79b9_7f4a_7c15 ^ run << 32, telling }
    }

    /// A record with one to four changes.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let mut record = self.pick();
        for _ in 0..=self.below(3) {
            self.change(&mut record);
        }
        record.truncate(LENGTH_MAX);
        record
    }

    /// Lets a record be changed further.
    pub(crate) fn keep(&mut self, record: Vec<u8>) {
        if self.records.len() < self.seeds + KEPT_MAX {
            self.records.push(record);
        } else {
            let place = self.seeds + self.below(KEPT_MAX);
            self.records[place] = record;
        }
    }

    fn change(&mut self, record: &mut Vec<u8>) {
        let at = self.below(record.len() + 1);
        let end = (at + self.below(16)).min(record.len());
        match self.below(7) {
            0 if at < record.len() => record[at] ^= 1 << self.below(8),
            1 if at < record.len() => record[at] = self.random() as u8,
            2 => drop(record.drain(at..end)),
            3 => {
                let telling = self.telling[self.below(self.telling.len())];
                record.splice(at..end, telling.iter().copied());
            }
            4 => {
                let again = record[at..end].repeat(1 + self.below(40));
                record.splice(at..at, again);
            }
            5 => {
                let other = self.pick();
                let from = self.below(other.len() + 1);
                record.truncate(at);
                record.extend(&other[from..]);
            }
            _ => record.insert(at, self.random() as u8),
        }
    }

    fn pick(&mut self) -> Vec<u8> {
        let place = self.below(self.records.len());
        self.records[place].clone()
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.random() % limit.max(1) as u64) as usize
    }

    /// xorshift64*, which needs no crate and is the same everywhere.
    fn random(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
