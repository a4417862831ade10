//! The commands of `weir`, one each.

mod bar;
pub mod import;

/// Nothing was done. Wrong arguments end with it too.
pub const NOT_DONE: u8 = 1;
/// Damage was found.
pub const DAMAGE: u8 = 2;
