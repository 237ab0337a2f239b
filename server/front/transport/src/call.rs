//! One call, seen by those who answer it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use crate::body::Frame;
use crate::budget::Budget;
use crate::headers;
use crate::metadata::{self, Value};
use crate::peer::Peer;
use crate::server::Method;
use crate::status::Status;
use crate::who::{self, Names, Who};

// Messages of a stream that are read ahead; further ones wait in the client's transport.
const AHEAD: usize = 4;

/// Whether anybody waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    Waiting,
    /// The client has left, or the server stops.
    Cancelled,
    /// The deadline has passed.
    Late,
}

/// What a stream has for its reader.
#[derive(Debug, PartialEq, Eq)]
pub enum Receive {
    Message(Bytes),
    NotYet,
    End,
}

/// What goes back to the client.
pub(crate) enum Outgoing {
    Message(Bytes),
    End(Status),
    /// The end, instead of an answer that there is no room for.
    Refused(Status),
    /// The only message, and the end.
    Reply(Bytes, Status),
}

#[derive(Default)]
struct Received {
    messages: VecDeque<Bytes>,
    ended: bool,
}

/// A call from its first message to its end.
pub struct Call {
    pub id: u64,
    pub method: Method,
    headers: HeaderMap,
    deadline: Option<Instant>,
    received: Mutex<Received>,
    taken: Notify,
    outgoing: UnboundedSender<Outgoing>,
    who: Arc<Who>,
    budget: Arc<Budget>,
    unsent: AtomicUsize,
    state: AtomicU8,
}

impl Call {
    pub(crate) fn new(
        id: u64,
        method: Method,
        headers: HeaderMap,
        deadline: Option<Instant>,
        outgoing: UnboundedSender<Outgoing>,
        peer: &Peer,
    ) -> Self {
        Self {
            id,
            method,
            headers,
            deadline,
            received: Mutex::default(),
            taken: Notify::new(),
            outgoing,
            who: peer.who.clone(),
            budget: peer.budget.clone(),
            unsent: AtomicUsize::new(0),
            state: AtomicU8::new(Incoming::Waiting as u8),
        }
    }

    /// What the client has sent along.
    pub fn metadata(&self) -> Vec<(String, Value)> {
        metadata::read(&self.headers)
    }

    /// Where the client is, as gRPC writes it.
    pub fn peer(&self) -> String {
        who::uri(self.who.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.who.address
    }

    /// The names in the client's certificate; none if it has shown none.
    pub fn names(&self) -> &Names {
        &self.who.names
    }

    /// The value of a header, if the client has sent it once or more, as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        headers::text(&self.headers, name)
    }

    /// The time until the deadline; `None` if there is none.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// Whether anybody waits for the answer.
    pub fn state(&self) -> Incoming {
        match self.state.load(Ordering::Acquire) {
            state if state == Incoming::Late as u8 => Incoming::Late,
            state if state == Incoming::Cancelled as u8 => Incoming::Cancelled,
            _ => Incoming::Waiting,
        }
    }

    /// Takes the next message.
    pub fn receive(&self) -> Receive {
        let mut received = self.received();
        match received.messages.pop_front() {
            Some(message) => {
                self.taken.notify_one();
                Receive::Message(message)
            }
            None if received.ended => Receive::End,
            None => Receive::NotYet,
        }
    }

    /// Sends a message of a stream; returns how many bytes the client has not taken yet. Ends the
    /// call if there is no room for the message.
    pub fn send(&self, frame: Frame) -> usize {
        match self.budget.hold(frame.into_bytes()) {
            Ok(frame) => {
                self.unsent.fetch_add(frame.len(), Ordering::AcqRel);
                self.put(Outgoing::Message(frame));
            }
            Err(status) => self.put(Outgoing::Refused(status)),
        }
        self.unsent()
    }

    /// How many bytes the client has not taken yet.
    pub fn unsent(&self) -> usize {
        self.unsent.load(Ordering::Acquire)
    }

    /// Sends the only message, if there is room for it, and ends the call.
    pub fn reply(&self, frame: Frame, status: Status) {
        match self.budget.hold(frame.into_bytes()) {
            Ok(frame) => self.put(Outgoing::Reply(frame, status)),
            Err(status) => self.put(Outgoing::Refused(status)),
        }
    }

    /// Ends the call.
    pub fn end(&self, status: Status) {
        self.put(Outgoing::End(status));
    }

    pub(crate) fn leave(&self, how: Incoming) {
        self.state.store(how as u8, Ordering::Release);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.unsent.fetch_sub(bytes, Ordering::AcqRel);
    }

    pub(crate) fn push(&self, message: Bytes) {
        self.received().messages.push_back(message);
    }

    pub(crate) fn close(&self) {
        self.received().ended = true;
    }

    /// Waits until few enough messages are unread.
    pub(crate) async fn has_room(&self) {
        while self.received().messages.len() >= AHEAD {
            self.taken.notified().await;
        }
    }

    fn put(&self, outgoing: Outgoing) {
        // Fails if the call is over: nobody reads what is sent then.
        let _ = self.outgoing.send(outgoing);
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.received
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
