use std::time::SystemTime;

/// The wall clock by which segments are told; closures implement it.
///
/// It need not be monotonic: a step back makes the cache ask the store again, and a last activity in the future counts
/// as just now.
pub trait WallClock: Send + Sync + 'static {
    /// The time now; read for each request of a known user, so keep it quick.
    fn now(&self) -> SystemTime;
}

impl<F> WallClock for F
where
    F: Fn() -> SystemTime + Send + Sync + 'static,
{
    fn now(&self) -> SystemTime {
        self()
    }
}
