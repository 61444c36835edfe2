//! The keys of the files: each is declared once, with the type of its value and its default. Readers take these keys,
//! and the JSON Schemas and `docs/reference.md` are written from them.

use std::marker::PhantomData;
use std::time::Duration;

use serde_json::{Value, json};

use super::table::{Declared, Shape};

/// A key of a table, as `table!` declares it. `T` says what its value is; `D` is the type of the default, `()` without one.
pub struct Key<T, D = ()> {
    pub name: &'static str,
    pub default: D,
    value: PhantomData<T>,
}

impl<T, D> Key<T, D> {
    /// For `table!` alone, so that every key is in the schema.
    pub const fn new(name: &'static str, default: D) -> Self {
        Key { name, default, value: PhantomData }
    }
}

impl<A, B, D> Key<Or<A, B>, D> {
    /// The key, where its value is of the first type.
    pub const fn first(&self) -> Key<A> {
        Key::new(self.name, ())
    }

    /// The key, where its value is of the second type.
    pub const fn second(&self) -> Key<B> {
        Key::new(self.name, ())
    }
}

impl<T, D: Copy> Clone for Key<T, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, D: Copy> Copy for Key<T, D> {}

/// The type of a value.
pub trait KeyType {
    /// What a default of this type is.
    type Default;

    /// The type for the schema.
    fn shape() -> Shape;

    /// A default as a file would have it.
    fn written(default: Self::Default) -> Value;
}

/// Types that are declared here: a name, the type of a default, the shape, and a default as it is written.
macro_rules! types {
    ($($(#[$about:meta])* $name:ident: $default:ty = $shape:expr, |$value:ident| $written:expr;)*) => {$(
        $(#[$about])*
        pub enum $name {}

        impl KeyType for $name {
            type Default = $default;
            fn shape() -> Shape {
                $shape
            }
            fn written($value: $default) -> Value {
                $written
            }
        }
    )*};
}

types! {
    /// Any string.
    Text: &'static str = Shape::Text, |text| json!(text);
    /// One word without blanks.
    Word: &'static str = Shape::Text, |text| json!(text);
    /// A time with its unit, at most 30 days.
    Time: Duration = Shape::Time, |time| json!(time_text(time, &UNITS[1..]));
    /// A time for which history is kept, which may have days as its unit.
    KeptTime: Duration = Shape::LongTime, |time| json!(time_text(time, &UNITS));
    /// Bytes with their unit.
    Size: u64 = Shape::Size, |bytes| json!(size_text(bytes));
    /// A part of a whole: `"25%"`.
    Share: &'static str = Shape::Share, |share| json!(share);
    /// A TCP port.
    Port: u16 = Shape::Whole(1, u32::from(u16::MAX)), |port| json!(port);
    /// `true` or `false`.
    Flag: bool = Shape::Flag, |flag| json!(flag);
    /// A string, or a list of strings.
    Texts: &'static [&'static str] = Or::<Text, ListOf<Text>>::shape(), |texts| match texts {
        [one] => json!(one),
        all => json!(all),
    };
    /// Octal digits, as chmod reads them.
    Mode: u32 = Shape::Mode, |mode| json!(format!("{mode:04o}"));
    /// A string, a number, or true or false.
    Scalar: &'static str = Shape::Scalar, |text| json!(text);
    /// A range of numbers in Nagios' syntax, or one number.
    Threshold: &'static str = Shape::NumberOrText, |range| json!(range);
    /// Any value.
    Any: Value = Shape::Any, |value| value;
}

/// A whole number, from `FROM` to `TO`.
pub enum Whole<const FROM: u32 = 0, const TO: u32 = { u32::MAX }> {}

impl<const FROM: u32, const TO: u32> KeyType for Whole<FROM, TO> {
    type Default = u32;
    fn shape() -> Shape {
        Shape::Whole(FROM, TO)
    }
    fn written(default: u32) -> Value {
        json!(default)
    }
}

/// A port, or a template that becomes one.
pub type PortOrTemplate = Or<Port, Text>;

/// A number of things, or a part of them such as `"25%"`.
pub type NumberOrShare = Or<Whole, Share>;

/// One word out of a list.
pub struct Choice<W>(PhantomData<W>);

/// The words of a [`Choice`], each with its meaning. `words!` declares them.
pub trait WordList {
    type Meaning: Clone + PartialEq + 'static;
    const ALL: &'static [(&'static str, Self::Meaning)];

    /// What a word means.
    fn meaning(word: &str) -> Option<Self::Meaning> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, meaning)| meaning.clone())
    }

    /// All words, as messages list them.
    fn words() -> Vec<&'static str> {
        Self::ALL.iter().map(|(word, _)| *word).collect()
    }
}

/// One word out of a list, or several of them.
pub struct Choices<W>(PhantomData<W>);

impl<W: WordList> KeyType for Choices<W> {
    type Default = W::Meaning;
    fn shape() -> Shape {
        Or::<Choice<W>, ListOf<Choice<W>>>::shape()
    }
    fn written(default: W::Meaning) -> Value {
        Choice::<W>::written(default)
    }
}

impl<W: WordList> KeyType for Choice<W> {
    type Default = W::Meaning;
    fn shape() -> Shape {
        Shape::Words(W::words())
    }
    fn written(default: W::Meaning) -> Value {
        W::ALL.iter().find(|(_, meaning)| *meaning == default).map_or(Value::Null, |(word, _)| json!(word))
    }
}

/// A list.
pub struct ListOf<T>(PhantomData<T>);

impl<T: KeyType> KeyType for ListOf<T> {
    type Default = Value;
    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }
    fn written(default: Value) -> Value {
        default
    }
}

/// A table whose keys are names that its writer chooses.
pub struct MapOf<T>(PhantomData<T>);

impl<T: KeyType> KeyType for MapOf<T> {
    type Default = Value;
    fn shape() -> Shape {
        Shape::Map(Box::new(T::shape()))
    }
    fn written(default: Value) -> Value {
        default
    }
}

/// A value of one of two types; a default is of the first.
pub struct Or<A, B>(PhantomData<(A, B)>);

impl<A: KeyType, B: KeyType> KeyType for Or<A, B> {
    type Default = A::Default;
    fn shape() -> Shape {
        Shape::Either(vec![A::shape(), B::shape()])
    }
    fn written(default: A::Default) -> Value {
        A::written(default)
    }
}

/// A table with declared keys.
pub struct In<T>(PhantomData<T>);

impl<T: Declared> KeyType for In<T> {
    type Default = Value;
    fn shape() -> Shape {
        Shape::Table(T::TABLE)
    }
    fn written(default: Value) -> Value {
        default
    }
}

/// Units of time, largest first, in seconds. Only times for which history is kept have days.
const UNITS: [(u64, &str); 3] = [(24 * 60 * 60, "d"), (60 * 60, "h"), (60, "m")];

/// Units of sizes, largest first.
pub(super) const SIZES: [(u64, &str); 4] =
    [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];

/// In the largest unit that leaves no rest.
pub fn size_text(bytes: u64) -> String {
    let fits = |(size, _): &&(u64, &str)| bytes >= *size && bytes.is_multiple_of(*size);
    match SIZES.iter().find(fits) {
        Some((size, unit)) => format!("{} {unit}", bytes / size),
        None => format!("{bytes} B"),
    }
}

/// In the largest unit that leaves no rest.
fn time_text(time: Duration, units: &[(u64, &str)]) -> String {
    let seconds = time.as_secs();
    let fits = |(size, _): &&(u64, &str)| seconds >= *size && seconds.is_multiple_of(*size);
    let (size, unit) = units.iter().find(fits).copied().unwrap_or((1, "s"));
    format!("{}{unit}", seconds / size)
}

/// Declares tables. A key has a constant by which it is read, its name, its type and, where there is one, its default; a key
/// without which the table is wrong is marked `; needed`. The comments are the text of the reference.
///
/// A key that is declared and never read is an unused constant, of which the compiler warns.
macro_rules! table {
    ($($(#[doc = $about:literal])* $vis:vis $table:ident $title:literal $([$($part:ty),*])? {
        $($(#[doc = $doc:literal])* $key:ident $name:literal: $value:ty $(= $default:expr)? $(; $needed:ident)?,)*
        $(.. $others:ty)?
    })*) => {$(
        $(#[doc = $about])*
        $vis enum $table {}

        impl $table {
            $(
                $(#[doc = $doc])*
                pub const $key: $crate::config::text::keys::Key<
                    $value,
                    $crate::config::text::keys::default_of!(type $value $(= $default)?),
                > = $crate::config::text::keys::Key::new(
                    $name,
                    $crate::config::text::keys::default_of!(value $($default)?),
                );
            )*
        }

        impl $crate::config::text::table::Declared for $table {
            const TABLE: &'static $crate::config::text::table::Table = &$crate::config::text::table::Table {
                name: $title,
                about: concat!($($about),*),
                parts: &[$($(<$part as $crate::config::text::table::Declared>::TABLE),*)?],
                keys: &[$($crate::config::text::table::Described::new(
                    ($name, concat!($($doc),*)),
                    <$value as $crate::config::text::keys::KeyType>::shape,
                    $crate::config::text::keys::default_of!(written $value $(= $default)?),
                    $crate::config::text::keys::default_of!(needed $($needed)?),
                )),*],
                others: $crate::config::text::keys::default_of!(others $($others)?),
            };
        }
    )*};
}

/// The parts of a declaration that may be absent.
macro_rules! default_of {
    (type $value:ty) => {
        ()
    };
    (type $value:ty = $default:expr) => {
        <$value as $crate::config::text::keys::KeyType>::Default
    };
    (value) => {
        ()
    };
    (value $default:expr) => {
        $default
    };
    (written $value:ty) => {
        || None
    };
    (written $value:ty = $default:expr) => {
        || Some(<$value as $crate::config::text::keys::KeyType>::written($default))
    };
    (needed) => {
        false
    };
    (needed needed) => {
        true
    };
    (others) => {
        None
    };
    (others $others:ty) => {
        Some(<$others as $crate::config::text::keys::KeyType>::shape)
    };
}

/// Declares the words that a key can have, each with its meaning.
macro_rules! words {
    ($($(#[$about:meta])* $vis:vis $name:ident: $meaning:ty { $($word:literal = $value:expr,)* })*) => {$(
        $(#[$about])*
        $vis enum $name {}

        impl $crate::config::text::keys::WordList for $name {
            type Meaning = $meaning;
            const ALL: &'static [(&'static str, $meaning)] = &[$(($word, $value)),*];
        }
    )*};
}

pub(crate) use {default_of, table, words};
