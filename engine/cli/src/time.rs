//! Times and durations as people write and read them. Always UTC: what the engine prints is the same everywhere.

use crate::exit::one_line;
use lockgate_model::time::parse_rfc3339;
pub(crate) use lockgate_model::time::rfc3339;
use lockgate_model::units::MAX_QUANTITY;

/// Reads a logical time: RFC 3339, as in `2026-11-01T12:00:00Z`, or milliseconds since 1970.
pub(crate) fn parse_logical(text: &str) -> Result<u64, String> {
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        return match text.parse() {
            Ok(millis) if millis <= MAX_QUANTITY => Ok(millis),
            _ => Err("too far in the future".to_owned()),
        };
    }
    parse_rfc3339(text)
        .ok_or_else(|| "expected a time since 1970 as in `2026-11-01T12:00:00Z`, or milliseconds".to_owned())
}

/// A duration for people: `12 µs`, `3.4 ms`, `1.2 s`, `2 min 5 s`, `1 h 2 min`.
pub(crate) fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{}.{} ms", micros / 1_000, micros / 100 % 10),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{}.{} s", micros / 1_000_000, micros / 100_000 % 10),
        60_000_000..3_600_000_000 => format!("{} min {} s", micros / 60_000_000, micros / 1_000_000 % 60),
        _ => format!("{} h {} min", micros / 3_600_000_000, micros / 60_000_000 % 60),
    }
}

/// Parses a span of time of the command line, as in `10m`.
pub(crate) fn parse_span(text: &str) -> Result<lockgate_model::units::Millis, String> {
    text.parse().map_err(|error| one_line(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(parse_logical("0"), Ok(0));
        assert_eq!(parse_logical("946684800000"), Ok(946_684_800_000));
        assert_eq!(parse_logical("2000-01-01T00:00:00Z"), Ok(946_684_800_000));
    }

    #[test]
    fn wrong_times_are_refused() {
        for text in ["", "x", "-1", "2026-01-01", "2026-01-01T00:00:00", "99999999999999999999"] {
            assert!(parse_logical(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_short() {
        let shown: Vec<_> = [12, 3_456, 45_600, 1_290_000, 125_000_000, 3_720_000_000].map(duration).into();
        assert_eq!(shown, ["12 µs", "3.4 ms", "45 ms", "1.2 s", "2 min 5 s", "1 h 2 min"]);
    }
}
