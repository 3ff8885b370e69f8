//! A simulation that cannot fail shows nothing: each rule that the protocol rests on is broken, one at a time, and the
//! oracle has to notice.

use tidecast_simulation::{Mutation, run};

/// Histories looked at for each broken rule.
const SEEDS: u64 = 3_000;

#[test]
fn the_oracle_notices_each_broken_rule() {
    let broken = [
        Mutation::Zombies,
        Mutation::OffsetsFirst,
        Mutation::NoDecisions,
        Mutation::NothingSaid,
        Mutation::Uncommitted,
        Mutation::WrongSnapshots,
        Mutation::UnstableOffsets,
        Mutation::LostOutputs,
    ];
    let look = |mutation: Mutation| {
        (0..SEEDS)
            .find_map(|seed| run(seed, Some(mutation)).problems.into_iter().next().map(|what| (seed, what)))
    };
    let found: Vec<_> = std::thread::scope(|scope| {
        let looking: Vec<_> =
            broken.iter().map(|mutation| scope.spawn(move || (*mutation, look(*mutation)))).collect();
        looking.into_iter().map(|looking| looking.join().expect("a look ends")).collect()
    });
    for (mutation, noticed) in &found {
        match noticed {
            Some((seed, what)) => println!("{mutation:?}: seed {seed}: {what:.160}"),
            None => println!("{mutation:?}: not noticed in {SEEDS} histories"),
        }
    }
    let missed: Vec<_> = found.iter().filter(|(_, noticed)| noticed.is_none()).map(|(m, _)| m).collect();
    assert!(missed.is_empty(), "broken rules that nobody noticed: {missed:?}");
}
