//! Which records are with the broker, and up to where all are acknowledged.

use std::collections::VecDeque;

/// Records sent and not done with, in the order of their sequences.
#[derive(Debug)]
pub struct Window {
    /// Most records from the first that is not acknowledged on.
    size: usize,
    /// Each one's sequence, and whether it is acknowledged.
    records: VecDeque<(u64, bool)>,
}

impl Window {
    /// An empty window for so many records.
    pub fn new(size: usize) -> Self {
        Self { size, records: VecDeque::new() }
    }

    /// Nothing is with the broker any more.
    pub fn clear(&mut self) {
        self.records.clear();
    }

    /// Whether one more may be sent.
    pub fn has_room(&self) -> bool {
        self.records.len() < self.size
    }

    /// A record goes out; its sequence is above all before it.
    pub fn sent(&mut self, sequence: u64) {
        self.records.push_back((sequence, false));
    }

    /// A record is done with. Gives the sequence below which all are, if that has moved.
    pub fn acked(&mut self, sequence: u64) -> Option<u64> {
        let i = self.records.binary_search_by_key(&sequence, |(sequence, _)| *sequence).ok()?;
        self.records[i].1 = true;
        let mut done = None;
        while let Some((sequence, true)) = self.records.front() {
            done = Some(sequence + 1);
            self.records.pop_front();
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_moves_only_past_acknowledged_records() {
        let mut window = Window::new(4);
        for sequence in [3, 4, 7, 8] {
            assert!(window.has_room());
            window.sent(sequence);
        }
        assert!(!window.has_room());
        assert_eq!(window.acked(7), None);
        assert_eq!(window.acked(4), None);
        assert!(!window.has_room(), "the first is still out");
        assert_eq!(window.acked(3), Some(8));
        assert_eq!(window.acked(3), None, "twice");
        assert_eq!(window.acked(5), None, "never sent");
        assert_eq!(window.acked(8), Some(9));
        assert!(window.records.is_empty());
    }
}
