//! What is read and not run: the sources, and the commands of the documents.

mod advisories;
mod architecture;
mod commands;
