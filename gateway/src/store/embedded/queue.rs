//! The line in front of the commit thread: bounded in number and in bytes.
//!
//! Invariant: what was pushed is popped exactly once, by [`Queue::pop`] or by [`Queue::close`];
//! nothing is pushed after the close. A full queue is an answer ("try again"), not a wait: the
//! client's patience is shorter than a queue that long, and its memory is ours.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// A bounded queue with many pushers and one popper.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    items_max: usize,
    bytes_max: usize,
}

struct State<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    closed: Option<String>,
}

/// Why nothing was pushed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There is no room now.
    Full,
    /// There will be no room any more, for this reason.
    Closed(String),
}

/// What the popper gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Popped<T> {
    /// At least one item.
    Items(Vec<T>),
    /// Nothing came within the time.
    Idle,
    /// Closed, and everything that was in the queue has been popped.
    Closed,
}

impl<T> Queue<T> {
    /// An empty queue for so many items, of so many bytes together.
    pub(super) fn new(items_max: usize, bytes_max: usize) -> Queue<T> {
        let state = State {
            items: VecDeque::new(),
            bytes: 0,
            closed: None,
        };
        Queue {
            state: Mutex::new(state),
            changed: Condvar::new(),
            items_max,
            bytes_max,
        }
    }

    /// Puts an item of so many bytes at the end, or says why not.
    pub(super) fn push(&self, item: T, bytes: usize) -> Result<(), Refusal> {
        let mut state = self.state.lock();
        if let Some(reason) = &state.closed {
            return Err(Refusal::Closed(reason.clone()));
        }
        if state.items.len() >= self.items_max || state.bytes + bytes > self.bytes_max {
            return Err(Refusal::Full);
        }
        state.bytes += bytes;
        state.items.push_back((item, bytes));
        // Only the first item finds the popper asleep; waking is a system call.
        let wake = state.items.len() == 1;
        drop(state);
        if wake {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Takes what is there, up to so many items and bytes (but at least one item); waits if nothing
    /// is.
    ///
    /// Does not linger: when to let more gather is the commit thread's to say.
    pub(super) fn pop(&self, items: usize, bytes: usize, patience: Option<Duration>) -> Popped<T> {
        let mut state = self.state.lock();
        while state.items.is_empty() {
            if state.closed.is_some() {
                return Popped::Closed;
            }
            match patience {
                None => self.changed.wait(&mut state),
                Some(patience) => {
                    let timed_out = self.changed.wait_for(&mut state, patience).timed_out();
                    if timed_out && state.items.is_empty() && state.closed.is_none() {
                        return Popped::Idle;
                    }
                }
            }
        }
        let mut taken = Vec::new();
        let mut taken_bytes = 0;
        while let Some((item, size)) = state.items.pop_front() {
            if !taken.is_empty() && taken_bytes + size > bytes {
                state.items.push_front((item, size));
                break;
            }
            state.bytes -= size;
            taken_bytes += size;
            taken.push(item);
            if taken.len() == items {
                break;
            }
        }
        Popped::Items(taken)
    }

    /// Takes nothing any more. What is queued is still popped.
    pub(super) fn close(&self, reason: &str) {
        self.state
            .lock()
            .closed
            .get_or_insert_with(|| reason.to_owned());
        self.changed.notify_all();
    }

    /// Takes nothing any more, and gives back what nobody will pop.
    pub(super) fn close_and_empty(&self, reason: &str) -> Vec<T> {
        let mut state = self.state.lock();
        state.closed = Some(reason.to_owned());
        state.bytes = 0;
        let rest = state.items.drain(..).map(|(item, _)| item).collect();
        drop(state);
        self.changed.notify_all();
        rest
    }

    /// How many items wait.
    pub(super) fn len(&self) -> usize {
        self.state.lock().items.len()
    }

    /// Why nothing is taken any more, if so.
    pub(super) fn closed(&self) -> Option<String> {
        self.state.lock().closed.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Option<Duration> = Some(Duration::ZERO);

    #[test]
    fn both_bounds_hold_and_free_up() {
        let queue = Queue::new(2, 10);
        assert_eq!(queue.push('a', 5), Ok(()));
        assert_eq!(queue.push('b', 6), Err(Refusal::Full));
        assert_eq!(queue.push('b', 5), Ok(()));
        assert_eq!(queue.push('c', 0), Err(Refusal::Full));
        assert_eq!(queue.pop(1, 100, NOW), Popped::Items(vec!['a']));
        assert_eq!(queue.push('c', 5), Ok(()));
        assert_eq!(queue.pop(9, 9, NOW), Popped::Items(vec!['b']));
        assert_eq!(
            queue.pop(9, 1, NOW),
            Popped::Items(vec!['c']),
            "at least one, however large"
        );
        assert_eq!(queue.pop(9, 9, NOW), Popped::Idle);
    }

    #[test]
    fn closing_lets_the_rest_be_popped() {
        let queue = Queue::new(9, 99);
        assert_eq!(queue.push('a', 1), Ok(()));
        queue.close("over");
        assert_eq!(queue.push('b', 1), Err(Refusal::Closed("over".into())));
        assert_eq!(queue.pop(9, 99, None), Popped::Items(vec!['a']));
        assert_eq!(queue.pop(9, 99, None), Popped::Closed);
    }
}
