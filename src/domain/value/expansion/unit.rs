//! Parts of a script, and the values that it expands.

/// The prefix of variables.
pub(super) const PREFIX: &str = "rollcall_";

/// A value for a script.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    pub text: String,
    /// The template allows it to be an option: `{{ flags | option }}`.
    pub may_be_option: bool,
}

/// One part of a script, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    Char(char),
    /// A value, by its index; its value is still unknown if there is none with that index.
    Value(usize),
    /// Script text that is known only when the template is rendered.
    Unknown,
    /// A block of the template starts here.
    Open,
    /// The other branch of the block.
    Between,
    /// The block ends.
    Close,
}
