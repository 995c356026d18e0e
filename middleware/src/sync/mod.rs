//! State that all requests of a process share.

mod stripes;

pub(crate) use stripes::Striped;
