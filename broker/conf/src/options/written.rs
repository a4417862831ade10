//! Values as a configuration writes them: what a reload says of them can be held against the file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{First, Listen};

/// Something that can stand in a configuration.
pub(super) trait Written {
    /// As it would stand there; `none` for what stands nowhere.
    fn written(&self) -> String;
}

macro_rules! plain {
    ($($type:ty)*) => {
        $(impl Written for $type {
            fn written(&self) -> String {
                self.to_string()
            }
        })*
    };
}

plain!(bool u8 u16 u32 u64 usize i64);

impl<T: Written> Written for Option<T> {
    fn written(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), T::written)
    }
}

impl Written for String {
    fn written(&self) -> String {
        let mut text = String::with_capacity(self.len() + 2);
        text.push('"');
        for c in self.chars() {
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\r' => text.push_str("\\r"),
                // No line of a log is to end in the middle.
                c if c.is_ascii_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => text.push(c),
            }
        }
        text.push('"');
        text
    }
}

impl Written for PathBuf {
    fn written(&self) -> String {
        self.to_string_lossy().into_owned().written()
    }
}

impl Written for Duration {
    fn written(&self) -> String {
        weir_duration::format(i64::try_from(self.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl Written for Listen {
    fn written(&self) -> String {
        match self.host.is_empty() {
            true => self.port.written(),
            false => format!("{}:{}", self.host, self.port).written(),
        }
    }
}

impl Written for First {
    fn written(&self) -> String {
        match self {
            Self::No => false.written(),
            Self::Yes => true.written(),
            Self::Within(time) => time.written(),
        }
    }
}

impl Written for Vec<String> {
    fn written(&self) -> String {
        let all: Vec<String> = self.iter().map(Written::written).collect();
        format!("[{}]", all.join(", "))
    }
}

impl<T: Written> Written for BTreeMap<String, T> {
    fn written(&self) -> String {
        let all: Vec<String> = self
            .iter()
            .map(|(key, value)| format!("{key}: {}", value.written()))
            .collect();
        format!("{{{}}}", all.join(", "))
    }
}
