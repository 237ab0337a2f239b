//! One HTTP/2 connection and its calls, from the first frame to the last.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{timeout, timeout_at};

use crate::body::{Broken, Messages, Terms};
use crate::call::{Call, Incoming, Outgoing};
use crate::compression::ACCEPTED;
use crate::conduct::Watched;
use crate::headers::{self, Opening, Refusal};
use crate::inbox::Event;
use crate::lifetime;
use crate::limits::Limits;
use crate::peer::{Open, Peer};
use crate::server::{Method, Road, Shared};
use crate::status::{Code, Status};
use crate::who::Who;

// A picture of 150 KB comes in one frame, and several pictures are on their way at once.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const FRAME: u32 = 1 << 18;
// What gRPC's own servers accept.
const HEADERS: u32 = 16 << 10;
const SEND_BUFFER: usize = 1 << 20;
// Says to which trace a call belongs; <https://www.w3.org/TR/trace-context/>.
const TRACE: &str = "traceparent";
// The time that a client which broke a rule has to hear of it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves a connection until the client closes it, breaks a rule or is lost, or its time is over.
///
/// The client has to have said by then that it speaks HTTP/2.
pub(crate) async fn serve<T>(io: T, who: Who, shared: Arc<Shared>, by: Instant)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (peer, limits) = (Peer::new(shared.clone(), who), &shared.limits);
    let watched = Watched::new(io, peer.conduct.clone(), limits);
    let Ok(Ok(mut connection)) = timeout_at(by.into(), shake(watched, limits)).await else {
        return;
    };
    let pings = connection.ping_pong().expect("nobody else takes it");
    let grace = tokio::select! {
        () = take(&mut connection, &peer) => return,
        () = lifetime::lost(pings, limits) => return,
        grace = lifetime::over(&peer) => grace,
    };
    connection.graceful_shutdown();
    // What is open after that is cancelled with the connection.
    let _ = timeout(grace, take(&mut connection, &peer)).await;
}

async fn shake<T>(io: T, limits: &Limits) -> Result<Connection<T, Bytes>, h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(HEADERS)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_streams(limits.streams)
        // What is reset early is counted by `Watched`, as all resets are.
        .max_pending_accept_reset_streams(limits.empty_frames as usize);
    builder.handshake(io).await
}

/// Takes calls until the connection ends, or the client breaks a rule.
async fn take<T>(connection: &mut Connection<T, Bytes>, peer: &Arc<Peer>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        tokio::select! {
            next = connection.accept() => match next {
                Some(Ok((request, respond))) => {
                    tokio::spawn(answer(request, respond, peer.opened()));
                }
                _ => return,
            },
            () = peer.conduct.broken() => {
                connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                let closed = poll_fn(|context| connection.poll_closed(context));
                let _ = timeout(LAST_WORDS, closed).await;
                return;
            }
        }
    }
}

/// Answers one request.
async fn answer(request: Request<RecvStream>, respond: SendResponse<Bytes>, open: Open) {
    let peer = &open.0;
    let mut writer = Writer::new(respond, peer.clone());
    let method = peer.shared.methods.get(request.uri().path());
    let refused = match (headers::read(&request), method) {
        (Ok(opening), Some(method)) => return run(request, opening, *method, writer, peer).await,
        (Err(Refusal::Http(code)), _) => return writer.refuse(code),
        (Err(Refusal::Grpc(status)), _) => status,
        (Ok(_), None) => Status::new(Code::Unimplemented, "Method not found!"),
    };
    let trace = headers::text(request.headers(), TRACE).unwrap_or_default();
    let method = method.map(|method| method.index);
    peer.shared
        .inbox
        .refuse(method, &refused, peer.who.address, trace);
    writer.end(refused);
}

async fn run(
    request: Request<RecvStream>,
    opening: Opening,
    method: Method,
    mut writer: Writer,
    peer: &Arc<Peer>,
) {
    let shared = &peer.shared;
    let (parts, body) = request.into_parts();
    let deadline = opening
        .timeout
        .and_then(|timeout| Instant::now().checked_add(timeout));
    let (outgoing, answers) = unbounded_channel();
    let call = Arc::new(Call::new(
        shared.next_id(),
        method,
        parts.headers,
        deadline,
        outgoing,
        peer,
    ));
    let terms = Terms {
        encoding: opening.encoding,
        most: method.most_received,
        budget: peer.budget.clone(),
        unpacking: peer.unpacking.clone(),
    };
    let messages = Messages::new(body, terms);
    let working = work(&call, messages, answers, &mut writer, peer);
    match until(deadline, working).await {
        Some(Ok(())) => {}
        Some(Err(Broken::Wrong(status))) => {
            call.leave(Incoming::Cancelled);
            refuse(&call, status, &mut writer);
        }
        Some(Err(Broken::Gone)) => call.leave(Incoming::Cancelled),
        None => {
            call.leave(Incoming::Late);
            let late = Status::new(Code::DeadlineExceeded, "Deadline Exceeded");
            refuse(&call, late, &mut writer);
        }
    }
    if call.state() != Incoming::Waiting || method.streaming {
        shared.inbox.tell(Event::Changed(call.id));
    }
}

/// Ends a call without those who answer it.
fn refuse(call: &Call, status: Status, writer: &mut Writer) {
    let trace = call.header(TRACE).unwrap_or_default();
    let inbox = &writer.peer.shared.inbox;
    inbox.refuse(Some(call.method.index), &status, call.address(), trace);
    writer.end(status);
}

/// Reads the request, hands the call over, and writes what comes back.
async fn work(
    call: &Arc<Call>,
    mut messages: Messages<RecvStream>,
    answers: UnboundedReceiver<Outgoing>,
    writer: &mut Writer,
    peer: &Peer,
) -> Result<(), Broken> {
    let shared = &peer.shared;
    if !call.method.streaming {
        only(call, &mut messages).await?;
        hand_over(call, shared);
        return write(call, answers, writer, shared).await;
    }
    hand_over(call, shared);
    tokio::select! {
        written = write(call, answers, writer, shared) => written,
        Err(broken) = read(call, messages, peer) => Err(broken),
    }
}

fn hand_over(call: &Arc<Call>, shared: &Shared) {
    match call.method.road {
        Road::Loop => shared.inbox.tell(Event::Opened(call.clone())),
        Road::Threads => shared.inbox.queue(call.clone()),
    }
}

/// Reads the message of a request that has one.
async fn only(call: &Call, messages: &mut Messages<RecvStream>) -> Result<(), Broken> {
    let one = |found| {
        Status::new(
            Code::Unimplemented,
            format!("{found}, expected one message"),
        )
    };
    let message = messages.next().await?;
    call.push(message.ok_or_else(|| Broken::Wrong(one("the request is empty")))?);
    match messages.next().await? {
        None => Ok(()),
        Some(_) => Err(Broken::Wrong(one("the request has several messages"))),
    }
}

/// Reads the messages of a stream, then waits without end.
async fn read(call: &Call, mut messages: Messages<RecvStream>, peer: &Peer) -> Result<(), Broken> {
    while let Some(message) = messages.next().await? {
        call.push(message);
        peer.shared.inbox.tell(Event::Changed(call.id));
        call.has_room().await;
        peer.budget.room().await;
    }
    call.close();
    peer.shared.inbox.tell(Event::Changed(call.id));
    std::future::pending().await
}

/// Writes what comes back, until the end or until the client leaves.
async fn write(
    call: &Call,
    mut answers: UnboundedReceiver<Outgoing>,
    writer: &mut Writer,
    shared: &Shared,
) -> Result<(), Broken> {
    loop {
        let next = tokio::select! {
            biased;
            next = answers.recv() => next,
            () = writer.reset() => return Err(Broken::Gone),
        };
        match next {
            Some(Outgoing::Message(frame)) => {
                let size = frame.len();
                writer.message(frame).await?;
                call.sent(size);
                shared.inbox.tell(Event::Changed(call.id));
            }
            Some(Outgoing::Reply(frame, status)) => {
                writer.message(frame).await?;
                writer.end(status);
                return Ok(());
            }
            Some(Outgoing::End(status)) => {
                writer.end(status);
                return Ok(());
            }
            Some(Outgoing::Refused(status)) => {
                refuse(call, status, writer);
                return Ok(());
            }
            None => return Err(Broken::Gone),
        }
    }
}

/// Waits for a future until the deadline; `None` if that passes first.
async fn until<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(end) => tokio::time::timeout_at(end.into(), future).await.ok(),
        None => Some(future.await),
    }
}

/// Writes the response of one call: headers once, messages, trailers.
struct Writer {
    respond: SendResponse<Bytes>,
    peer: Arc<Peer>,
    body: Option<SendStream<Bytes>>,
    over: bool,
}

impl Writer {
    fn new(respond: SendResponse<Bytes>, peer: Arc<Peer>) -> Self {
        Self {
            respond,
            peer,
            body: None,
            over: false,
        }
    }

    /// Writes a message, as fast as the client takes it.
    async fn message(&mut self, mut frame: Bytes) -> Result<(), Broken> {
        self.peer.conduct.answered();
        if self.body.is_none() {
            let sent = self.respond.send_response(head(StatusCode::OK), false);
            self.body = Some(sent.map_err(|_| Broken::Gone)?);
        }
        let body = self.body.as_mut().expect("it has just been made");
        while !frame.is_empty() {
            body.reserve_capacity(frame.len());
            if body.capacity() == 0 {
                let more = poll_fn(|context| body.poll_capacity(context)).await;
                more.and_then(Result::ok).ok_or(Broken::Gone)?;
            }
            let part = frame.split_to(body.capacity().min(frame.len()));
            body.send_data(part, false).map_err(|_| Broken::Gone)?;
        }
        Ok(())
    }

    /// Ends the call. Errors are of no interest: the client has left.
    fn end(&mut self, status: Status) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.peer.conduct.answered();
        if let Some(body) = &mut self.body {
            let mut trailers = HeaderMap::with_capacity(4);
            status.write(&mut trailers);
            let _ = body.send_trailers(trailers);
        } else {
            let mut response = head(StatusCode::OK);
            status.write(response.headers_mut());
            let _ = self.respond.send_response(response, true);
        }
    }

    /// Answers a request that is no gRPC.
    fn refuse(&mut self, code: StatusCode) {
        let mut response = Response::new(());
        *response.status_mut() = code;
        let _ = self.respond.send_response(response, true);
    }

    /// Waits until the client resets the stream, or the connection is lost.
    async fn reset(&mut self) {
        let _: Result<Reason, h2::Error> = match &mut self.body {
            Some(body) => poll_fn(|context| body.poll_reset(context)).await,
            None => poll_fn(|context| self.respond.poll_reset(context)).await,
        };
    }
}

fn head(code: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static(ACCEPTED));
    response
}
