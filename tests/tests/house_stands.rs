//! Who may depend on whom, read from `cargo metadata`; and what a pure room must not know.

use std::collections::{BTreeMap, BTreeSet};
use tidecast_tests::house::{list, metadata, running_code, sources};

/// Each room and what of ours it may use in what it ships. `src/README.md` tells why. The binary, `app`, wires all of it
/// together and is nobody's dependency.
const ARROWS: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("config", &[]),
    ("mailbox", &[]),
    ("telemetry", &["config"]),
    ("flights", &[]),
    ("window", &["event"]),
    ("forecast", &["event"]),
    ("rules", &["event"]),
    ("ports", &["event", "config"]),
    ("actors", &["window", "forecast", "rules", "config", "event", "ports", "mailbox"]),
    ("kafka", &["config", "event", "ports"]),
    ("gateway", &["config", "event", "ports"]),
    ("store", &["config", "event", "ports"]),
    ("notify", &["config", "event", "rules", "ports"]),
    ("loadtest", &["tests", "simulation", "store", "ports", "event"]),
    ("tests", &["flights"]),
    ("simulation", &["actors", "mailbox", "ports", "store", "config", "event", "forecast"]),
];
const PURE: &[&str] = &["event", "window", "forecast", "rules", "config"];
/// A heavy library and the only rooms that know it.
const FENCED: &[(&str, &[&str])] = &[
    ("rdkafka", &["kafka"]),
    ("axum", &["gateway"]),
    // The commands `replay` and `rules test` ask a running instance over REST.
    // The store has its TLS for object_store's client alone.
    ("reqwest", &["notify", "app", "store"]),
    ("object_store", &["store"]),
    ("ractor", &["actors", "mailbox", "app"]),
    ("cel", &["rules"]),
    ("clap", &["app"]),
];
/// Who starts whom, and so knows them; any other actor is known by its messages alone.
const SUPERVISES: &[(&str, &[&str])] = &[
    ("tree", &["aggregator", "forecasting", "rule_evaluator", "publisher"]),
    ("forecasting", &["forecaster"]),
];
/// They stand outside the program and may use what they like.
const OUTSIDE: &[&str] = &["tests", "simulation", "loadtest"];

/// Room, and for each of its dependencies the name and whether it is shipped (not for tests or the build alone).
fn rooms() -> BTreeMap<String, Vec<(String, bool)>> {
    let metadata = metadata(false);
    let name = |package: &str| match package {
        "tidecast" => "app".to_string(),
        other => other.trim_start_matches("tidecast-").to_string(),
    };
    let of = |package: &serde_json::Value| {
        let dependency =
            |d: &serde_json::Value| (d["name"].as_str().unwrap().to_string(), d["kind"].is_null());
        (
            name(package["name"].as_str().unwrap()),
            list(package, "dependencies").iter().map(dependency).collect(),
        )
    };
    list(&metadata, "packages").iter().map(of).collect()
}

#[test]
fn a_room_uses_only_the_rooms_it_may() {
    let rooms = rooms();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (room, dependencies) in rooms.iter().filter(|(room, _)| *room != "app") {
        let Some(may) = allowed.get(room.as_str()) else {
            wrong.push(format!("{room} is a new room: give it a line in ARROWS and in src/README.md"));
            continue;
        };
        for (dependency, shipped) in dependencies {
            let Some(of_ours) = dependency.strip_prefix("tidecast-") else { continue };
            // A pure room's tests are as pure as the room; an edge's tests may look around.
            if (*shipped || PURE.contains(&room.as_str())) && !may.contains(&of_ours) {
                wrong.push(format!("{room} -> {of_ours}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that should not be: {wrong:#?}");
    let missing: Vec<_> = PURE
        .iter()
        .chain(&["actors", "kafka", "gateway", "app"])
        .filter(|r| !rooms.contains_key(**r))
        .collect();
    assert!(missing.is_empty(), "rooms that are gone: {missing:?}");
}

#[test]
fn a_heavy_library_is_known_to_one_room() {
    let mut wrong = Vec::new();
    for (room, dependencies) in rooms() {
        for (library, _) in dependencies.iter().filter(|(_, shipped)| *shipped) {
            let Some((_, may)) = FENCED.iter().find(|(fenced, _)| fenced == library) else { continue };
            if !may.contains(&room.as_str()) && !OUTSIDE.contains(&room.as_str()) {
                wrong.push(format!("{room} -> {library}"));
            }
        }
    }
    assert!(wrong.is_empty(), "fenced libraries used outside their room: {wrong:#?}");
}

#[test]
fn a_pure_room_reads_no_clock_and_does_nothing_to_the_world() {
    let banned: BTreeSet<&str> = [
        "SystemTime::now",
        "Instant::now",
        "Utc::now",
        "Local::now",
        "thread::sleep",
        "thread::spawn",
        "std::fs",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "std::process",
        "File::open",
        "tokio::",
        "ractor::",
        "rdkafka::",
        "rand::rng",
        "thread_rng",
        "println!",
        "eprintln!",
        "tracing::",
        "log::",
    ]
    .into();
    // Reading the file, the environment and `.env` is what the config room is for; it alone reads them, and in one place.
    let reads_settings = |file: &str, ban: &str| file.starts_with("src/config/") && matches!(ban, "std::fs");
    let mut wrong = Vec::new();
    for room in PURE {
        let shipped = sources(&[&format!("src/{room}/src")]);
        assert!(!shipped.is_empty(), "no source in src/{room}");
        for (file, text) in shipped {
            let (file, code) = (file.display().to_string(), running_code(&text));
            let uses = |ban: &&&str| code.contains(**ban) && !reads_settings(&file, ban);
            wrong.extend(banned.iter().filter(uses).map(|ban| format!("{file}: {ban}")));
        }
    }
    for (room, dependencies) in rooms().into_iter().filter(|(room, _)| PURE.contains(&room.as_str())) {
        let impure = ["tokio", "ractor", "rdkafka", "axum", "reqwest", "tracing", "rand", "log"];
        let uses = dependencies.iter().filter(|(d, shipped)| *shipped && impure.contains(&d.as_str()));
        wrong.extend(uses.map(|(d, _)| format!("{room} depends on {d}")));
    }
    assert!(wrong.is_empty(), "pure rooms that are not: {wrong:#?}");
}

#[test]
fn an_actor_imports_messages_and_its_children_and_never_a_neighbour() {
    let actors = sources(&["actors/src"]);
    let names: Vec<String> = actors
        .iter()
        .filter(|(_, text)| text.contains("impl Actor for") || text.contains("impl ractor::Actor for"))
        .filter_map(|(file, _)| Some(file.file_stem()?.to_str()?.to_string()))
        .filter(|name| name != "mod" && name != "lib" && name != "topology")
        .collect();
    let mut wrong = Vec::new();
    for (file, text) in &actors {
        let stem = file.file_stem().unwrap().to_str().unwrap();
        if !names.iter().any(|name| name == stem) {
            continue;
        }
        let code = running_code(text);
        let children = SUPERVISES.iter().find(|(parent, _)| *parent == stem).map_or(&[][..], |(_, all)| all);
        let neighbour = |other: &&String| *other != stem && !children.contains(&other.as_str());
        let imported =
            names.iter().filter(neighbour).filter(|other| code.contains(&format!("crate::{other}::")));
        wrong.extend(imported.map(|other| format!("{} imports {other}", file.display())));
    }
    assert!(wrong.is_empty(), "an actor knows its children and messages, never a neighbour: {wrong:#?}");
}
