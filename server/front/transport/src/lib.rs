//! gRPC over HTTP/2: sockets in, whole messages out, and statuses back.
//!
//! Knows neither Python nor what a message says. One thread does all the work of the network; the
//! calls are handed to others through an [`Inbox`].

mod body;
mod budget;
mod call;
mod compression;
mod conduct;
mod connection;
mod entrance;
mod headers;
mod inbox;
mod lifetime;
mod limits;
mod metadata;
mod notices;
mod peer;
mod refusals;
mod server;
mod status;
mod tls;
mod who;

pub use body::Frame;
pub use call::{Call, Incoming, Receive};
pub use inbox::{Event, Inbox};
pub use limits::Limits;
pub use metadata::{Value, header};
pub use refusals::Refused;
pub use server::{Method, Methods, Road, Server};
pub use status::{Code, Status};
pub use tls::{Tls, Unusable};
pub use who::{Names, uri};
