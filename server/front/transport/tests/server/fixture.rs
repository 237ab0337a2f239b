//! A server with a method of each kind, and a client that can be wrong.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use tokio::net::TcpStream;
use transport::{Call, Code, Event, Inbox, Limits, Method as Served, Road, Server};

pub const LIMIT: usize = 1 << 20;
pub const ECHO: &str = "/test/Echo";
pub const STREAM: &str = "/test/Stream";
pub const THREAD: &str = "/test/Thread";

const LONG: Duration = Duration::from_secs(3600);
pub const LIMITS: Limits = Limits {
    connections: 100,
    streams: 100,
    bytes_in_flight: 4 * LIMIT,
    empty_frames: 1000,
    ping_interval: LONG,
    ping_strikes: 2,
    handshake: LONG,
    idle: LONG,
    age: LONG,
    age_grace: LONG,
    keepalive: LONG,
    keepalive_timeout: LONG,
};

pub struct Fixture {
    pub server: Server,
    pub inbox: Arc<Inbox>,
    pub address: SocketAddr,
    events: Mutex<VecDeque<Event>>,
}

pub fn start() -> Fixture {
    start_with(LIMITS)
}

pub fn start_with(limits: Limits) -> Fixture {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let inbox = Arc::new(Inbox::new().unwrap());
    let kinds = [
        (ECHO, false, Road::Loop),
        (STREAM, true, Road::Loop),
        (THREAD, false, Road::Threads),
    ];
    let methods = kinds
        .into_iter()
        .enumerate()
        .map(|(index, (path, streaming, road))| {
            (
                path.to_string(),
                Served {
                    index,
                    streaming,
                    road,
                    most_received: LIMIT,
                },
            )
        });
    let server = Server::start(
        vec![listener],
        methods.collect(),
        limits,
        inbox.clone(),
        None,
        || (),
    )
    .unwrap();
    Fixture {
        server,
        inbox,
        address,
        events: Mutex::default(),
    }
}

impl Fixture {
    /// Waits for the next event.
    pub async fn event(&self) -> Event {
        loop {
            self.events.lock().unwrap().extend(self.inbox.events());
            if let Some(event) = self.events.lock().unwrap().pop_front() {
                return event;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits for a call that the event loop answers.
    pub async fn opened(&self) -> Arc<Call> {
        match self.event().await {
            Event::Opened(call) => call,
            Event::Changed(id) => panic!("call {id} has changed, expected a new one"),
            Event::Notice(line) => panic!("{line}, expected a call"),
        }
    }

    pub async fn connect(&self) -> SendRequest<Bytes> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        client.ready().await.unwrap()
    }
}

pub fn request(path: &str) -> Request<()> {
    let uri = format!("http://localhost{path}");
    let request = Request::builder().method(Method::POST).uri(uri);
    request
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

pub fn framed(message: &[u8]) -> Bytes {
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame.into()
}

/// Begins a call and sends a body, whole.
pub fn send(
    client: &mut SendRequest<Bytes>,
    request: Request<()>,
    body: Bytes,
) -> (ResponseFuture, SendStream<Bytes>) {
    let (response, mut stream) = client.send_request(request, false).unwrap();
    stream.send_data(body, true).unwrap();
    (response, stream)
}

/// What comes back of a response: its messages as bytes, and its trailers or only headers.
pub async fn read(response: Response<RecvStream>) -> (Vec<u8>, HeaderMap) {
    let (parts, mut body) = response.into_parts();
    let mut data = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        data.extend_from_slice(&chunk);
    }
    let trailers = body.trailers().await.unwrap();
    (data, trailers.unwrap_or(parts.headers))
}

/// How a call with this request and body ends.
pub async fn status(fixture: &Fixture, request: Request<()>, body: Bytes) -> (String, String) {
    let (response, _stream) = send(&mut fixture.connect().await, request, body);
    let (_, trailers) = read(response.await.unwrap()).await;
    let text = |name| {
        trailers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
            .to_string()
    };
    (text("grpc-status"), text("grpc-message"))
}

pub fn code(code: Code) -> String {
    (code as u32).to_string()
}
