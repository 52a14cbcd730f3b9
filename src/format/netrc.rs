//! netrc: how each curl looks a host up in such a file (curl `lib/netrc.c`), and how the file is laid out in lines.
//!
//! [`lookup`] follows curl's own parsers one for one, flaws included, since a flaw is what sends a password astray. It
//! takes `char` as signed, as on x86, where curl 8.13 to 8.20 stop at the first byte beyond ASCII outside quotes.

use zeroize::Zeroizing;

use crate::model::CurlVersion;

/// A token's bytes; often a password.
type Token = Zeroizing<Vec<u8>>;

/// From this version on curl understands quoted tokens; before it the quotes are part of the value.
pub(super) const QUOTES_SINCE: CurlVersion = CurlVersion(7, 84, 0);

/// The one version that takes tokens of at most 127 bytes (`MAX_NETRC_TOKEN`).
pub(super) const SHORT_TOKENS: CurlVersion = CurlVersion(8, 11, 0);

/// One version for each way of reading: what holds for all of these holds for every curl from 7.61 on.
pub(super) const REPRESENTATIVES: [CurlVersion; 9] = [
    CurlVersion(7, 61, 1),
    CurlVersion(7, 76, 1),
    CurlVersion(7, 81, 0),
    CurlVersion(7, 84, 0),
    CurlVersion(7, 88, 1),
    CurlVersion(8, 5, 0),
    CurlVersion(8, 11, 0),
    CurlVersion(8, 14, 1),
    CurlVersion(8, 21, 0),
];

/// The newest of them, which reads most.
pub(super) const NEWEST: CurlVersion = REPRESENTATIVES[REPRESENTATIVES.len() - 1];

/// What curl would send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) login: Token,
    pub(super) password: Token,
}

/// Reads a file for a host; `Err` when curl gives up on the file.
type Reader = fn(&[u8], &[u8], &Rules) -> Result<Option<Found>, &'static str>;

/// How a range of versions reads the file.
struct Rules {
    since: CurlVersion,
    /// Bytes of the line buffer; a line with its LF must be shorter.
    line_max: usize,
    reader: Reader,
    /// Whether a line that starts with `#` is a comment.
    comments: bool,
    macdef: bool,
    /// What is skipped before a token and what ends one that is not quoted.
    skip: fn(u8) -> bool,
    end: fn(u8) -> bool,
    /// Bounds of a token and of the file without its comments, exclusive.
    token_max: usize,
    file_max: usize,
    /// Whether login and password belong to one entry (8.11.1), or linger from one `machine` to the next.
    scoped: bool,
}

fn blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t')
}

fn blank_or_lf(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n')
}

fn space(b: u8) -> bool {
    matches!(b, b' ' | b'\t'..=b'\r')
}

/// `!(*p > ' ')` with a signed char.
fn not_above_space(b: u8) -> bool {
    !(0x21..0x80).contains(&b)
}

fn blank_or_line_end(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r')
}

/// The newest first. The boundaries are those of curl's tags.
static RULES: [Rules; 8] = {
    const OLD: Rules = Rules {
        since: CurlVersion(0, 0, 0),
        line_max: 256,
        reader: plain_lines,
        comments: false,
        macdef: false,
        skip: blank_or_lf,
        end: blank_or_lf,
        token_max: usize::MAX,
        file_max: usize::MAX,
        scoped: false,
    };
    const LOADED: Rules = Rules { line_max: 16384, reader: whole_file, macdef: true, skip: blank, end: space, token_max: 4096, file_max: 128 << 10, ..OLD };
    [
        Rules { since: CurlVersion(8, 21, 0), reader: scanner, end: blank_or_line_end, ..LOADED },
        Rules { since: CurlVersion(8, 13, 0), end: not_above_space, scoped: true, ..LOADED },
        Rules { since: CurlVersion(8, 11, 1), scoped: true, ..LOADED },
        Rules { since: SHORT_TOKENS, line_max: 4096, token_max: 128, file_max: 64 << 10, ..LOADED },
        Rules { since: CurlVersion(7, 86, 0), line_max: 4096, reader: quoted_lines, macdef: true, skip: blank, end: space, ..OLD },
        Rules { since: QUOTES_SINCE, line_max: 4096, reader: quoted_lines, macdef: true, skip: space, end: space, ..OLD },
        Rules { since: CurlVersion(7, 61, 0), line_max: 4096, comments: true, macdef: true, ..OLD },
        OLD,
    ]
};

/// What this curl sends to `host`, to which no user was given on its command line. `Err` when it gives up on the file.
pub(super) fn lookup(file: &[u8], host: &str, curl: CurlVersion) -> Result<Option<Found>, &'static str> {
    let rules = RULES.iter().find(|r| r.since <= curl).expect("the last row begins at 0.0.0");
    if curl < CurlVersion(7, 78, 0) {
        return (rules.reader)(file, host.as_bytes(), &Rules { macdef: false, ..*rules });
    }
    (rules.reader)(file, host.as_bytes(), rules)
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Nothing,
    Macdef,
    HostFound,
    HostValid,
}

#[derive(Clone, Copy, PartialEq)]
enum Keyword {
    Login,
    Password,
}

/// curl's state machine over tokens, up to 8.20.
struct Machine<'a> {
    host: &'a [u8],
    rules: &'a Rules,
    state: State,
    value: Option<Keyword>,
    login: Option<Token>,
    password: Option<Token>,
    matched: bool,
}

impl<'a> Machine<'a> {
    fn new(host: &'a [u8], rules: &'a Rules) -> Self {
        Machine { host, rules, state: State::Nothing, value: None, login: None, password: None, matched: false }
    }

    /// Takes a token; true when curl has what it wants and reads no further.
    fn take(&mut self, token: Token) -> bool {
        let filled = |t: &Option<Token>| t.as_ref().is_some_and(|t| !t.is_empty());
        if !self.rules.scoped && filled(&self.login) && filled(&self.password) {
            return true;
        }
        match self.state {
            State::Nothing if self.rules.macdef && is(&token, "macdef") => self.state = State::Macdef,
            State::Nothing if is(&token, "machine") => self.next_machine(),
            State::Nothing if is(&token, "default") => (self.state, self.matched) = (State::HostValid, true),
            State::Nothing => {}
            State::Macdef if token.is_empty() => self.state = State::Nothing,
            State::Macdef => {}
            State::HostFound if token.eq_ignore_ascii_case(self.host) => (self.state, self.matched) = (State::HostValid, true),
            State::HostFound => self.state = State::Nothing,
            State::HostValid => match self.value.take() {
                Some(Keyword::Login) => self.login = Some(token),
                Some(Keyword::Password) => self.password = Some(token),
                None if is(&token, "login") => self.value = Some(Keyword::Login),
                None if is(&token, "password") => self.value = Some(Keyword::Password),
                None if is(&token, "machine") => {
                    if self.rules.scoped && self.password.is_some() {
                        return true;
                    }
                    self.next_machine();
                }
                None if self.rules.scoped && is(&token, "default") => (self.login, self.password) = (None, None),
                None => {}
            },
        }
        self.rules.scoped && self.state == State::HostValid && self.login.is_some() && self.password.is_some()
    }

    fn next_machine(&mut self) {
        self.state = State::HostFound;
        if self.rules.scoped {
            (self.value, self.login, self.password) = (None, None, None);
        }
    }

    fn result(self) -> Option<Found> {
        if !self.matched || (self.login.is_none() && self.password.is_none()) {
            return None;
        }
        Some(Found { login: self.login.unwrap_or_default(), password: self.password.unwrap_or_default() })
    }
}

fn is(token: &[u8], word: &str) -> bool {
    token.eq_ignore_ascii_case(word.as_bytes())
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split_inclusive(|b| *b == b'\n')
}

/// Up to 7.83: fgets and strtok. A line longer than the buffer comes in pieces, each taken for a line.
fn plain_lines(file: &[u8], host: &[u8], rules: &Rules) -> Result<Option<Found>, &'static str> {
    let mut machine = Machine::new(host, rules);
    'file: for line in lines(file).flat_map(|l| l.chunks(rules.line_max - 1)) {
        if machine.state == State::Macdef {
            if !matches!(line[0], b'\n' | b'\r') {
                continue;
            }
            machine.state = State::Nothing;
        }
        let mut tokens = line.split(|b| (rules.end)(*b)).filter(|t| !t.is_empty()).peekable();
        if rules.comments && tokens.peek().is_some_and(|t| t[0] == b'#') {
            continue;
        }
        for token in tokens {
            if machine.take(Zeroizing::new(token.to_vec())) {
                break 'file;
            }
        }
    }
    Ok(machine.result())
}

/// 7.84 to 8.10: line by line, with quotes; a `#` at the start of any token ends the line. From 7.86 on a line that does
/// not fit is left out; before, it comes in pieces (8.8 stops there, which differs for files of ours in nothing).
fn quoted_lines(file: &[u8], host: &[u8], rules: &Rules) -> Result<Option<Found>, &'static str> {
    let mut machine = Machine::new(host, rules);
    let whole = !(rules.skip)(b'\n');
    'file: for line in lines(file).flat_map(|l| l.chunks(rules.line_max - 1).filter(move |_| !whole || l.len() < rules.line_max)) {
        if machine.state == State::Macdef {
            if !matches!(line[0], b'\n' | b'\r') {
                continue;
            }
            machine.state = State::Nothing;
        }
        let mut at = 0;
        while at < line.len() {
            at += line[at..].iter().take_while(|b| (rules.skip)(**b)).count();
            if at >= line.len() || line[at] == b'#' {
                break;
            }
            let token = next_token(line, &mut at, rules)?;
            if machine.take(token) {
                break 'file;
            }
            at += 1;
        }
    }
    Ok(machine.result())
}

/// 8.11 to 8.20: the file without its comment lines as one text. A quoted token may go on over lines.
fn whole_file(file: &[u8], host: &[u8], rules: &Rules) -> Result<Option<Found>, &'static str> {
    let text = load(file, rules)?;
    let mut machine = Machine::new(host, rules);
    let mut at = 0;
    while at < text.len() {
        at += text[at..].iter().take_while(|b| (rules.skip)(**b)).count();
        let Some(first) = text.get(at) else { break };
        if machine.state == State::Macdef && matches!(first, b'\n' | b'\r') {
            machine.state = State::Nothing;
        }
        if *first == b'\n' {
            at += 1;
            continue;
        }
        let start = at;
        let token = next_token(&text, &mut at, rules)?;
        if at == start {
            return Err("it stops at a byte that it takes for no token");
        }
        if token.len() >= rules.token_max {
            return Err("a token is too long for it");
        }
        if machine.take(token) {
            break;
        }
        at += 1;
    }
    Ok(machine.result())
}

/// curl's file2memory: comments go, a line that is too long ends the reading.
fn load(file: &[u8], rules: &Rules) -> Result<Token, &'static str> {
    let mut text = Zeroizing::new(Vec::with_capacity(file.len() + 1));
    for line in lines(file) {
        if line.len() >= rules.line_max {
            break;
        }
        let start = line.iter().take_while(|b| blank(**b)).count();
        if line.get(start) != Some(&b'#') {
            text.extend_from_slice(&line[start..]);
        }
    }
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    if text.len() >= rules.file_max { Err("the file is too long for it") } else { Ok(text) }
}

/// Reads the token at `at` and moves `at` to the byte behind it.
fn next_token(text: &[u8], at: &mut usize, rules: &Rules) -> Result<Token, &'static str> {
    if text[*at] == b'"' {
        return quoted(text, at).ok_or("a quote is not closed");
    }
    let len = text[*at..].iter().take_while(|b| !(rules.end)(**b)).count();
    let token = Zeroizing::new(text[*at..*at + len].to_vec());
    *at += len;
    Ok(token)
}

/// Reads the quoted token at `at`, with its escapes, and moves `at` behind it; `None` when the quote is not closed.
fn quoted(text: &[u8], at: &mut usize) -> Option<Token> {
    let start = *at + 1;
    let mut escape = false;
    let end = text[start..].iter().position(|b| {
        let is_escaped = escape;
        escape = !is_escaped && *b == b'\\';
        *b == b'"' && !is_escaped
    });
    let end = start + end?;
    // No more room than it needs: it is wiped whole, and a file may hold half a million of them on one line.
    let mut token = Zeroizing::new(Vec::with_capacity(end - start));
    let mut bytes = text[start..end].iter();
    while let Some(b) = bytes.next() {
        token.push(match b {
            b'\\' => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(other) => *other,
                None => break,
            },
            other => *other,
        });
    }
    *at = end + 1;
    Some(token)
}

/// 8.21 and later: a scanner that knows values from keywords.
fn scanner(file: &[u8], host: &[u8], rules: &Rules) -> Result<Option<Found>, &'static str> {
    let text = load(file, rules)?;
    let mut at = 0;
    // The next token and whether it was quoted; `None` at the end.
    let next = |at: &mut usize, literal: bool| -> Result<Option<(Token, bool)>, &'static str> {
        *at += text[*at..].iter().take_while(|b| blank_or_line_end(**b)).count();
        if *at >= text.len() {
            return Ok(None);
        }
        let is_quoted = text[*at] == b'"';
        let token = next_token(&text, at, rules)?;
        if token.len() >= rules.token_max && (literal || is_quoted) {
            return Err("a token is too long for it");
        }
        Ok(Some((token, is_quoted)))
    };
    let (mut matches, mut login, mut password) = (false, None, None);
    loop {
        let token = next(&mut at, false)?;
        let word = match &token {
            Some((token, false)) => token.to_ascii_lowercase(),
            Some((_, true)) => continue,
            None => Vec::new(),
        };
        if token.is_none() || matches!(word.as_slice(), b"machine" | b"default" | b"macdef") {
            if matches && (login.is_some() || password.is_some()) {
                return Ok(Some(Found { login: login.unwrap_or_default(), password: password.unwrap_or_default() }));
            }
            (matches, login, password) = (false, None, None);
        }
        match word.as_slice() {
            _ if token.is_none() => return Ok(None),
            b"machine" => matches = next(&mut at, true)?.is_some_and(|(t, _)| t.eq_ignore_ascii_case(host)),
            b"default" => matches = true,
            b"account" => drop(next(&mut at, true)?),
            b"login" => login = next(&mut at, true)?.map(|(t, _)| t).filter(|_| matches).or(login),
            b"password" => password = next(&mut at, true)?.map(|(t, _)| t).filter(|_| matches).or(password),
            b"macdef" => {
                let rest = &text[at..];
                let empty_line = (0..rest.len()).find(|i| rest[*i] == b'\n' && rest[i + 1..].iter().find(|b| **b != b'\r') == Some(&b'\n'));
                at = empty_line.map_or(text.len(), |i| at + i + 1);
            }
            _ => {}
        }
    }
}

/// An entry for one host, and the lines it lies on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// In lower case.
    pub(super) host: Vec<u8>,
    /// Index of the line with `machine`.
    pub(super) first: usize,
    /// Index of the line with its last token.
    pub(super) last: usize,
    /// Whether nothing else lies on its first line.
    pub(super) alone: bool,
}

/// A file as lines, entries, and the places that matter when lines are put in.
pub(super) struct Layout<'a> {
    /// The lines with their ends.
    pub(super) lines: Vec<&'a [u8]>,
    pub(super) entries: Vec<Entry>,
    /// Index of the first line with `default` or `macdef`, behind which nothing is found; else the number of lines.
    pub(super) barrier: usize,
    /// Indices of lines on which a quote is opened and not closed.
    pub(super) unbalanced: Vec<usize>,
}

impl<'a> Layout<'a> {
    /// Lays the file out; `quotes` says whether the curl that reads it knows quoted tokens.
    pub(super) fn of(file: &'a [u8], quotes: bool) -> Self {
        let lines: Vec<&[u8]> = lines(file).collect();
        let mut layout = Layout { barrier: lines.len(), lines, entries: Vec::new(), unbalanced: Vec::new() };
        // What the next token is the value of: `Some(true)` a host, `Some(false)` anything else.
        let mut value: Option<bool> = None;
        // The line of the last `machine`, and whether it is the first token there.
        let mut started = (0, true);
        let mut in_entry = false;
        let mut in_macro = false;
        for i in 0..layout.lines.len() {
            let line = layout.lines[i];
            if in_macro {
                in_macro = line.iter().any(|b| !space(*b));
                continue;
            }
            let (mut at, mut first_token) = (0, true);
            while !in_macro {
                at += line[at..].iter().take_while(|b| space(**b)).count();
                if at >= line.len() || (first_token && line[at] == b'#') {
                    break;
                }
                let token = layout.token(i, &mut at, quotes);
                let expected = value.take();
                let keyword = |words: &[&str]| expected.is_none() && words.iter().any(|w| is(&token, w));
                if keyword(&["machine", "default", "macdef"]) {
                    if in_entry && let Some(entry) = layout.entries.last_mut().filter(|e| e.last == i) {
                        entry.alone = false;
                    }
                    in_entry = false;
                }
                if expected == Some(true) {
                    layout.entries.push(Entry { host: token.to_ascii_lowercase(), first: started.0, last: i, alone: started.1 });
                    in_entry = true;
                } else if keyword(&["machine"]) {
                    (value, started) = (Some(true), (i, first_token));
                } else if keyword(&["default", "macdef"]) {
                    layout.barrier = layout.barrier.min(i);
                    in_macro = is(&token, "macdef");
                } else if keyword(&["login", "password", "account"]) {
                    value = Some(false);
                }
                if in_entry && let Some(entry) = layout.entries.last_mut() {
                    entry.last = i;
                }
                first_token = false;
            }
        }
        layout
    }

    /// The token at `at` on line `i`. A quote that is not closed is remembered, and takes the rest of the line.
    fn token(&mut self, i: usize, at: &mut usize, quotes: bool) -> Token {
        let line = self.lines[i];
        if quotes && line[*at] == b'"' {
            return quoted(line, at).unwrap_or_else(|| {
                self.unbalanced.push(i);
                *at = line.len();
                Token::default()
            });
        }
        let len = line[*at..].iter().take_while(|b| !space(**b)).count();
        *at += len;
        Zeroizing::new(line[*at - len..*at].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each of these versions sends to h.example: `login:password`, `-` for nothing, `!` when it gives up.
    #[track_caller]
    fn check(file: &str, want: [(&str, &str); 5]) {
        for (curl, want) in want {
            let got = match lookup(file.as_bytes(), "h.example", CurlVersion::parse(curl).unwrap()) {
                Ok(Some(f)) => String::from_utf8([&f.login[..], b":", &f.password[..]].concat()).unwrap(),
                Ok(None) => "-".into(),
                Err(_) => "!".into(),
            };
            assert_eq!(got, want, "curl {curl}, {file:?}");
        }
    }

    #[track_caller]
    fn all(file: &str, want: &str) {
        for curl in REPRESENTATIVES {
            check(file, [(curl.to_string().as_str(), want); 5]);
        }
    }

    #[test]
    fn every_curl_agrees_on_portable_files() {
        all("machine h.example login u password p\n", "u:p");
        all("machine x login a password b\nmachine H.Example login u password p", "u:p");
        all("# c\n\nmachine h.example\n\tlogin u\n\tpassword p\n", "u:p");
        all("machine h.example login x account x login CORP\\jdoe password p\n", "CORP\\jdoe:p");
        all("machine h.example login u account x password $p\n", "u:$p");
        all("default login d password q\nmachine h.example login u password p\n", "d:q");
        all("machine other login u password p\n", "-");
        all("", "-");
    }

    #[test]
    fn every_curl_has_its_flaws() {
        let versions = ["7.76.1", "7.81.0", "7.88.1", "8.14.1", "8.21.0"];
        let check = |file: &str, want: [&str; 5]| check(file, std::array::from_fn(|i| (versions[i], want[i])));
        check("machine h.example login u password \"a \\\"b\"\n", ["u:\"a", "u:\"a", "u:a \"b", "u:a \"b", "u:a \"b"]);
        check("machine h.example login u password \"lead\n", ["u:\"lead", "u:\"lead", "!", "!", "!"]);
        check("machine h.example login u password #x\n", ["u:#x", "u:#x", "u:", "u:#x", "u:#x"]);
        check("machine h.example login u password p\u{e4}\n", ["u:p\u{e4}", "u:p\u{e4}", "u:p\u{e4}", "u:p", "u:p\u{e4}"]);
        check("machine h.example login u password \u{e4}\n", ["u:\u{e4}", "u:\u{e4}", "u:\u{e4}", "!", "u:\u{e4}"]);
        check("machine h.example login u password p\r\n", ["u:p\r", "u:p\r", "u:p", "u:p", "u:p"]);
        check("machine x login a password macdef\nmachine h.example login u password p\n", ["u:p", "-", "-", "-", "u:p"]);
        check("macdef m\nmachine h.example login a password b\n\nmachine h.example login u password p\n", ["a:b", "u:p", "u:p", "u:p", "u:p"]);
    }

    #[test]
    fn a_keyword_as_a_login_leaks_its_password_to_other_hosts() {
        let found = |curl| lookup(b"machine other login default password S3\n", "h.example", CurlVersion::parse(curl).unwrap()).unwrap();
        for curl in ["7.76.1", "7.88.1", "8.14.1"] {
            assert_eq!(found(curl).map(|f| f.password.to_vec()), Some(b"S3".to_vec()), "{curl}");
        }
        assert_eq!(found("8.21.0"), None);
    }

    #[track_caller]
    fn entries(file: &str, want: &[(&str, usize, usize, bool)], barrier: usize, unbalanced: &[usize]) {
        let layout = Layout::of(file.as_bytes(), true);
        let got: Vec<_> = layout.entries.iter().map(|e| (std::str::from_utf8(&e.host).unwrap(), e.first, e.last, e.alone)).collect();
        assert_eq!((got.as_slice(), layout.barrier, layout.unbalanced.as_slice()), (want, barrier, unbalanced), "{file:?}");
    }

    #[test]
    fn layouts() {
        entries("machine A login b password c\n# d\n\nmachine e\nlogin f\n", &[("a", 0, 0, true), ("e", 3, 4, true)], 5, &[]);
        entries("machine a login b machine c login d\n", &[("a", 0, 0, false), ("c", 0, 0, false)], 1, &[]);
        entries("machine a\nlogin b machine c\n", &[("a", 0, 1, false), ("c", 1, 1, false)], 2, &[]);
        entries("machine a login machine password default\n", &[("a", 0, 0, true)], 1, &[]);
        entries("machine\na login b\n", &[("a", 0, 1, true)], 2, &[]);
        entries("macdef m\nmachine a\n\nmachine b\ndefault login x\n", &[("b", 3, 3, true)], 0, &[]);
        entries("machine a login b default login x\n", &[("a", 0, 0, false)], 0, &[]);
        entries("machine a login b password \"c\nmachine d\n", &[("a", 0, 0, true), ("d", 1, 1, true)], 2, &[0]);
        entries("junk\n", &[], 1, &[]);
    }
}
