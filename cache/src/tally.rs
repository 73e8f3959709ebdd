//! Why things happened, counted by their one word.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Events of one kind by their word. Off the path of fresh hits.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    /// One more of this word.
    pub(crate) fn count(&self, word: &'static str) {
        *self.0.lock().entry(word).or_default() += 1;
    }

    /// Words and how often each has been counted, in alphabetical order.
    pub fn read(&self) -> Vec<(&'static str, u64)> {
        self.0.lock().iter().map(|(word, count)| (*word, *count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_counted_by_itself() {
        let tally = Tally::default();
        for word in ["private", "no_store", "private"] {
            tally.count(word);
        }
        assert_eq!(tally.read(), [("no_store", 1), ("private", 2)]);
    }
}
