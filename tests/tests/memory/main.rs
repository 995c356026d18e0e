//! What the library takes of the machine's memory. Each test measures a process of its own, which it starts.

mod bans;
mod clients;
mod logins;
mod ops;
mod suspects;
mod users;
mod visitors;
