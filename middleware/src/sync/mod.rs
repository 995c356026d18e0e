//! State that many threads change at once: a bounded cache of a store's answers, and counters that seldom share a cache line.

pub(crate) mod cache;
mod stripes;

pub(crate) use stripes::Striped;
