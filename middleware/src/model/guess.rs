/// A credential that this service did not make, as an extension of the response: it counts as a failed login, whatever the
/// response's status. The number is a keyed hash of what was presented, so that one thing that is sent again is one guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Guess(pub(crate) u64);
