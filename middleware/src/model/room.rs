use super::Ask;
#[cfg(feature = "otel")]
use super::metrics::Meters;
#[cfg(feature = "ops")]
use super::panel::Panel;

/// What the stack asks of each of its layers. A room answers what it has; the rest is nothing.
pub(crate) trait Room {
    /// The layer's question to the store, which preflight asks along with others.
    fn ask(&self) -> Option<Box<dyn Ask>> {
        None
    }

    /// Hands over what the layer counts.
    #[cfg(feature = "otel")]
    fn measure(&self, meters: &impl Meters) {
        let _ = meters;
    }

    /// The layer's part of the live page.
    #[cfg(feature = "ops")]
    fn panel(&self) -> Option<Box<dyn Panel>> {
        None
    }
}
