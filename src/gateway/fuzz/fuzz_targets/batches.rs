#![no_main]

#[path = "../exercises.rs"]
#[allow(dead_code)] // one exercise a target
mod exercises;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercises::batches(bytes));
