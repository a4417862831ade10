//! Tests of the segment backend.
