//! A configuration file, with what is asked of the servers that have it.
//!
//! Lines that begin with `#:` are the questions, in their order; all else is the configuration. Behind a line `#: becomes` another
//! configuration stands, which a reload goes over to at `#: reload`; behind `#: beside NAME` a file that lies beside it, of that name. The
//! questions:
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
//! | `files` | which files the server has written, and what those say that tell of it |
//! | `flags …`, `bare` | the server is started with more flags, or with none |
//! | `anyone` | it is told what happens, but not to whom: the server chooses |

/// A configuration, and what is asked.
pub struct Sheet {
    pub name: String,
    pub configuration: String,
    /// What the configuration becomes.
    pub then: Option<String>,
    /// Files that lie beside it: their names, and what they hold.
    pub beside: Vec<(String, String)>,
    pub steps: Vec<String>,
}

impl Sheet {
    pub fn read(name: &str, text: &str) -> Self {
        let (mut configuration, mut then, mut beside) = (String::new(), None, Vec::new());
        let mut steps = Vec::new();
        let mut part: &mut String = &mut configuration;
        for line in text.lines() {
            match line.strip_prefix("#:").map(str::trim) {
                Some("becomes") => part = then.insert(String::new()),
                Some(step) => match step.strip_prefix("beside ") {
                    Some(name) => {
                        beside.push((name.to_owned(), String::new()));
                        let last = beside.len() - 1;
                        part = &mut beside[last].1;
                    }
                    None => steps.push(step.to_owned()),
                },
                None => {
                    part.push_str(line);
                    part.push('\n');
                }
            }
        }
        Self {
            name: name.to_owned(),
            configuration,
            then,
            beside,
            steps,
        }
    }
}
