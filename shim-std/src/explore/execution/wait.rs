//! What threads wait for: a mutex, a wakeup, the end of others.

use core::sync::atomic::Ordering;
use std::borrow::Cow;

use ifnet::platform::ThreadId;

use super::state::{Thread, ThreadIndex};
use super::{Execution, index};

/// The bit of a channel, an address, in a set of few: the upper bits of a multiplicative hash say which.
fn channel_bit(channel: usize) -> u64 {
    1 << ((channel as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

impl Execution {
    /// Waits until these threads have ended.
    pub fn join(&self, threads: &[ThreadId]) {
        let words = {
            let mut state = self.state();
            let current = state.current;
            let alive = |&thread: &ThreadId| !state.threads[index(thread)].finished;
            let joins: Vec<_> = threads.iter().filter(|thread| alive(thread)).map(|&thread| index(thread)).collect();
            if joins.is_empty() {
                return;
            }
            let names: Vec<_> = joins.iter().map(|&thread| &*state.threads[thread].name).collect();
            let words = format!("the end of {}", names.join(", "));
            state.threads[current].joins = joins;
            words
        };
        self.block(words);
    }

    /// Marks the running thread as blocked until somebody changes that, and lets others run. `words` say what it
    /// waits for when everybody does.
    fn block(&self, words: impl Into<Cow<'static, str>>) {
        {
            let mut state = self.state();
            let current = state.current;
            state.set_blocked(current, true);
            state.threads[current].waits_for = Some(words.into());
        }
        self.switch();
        let mut state = self.state();
        let current = state.current;
        state.threads[current].waits_for = None;
    }

    /// Waits for a mutex, which is known by its address, until it is [released](Self::release).
    pub(crate) fn block_on(&self, mutex: usize) {
        {
            let mut state = self.state();
            let current = state.current;
            state.threads[current].mutex = Some(mutex);
        }
        self.block("a mutex");
    }

    /// Lets go on who waits for this mutex.
    pub(crate) fn release(&self, mutex: usize) {
        let mut state = self.state();
        for thread in 0..state.threads.len() {
            if state.threads[thread].mutex == Some(mutex) {
                state.threads[thread].mutex = None;
                state.set_blocked(thread, false);
            }
        }
    }

    /// Waits until `ready` holds, looking again after each wakeup of the channel only.
    pub(crate) fn sleep(&self, channel: usize, ready: &mut dyn FnMut() -> bool) {
        let me = self.peek().current;
        loop {
            // Registered before the condition is looked at: a wakeup in between is not lost.
            self.set_sleep(me, Some((channel, false)));
            if ready() {
                self.set_sleep(me, None);
                return;
            }
            let woken = self.peek().threads[me].sleep.is_some_and(|(_, woken)| woken);
            if !woken {
                self.block("a wakeup");
            }
        }
    }

    /// Changes what a thread sleeps on.
    fn set_sleep(&self, thread: ThreadIndex, sleep: Option<(usize, bool)>) {
        let mut state = self.peek();
        state.threads[thread].sleep = sleep;
        let channels = state.threads.iter().filter_map(|thread| thread.sleep).map(|(channel, _)| channel_bit(channel));
        self.0.channels.store(channels.fold(0, |bits, bit| bits | bit), Ordering::Relaxed);
    }

    /// Lets everybody who sleeps on the channel look again.
    #[inline]
    pub(crate) fn wakeup(&self, channel: usize) {
        if self.0.channels.load(Ordering::Relaxed) & channel_bit(channel) != 0 {
            self.wake(channel);
        }
    }

    fn wake(&self, channel: usize) {
        let sleeps = |thread: &Thread| thread.sleep.is_some_and(|(on, woken)| on == channel && !woken);
        if !self.peek().threads.iter().any(sleeps) {
            return;
        }
        let mut state = self.state();
        for thread in 0..state.threads.len() {
            if let Some((on, woken)) = &mut state.threads[thread].sleep
                && *on == channel
            {
                *woken = true;
                state.set_blocked(thread, false);
            }
        }
    }
}
