//! Cuts the body of a request into messages: one byte of flags, four of length, then the bytes.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use h2::RecvStream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::budget::{Budget, Held};
use crate::compression::{Encoding, too_large};
use crate::status::{Code, Status};

const PREFIX: usize = 5;
// A length is what the client says; so much is taken in advance, and the rest as it comes.
const TRUSTED: usize = 1 << 20;
// Messages that are larger, packed or unpacked, are unpacked on another thread, so that other calls
// do not wait.
const QUICK: usize = 1 << 14;
const QUICKLY_UNPACKED: usize = 1 << 16;

/// Why no message comes any more.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The client has left, or the connection is lost.
    Gone,
    Wrong(Status),
}

impl From<Status> for Broken {
    fn from(status: Status) -> Self {
        Self::Wrong(status)
    }
}

/// Where bytes come from: HTTP/2, or a test.
pub(crate) trait Source {
    /// Returns the next bytes; `None` at the end.
    async fn next(&mut self) -> Option<Result<Bytes, h2::Error>>;
}

impl Source for RecvStream {
    async fn next(&mut self) -> Option<Result<Bytes, h2::Error>> {
        let data = self.data().await;
        if let Some(Ok(bytes)) = &data {
            // Fails only if the stream is over.
            let _ = self.flow_control().release_capacity(bytes.len());
        }
        data
    }
}

/// On what terms messages are read.
pub(crate) struct Terms {
    pub encoding: Encoding,
    /// The bytes of a message.
    pub most: usize,
    pub budget: Arc<Budget>,
    /// Large messages of one connection are unpacked one by one.
    pub unpacking: Arc<Semaphore>,
}

/// The messages of one request.
pub(crate) struct Messages<S> {
    source: S,
    terms: Terms,
    rest: Bytes,
}

impl<S: Source> Messages<S> {
    pub(crate) fn new(source: S, terms: Terms) -> Self {
        Self {
            source,
            terms,
            rest: Bytes::new(),
        }
    }

    /// Returns the next message; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        let mut held = self.nothing();
        let Some(mut prefix) = self.take(PREFIX, &mut held).await? else {
            return Ok(None);
        };
        let (flags, size) = (prefix.get_u8(), prefix.get_u32() as usize);
        if size > self.terms.most {
            return Err(too_large(size, self.terms.most).into());
        }
        let message = match self.take(size, &mut held).await? {
            Some(message) => held.with(message),
            None if size == 0 => Bytes::new(),
            None => return Err(cut_off()),
        };
        if flags & 1 == 0 {
            Ok(Some(message))
        } else {
            self.decode(message).await.map(Some)
        }
    }

    async fn decode(&self, packed: Bytes) -> Result<Bytes, Broken> {
        let Terms { encoding, most, .. } = self.terms;
        if packed.len() <= QUICK {
            let little = most.min(QUICKLY_UNPACKED);
            if let Ok(message) = encoding.decode(&packed, little, self.nothing()) {
                return Ok(message);
            }
        }
        let held = self.nothing();
        let _turn = self.terms.unpacking.acquire().await;
        let decoded = spawn_blocking(move || encoding.decode(&packed, most, held)).await;
        Ok(decoded.map_err(|_| Broken::Gone)??)
    }

    fn nothing(&self) -> Held {
        Held::nothing(self.terms.budget.clone())
    }

    /// Takes exactly so many bytes; `None` if there are none at all. Bytes of one frame are not
    /// copied.
    async fn take(&mut self, size: usize, held: &mut Held) -> Result<Option<Bytes>, Broken> {
        if !self.fill().await? {
            return Ok(None);
        }
        if self.rest.len() >= size {
            held.more(size)?;
            return Ok(Some(self.rest.split_to(size)));
        }
        let mut gathered = BytesMut::with_capacity(size.min(TRUSTED));
        while gathered.len() < size {
            if !self.fill().await? {
                return Err(cut_off());
            }
            let missing = size - gathered.len();
            let part = self.rest.split_to(missing.min(self.rest.len()));
            held.more(part.len())?;
            gathered.extend_from_slice(&part);
        }
        Ok(Some(gathered.freeze()))
    }

    /// Waits for bytes, if there are none; returns whether there are any.
    async fn fill(&mut self) -> Result<bool, Broken> {
        while self.rest.is_empty() {
            match self.source.next().await {
                Some(Ok(bytes)) => self.rest = bytes,
                Some(Err(_)) => return Err(Broken::Gone),
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

fn cut_off() -> Broken {
    Broken::Wrong(Status::new(
        Code::Internal,
        "the request ends within a message",
    ))
}

/// A message with its prefix.
pub struct Frame(Bytes);

impl Frame {
    /// Makes a frame of what is written into the buffer, behind what it holds already.
    pub fn written(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut frame = vec![0; PREFIX];
        write(&mut frame);
        let size = (frame.len() - PREFIX) as u32;
        frame[1..PREFIX].copy_from_slice(&size.to_be_bytes());
        Self(frame.into())
    }

    /// Makes a frame of a message.
    pub fn of(message: &[u8]) -> Self {
        Self::written(|buffer| buffer.extend_from_slice(message))
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    fn framed(message: &[u8]) -> Bytes {
        Frame::of(message).into_bytes()
    }

    fn terms(most: usize) -> Terms {
        Terms {
            encoding: Encoding::Identity,
            most,
            budget: Budget::new(1 << 20),
            unpacking: Arc::new(Semaphore::new(1)),
        }
    }

    struct Pieces(VecDeque<Bytes>);

    impl Source for Pieces {
        async fn next(&mut self) -> Option<Result<Bytes, h2::Error>> {
            self.0.pop_front().map(Ok)
        }
    }

    /// Reads all messages of a body that comes in pieces of so many bytes.
    fn read(body: &[u8], piece: usize, most: usize) -> Result<Vec<Bytes>, Broken> {
        let pieces = body.chunks(piece).map(Bytes::copy_from_slice).collect();
        let mut messages = Messages::new(Pieces(pieces), terms(most));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut read = Vec::new();
            while let Some(message) = messages.next().await? {
                read.push(message);
            }
            Ok(read)
        })
    }

    #[test]
    fn a_message_in_one_frame_is_not_copied() {
        let frame = framed(b"pixels");
        let source = Pieces([frame.clone()].into());
        let mut messages = Messages::new(source, terms(100));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let message = runtime.block_on(messages.next()).unwrap().unwrap();
        assert_eq!(message.as_ptr(), frame[PREFIX..].as_ptr());
    }

    #[test]
    fn a_body_that_ends_within_a_message_is_wrong() {
        for end in 1..11 {
            let cut = &framed(b"pixels")[..end];
            assert!(matches!(read(cut, 3, 100), Err(Broken::Wrong(_))), "{end}");
        }
    }

    #[test]
    fn a_message_over_the_limit_is_refused_by_its_length() {
        let Err(Broken::Wrong(status)) = read(&framed(b"pixels"), 5, 5) else {
            panic!()
        };
        assert_eq!(status.code, Code::ResourceExhausted as u32);
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
            piece in 1usize..50,
        ) {
            let body: Vec<u8> = sent.iter().flat_map(|message| framed(message)).collect();
            let received = read(&body, piece, 100).unwrap();
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn garbage_is_no_panic(
            body in prop::collection::vec(any::<u8>(), 0..60), piece in 1usize..50,
        ) {
            let _ = read(&body, piece, 1000);
        }
    }
}
