//! What the library takes of the machine's memory. Each test measures a process of its own, which it starts.

mod allocations;
mod bans;
mod clients;
mod logins;
mod ops;
mod suspects;
mod users;
mod visitors;

/// Counts the allocations, while a profiler of `dhat` is there.
#[global_allocator]
static COUNTED: dhat::Alloc = dhat::Alloc;
