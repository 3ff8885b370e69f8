//! The known name nearest to one that is not known.

/// Of `known`, the one with the least edit distance to `name`, if it is near enough to be meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = plain(name);
    let limit = (wanted.chars().count() / 3).max(2);
    known.map(|k| (distance(&wanted, &plain(k)), k)).filter(|(d, _)| *d <= limit).min().map(|(_, k)| k)
}

/// Levels and words are confused most often (`KAFKA_ACKS`, `kafka.acks`, `kafka-acks`), so they count as the same.
fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace("__", "_").replace(['.', '-'], "_")
}

/// Optimal string alignment: insertions, deletions, substitutions, and swaps of neighbours cost one each.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn typing_slips_are_near_and_other_words_are_not() {
        let known = ["kafka.acks", "kafka.batch_size", "app.port"];
        assert_eq!(nearest("kafka.akcs", known.into_iter()), Some("kafka.acks"));
        assert_eq!(nearest("KAFKA_BATCHSIZE", known.into_iter()), Some("kafka.batch_size"));
        assert_eq!(nearest("moonlight", known.into_iter()), None);
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
