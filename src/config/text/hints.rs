//! Hints with the nearest known names.

use crate::domain::base::name::nearest;

/// How many known names a hint lists before it says "and N more".
const NAMES_SHOWN: usize = 12;

/// `; did you mean ...?` for the nearest of the known names, or nothing.
pub fn did_you_mean<'n>(wrong: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    nearest(wrong, known).map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

/// `known: a, b`, for a hint.
pub fn known_names(mut known: Vec<&str>) -> String {
    if known.is_empty() {
        return "known: there are none".into();
    }
    let more = known.len().saturating_sub(NAMES_SHOWN);
    known.truncate(NAMES_SHOWN);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("known: {}{tail}", known.join(", "))
}
