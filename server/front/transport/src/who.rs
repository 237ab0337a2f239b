//! Who a client is: where it is, and what its certificate calls it.

use std::net::SocketAddr;

use tokio_rustls::rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

// Object identifier 2.5.4.3, and the kinds of strings that are readable bytes: UTF8String,
// PrintableString and IA5String.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const TEXT: [u8; 3] = [12, 19, 22];

/// Names by their kind, which is called as gRPC calls it.
pub type Names = Vec<(&'static str, Vec<Vec<u8>>)>;

pub(crate) struct Who {
    pub address: SocketAddr,
    pub names: Names,
}

impl Who {
    /// A client that shows no certificate.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            names: Names::new(),
        }
    }
}

/// Writes an address as gRPC does, such as `ipv4:127.0.0.1:50000`.
pub fn uri(address: SocketAddr) -> String {
    let kind = if address.is_ipv4() { 4 } else { 6 };
    format!("ipv{kind}:{address}")
        .replace('[', "%5B")
        .replace(']', "%5D")
}

/// Reads the names in a certificate that has been verified.
pub(crate) fn names(certificate: &CertificateDer<'_>) -> Names {
    let Ok(read) = EndEntityCert::try_from(certificate) else {
        return Names::new();
    };
    let alternative = read.valid_dns_names().chain(read.valid_uri_names());
    let alternative = alternative.map(|name| name.as_bytes().to_vec()).collect();
    let common = common_name(read.subject()).map(<[_]>::to_vec);
    let mut found = vec![
        ("x509_common_name", common.into_iter().collect()),
        ("x509_subject_alternative_name", alternative),
    ];
    found.retain(|(_, names): &(_, Vec<_>)| !names.is_empty());
    found
}

/// Finds the common name in a subject: sets of attributes, each a kind and a value.
fn common_name(subject: &[u8]) -> Option<&[u8]> {
    let attributes = elements(subject).flat_map(|(_, set)| elements(set));
    attributes.into_iter().find_map(|(_, attribute)| {
        let mut parts = elements(attribute);
        let ((_, kind), (tag, value)) = (parts.next()?, parts.next()?);
        (kind == COMMON_NAME && TEXT.contains(&tag)).then_some(value)
    })
}

/// Cuts DER into elements, each a tag and a content; ends where it is no DER.
fn elements(mut der: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (tag, length, rest) = match der {
            [tag, length @ ..=0x7f, rest @ ..] => (*tag, usize::from(*length), rest),
            [tag, 0x81, length, rest @ ..] => (*tag, usize::from(*length), rest),
            [tag, 0x82, high, low, rest @ ..] => {
                (*tag, usize::from(u16::from_be_bytes([*high, *low])), rest)
            }
            _ => return None,
        };
        let (content, after) = rest.split_at_checked(length)?;
        der = after;
        Some((tag, content))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut der = match content.len() {
            length @ ..=0x7f => vec![tag, length as u8],
            length @ ..=0xff => vec![tag, 0x81, length as u8],
            length => [&[tag, 0x82][..], &(length as u16).to_be_bytes()].concat(),
        };
        der.extend(content);
        der
    }

    fn attribute(kind: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        let parts = [element(6, kind), element(tag, value)].concat();
        element(0x31, &element(0x30, &parts))
    }

    #[test]
    fn the_common_name_is_found_among_others() {
        let organization = attribute(&[0x55, 4, 10], 12, b"crossrun");
        for length in [5, 200, 300] {
            let name = vec![b'a'; length];
            let subject = [organization.clone(), attribute(COMMON_NAME, 19, &name)].concat();
            assert_eq!(common_name(&subject), Some(&name[..]));
        }
        assert_eq!(common_name(&organization), None);
        assert_eq!(common_name(&attribute(COMMON_NAME, 30, b"\0a")), None);
    }

    #[test]
    fn an_address_is_written_as_grpc_does() {
        let told = |address: &str| uri(address.parse().unwrap());
        assert_eq!(told("127.0.0.1:50000"), "ipv4:127.0.0.1:50000");
        assert_eq!(told("[::1]:50000"), "ipv6:%5B::1%5D:50000");
    }

    proptest! {
        #[test]
        fn garbage_is_no_panic(subject in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = common_name(&subject);
        }
    }
}
