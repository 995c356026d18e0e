//! Keeps the log short: `fallback` allows one line for each change of a store, `sampler` a few in a second, and `losses` one
//! a minute. The access log is in `observe`, and the security log in `suspicion`.

mod fallback;
#[cfg(test)]
mod lines;
mod losses;
mod sampler;
#[cfg(test)]
mod warnings;

pub(crate) use fallback::{Fallback, News, now};
#[cfg(test)]
pub(crate) use lines::Lines;
pub(crate) use losses::Losses;
pub(crate) use sampler::Sampler;
#[cfg(test)]
pub(crate) use warnings::Warnings;
