//! The compressions of messages that gRPC clients use.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};

use crate::budget::Held;
use crate::status::{Code, Status};

/// What `grpc-accept-encoding` tells clients.
pub(crate) const ACCEPTED: &str = "identity,deflate,gzip";

// So much is unpacked before it is asked whether more may be.
const STEP: usize = 1 << 16;

/// How the messages of a call are compressed, if they say that they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Deflate,
}

impl Encoding {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "identity" => Some(Self::Identity),
            "gzip" => Some(Self::Gzip),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    /// Unpacks a message of at most so many bytes.
    pub(crate) fn decode(self, packed: &[u8], most: usize, held: Held) -> Result<Bytes, Status> {
        match self {
            Self::Identity => Err(Status::new(
                Code::Internal,
                "a message is marked as compressed, but there is no grpc-encoding",
            )),
            Self::Gzip => inflate(GzDecoder::new(packed), most, held),
            Self::Deflate => inflate(ZlibDecoder::new(packed), most, held),
        }
    }
}

fn inflate(mut decoder: impl Read, most: usize, mut held: Held) -> Result<Bytes, Status> {
    let mut message = Vec::new();
    loop {
        let step = STEP.min(most - message.len() + 1);
        let part = decoder.by_ref().take(step as u64).read_to_end(&mut message);
        match part.map_err(broken)? {
            0 => return Ok(held.with(message.into())),
            _ if message.len() > most => return Err(too_large(message.len(), most)),
            size => held.more(size)?,
        }
    }
}

fn broken(error: io::Error) -> Status {
    Status::new(
        Code::Internal,
        format!("a compressed message cannot be unpacked: {error}"),
    )
}

/// The refusal of a message that is over the limit.
pub(crate) fn too_large(size: usize, most: usize) -> Status {
    let details = format!(
        "a message of {size} bytes or more is over this method's limit of {most} \
         (--max-request-size, if the method takes tensors, pictures or models)"
    );
    Status::new(Code::ResourceExhausted, details)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(encoding: Encoding, packed: &[u8], most: usize) -> Result<Bytes, Status> {
        encoding.decode(packed, most, Held::nothing(Budget::new(1 << 17)))
    }

    #[test]
    fn both_compressions_are_undone() {
        let mut deflate = ZlibEncoder::new(Vec::new(), Compression::default());
        deflate.write_all(b"pixels").unwrap();
        let deflated = deflate.finish().unwrap();
        assert_eq!(decode(Encoding::Deflate, &deflated, 6).unwrap(), "pixels");
        assert_eq!(
            decode(Encoding::Gzip, &gzip(b"pixels"), 6).unwrap(),
            "pixels"
        );
    }

    #[test]
    fn a_message_that_inflates_beyond_the_limit_is_refused_early() {
        let packed = gzip(&vec![0; 1 << 20]);
        let refused = decode(Encoding::Gzip, &packed, 1000).unwrap_err();
        assert_eq!(refused.code, Code::ResourceExhausted as u32);
        assert!(
            refused.details.contains("1001 bytes"),
            "{}",
            refused.details
        );
    }

    #[test]
    fn a_message_that_inflates_beyond_the_budget_is_refused_early() {
        let refused = decode(Encoding::Gzip, &gzip(&vec![0; 1 << 20]), 1 << 20).unwrap_err();
        assert!(refused.details.contains("in flight"), "{}", refused.details);
    }

    proptest! {
        #[test]
        fn garbage_is_refused_and_no_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(Encoding::Gzip, &data, 1 << 16);
            let _ = decode(Encoding::Deflate, &data, 1 << 16);
        }
    }
}
