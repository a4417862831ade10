//! Reading a destination: its tokens, and the function that a token may be.

use super::{Change, Part, TransformError};
use crate::name::{REST, SEPARATOR, STAR, has_wildcard, tokens};

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

/// The wildcards of a source.
pub(super) struct Wildcards {
    /// Where its `*` tokens stand.
    places: Vec<usize>,
    /// It has neither these nor a final `>`.
    none: bool,
}

impl Wildcards {
    pub fn of(source: &[u8]) -> Self {
        let places: Vec<usize> = tokens(source)
            .enumerate()
            .filter(|(_, token)| *token == [STAR])
            .map(|(at, _)| at)
            .collect();
        let none = !has_wildcard(source);
        Self { places, none }
    }
}

/// One token of the destination.
pub(super) fn part(token: &[u8], wildcards: &Wildcards) -> Result<Part, TransformError> {
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

/// What a token in `{{ }}` may ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Function {
    Wildcard,
    Partition,
    SplitFromLeft,
    SplitFromRight,
    SliceFromLeft,
    SliceFromRight,
    Split,
    Left,
    Right,
    Random,
}

/// Their names, word by word: each word begins with a letter of either case.
const NAMES: [(&[&str], Function); 10] = [
    (&["wildcard"], Function::Wildcard),
    (&["partition"], Function::Partition),
    (&["split", "from", "left"], Function::SplitFromLeft),
    (&["split", "from", "right"], Function::SplitFromRight),
    (&["slice", "from", "left"], Function::SliceFromLeft),
    (&["slice", "from", "right"], Function::SliceFromRight),
    (&["split"], Function::Split),
    (&["left"], Function::Left),
    (&["right"], Function::Right),
    (&["random"], Function::Random),
];

impl Function {
    fn named(name: &[u8]) -> Option<Self> {
        let is_named = |words: &[&str]| {
            let rest = words.iter().try_fold(name, |rest, word| {
                let (first, others) = rest.split_first()?;
                let first = [first.to_ascii_lowercase()];
                word.as_bytes()
                    .strip_prefix(&first)
                    .and_then(|tail| others.strip_prefix(tail))
            });
            rest == Some(b"")
        };
        NAMES
            .iter()
            .find(|(words, _)| is_named(words))
            .map(|(_, function)| *function)
    }
}

/// The function and what stands between its parentheses. `None` if it is no function.
fn named_call(call: &[u8]) -> Option<(Function, &[u8])> {
    let open = call.iter().position(|&byte| byte == b'(')?;
    let function = Function::named(call[..open].trim_ascii())?;
    Some((function, call[open + 1..].strip_suffix(b")")?))
}

/// Whether a token of a destination looks like a function and is none.
pub(super) fn is_unknown_function(token: &[u8]) -> bool {
    braced(token).is_some_and(|call| named_call(call).is_none())
}

fn function(call: &[u8], token: &[u8], wildcards: &Wildcards) -> Result<Part, TransformError> {
    let text = || String::from_utf8_lossy(token).into_owned();
    let (function, inside) = named_call(call).ok_or_else(|| TransformError::UnknownFunction(text()))?;
    let arguments: Vec<&[u8]> = match inside.trim_ascii() {
        [] => Vec::new(),
        _ => inside.split(|&byte| byte == b',').collect(),
    };
    let wanted = match function {
        // Without any argument, the number is taken to be there and to be none.
        Function::Partition => 0..=usize::MAX,
        Function::Random => 0..=1,
        Function::Wildcard => 1..=1,
        _ => 2..=2,
    };
    let too_many = arguments.len() > *wanted.end();
    if arguments.len() < *wanted.start() || (too_many && function == Function::Random) {
        return Err(TransformError::NotEnoughArguments(text()));
    }
    if too_many {
        return Err(TransformError::TooManyArguments(text()));
    }

    let invalid = || TransformError::InvalidArgument(text());
    let argument = |at: usize| {
        arguments
            .get(at)
            .and_then(|bytes| number(bytes.trim_ascii()))
            .ok_or_else(invalid)
    };
    match function {
        Function::Random => {
            let below = argument(0)?.unsigned_abs();
            return Ok(Part::Random { below });
        }
        Function::Partition => {
            // Negative counts wrap around, as there.
            let count = argument(0)?.cast_unsigned();
            let places = (1..arguments.len()).map(&argument).collect::<Result<Vec<_>, _>>()?;
            let tokens = if wildcards.none {
                // Without wildcards to name, all of the subject counts.
                Vec::new()
            } else {
                let places = places.into_iter().map(|n| place(n, token, wildcards));
                places.collect::<Result<_, _>>()?
            };
            return Ok(Part::Partition { count, tokens });
        }
        _ => {}
    }
    let n = argument(0)?;
    // No place at or before the start is inside of a token.
    let size = || Ok(usize::try_from(argument(1)?).unwrap_or(0));
    let change = match function {
        Function::SplitFromLeft => Change::SplitFromLeft(size()?),
        Function::SplitFromRight => Change::SplitFromRight(size()?),
        Function::SliceFromLeft => Change::SliceFromLeft(size()?),
        Function::SliceFromRight => Change::SliceFromRight(size()?),
        Function::Left => Change::Left(size()?),
        Function::Right => Change::Right(size()?),
        Function::Split => {
            let delimiter = arguments[1].trim_ascii_start();
            if delimiter.contains(&b' ') {
                return Err(invalid());
            }
            Change::Split(delimiter.to_vec())
        }
        _ => Change::Keep,
    };
    let at = place(n, token, wildcards)?;
    Ok(Part::Token { at, change })
}

/// What stands between `{{` and `}}`, if anything does: `{{}}` alone is an ordinary token.
fn braced(token: &[u8]) -> Option<&[u8]> {
    let call = token.strip_prefix(b"{{")?.strip_suffix(b"}}")?;
    (!call.is_empty()).then(|| call.trim_ascii())
}

/// A number of 32 bits, which is what nats-server keeps of it, with or without a sign.
fn number(digits: &[u8]) -> Option<i32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Where in the source the `n`-th wildcard stands. Below the first one, that is the first token.
fn place(n: i32, token: &[u8], wildcards: &Wildcards) -> Result<usize, TransformError> {
    let out_of_range = |text: String| Err(TransformError::WildcardOutOfRange(text));
    let text = String::from_utf8_lossy(token);
    if wildcards.none {
        return out_of_range(text.into_owned());
    }
    match usize::try_from(n).unwrap_or(0).checked_sub(1) {
        None => Ok(0),
        Some(before) => match wildcards.places.get(before) {
            Some(&at) => Ok(at),
            None => out_of_range(format!("{text}: [{n}]")),
        },
    }
}
