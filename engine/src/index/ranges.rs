//! Where in the order of subjects the matches of filters can lie.

use bytes::Bytes;

/// A piece of the order of subjects.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Range<'a> {
    /// Exactly that subject.
    One(&'a [u8]),
    /// All that begin so.
    Prefix(&'a [u8]),
}

/// The pieces that hold all matches of the filters, in order and apart from one another. No filter matches all.
pub(super) fn ranges(filters: &[Bytes]) -> Vec<Range<'_>> {
    if filters.is_empty() {
        return vec![Range::Prefix(b"")];
    }
    let mut prefixes: Vec<&[u8]> = filters
        .iter()
        .filter(|filter| weir_subject::has_wildcard(filter))
        .map(|filter| literal_prefix(filter))
        .collect();
    prefixes.sort_unstable();
    // In order, what a prefix covers follows it.
    prefixes.dedup_by(|later, earlier| later.starts_with(earlier));
    let mut all: Vec<(&[u8], bool)> = prefixes.iter().map(|&prefix| (prefix, false)).collect();
    for filter in filters.iter().filter(|filter| !weir_subject::has_wildcard(filter)) {
        // None of the prefixes begins another: only the last one that is not above the filter can begin it.
        let before = prefixes.partition_point(|prefix| *prefix <= filter.as_ref());
        if !before.checked_sub(1).is_some_and(|at| filter.starts_with(prefixes[at])) {
            all.push((filter, true));
        }
    }
    all.sort_unstable();
    all.dedup();
    all.into_iter()
        .map(
            |(bytes, one)| {
                if one { Range::One(bytes) } else { Range::Prefix(bytes) }
            },
        )
        .collect()
}

/// The first place behind `subject`, which none of the filters matches, where in the order of subjects a match of any can
/// lie; `None` if there is none.
pub(super) fn next_possible(filters: &[Bytes], subject: &[u8]) -> Option<Vec<u8>> {
    filters
        .iter()
        .filter_map(|filter| next_possible_of(filter, subject))
        .min()
}

/// As [`next_possible`], for one filter.
fn next_possible_of(filter: &[u8], subject: &[u8]) -> Option<Vec<u8>> {
    // Behind all that begin with these bytes, the last of which is a dot.
    let behind = |block: &[u8]| {
        let mut next = block.to_vec();
        *next.last_mut()? = weir_subject::SEPARATOR + 1;
        Some(next)
    };
    let mut wanted = weir_subject::tokens(filter).peekable();
    let mut begin = 0;
    // Behind the last token that a `*` matched, with the dot.
    let mut star = None;
    while let Some(token) = wanted.next() {
        let Some(rest) = subject.get(begin..) else {
            // Too short: what is longer may come next.
            return Some([subject, &[0]].concat());
        };
        let own = rest
            .split(|&byte| byte == weir_subject::SEPARATOR)
            .next()
            .unwrap_or_default();
        let end = begin + own.len() + 1;
        match token {
            [weir_subject::REST] => return Some([subject, &[0]].concat()),
            [weir_subject::STAR] => star = Some(end),
            _ if token == own => {}
            _ => {
                let mut next = [&subject[..begin], token].concat();
                if wanted.peek().is_some() {
                    next.push(weir_subject::SEPARATOR);
                }
                return match next.as_slice() > subject {
                    true => Some(next),
                    false => behind(&star_block(subject, star?)),
                };
            }
        }
        begin = end;
    }
    // Too long: all that begin so are.
    match begin <= subject.len() {
        true => behind(&subject[..begin]),
        false => Some([subject, &[0]].concat()),
    }
}

/// A subject up to the end of a token, and a dot.
fn star_block(subject: &[u8], end: usize) -> Vec<u8> {
    let mut block = subject[..(end - 1).min(subject.len())].to_vec();
    block.push(weir_subject::SEPARATOR);
    block
}

/// What every match of the filter begins with: all before the first wildcard token.
fn literal_prefix(filter: &[u8]) -> &[u8] {
    let mut end = 0;
    for token in weir_subject::tokens(filter) {
        if matches!(token, [weir_subject::STAR | weir_subject::REST]) {
            break;
        }
        end += token.len() + 1;
    }
    filter.get(..end).unwrap_or(filter)
}

#[cfg(test)]
mod tests;
