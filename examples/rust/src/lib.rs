//! What the programs share: the generated code, and how to connect as in production.

use std::future::Future;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

/// The messages and the client of crossrun.v1.
#[allow(clippy::all)]
pub mod v1 {
    tonic::include_proto!("crossrun.v1");
}
/// The messages and the client of the Open Inference Protocol.
#[allow(clippy::all)]
pub mod inference {
    tonic::include_proto!("inference");
}

/// How long a connection may be silent before it is tested. The server counts pings that come in
/// less than five minutes as an attack, so no client may ask more often.
pub const KEEPALIVE: Duration = Duration::from_secs(300);

/// Answers of raw tensors are soon larger than the 4 MB that a client takes by default.
pub const LARGEST_ANSWER: usize = 64 << 20;

/// A channel that adds the token, if there is one, to every call.
pub type Connection = InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>;

/// Opens a connection: with TLS if CROSSRUN_ROOTS names the PEM file of an authority, and with a
/// token in every call if CROSSRUN_TOKEN is set.
pub fn connect(address: &str) -> Result<Connection, Status> {
    let roots = std::env::var("CROSSRUN_ROOTS").ok();
    if roots.is_none() && std::env::var("CROSSRUN_TOKEN").is_ok() {
        return Err(unusable(
            "CROSSRUN_TOKEN needs TLS: set CROSSRUN_ROOTS, too",
        ));
    }
    let scheme = if roots.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
        .map_err(unusable)?
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(Duration::from_secs(20));
    if let Some(file) = roots {
        let pem = std::fs::read(file).map_err(unusable)?;
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
        endpoint = endpoint.tls_config(tls).map_err(unusable)?;
    }
    Ok(InterceptedService::new(endpoint.connect_lazy(), with_token))
}

fn with_token(mut request: Request<()>) -> Result<Request<()>, Status> {
    if let Ok(token) = std::env::var("CROSSRUN_TOKEN") {
        let value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(unusable)?;
        request.metadata_mut().insert("authorization", value);
    }
    Ok(request)
}

/// The status of what went wrong on this side.
pub fn unusable(error: impl std::fmt::Display) -> Status {
    Status::invalid_argument(error.to_string())
}

/// Calls until the server is available, five times at most, and returns the number of attempts as
/// well. tonic reads no service config, so the retry policy is a loop.
pub async fn retried<T, F: Future<Output = Result<T, Status>>>(
    call: impl Fn() -> F,
) -> Result<(T, u32), Status> {
    let mut wait = Duration::from_millis(100);
    let mut attempts = 1;
    loop {
        match call().await {
            Err(status) if status.code() == Code::Unavailable && attempts < 5 => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(1));
                attempts += 1;
            }
            ended => return ended.map(|answer| (answer, attempts)),
        }
    }
}

/// A status code as the protocol spells it, such as NOT_FOUND.
pub fn spelt(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

/// Prints a failed call in one line and ends the program.
pub fn fail(status: &Status) -> ! {
    eprintln!("{}: {}", spelt(status.code()), status.message());
    std::process::exit(1)
}
