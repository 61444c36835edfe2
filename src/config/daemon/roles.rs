//! `[roles.NAME]`: roles of one's own. What a role does not list, it may not do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::tz::TimeZone;
use toml::Spanned;

use super::keys::{RoleKeys, RoleWords, RollcallKeys};
use crate::config::checks::watching::time_zone;
use crate::config::text::diagnostic::Doc;
use crate::config::text::keys::WordList;
use crate::config::text::reader::{self, Reader};
use crate::domain::ask::command::command_paths;
use crate::domain::ask::hours::{Hours, Span};
use crate::domain::ask::own_role::OwnRole;
use crate::domain::base::name::check_name;

/// The only command that no role of one's own has: with it, a role could give itself any right.
const NEVER: &str = "operator enroll";

/// Roles by name.
pub type Roles = BTreeMap<String, Arc<OwnRole>>;

/// The names that roles refer to. `None`: not all of them are known.
pub struct RoleNames<'n> {
    pub tasks: Option<&'n BTreeSet<String>>,
    pub groups: Option<&'n BTreeSet<String>>,
    /// The zone of `hours` without `time_zone`.
    pub zone: &'n TimeZone,
}

/// Reads every role of `rollcall.toml`; the rest of the file is read elsewhere.
pub fn read(doc: Doc<'_>, names: &RoleNames<'_>) -> Roles {
    let (doc, table) = reader::parse(doc);
    let mut roles = Roles::new();
    let mut file = Reader::of::<RollcallKeys>(doc, doc.path, (&table, None));
    for (name, value) in file.entries(RollcallKeys::ROLES) {
        check_role_name(doc, &name);
        let what = format!("role {}", name.get_ref());
        let Some(table) = Reader::inside::<RoleKeys>(doc, what, name.get_ref(), value) else { continue };
        let role = read_role(table, name.get_ref(), names);
        roles.insert(name.into_inner(), Arc::new(role));
    }
    roles
}

fn check_role_name(doc: Doc<'_>, name: &Spanned<String>) {
    if let Err(why) = check_name(name.get_ref()) {
        doc.wrong(name.span(), format!("`{}` cannot name a role: {why}", name.get_ref()));
    }
    if RoleWords::meaning(name.get_ref()).is_some() {
        let message = format!("`{}` is a built-in role", name.get_ref());
        doc.report(name.span(), message, "give it another name".to_string());
    }
}

fn read_role(mut table: Reader<'_>, name: &str, names: &RoleNames<'_>) -> OwnRole {
    let doc = table.doc;
    let paths: BTreeSet<String> = command_paths().into_iter().filter(|path| path != NEVER).collect();
    let includes = table.get(RoleKeys::INCLUDES);
    let commands = known(doc, "command", table.get(RoleKeys::COMMANDS).unwrap_or_default(), Some(&paths));
    let tasks = known(doc, "task", table.get(RoleKeys::TASKS).unwrap_or_default(), names.tasks);
    let groups = table.get(RoleKeys::GROUPS).map(|groups| known(doc, "group", groups, names.groups));
    let zone = table.get(RoleKeys::TIME_ZONE).and_then(|zone| time_zone(doc, &zone));
    let zone = zone.unwrap_or_else(|| names.zone.clone());
    let hours = table.get(RoleKeys::HOURS).map(|spans| read_hours(doc, spans, zone));
    if includes.is_none() && commands.is_empty() && tasks.is_empty() {
        let hint = "list `commands` or `tasks`, or name a role that it `includes`".to_string();
        doc.report(table.span.clone(), format!("the role {name} may do nothing"), hint);
    }
    let needs_approval = table.or_default(RoleKeys::NEEDS_APPROVAL);
    let fresh = table.positive(RoleKeys::FRESH, "no login would be fresh");
    let touch = table.or_default(RoleKeys::TOUCH);
    table.finish();
    OwnRole { name: name.to_string(), includes, commands, tasks, groups, hours, needs_approval, fresh, touch }
}

fn known(
    doc: Doc<'_>,
    what: &str,
    written: Vec<Spanned<String>>,
    known: Option<&BTreeSet<String>>,
) -> BTreeSet<String> {
    for name in &written {
        if let Some(known) = known.filter(|known| !known.contains(name.get_ref())) {
            doc.unknown(name.span(), what, name.get_ref(), known.iter().map(String::as_str));
        }
    }
    written.into_iter().map(Spanned::into_inner).collect()
}

/// Times of the week, in a zone.
pub(super) fn read_hours(doc: Doc<'_>, spans: Vec<Spanned<String>>, zone: TimeZone) -> Hours {
    let read = |text: Spanned<String>| match Span::parse(text.get_ref()) {
        Ok(span) => Some(span),
        Err(why) => {
            doc.wrong(text.span(), why);
            None
        }
    };
    Hours { spans: spans.into_iter().filter_map(read).collect(), zone }
}
