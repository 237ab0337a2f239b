//! What the transport ends by itself is told, once, to those who count it.

use std::time::Duration;

use transport::{Code, Event, Refused};

use crate::fixture::{ECHO, Fixture, LIMIT, code, framed, request, send, start, status};

async fn refusals(fixture: &Fixture) -> Vec<Refused> {
    loop {
        fixture.inbox.events();
        let found = fixture.inbox.refusals();
        if !found.is_empty() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_told_with_its_method_and_its_peer() {
    let fixture = start();
    for _ in 0..2 {
        let mut large = request(ECHO);
        let trace = http::HeaderValue::from_static("00-ab-cd-01");
        large.headers_mut().insert("traceparent", trace);
        let (told, _) = status(&fixture, large, framed(&vec![0; LIMIT + 1])).await;
        assert_eq!(told, code(Code::ResourceExhausted));
    }
    let found = refusals(&fixture).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let one = &found[0];
    assert_eq!(
        (one.method, one.code, one.count),
        (Some(0), Code::ResourceExhausted as u32, 2)
    );
    assert!(one.peer.ip().is_loopback());
    assert_eq!(one.traceparent, "00-ab-cd-01");
    assert!(one.details.contains("over this method's limit"));
    assert!(fixture.inbox.refusals().is_empty());
}

#[tokio::test]
async fn a_call_that_is_late_is_told_and_one_that_is_answered_is_not() {
    let fixture = start();
    let mut late = request(ECHO);
    let timeout = http::HeaderValue::from_static("1m");
    late.headers_mut().insert("grpc-timeout", timeout);
    let (told, _) = status(&fixture, late, framed(b"pixels")).await;
    assert_eq!(told, code(Code::DeadlineExceeded));
    let (told, _) = status(&fixture, request("/test/Nothing"), framed(b"")).await;
    assert_eq!(told, code(Code::Unimplemented));
    let mut found = refusals(&fixture).await;
    found.sort_by_key(|one| one.code);
    let told: Vec<_> = found.iter().map(|one| (one.method, one.code)).collect();
    assert_eq!(
        told,
        [
            (Some(0), Code::DeadlineExceeded as u32),
            (None, Code::Unimplemented as u32)
        ]
    );
}

#[tokio::test]
async fn connections_and_the_bytes_of_open_calls_are_told() {
    let fixture = start();
    assert_eq!(
        (
            fixture.server.connections(),
            fixture.server.bytes_in_flight()
        ),
        (0, 0)
    );
    let mut client = fixture.connect().await;
    let (response, _stream) = send(&mut client, request(ECHO), framed(b"pixels"));
    let Event::Opened(call) = fixture.event().await else {
        panic!()
    };
    assert_eq!(fixture.server.connections(), 1);
    assert!(fixture.server.bytes_in_flight() >= b"pixels".len());
    assert!(call.peer().starts_with("ipv4:127.0.0.1:"));
    assert_eq!(call.header("te"), Some("trailers"));
    assert_eq!(call.header("traceparent"), None);
    drop(response);
}
