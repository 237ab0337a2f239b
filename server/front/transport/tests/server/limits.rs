//! What is over a limit is refused or ends the connection, and nobody else hears of it.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use transport::{Call, Code, Event, Frame, Incoming, Limits, Receive, Status};

use crate::fixture::{
    ECHO, Fixture, LIMIT, LIMITS, STREAM, code, framed, read, request, send, start, start_with,
    status,
};

const SOON: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(20);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A client that writes frames as it likes.
struct Raw(TcpStream);

impl Raw {
    async fn connect(fixture: &Fixture) -> Self {
        let mut stream = TcpStream::connect(fixture.address).await.unwrap();
        stream.write_all(PREFACE).await.unwrap();
        let mut raw = Self(stream);
        raw.write(SETTINGS, 0, 0, &[]).await;
        raw
    }

    /// Writes a frame, unless the server has closed the connection.
    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let mut frame = BytesMut::new();
        frame.put_uint(payload.len() as u64, 3);
        frame.put_slice(&[kind, flags]);
        frame.put_u32(stream);
        frame.put_slice(payload);
        let _ = self.0.write_all(&frame).await;
    }

    /// Reads until the connection is closed; returns the reason and the text of its GOAWAY.
    async fn reason(&mut self) -> Option<(Reason, String)> {
        in_time(self.last_goaway()).await
    }

    async fn last_goaway(&mut self) -> Option<(Reason, String)> {
        let mut told = None;
        loop {
            let mut head = [0; 9];
            if self.0.read_exact(&mut head).await.is_err() {
                return told;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.0.read_exact(&mut payload).await.unwrap();
            if head[3] == GOAWAY {
                let reason = u32::from_be_bytes(payload[4..8].try_into().unwrap());
                let text = String::from_utf8_lossy(&payload[8..]).into_owned();
                told = Some((reason.into(), text));
            }
        }
    }

    async fn is_told_to_calm_down(&mut self) -> bool {
        self.reason().await.map(|(reason, _)| reason) == Some(Reason::ENHANCE_YOUR_CALM)
    }
}

/// Waits for what the server must do by itself.
async fn in_time<F: Future>(future: F) -> F::Output {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.expect("the server does nothing")
}

/// A neighbour is answered.
async fn assert_served(fixture: &Fixture) {
    let answered = status(fixture, request("/test/Nothing"), framed(b"")).await;
    assert_eq!(answered.0, code(Code::Unimplemented));
}

async fn ended_with(response: Response<RecvStream>) -> String {
    let (_, trailers) = read(response).await;
    trailers["grpc-status"].to_str().unwrap().to_string()
}

/// Waits for the next call, whatever else has happened.
async fn next_call(fixture: &Fixture) -> std::sync::Arc<Call> {
    loop {
        if let Event::Opened(call) = fixture.event().await {
            return call;
        }
    }
}

fn gzip(data: &[u8]) -> Bytes {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    let mut frame = framed(&encoder.finish().unwrap()).to_vec();
    frame[0] = 1;
    frame.into()
}

#[tokio::test]
async fn a_message_that_inflates_beyond_the_limit_is_refused() {
    let fixture = start();
    for size in [LIMIT + 1, 200 * LIMIT] {
        let mut packed = request(ECHO);
        let headers = packed.headers_mut();
        headers.insert("grpc-encoding", "gzip".parse().unwrap());
        let (number, text) = status(&fixture, packed, gzip(&vec![0; size])).await;
        assert_eq!(number, code(Code::ResourceExhausted));
        assert!(text.contains("--max-request-size"), "{text}");
    }
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_at_once() {
    let fixture = start_with(Limits {
        connections: 2,
        ..LIMITS
    });
    let both = (fixture.connect().await, fixture.connect().await);
    let mut third = TcpStream::connect(fixture.address).await.unwrap();
    let closed = third.read(&mut [0; 100]).await;
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    drop(both);
    while !is_welcome(&fixture).await {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn is_welcome(fixture: &Fixture) -> bool {
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    matches!(stream.read(&mut [0; 9]).await, Ok(9))
}

#[tokio::test]
async fn streams_over_the_limit_wait_in_the_client() {
    let fixture = start_with(Limits {
        streams: 2,
        ..LIMITS
    });
    let mut client = fixture.connect().await;
    let one = send(&mut client, request(ECHO), framed(b"")).0;
    let first = fixture.opened().await;
    while client.current_max_send_streams() != 2 {
        tokio::time::sleep(Duration::from_millis(1)).await; // until it has read the settings
    }
    let _two = send(&mut client, request(ECHO), framed(b""));
    fixture.opened().await;
    let waiting = tokio::spawn(async move {
        let mut client = client.ready().await.unwrap();
        send(&mut client, request(ECHO), framed(b"third")).0.await
    });
    first.reply(Frame::of(b""), Status::default());
    read(one.await.unwrap()).await;
    let third = next_call(&fixture).await;
    assert_eq!(
        third.receive(),
        Receive::Message(Bytes::from_static(b"third"))
    );
    third.end(Status::default());
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn floods_of_frames_that_carry_nothing_end_the_connection() {
    let fixture = start_with(Limits {
        ping_strikes: 0,
        ..LIMITS
    });
    let (settings, ping, reset) = ((SETTINGS, 0, 0), (PING, 8, 0), (RST_STREAM, 4, 1));
    for (kind, length, stream) in [settings, ping, reset] {
        let mut raw = Raw::connect(&fixture).await;
        // A reset is one of a call that there was.
        raw.write(HEADERS, END_HEADERS, 1, &echo()).await;
        for _ in 0..LIMITS.empty_frames + 1 {
            raw.write(kind, 0, stream, &vec![0; length]).await;
        }
        assert!(raw.is_told_to_calm_down().await, "{kind}");
        assert_served(&fixture).await;
    }
}

/// The headers of a call to `ECHO`, in HPACK: two of its static table, then two with their lengths.
fn echo() -> Vec<u8> {
    let (post, http, path, content_type) = (0x83, 0x86, 4, [15, 16]);
    let kind = b"application/grpc";
    let mut block = vec![post, http, path, ECHO.len() as u8];
    block.extend(ECHO.as_bytes());
    block.extend(content_type);
    block.push(kind.len() as u8);
    block.extend(kind);
    block
}

#[tokio::test]
async fn a_flood_of_continuations_ends_the_connection() {
    let fixture = start();
    let mut raw = Raw::connect(&fixture).await;
    raw.write(HEADERS, 0, 1, &echo()).await;
    for _ in 0..LIMITS.empty_frames + 1 {
        raw.write(CONTINUATION, 0, 1, &[]).await;
    }
    assert!(raw.is_told_to_calm_down().await);
    assert_served(&fixture).await;
}

#[tokio::test]
async fn calls_that_are_made_to_be_reset_end_the_connection_and_reach_nobody() {
    let fixture = start();
    let mut raw = Raw::connect(&fixture).await;
    for number in 0..=LIMITS.empty_frames {
        let stream = 2 * number + 1;
        raw.write(HEADERS, END_HEADERS, stream, &echo()).await;
        raw.write(DATA, END_STREAM, stream, &framed(b"")).await;
        raw.write(RST_STREAM, 0, stream, &[0; 4]).await;
    }
    assert!(raw.is_told_to_calm_down().await);
    assert_served(&fixture).await;
    for event in fixture.inbox.events() {
        assert!(matches!(event, Event::Changed(_)), "it was over already");
    }
}

#[tokio::test]
async fn pings_that_come_too_soon_end_the_connection() {
    let fixture = start();
    let mut raw = Raw::connect(&fixture).await;
    for _ in 0..LIMITS.ping_strikes + 2 {
        raw.write(PING, 0, 0, &[0; 8]).await;
    }
    assert!(raw.is_told_to_calm_down().await);
}

#[tokio::test]
async fn who_is_answered_may_ping() {
    let fixture = start();
    let stream = TcpStream::connect(fixture.address).await.unwrap();
    let (mut client, mut connection) = h2::client::handshake(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    for _ in 0..10 * LIMITS.ping_strikes {
        let response = send(&mut client, request("/test/Nothing"), framed(b"")).0;
        read(response.await.unwrap()).await;
        pings.ping(h2::Ping::opaque()).await.unwrap();
    }
}

#[tokio::test]
async fn who_does_not_speak_is_not_waited_for() {
    let fixture = start_with(Limits {
        handshake: SOON,
        ..LIMITS
    });
    let mut silent = TcpStream::connect(fixture.address).await.unwrap();
    let mut rest = Vec::new();
    let _ = in_time(silent.read_to_end(&mut rest)).await;
    assert_served(&fixture).await;
}

#[tokio::test]
async fn a_connection_without_calls_ends() {
    let fixture = start_with(Limits {
        idle: SOON,
        keepalive_timeout: SOON,
        ..LIMITS
    });
    let mut raw = Raw::connect(&fixture).await;
    assert_eq!(raw.reason().await, Some((Reason::NO_ERROR, String::new())));
}

#[tokio::test]
async fn a_connection_with_a_call_is_not_idle() {
    let fixture = start_with(Limits {
        idle: SOON,
        keepalive_timeout: SOON,
        ..LIMITS
    });
    let (response, _stream) = send(&mut fixture.connect().await, request(ECHO), framed(b""));
    let call = fixture.opened().await;
    tokio::time::sleep(4 * SOON).await;
    call.reply(Frame::of(b"late"), Status::default());
    assert_eq!(read(response.await.unwrap()).await.0, framed(b"late"));
}

#[tokio::test]
async fn an_old_connection_takes_no_more_calls_and_ends_after_the_grace() {
    let fixture = start_with(Limits {
        age: SOON,
        age_grace: 4 * SOON,
        ..LIMITS
    });
    let mut client = fixture.connect().await;
    let (answered, _one) = send(&mut client, request(ECHO), framed(b""));
    let (lost, _two) = send(&mut client, request(ECHO), framed(b""));
    let (first, second) = (fixture.opened().await, fixture.opened().await);
    in_time(until_closing(client)).await;
    first.reply(Frame::of(b"in time"), Status::default());
    assert_eq!(read(answered.await.unwrap()).await.0, framed(b"in time"));
    assert!(in_time(lost).await.is_err());
    while second.state() == Incoming::Waiting {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until the server has said that it takes no more calls.
async fn until_closing(mut client: SendRequest<Bytes>) {
    while let Ok(ready) = client.ready().await {
        client = ready;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn who_answers_no_ping_is_lost() {
    let fixture = start_with(Limits {
        keepalive: SOON,
        keepalive_timeout: SOON,
        ..LIMITS
    });
    let mut raw = Raw::connect(&fixture).await;
    assert_eq!(raw.reason().await, None, "it is closed without a word");
}

#[tokio::test]
async fn who_answers_pings_stays() {
    let fixture = start_with(Limits {
        keepalive: SOON / 10,
        keepalive_timeout: 100 * SOON,
        ..LIMITS
    });
    let (response, _stream) = send(&mut fixture.connect().await, request(ECHO), framed(b""));
    let call = fixture.opened().await;
    tokio::time::sleep(4 * SOON).await;
    call.reply(Frame::of(b"here"), Status::default());
    assert_eq!(read(response.await.unwrap()).await.0, framed(b"here"));
}

#[tokio::test]
async fn requests_over_the_budget_of_a_connection_are_refused_until_others_are_answered() {
    let fixture = start();
    let mut client = fixture.connect().await;
    let large = framed(&vec![0; LIMIT - 100]);
    let (response, _one) = send(&mut client, request(ECHO), large.clone());
    let first = fixture.opened().await;
    let Receive::Message(message) = first.receive() else {
        panic!()
    };
    let (second, _two) = send(&mut client, request(ECHO), large.clone());
    let other = fixture.opened().await;
    let (third, _three) = send(&mut client, request(ECHO), large.clone());
    assert_eq!(
        ended_with(third.await.unwrap()).await,
        code(Code::ResourceExhausted)
    );

    first.reply(Frame::of(b""), Status::default());
    read(response.await.unwrap()).await;
    drop(message);
    let (fourth, _four) = send(&mut client, request(ECHO), large);
    let last = next_call(&fixture).await;
    for (call, response) in [(other, second), (last, fourth)] {
        call.reply(Frame::of(b""), Status::default());
        assert_eq!(ended_with(response.await.unwrap()).await, "0");
    }
}

#[tokio::test]
async fn all_connections_together_have_a_budget() {
    let fixture = start();
    let large = framed(&vec![0; LIMIT - 100]);
    let (mut open, mut held) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let mut client = fixture.connect().await;
        for _ in 0..2 {
            open.push(send(&mut client, request(ECHO), large.clone()));
            held.push(fixture.opened().await);
        }
    }
    let (number, text) = status(&fixture, request(ECHO), large).await;
    assert_eq!(number, code(Code::ResourceExhausted));
    assert!(text.contains("--max-bytes-in-flight"), "{text}");
}

#[tokio::test]
async fn answers_that_nobody_reads_have_a_budget() {
    let fixture = start();
    let mut client = fixture.connect().await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(send(&mut client, request(ECHO), framed(b"")));
        let call = fixture.opened().await;
        call.reply(Frame::of(&vec![0; LIMIT - 100]), Status::default());
    }
    // All at once, since they share the window of the connection.
    let reading = open.into_iter().map(|(response, _)| {
        tokio::spawn(async move { ended_with(response.await.unwrap()).await })
    });
    let mut codes = Vec::new();
    for ended in reading.collect::<Vec<_>>() {
        codes.push(ended.await.unwrap());
    }
    let over = code(Code::ResourceExhausted);
    assert_eq!(
        codes,
        ["0".to_string(), "0".to_string(), over.clone(), over]
    );
}

#[tokio::test]
async fn messages_of_a_stream_over_the_budget_end_it() {
    let fixture = start();
    let (response, _stream) = send(&mut fixture.connect().await, request(STREAM), framed(b""));
    let call = fixture.opened().await;
    for _ in 0..3 {
        call.send(Frame::of(&vec![0; LIMIT - 100]));
    }
    assert_eq!(call.unsent(), 2 * (LIMIT - 95));
    assert_eq!(
        ended_with(response.await.unwrap()).await,
        code(Code::ResourceExhausted)
    );
}

#[tokio::test]
async fn a_stream_waits_for_room_instead_of_being_refused() {
    let fixture = start();
    let large = framed(&vec![0; LIMIT / 2]);
    let body = large.repeat(20);
    let (response, _stream) = send(&mut fixture.connect().await, request(STREAM), body.into());
    let call = fixture.opened().await;
    let mut held = Vec::new();
    let mut read_ahead = 0;
    for turn in 0.. {
        match call.receive() {
            Receive::Message(message) => held.push(message),
            Receive::NotYet => tokio::time::sleep(Duration::from_millis(1)).await,
            Receive::End => break,
        }
        if turn % 20 == 19 {
            read_ahead = read_ahead.max(held.len());
            held.clear();
        }
    }
    assert!(
        read_ahead <= 4,
        "{read_ahead} messages are more than the budget"
    );
    call.end(Status::default());
    assert_eq!(ended_with(response.await.unwrap()).await, "0");
}
