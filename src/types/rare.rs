//! What most torrents do not have: nothing is kept of it but a null pointer.

use std::ops::{Deref, DerefMut};

/// A value that mostly is nothing. Whoever looks at it then sees [`Nothing::NOTHING`]; it is made when somebody is about
/// to change it.
#[derive(Clone, Debug)]
pub struct Rare<T>(Option<Box<T>>);

/// How there is nothing of it.
pub trait Nothing: Default + 'static {
    /// The same as the default.
    const NOTHING: &'static Self;

    /// True if nothing would be lost with it.
    fn is_nothing(&self) -> bool;
}

impl<T> Rare<T> {
    /// The value to be changed, if there is one.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }
}

impl<T: Nothing> Rare<T> {
    /// Keeps a value, if it is anything.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self((!value.is_nothing()).then(|| Box::new(value)))
    }

    /// Lets go of a value that has become nothing.
    pub fn settle(&mut self) {
        self.0.take_if(|value| value.is_nothing());
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Nothing> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::NOTHING)
    }
}

impl<T: Nothing> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Nothing for u8 {
        const NOTHING: &'static Self = &0;

        fn is_nothing(&self) -> bool {
            *self == 0
        }
    }

    #[test]
    fn looking_makes_nothing_and_nothing_is_let_go() {
        let mut rare = Rare::<u8>::default();
        assert!(*rare == 0 && rare.get_mut().is_none());
        *rare += 3;
        rare.settle();
        assert_eq!(*rare, 3);
        *rare -= 3;
        rare.settle();
        assert!(*rare == 0 && rare.get_mut().is_none());
    }
}
