//! How a run goes through a fleet: in which waves, and when it gives up.

use std::fmt;
use std::str::FromStr;

/// A number of hosts, or a part of all that a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Portion {
    /// This many.
    Hosts(u32),
    /// So many in a hundred, from 0 to 100.
    Percent(u8),
}

/// The most hosts that a [`Portion`] names.
const PORTION_MAX: u32 = 1_000_000;

impl Portion {
    /// How many that is of `total` hosts, rounded down.
    pub fn of(self, total: usize) -> usize {
        match self {
            Portion::Hosts(hosts) => hosts as usize,
            Portion::Percent(percent) => total.saturating_mul(percent.into()) / 100,
        }
    }
}

/// `10` or `25%`.
impl FromStr for Portion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').unwrap_or(text);
        let parsed = number.parse::<u32>().ok().filter(|_| number.bytes().all(|b| b.is_ascii_digit()));
        match parsed {
            Some(hosts) if text == number && hosts <= PORTION_MAX => Ok(Portion::Hosts(hosts)),
            Some(percent @ 0..=100) if text != number => Ok(Portion::Percent(percent as u8)),
            _ => Err("is neither a number of hosts such as 10 nor a part of them such as 25%".to_string()),
        }
    }
}

impl fmt::Display for Portion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Portion::Hosts(hosts) => write!(f, "{hosts}"),
            Portion::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// The waves of a run and its guards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Hosts that come first, alone; unless each of them ends well, no other starts.
    pub canary: usize,
    /// The sizes of the waves, the last of which repeats; without any there is one wave.
    pub batch: Vec<Portion>,
    /// How many hosts may fail before no further one starts.
    pub max_fail: Option<Portion>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_are_numbers_or_percentages() {
        for (text, total, want) in
            [("10", 3, Some(10)), ("0", 3, Some(0)), ("25%", 10, Some(2)), ("0%", 10, Some(0)), ("100%", 7, Some(7)), ("1%", 50, Some(0)), ("007", 9, Some(7))]
        {
            assert_eq!(text.parse::<Portion>().ok().map(|p| p.of(total)), want, "{text}");
        }
        for text in ["", "%", "-1", "+1", "1.5", "101%", "300%", "10 %", " 1", "1%%", "all", "4294967296", "1000001"] {
            assert!(text.parse::<Portion>().is_err(), "{text}");
        }
        assert_eq!(["10", "25%"].map(|t| t.parse::<Portion>().unwrap().to_string()), ["10", "25%"]);
    }
}
