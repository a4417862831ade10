//! Tokens between lines of dashes, as they stand in files.

/// The first text between two lines of three or more dashes; the whole, if there is none.
#[must_use]
pub fn undecorated(contents: &str) -> &str {
    let is_rule = |line: &str| {
        let line = line.trim();
        line.len() >= 6 && line.starts_with("---") && line.ends_with("---")
    };
    let is_token = |line: &str| {
        !line.is_empty()
            && line
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_-.=".contains(&byte))
    };
    let lines: Vec<&str> = contents.lines().collect();
    let found = lines
        .windows(3)
        .find(|three| is_rule(three[0]) && is_token(three[1]) && is_rule(three[2]));
    found.map_or(contents, |three| three[1])
}

#[cfg(test)]
mod tests {
    use super::undecorated;

    #[test]
    fn a_token_is_found_between_lines() {
        let file = "\n-----BEGIN NATS OPERATOR JWT-----\neyJ0.a_b-c.d=\n------END NATS OPERATOR JWT------\n\n\
                    -----BEGIN USER NKEY SEED-----\nSUA\n------END USER NKEY SEED------\n";
        assert_eq!(undecorated(file), "eyJ0.a_b-c.d=");
        assert_eq!(undecorated(&file.replace('\n', "\r\n")), "eyJ0.a_b-c.d=");
        assert_eq!(undecorated("eyJ0.a.b"), "eyJ0.a.b");
        assert_eq!(undecorated("-----\na b\n-----"), "-----\na b\n-----");
    }
}
