//! One HTTP/2 connection and its calls, from the first frame to the last.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::body::{Broken, Messages};
use crate::call::{Call, Incoming, Outgoing};
use crate::compression::ACCEPTED;
use crate::headers::{self, Opening, Refusal};
use crate::inbox::Event;
use crate::server::{Method, Road, Shared};
use crate::status::{Code, Status};

// A picture of 150 KB comes in one frame, and several pictures are on their way at once.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
const FRAME: u32 = 1 << 18;
// What gRPC's own servers accept.
const HEADERS: u32 = 16 << 10;
const SEND_BUFFER: usize = 1 << 20;

/// Serves a connection until the client closes it, or the server stops.
pub(crate) async fn serve<T>(io: T, shared: Arc<Shared>)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let _counted = shared.count();
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_header_list_size(HEADERS)
        .max_send_buffer_size(SEND_BUFFER);
    let Ok(mut connection) = builder.handshake(io).await else {
        return;
    };
    let mut stopping = false;
    loop {
        tokio::select! {
            next = connection.accept() => match next {
                Some(Ok((request, respond))) => {
                    tokio::spawn(answer(request, respond, shared.clone()));
                }
                _ => return,
            },
            () = shared.stopping(), if !stopping => {
                stopping = true;
                connection.graceful_shutdown();
            }
        }
    }
}

/// Answers one request.
async fn answer(request: Request<RecvStream>, respond: SendResponse<Bytes>, shared: Arc<Shared>) {
    let mut writer = Writer::new(respond);
    let opening = match headers::read(&request) {
        Ok(opening) => opening,
        Err(Refusal::Http(code)) => return writer.refuse(code),
        Err(Refusal::Grpc(status)) => return writer.end(status),
    };
    match shared.methods.get(request.uri().path()) {
        Some(method) => run(request, opening, *method, writer, shared.clone()).await,
        None => writer.end(Status::new(Code::Unimplemented, "Method not found!")),
    }
}

async fn run(
    request: Request<RecvStream>,
    opening: Opening,
    method: Method,
    mut writer: Writer,
    shared: Arc<Shared>,
) {
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
    ));
    let messages = Messages::new(body, opening.encoding, shared.options.most_received);
    let working = work(&call, messages, answers, &mut writer, &shared);
    match until(deadline, working).await {
        Some(Ok(())) => {}
        Some(Err(Broken::Wrong(status))) => {
            call.leave(Incoming::Cancelled);
            writer.end(status);
        }
        Some(Err(Broken::Gone)) => call.leave(Incoming::Cancelled),
        None => {
            call.leave(Incoming::Late);
            writer.end(Status::new(Code::DeadlineExceeded, "Deadline Exceeded"));
        }
    }
    if call.state() != Incoming::Waiting || method.streaming {
        shared.inbox.tell(Event::Changed(call.id));
    }
}

/// Reads the request, hands the call over, and writes what comes back.
async fn work(
    call: &Arc<Call>,
    mut messages: Messages<RecvStream>,
    answers: UnboundedReceiver<Outgoing>,
    writer: &mut Writer,
    shared: &Shared,
) -> Result<(), Broken> {
    if !call.method.streaming {
        only(call, &mut messages).await?;
        hand_over(call, shared);
        return write(call, answers, writer, shared).await;
    }
    hand_over(call, shared);
    tokio::select! {
        written = write(call, answers, writer, shared) => written,
        Err(broken) = read(call, messages, shared) => Err(broken),
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
async fn read(
    call: &Call,
    mut messages: Messages<RecvStream>,
    shared: &Shared,
) -> Result<(), Broken> {
    while let Some(message) = messages.next().await? {
        call.push(message);
        shared.inbox.tell(Event::Changed(call.id));
        call.has_room().await;
    }
    call.close();
    shared.inbox.tell(Event::Changed(call.id));
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
    body: Option<SendStream<Bytes>>,
    over: bool,
}

impl Writer {
    fn new(respond: SendResponse<Bytes>) -> Self {
        Self {
            respond,
            body: None,
            over: false,
        }
    }

    /// Writes a message, as fast as the client takes it.
    async fn message(&mut self, mut frame: Bytes) -> Result<(), Broken> {
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
