//! What clients may ask of a server.

use std::time::Duration;

/// The limits of a server and of each of its connections.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub connections: usize,
    /// Calls at once on one connection.
    pub streams: u32,
    /// Bytes of requests and answers that are held; one connection may have half of them.
    pub bytes_in_flight: usize,
    /// Frames in a second that carry no request: resets, settings, pings and the like.
    pub empty_frames: u32,
    /// The time between two pings of a client that gets nothing meanwhile.
    pub ping_interval: Duration,
    /// Pings that may come sooner; 0 is any number.
    pub ping_strikes: u32,
    /// The time until a connection has said that it speaks HTTP/2.
    pub handshake: Duration,
    /// A connection without calls for so long ends.
    pub idle: Duration,
    /// A connection ends after that time, give or take a tenth.
    pub age: Duration,
    /// The time that calls have after that.
    pub age_grace: Duration,
    /// The time between two pings to a client.
    pub keepalive: Duration,
    /// The time that a client has to answer.
    pub keepalive_timeout: Duration,
}
