//! `docker-compose.yml`: what it promises, and its configuration files with the programs that can be had without Docker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod files;
mod native;
mod services;
