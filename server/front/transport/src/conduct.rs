//! Watches how a client behaves: frames that make work and carry no request have a limit.
//!
//! HTTP/2 lets a client reset, ping and set as often as it likes. h2 answers each in its turn, so
//! the frames are counted on their way to it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use crate::limits::Limits;

const PREFACE: usize = 24;
const HEAD: usize = 9;
const SECOND: Duration = Duration::from_secs(1);

// Kinds of frames that carry requests and their flow control, and the one that has a rule of its own.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;

/// What a connection's tasks tell each other of its client.
#[derive(Default)]
pub(crate) struct Conduct {
    answered: AtomicBool,
    broken: Notify,
}

impl Conduct {
    /// Notes that the client got something: it may ping again.
    pub fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Waits until the client has broken a rule.
    pub async fn broken(&self) {
        self.broken.notified().await;
    }
}

/// A connection whose incoming frames are watched.
pub(crate) struct Watched<T> {
    io: T,
    conduct: Arc<Conduct>,
    frames: Frames,
    rules: Rules,
    over: bool,
}

impl<T> Watched<T> {
    pub fn new(io: T, conduct: Arc<Conduct>, limits: &Limits) -> Self {
        Self {
            io,
            conduct,
            frames: Frames::default(),
            rules: Rules::new(limits),
            over: false,
        }
    }

    fn watch(&mut self, bytes: &[u8]) {
        let Self {
            frames,
            rules,
            conduct,
            ..
        } = self;
        if !frames.follow(bytes, |kind, flags| rules.allow(kind, flags, conduct)) {
            self.over = true;
            conduct.broken.notify_one();
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.over {
            return Poll::Pending; // whoever waits for `broken` ends the connection
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(context, buffer))?;
        self.watch(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

/// Finds the heads of frames in bytes that come in any pieces.
struct Frames {
    skip: usize,
    head: [u8; HEAD],
    known: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            skip: PREFACE,
            head: [0; HEAD],
            known: 0,
        }
    }
}

impl Frames {
    /// Calls `allow` with the kind and the flags of each frame; returns false once that does.
    fn follow(&mut self, mut bytes: &[u8], mut allow: impl FnMut(u8, u8) -> bool) -> bool {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            let part = (HEAD - self.known).min(bytes.len() - skipped);
            self.head[self.known..self.known + part]
                .copy_from_slice(&bytes[skipped..skipped + part]);
            self.known += part;
            bytes = &bytes[skipped + part..];
            if self.known == HEAD {
                let [a, b, c, kind, flags, ..] = self.head;
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                self.known = 0;
                if !allow(kind, flags) {
                    return false;
                }
            }
        }
        true
    }
}

struct Rules {
    empty: Rate,
    pings: Pings,
}

impl Rules {
    fn new(limits: &Limits) -> Self {
        Self {
            empty: Rate {
                most: limits.empty_frames,
                count: 0,
                begun: Instant::now(),
            },
            pings: Pings {
                interval: limits.ping_interval,
                most: limits.ping_strikes,
                strikes: 0,
                last: None,
            },
        }
    }

    fn allow(&mut self, kind: u8, flags: u8, conduct: &Conduct) -> bool {
        match kind {
            DATA | HEADERS | WINDOW_UPDATE => true,
            PING if flags & ACK == 0 => {
                let answered = conduct.answered.swap(false, Ordering::Relaxed);
                let now = Instant::now();
                self.pings.allow(now, answered) && self.empty.allow(now)
            }
            _ => self.empty.allow(Instant::now()),
        }
    }
}

/// So many in a second.
struct Rate {
    most: u32,
    count: u32,
    begun: Instant,
}

impl Rate {
    fn allow(&mut self, now: Instant) -> bool {
        if now - self.begun >= SECOND {
            (self.begun, self.count) = (now, 0);
        }
        self.count += 1;
        self.count <= self.most
    }
}

/// gRPC's rule: pings that come too soon one after another, while nothing is sent to the client, are
/// strikes; <https://github.com/grpc/proposal/blob/master/A8-client-side-keepalive.md>.
struct Pings {
    interval: Duration,
    most: u32, // 0: any number
    strikes: u32,
    last: Option<Instant>,
}

impl Pings {
    fn allow(&mut self, now: Instant, answered: bool) -> bool {
        if answered {
            (self.last, self.strikes) = (None, 0);
        }
        let soon = |last: Instant| now - last < self.interval;
        self.strikes += u32::from(self.last.is_some_and(soon));
        self.last = Some(now);
        self.most == 0 || self.strikes <= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, length: usize) -> Vec<u8> {
        let mut bytes = (length as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([kind, 0, 0, 0, 0, 1]);
        bytes.extend(vec![PING; length]);
        bytes
    }

    proptest! {
        #[test]
        fn every_frame_is_seen_however_it_is_cut(
            sent in prop::collection::vec((0u8..10, 0usize..40), 0..10), piece in 1usize..50,
        ) {
            let mut bytes = vec![0; PREFACE];
            bytes.extend(sent.iter().flat_map(|(kind, length)| frame(*kind, *length)));
            let (mut frames, mut seen) = (Frames::default(), Vec::new());
            for part in bytes.chunks(piece) {
                frames.follow(part, |kind, _| {
                    seen.push(kind);
                    true
                });
            }
            prop_assert_eq!(seen, sent.iter().map(|(kind, _)| *kind).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_rate_begins_anew_each_second() {
        let begun = Instant::now();
        let mut rate = Rate {
            most: 2,
            count: 0,
            begun,
        };
        let allowed = [0, 0, 0, 1, 1, 1].map(|after| rate.allow(begun + SECOND * after));
        assert_eq!(allowed, [true, true, false, true, true, false]);
    }

    #[test]
    fn pings_that_come_too_soon_are_strikes_until_something_is_sent() {
        let begun = Instant::now();
        let mut pings = Pings {
            interval: SECOND,
            most: 1,
            strikes: 0,
            last: None,
        };
        let times = [
            (0, false),
            (1, false),
            (1, false),
            (1, true),
            (1, false),
            (1, false),
        ];
        let allowed = times.map(|(after, answered)| pings.allow(begun + SECOND * after, answered));
        assert_eq!(allowed, [true, true, true, true, true, false]);
    }
}
