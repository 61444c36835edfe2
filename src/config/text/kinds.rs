//! Kinds of tables, each identified by its key.

/// Declares an enum of kinds, with the TOML key of each. There is one list, so that no kind lacks its key
/// and no match over kinds forgets one.
macro_rules! kinds {
    ($(#[$about:meta])* $vis:vis $name:ident of $table:ident {
        $($(#[doc = $doc:literal])* $kind:ident $key:ident $word:literal: $value:ty,)*
    }) => {
        $crate::config::text::kinds::kinds! { $(#[$about])* $name { $($kind = $word,)* } }

        $crate::config::text::keys::table! {
            /// One of these keys.
            $vis $table "Kinds" { $($(#[doc = $doc])* $key $word: $value,)* }
        }
    };
    ($(#[$doc:meta])* $name:ident { $($kind:ident = $key:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($kind,)* }

        impl $name {
            /// Every kind, in the order in which messages list them.
            pub const ALL: &[$name] = &[$($name::$kind,)*];

            /// The TOML key of the kind.
            pub fn key(self) -> &'static str {
                match self { $($name::$kind => $key,)* }
            }

            /// The keys of all kinds.
            pub fn keys() -> Vec<&'static str> {
                $name::ALL.iter().map(|kind| kind.key()).collect()
            }
        }
    };
}

pub(crate) use kinds;
