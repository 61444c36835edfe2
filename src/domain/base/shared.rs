//! Values that many hosts share, kept once.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A value that equal ones may share in memory. Reads like the value; a write to one of them
/// does not change the others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Shared<T>(Arc<T>);

impl<T> From<T> for Shared<T> {
    fn from(value: T) -> Self {
        Shared(Arc::new(value))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<'a, T> IntoIterator for &'a Shared<Vec<T>> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Finds equal values by their digest.
#[derive(Debug)]
pub struct Pool<K, T>(HashMap<K, Shared<T>>);

impl<K: Hash + Eq, T> Pool<K, T> {
    /// The shared value for this digest.
    pub fn share(&mut self, digest: K, value: &mut Shared<T>) {
        *value = Shared(self.0.entry(digest).or_insert_with(|| Shared(value.0.clone())).0.clone());
    }
}

impl<K, T> Default for Pool<K, T> {
    fn default() -> Self {
        Pool(HashMap::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_kept_once_until_one_is_changed() {
        let mut pool = Pool::default();
        let (mut one, mut two) = (Shared::from(vec![1]), Shared::from(vec![1]));
        pool.share("a", &mut one);
        pool.share("a", &mut two);
        assert!(Arc::ptr_eq(&one.0, &two.0));
        two.push(2);
        assert_eq!((one.len(), two.len()), (1, 2));
        assert_eq!(serde_json::to_string(&two).unwrap(), "[1,2]");
    }
}
