//! A configuration file, with what is asked of the servers that have it.
//!
//! Lines that begin with `#:` are the questions, in their order; all else is the configuration. Behind a line `#: becomes` another
//! configuration stands, which a reload goes over to at `#: reload`. The questions:
//!
//! | | |
//! | --- | --- |
//! | `as NAME WAY {…}` | a client comes ([`wire`](super::wire)), and says CONNECT with that JSON; `-`: without |
//! | `say SUBJECT…` | all clients hear all of these subjects, and publish to each, and answer what asks them |
//! | `publish SUBJECT…` | the same without hearing more |
//! | `NAME> OPERATION` | a client says that (`@LAST`: where it was asked for an answer); `=> OTHER 2`: until another one has heard so much |
//! | `NAME!`, `NAME~` | a client waits for its end, or for a PING |
//! | `ask NAME SUBJECT BODY` | a request, and what comes |
//! | `get PATH`, `pages ACCOUNT…`, `without PATH` | pages; some are asked for at the end in any case |
//! | `system NAME ACCOUNT…` | what the system account asks of the server, and of these accounts |
//! | `callout WAY {…}` | the service of [`callout`](super::callout) comes |
//! | `flags …`, `bare` | the server is started with more flags, or with none |
//! | `anyone` | it is told what happens, but not to whom: the server chooses |

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
