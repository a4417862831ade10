//! Subjects in claims, by the rules of nats-io/jwt, which are not quite the server's.

use crate::issues::Issues;

/// Whether it is a subject as a server takes it: tokens, none of them empty or with blanks, with a `>` only at the end.
#[must_use]
pub fn is_subject(subject: &str) -> bool {
    let mut tokens = subject.split('.').peekable();
    while let Some(token) = tokens.next() {
        let ends = token == ">" && tokens.peek().is_some();
        if token.is_empty() || ends || token.contains([' ', '\t', '\n', '\r', '\u{c}']) {
            return false;
        }
    }
    true
}

/// Whether it may stand in a claim.
pub(crate) fn check(subject: &str, issues: &mut Issues) {
    if subject.is_empty() {
        issues.error("subject cannot be empty");
        return;
    }
    if subject.contains(' ') {
        issues.error(format!("subject {subject:?} cannot have spaces"));
    }
    if subject.starts_with('.') || subject.ends_with('.') {
        issues.error(format!("subject {subject:?} cannot start or end with a `.`"));
    }
    if subject.contains("..") {
        issues.error(format!("subject {subject:?} cannot contain consecutive `.`"));
    }
}

/// Whether it has a wildcard.
pub(crate) fn has_wildcards(subject: &str) -> bool {
    let mut tokens = subject.split('.').peekable();
    let mut found = false;
    while let Some(token) = tokens.next() {
        found |= token == "*" || token == ">" && tokens.peek().is_none();
    }
    found
}

/// Whether all that `subject` matches is matched by `other`.
pub(crate) fn is_contained_in(subject: &str, other: &str) -> bool {
    let (mine, others): (Vec<_>, Vec<_>) = (subject.split('.').collect(), other.split('.').collect());
    let open = others.last() == Some(&">");
    if mine.len() < others.len() || mine.len() > others.len() && !open {
        return false;
    }
    for (at, other) in others.iter().enumerate() {
        if at == others.len() - 1 && open {
            return true;
        }
        if *other != mine[at] && *other != "*" {
            return false;
        }
    }
    true
}

/// A subject that stands for another one: as many `*` or `$n` in it as that has `*`.
pub(crate) fn check_renaming(to: &str, from: &str, issues: &mut Issues) {
    check(to, issues);
    let ends = |subject: &str| subject == ">" || subject.ends_with(".>");
    if ends(to) != ends(from) {
        issues.error("both, renaming subject and subject, need to end or not end in >");
    }
    let wildcards = from.split('.').filter(|token| *token == "*").count();
    let mut references = 0;
    for token in to.split('.') {
        references += usize::from(token == "*");
        let index = token.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        match index {
            Some(index) if index > wildcards => {
                issues.error(format!(
                    "Reference ${index} in {to:?} reference * in {from:?} that do not exist"
                ));
            }
            Some(_) => references += 1,
            None => {}
        }
    }
    if references != wildcards {
        issues.error("subject does not contain enough * or reference wildcards $[0-9]");
    }
}

/// The subject that a renaming one matches.
pub(crate) fn unrenamed(subject: &str) -> String {
    let token = |token: &str| match token.strip_prefix('$').map(str::parse::<usize>) {
        Some(Ok(_)) => "*".to_owned(),
        _ => token.to_owned(),
    };
    subject.split('.').map(token).collect::<Vec<_>>().join(".")
}
