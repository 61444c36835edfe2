//! The last list of hosts for programs, which many of them ask for again and again while the inventory stays the same.

use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::inventory::inventory::Inventory;

/// Largest list that is kept, in bytes: some 20,000 hosts.
const KEPT_BYTES: usize = 8 * 1024 * 1024;

/// A list and what it was made of. An inventory never changes, so the same one with the same selector gives the same list.
struct Kept {
    /// Kept alive, so that no other inventory takes its place in memory.
    inventory: Arc<Inventory>,
    selector: String,
    text: Arc<str>,
}

/// See the module.
#[derive(Default)]
pub struct HostLines(Mutex<Option<Kept>>);

impl HostLines {
    /// The list of the same selector from the same inventory, if it is the one that is kept.
    pub fn get(&self, inventory: &Arc<Inventory>, selector: &str) -> Option<Arc<str>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |kept: &&Kept| Arc::ptr_eq(&kept.inventory, inventory) && kept.selector == selector;
        kept.as_ref().filter(same).map(|kept| kept.text.clone())
    }

    /// Keeps a list in the place of the last one.
    pub fn keep(&self, inventory: &Arc<Inventory>, selector: &str, text: Arc<str>) {
        if text.len() <= KEPT_BYTES {
            let (inventory, selector) = (inventory.clone(), selector.to_string());
            let kept = Some(Kept { inventory, selector, text });
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_that_of_the_same_inventory_and_selector_alone() {
        let (lines, inventory) = (HostLines::default(), Arc::new(Inventory::default()));
        assert_eq!(lines.get(&inventory, "all"), None);
        lines.keep(&inventory, "all", "x".into());
        assert_eq!(lines.get(&inventory, "all").as_deref(), Some("x"));
        assert_eq!(lines.get(&inventory, "web"), None);
        // Equal, and read again: what is the same is not compared host by host.
        assert_eq!(lines.get(&Arc::new(Inventory::default()), "all"), None);
        lines.keep(&inventory, "web", "y".into());
        assert_eq!(lines.get(&inventory, "all"), None, "one list is kept");
        lines.keep(&inventory, "web", "z".repeat(KEPT_BYTES + 1).into());
        assert_eq!(lines.get(&inventory, "web").as_deref(), Some("y"));
    }
}
