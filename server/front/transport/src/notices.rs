//! What the operator is told of clients that cannot come in: a line a minute of each kind.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::inbox::{Event, Inbox};

const PAUSE: Duration = Duration::from_secs(60);

/// Why a client cannot come in.
#[derive(Debug)]
pub(crate) enum Notice {
    /// It speaks TLS, and the server does not.
    Encrypted,
    /// It does not speak TLS, and the server demands it.
    Plain,
    /// TLS cannot be agreed on, or a certificate is not accepted.
    Refused(io::Error),
}

impl Notice {
    fn text(&self, from: SocketAddr) -> String {
        match self {
            Self::Encrypted => format!(
                "a client at {from} speaks TLS, which this port does not: connect without TLS, or \
                 start the server with --grpc-use-ssl"
            ),
            Self::Plain => {
                format!("a client at {from} does not speak TLS, which this port demands")
            }
            Self::Refused(error) => format!("TLS with a client at {from} failed: {error}"),
        }
    }
}

/// Tells, and leaves out what comes too soon after another of its kind.
pub(crate) struct Notices {
    inbox: Arc<Inbox>,
    told: Mutex<HashMap<std::mem::Discriminant<Notice>, Told>>,
}

#[derive(Clone, Copy)]
struct Told {
    at: Instant,
    left_out: u64,
}

impl Notices {
    pub fn new(inbox: Arc<Inbox>) -> Self {
        Self {
            inbox,
            told: Mutex::default(),
        }
    }

    pub fn tell(&self, notice: Notice, from: SocketAddr) {
        if let Some(left_out) = self.due(&notice, Instant::now()) {
            let more = match left_out {
                0 => String::new(),
                count => format!(" (as did {count} more since the last such line)"),
            };
            let line = notice.text(from) + &more;
            self.inbox.tell(Event::Notice(line));
        }
    }

    /// Returns how many of its kind were left out, if it is time for another.
    fn due(&self, notice: &Notice, now: Instant) -> Option<u64> {
        let mut told = self
            .told
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let kind = std::mem::discriminant(notice);
        match told.get_mut(&kind) {
            Some(last) if now - last.at < PAUSE => {
                last.left_out += 1;
                None
            }
            last => {
                let left_out = last.map_or(0, |last| last.left_out);
                told.insert(
                    kind,
                    Told {
                        at: now,
                        left_out: 0,
                    },
                );
                Some(left_out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_told_once_a_minute_with_how_many_were_left_out() {
        let notices = Notices::new(Arc::new(Inbox::new().unwrap()));
        let begun = Instant::now();
        let due = |notice, after: u32| notices.due(&notice, begun + PAUSE / 2 * after);
        assert_eq!(due(Notice::Plain, 0), Some(0));
        assert_eq!(due(Notice::Encrypted, 0), Some(0));
        assert_eq!(due(Notice::Plain, 1), None);
        assert_eq!(due(Notice::Plain, 1), None);
        assert_eq!(due(Notice::Plain, 2), Some(2));
        assert_eq!(due(Notice::Plain, 4), Some(0));
    }
}
