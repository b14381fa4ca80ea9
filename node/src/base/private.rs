//! Private data that must never reach a log or an error: a patient's name, a passphrase, a key.

use std::fmt;
use zeroize::Zeroize;

/// A value that no `Debug` or `Display` prints, wiped from memory when dropped.
///
/// Reading it is an explicit act: [`Private::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Private<T: Zeroize>(T);

impl<T: Zeroize> Private<T> {
    /// Takes charge of a private value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself; the caller answers for where it goes.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> From<T> for Private<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Zeroize> Drop for Private<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(private)")
    }
}
