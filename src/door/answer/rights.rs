//! `ask` and `grant`: rights for a time, which another person grants.

use super::asked::{Asked, Ended};
use crate::domain::ask::command::RightCommand;
use crate::domain::ask::temporary::{
    LONGEST, PER_OPERATOR, RightEnd, RightGrant, TemporaryRight, later, may_grant,
};
use crate::domain::base::refusal::{Cause, Refusal};
use crate::domain::inventory::inventory::Inventory;
use crate::door::rights::{narrowed, role_of};
use crate::present::{json, rights};

impl Asked<'_> {
    pub(super) async fn rights(&mut self, asked: &RightCommand) -> Result<u8, Ended> {
        match asked {
            RightCommand::List => self.list_rights().await,
            RightCommand::Ask { role, groups, time, reason } => {
                let right = TemporaryRight {
                    id: 0,
                    operator: self.operator.clone(),
                    role: role.clone(),
                    groups: groups.iter().cloned().collect(),
                    time: *time,
                    why: reason.clone(),
                    asked_at: self.desk.clock.now(),
                    granted: None,
                    ended: None,
                };
                self.ask_for(right).await
            }
            RightCommand::Grant { id } => self.grant_right(*id).await,
            RightCommand::End { id, reason } => self.end_right(*id, reason.clone()).await,
        }
    }

    /// An admin of all groups sees all of them, others their own: groups that one may not see are named in them.
    fn visible_rights(&self) -> Vec<TemporaryRight> {
        let operator = self.granted.person();
        let (is_admin, own) = (operator.is_admin(), operator.name.clone());
        let mut all = self.desk.rights.open();
        all.retain(|right| right.operator == own || is_admin && self.may_grant(right).is_ok());
        all
    }

    async fn list_rights(&mut self) -> Result<u8, Ended> {
        let all = self.visible_rights();
        // What operators have typed themselves reveals nothing to them.
        for right in all.iter().filter(|right| right.operator == self.operator) {
            let groups = right.groups.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
            self.terminal.may_name(&format!("{groups} {}", right.why));
        }
        let text = match self.json {
            true => all.iter().map(|right| json::line("right", right)).collect(),
            false => rights::rights(&all, self.desk.clock.now()),
        };
        self.say(&text).await
    }

    async fn ask_for(&mut self, right: TemporaryRight) -> Result<u8, Ended> {
        if right.time > LONGEST {
            let why = "temporary rights last for 7 days at most";
            return Err(Refusal::usage(why)
                .hint("try: ask an admin to change your line in `operators`")
                .into());
        }
        if role_of(&right.role, &self.config).is_none() {
            return Err(no_role(&right.role).into());
        }
        let Some(id) = self.desk.rights.ask(&self.granted, right.clone()).await? else {
            let why = format!("{} has {PER_OPERATOR} requests and rights already", self.operator);
            return Err(Refusal::new(Cause::Busy, why).hint("try: grant end N; see: ask").into());
        };
        let right = TemporaryRight { id, ..right };
        tracing::info!(operator = self.operator, id, role = right.role, groups = ?right.groups, why = right.why, "asked for rights");
        let text = if self.json { json::line("right", &right) } else { rights::asked(&right) };
        self.say(&text).await
    }

    fn may_grant(&self, right: &TemporaryRight) -> Result<(), Refusal> {
        let role = role_of(&right.role, &self.config).ok_or_else(|| no_role(&right.role))?;
        if narrowed(&right.groups, &role).is_empty() {
            return Err(Refusal::rule(format!("the role {} has none of these groups", right.role)));
        }
        may_grant(self.granted.person(), right, &role)
    }

    /// A request that this operator may see.
    fn open_right(&self, id: u64) -> Result<TemporaryRight, Refusal> {
        let found = self.visible_rights().into_iter().find(|right| right.id == id);
        found.ok_or_else(|| Refusal::not_found(format!("no request or right {id} is open")).hint("see: ask"))
    }

    async fn grant_right(&mut self, id: u64) -> Result<u8, Ended> {
        let right = self.open_right(id)?;
        self.may_grant(&right)?;
        let whole = self.config.inventory.clone();
        if let Some(unknown) = right.groups.iter().find(|group| !knows(&whole, group)) {
            return Err(Refusal::not_found(format!("no group is called `{unknown}`"))
                .hint("see: hosts")
                .into());
        }
        let at = self.desk.clock.now();
        let operator = self.granted.person();
        let grant = RightGrant {
            by: operator.name.clone(),
            key: operator.key.clone(),
            at,
            until: later(at, right.time),
        };
        if !self.desk.rights.grant(&self.granted, id, grant.clone()).await? {
            return Err(Refusal::rule(format!("request {id} is over, or granted already"))
                .hint("see: ask")
                .into());
        }
        let right = TemporaryRight { granted: Some(grant), ..right };
        tracing::info!(operator = self.operator, id, to = right.operator, role = right.role, groups = ?right.groups, "granted rights");
        let text = if self.json { json::line("right", &right) } else { rights::granted(&right) };
        self.say(&text).await
    }

    async fn end_right(&mut self, id: u64, why: Option<String>) -> Result<u8, Ended> {
        let right = self.open_right(id)?;
        let end = RightEnd { by: self.operator.clone(), at: self.desk.clock.now(), why };
        if !self.desk.rights.end(&self.granted, id, end).await? {
            return Err(Refusal::rule(format!("no request or right {id} is open")).hint("see: ask").into());
        }
        tracing::info!(operator = self.operator, id, of = right.operator, "ended rights");
        let text = match self.json {
            true => json::line("right-ended", serde_json::json!({ "id": id })),
            false => format!("{id}: ended; {} has these rights no more, and runs continue\n", right.operator),
        };
        self.say(&text).await
    }
}

fn knows(inventory: &Inventory, group: &str) -> bool {
    inventory.groups.contains_key(group)
}

fn no_role(name: &str) -> Refusal {
    let hint = "the roles are viewer, operator, admin, and those of rollcall.toml";
    Refusal::not_found(format!("there is no role `{name}`")).hint(hint)
}
