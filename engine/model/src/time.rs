//! Moments as text: RFC 3339 to milliseconds since 1970 and back, always in UTC, so that it is the same everywhere. Conversions
//! only: nothing here asks what time it is.

const DAY: u64 = 86_400_000;

/// Reads a moment from 1970 to 9999, as in `2026-11-01T12:00:00Z` or `2026-11-01T13:00:00.5+01:00`; what is finer than a millisecond
/// is cut. None where it is not one, where it has no offset, and for a leap second.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    if !text.is_ascii() || bytes.len() < 20 || !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    for (at, sign) in [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')] {
        if bytes[at] != sign {
            return None;
        }
    }
    let (year, month, day) = (number(&text[..4])?, number(&text[5..7])?, number(&text[8..10])?);
    let (hour, minute, second) = (number(&text[11..13])?, number(&text[14..16])?, number(&text[17..19])?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut rest = &text[19..];
    let mut millis = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return None;
        }
        // What is finer than a millisecond is cut.
        millis = number(&format!("{:0<3}", &fraction[..digits.min(3)]))?;
        rest = &fraction[digits..];
    }
    let offset = match rest {
        "Z" | "z" => 0,
        _ => offset_minutes(rest)?,
    };
    let local = days_before(year, month, day) * DAY + hour * 3_600_000 + minute * 60_000 + second * 1_000 + millis;
    u64::try_from(i64::try_from(local).ok()? - offset * 60_000).ok()
}

fn offset_minutes(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    if text.len() != 6 || text.as_bytes()[3] != b':' {
        return None;
    }
    let (hours, minutes) = (number(&text[1..3])?, number(&text[4..6])?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) as i64)
}

fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date from then on.
fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let leaps = |y: u64| y / 4 - y / 100 + y / 400;
    let years = (year - 1970) * 365 + leaps(year - 1) - leaps(1969);
    years + (1..month).map(|m| days_in(year, m)).sum::<u64>() + day - 1
}

/// A time as `2026-11-01T12:00:00Z`, seconds exactly.
pub fn rfc3339(millis: u64) -> String {
    // Howard Hinnant's `civil_from_days`, for days from 1970 on.
    let days = millis / DAY + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let seconds = millis % DAY / 1_000;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        assert_eq!(parse_rfc3339("2000-01-01T00:00:00Z"), Some(946_684_800_000));
        assert_eq!(parse_rfc3339("2024-02-29T12:30:15.5+02:00"), Some(1_709_202_615_500));
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00.1239Z"), Some(123));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "x",
            "2023-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00",
            "1969-12-31T00:00:00Z",
            "1970-01-01T00:00:00+01:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00ä",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_second_is_read_as_it_is_printed(second in 0..253_402_300_800_u64) {
            proptest::prop_assert_eq!(parse_rfc3339(&rfc3339(second * 1_000)), Some(second * 1_000));
        }

        #[test]
        fn any_text_is_answered(text in "([0-9]{1,4}|[TtZz:+. -]|ä|2026-12-01|T08:00:00|[+]01:00){0,8}") {
            let _ = parse_rfc3339(&text);
        }
    }

    #[test]
    fn printing_and_reading_agree() {
        for text in [
            "1970-01-01T00:00:00Z",
            "1999-12-31T23:59:59Z",
            "2000-02-29T01:02:03Z",
            "2026-11-21T07:34:23Z",
            "2100-03-01T00:00:00Z",
        ] {
            assert_eq!(parse_rfc3339(text).map(rfc3339).as_deref(), Some(text));
        }
    }
}
