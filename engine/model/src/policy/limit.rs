//! The limits of a node by name, so that a policy may say something of each, and none can be forgotten.

use crate::limits::Limits;
use crate::units::{Bytes, Fuel, Millis};

/// A number of any unit.
trait Quantity: Copy {
    fn number(self) -> u64;
    fn of(number: u64) -> Self;
}

impl Quantity for u64 {
    fn number(self) -> u64 {
        self
    }

    fn of(number: u64) -> Self {
        number
    }
}

macro_rules! quantities {
    ($($unit:ident)+) => {
        $(impl Quantity for $unit {
            fn number(self) -> u64 {
                self.0
            }

            fn of(number: u64) -> Self {
                Self(number)
            }
        })+
    };
}

quantities!(Fuel Bytes Millis);

macro_rules! limits {
    ($($variant:ident $field:ident: $unit:ident;)+) => {
        /// One field of [`Limits`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Limit {
            $(#[doc = concat!("[`Limits::", stringify!($field), "`]")] $variant,)+
        }

        impl Limit {
            /// All of them.
            pub const ALL: [Self; [$(stringify!($field)),+].len()] = [$(Self::$variant),+];

            /// Its name in files.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($field),)+
                }
            }

            /// The path of its key in a policy.
            pub const fn path(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("limits.", stringify!($field)),)+
                }
            }

            /// Its value.
            pub fn of(self, limits: &Limits) -> u64 {
                // Taken apart, so that a new limit cannot be forgotten here.
                let Limits { $($field),+ } = limits;
                match self {
                    $(Self::$variant => Quantity::number(*$field),)+
                }
            }

            /// Sets its value.
            pub fn set(self, limits: &mut Limits, number: u64) {
                match self {
                    $(Self::$variant => limits.$field = Quantity::of(number),)+
                }
            }

            /// A value of it, for people.
            pub fn show(self, number: u64) -> String {
                match self {
                    $(Self::$variant => <$unit as Quantity>::of(number).to_string(),)+
                }
            }
        }
    };
}

limits! {
    Fuel fuel: Fuel;
    StartFuel start_fuel: Fuel;
    Memory memory: Bytes;
    TableElements table_elements: u64;
    Handles handles: u64;
    CallBytes call_bytes: Bytes;
    Log log: Bytes;
    Output output: Bytes;
    OutputEntries output_entries: u64;
    Findings findings: u64;
    Effects effects: u64;
    Timeout timeout: Millis;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_read_set_and_shown_by_its_own_name() {
        for (index, limit) in Limit::ALL.into_iter().enumerate() {
            let mut limits = Limits::default();
            limit.set(&mut limits, 1_000 + index as u64);
            assert_eq!(limit.of(&limits), 1_000 + index as u64);
            let json = serde_json::to_value(&limits).unwrap();
            assert_eq!(json[limit.name()], 1_000 + index as u64, "{limit:?}");
            assert_eq!(limit.path(), format!("limits.{}", limit.name()));
            limit.set(&mut limits, limit.of(&Limits::default()));
            assert_eq!(limits, Limits::default());
        }
        assert_eq!(Limit::Fuel.show(2_000_000_000), "2G");
        assert_eq!(Limit::Memory.show(64 << 20), "64 MiB");
        assert_eq!(Limit::Timeout.show(30_000), "30 s");
        assert_eq!(Limit::Effects.show(1_000), "1000");
    }
}
