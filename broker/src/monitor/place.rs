//! Where a request goes, as Go's `ServeMux` reads paths.

/// What a path says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The page of this name, escapes resolved.
    Page(String),
    /// The same page has this path: `//healthz`, `/x/../healthz`.
    Elsewhere(String),
    /// It is no path: an escape that is none, or no `/` at its beginning.
    Broken,
}

impl Place {
    /// Of a path as it came, without what is behind the question mark. An escaped `.` or `/` belongs to a name, and leads nowhere else.
    pub(super) fn of(path: &str) -> Self {
        if !path.starts_with('/') {
            return Self::Broken;
        }
        let Some(decoded) = decoded(path) else {
            return Self::Broken;
        };
        let clean = cleaned(path);
        if clean != path {
            return Self::Elsewhere(clean);
        }
        // No page has such a name.
        match decoded.matches('/').count() == path.matches('/').count() {
            true => Self::Page(decoded),
            false => Self::Page(path.to_owned()),
        }
    }
}

/// Without empty parts, `.` and `..`. A slash at the end stays.
fn cleaned(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let clean = format!("/{}", parts.join("/"));
    match path.ends_with('/') && clean != "/" {
        true => clean + "/",
        false => clean,
    }
}

/// `None`: it has an escape that is none.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = path.bytes();
    let mut out = Vec::with_capacity(path.len());
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            byte => byte,
        };
        out.push(byte);
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests;
