//! Whether a problem is new, in words.

use jiff::Timestamp;

use crate::domain::run::history::Standing;

/// `NEW`, or `still, since run 38 (2026-11-22)`.
pub fn words(standing: Standing) -> String {
    match standing {
        Standing::New => "NEW".into(),
        Standing::Still { since, at_s, is_older } => {
            let day = Timestamp::from_second(at_s).map(|at| at.strftime("%Y-%m-%d").to_string());
            let day = day.map(|day| format!(" ({day})")).unwrap_or_default();
            format!("still, since run {since}{}{day}", if is_older { " or before" } else { "" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::name::RunId;

    #[test]
    fn a_standing_has_a_run_and_a_day() {
        let still = |is_older| Standing::Still { since: RunId(38), at_s: 1_000_000, is_older };
        let rows = [
            (Standing::New, "NEW"),
            (still(false), "still, since run 38 (1970-01-12)"),
            (still(true), "still, since run 38 or before (1970-01-12)"),
        ];
        for (standing, wanted) in rows {
            assert_eq!(words(standing), wanted);
        }
    }
}
