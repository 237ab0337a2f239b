//! Metadata of a call, as headers carry it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::{HeaderMap, HeaderName, HeaderValue};

const BINARY: &str = "-bin";
// Headers that belong to the transport.
const OWN: [&str; 5] = [
    "content-type",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "te",
];
// Senders may leave the padding out, so readers must not insist on it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A value of metadata: text, or bytes if its name ends in `-bin`.
#[derive(Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Binary(Vec<u8>),
}

/// Reads what a client has sent along, without the transport's own headers.
pub(crate) fn read(headers: &HeaderMap) -> Vec<(String, Value)> {
    let own = |name: &HeaderName| OWN.contains(&name.as_str());
    let mut read = Vec::new();
    for (name, value) in headers.iter().filter(|(name, _)| !own(name)) {
        if name.as_str().ends_with(BINARY) {
            let parts = value.as_bytes().split(|byte| *byte == b',');
            let decoded = parts.filter_map(|part| BASE64.decode(part.trim_ascii()).ok());
            read.extend(decoded.map(|bytes| (name.to_string(), Value::Binary(bytes))));
        } else {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            read.push((name.to_string(), Value::Text(text)));
        }
    }
    read
}

/// Makes a header of a name and a value; `None` if they cannot be one.
pub fn header(name: &str, value: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let key = HeaderName::try_from(name).ok()?;
    let value = if name.ends_with(BINARY) {
        HeaderValue::try_from(BASE64.encode(value)).ok()?
    } else {
        HeaderValue::from_bytes(value).ok()?
    };
    Some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_values_are_decoded_with_and_without_padding() {
        let mut headers = HeaderMap::new();
        headers.append("trace-bin", HeaderValue::from_static("AAE=,AAE"));
        headers.append("te", HeaderValue::from_static("trailers"));
        headers.append("user", HeaderValue::from_static("me"));
        let mut found = read(&headers);
        found.sort_by(|one, other| one.0.cmp(&other.0));
        let bytes = || ("trace-bin".to_string(), Value::Binary(vec![0, 1]));
        assert_eq!(
            found,
            [
                bytes(),
                bytes(),
                ("user".to_string(), Value::Text("me".to_string()))
            ]
        );
    }

    #[test]
    fn a_name_that_is_no_header_is_refused() {
        assert_eq!(header("with space", b"x"), None);
        assert!(header("server-timing", b"queue;dur=0.1").is_some());
    }
}
