//! State that all requests of a process share.

pub(crate) mod cache;
mod stripes;

pub(crate) use stripes::Striped;
