//! Fuel schedule 1: what each wasm operator and each host call costs. Ours, set explicitly, so that an update of wasmtime does
//! not change it. Under another schedule all fuel figures differ: raise [`SCHEDULE`] with any change.

use wasmtime::{OperatorCost, VariableOperatorCost};

/// Number of this schedule.
pub(crate) const SCHEDULE: u32 = 1;
/// Fuel of each begun 64 bytes that a host call moves: hashing and copying them takes about as long as this many operators.
pub(crate) const PER_64_BYTES: u64 = 16;
/// Fuel of each entry that a call looks at in a tree, besides its bytes.
pub(crate) const PER_ENTRY: u64 = 100;
/// Fuel between two moments at which a guest gives way to others: about a millisecond.
pub(crate) const YIELD_INTERVAL: u64 = 1_000_000;

/// What a call of a host function costs before any bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// It looks at something that is in memory.
    Small,
    /// It may open or close a file, or walk directories.
    Open,
    /// It talks to another machine.
    Exchange,
}

impl Call {
    const ALL: [Self; 3] = [Self::Small, Self::Open, Self::Exchange];

    /// Units of fuel.
    pub(crate) const fn fuel(self) -> u64 {
        match self {
            Self::Small => 400,
            Self::Open => 10_000,
            Self::Exchange => 100_000,
        }
    }
}

/// Fuel for moving this many bytes.
pub(crate) const fn moving(bytes: u64) -> u64 {
    bytes.div_ceil(64).saturating_mul(PER_64_BYTES)
}

/// Costs of operators: none for those that make no code, one for each other; one more for each byte or element that bulk
/// operators move, and for a page of new memory what zeroing it takes.
pub(crate) fn operators() -> OperatorCost {
    OperatorCost {
        Nop: 0,
        Drop: 0,
        Block: 0,
        Loop: 0,
        Unreachable: 0,
        Return: 0,
        Else: 0,
        End: 0,
        variable: VariableOperatorCost {
            memory_copy_per_byte: 1,
            memory_fill_per_byte: 1,
            memory_init_per_byte: 1,
            memory_grow_per_page: 255,
            table_copy_per_element: 1,
            table_fill_per_element: 1,
            table_init_per_element: 1,
            table_grow_per_element: 1,
            ..VariableOperatorCost::new()
        },
        ..OperatorCost::new()
    }
}

/// The schedule as text, for the determinism version.
pub(crate) fn describe() -> String {
    let calls: Vec<_> = Call::ALL.iter().map(|call| format!("{call:?}={}", call.fuel())).collect();
    let operators = format!("{:?}", operators());
    format!(
        "schedule={SCHEDULE}\n{}\nper-64-bytes={PER_64_BYTES}\nper-entry={PER_ENTRY}\n{operators}\n",
        calls.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_those_of_schedule_1() {
        let costs = operators();
        assert_eq!((costs.Nop, costs.Block, costs.I32Add, costs.Call, costs.MemoryGrow), (0, 0, 1, 1, 1));
        assert_eq!(costs.variable.memory_grow_per_page, 255);
        assert_eq!((moving(0), moving(1), moving(64), moving(65)), (0, 16, 16, 32));
        assert_eq!(moving(u64::MAX), moving(u64::MAX - 1));
    }
}
