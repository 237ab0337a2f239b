//! The fields of a protobuf message, one after the other, and how to write them.

use std::ops::Range;

const MOST_BYTES: usize = 10; // of a varint

/// What a field holds.
pub(crate) enum Content {
    Number(u64),
    /// Where in the message its bytes are.
    Bytes(Range<usize>),
}

/// Iterates over the fields of a part of a message. It ends with a `None` if a field is malformed,
/// or of a kind that no plain request has.
pub(crate) struct Fields<'a> {
    message: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(message: &'a [u8], part: Range<usize>) -> Self {
        Self {
            message,
            at: part.start,
            end: part.end,
        }
    }

    fn field(&mut self) -> Option<(u64, Content)> {
        let tag = self.varint()?;
        let content = match tag & 7 {
            0 => Content::Number(self.varint()?),
            2 => {
                let size = usize::try_from(self.varint()?).ok()?;
                let begin = self.at;
                self.at = begin.checked_add(size).filter(|end| *end <= self.end)?;
                Content::Bytes(begin..self.at)
            }
            _ => return None,
        };
        Some((tag >> 3, content))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for position in 0..MOST_BYTES {
            let byte = *self.message[..self.end].get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7F).checked_shl(7 * position as u32)?;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

impl Iterator for Fields<'_> {
    type Item = Option<(u64, Content)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.end {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.at = self.end;
        }
        Some(field)
    }
}

/// Reads the numbers of a packed field; `None` if there are too many.
pub(crate) fn packed(message: &[u8], part: Range<usize>, most: usize) -> Option<Vec<i64>> {
    let mut numbers = Vec::with_capacity(4);
    let mut fields = Fields::new(message, part);
    while fields.at < fields.end {
        if numbers.len() == most {
            return None;
        }
        numbers.push(fields.varint()? as i64);
    }
    Some(numbers)
}

/// The size of a varint.
pub(crate) fn varint_size(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

pub(crate) fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// Writes a field of bytes; nothing if it is empty and may be left out.
pub(crate) fn put_text(message: &mut Vec<u8>, number: u64, text: &str) {
    if !text.is_empty() {
        put_head(message, number, text.len());
        message.extend_from_slice(text.as_bytes());
    }
}

/// Writes what comes before the bytes of a field.
pub(crate) fn put_head(message: &mut Vec<u8>, number: u64, size: usize) {
    put_varint(message, number << 3 | 2);
    put_varint(message, size as u64);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(value: u64) {
            let mut message = Vec::new();
            put_varint(&mut message, value);
            prop_assert_eq!(message.len(), varint_size(value));
            let numbers = packed(&message, 0..message.len(), 1).unwrap();
            prop_assert_eq!(numbers, [value as i64]);
        }
    }

    #[test]
    fn a_number_without_end_is_malformed() {
        assert_eq!(packed(&[0xFF; 11], 0..11, 2), None);
        assert_eq!(packed(&[0x80], 0..1, 2), None);
    }
}
