//! Events waiting to be evaluated: the most urgent first, first come first served within a priority, bounded.

use std::collections::VecDeque;
use tidecast_event::Priority;

/// A bounded queue by priority.
#[derive(Debug)]
pub struct PriorityQueue<T> {
    /// By priority, the least urgent first.
    lanes: [VecDeque<T>; 4],
    waiting: usize,
    capacity: usize,
}

impl<T> PriorityQueue<T> {
    /// Holds at most `capacity` items, at least one.
    pub fn new(capacity: usize) -> Self {
        PriorityQueue { lanes: Default::default(), waiting: 0, capacity: capacity.max(1) }
    }

    /// Takes an item in. When full, the newest of the least urgent items makes room for a more urgent one; otherwise
    /// the item itself is given back. What is given back has to be counted by the caller.
    pub fn push(&mut self, priority: Priority, item: T) -> Option<T> {
        let mut displaced = None;
        if self.waiting == self.capacity {
            let least = self.lanes.iter().position(|lane| !lane.is_empty()).unwrap_or(0);
            if least >= priority as usize {
                return Some(item);
            }
            displaced = self.lanes[least].pop_back();
            self.waiting -= 1;
        }
        self.lanes[priority as usize].push_back(item);
        self.waiting += 1;
        displaced
    }

    /// The oldest of the most urgent items.
    pub fn pop(&mut self) -> Option<T> {
        let item = self.lanes.iter_mut().rev().find_map(VecDeque::pop_front)?;
        self.waiting -= 1;
        Some(item)
    }

    /// Items waiting.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// None is waiting.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Items that may wait.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}
