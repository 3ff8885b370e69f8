//! The corpus of the fuzz targets (`src/gateway/fuzz`), run through what they do.

#[path = "../../fuzz/exercises.rs"]
mod exercises;

fn run(target: &str, exercise: fn(&[u8])) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        exercise(&bytes);
        // Whatever the fuzzer found, what begins like it must do no harm either.
        (0..bytes.len().min(400)).for_each(|end| exercise(&bytes[..end]));
        files += 1;
    }
    assert!(files >= 8, "{target} has a corpus of {files}");
}

#[test]
fn frames() {
    run("frames", exercises::frames);
}

#[test]
fn control_messages() {
    run("control", exercises::control);
}

#[test]
fn positions() {
    run("positions", exercises::positions);
}

#[test]
fn events() {
    run("events", exercises::events);
}

#[test]
fn compressed_frames() {
    run("compressed", exercises::compressed);
}

#[test]
fn batches() {
    run("batches", exercises::batches);
}

#[test]
fn tokens() {
    run("tokens", exercises::tokens);
}

#[test]
fn traceparents() {
    run("traceparents", exercises::traceparents);
}
