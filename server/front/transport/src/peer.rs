//! One connection, as its calls see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use crate::budget::Budget;
use crate::conduct::Conduct;
use crate::server::Shared;
use crate::who::Who;

pub(crate) struct Peer {
    pub shared: Arc<Shared>,
    pub who: Arc<Who>,
    pub conduct: Arc<Conduct>,
    pub budget: Arc<Budget>,
    pub unpacking: Arc<Semaphore>,
    open: AtomicUsize,
    asked: AtomicBool,
}

impl Peer {
    pub fn new(shared: Arc<Shared>, who: Who) -> Arc<Self> {
        let budget = shared.budget.half();
        Arc::new(Self {
            shared,
            who: Arc::new(who),
            conduct: Arc::default(),
            budget,
            unpacking: Arc::new(Semaphore::new(1)),
            open: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
        })
    }

    /// Counts a call until the returned value is dropped.
    pub fn opened(self: &Arc<Self>) -> Open {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
        Open(self.clone())
    }

    /// Whether no call is open, and none has been since this was asked before.
    pub fn rests(&self) -> bool {
        !self.asked.swap(false, Ordering::Relaxed) && self.open.load(Ordering::Relaxed) == 0
    }
}

/// A call of a connection.
pub(crate) struct Open(pub Arc<Peer>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
