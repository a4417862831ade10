//! Offline tools for a Weir store directory.
