//! Calls from their beginning to their end, right ones and wrong ones.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::Method;
use tokio::net::TcpStream;
use transport::{Code, Event, Frame, Incoming, Receive, Status};

use crate::fixture::{
    ECHO, LIMIT, STREAM, THREAD, code, framed, read, request, send, start, status,
};

#[tokio::test]
async fn a_call_is_answered_with_a_message_and_trailers() {
    let fixture = start();
    let mut client = fixture.connect().await;
    let (response, _stream) = send(&mut client, request(ECHO), framed(b"ping"));
    let call = fixture.opened().await;
    assert_eq!(
        call.receive(),
        Receive::Message(Bytes::from_static(b"ping"))
    );
    let trailing = vec![transport::header("server-timing", b"queue;dur=1").unwrap()];
    call.reply(
        Frame::of(b"pong"),
        Status {
            trailing,
            ..Status::default()
        },
    );
    let (data, trailers) = read(response.await.unwrap()).await;
    assert_eq!(data, framed(b"pong"));
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["server-timing"], "queue;dur=1");
}

#[tokio::test]
async fn threads_take_the_calls_that_are_theirs() {
    let fixture = start();
    let inbox = fixture.inbox.clone();
    let thread = std::thread::spawn(move || {
        let (call, _) = inbox.take().unwrap();
        call.reply(Frame::of(b"done"), Status::default());
        inbox.take().is_none()
    });
    let (response, _stream) = send(&mut fixture.connect().await, request(THREAD), framed(b""));
    assert_eq!(read(response.await.unwrap()).await.0, framed(b"done"));
    tokio::task::spawn_blocking(move || fixture.server.stop(Duration::ZERO))
        .await
        .unwrap();
    assert!(thread.join().unwrap(), "a stop lets the threads go");
}

#[tokio::test]
async fn what_is_no_grpc_is_refused_in_the_words_of_http() {
    let fixture = start();
    let mut get = request(ECHO);
    *get.method_mut() = Method::GET;
    let mut json = request(ECHO);
    json.headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    for (wrong, expected) in [(get, 405), (json, 415)] {
        let (response, _stream) = send(&mut fixture.connect().await, wrong, Bytes::new());
        assert_eq!(response.await.unwrap().status(), expected);
    }
}

#[tokio::test]
async fn wrong_requests_are_told_apart() {
    let fixture = start();
    let unknown = request("/test/Nothing");
    assert_eq!(
        status(&fixture, unknown, framed(b"")).await.0,
        code(Code::Unimplemented)
    );
    let mut late = request(ECHO);
    late.headers_mut()
        .insert("grpc-timeout", "soon".parse().unwrap());
    let (number, text) = status(&fixture, late, framed(b"")).await;
    assert_eq!(number, code(Code::InvalidArgument));
    assert!(text.contains("grpc-timeout is \"soon\""), "{text}");
    let mut packed = request(ECHO);
    packed
        .headers_mut()
        .insert("grpc-encoding", "snappy".parse().unwrap());
    assert_eq!(
        status(&fixture, packed, framed(b"")).await.0,
        code(Code::Unimplemented)
    );
    let two: Vec<u8> = [framed(b"a"), framed(b"b")].concat();
    for body in [Bytes::new(), two.into()] {
        assert_eq!(
            status(&fixture, request(ECHO), body).await.0,
            code(Code::Unimplemented)
        );
    }
    let cut = framed(b"ping").slice(..7);
    assert_eq!(
        status(&fixture, request(ECHO), cut).await.0,
        code(Code::Internal)
    );
    let large = Bytes::from([&[0][..], &(LIMIT as u32 + 1).to_be_bytes()].concat());
    assert_eq!(
        status(&fixture, request(ECHO), large).await.0,
        code(Code::ResourceExhausted)
    );
}

#[tokio::test]
async fn who_leaves_is_told_of() {
    let fixture = start();
    let (_response, mut stream) =
        send(&mut fixture.connect().await, request(ECHO), framed(b"ping"));
    let call = fixture.opened().await;
    assert_eq!(call.state(), Incoming::Waiting);
    stream.send_reset(Reason::CANCEL);
    assert!(matches!(fixture.event().await, Event::Changed(id) if id == call.id));
    assert_eq!(call.state(), Incoming::Cancelled);
    call.reply(Frame::of(b"too late"), Status::default());
}

#[tokio::test]
async fn a_lost_connection_cancels_its_calls() {
    let fixture = start();
    let mut client = fixture.connect().await;
    let both = (
        send(&mut client, request(ECHO), framed(b"ping")),
        send(&mut client, request(STREAM), framed(b"ping")),
    );
    let (one, other) = (fixture.opened().await, fixture.opened().await);
    drop((both, client));
    while one.state() == Incoming::Waiting || other.state() == Incoming::Waiting {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_deadline_ends_a_call() {
    let fixture = start();
    let mut late = request(ECHO);
    late.headers_mut()
        .insert("grpc-timeout", "200m".parse().unwrap());
    let ended = status(&fixture, late, framed(b""));
    let ((number, _), call) = tokio::join!(ended, fixture.opened());
    assert_eq!(number, code(Code::DeadlineExceeded));
    assert_eq!(call.state(), Incoming::Late);
    assert_eq!(call.remaining(), Some(Duration::ZERO));
}

#[tokio::test]
async fn a_slow_reader_holds_its_answers_up_and_nobody_elses() {
    let fixture = start();
    let mut client = fixture.connect().await;
    let (response, _stream) = send(&mut client, request(STREAM), framed(b"go"));
    let call = fixture.opened().await;
    let message = vec![7; 100_000];
    for _ in 0..10 {
        call.send(Frame::of(&message));
    }
    let (other, _other_stream) = send(&mut fixture.connect().await, request(ECHO), framed(b""));
    loop {
        if let Event::Opened(second) = fixture.event().await {
            second.reply(Frame::of(b"quick"), Status::default());
            break;
        }
    }
    assert_eq!(read(other.await.unwrap()).await.0, framed(b"quick"));
    assert!(
        call.unsent() > 0,
        "the client has not read, so its window is full"
    );
    call.end(Status::default());
    let (data, _) = read(response.await.unwrap()).await;
    assert_eq!(data.len(), 10 * (5 + message.len()));
    assert_eq!(call.unsent(), 0);
}

#[tokio::test]
async fn a_stream_is_read_ahead_by_a_few_messages_only() {
    let fixture = start();
    let body: Vec<u8> = (0..100).flat_map(|number| framed(&[number])).collect();
    let (_response, _stream) = send(&mut fixture.connect().await, request(STREAM), body.into());
    let call = fixture.opened().await;
    let mut read = Vec::new();
    loop {
        match call.receive() {
            Receive::Message(message) => read.extend_from_slice(&message),
            Receive::NotYet => tokio::time::sleep(Duration::from_millis(1)).await,
            Receive::End => break,
        }
    }
    assert_eq!(read, (0..100).collect::<Vec<u8>>());
}

#[tokio::test]
async fn calls_know_their_connection() {
    let fixture = start();
    let mut clients = [fixture.connect().await, fixture.connect().await];
    let mut connections = Vec::new();
    for client in [0, 1, 0] {
        let client = &mut clients[client];
        let (_response, _stream) = send(client, request(ECHO), framed(b"ping"));
        let call = fixture.opened().await;
        connections.push(call.peer());
        call.end(Status::default());
    }
    assert_eq!(connections[0], connections[2]);
    assert_ne!(connections[0], connections[1]);
}

#[tokio::test]
async fn a_closed_server_goes_on_with_the_connections_that_it_has() {
    let fixture = start();
    let mut client = fixture.connect().await;
    let (_response, _stream) = send(&mut client, request(ECHO), framed(b"before"));
    fixture.opened().await;
    fixture.server.close();
    while TcpStream::connect(fixture.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (response, _stream) = send(&mut client, request(ECHO), framed(b"ping"));
    let call = fixture.opened().await;
    call.reply(Frame::of(b"pong"), Status::default());
    assert_eq!(read(response.await.unwrap()).await.0, framed(b"pong"));
}

#[tokio::test]
async fn a_stop_waits_for_open_calls_and_takes_no_more() {
    let fixture = start();
    let mut client = fixture.connect().await;
    let (response, _stream) = send(&mut client, request(ECHO), framed(b"ping"));
    let call = fixture.opened().await;
    let (server, address) = (fixture.server, fixture.address);
    let stopping = tokio::task::spawn_blocking(move || server.stop(Duration::from_secs(60)));
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    call.reply(Frame::of(b"the last one"), Status::default());
    assert_eq!(
        read(response.await.unwrap()).await.0,
        framed(b"the last one")
    );
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_stop_cancels_what_is_open_after_the_grace() {
    let fixture = start();
    let mut client = fixture.connect().await;
    let (response, _stream) = send(&mut client, request(ECHO), framed(b"ping"));
    fixture.opened().await;
    let server = fixture.server;
    tokio::task::spawn_blocking(move || server.stop(Duration::from_millis(20)))
        .await
        .unwrap();
    assert!(response.await.is_err());
}
