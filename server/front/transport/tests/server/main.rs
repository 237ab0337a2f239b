//! The server over real connections, called by an HTTP/2 client that can be wrong.

mod calls;
mod fixture;
mod limits;
mod refusals;
