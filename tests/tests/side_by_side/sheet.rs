//! A configuration file, with what is asked of the servers that have it.
//!
//! Lines that begin with `#:` are the questions, in their order; all else is the configuration. Behind a line `#: becomes` another
//! configuration stands, which a reload goes over to at `#: reload`.

/// A configuration, and what is asked.
pub struct Sheet {
    pub name: String,
    pub configuration: String,
    /// What the configuration becomes.
    pub then: Option<String>,
    pub steps: Vec<String>,
}

impl Sheet {
    pub fn read(name: &str, text: &str) -> Self {
        let (mut parts, mut steps) = (vec![String::new()], Vec::new());
        for line in text.lines() {
            match line.strip_prefix("#:").map(str::trim) {
                Some("becomes") => parts.push(String::new()),
                Some(step) => steps.push(step.to_owned()),
                None => {
                    let part = parts.last_mut();
                    part.into_iter().for_each(|part| {
                        part.push_str(line);
                        part.push('\n');
                    });
                }
            }
        }
        let mut parts = parts.into_iter();
        Self {
            name: name.to_owned(),
            configuration: parts.next().unwrap_or_default(),
            then: parts.next(),
            steps,
        }
    }
}
