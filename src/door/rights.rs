//! The temporary rights in force: the stored ones, kept in memory because every command asks for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{Mutex, watch};

use crate::config::Config;
use crate::domain::ask::access::{ExtraRight, Granted, Operator, OperatorRole, Role};
use crate::domain::ask::temporary::{RightEnd, RightGrant, TemporaryRight};
use crate::domain::inventory::inventory::is_within;
use crate::port::{Clock, RightStore, StoreError};

/// See the module.
pub struct Rights {
    store: Arc<dyn RightStore>,
    clock: Arc<dyn Clock>,
    open: watch::Sender<Arc<Vec<TemporaryRight>>>,
    /// One change at a time: an older list must not replace a newer one.
    changing: Mutex<()>,
}

impl Rights {
    /// Those of the store. Until [`Rights::read`] there are none.
    pub fn new(store: Arc<dyn RightStore>, clock: Arc<dyn Clock>) -> Rights {
        Rights { store, clock, open: watch::Sender::default(), changing: Mutex::default() }
    }

    /// Reads the stored rights.
    pub async fn read(&self) -> Result<(), StoreError> {
        let open = self.store.rights(self.clock.now()).await?;
        self.open.send_replace(Arc::new(open));
        Ok(())
    }

    /// Changes of them.
    pub fn changes(&self) -> watch::Receiver<Arc<Vec<TemporaryRight>>> {
        self.open.subscribe()
    }

    /// Requests that wait and rights that hold, oldest first.
    pub fn open(&self) -> Vec<TemporaryRight> {
        let now = self.clock.now();
        self.open.borrow().iter().filter(|right| right.is_open(now)).cloned().collect()
    }

    /// The operator with the temporary rights that hold. A role that the configuration does not have any more gives none.
    pub fn add_to(&self, operator: Operator, config: &Config, now: Timestamp) -> Operator {
        let open = self.open.borrow();
        let own = open.iter().filter(|right| right.operator == operator.name && right.holds(now));
        let extra = own.filter_map(|right| {
            let until = right.granted.as_ref()?.until;
            let role = role_of(&right.role, config)?;
            let groups = narrowed(&right.groups, &role);
            Some(ExtraRight { id: right.id, role, groups, until })
        });
        let extra = extra.collect();
        Operator { extra, ..operator }
    }

    /// Stores a request; `None` if the operator has too many already.
    pub async fn ask(&self, _proof: &Granted, right: TemporaryRight) -> Result<Option<u64>, StoreError> {
        let _one_at_a_time = self.changing.lock().await;
        let id = self.store.ask_right(right).await?;
        self.read().await.map(|()| id)
    }

    /// Grants a request; false if it is over or granted already.
    pub async fn grant(&self, _proof: &Granted, id: u64, grant: RightGrant) -> Result<bool, StoreError> {
        let _one_at_a_time = self.changing.lock().await;
        let done = self.store.grant_right(id, grant).await?;
        self.read().await.map(|()| done)
    }

    /// Ends a right or a request; false if it is over.
    pub async fn end(&self, _proof: &Granted, id: u64, end: RightEnd) -> Result<bool, StoreError> {
        let _one_at_a_time = self.changing.lock().await;
        let done = self.store.end_right(id, end).await?;
        // Whatever the next read brings: it has ended.
        self.open.send_modify(|open| Arc::make_mut(open).retain(|right| right.id != id));
        self.read().await.map(|()| done)
    }
}

/// A role by its name.
pub fn role_of(name: &str, config: &Config) -> Option<OperatorRole> {
    let standard: BTreeMap<String, Role> =
        [Role::Viewer, Role::Operator, Role::Admin].map(|role| (role.to_string(), role)).into();
    let own = || config.roles.get(name).map(|role| OperatorRole::Own(role.clone()));
    standard.get(name).map(|role| OperatorRole::Standard(*role)).or_else(own)
}

/// The groups of a right within those of its role.
pub fn narrowed(groups: &BTreeSet<String>, role: &OperatorRole) -> BTreeSet<String> {
    let OperatorRole::Own(role) = role else { return groups.clone() };
    let Some(of_role) = &role.groups else { return groups.clone() };
    let within = |some: &BTreeSet<String>, others: &BTreeSet<String>| -> BTreeSet<String> {
        some.iter().filter(|group| is_within(group, others)).cloned().collect()
    };
    within(groups, of_role).into_iter().chain(within(of_role, groups)).collect()
}
