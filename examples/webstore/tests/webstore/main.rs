//! The program over real sockets, as a shopper and as an operator meet it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code"
)]

mod account;
mod cart;
mod catalogue;
mod configuration;
mod container;
mod demo;
mod limits;
mod login;
mod orders;
mod process;
mod sessions;
mod slow;
mod support;
mod suspicion;
mod tls;
