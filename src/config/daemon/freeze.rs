//! `[[freeze]]` of `rollcall.toml`: times in which nothing is released.

use jiff::tz::TimeZone;
use toml::Spanned;

use super::keys::{FreezeKeys, RollcallKeys};
use crate::config::checks::watching::time_zone;
use crate::config::text::diagnostic::Doc;
use crate::config::text::keys::{Key, Text};
use crate::config::text::reader::{self, Reader};
use crate::domain::inventory::inventory::Inventory;
use crate::domain::inventory::selector::select;
use crate::domain::lease::window::{Edge, Window, read_edge, times};

/// Reads the windows. `zone` is that of windows without their own.
pub fn read(doc: Doc<'_>, inventory: &Inventory, default: &TimeZone, complete: bool) -> Vec<Window> {
    let (doc, table) = reader::parse(doc);
    let mut file = Reader::of::<RollcallKeys>(doc, doc.path, (&table, None));
    let tables = file.list(RollcallKeys::FREEZE, "a freeze");
    tables.into_iter().filter_map(|table| read_window(table, inventory, (default, complete))).collect()
}

fn read_window(
    mut table: Reader<'_>,
    inventory: &Inventory,
    (default, complete): (&TimeZone, bool),
) -> Option<Window> {
    let hosts = table.required(FreezeKeys::HOSTS);
    let (from, until) = (edge(&mut table, FreezeKeys::FROM), edge(&mut table, FreezeKeys::UNTIL));
    let why = table.required(FreezeKeys::BECAUSE);
    let named = table.get(FreezeKeys::TIME_ZONE);
    let doc = table.doc;
    table.finish();
    let zone = named.map_or_else(|| Some(default.clone()), |name| time_zone(doc, &name));
    let hosts = hosts.and_then(|hosts| match select(inventory, hosts.get_ref()) {
        Ok(picked) => Some(picked.into_iter().collect()),
        Err(why) => {
            // A host may be in a file that is broken.
            let _ = complete.then(|| doc.wrong(hosts.span(), why.to_string()));
            None
        }
    });
    let until = until?;
    let times = times(from?.into_inner(), *until.get_ref());
    if let Err(why) = times {
        doc.wrong(until.span(), why);
    }
    Some(Window { hosts: hosts?, times: times.ok()?, zone: zone?, why: why?.into_inner() })
}

fn edge(table: &mut Reader<'_>, key: Key<Text>) -> Option<Spanned<Edge>> {
    let text = table.required(key)?;
    let edge = read_edge(text.get_ref());
    if edge.is_none() {
        let hint = "write a day of the week and a time, such as \"Fri 16:00\", or a date, such as \"2026-12-20 18:00\"";
        table.doc.report(text.span(), format!("`{}` is no time", text.get_ref()), hint.to_string());
    }
    edge.map(|edge| Spanned::new(text.span(), edge))
}
