//! Writes responses whose outputs are raw.

use crate::fields::{put_head, put_text, put_varint, varint_size};

/// An output and its values, as they go over the wire.
pub struct Output<'a> {
    pub name: &'a str,
    pub datatype: &'a str,
    pub shape: &'a [i64],
    pub raw: &'a [u8],
}

/// A ModelInferResponse.
pub struct Response<'a> {
    pub model_name: &'a str,
    pub model_version: &'a str,
    pub id: &'a str,
    pub outputs: Vec<Output<'a>>,
}

/// Writes a response behind what is in the buffer.
pub fn write(response: &Response, buffer: &mut Vec<u8>) {
    let raw: usize = response.outputs.iter().map(|output| output.raw.len()).sum();
    buffer.reserve(raw + 512);
    put_text(buffer, 1, response.model_name);
    put_text(buffer, 2, response.model_version);
    put_text(buffer, 3, response.id);
    for output in &response.outputs {
        let head = head(output);
        put_head(buffer, 5, head.len());
        buffer.extend_from_slice(&head);
    }
    for output in &response.outputs {
        put_head(buffer, 6, output.raw.len());
        buffer.extend_from_slice(output.raw);
    }
}

/// What is said of an output before its values.
fn head(output: &Output) -> Vec<u8> {
    let mut head = Vec::with_capacity(64);
    put_text(&mut head, 1, output.name);
    put_text(&mut head, 2, output.datatype);
    if !output.shape.is_empty() {
        put_head(
            &mut head,
            3,
            output
                .shape
                .iter()
                .map(|size| varint_size(*size as u64))
                .sum(),
        );
        for size in output.shape {
            put_varint(&mut head, *size as u64);
        }
    }
    head
}
