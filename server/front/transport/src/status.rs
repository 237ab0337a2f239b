//! How a call ends: a code, a text and trailing metadata, and how HTTP/2 carries them.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The codes that this crate gives by itself; <https://grpc.github.io/grpc/core/md_doc_statuscodes.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
}

/// How a call ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub code: u32,
    pub details: String,
    pub trailing: Vec<(HeaderName, HeaderValue)>,
}

impl Status {
    pub fn new(code: Code, details: impl Into<String>) -> Self {
        Self {
            code: code as u32,
            details: details.into(),
            trailing: Vec::new(),
        }
    }

    /// Writes the status as trailers, onto what is there already.
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        headers.insert("grpc-status", HeaderValue::from(self.code));
        if !self.details.is_empty() {
            let text = percent_encoded(&self.details);
            headers.insert("grpc-message", HeaderValue::try_from(text).expect("ASCII"));
        }
        for (name, value) in self.trailing {
            headers.append(name, value);
        }
    }
}

/// Encodes a text as gRPC wants it: bytes outside of space to `~`, and `%`, become `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(byte as char),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_ascii_on_the_wire() {
        assert_eq!(
            percent_encoded("50 % größer\n"),
            "50 %25 gr%C3%B6%C3%9Fer%0A"
        );
    }
}
