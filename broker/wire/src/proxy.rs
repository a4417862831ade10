//! The PROXY protocol: what a proxy says of a client before anything else, as text (v1) or in binary (v2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const PREFIX: &[u8; 6] = b"PROXY ";
/// Longest line of version 1, with its end.
const LINE_MAX: usize = 107;
/// Length of a header of version 2 without its addresses.
const FIXED: usize = 16;
/// Bytes that decide everything but how long it is.
pub const ENOUGH: usize = 128;

/// What stands at the start of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// More is needed to tell.
    NeedMore,
    /// No header.
    Nothing,
    /// A header of that many bytes, all of which need not be there yet; and where the client is, if it says so.
    Header(usize, Option<SocketAddr>),
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It is none, although it begins as one.
    #[error("invalid PROXY protocol header")]
    Invalid,
    /// It is about something else than TCP.
    #[error("unsupported PROXY protocol feature")]
    Unsupported,
}

/// Reads what stands at the start of a connection; [`ENOUGH`] bytes of it are enough.
///
/// # Errors
/// It begins as a header and is none.
pub fn read_start(bytes: &[u8]) -> Result<Start, HeaderError> {
    let begins = |with: &[u8]| {
        let there = bytes.len().min(with.len());
        bytes[..there] == with[..there]
    };
    // As nats-server, six bytes decide which version it is.
    if bytes.len() < PREFIX.len() {
        return Ok(match begins(PREFIX) || begins(SIGNATURE) {
            true => Start::NeedMore,
            false => Start::Nothing,
        });
    }
    if bytes.starts_with(PREFIX) {
        return text(bytes);
    }
    match bytes.starts_with(&SIGNATURE[..PREFIX.len()]) {
        true => binary(bytes),
        false => Ok(Start::Nothing),
    }
}

fn text(bytes: &[u8]) -> Result<Start, HeaderError> {
    let there = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = there.windows(2).position(|pair| pair == b"\r\n") else {
        return match bytes.len() < LINE_MAX {
            true => Ok(Start::NeedMore),
            false => Err(HeaderError::Invalid),
        };
    };
    let line = std::str::from_utf8(&there[PREFIX.len()..end]).map_err(|_| HeaderError::Invalid)?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let length = end + 2;
    if words.first() == Some(&"UNKNOWN") {
        return Ok(Start::Header(length, None));
    }
    let [protocol, source, destination, from, to] = words[..] else {
        return Err(HeaderError::Invalid);
    };
    let address = |text: &str| {
        let address: IpAddr = text.parse().map_err(|_| HeaderError::Invalid)?;
        match (protocol, address.is_ipv4()) {
            ("TCP4", true) | ("TCP6", false) => Ok(address),
            _ => Err(HeaderError::Invalid),
        }
    };
    let port = |text: &str| text.parse::<u16>().map_err(|_| HeaderError::Invalid);
    let (source, from) = (address(source)?, port(from)?);
    address(destination)?;
    port(to)?;
    Ok(Start::Header(
        length,
        Some(SocketAddr::new(source.to_canonical(), from)),
    ))
}

fn binary(bytes: &[u8]) -> Result<Start, HeaderError> {
    let there = bytes.len().min(SIGNATURE.len());
    if bytes[..there] != SIGNATURE[..there] {
        return Err(HeaderError::Invalid);
    }
    if bytes.len() < FIXED {
        return Ok(Start::NeedMore);
    }
    let (version, command) = (bytes[12] >> 4, bytes[12] & 15);
    let (family, protocol) = (bytes[13] >> 4, bytes[13] & 15);
    let addresses = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
    let length = FIXED + addresses;
    if version != 2 {
        return Err(HeaderError::Invalid);
    }
    match command {
        // The proxy itself, to see whether anybody is there.
        0 => return Ok(Start::Header(length, None)),
        1 => {}
        _ => return Err(HeaderError::Invalid),
    }
    if protocol != 1 {
        return Err(HeaderError::Unsupported);
    }
    let wanted = match family {
        0 => return Ok(Start::Header(length, None)),
        1 => 12,
        2 => 36,
        _ => return Err(HeaderError::Unsupported),
    };
    if addresses < wanted {
        return Err(HeaderError::Invalid);
    }
    let Some(of) = bytes.get(FIXED..FIXED + wanted) else {
        return Ok(Start::NeedMore);
    };
    let source = match family {
        1 => IpAddr::V4(Ipv4Addr::new(of[0], of[1], of[2], of[3])),
        _ => {
            let mut octets = [0; 16];
            octets.copy_from_slice(&of[..16]);
            IpAddr::V6(Ipv6Addr::from(octets)).to_canonical()
        }
    };
    let at = wanted - 4;
    let port = u16::from_be_bytes([of[at], of[at + 1]]);
    Ok(Start::Header(length, Some(SocketAddr::new(source, port))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Result<Start, HeaderError> {
        read_start(text.as_bytes())
    }

    #[test]
    fn lines_of_text() {
        let source = Some("1.2.3.4:5".parse().unwrap());
        assert_eq!(
            header("PROXY TCP4 1.2.3.4 5.6.7.8 5 6\r\nCONNECT"),
            Ok(Start::Header(32, source))
        );
        let source = Some("[::1]:5".parse().unwrap());
        assert_eq!(header("PROXY TCP6 ::1 ::2 5 6\r\n"), Ok(Start::Header(24, source)));
        assert_eq!(header("PROXY UNKNOWN\r\n"), Ok(Start::Header(15, None)));
        for wrong in [
            "PROXY TCP4 ::1 ::2 5 6\r\n",
            "PROXY TCP6 1.2.3.4 5.6.7.8 5 6\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 5\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 5 70000\r\n",
            "PROXY UDP4 1.2.3.4 5.6.7.8 5 6\r\n",
            "PROXY \r\n",
        ] {
            assert_eq!(header(wrong), Err(HeaderError::Invalid), "{wrong}");
        }
        assert_eq!(header(&format!("PROXY {}", "x".repeat(101))), Err(HeaderError::Invalid));
        assert_eq!(header(&format!("PROXY {}", "x".repeat(100))), Ok(Start::NeedMore));
    }

    #[test]
    fn what_is_none() {
        for none in ["CONNECT {}\r\n", "PING\r\n", "\x16\x03\x01", "P1", "\r\n\r\n\r\n"] {
            assert_eq!(header(none), Ok(Start::Nothing), "{none:?}");
        }
        assert_eq!(header("PRO"), Ok(Start::NeedMore));
        assert_eq!(header(""), Ok(Start::NeedMore));
    }

    fn binary_header(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, addresses].concat()
    }

    #[test]
    fn headers_in_binary() {
        let four = [1, 2, 3, 4, 5, 6, 7, 8, 0, 80, 0, 90];
        let source = Some("1.2.3.4:80".parse().unwrap());
        assert_eq!(
            read_start(&binary_header(0x21, 0x11, &four)),
            Ok(Start::Header(28, source))
        );
        // With more behind the addresses, and not all of it there.
        let more = binary_header(0x21, 0x11, &[&four[..], &[0; 200]].concat());
        assert_eq!(read_start(&more[..40]), Ok(Start::Header(228, source)));
        let mut six = [0; 36];
        (six[15], six[33]) = (1, 7);
        let source = Some("[::1]:7".parse().unwrap());
        assert_eq!(
            read_start(&binary_header(0x21, 0x21, &six)),
            Ok(Start::Header(52, source))
        );
        assert_eq!(read_start(&binary_header(0x20, 0, b"abc")), Ok(Start::Header(19, None)));
        assert_eq!(read_start(&binary_header(0x21, 0x01, b"")), Ok(Start::Header(16, None)));
        assert_eq!(
            read_start(&binary_header(0x21, 0x12, &four)),
            Err(HeaderError::Unsupported)
        );
        assert_eq!(
            read_start(&binary_header(0x21, 0x31, &four)),
            Err(HeaderError::Unsupported)
        );
        assert_eq!(read_start(&binary_header(0x31, 0x11, &four)), Err(HeaderError::Invalid));
        assert_eq!(read_start(&binary_header(0x22, 0x11, &four)), Err(HeaderError::Invalid));
        assert_eq!(
            read_start(&binary_header(0x21, 0x11, b"abc")),
            Err(HeaderError::Invalid)
        );
        let whole = binary_header(0x21, 0x11, &four);
        for end in 0..28 {
            assert_eq!(read_start(&whole[..end]), Ok(Start::NeedMore), "{end}");
        }
        assert_eq!(read_start(b"\r\n\r\n\0\rQUIT"), Err(HeaderError::Invalid));
    }
}
