//! Numbers over time in one line: the lowest one is the lowest sign, and a time without any is blank.

use super::page::Cell;

/// From the lowest to the highest. The blocks are for browsers: some terminals draw them two cells wide.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const LETTERS: [char; 8] = ['_', '.', '-', ':', '=', '+', '*', '#'];

/// A cell of numbers with their words; an empty one without any number.
pub fn cell(numbers: &[Option<f64>], words: impl FnOnce(f64, f64) -> String) -> Cell {
    let known = || numbers.iter().flatten().copied().filter(|number| number.is_finite());
    let (low, high) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    if low > high {
        return Cell::text("");
    }
    let highest = BLOCKS.len() - 1;
    let level = |number: &f64| match high > low {
        // At most the highest one: the part is between 0 and 1.
        true => ((number - low) / (high - low) * highest as f64).round() as u8,
        false => 0,
    };
    let levels = numbers.iter().map(|number| number.as_ref().filter(|number| number.is_finite()).map(level));
    Cell::Spark(levels.collect(), words(low, high))
}

/// The line for browsers.
pub fn blocks(levels: &[Option<u8>]) -> String {
    drawn(levels, &BLOCKS)
}

/// The line for terminals and text.
pub fn letters(levels: &[Option<u8>]) -> String {
    drawn(levels, &LETTERS)
}

fn drawn(levels: &[Option<u8>], signs: &[char; 8]) -> String {
    let sign = |level: &Option<u8>| level.and_then(|level| signs.get(usize::from(level)).copied());
    levels.iter().map(|level| sign(level).unwrap_or(' ')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_number_is_the_lowest_sign() {
        let words = |low: f64, high: f64| format!("{low} to {high}");
        let rows = [
            (vec![Some(0.0), Some(3.5), None, Some(7.0)], "_= #", "▁▅ █", "0 to 7"),
            (vec![Some(5.0), Some(5.0)], "__", "▁▁", "5 to 5"),
            (vec![Some(-1.0), Some(f64::NAN), Some(1.0)], "_ #", "▁ █", "-1 to 1"),
        ];
        for (numbers, wanted, wanted_blocks, said) in rows {
            let Cell::Spark(levels, text) = cell(&numbers, words) else { panic!("{numbers:?}") };
            assert_eq!((letters(&levels).as_str(), blocks(&levels).as_str()), (wanted, wanted_blocks));
            assert_eq!(text, said);
        }
        for none in [&[][..], &[None], &[Some(f64::NAN)]] {
            assert_eq!(cell(none, words), Cell::text(""));
        }
    }
}
