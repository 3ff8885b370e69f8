//! Names, sizes and words: what a newcomer meets in this repository.

use std::path::Path;
use tidecast_tests::house::{files, running_code, sources, text, written};

const LINES_MAX: usize = 500;

fn is_source(file: &Path) -> bool {
    file.extension().is_some_and(|e| ["rs", "ts", "tsx", "py", "css", "mjs"].iter().any(|s| e == *s))
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let long: Vec<String> = written()
        .iter()
        .filter(|f| is_source(f))
        .filter_map(|f| Some((f, text(f)?.lines().count())))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(f, lines)| format!("{}: {lines} lines", f.display()))
        .collect();
    assert!(long.is_empty(), "past {LINES_MAX} lines, split by what they do: {long:#?}");
}

#[test]
fn no_name_says_nothing() {
    const NOTHING: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "manager", "stuff"];
    let empty: Vec<_> = files()
        .into_iter()
        .filter(|f| {
            f.iter().any(|part| {
                let part = part.to_string_lossy().to_lowercase();
                NOTHING.contains(&part.split('.').next().unwrap_or_default())
            })
        })
        .collect();
    assert!(empty.is_empty(), "names that say nothing: {empty:?}");
}

#[test]
fn nothing_is_left_undone() {
    // In pieces, so that this file does not find itself.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["todo", "!("], ["unimple", "mented!("], ["#[ig", "nore"]]
        .map(|m| m.concat());
    let mut left = Vec::new();
    for file in written().iter().filter(|f| is_source(f)) {
        let Some(text) = text(file) else { continue };
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                left.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(left.is_empty(), "left undone: {left:#?}");
}

#[test]
fn nothing_speaks_of_the_machine_it_was_written_on() {
    let marks = [["/wo", "rk/"], ["/tmp/", "target"], ["/ro", "ot/"], ["~/.c", "argo"]].map(|m| m.concat());
    let mut found = Vec::new();
    for file in written() {
        // The chart and the container file have absolute paths of the image, never of this machine.
        let Some(text) = text(&file) else { continue };
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                found.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "paths of one machine: {found:#?}");
}

#[test]
fn no_test_sleeps() {
    let sleeps: Vec<String> = sources(&[])
        .into_iter()
        .filter(|(file, _)| file.iter().any(|part| part == "tests" || part == "tests.rs"))
        // Its clock is simulated: a wait there is what somebody else takes, and nobody waits for it.
        .filter(|(file, _)| !file.starts_with("tests/simulation/src"))
        .filter(|(_, text)| {
            let sleep = ["sle", "ep("].concat();
            text.lines().any(|line| line.split("//").next().is_some_and(|code| code.contains(&sleep)))
        })
        .map(|(file, _)| file.display().to_string())
        .collect();
    assert!(sleeps.is_empty(), "wait for the thing, with eventually: {sleeps:?}");
}

#[test]
fn no_channel_is_without_a_bound() {
    // Clippy bans the calls by path; this catches them behind an alias, and in crates that clippy does not resolve.
    let marks = ["unbounded_channel", "unbounded(", "mpsc::channel()"];
    let mut found = Vec::new();
    let shipped =
        |file: &Path| !file.iter().any(|part| part == "tests" || part == "benches" || part == "examples");
    for (file, text) in sources(&["src", "actors"]).into_iter().filter(|(file, _)| shipped(file)) {
        let code = running_code(&text);
        found.extend(marks.iter().filter(|m| code.contains(**m)).map(|m| format!("{}: {m}", file.display())));
    }
    assert!(found.is_empty(), "queues without a bound: {found:#?}");
}

#[test]
fn the_papers_are_there() {
    let license = text(Path::new("LICENSE")).expect("a licence");
    assert!(license.contains("Apache License") && license.contains("Version 2.0, January 2004"));
    assert!(license.contains("END OF TERMS AND CONDITIONS"), "the licence is cut short");
    let changelog = text(Path::new("CHANGELOG.md")).expect("a changelog");
    assert!(changelog.contains("## [Unreleased]") && changelog.contains("Keep a Changelog"));
    let map = text(Path::new("src/README.md")).expect("the map");
    for room in
        ["event", "window", "forecast", "rules", "config", "kafka", "gateway", "store", "telemetry", "actors"]
    {
        assert!(map.contains(room), "src/README.md, the map, does not name {room}");
    }
}
