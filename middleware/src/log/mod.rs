//! Few lines of the log for many events.

mod fallback;
#[cfg(test)]
mod lines;
mod sampler;
#[cfg(test)]
mod warnings;

pub(crate) use fallback::Fallback;
#[cfg(test)]
pub(crate) use lines::Lines;
pub(crate) use sampler::Sampler;
#[cfg(test)]
pub(crate) use warnings::Warnings;
