//! Few lines of the log for many events.

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
