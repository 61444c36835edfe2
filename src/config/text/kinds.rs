//! Kinds of things that a table is one of, by the key that says which.

/// Declares an enum of kinds, with the key that each is written with. There is one list, so that no kind lacks its key
/// and no match over kinds forgets one.
macro_rules! kinds {
    ($(#[$doc:meta])* $name:ident { $($kind:ident = $key:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($kind,)* }

        impl $name {
            /// Every kind, in the order in which messages list them.
            pub const ALL: &[$name] = &[$($name::$kind,)*];

            /// The key that it is written with.
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
