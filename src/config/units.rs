//! Durations and sizes as text.

use super::diagnostic::Fault;
use std::time::Duration;

/// Longer is a slip of the pen; it also keeps deadlines far from the clock's end.
const LONGEST: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// Reads a duration: whole numbers, each with `ms`, `s`, `m`, `h` or `d`, such as `30s` or `1h30m`.
///
/// Fails on anything else, and beyond ten years.
pub fn duration(text: &str) -> Result<Duration, Fault> {
    let fault = |remedy: &str| Fault::new(format!("`{text}` is not a duration"), remedy);
    let example = "whole numbers with `ms`, `s`, `m`, `h` or `d`, such as \"250ms\", \"30s\" or \"1h30m\"";
    if text.is_empty() {
        return Err(fault(example));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault(&format!("it needs a unit: \"{text}s\"")));
    }

    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, unit, behind) = split_number(rest).ok_or_else(|| fault(example))?;
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            "d" => 24 * 60 * 60 * 1000,
            _ => return Err(fault(example)),
        };
        let part = number.checked_mul(milliseconds).map(Duration::from_millis);
        total = part.and_then(|part| total.checked_add(part)).unwrap_or(Duration::MAX);
        rest = behind;
    }
    if total > LONGEST {
        return Err(fault("the longest is ten years, \"3650d\""));
    }
    Ok(total)
}

/// Reads a size in bytes: a whole number with `B`, `KiB`, `MiB` or `GiB`, or a bare `0`.
pub fn size(text: &str) -> Result<u64, Fault> {
    let fault = || {
        Fault::new(
            format!("`{text}` is not a size"),
            "a whole number with `B`, `KiB`, `MiB` or `GiB`, such as \"64KiB\"",
        )
    };
    if text == "0" {
        return Ok(0);
    }
    let (number, unit, behind) = split_number(text).ok_or_else(fault)?;
    let factor = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(fault()),
    };
    if !behind.is_empty() {
        return Err(fault());
    }
    number.checked_mul(factor).ok_or_else(fault)
}

/// The first number, its unit, and what follows.
fn split_number(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, rest) = text.split_at(digits);
    let letters = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, behind) = rest.split_at(letters);
    Some((number.parse().ok()?, unit, behind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_with_every_unit() {
        let read = |text| duration(text).map(|value| value.as_millis());
        assert_eq!(read("250ms"), Ok(250));
        assert_eq!(read("30s"), Ok(30_000));
        assert_eq!(read("15m"), Ok(900_000));
        assert_eq!(read("1h30m"), Ok(5_400_000));
        assert_eq!(read("7d"), Ok(604_800_000));
        assert_eq!(read("0s"), Ok(0));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "30", "s", "-1s", "1.5h", "1 h", "1w", "1h30", "ms1", "99999999999999999999s", "4000d", "٣s"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_with_every_unit() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("512B"), Ok(512));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("10MiB"), Ok(10_485_760));
        assert_eq!(size("1GiB"), Ok(1_073_741_824));
        for text in ["", "10", "10KB", "KiB", "1KiB1B", "1.5MiB", "-1B", "99999999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC{0,20}") {
            let _ = duration(&text);
            let _ = size(&text);
        }

        #[test]
        fn a_written_duration_is_read_back(hours in 0_u64..1000, minutes in 0_u64..60, millis in 0_u64..1000) {
            let read = duration(&format!("{hours}h{minutes}m{millis}ms"));
            prop_assert_eq!(read.map(|value| value.as_millis()), Ok(u128::from((hours * 60 + minutes) * 60_000 + millis)));
        }
    }
}
