//! Reads plain requests.

use std::ops::Range;
use std::str::from_utf8;

use crate::fields::{Content, Fields, packed};

// Of each of inputs, outputs and sizes of a shape, so that no message costs more than its bytes.
const MOST: usize = 64;

/// An input whose values are raw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input<'a> {
    pub name: &'a str,
    pub datatype: &'a str,
    pub shape: Vec<i64>,
    /// Where in the message its values are.
    pub raw: Range<usize>,
}

/// A request that has no parameters anywhere.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    pub model_name: &'a str,
    pub model_version: &'a str,
    pub id: &'a str,
    pub inputs: Vec<Input<'a>>,
    /// The names of the outputs that it asks for.
    pub outputs: Vec<&'a str>,
}

/// Reads a ModelInferRequest; `None` if it is not plain, or malformed.
pub fn read(message: &[u8]) -> Option<Request<'_>> {
    let mut request = Request::default();
    let mut raw = Vec::with_capacity(1);
    for field in Fields::new(message, 0..message.len()) {
        let (number, Content::Bytes(part)) = field? else {
            return None;
        };
        match number {
            1 => request.model_name = text(message, part)?,
            2 => request.model_version = text(message, part)?,
            3 => request.id = text(message, part)?,
            5 if request.inputs.len() < MOST => request.inputs.push(input(message, part)?),
            6 if request.outputs.len() < MOST => request.outputs.push(output(message, part)?),
            7 if raw.len() < MOST => raw.push(part),
            _ => return None,
        }
    }
    if raw.len() != request.inputs.len() {
        return None;
    }
    for (input, part) in request.inputs.iter_mut().zip(raw) {
        input.raw = part;
    }
    unique(&request).then_some(request)
}

fn input(message: &[u8], part: Range<usize>) -> Option<Input<'_>> {
    let mut input = Input::default();
    for field in Fields::new(message, part) {
        match field? {
            (1, Content::Bytes(part)) => input.name = text(message, part)?,
            (2, Content::Bytes(part)) => input.datatype = text(message, part)?,
            (3, Content::Bytes(part)) => input.shape.extend(packed(message, part, MOST)?),
            (3, Content::Number(size)) => input.shape.push(size as i64),
            _ => return None,
        }
        if input.shape.len() > MOST {
            return None;
        }
    }
    Some(input)
}

fn output(message: &[u8], part: Range<usize>) -> Option<&str> {
    let mut name = "";
    for field in Fields::new(message, part) {
        match field? {
            (1, Content::Bytes(part)) => name = text(message, part)?,
            _ => return None,
        }
    }
    Some(name)
}

fn text(message: &[u8], part: Range<usize>) -> Option<&str> {
    from_utf8(&message[part]).ok()
}

/// Whether no input and no output is named twice; who does so is told by others.
fn unique(request: &Request) -> bool {
    let twice = |names: &[&str]| (1..names.len()).any(|end| names[..end].contains(&names[end]));
    let inputs: Vec<&str> = request.inputs.iter().map(|input| input.name).collect();
    !twice(&inputs) && !twice(&request.outputs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::{put_head, put_text, put_varint};
    use proptest::prelude::*;

    fn input(name: &str, shape: &[i64], packed: bool) -> Vec<u8> {
        let mut input = Vec::new();
        put_text(&mut input, 1, name);
        put_text(&mut input, 2, "UINT8");
        if packed {
            let mut sizes = Vec::new();
            shape
                .iter()
                .for_each(|size| put_varint(&mut sizes, *size as u64));
            put_head(&mut input, 3, sizes.len());
            input.extend(sizes);
        } else {
            for size in shape {
                put_varint(&mut input, 3 << 3);
                put_varint(&mut input, *size as u64);
            }
        }
        input
    }

    fn message(inputs: &[Vec<u8>], raw: &[Vec<u8>]) -> Vec<u8> {
        let mut message = Vec::new();
        put_text(&mut message, 1, "model");
        for (number, parts) in [(5, inputs), (7, raw)] {
            for part in parts {
                put_head(&mut message, number, part.len());
                message.extend(part);
            }
        }
        message
    }

    #[test]
    fn what_holds_too_much_is_not_plain() {
        let named = |number| input(&format!("x{number}"), &[1], true);
        let plain = |count| {
            message(
                &(0..count).map(named).collect::<Vec<_>>(),
                &vec![vec![1]; count],
            )
        };
        assert!(read(&plain(MOST)).is_some());
        assert_eq!(read(&plain(MOST + 1)), None);
        let mut asking = plain(1);
        for number in 0..=MOST {
            let mut output = Vec::new();
            put_text(&mut output, 1, &format!("y{number}"));
            put_head(&mut asking, 6, output.len());
            asking.extend(output);
        }
        assert_eq!(read(&asking), None);
        for packed in [true, false] {
            let deep = input("x", &[1; MOST + 1], packed);
            assert_eq!(read(&message(&[deep], &[vec![1]])), None);
        }
    }

    proptest! {
        #[test]
        fn tensors_are_found_where_they_lie(
            raw in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..5),
            shape in prop::collection::vec(any::<i64>(), 0..5),
            packed: bool,
        ) {
            let names: Vec<String> = (0..raw.len()).map(|number| format!("x{number}")).collect();
            let inputs: Vec<_> = names.iter().map(|name| input(name, &shape, packed)).collect();
            let message = message(&inputs, &raw);
            let request = read(&message).unwrap();
            prop_assert_eq!(request.model_name, "model");
            for ((input, name), raw) in request.inputs.iter().zip(&names).zip(&raw) {
                prop_assert_eq!(input.name, name);
                prop_assert_eq!(&input.shape, &shape);
                prop_assert_eq!(&message[input.raw.clone()], raw);
            }
        }

        #[test]
        fn garbage_is_no_panic(message in prop::collection::vec(any::<u8>(), 0..200)) {
            read(&message);
        }

        #[test]
        fn damage_is_no_panic(place: prop::sample::Index, byte: u8, end: prop::sample::Index) {
            let mut message = message(&[input("x", &[1, 300], true)], &[vec![7; 300]]);
            let place = place.index(message.len());
            message[place] = byte;
            message.truncate(end.index(message.len() + 1));
            read(&message);
        }
    }
}
