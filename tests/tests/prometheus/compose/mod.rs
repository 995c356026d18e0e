//! `docker-compose.yml`: what it promises, and its configuration files with the programs that can be had without Docker.

mod files;
mod native;
mod services;
