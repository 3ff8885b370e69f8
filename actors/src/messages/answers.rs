//! The answers to one batch: each model puts its own in its place, and the last one tells the stage that all are there. A
//! message of its own for each answer would wake the stage as often as there are models.

use crate::messages::ModelOutput;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Places for the answers to a batch.
#[derive(Debug)]
pub struct Answers {
    places: Box<[Mutex<Option<Box<ModelOutput>>>]>,
    missing: AtomicUsize,
}

/// A place to put an answer in.
#[derive(Debug)]
pub struct Place {
    answers: Arc<Answers>,
    at: usize,
}

impl Answers {
    /// None of so many.
    pub fn none_of(asked: usize) -> Arc<Answers> {
        let places = (0..asked).map(|_| Mutex::default()).collect();
        Arc::new(Answers { places, missing: AtomicUsize::new(asked) })
    }

    /// The `at`-th place.
    pub fn place(self: &Arc<Self>, at: usize) -> Place {
        Place { answers: self.clone(), at }
    }

    /// Whether every place has its answer.
    pub fn are_all_there(&self) -> bool {
        self.missing.load(Ordering::Acquire) == 0
    }

    /// Takes the answers out, in the order of their places.
    pub fn take(&self) -> impl Iterator<Item = ModelOutput> {
        let taken = |place: &Mutex<Option<Box<ModelOutput>>>| {
            place.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        self.places.iter().map(move |place| taken(place).map(|output| *output).unwrap_or_default())
    }

    /// Nothing, where there is no answer: whoever was asked will not give one.
    pub fn give_up(&self, at: usize) {
        self.put(at, Box::default());
    }

    /// True when it was the last one. A place that has its answer keeps it.
    fn put(&self, at: usize, output: Box<ModelOutput>) -> bool {
        let mut place = self.places[at].lock().unwrap_or_else(PoisonError::into_inner);
        if place.is_some() {
            return false;
        }
        *place = Some(output);
        drop(place);
        self.missing.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl Place {
    /// Puts the answer there. True when it was the last one of the batch, which has to be told.
    pub fn put(self, output: ModelOutput) -> bool {
        self.answers.put(self.at, Box::new(output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_state(state: u8) -> ModelOutput {
        ModelOutput { state: Some(vec![state]), ..ModelOutput::default() }
    }

    #[test]
    fn the_last_one_is_told_and_places_are_in_order() {
        let answers = Answers::none_of(3);
        assert!(!answers.place(2).put(with_state(2)));
        assert!(!answers.place(0).put(with_state(0)));
        assert!(!answers.are_all_there());
        assert!(answers.place(1).put(with_state(1)));
        assert!(answers.are_all_there());
        let states: Vec<_> = answers.take().map(|output| output.state).collect();
        assert_eq!(states, [Some(vec![0]), Some(vec![1]), Some(vec![2])]);
        assert!(Answers::none_of(0).are_all_there());
    }

    #[test]
    fn an_answer_that_was_given_is_not_given_up() {
        let answers = Answers::none_of(2);
        answers.place(0).put(with_state(7));
        answers.give_up(0);
        assert!(!answers.are_all_there());
        answers.give_up(1);
        assert!(answers.are_all_there());
        let states: Vec<_> = answers.take().map(|output| output.state).collect();
        assert_eq!(states, [Some(vec![7]), None]);
    }
}
