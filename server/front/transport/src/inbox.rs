//! Where calls wait for those who answer them: an event loop, or threads.
//!
//! The event loop watches a file descriptor and then asks for the events. Threads sleep in `take`.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::call::{Call, Incoming};
use crate::refusals::{Refusals, Refused};
use crate::status::Status;

/// What the event loop is told.
pub enum Event {
    Opened(Arc<Call>),
    /// The call with this number has a message, room for an answer, or has ended.
    Changed(u64),
    /// A line for the log.
    Notice(String),
}

#[derive(Default)]
struct Line {
    calls: VecDeque<Arc<Call>>,
    takers: usize,
    closed: bool,
}

impl Line {
    /// Takes the first call whose client still waits.
    fn next(&mut self) -> Option<Arc<Call>> {
        std::iter::from_fn(|| self.calls.pop_front()).find(|call| !is_over(call))
    }
}

/// The calls that nobody works on yet.
pub struct Inbox {
    events: Mutex<Vec<Event>>,
    bell: UnixStream,
    ear: UnixStream,
    line: Mutex<Line>,
    filled: Condvar,
    refusals: Refusals,
}

impl Inbox {
    pub fn new() -> io::Result<Self> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok(Self {
            events: Mutex::default(),
            bell,
            ear,
            line: Mutex::default(),
            filled: Condvar::new(),
            refusals: Refusals::default(),
        })
    }

    /// A file descriptor that can be read while there are events.
    pub fn descriptor(&self) -> RawFd {
        self.ear.as_raw_fd()
    }

    /// Returns the events since it was last asked. A call that has ended since then is left out:
    /// whoever makes calls only to cancel them costs nobody work.
    pub fn events(&self) -> Vec<Event> {
        let mut events = lock(&self.events);
        let mut rung = [0; 16];
        // Rung once for all events; empty if it was asked without having been rung for.
        let _ = (&self.ear).read(&mut rung);
        let mut told = std::mem::take(&mut *events);
        told.retain(|event| !matches!(event, Event::Opened(call) if is_over(call)));
        told
    }

    /// Returns the calls that the transport has ended by itself since it was last asked; to be
    /// asked after `events`.
    pub fn refusals(&self) -> Vec<Refused> {
        self.refusals.take()
    }

    /// Takes the next call that threads answer, and says how many threads still wait.
    ///
    /// Sleeps until there is one; `None` once the inbox is closed.
    pub fn take(&self) -> Option<(Arc<Call>, usize)> {
        let mut line = lock(&self.line);
        line.takers += 1;
        let call = loop {
            let next = line.next();
            if next.is_some() || line.closed {
                break next;
            }
            line = self
                .filled
                .wait(line)
                .unwrap_or_else(|poisoned| poisoned.into_inner());
        };
        line.takers -= 1;
        // Calls that wait are as good as taken by threads that have been woken for them.
        let spare = line.takers.saturating_sub(line.calls.len());
        call.map(|call| (call, spare))
    }

    /// Lets the threads go.
    pub fn close(&self) {
        lock(&self.line).closed = true;
        self.filled.notify_all();
    }

    pub(crate) fn tell(&self, event: Event) {
        let mut events = lock(&self.events);
        if events.is_empty() {
            self.ring();
        }
        events.push(event);
    }

    /// Notes a call that the transport ends by itself.
    pub(crate) fn refuse(
        &self,
        method: Option<usize>,
        status: &Status,
        peer: SocketAddr,
        traceparent: &str,
    ) {
        if self.refusals.note(method, status, peer, traceparent) {
            self.ring();
        }
    }

    fn ring(&self) {
        // Fails only if it has been rung often already.
        let _ = (&self.bell).write(&[1]);
    }

    pub(crate) fn queue(&self, call: Arc<Call>) {
        lock(&self.line).calls.push_back(call);
        self.filled.notify_one();
    }
}

fn is_over(call: &Call) -> bool {
    call.state() != Incoming::Waiting
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
