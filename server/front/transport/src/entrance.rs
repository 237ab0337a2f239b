//! What comes before HTTP/2: whether a client speaks TLS, and if it has to, its handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;
use tokio::time::timeout_at;

use crate::connection;
use crate::notices::Notice;
use crate::server::Shared;
use crate::tls::Tls;
use crate::who::Who;

// The kind of record that every client of TLS begins with; HTTP/2 begins with a letter.
const HANDSHAKE: u8 = 22;

/// Serves a connection, if it may come in.
pub(crate) async fn enter(stream: TcpStream, from: SocketAddr, shared: Arc<Shared>) {
    let Some(_counted) = shared.count() else {
        return;
    };
    let until = Instant::now() + shared.limits.handshake;
    let Ok(Ok(first)) = timeout_at(until.into(), first_byte(&stream)).await else {
        return;
    };
    match (shared.tls(), first == HANDSHAKE) {
        (None, false) => connection::serve(stream, Who::new(from), shared.clone(), until).await,
        (Some(tls), true) => encrypted(stream, from, tls, shared.clone(), until).await,
        (None, true) => shared.notices.tell(Notice::Encrypted, from),
        (Some(_), false) => shared.notices.tell(Notice::Plain, from),
    }
}

/// Waits for the first byte of a client, and leaves it where it is.
async fn first_byte(stream: &TcpStream) -> io::Result<u8> {
    let mut first = [0];
    match stream.peek(&mut first).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(first[0]),
    }
}

async fn encrypted(
    stream: TcpStream,
    from: SocketAddr,
    tls: Tls,
    shared: Arc<Shared>,
    until: Instant,
) {
    match timeout_at(until.into(), tls.accept(stream)).await {
        Ok(Ok((stream, names))) => {
            let who = Who {
                address: from,
                names,
            };
            connection::serve(stream, who, shared, until).await;
        }
        Ok(Err(error)) => shared.notices.tell(Notice::Refused(error), from),
        Err(_) => {}
    }
}
