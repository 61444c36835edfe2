//! Positions of hosts and of their checks, as types: a position of a host is never taken for one of a check.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// The position of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeIndex(u32);

/// The position of a check on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CheckIndex(u32);

/// The position of a check: of its host, and on that host.
pub(super) type SpotIndex = (NodeIndex, CheckIndex);

/// The position of the contact on every host.
pub(super) const CONTACT: CheckIndex = CheckIndex(0);

/// A position in a `Positions`, of which there are fewer than 2^32.
pub(super) trait Position: Copy {
    fn new(at: u32) -> Self;
    fn at(self) -> usize;
}

impl Position for NodeIndex {
    fn new(at: u32) -> NodeIndex {
        NodeIndex(at)
    }

    fn at(self) -> usize {
        self.0 as usize
    }
}

impl Position for CheckIndex {
    fn new(at: u32) -> CheckIndex {
        CheckIndex(at)
    }

    fn at(self) -> usize {
        self.0 as usize
    }
}

/// A list that is read by one type of position. A position is of an entry that is in it or is about to be added, and
/// nothing is removed.
#[derive(Debug)]
pub(super) struct Positions<P, T> {
    all: Vec<T>,
    by: PhantomData<P>,
}

impl<P: Position, T> Positions<P, T> {
    pub fn push(&mut self, one: T) -> P {
        let at = P::new(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        self.all.push(one);
        at
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.all.iter()
    }

    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.all.iter_mut()
    }

    /// The positions, without a borrow of the list.
    pub fn positions(&self) -> impl Iterator<Item = P> + use<P, T> {
        (0..).take(self.len()).map(P::new)
    }

    pub fn with_positions(&self) -> impl Iterator<Item = (P, &T)> {
        self.positions().zip(&self.all)
    }

    pub fn find(&self, is_it: impl Fn(&T) -> bool) -> Option<P> {
        self.with_positions().find(|(_, one)| is_it(one)).map(|(at, _)| at)
    }
}

impl<P, T> Default for Positions<P, T> {
    fn default() -> Self {
        Positions { all: Vec::new(), by: PhantomData }
    }
}

impl<P, T> IntoIterator for Positions<P, T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.into_iter()
    }
}

impl<P: Position, T> Index<P> for Positions<P, T> {
    type Output = T;

    fn index(&self, at: P) -> &T {
        &self.all[at.at()]
    }
}

impl<P: Position, T> IndexMut<P> for Positions<P, T> {
    fn index_mut(&mut self, at: P) -> &mut T {
        &mut self.all[at.at()]
    }
}
