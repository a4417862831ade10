//! Reading a destination: its tokens, and the function that a token may be.

use super::{Change, Part, TransformError};
use crate::name::{REST, SEPARATOR};

/// The tokens of a destination; `None` if it is malformed. White space is for the inside of `{{ }}` only.
pub(super) fn split_destination(destination: &[u8]) -> Option<Vec<&[u8]>> {
    let written: Vec<&[u8]> = destination.split(|&byte| byte == SEPARATOR).collect();
    let last = written.len() - 1;
    let fine = written.iter().enumerate().all(|(at, token)| {
        let blank = token.iter().any(|byte| b" \t\r\n\x0c".contains(byte));
        !token.is_empty() && (*token != [REST] || at == last) && (!blank || braced(token).is_some())
    });
    fine.then_some(written)
}

/// One token of the destination; `wildcards` are the places of the source's `*` tokens.
pub(super) fn part(token: &[u8], wildcards: &[usize]) -> Result<Part, TransformError> {
    if token == [REST] {
        return Ok(Part::Rest);
    }
    if let [b'$', digits @ ..] = token {
        // Subjects such as `$JS` and `$SYS` begin so as well: what is no number is left as it is.
        return match number(digits) {
            Some(n) => Ok(Part::Token {
                at: place(n, token, wildcards)?,
                change: Change::Keep,
            }),
            None => Ok(Part::Literal(token.to_vec())),
        };
    }
    match braced(token) {
        Some(call) => function(call, token, wildcards),
        None => Ok(Part::Literal(token.to_vec())),
    }
}

fn function(call: &[u8], token: &[u8], wildcards: &[usize]) -> Result<Part, TransformError> {
    let text = || String::from_utf8_lossy(token).into_owned();
    let unknown = || TransformError::UnknownFunction(text());
    let open = call.iter().position(|&byte| byte == b'(').ok_or_else(unknown)?;
    let name = call[..open].trim_ascii().to_ascii_lowercase();
    let inside = call[open + 1..].strip_suffix(b")").ok_or_else(unknown)?;
    let arguments: Vec<&[u8]> = match inside.trim_ascii() {
        [] => Vec::new(),
        _ => inside.split(|&byte| byte == b',').collect(),
    };

    let wanted = match &name[..] {
        // Without any argument, the count is taken to be there and to be no number.
        b"partition" => 0..=usize::MAX,
        b"wildcard" => 1..=1,
        b"splitfromleft" | b"splitfromright" | b"slicefromleft" | b"slicefromright" | b"split" | b"left" | b"right" => {
            2..=2
        }
        _ => return Err(unknown()),
    };
    if arguments.len() < *wanted.start() {
        return Err(TransformError::NotEnoughArguments(text()));
    }
    if arguments.len() > *wanted.end() {
        return Err(TransformError::TooManyArguments(text()));
    }

    let invalid = || TransformError::InvalidArgument(text());
    let argument = |at: usize| {
        arguments
            .get(at)
            .and_then(|bytes| number(bytes.trim_ascii()))
            .ok_or_else(invalid)
    };
    if name == b"partition" {
        let count = u32::try_from(argument(0)?).map_err(|_| invalid())?;
        let tokens = (1..arguments.len()).map(|at| place(argument(at)?, token, wildcards));
        let tokens = tokens.collect::<Result<_, _>>()?;
        return Ok(Part::Partition { count, tokens });
    }
    let at = place(argument(0)?, token, wildcards)?;
    let change = match &name[..] {
        b"splitfromleft" => Change::SplitFromLeft(argument(1)?),
        b"splitfromright" => Change::SplitFromRight(argument(1)?),
        b"slicefromleft" => Change::SliceFromLeft(argument(1)?),
        b"slicefromright" => Change::SliceFromRight(argument(1)?),
        b"left" => Change::Left(argument(1)?),
        b"right" => Change::Right(argument(1)?),
        b"split" => {
            let delimiter = arguments[1].trim_ascii_start();
            if delimiter.is_empty() || delimiter.contains(&b' ') {
                return Err(invalid());
            }
            Change::Split(delimiter.to_vec())
        }
        _ => Change::Keep,
    };
    Ok(Part::Token { at, change })
}

/// What stands between `{{` and `}}`, if anything does: `{{}}` alone is an ordinary token.
fn braced(token: &[u8]) -> Option<&[u8]> {
    let call = token.strip_prefix(b"{{")?.strip_suffix(b"}}")?;
    (!call.is_empty()).then(|| call.trim_ascii())
}

/// A number in ASCII digits that fits 31 bits, which is what nats-server keeps of it.
fn number(digits: &[u8]) -> Option<usize> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = std::str::from_utf8(digits).ok()?.parse::<i32>().ok()?;
    usize::try_from(number).ok()
}

/// Where in the source the `n`-th wildcard stands.
fn place(n: usize, token: &[u8], wildcards: &[usize]) -> Result<usize, TransformError> {
    n.checked_sub(1).and_then(|n| wildcards.get(n).copied()).ok_or_else(|| {
        let token = String::from_utf8_lossy(token);
        // With no wildcard at all in the source, which one was meant is not told.
        TransformError::WildcardOutOfRange(match wildcards {
            [] => token.into_owned(),
            _ => format!("{token}: [{n}]"),
        })
    })
}
