//! The list of recipients: its lines, and how it changes.

use serde_json::Value;

use super::lines::{Lines, scalar, split_comment};
use super::splice::{NOT_BLOCK, checked, refused};
use crate::error::Result;
use crate::model::text::escape;
use crate::vault::document::{SealPlace, VaultDocument};
use crate::vault::recipients::Recipient;

const KEY: &str = "recipients";

/// A recipient as an item of a list: its line, and where it comes from when that is all that is known of it.
pub fn recipient_item(recipient: &Recipient) -> String {
    let comment = match recipient.file() {
        Some(file) if recipient.comment().is_none() => format!(" # from {}", escape(file)),
        _ => String::new(),
    };
    format!("{}{comment}", scalar(recipient.text()))
}

/// Where a recipient stands in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientPlace {
    /// Its line, from 1; 0 where the list is not one item a line.
    pub line: u64,
    /// The comment behind it.
    pub comment: Option<String>,
}

/// The places of the items of `recipients:`, in their order.
pub fn recipient_places(text: &str, document: &VaultDocument) -> Vec<RecipientPlace> {
    let listed = document.recipients.as_deref().unwrap_or_default();
    let lines = Lines::new(text);
    let Some(list) = List::find(&lines).filter(|list| list.items.len() == listed.len()) else { return vec![RecipientPlace::default(); listed.len()] };
    let comment = |i: usize| split_comment(lines.lines[i].trim().trim_start_matches('-').trim()).1.trim().trim_start_matches('#').trim().to_string();
    let place = |i: &usize| RecipientPlace { line: *i as u64 + 1, comment: Some(comment(*i)).filter(|c| !c.is_empty()) };
    list.items.iter().map(place).collect()
}

/// Where the key of a password stands: its line and its column, from 1; `None` where it is not in block style.
pub fn password_place(text: &str, place: &SealPlace) -> Option<(u64, u64)> {
    let lines = Lines::new(text);
    let (key, within, indent) = match place {
        SealPlace::Become => ("become_password", 0..lines.lines.len(), 0),
        SealPlace::Login(name) => {
            let (fields, indent) = lines.fields_of(name)?;
            ("password", fields, indent)
        }
        SealPlace::Previous(name) => {
            let (fields, indent) = lines.fields_of(name)?;
            let (at, _) = lines.find_key("previous", indent, fields.clone())?;
            let within = lines.value_of(at, indent, &fields);
            let indent = within.clone().find_map(|i| lines.indent(i))?;
            ("password", within, indent)
        }
    };
    lines.find_key(key, indent, within).map(|(at, _)| (at as u64 + 1, indent as u64 + 1))
}

/// The text of `file` without the recipients at the positions `gone`, and with these behind the others. Other lines are byte for byte what
/// they were; a list on one line becomes one of an item a line.
pub fn set_recipients(file: &str, text: &str, gone: &[usize], new: &[&Recipient]) -> Result<String> {
    let document = VaultDocument::parse(file, text)?;
    let refused = || refused(file, "its `recipients` cannot be set", NOT_BLOCK);
    let listed = document.recipients.unwrap_or_default();
    let stays = |i: usize| !gone.contains(&i);
    let mut lines: Vec<String> = Lines::new(text).lines.iter().map(|l| l.trim_end_matches(['\n', '\r']).to_string()).collect();
    let view = Lines::new(text);
    let all = 0..view.lines.len();
    let item = |indent: usize, text: &str| format!("{:indent$}- {text}", "");
    match (List::find(&view), view.find_key(KEY, 0, all.clone())) {
        (Some(list), Some((key, _))) if list.items.len() == listed.len() => {
            let described = list.items[1..].iter().any(|i| lines[*i - 1].trim().starts_with('#'));
            let end = list.items.last().expect("a list of lines has one") + 1;
            lines.splice(end..end, new.iter().map(|r| item(list.indent, &recipient_item(r))));
            for (n, at) in list.items.iter().enumerate().rev().filter(|(n, _)| !stays(*n)) {
                // The comment above an item is its own; that above the first is the list's, unless others have theirs.
                let own = (key + 1..*at).rev().take_while(|i| lines[*i].trim().starts_with('#')).count();
                let own = if n > 0 || described { own } else { 0 };
                lines.drain(at - own..=*at);
            }
        }
        // On one line, or empty.
        (None, Some((key, value))) if !value.starts_with(['&', '*', '!', '|', '>']) => {
            let (value, comment) = split_comment(value);
            let one_line = value.is_empty() || value.ends_with(']') || matches!(value, "~" | "null");
            if !one_line {
                return Err(refused());
            }
            let old = listed.iter().enumerate().filter(|(i, _)| stays(*i)).map(|(_, text)| item(2, &scalar(text)));
            let all: Vec<String> = [format!("{KEY}:{comment}")].into_iter().chain(old).chain(new.iter().map(|r| item(2, &recipient_item(r)))).collect();
            lines.splice(key..=key, all);
        }
        // Before the logins, so that it is seen; behind everything where there are none.
        (_, None) if listed.is_empty() => {
            let at = view.find_key("logins", 0, all.clone()).map_or(all.end, |(at, _)| at);
            let all: Vec<String> = [format!("{KEY}:")].into_iter().chain(new.iter().map(|r| item(2, &recipient_item(r)))).collect();
            lines.splice(at..at, all);
        }
        _ => return Err(refused()),
    }
    let eol = view.eol;
    let mut spliced = lines.iter().map(|l| format!("{l}{eol}")).collect::<String>();
    if !text.ends_with('\n') {
        spliced.truncate(spliced.len() - eol.len());
    }
    checked(file, text, spliced, refused, |top| {
        let old = listed.iter().enumerate().filter(|(i, _)| stays(*i)).map(|(_, text)| text.clone());
        let all = old.chain(new.iter().map(|r| r.text().to_string())).map(Value::String).collect();
        top.insert(KEY.to_string(), Value::Array(all));
    })
}

/// A list of one item a line.
struct List {
    /// The lines of its items.
    items: Vec<usize>,
    /// How far they are indented.
    indent: usize,
}

impl List {
    /// `recipients:`, when it is written so and has an item.
    fn find(lines: &Lines<'_>) -> Option<Self> {
        let all = 0..lines.lines.len();
        let (key, value) = lines.find_key(KEY, 0, all.clone())?;
        if !split_comment(value).0.is_empty() {
            return None;
        }
        // The items of a list may stand as far left as its key.
        let is_item = |i: usize| lines.lines[i].trim_start().starts_with("- ");
        let inside = (key + 1..all.end).take_while(|i| lines.indent(*i).is_none_or(|n| n > 0 || is_item(*i)));
        let items: Vec<usize> = inside.filter(|i| lines.indent(*i).is_some()).collect();
        let indent = lines.indent(*items.first()?)?;
        items.iter().all(|i| is_item(*i) && lines.indent(*i) == Some(indent)).then_some(List { items, indent })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::alice_recipient;
    use super::*;
    use crate::vault::recipients::Recipients;

    const BOB: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN bob@example.org";

    #[track_caller]
    fn check(before: &str, gone: &[usize], after: &str) {
        let bob = Recipients::parse([BOB]).unwrap();
        let new: Vec<&Recipient> = bob.iter().collect();
        let got = set_recipients("v", before, gone, &new).unwrap();
        assert_eq!(got, after, "\n--- got\n{got}\n--- wanted\n{after}");
    }

    #[test]
    fn lines_of_others_stay() {
        let text = "# ours\nversion: 1\nrecipients: # who\n  # the team\n  - age1a # alice\n\n  - 'age1c' # carol\n# logins\nlogins: {}\nvault_id: x\n";
        let bob = format!("  - {BOB}\n");
        check(text, &[], &text.replace("# carol\n", &format!("# carol\n{bob}")));
        check(text, &[1], &text.replace("  - 'age1c' # carol\n", &bob));
        // The comment above the first is the list's.
        check(text, &[0], &text.replace("  - age1a # alice\n", "").replace("# carol\n", &format!("# carol\n{bob}")));
        check(text, &[0, 1], &text.replace("  - age1a # alice\n", "").replace("  - 'age1c' # carol\n", &bob));
        // Unless others have theirs.
        let each = "recipients:\n# alice\n- age1a\n# carol,\n# in Rome\n- age1c\nlogins: {}";
        check(each, &[0], &format!("recipients:\n# carol,\n# in Rome\n- age1c\n- {BOB}\nlogins: {{}}"));
        check(each, &[1], &format!("recipients:\n# alice\n- age1a\n- {BOB}\nlogins: {{}}"));
        check("recipients:\r\n  - age1a\r\n", &[], &format!("recipients:\r\n  - age1a\r\n  - {BOB}\r\n"));
    }

    #[test]
    fn other_lists_become_lists_of_lines() {
        let bob = format!("  - {BOB}\n");
        check("recipients: [age1a, 'age1c'] # who\nlogins: {}\n", &[0], &format!("recipients: # who\n  - age1c\n{bob}logins: {{}}\n"));
        for empty in ["recipients:\n", "recipients: []\n", "recipients: ~\n"] {
            check(&format!("version: 1\n{empty}logins: {{}}\n"), &[], &format!("version: 1\nrecipients:\n{bob}logins: {{}}\n"));
        }
        check("version: 1\nlogins: {}\n", &[], &format!("version: 1\nrecipients:\n{bob}logins: {{}}\n"));
        check("version: 1\n", &[], &format!("version: 1\nrecipients:\n{bob}"));
        for odd in ["recipients:\n  - age1a\n  - >\n    age1c\n", "{recipients: [age1a]}\n", "recipients: [age1a,\n  age1c]\n"] {
            let error = set_recipients("v", odd, &[0], &[]).expect_err("refused").to_string();
            assert!(error.contains("nothing was written"), "{error}");
        }
    }

    #[test]
    fn an_item_says_where_it_comes_from() {
        let team = crate::vault::recipient_file::parse("team.txt", format!("{}\n{BOB}\n", alice_recipient()).as_bytes()).unwrap();
        let items: Vec<String> = team.recipients.iter().map(recipient_item).collect();
        assert_eq!(items, [format!("{} # from team.txt", alice_recipient()), BOB.to_string()]);
    }

    #[test]
    fn places_of_items() {
        let places = |text: &str| recipient_places(text, &VaultDocument::parse("v", text).unwrap());
        let place = |line, comment: Option<&str>| RecipientPlace { line, comment: comment.map(str::to_string) };
        assert_eq!(places("recipients:\n  - age1a # alice\n\n  - 'age1b'\n"), [place(2, Some("alice")), place(4, None)]);
        assert_eq!(places("recipients: [a, b] # who\n"), [place(0, None), place(0, None)]);
        assert_eq!(places("logins: {}\n"), []);
    }
}
