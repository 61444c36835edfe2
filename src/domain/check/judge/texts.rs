//! Compares texts with an expectation.

/// The expectation of a text.
#[derive(Default)]
pub(super) struct ExpectedText<'a> {
    pub equals: Option<&'a str>,
    pub contains: Option<&'a str>,
    pub matches: Option<&'a str>,
}

impl ExpectedText<'_> {
    /// Why `text` is not as expected; `None` when it is.
    pub(super) fn fault(&self, text: &str, what: &str) -> Option<String> {
        let got = shorten(text);
        if let Some(wanted) = self.equals.filter(|wanted| text != wanted.trim_end()) {
            return Some(format!("{what} is {got:?}, wanted {:?}", shorten(wanted)));
        }
        if let Some(wanted) = self.contains.filter(|wanted| !text.contains(*wanted)) {
            return Some(format!("{what} is {got:?}, wanted it to contain {:?}", shorten(wanted)));
        }
        let pattern = self.matches?;
        match regex::Regex::new(pattern) {
            Ok(regex) if regex.is_match(text) => None,
            Ok(_) => Some(format!("{what} is {got:?}, wanted it to match {pattern:?}")),
            Err(error) => Some(format!("the pattern {pattern:?} cannot be read: {error}")),
        }
    }
}

/// The number that a text is. A part of it proves nothing: `95,7` is not 95, and `0x1f` is not 0.
pub(super) fn whole_number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|value| value.is_finite())
}

/// The only number among the words of a text, such as `lag: 12 s`. With a second word that has digits, no word can be identified
/// as the number.
pub(super) fn only_number(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace().filter(|word| word.contains(|c: char| c.is_ascii_digit()));
    let number = whole_number(words.next()?)?;
    words.next().is_none().then_some(number)
}

/// At most 120 characters of the first line, for messages.
pub(super) fn shorten(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut short: String = line.chars().take(120).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
