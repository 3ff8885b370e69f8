//! Names of folders and files, safe on every file system for any topic name.

use std::fmt::Write;
use tidecast_event::{OutputId, TopicPartition};

/// Longest part of a topic that is kept readable; file systems end at 255 bytes.
const LONGEST: usize = 120;

/// A partition's folder: `<topic>-<partition>`. Everything but `a-z 0-9 _` is written as `%XX`, capitals too, for file
/// systems that do not tell them apart; a long name is cut and gets a hash.
pub(crate) fn folder(partition: &TopicPartition) -> String {
    format!("{}-{}", written(&partition.topic, b"_"), partition.partition)
}

/// A consumer group's folder, written likewise; the dashes that most have stay.
pub(crate) fn group(group_id: &str) -> String {
    written(group_id, b"_-")
}

fn written(text: &str, plain: &[u8]) -> String {
    let mut name = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => name.push(char::from(byte)),
            other if plain.contains(&other) => name.push(char::from(other)),
            other => write!(name, "%{other:02X}").expect("writing to a String does not fail"),
        }
    }
    if name.len() > LONGEST {
        name.truncate(LONGEST);
        write!(name, "%%{}", OutputId::of(&[text.as_bytes()])).expect("writing to a String does not fail");
    }
    name
}

/// A snapshot's file: the order in which it was written, then its offset.
pub(crate) fn file(sequence: u64, offset: i64) -> String {
    format!("{sequence:012}-{offset:019}.snapshot")
}

/// Reads a file's name back.
pub(crate) fn parse_file(name: &str) -> Option<(u64, i64)> {
    let (sequence, offset) = name.strip_suffix(".snapshot")?.split_once('-')?;
    Some((sequence.parse().ok()?, offset.parse().ok().filter(|offset: &i64| *offset >= 0)?))
}

#[cfg(test)]
mod tests {
    use super::{file, folder, group, parse_file};
    use std::collections::HashSet;
    use tidecast_event::TopicPartition;

    #[test]
    fn names_are_safe_and_do_not_meet() {
        let long = "a".repeat(249);
        let topics =
            ["flights", "Flights", "a/b", "a.b", "a%b", "a%2Fb", "..", "", "a-1", "ключ", &long, &long[1..]];
        let mut seen = HashSet::new();
        for topic in topics {
            for partition in [0, 1, 11] {
                let name = folder(&TopicPartition::new(topic, partition));
                assert!(name.len() <= 200 && !name.contains(['/', '.', '\\', '\0']), "{name}");
                assert!(seen.insert(name.to_lowercase()), "{name} twice");
            }
        }
    }

    #[test]
    fn groups_have_folders_of_their_own() {
        assert_eq!(group("tidecast-eu_1"), "tidecast-eu_1");
        let long = "g".repeat(300);
        let groups = ["tidecast", "Tidecast", "..", "a/b", "a.b", "a%2Fb", &long, &long[1..]];
        let names: HashSet<String> = groups.iter().map(|name| group(name).to_lowercase()).collect();
        assert!(names.len() == groups.len() && names.iter().all(|name| name.len() < 200), "{names:?}");
        assert!(names.iter().all(|name| !name.contains(['/', '.'])), "{names:?}");
    }

    #[test]
    fn file_names_read_back_in_order() {
        assert_eq!(parse_file(&file(7, 42)), Some((7, 42)));
        assert!(file(9, 100) < file(10, 5));
        for other in ["lock", "x.snapshot", "1-2.tmp", "1--2.snapshot", ".snapshot"] {
            assert_eq!(parse_file(other), None, "{other}");
        }
    }
}
