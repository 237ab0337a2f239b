//! When a connection ends, if its client does not end it.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{sleep, timeout};

use crate::limits::Limits;
use crate::peer::Peer;

/// Waits until a connection is to end well; returns how long its calls may take then.
pub(crate) async fn over(peer: &Peer) -> Duration {
    let limits = &peer.shared.limits;
    tokio::select! {
        () = peer.shared.stopping() => Duration::MAX, // the server's own grace ends it
        () = idle(peer) => limits.keepalive_timeout,
        () = sleep(spread(limits.age)) => limits.age_grace,
    }
}

/// Waits until a client does not answer any more.
pub(crate) async fn lost(mut pings: PingPong, limits: &Limits) {
    loop {
        sleep(limits.keepalive).await;
        let pong = timeout(limits.keepalive_timeout, pings.ping(Ping::opaque()));
        if !matches!(pong.await, Ok(Ok(_))) {
            return;
        }
    }
}

/// Waits until nothing has been asked for a whole interval.
async fn idle(peer: &Peer) {
    loop {
        sleep(peer.shared.limits.idle).await;
        if peer.rests() {
            return;
        }
    }
}

/// Moves a time by up to a tenth, so that connections that began together do not all end together.
fn spread(time: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
    time.mul_f64(0.9 + 0.2 * random)
}
