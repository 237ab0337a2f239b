//! What the headers of a request say before its body is read.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request, StatusCode};

use crate::compression::Encoding;
use crate::status::{Code, Status};

const GRPC: &str = "application/grpc";
const MOST_DIGITS: usize = 8;

/// What is known of a call once its headers are there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    pub timeout: Option<Duration>,
    pub encoding: Encoding,
}

/// Why a request is not even begun.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is no gRPC, so the answer is HTTP's.
    Http(StatusCode),
    Grpc(Status),
}

/// Reads the headers of a request.
pub(crate) fn read<T>(request: &Request<T>) -> Result<Opening, Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::Http(StatusCode::METHOD_NOT_ALLOWED));
    }
    let headers = request.headers();
    if !text(headers, CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with(GRPC)) {
        return Err(Refusal::Http(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    Ok(Opening {
        timeout: timeout(headers)?,
        encoding: encoding(headers)?,
    })
}

fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let Some(value) = headers.get("grpc-timeout") else {
        return Ok(None);
    };
    let parsed = value.to_str().ok().and_then(parse_timeout);
    let wrong = || {
        let details = format!("grpc-timeout is {value:?}, expected up to 8 digits and a unit");
        Refusal::Grpc(Status::new(Code::InvalidArgument, details))
    };
    parsed.ok_or_else(wrong).map(Some)
}

/// Reads `grpc-timeout`: up to eight digits and a unit.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > MOST_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, Refusal> {
    let name = text(headers, "grpc-encoding").unwrap_or("identity");
    Encoding::named(name).ok_or_else(|| {
        let details = format!("grpc-encoding {name:?} is not supported, expected gzip or deflate");
        Refusal::Grpc(Status::new(Code::Unimplemented, details))
    })
}

/// Returns the first value of a header, if it is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_unit_of_a_timeout_is_known() {
        assert_eq!(parse_timeout("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(
            parse_timeout("99999999n"),
            Some(Duration::from_nanos(99_999_999))
        );
        for wrong in ["", "S", "5", "123456789S", "-1S", "+1S", "1s", "1é"] {
            assert_eq!(parse_timeout(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_timeout_is_a_panic(text in "\\PC{0,12}") {
            parse_timeout(&text);
        }
    }
}
