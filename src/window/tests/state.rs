//! Snapshots: what they keep, and what they refuse.

mod play;

use play::{Play, SECOND, session, tumbling};
use tidecast_event::EventTime;
use tidecast_window::{Group, SeriesSpec, StateError};

fn filled(spec: SeriesSpec) -> Play {
    let mut play = Play::new(spec);
    for at in 0..300 {
        let numbers = [("v", f64::from(at % 7)), ("w", 1.0)];
        play.event(["a", "b"][at as usize % 2], "t", i64::from(at) * SECOND / 100, &numbers);
    }
    play
}

#[test]
fn a_changed_series_begins_anew_and_the_others_keep_their_state() {
    let mut group = Group::new(vec![tumbling(10), SeriesSpec { name: "m".into(), ..tumbling(60) }]).unwrap();
    for series in 0..2 {
        let who = group.intern("a", "t");
        group.observe(
            series,
            who,
            EventTime(SECOND),
            [("v", 2.0)].into_iter(),
            EventTime(SECOND),
            &mut |_| {},
        );
    }
    let mut bytes = Vec::new();
    group.encode(&mut bytes);
    let specs = vec![
        tumbling(20),
        SeriesSpec { name: "m".into(), ..tumbling(60) },
        SeriesSpec { name: "n".into(), ..tumbling(5) },
    ];
    let mut group = Group::decode(specs, &bytes).unwrap();
    let mut closed = Vec::new();
    group.advance(EventTime(100 * SECOND), &mut |window| closed.push((window.series_index, window.count)));
    assert_eq!(closed, [(1, 1)]);
}

#[test]
fn a_newer_state_is_refused_with_one_clear_line() {
    let mut bytes = Vec::new();
    filled(tumbling(10)).group.encode(&mut bytes);
    bytes[0] = 2;
    let refused = Group::decode(vec![tumbling(10)], &bytes).unwrap_err();
    assert_eq!(refused, StateError::Newer { found: 2 });
    assert!(!refused.to_string().contains('\n'));
}

#[test]
fn a_state_cut_short_is_refused_and_no_flipped_bit_makes_the_reader_panic() {
    for spec in [tumbling(10), session(5)] {
        let mut bytes = Vec::new();
        filled(spec.clone()).group.encode(&mut bytes);
        for length in 0..bytes.len() {
            assert!(Group::decode(vec![spec.clone()], &bytes[..length]).is_err(), "{length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // A flip in a value can go unseen here: the snapshot's checksum is the store's.
            let _ = Group::decode(vec![spec.clone()], &flipped);
        }
    }
}
