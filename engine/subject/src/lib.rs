//! Subjects, filters and what matches what: the leaf that all of Weir stands on.
