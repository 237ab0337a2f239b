//! The server: its sockets, its thread, and its end.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};

use crate::budget::Budget;
use crate::entrance;
use crate::inbox::Inbox;
use crate::limits::Limits;
use crate::notices::Notices;
use crate::tls::Tls;

/// Who answers a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Road {
    Loop,
    Threads,
}

/// A method that the server has.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// Its place in the list that the server was made with.
    pub index: usize,
    /// Whether requests are streams of messages.
    pub streaming: bool,
    pub road: Road,
    /// The bytes of a message, packed and unpacked.
    pub most_received: usize,
}

pub type Methods = HashMap<String, Method>;

// Threads that unpack messages. Each connection uses one at a time.
const UNPACKERS: usize = 16;

/// What all connections share.
pub(crate) struct Shared {
    pub methods: Methods,
    pub limits: Limits,
    pub budget: Arc<Budget>,
    pub inbox: Arc<Inbox>,
    pub notices: Notices,
    tls: Option<Mutex<Tls>>,
    ids: AtomicU64,
    connections: AtomicUsize,
    idle: Notify,
    phase: watch::Sender<Phase>,
}

/// What a server still takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Connections,
    Calls,
    Nothing,
}

impl Shared {
    pub fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a connection until the returned value is dropped; `None` if there are too many.
    pub fn count(&self) -> Option<impl Drop + '_> {
        let before = self.connections.fetch_add(1, Ordering::AcqRel);
        let counted = Counted(self);
        (before < self.limits.connections).then_some(counted)
    }

    /// What connections are opened with now; `None` if they are plain.
    pub fn tls(&self) -> Option<Tls> {
        self.tls.as_ref().map(|tls| lock(tls).clone())
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// Waits until the server stops.
    pub async fn stopping(&self) {
        self.reached(Phase::Nothing).await;
    }

    async fn reached(&self, phase: Phase) {
        let mut phases = self.phase.subscribe();
        // Fails only if the sender is gone, and that is in here.
        let _ = phases.wait_for(|now| *now >= phase).await;
    }

    async fn idle(&self) {
        while self.connections() > 0 {
            self.idle.notified().await;
        }
    }
}

struct Counted<'a>(&'a Shared);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        if self.0.connections.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_one();
        }
    }
}

/// A server that listens, on a thread of its own.
pub struct Server {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    grace: watch::Sender<Duration>,
}

impl Server {
    /// Starts to serve on sockets that listen already, in plain text if there is no `tls`; its
    /// thread first calls `begin`.
    pub fn start(
        listeners: Vec<TcpListener>,
        methods: Methods,
        limits: Limits,
        inbox: Arc<Inbox>,
        tls: Option<Tls>,
        begin: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            methods,
            limits,
            budget: Budget::new(limits.bytes_in_flight),
            notices: Notices::new(inbox.clone()),
            inbox,
            tls: tls.map(Mutex::new),
            ids: AtomicU64::new(1),
            connections: AtomicUsize::new(0),
            idle: Notify::new(),
            phase: watch::Sender::new(Phase::Connections),
        });
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(UNPACKERS)
            .build()?;
        let (grace, graces) = (watch::Sender::new(Duration::ZERO), shared.clone());
        let ends = grace.subscribe();
        let thread = thread::Builder::new()
            .name("front".to_string())
            .spawn(move || {
                begin();
                work(&runtime, listeners, graces, ends);
            })?;
        Ok(Self {
            shared,
            thread: Mutex::new(Some(thread)),
            grace,
        })
    }

    /// Opens connections with other certificates from now on, if they are not plain; those that are
    /// open stay.
    pub fn renew(&self, tls: Tls) {
        if let Some(current) = &self.shared.tls {
            *lock(current) = tls;
        }
    }

    /// Takes no more connections; those that are open go on.
    pub fn close(&self) {
        self.shared
            .phase
            .send_modify(|phase| *phase = Phase::Calls.max(*phase));
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.shared.connections()
    }

    /// How many bytes of requests and answers are held for clients.
    pub fn bytes_in_flight(&self) -> usize {
        self.shared.budget.held()
    }

    /// Takes no more connections and calls, waits for those that are open, and ends.
    ///
    /// Calls that are open after the grace are cancelled. Returns once the ports are free.
    pub fn stop(&self, grace: Duration) {
        self.grace.send_replace(grace);
        self.shared.phase.send_replace(Phase::Nothing);
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            // It panics at most where it has been told on stderr.
            let _ = thread.join();
        }
        self.shared.inbox.close();
    }
}

fn work(
    runtime: &Runtime,
    listeners: Vec<TcpListener>,
    shared: Arc<Shared>,
    grace: watch::Receiver<Duration>,
) {
    runtime.block_on(async {
        for listener in listeners {
            tokio::spawn(accept(listener, shared.clone()));
        }
        shared.stopping().await;
        let grace = *grace.borrow();
        // What is open after that is cancelled with the runtime.
        let _ = tokio::time::timeout(grace, shared.idle()).await;
    });
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let listener = listener
        .set_nonblocking(true)
        .and_then(|()| tokio::net::TcpListener::from_std(listener))
        .expect("a socket that listens");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.reached(Phase::Calls) => return,
        };
        match accepted {
            Ok((stream, from)) => {
                // Fails only if the connection is lost already.
                let _ = stream.set_nodelay(true);
                tokio::spawn(entrance::enter(stream, from, shared.clone()));
            }
            // Too many open files: the others go on, and this client tries again.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
