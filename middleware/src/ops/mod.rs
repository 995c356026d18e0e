//! The live page: what happens now, for operators.
//!
//! # The stream
//! `GET events` is a stream of server-sent events. The first is `hello`, what does not change and the last
//! minutes; then comes a `now` every second. Counts are totals since start, so that a reader that missed one
//! loses nothing; rates are differences of two samples by their `at`.

mod stream;
