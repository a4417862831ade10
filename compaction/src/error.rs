//! Why a tool could not do its work at all. Damage that it could work around is in its report instead.

use std::path::PathBuf;

/// Why a tool gave up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no store at that place.
    #[error(
        "{} is not a Weir store: expected a server's store directory (its -sd or store_dir), or the folder `weir` in it, with `segment/logs` below",
        path.display()
    )]
    NotAStore {
        /// What was given.
        path: PathBuf,
    },
    /// A server or another tool writes to the store.
    #[error("{0}")]
    InUse(weir_engine::Error),
    /// The store was written by a later version of Weir.
    #[error(
        "the store has format version {found}, this program reads up to {known}: use the version of Weir that wrote it"
    )]
    Newer {
        /// What the store says.
        found: u32,
        /// What this program reads.
        known: u32,
    },
    /// The store has no stream of the wanted name.
    #[error("the store has no stream {wanted:?}; it has {}", list(there))]
    NoSuchStream {
        /// The name asked for.
        wanted: String,
        /// The names that there are.
        there: Vec<String>,
    },
    /// The store has no finding of the wanted key.
    #[error("the store has no finding {wanted:?} to settle; it has {}", list(there))]
    NoSuchFinding {
        /// The key asked for.
        wanted: String,
        /// The keys that there are.
        there: Vec<String>,
    },
    /// What everything else depends on cannot be read.
    #[error("{0}")]
    Unreadable(weir_engine::Error),
}

/// The tools' result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn list(names: &[String]) -> String {
    /// A store may have thousands.
    const SHOWN: usize = 20;
    match names.len() {
        0 => "none".to_owned(),
        count if count > SHOWN => {
            format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN)
        }
        _ => names.join(", "),
    }
}
