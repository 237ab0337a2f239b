//! What Python sees of the transport: a front, its calls, and their messages.

// Python's buffer protocol hands out addresses.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use crate::time_slice;
use bytes::Bytes;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use transport::{
    Event, Frame, Inbox, Incoming, Limits, Method, Receive, Road, Server, Status, Value, header,
};

type PlainInput<'py> = (&'py str, &'py str, Bound<'py, PyTuple>, usize, usize);
type PlainRequest<'py> = (
    &'py str,
    &'py str,
    &'py str,
    Vec<PlainInput<'py>>,
    Vec<&'py str>,
);
type PlainOutput<'py> = (PyBackedStr, PyBackedStr, Vec<i64>, Bound<'py, PyAny>);
type ServedMethod = (String, bool, bool, usize);
/// Method, code, how many, details, peer, to which trace the last belongs.
type Refusal = (Option<usize>, u32, u64, String, String, String);
type Trailing = Vec<(PyBackedStr, MetadataValue)>;

/// A value of metadata as Python has it.
#[derive(FromPyObject)]
pub enum MetadataValue {
    Text(PyBackedStr),
    Binary(PyBackedBytes),
}

/// The limits as Python has them; times are in milliseconds.
#[derive(FromPyObject)]
struct PyLimits {
    connections: usize,
    streams: u32,
    bytes_in_flight: usize,
    empty_frames: u32,
    min_ping_interval: u64,
    max_ping_strikes: u32,
    handshake_timeout: u64,
    connection_idle: u64,
    connection_age: u64,
    connection_age_grace: u64,
    keepalive_time: u64,
    keepalive_timeout: u64,
}

impl From<PyLimits> for Limits {
    fn from(limits: PyLimits) -> Self {
        Self {
            connections: limits.connections,
            streams: limits.streams,
            bytes_in_flight: limits.bytes_in_flight,
            empty_frames: limits.empty_frames,
            ping_interval: Duration::from_millis(limits.min_ping_interval),
            ping_strikes: limits.max_ping_strikes,
            handshake: Duration::from_millis(limits.handshake_timeout),
            idle: Duration::from_millis(limits.connection_idle),
            age: Duration::from_millis(limits.connection_age),
            age_grace: Duration::from_millis(limits.connection_age_grace),
            keepalive: Duration::from_millis(limits.keepalive_time),
            keepalive_timeout: Duration::from_millis(limits.keepalive_timeout),
        }
    }
}

/// The bytes of a message, which numpy and memoryview read where they are.
#[pyclass(frozen)]
pub struct Message(Bytes);

#[pymethods]
impl Message {
    /// Holds bytes as if they had come from a client.
    #[new]
    fn new(data: Vec<u8>) -> Self {
        Self(data.into())
    }

    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no view to fill"));
        }
        let (data, length) = (slf.get().0.as_ptr(), slf.get().0.len());
        // SAFETY: the bytes never move or change, and the view holds on to their owner.
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                data.cast_mut().cast(),
                length as ffi::Py_ssize_t,
                1,
                flags,
            )
        };
        if filled == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(slf.py()))
        }
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// Reads a ModelInferRequest without parameters: the model, its version, the id, the inputs
    /// (name, datatype, shape, where their bytes begin and end) and the names of the outputs that
    /// are asked for. None if it is no such request.
    fn plain_request<'py>(&'py self, py: Python<'py>) -> PyResult<Option<PlainRequest<'py>>> {
        let Some(read) = oip::read(&self.0) else {
            return Ok(None);
        };
        let input = |it: oip::Input<'py>| {
            let shape = PyTuple::new(py, it.shape)?;
            Ok((it.name, it.datatype, shape, it.raw.start, it.raw.end))
        };
        let inputs = read
            .inputs
            .into_iter()
            .map(input)
            .collect::<PyResult<_>>()?;
        Ok(Some((
            read.model_name,
            read.model_version,
            read.id,
            inputs,
            read.outputs,
        )))
    }
}

/// A call that a client has made.
#[pyclass(frozen)]
pub struct Call(Arc<transport::Call>);

#[pymethods]
impl Call {
    /// A number that no other call of this front has.
    #[getter]
    fn id(&self) -> u64 {
        self.0.id
    }

    /// The place of its method in the list that the front was made with.
    #[getter]
    fn method(&self) -> usize {
        self.0.method.index
    }

    /// Whether the client still waits for an answer.
    #[getter]
    fn waits(&self) -> bool {
        self.0.state() == Incoming::Waiting
    }

    /// Whether the client does not wait because the deadline has passed.
    #[getter]
    fn late(&self) -> bool {
        self.0.state() == Incoming::Late
    }

    /// How many bytes of a stream's answers the client has not taken yet.
    #[getter]
    fn unsent(&self) -> usize {
        self.0.unsent()
    }

    /// The value of a header; None if the client has not sent it, or not as text.
    fn header(&self, name: &str) -> Option<&str> {
        self.0.header(name)
    }

    /// Seconds until the deadline; None if there is none.
    fn remaining(&self) -> Option<f64> {
        self.0.remaining().map(|left| left.as_secs_f64())
    }

    /// What the client has sent along, as names and values; values of names in -bin are bytes.
    fn metadata(&self, py: Python<'_>) -> Vec<(String, Py<PyAny>)> {
        let value = |value| match value {
            Value::Text(text) => PyString::new(py, &text).into_any().unbind(),
            Value::Binary(bytes) => PyBytes::new(py, &bytes).into_any().unbind(),
        };
        self.0
            .metadata()
            .into_iter()
            .map(|(name, it)| (name, value(it)))
            .collect()
    }

    /// Where the client is, as gRPC writes it: `ipv4:127.0.0.1:50000`.
    fn peer(&self) -> String {
        self.0.peer()
    }

    /// The names in the client's certificate by their kind, as gRPC calls it.
    fn auth_context<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let found = PyDict::new(py);
        for (kind, names) in self.0.names() {
            let names: Vec<_> = names.iter().map(|name| PyBytes::new(py, name)).collect();
            found.set_item(kind, names)?;
        }
        Ok(found)
    }

    /// Takes the next message: (message, False), (None, False) if there is none yet, or
    /// (None, True) after the last.
    fn receive(&self) -> (Option<Message>, bool) {
        match self.0.receive() {
            Receive::Message(bytes) => (Some(Message(bytes)), false),
            Receive::NotYet => (None, false),
            Receive::End => (None, true),
        }
    }

    /// Sends a message of a stream; returns how many bytes the client has not taken yet.
    fn send(&self, message: &[u8]) -> usize {
        self.0.send(Frame::of(message))
    }

    /// Sends the only message, and ends the call well.
    fn reply(&self, message: &[u8], trailing: Trailing) -> PyResult<()> {
        self.0
            .reply(Frame::of(message), status(0, String::new(), trailing)?);
        Ok(())
    }

    /// Sends a ModelInferResponse, and ends the call well. An output is a name, a datatype, a shape
    /// and an array in C order, whose bytes go over the wire.
    fn reply_outputs(
        &self,
        model_name: &str,
        model_version: &str,
        id: &str,
        outputs: Vec<PlainOutput<'_>>,
        trailing: Trailing,
    ) -> PyResult<()> {
        let arrays = outputs
            .iter()
            .map(|(.., array)| PyUntypedBuffer::get(array));
        let arrays: Vec<_> = arrays.collect::<PyResult<_>>()?;
        let both = outputs.iter().zip(&arrays);
        let outputs = both.map(|((name, datatype, shape, _), array)| {
            Ok(oip::Output {
                name,
                datatype,
                shape,
                raw: bytes(array)?,
            })
        });
        let outputs = outputs.collect::<PyResult<_>>()?;
        let response = oip::Response {
            model_name,
            model_version,
            id,
            outputs,
        };
        let frame = Frame::written(|buffer| oip::write(&response, buffer));
        self.0.reply(frame, status(0, String::new(), trailing)?);
        Ok(())
    }

    /// Ends the call.
    fn end(&self, code: u32, details: String, trailing: Trailing) -> PyResult<()> {
        self.0.end(status(code, details, trailing)?);
        Ok(())
    }
}

/// What connections are opened with.
#[pyclass(frozen)]
pub struct Tls(transport::Tls);

#[pymethods]
impl Tls {
    /// Makes it of PEM: a certificate with those that issued it, its key, and the authorities that
    /// clients have their certificates of; without these, clients need none.
    #[new]
    fn new(certificate: &[u8], key: &[u8], roots: Option<&[u8]>) -> PyResult<Self> {
        let made = transport::Tls::new(certificate, key, roots);
        made.map(Self)
            .map_err(|error| PyValueError::new_err(error.to_string()))
    }
}

/// What a front tells the event loop of a call.
#[derive(IntoPyObject)]
enum Told {
    Call(Call),
    Notice(String),
}

// What threads that compute get, and the thread of the network.
const LONG: Duration = Duration::from_millis(10);
const SHORT: Duration = Duration::from_micros(100);

/// Lets a front's own thread interrupt this thread, and those that it starts later.
#[pyfunction]
pub fn yield_to_network() {
    time_slice::set(LONG);
}

/// A server of gRPC calls that Python answers.
#[pyclass(frozen)]
pub struct Front {
    inbox: Arc<Inbox>,
    server: Server,
}

#[pymethods]
impl Front {
    /// Starts to serve.
    ///
    /// `sockets` are descriptors of sockets that listen, which this front owns from now on;
    /// `methods` are paths, whether their requests are streams, whether threads take them instead
    /// of the event loop, and the limit of a message in bytes; without `tls` connections are plain.
    #[new]
    fn new(
        sockets: Vec<RawFd>,
        methods: Vec<ServedMethod>,
        limits: PyLimits,
        tls: Option<&Tls>,
    ) -> PyResult<Self> {
        let inbox = Arc::new(Inbox::new()?);
        let server = Server::start(
            sockets.into_iter().map(listener).collect(),
            methods.into_iter().enumerate().map(method).collect(),
            limits.into(),
            inbox.clone(),
            tls.map(|tls| tls.0.clone()),
            || time_slice::set(SHORT),
        )?;
        Ok(Self { inbox, server })
    }

    /// A file descriptor that can be read while there are events.
    fn fileno(&self) -> RawFd {
        self.inbox.descriptor()
    }

    /// Opens connections with other certificates from now on, if they are not plain.
    fn renew(&self, tls: &Tls) {
        self.server.renew(tls.0.clone());
    }

    /// The events since it was last asked: a number and its call if that is new, or None if the
    /// call has changed; or 0 and a line for the log.
    fn events(&self) -> Vec<(u64, Option<Told>)> {
        let told = |event| match event {
            Event::Opened(call) => (call.id, Some(Told::Call(Call(call)))),
            Event::Changed(id) => (id, None),
            Event::Notice(line) => (0, Some(Told::Notice(line))),
        };
        self.inbox.events().into_iter().map(told).collect()
    }

    /// The calls that were ended without Python's help since it was last asked, by method and
    /// code; to be asked after `events`.
    fn refusals(&self) -> Vec<Refusal> {
        let told = |it: transport::Refused| {
            let peer = transport::uri(it.peer);
            (
                it.method,
                it.code,
                it.count,
                it.details,
                peer,
                it.traceparent,
            )
        };
        self.inbox.refusals().into_iter().map(told).collect()
    }

    /// How many bytes of requests and answers are held for clients.
    #[getter]
    fn bytes_in_flight(&self) -> usize {
        self.server.bytes_in_flight()
    }

    /// How many connections there are.
    #[getter]
    fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Waits for a call that threads answer; returns it, and how many threads still wait. None
    /// once the front has stopped.
    fn take(&self, py: Python<'_>) -> Option<(Call, usize)> {
        py.detach(|| self.inbox.take())
            .map(|(call, waiting)| (Call(call), waiting))
    }

    /// Takes no more connections; those that are open go on.
    fn close(&self) {
        self.server.close();
    }

    /// Takes no more calls, waits for those that are open, but no longer than the grace, in
    /// seconds, and ends.
    fn stop(&self, py: Python<'_>, grace: f64) -> PyResult<()> {
        let grace = Duration::try_from_secs_f64(grace)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        py.detach(|| self.server.stop(grace));
        Ok(())
    }
}

fn bytes(array: &PyUntypedBuffer) -> PyResult<&[u8]> {
    if array.len_bytes() == 0 {
        return Ok(&[]);
    }
    if !array.is_c_contiguous() {
        return Err(PyBufferError::new_err("an array is not in C order"));
    }
    // SAFETY: the buffer is held while the bytes are read, and nobody writes to a model's answer.
    Ok(unsafe { std::slice::from_raw_parts(array.buf_ptr().cast(), array.len_bytes()) })
}

fn method(
    (index, (path, streaming, threads, most_received)): (usize, ServedMethod),
) -> (String, Method) {
    let road = if threads { Road::Threads } else { Road::Loop };
    let method = Method {
        index,
        streaming,
        road,
        most_received,
    };
    (path, method)
}

fn listener(descriptor: RawFd) -> TcpListener {
    // SAFETY: Python has given the descriptor away.
    TcpListener::from(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn status(code: u32, details: String, trailing: Trailing) -> PyResult<Status> {
    let headers = trailing.iter().map(|(name, value)| {
        let bytes = match value {
            MetadataValue::Text(text) => text.as_bytes(),
            MetadataValue::Binary(bytes) => bytes,
        };
        let wrong = || PyValueError::new_err(format!("{name}: no name or value of metadata"));
        header(name, bytes).ok_or_else(wrong)
    });
    Ok(Status {
        code,
        details,
        trailing: headers.collect::<PyResult<_>>()?,
    })
}
