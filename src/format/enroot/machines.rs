//! What such a file holds for its owner, machine by machine: for those who want to take the logins along.

use super::readers::{evaluate, is_evaluated};
use super::{LOOKED_UP_BYTES_MAX, lookup};
use crate::format::netrc::{self, Layout};
use crate::format::{Account, lossy};
use crate::model::{CurlVersion, Secret};

/// One `machine`, or the `default`.
pub struct Machine {
    /// In lower case; `None` for the default, which is for every host.
    pub host: Option<String>,
    /// Its line, from 1.
    pub line: usize,
    /// What it says.
    pub says: Says,
}

/// What a machine's entry says.
pub enum Says {
    /// What the newest curl takes from it, and whether one of the older ones takes something else.
    Login {
        /// The login; username or password may be empty.
        account: Account,
        /// Whether curl before 7.84, which knows no quotes, or one up to 8.20 reads another login or none.
        differs: bool,
    },
    /// enroot runs its password as a shell command.
    Command,
    /// Nobody gets there: an earlier entry answers, on this line.
    Behind(usize),
    /// curl gives up on the file there, and why.
    Unread(&'static str),
}

/// The entries in the order of the file, by curl's own grammar. `Err` when there are more than are looked up, which goes on from the file's
/// name.
pub fn machines(bytes: &[u8]) -> Result<Vec<Machine>, String> {
    let layout = Layout::of(bytes, true);
    if layout.entries.len().saturating_mul(bytes.len()) > LOOKED_UP_BYTES_MAX {
        return Err("holds more entries than regprov looks up in a file of its size; take from it what is not needed".to_string());
    }
    let seen = evaluate(bytes);
    let mut found: Vec<Machine> = Vec::new();
    for entry in &layout.entries {
        let (host, line) = (lossy(&entry.host).to_string(), entry.first + 1);
        let earlier = found.iter().find(|m| m.host.as_deref() == Some(&host)).map(|m| m.line);
        let behind = earlier.or((entry.first > layout.barrier).then_some(layout.barrier + 1));
        let says = match behind {
            Some(line) => Says::Behind(line),
            None if layout.lines[entry.first..=entry.last].iter().any(|line| is_evaluated(line)) => Says::Command,
            None => answer(&seen, &host),
        };
        found.push(Machine { host: Some(host), line, says });
    }
    if let Some(line) = layout.lines.get(layout.barrier).filter(|line| starts_default(line)) {
        let says = if is_evaluated(line) { Says::Command } else { answer(&seen, "") };
        let at = found.iter().position(|m| m.line > layout.barrier).unwrap_or(found.len());
        found.insert(at, Machine { host: None, line: layout.barrier + 1, says });
    }
    Ok(found)
}

/// Whether it is a `default` that ends the search, and not a `macdef`.
fn starts_default(line: &[u8]) -> bool {
    line.split(|b| b.is_ascii_whitespace()).any(|token| token.eq_ignore_ascii_case(b"default"))
}

fn answer(seen: &[u8], host: &str) -> Says {
    let by = |curl: CurlVersion| lookup(seen, host, curl);
    match by(netrc::NEWEST) {
        Err(why) => Says::Unread(why),
        Ok(None) => Says::Unread("it finds neither a login nor a password there"),
        Ok(Some(found)) => {
            let same = |curl: &CurlVersion| by(*curl).is_ok_and(|other| other.as_ref() == Some(&found));
            let differs = !netrc::REPRESENTATIVES.iter().all(same);
            Says::Login { account: Account { username: lossy(&found.login).to_string(), password: Secret::new(lossy(&found.password)) }, differs }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &str, want: &[&str]) {
        let told = machines(file.as_bytes()).unwrap().iter().map(tell).collect::<Vec<_>>();
        assert_eq!(told, want, "{file}");
    }

    fn tell(m: &Machine) -> String {
        let says = match &m.says {
            Says::Login { account, differs } => format!("{}:{}{}", account.username, account.password.expose(), if *differs { " differs" } else { "" }),
            Says::Command => "command".to_string(),
            Says::Behind(line) => format!("behind {line}"),
            Says::Unread(why) => why.to_string(),
        };
        format!("{} {} {says}", m.line, m.host.as_deref().unwrap_or("*"))
    }

    #[test]
    fn lines_are_read_as_curl_reads_them() {
        check("machine a login u password p\nmachine B login $oauthtoken password q\n", &["1 a u:p", "2 b $oauthtoken:q"]);
        check("machine a\n  login u\n  password p\n# machine c login x password y\nmachine b login v password q", &["1 a u:p", "5 b v:q"]);
        check("machine a login x account x login CORP\\u password p\n", &["1 a CORP\\u:p"]);
        check("machine a login u account x password $HOME\n", &["1 a u:$HOME"]);
        check("machine a login u password \"p q\"\n", &["1 a u:p q differs"]);
        check("machine a login u password pässwörd\n", &["1 a u:pässwörd differs"]);
        check("", &[]);
    }

    #[test]
    fn what_answers_for_nobody_says_why() {
        check("machine a login u password $(cmd x)\nmachine b login u password $P\n", &["1 a command", "2 b command"]);
        check("machine a login u password p\nmachine a login v password q\n", &["1 a u:p", "2 a behind 1"]);
        check("machine a login u password p\ndefault login d password q\nmachine b login v password r\n", &["1 a u:p", "2 * d:q", "3 b behind 2"]);
        check("machine a\n", &["1 a it finds neither a login nor a password there"]);
        check("machine a login u\n", &["1 a u:"]);
        check("machine a login u password \"open\n", &["1 a a quote is not closed"]);
    }

    #[test]
    fn a_file_of_very_many_entries_is_refused() {
        let file: String = (0..20_000).map(|i| format!("machine h{i} login u password p\n")).collect();
        assert!(machines(file.as_bytes()).is_err_and(|why| why.contains("more entries than")));
    }
}
