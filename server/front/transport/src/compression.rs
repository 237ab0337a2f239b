//! The compressions of messages that gRPC clients use.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{GzDecoder, ZlibDecoder};

use crate::status::{Code, Status};

/// What `grpc-accept-encoding` tells clients.
pub(crate) const ACCEPTED: &str = "identity,deflate,gzip";

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
    pub(crate) fn decode(self, packed: &[u8], most: usize) -> Result<Bytes, Status> {
        match self {
            Self::Identity => Err(Status::new(
                Code::Internal,
                "a message is marked as compressed, but there is no grpc-encoding",
            )),
            Self::Gzip => inflate(GzDecoder::new(packed), most),
            Self::Deflate => inflate(ZlibDecoder::new(packed), most),
        }
    }
}

fn inflate(decoder: impl Read, most: usize) -> Result<Bytes, Status> {
    let mut message = Vec::new();
    let limit = (most as u64).saturating_add(1);
    decoder
        .take(limit)
        .read_to_end(&mut message)
        .map_err(|error| {
            Status::new(
                Code::Internal,
                format!("a compressed message cannot be unpacked: {error}"),
            )
        })?;
    if message.len() > most {
        Err(too_large(message.len(), most))
    } else {
        Ok(message.into())
    }
}

/// The refusal of a message that is over the limit.
pub(crate) fn too_large(size: usize, most: usize) -> Status {
    let details = format!("a message of {size} bytes or more is over the limit of {most}");
    Status::new(Code::ResourceExhausted, details)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn both_compressions_are_undone() {
        let mut deflate = ZlibEncoder::new(Vec::new(), Compression::default());
        deflate.write_all(b"pixels").unwrap();
        let deflated = deflate.finish().unwrap();
        assert_eq!(Encoding::Deflate.decode(&deflated, 6).unwrap(), "pixels");
        assert_eq!(
            Encoding::Gzip.decode(&gzip(b"pixels"), 6).unwrap(),
            "pixels"
        );
    }

    #[test]
    fn a_message_that_inflates_beyond_the_limit_is_refused_early() {
        let packed = gzip(&vec![0; 1 << 20]);
        let refused = Encoding::Gzip.decode(&packed, 1000).unwrap_err();
        assert_eq!(refused.code, Code::ResourceExhausted as u32);
        assert!(
            refused.details.contains("1001 bytes"),
            "{}",
            refused.details
        );
    }

    proptest! {
        #[test]
        fn garbage_is_refused_and_no_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Encoding::Gzip.decode(&data, 1 << 16);
            let _ = Encoding::Deflate.decode(&data, 1 << 16);
        }
    }
}
