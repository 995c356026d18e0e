use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Numbers for distinct values, from 0 in the order of their first appearance.
#[derive(Debug)]
pub(super) struct Interner<K>(HashMap<K, u32>);

impl<K: Eq + Hash> Interner<K> {
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    /// The number of `value`; a new one calls `remember` with its owned form.
    pub(super) fn number<Q>(&mut self, value: &Q, remember: impl FnOnce(&Q)) -> u32
    where
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
        K: Borrow<Q>,
    {
        if let Some(number) = self.0.get(value) {
            return *number;
        }
        // A log holds at most `u32::MAX` lines, so at most as many values.
        let number = self.0.len() as u32;
        remember(value);
        self.0.insert(value.to_owned(), number);
        number
    }
}
