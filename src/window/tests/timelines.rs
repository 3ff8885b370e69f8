//! Windows as time lines: a digit is an event of that value, a `-` a record that only moves the watermark. The ruler
//! stands above; the emissions are told as `key start-end events/sum revision`.

mod play;

use play::{Play, SECOND, grace, hopping, lateness, tumbling};
use tidecast_event::Aggregate;
use tidecast_window::{Outcome, SeriesSpec};

#[test]
fn a_tumbling_window_closes_when_the_watermark_reaches_its_end() {
    let closed = Play::new(tumbling(10)).draw(
        0,
        "   0         10        20
          a|1  2      3         4
          b|     5             6
        ",
    );
    assert_eq!(closed, ["a 0-10 2/3 r0", "b 0-10 1/5 r0", "a 10-20 1/3 r0", "b 10-20 1/6 r0"]);
}

#[test]
fn lateness_holds_the_watermark_back_and_takes_what_comes_out_of_order() {
    let mut play = Play::new(lateness(5, tumbling(10)));
    assert!(play.draw(0, "a|1  2      3").is_empty());
    assert_eq!(play.late("a", 4, 7.0), (Outcome::Taken, vec![]));
    assert_eq!(play.draw(15, "a|1"), ["a 0-10 3/10 r0"]);
}

#[test]
fn a_record_that_no_series_wants_moves_the_watermark() {
    let closed = Play::new(tumbling(10)).draw(0, "a|1         -         -");
    assert_eq!(closed, ["a 0-10 1/1 r0"]);
}

#[test]
fn windows_before_the_epoch_of_the_drawing_and_gaps_are_skipped() {
    let mut play = Play::new(tumbling(10));
    play.draw(1_768_564_230, "a|1");
    assert_eq!(play.draw(1_768_999_990, "a|2"), ["a 1768564230-1768564240 1/1 r0"]);
}

#[test]
fn within_grace_a_late_event_corrects_its_window_at_once_and_after_it_is_late() {
    let mut play = Play::new(grace(20, tumbling(10)));
    play.draw(0, "a|1         1");
    assert_eq!(play.late("a", 9, 5.0), (Outcome::Taken, vec!["a 0-10 2/6 r1".into()]));
    assert_eq!(play.late("a", 0, 1.0), (Outcome::Taken, vec!["a 0-10 3/7 r2".into()]));
    // A key with nothing there yet emits its first.
    assert_eq!(play.late("b", 3, 2.0), (Outcome::Taken, vec!["b 0-10 1/2 r0".into()]));
    // The watermark is 29: end + grace = 30 is after it. Then it is 30.
    assert_eq!(play.draw(29, "c|1"), ["a 10-20 1/1 r0"]);
    assert_eq!(play.late("a", 5, 1.0), (Outcome::Taken, vec!["a 0-10 4/8 r3".into()]));
    assert_eq!(play.draw(30, "c|1"), ["c 20-30 1/1 r0"]);
    assert_eq!(play.late("a", 5, 1.0), (Outcome::Late, vec![]));
    // The next aggregate of the key tells of it, once.
    assert_eq!(play.draw(31, "a|1         -"), ["c 30-40 1/1 r0", "a 30-40 1/1 r0 late 1"]);
}

#[test]
fn without_grace_an_event_at_the_closed_edge_is_late() {
    let mut play = Play::new(tumbling(10));
    play.draw(0, "a|1         1");
    assert_eq!(play.late("a", 9, 1.0).0, Outcome::Late);
    assert_eq!(play.late("a", 10, 1.0).0, Outcome::Taken);
}

#[test]
fn a_quiet_partition_closes_its_windows_and_keeps_its_watermark() {
    let mut play = Play::new(lateness(5, tumbling(10)));
    play.draw(0, "a|1         3");
    assert_eq!(play.idle(), ["a 0-10 1/1 r0", "a 10-20 1/3 r0"]);
    assert!(play.idle().is_empty());
    // The watermark is still 5: an event of the first window is not late, and corrects at once.
    assert_eq!(play.late("a", 6, 4.0), (Outcome::Taken, vec!["a 0-10 2/5 r1".into()]));
    assert_eq!(play.late("b", 6, 4.0), (Outcome::Taken, vec![]));
    // When the watermark passes, only what has not been emitted is.
    assert_eq!(play.draw(15, "c|1"), ["b 0-10 1/4 r0"]);
    assert_eq!(play.draw(25, "c|-"), ["c 10-20 1/1 r0"]);
}

#[test]
fn hopping_windows_overlap() {
    let closed = Play::new(hopping(10, 5)).draw(
        0,
        "   0    5    10   15   20
          a|  1    2              3
        ",
    );
    assert_eq!(closed, ["a -5-5 1/1 r0", "a 0-10 2/3 r0", "a 5-15 1/2 r0"]);
}

#[test]
fn hopping_windows_whose_size_is_no_multiple_of_their_advance() {
    let closed = Play::new(hopping(5, 3)).draw(
        0,
        "   0  3  6  9  12
          a|0   1   2     3
        ",
    );
    assert_eq!(closed, ["a -3-2 1/0 r0", "a 0-5 2/1 r0", "a 3-8 1/1 r0", "a 6-11 1/2 r0"]);
}

#[test]
fn a_late_event_corrects_every_closed_hopping_window_that_holds_it() {
    let mut play = Play::new(grace(5, hopping(10, 5)));
    // Watermark 14: of the windows with second 6, 0-10 is closed (correctable until 15), 5-15 open.
    play.draw(0, "a|1     2       3");
    assert_eq!(play.late("a", 6, 4.0), (Outcome::Taken, vec!["a 0-10 3/7 r1".into()]));
    // Second 3 is in -5-5 (past grace) and 0-10.
    assert_eq!(play.late("a", 3, 1.0), (Outcome::Taken, vec!["a 0-10 4/8 r2".into()]));
    assert_eq!(play.draw(15, "a|1"), ["a 5-15 3/9 r0"]);
    assert_eq!(play.late("a", 3, 1.0).0, Outcome::Late);
    assert_eq!(play.late("a", 7, 1.0), (Outcome::Taken, vec!["a 5-15 4/10 r1 late 1".into()]));
}

#[test]
fn idleness_closes_hopping_windows_and_later_events_correct_them() {
    let mut play = Play::new(hopping(10, 5));
    play.draw(0, "a|      1");
    assert_eq!(play.idle(), ["a 0-10 1/1 r0", "a 5-15 1/1 r0"]);
    assert_eq!(play.late("a", 12, 2.0), (Outcome::Taken, vec!["a 5-15 2/3 r1".into()]));
    assert_eq!(play.draw(20, "a|1"), ["a 10-20 1/2 r0"]);
}

#[test]
fn empty_windows_of_known_keys_are_emitted_from_the_first_on() {
    let spec = SeriesSpec { empty_windows: true, ..tumbling(10) };
    let closed = Play::new(spec).draw(
        0,
        "   0         10        20        30        40
          a|1                             1         -
          b|               2                        -
        ",
    );
    assert_eq!(
        closed,
        [
            "a 0-10 1/1 r0",
            "a 10-20 0/0 r0",
            "b 10-20 1/2 r0",
            "a 20-30 0/0 r0",
            "b 20-30 0/0 r0",
            "a 30-40 1/1 r0",
            "b 30-40 0/0 r0"
        ]
    );
}

#[test]
fn an_empty_window_within_grace_is_corrected() {
    let spec = SeriesSpec { empty_windows: true, ..grace(100, tumbling(10)) };
    let mut play = Play::new(spec);
    assert_eq!(play.draw(0, "a|1                   1"), ["a 0-10 1/1 r0", "a 10-20 0/0 r0"]);
    assert_eq!(play.late("a", 15, 3.0), (Outcome::Taken, vec!["a 10-20 1/3 r1".into()]));
}

#[test]
fn a_key_without_events_is_forgotten_after_a_thousand_empty_windows() {
    let spec = SeriesSpec { empty_windows: true, ..tumbling(10) };
    let mut play = Play::new(spec);
    play.draw(0, "a|1");
    let closed = play.draw(1_000_000, "b|1");
    assert_eq!(closed.len(), 1_000);
    assert_eq!(closed.last().unwrap(), "a 9990-10000 0/0 r0");
}

#[test]
fn the_type_is_told_when_all_events_share_it() {
    let mut play = Play::new(tumbling(10));
    for (key, event_type) in [("a", "x"), ("a", "x"), ("b", "x"), ("b", "y"), ("b", "x")] {
        play.event(key, event_type, SECOND, &[]);
    }
    play.passes(10 * SECOND);
    let types: Vec<Option<String>> =
        play.closed.borrow().iter().map(|closed| closed.event_type.as_deref().map(str::to_owned)).collect();
    assert_eq!(types, [Some("x".to_owned()), None]);
}

#[test]
fn every_numeric_leaf_is_aggregated_or_those_that_are_named() {
    let numbers = [("x", 1.0), ("y.z", 2.0), ("w", 3.0)];
    let names = |values: Option<Vec<String>>| {
        let mut play = Play::new(SeriesSpec { values, ..tumbling(10) });
        play.event("a", "t", 0, &numbers);
        play.event("a", "t", 1, &[("w", 5.0), ("new", 1.0)]);
        play.passes(10 * SECOND);
        let closed: Aggregate = play.closed.borrow()[0].clone();
        closed
            .aggregates
            .iter()
            .map(|(name, stats)| format!("{name} {} {}", stats.count, stats.sum))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(None), ["new 1 1", "w 2 8", "x 1 1", "y.z 1 2"]);
    assert_eq!(names(Some(vec!["w".to_owned(), "y.z".to_owned()])), ["w 2 8", "y.z 1 2"]);
    assert_eq!(names(Some(vec![])), Vec::<String>::new());
}

#[test]
fn a_million_values_keep_percentiles_within_one_per_cent_and_no_memory() {
    let mut play = Play::new(tumbling(3_600));
    let value = |at: i64| ((at * 7_919) % 100_003) as f64 * 0.01 - 50.0;
    for at in 0..200_000 {
        play.event("a", "t", at * 1_000, &[("v", value(at))]);
    }
    play.passes(3_600 * SECOND);
    let closed: Aggregate = play.closed.borrow()[0].clone();
    let stats = closed.aggregates["v"];
    let mut values: Vec<f64> = (0..200_000).map(value).collect();
    values.sort_by(f64::total_cmp);
    let mean = values.iter().sum::<f64>() / 200_000.0;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 200_000.0;
    assert_eq!((stats.count, stats.min, stats.max), (200_000, values[0], values[199_999]));
    assert!((stats.avg - mean).abs() < 1e-9 && (stats.std - variance.sqrt()).abs() < 1e-7);
    for (rank, found) in [(100_000, stats.p50), (190_000, stats.p95), (198_000, stats.p99)] {
        let expected = values[rank - 1];
        assert!((found.unwrap() - expected).abs() <= expected.abs() * 0.01, "{expected} {found:?}");
    }
}

#[test]
fn keys_of_closed_windows_are_forgotten() {
    let mut play = Play::new(tumbling(10));
    for at in 0..200_000 {
        play.event(&format!("key {at}"), "t", at * SECOND / 100, &[("v", 1.0)]);
    }
    assert!(play.group.key_count() <= 8_192, "{}", play.group.key_count());
    assert_eq!(play.group.record_count(), 1_000);
    assert_eq!(play.closed.borrow().len(), 199_000);
}

#[test]
fn fields_past_the_bound_are_counted_and_room_comes_back() {
    let mut play = Play::new(tumbling(10));
    for at in 0..tidecast_window::MAX_FIELDS + 5 {
        play.event("a", "t", SECOND, &[(&format!("f{at}"), 1.0)]);
    }
    assert_eq!(play.group.values_dropped(0), 5);
    play.passes(10 * SECOND);
    play.event("a", "t", 11 * SECOND, &[("fresh", 1.0)]);
    play.passes(20 * SECOND);
    let closed = play.closed.borrow();
    assert_eq!(closed[0].aggregates.iter().len(), tidecast_window::MAX_FIELDS);
    assert_eq!(closed[1].aggregates.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["fresh"]);
}

#[test]
fn what_cannot_work_is_refused_with_a_reason() {
    for (spec, word) in [
        (tumbling(0), "size"),
        (hopping(5, 10), "advance"),
        (hopping(5, 0), "advance"),
        (lateness(-1, tumbling(1)), "lateness"),
        (grace(-1, tumbling(1)), "grace"),
        (SeriesSpec { empty_windows: true, ..play::session(5) }, "empty_windows"),
        (play::session(0), "gap"),
    ] {
        let error = spec.validate().expect_err(word).to_string();
        assert!(error.contains(word), "{error}");
    }
    let twice = tidecast_window::Group::new(vec![tumbling(1), tumbling(2)]).expect_err("one name twice");
    assert!(twice.to_string().contains("name"));
}
