//! Calls that the transport ends by itself, for those who count and log them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};

use crate::status::Status;

/// Calls of one method that ended with one code since somebody last asked.
#[derive(Debug)]
pub struct Refused {
    /// The place of the method in the list that the server was made with; `None` if there is none.
    pub method: Option<usize>,
    pub code: u32,
    pub count: u64,
    /// The other fields are the last call's.
    pub details: String,
    pub peer: SocketAddr,
    pub traceparent: String,
}

/// Collects calls until somebody asks; there is one entry for each method and code at most, however
/// many clients are refused.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<HashMap<(Option<usize>, u32), Refused>>);

impl Refusals {
    /// Notes a call; returns whether it is the first since somebody asked.
    pub fn note(
        &self,
        method: Option<usize>,
        status: &Status,
        peer: SocketAddr,
        traceparent: &str,
    ) -> bool {
        let mut noted = self.lock();
        let first = noted.is_empty();
        let key = (method, status.code);
        let count = 1 + noted.get(&key).map_or(0, |before| before.count);
        let refused = Refused {
            method,
            code: status.code,
            count,
            details: status.details.clone(),
            peer,
            traceparent: traceparent.to_string(),
        };
        noted.insert(key, refused);
        first
    }

    pub fn take(&self) -> Vec<Refused> {
        std::mem::take(&mut *self.lock()).into_values().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Option<usize>, u32), Refused>> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
