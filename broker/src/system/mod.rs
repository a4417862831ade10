//! What the server answers about itself, on subjects that begin with `$SYS`.

pub(crate) mod user_info;
