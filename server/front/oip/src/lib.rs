//! ModelInfer's messages: plain requests are read where they lie, responses written at once.
//!
//! A request is plain if its inputs are raw and nothing in it has parameters. All others are left
//! to protobuf, which knows every field. Source:
//! <https://protobuf.dev/programming-guides/encoding/>.

mod fields;
mod request;
mod response;

pub use request::{Input, Request, read};
pub use response::{Output, Response, write};
