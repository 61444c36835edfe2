//! Kinds of steps and probes, each identified by its key.

/// Declares an enum of kinds, with the key of each: its type and its text. There is one list, so that no kind lacks its
/// key and no match over kinds forgets one.
macro_rules! kinds {
    ($(#[$about:meta])* $vis:vis $name:ident of $table:ident {
        $($(#[doc = $doc:literal])* $kind:ident $key:ident $word:literal: $value:ty,)*
    }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name { $($kind,)* }

        impl $name {
            /// Every kind, in the order in which messages list them.
            pub const ALL: &[$name] = &[$($name::$kind,)*];

            /// The TOML key of the kind.
            pub fn key(self) -> &'static str {
                match self { $($name::$kind => $word,)* }
            }

            /// The keys of all kinds.
            pub fn keys() -> Vec<&'static str> {
                $name::ALL.iter().map(|kind| kind.key()).collect()
            }
        }

        $crate::config::text::keys::table! {
            /// One of these keys.
            $vis $table "Kinds" { $($(#[doc = $doc])* $key $word: $value,)* }
        }
    };
}

pub(crate) use kinds;
