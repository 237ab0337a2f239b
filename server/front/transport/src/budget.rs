//! How many bytes the server holds for its clients: requests that are not answered yet, and answers
//! that are not sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::status::{Code, Status};

/// The bytes that may be held: for all clients, or a part of them for one connection.
pub(crate) struct Budget {
    most: usize,
    held: AtomicUsize,
    freed: Notify,
    whole: Option<Arc<Budget>>,
}

impl Budget {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            held: AtomicUsize::new(0),
            freed: Notify::new(),
            whole: None,
        })
    }

    /// Returns the budget of one connection: whoever else asks finds the other half.
    pub fn half(self: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self {
            most: self.most / 2,
            held: AtomicUsize::new(0),
            freed: Notify::new(),
            whole: Some(self.clone()),
        })
    }

    /// How many bytes are held.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Acquire)
    }

    /// Holds bytes until they are dropped.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: there is no room for them.
    pub fn hold(self: &Arc<Self>, bytes: Bytes) -> Result<Bytes, Status> {
        let mut held = Held::nothing(self.clone());
        held.more(bytes.len())?;
        Ok(held.with(bytes))
    }

    /// Waits until half of it is free.
    pub async fn room(&self) {
        loop {
            let freed = self.freed.notified();
            if self.held() <= self.most / 2 {
                return;
            }
            freed.await;
        }
    }

    fn take(&self, size: usize) -> bool {
        let fits = |held: usize| held.checked_add(size).filter(|sum| *sum <= self.most);
        let updated = self
            .held
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, fits);
        if updated.is_err() {
            return false;
        }
        let granted = self.whole.as_ref().is_none_or(|whole| whole.take(size));
        if !granted {
            self.held.fetch_sub(size, Ordering::AcqRel);
        }
        granted
    }

    fn give_back(&self, size: usize) {
        self.held.fetch_sub(size, Ordering::AcqRel);
        self.freed.notify_waiters();
        if let Some(whole) = &self.whole {
            whole.give_back(size);
        }
    }
}

/// A part of a budget that is in use until it is dropped.
pub(crate) struct Held {
    budget: Arc<Budget>,
    size: usize,
}

impl Held {
    pub fn nothing(budget: Arc<Budget>) -> Self {
        Self { budget, size: 0 }
    }

    /// Takes so many bytes more.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED: there is no room for them.
    pub fn more(&mut self, size: usize) -> Result<(), Status> {
        if !self.budget.take(size) {
            return Err(Status::new(
                Code::ResourceExhausted,
                "too many bytes of this connection or of all are in flight (--max-bytes-in-flight)",
            ));
        }
        self.size += size;
        Ok(())
    }

    /// Lives as long as these bytes.
    pub fn with(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Owned { bytes, _held: self })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.give_back(self.size);
    }
}

struct Owned {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(size: usize) -> Bytes {
        vec![0; size].into()
    }

    #[test]
    fn what_is_dropped_makes_room() {
        let whole = Budget::new(20);
        let (one, other) = (whole.half(), whole.half());
        let first = one.hold(bytes(10)).unwrap();
        assert!(one.hold(bytes(1)).is_err(), "over the connection's half");
        let second = other.hold(bytes(10)).unwrap();
        assert!(whole.half().hold(bytes(1)).is_err(), "over the whole");
        drop(first.slice(3..));
        assert!(one.hold(bytes(1)).is_err(), "a part is still held");
        drop((first, second));
        assert!(one.hold(bytes(10)).is_ok());
        assert_eq!(whole.held(), 0);
    }
}
