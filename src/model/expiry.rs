//! When a login ends: by its `expires:`, or by what its password says of itself.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::{Login, LoginEntry, Registry, Secret, Username};

/// When a login ends: a date means the end of that day in UTC, RFC 3339 a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// As the inventory writes it; RFC 3339 for one that was found in a password.
    pub text: String,
    /// Seconds since 1970-01-01 UTC; the first second at which the login is no longer valid.
    pub unix: i64,
}

impl Expiry {
    /// Reads `2027-03-01` or RFC 3339.
    pub fn parse(text: &str) -> Result<Self, String> {
        let date = time::macros::format_description!("[year]-[month]-[day]");
        let unix = if let Ok(day) = time::Date::parse(text, date) {
            day.midnight().assume_utc().unix_timestamp() + 86_400
        } else if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
            moment.unix_timestamp()
        } else {
            return Err("expires is neither a date (2027-03-01) nor RFC 3339 (2027-03-01T12:00:00Z)".into());
        };
        Ok(Expiry { text: text.to_string(), unix })
    }

    /// A moment in seconds since 1970; `None` before it and after the year 9999, which RFC 3339 cannot write.
    pub fn of_unix(unix: i64) -> Option<Self> {
        let moment = OffsetDateTime::from_unix_timestamp(unix).ok().filter(|_| unix > 0)?;
        Some(Expiry { text: moment.format(&Rfc3339).ok()?, unix })
    }

    /// Whether the login has ended at `now` (seconds since 1970).
    pub fn is_past(&self, now: i64) -> bool {
        now >= self.unix
    }

    /// Whether the login has ended at `now`, or ends within that time from then.
    pub fn is_due(&self, now: i64, within: Within) -> bool {
        self.unix <= now.saturating_add(within.0)
    }
}

/// A span of time from now on, in seconds: `14d`, `12h`, `90m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within(i64);

impl Within {
    /// How long before its end every command speaks of a login, and what `regprov expiry` looks ahead.
    pub const WARNING: Within = Within::days(14);

    /// So many days.
    pub const fn days(days: u16) -> Self {
        Within(days as i64 * 86_400)
    }
}

/// The longest span that is taken: a hundred years.
const WITHIN_SECONDS_MAX: i64 = 36_525 * 86_400;

impl FromStr for Within {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (at, unit) = text.char_indices().last()?;
            let seconds = match unit {
                'd' => 86_400,
                'h' => 3600,
                'm' => 60,
                _ => return None,
            };
            let number = text[..at].bytes().all(|b| b.is_ascii_digit()).then(|| text[..at].parse::<i64>().ok())??;
            number.checked_mul(seconds).filter(|s| *s <= WITHIN_SECONDS_MAX).map(Within)
        };
        read().ok_or_else(|| "must be a number of days, hours or minutes of at most 100 years: `14d`, `12h`, `90m`".to_string())
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            s if s % 86_400 == 0 => write!(f, "{}d", s / 86_400),
            s if s % 3600 == 0 => write!(f, "{}h", s / 3600),
            s => write!(f, "{}m", s / 60),
        }
    }
}

/// When one login ends, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The login's name.
    pub login: String,
    /// Its registry.
    pub registry: String,
    /// Its end: by `expires:` or by its password, whichever is first.
    pub expiry: Option<Expiry>,
    /// Whether its password says so.
    pub in_password: bool,
    /// How far away that is.
    pub state: State,
}

/// How far away an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is past.
    Expired,
    /// It comes within the time that was asked for.
    Due,
    /// It comes later.
    Later,
    /// Nobody wrote it down.
    Unknown,
}

impl State {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            State::Expired => "expired",
            State::Due => "due",
            State::Later => "later",
            State::Unknown => "unknown",
        }
    }
}

/// The ends of all logins of an inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endings {
    /// The next end first; those that are not known last, by their names.
    pub rows: Vec<Ending>,
    /// What was asked for.
    pub within: Within,
    /// Passwords that stayed sealed, which may name another end.
    pub sealed: usize,
}

impl Endings {
    /// Looks at logins, each with what it was opened to, if it was.
    pub fn new<'a>(logins: impl Iterator<Item = (&'a LoginEntry, Option<&'a Login>)>, now: i64, within: Within) -> Self {
        let mut sealed = 0;
        let mut rows: Vec<Ending> = logins
            .map(|(entry, opened)| {
                sealed += usize::from(opened.is_none() && entry.password.dynamic().is_none());
                let found = opened.and_then(Login::expiry_in_password).filter(|f| entry.expires.as_ref().is_none_or(|e| f.unix < e.unix));
                let in_password = found.is_some();
                let expiry = found.or_else(|| entry.expires.clone());
                let state = match &expiry {
                    None => State::Unknown,
                    Some(e) if e.is_past(now) => State::Expired,
                    Some(e) if e.is_due(now, within) => State::Due,
                    Some(_) => State::Later,
                };
                Ending { login: entry.name.clone(), registry: entry.registry.to_string(), expiry, in_password, state }
            })
            .collect();
        let end = |row: &Ending| row.expiry.as_ref().map_or(i64::MAX, |e| e.unix);
        rows.sort_by(|a, b| (end(a), &a.login).cmp(&(end(b), &b.login)));
        Endings { rows, within, sealed }
    }

    /// How many have ended, or do within the time that was asked for.
    pub fn due(&self) -> usize {
        self.rows.iter().filter(|r| matches!(r.state, State::Expired | State::Due)).count()
    }

    /// 10 when any is due, else 0.
    pub fn exit_code(&self) -> u8 {
        if self.due() > 0 { 10 } else { 0 }
    }
}

/// The longest password that is searched for its end, in bytes. Tokens have some KiB; a netrc line has four.
const TOKEN_BYTES_MAX: usize = 64 << 10;

/// The end that a password names itself: the `exp` of a JSON Web Token (RFC 7519, 4.1.4), or the `expiration` of a token of Amazon ECR.
/// Nobody's signature is checked: this is what the registry will say, told early. `None` where it names none, or none that makes sense.
pub fn in_password(registry: &Registry, username: &Username, password: &Secret) -> Option<Expiry> {
    let text = password.expose();
    if text.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let seconds = if registry.is_ecr() && username.as_str() == "AWS" { ecr_expiration(text) } else { jwt_expiry(text) };
    Expiry::of_unix(seconds?)
}

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

fn jwt_expiry(text: &str) -> Option<i64> {
    /// A header must be an object; what it says does not matter here.
    #[derive(Deserialize)]
    struct Header {}
    #[derive(Deserialize)]
    struct Claims {
        exp: serde_json::Number,
    }
    let mut parts = text.split('.');
    let (header, claims, _signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let decode = |part: &str| BASE64_URL.decode(part).ok().map(Zeroizing::new);
    let object = |json: &[u8]| json.trim_ascii_start().starts_with(b"{");
    let (header, claims) = (decode(header)?, decode(claims)?);
    serde_json::from_slice::<Header>(&header).ok().filter(|_| object(&header))?;
    let claims = serde_json::from_slice::<Claims>(&claims).ok().filter(|_| object(&claims))?;
    whole_seconds(&claims.exp)
}

/// The token that `aws ecr get-login-password` prints: base64 of `{"payload":...,"expiration":1700000000}`.
fn ecr_expiration(text: &str) -> Option<i64> {
    #[derive(Deserialize)]
    struct Token {
        expiration: serde_json::Number,
    }
    /// Above this, a number counts milliseconds: as seconds it would be the year 5138.
    const SECONDS_MAX: i64 = 100_000_000_000;
    let json = BASE64.decode(text.trim()).ok().map(Zeroizing::new)?;
    let number = whole_seconds(&serde_json::from_slice::<Token>(&json).ok()?.expiration)?;
    Some(if number > SECONDS_MAX { number / 1000 } else { number })
}

/// RFC 7519 lets a date have a fraction, which is cut.
fn whole_seconds(number: &serde_json::Number) -> Option<i64> {
    number.as_i64().or_else(|| number.as_f64().filter(|f| (0.0..1e15).contains(f)).map(|f| f as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_ends_with_its_day() {
        let e = Expiry::parse("2027-03-01").unwrap();
        assert!(!e.is_past(e.unix - 1));
        assert!(e.is_past(e.unix));
        for same in ["2027-03-02T00:00:00Z", "2027-03-02T01:00:00+01:00", "2027-03-01T14:00:00-10:00"] {
            assert_eq!(e.unix, Expiry::parse(same).unwrap().unix, "{same}");
        }
        // No clock is put forward in UTC, and 2028 has a 29th of February.
        assert_eq!(Expiry::parse("2027-03-28").unwrap().unix - Expiry::parse("2027-03-27").unwrap().unix, 86_400);
        assert_eq!(Expiry::parse("2028-03-01").unwrap().unix - Expiry::parse("2028-02-28").unwrap().unix, 2 * 86_400);
        for bad in ["tomorrow", "2027-02-29", "2027-3-1", "2027-03-01T12:00:00", "1700000000", ""] {
            assert!(Expiry::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_window_has_its_last_second() {
        let e = Expiry::parse("2027-03-01T12:00:00Z").unwrap();
        let within: Within = "14d".parse().unwrap();
        assert_eq!(within, Within::WARNING);
        assert!(e.is_due(e.unix - 14 * 86_400, within), "to the second");
        assert!(!e.is_due(e.unix - 14 * 86_400 - 1, within), "a second before");
        assert!(e.is_due(e.unix, "0d".parse().unwrap()) && !e.is_due(e.unix - 1, "0m".parse().unwrap()));
        assert!(e.is_due(i64::MAX, within));
    }

    #[test]
    fn spans_of_time() {
        for (text, seconds, shown) in [("14d", 1_209_600, "14d"), ("12h", 43_200, "12h"), ("48h", 172_800, "2d"), ("90m", 5400, "90m"), ("0d", 0, "0d")] {
            let within: Within = text.parse().unwrap();
            assert_eq!((within.0, within.to_string().as_str()), (seconds, shown), "{text}");
        }
        for bad in ["", "d", "14", "-1d", "+1d", "1.5d", "14 d", "1w", "90s", "1d12h", "36526d", "99999999999999999999d", "14ü", "ü"] {
            assert!(bad.parse::<Within>().is_err(), "{bad}");
        }
    }

    fn found(registry: &str, username: &str, password: &str) -> Option<String> {
        let registry = Registry::parse(registry).unwrap().0;
        let expiry = in_password(&registry, &Username::parse(username).unwrap(), &Secret::new(password.to_string()))?;
        assert_eq!(Expiry::parse(&expiry.text).unwrap().unix, expiry.unix, "the text says what the number says");
        Some(expiry.text)
    }

    fn jwt(claims: &str) -> String {
        format!("{}.{}.c2ln", BASE64_URL.encode(r#"{"alg":"none"}"#).trim_end_matches('='), BASE64_URL.encode(claims).trim_end_matches('='))
    }

    #[test]
    fn json_web_tokens_name_their_end() {
        #[track_caller]
        fn check(password: &str, want: Option<&str>) {
            assert_eq!(found("harbor.example.org", "alice", password).as_deref(), want);
        }
        check(&jwt(r#"{"exp":1700000000}"#), Some("2023-11-14T22:13:20Z"));
        check(&jwt(r#"{"sub":"x","exp": 1700000000.75, "deep":[[{}]]}"#), Some("2023-11-14T22:13:20Z"));
        check(&jwt(r#"{"exp":1.7e9}"#), Some("2023-11-14T22:13:20Z"));
        check(&jwt(r#"{"exp":253402300799}"#), Some("9999-12-31T23:59:59Z"));
        // The second of which a leap second would be the next.
        check(&jwt(r#"{"exp":1483228799}"#), Some("2016-12-31T23:59:59Z"));
        for garbage in [
            r#"{"exp":253402300800}"#,
            r#"{"exp":9223372036854775807}"#,
            r#"{"exp":9223372036854775808}"#,
            r#"{"exp":1e300}"#,
            r#"{"exp":1e999}"#,
            r#"{"exp":0}"#,
            r#"{"exp":-1}"#,
            r#"{"exp":-1.5}"#,
            r#"{"exp":"1700000000"}"#,
            r#"{"exp":null}"#,
            r#"{"exp":[1700000000]}"#,
            r#"{"exp":1700000000,"exp":1800000000}"#,
            r#"{"iat":1700000000}"#,
            r#"[1700000000]"#,
            "1700000000",
            "",
            "{",
        ] {
            check(&jwt(garbage), None);
        }
        let good = jwt(r#"{"exp":1700000000}"#);
        for near in [format!("{good}.x"), good.replace(".c2ln", ""), format!("x{good}"), format!("{}x.{good}", "="), good.replacen("ey", "e!", 1)] {
            check(&near, None);
        }
        check(&format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX)), None);
        check("hunter2", None);
    }

    #[test]
    fn tokens_of_ecr_name_their_end() {
        const ECR: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
        let token = |json: &str| BASE64.encode(json);
        let good = token(r#"{"payload":"x","datakey":"y","version":"2","type":"DATA_KEY","expiration":1700000000}"#);
        assert_eq!(found(ECR, "AWS", &good).as_deref(), Some("2023-11-14T22:13:20Z"));
        assert_eq!(found(&format!("{ECR}.cn"), "AWS", &good).as_deref(), Some("2023-11-14T22:13:20Z"));
        assert_eq!(found(ECR, "AWS", &token(r#"{"expiration":1700000000000}"#)).as_deref(), Some("2023-11-14T22:13:20Z"));
        for (registry, username, password) in [
            (ECR, "alice", good.clone()),
            ("ecr.example.org", "AWS", good.clone()),
            (ECR, "AWS", token(r#"{"expiration":"soon"}"#)),
            (ECR, "AWS", token(r#"{"payload":"x"}"#)),
            (ECR, "AWS", "not base64!".to_string()),
        ] {
            assert_eq!(found(registry, username, &password), None, "{registry} {username}");
        }
    }
}
