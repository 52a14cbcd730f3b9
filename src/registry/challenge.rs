//! `WWW-Authenticate` by the grammar of RFC 9110, sections 11.2 to 11.6.1. Pure.

/// One way in which a server asks for a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In lower case: `basic`, `bearer`.
    pub(super) scheme: String,
    /// Names in lower case, each once, with their values.
    params: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter's value.
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// The challenges of one answer, from its header lines in their order: a line may hold several, and several lines are one list.
///
/// # Errors
/// Says that a line does not follow the grammar, or names a parameter twice: then it could be read in two ways, and none is right.
pub(super) fn parse<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Vec<Challenge>, &'static str> {
    let mut found = Vec::new();
    for line in lines {
        Scanner { rest: line }.challenges(&mut found)?;
    }
    Ok(found)
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn challenges(&mut self, found: &mut Vec<Challenge>) -> Result<(), &'static str> {
        loop {
            self.skip(&[' ', '\t', ',']);
            if self.rest.is_empty() {
                return Ok(());
            }
            let scheme = self.token().ok_or("it does not begin with a scheme")?.to_ascii_lowercase();
            let mut challenge = Challenge { scheme, params: Vec::new() };
            if self.rest.starts_with(' ') {
                self.skip(&[' ']);
                self.params(&mut challenge)?;
            }
            found.push(challenge);
            self.skip(&[' ', '\t']);
            if !self.rest.is_empty() && !self.rest.starts_with(',') {
                return Err("something stands behind a challenge without a comma");
            }
        }
    }

    /// The list behind a scheme, up to where the next scheme begins; or the one `token68`, which is passed over.
    fn params(&mut self, challenge: &mut Challenge) -> Result<(), &'static str> {
        let Some(first) = self.param() else {
            self.token68();
            return Ok(());
        };
        challenge.params.push(first);
        loop {
            let before = self.rest;
            self.skip(&[' ', '\t']);
            if !self.rest.starts_with(',') {
                self.rest = before;
                return Ok(());
            }
            self.skip(&[' ', '\t', ',']);
            let Some((name, value)) = self.param() else {
                self.rest = before;
                return Ok(());
            };
            if challenge.param(&name).is_some() {
                return Err("it names a parameter twice");
            }
            challenge.params.push((name, value));
        }
    }

    /// `name=value` or `name="value"`; nothing is taken when it is not one.
    fn param(&mut self) -> Option<(String, String)> {
        let before = self.rest;
        let mut read = || {
            let name = self.token()?.to_ascii_lowercase();
            self.skip(&[' ', '\t']);
            self.rest = self.rest.strip_prefix('=')?;
            self.skip(&[' ', '\t']);
            let value = if self.rest.starts_with('"') { self.quoted()? } else { self.token()?.to_string() };
            Some((name, value))
        };
        let found = read();
        if found.is_none() {
            self.rest = before;
        }
        found
    }

    fn token(&mut self) -> Option<&'a str> {
        let tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        self.take(tchar)
    }

    fn token68(&mut self) {
        self.take(|c| c.is_ascii_alphanumeric() || "-._~+/".contains(c));
        self.skip(&['=']);
    }

    fn take(&mut self, fits: impl Fn(char) -> bool) -> Option<&'a str> {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!taken.is_empty()).then_some(taken)
    }

    fn quoted(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(chars.next().filter(|(_, c)| !c.is_control() || *c == '\t')?.1),
                c if c.is_control() && c != '\t' => return None,
                c => value.push(c),
            }
        }
        None
    }

    fn skip(&mut self, chars: &[char]) {
        self.rest = self.rest.trim_start_matches(chars);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Challenges as `scheme name=value name=value`, or the error.
    #[track_caller]
    fn check(lines: &[&str], want: &[&str]) {
        let shown = |c: &Challenge| c.params.iter().fold(c.scheme.clone(), |out, (n, v)| format!("{out} {n}={v}"));
        let got = match parse(lines.iter().copied()) {
            Ok(found) => found.iter().map(shown).collect(),
            Err(why) => vec![format!("error: {why}")],
        };
        assert_eq!(got, want, "{lines:?}");
    }

    #[test]
    fn what_registries_send() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io""#;
        check(&[hub], &["bearer realm=https://auth.docker.io/token service=registry.docker.io"]);
        check(&[r#"Basic realm="Registry Realm""#], &["basic realm=Registry Realm"]);
        check(&[r#"BASIC Realm = x"#], &["basic realm=x"]);
        check(&[r#"Bearer realm="r",service="s",scope="repository:a/b:pull,push""#], &["bearer realm=r service=s scope=repository:a/b:pull,push"]);
        check(&[], &[]);
        check(&["", " , "], &[]);
    }

    #[test]
    fn several_in_a_line_or_in_several() {
        check(&[r#"Basic realm="a", Bearer realm="b", service=c, Negotiate"#], &["basic realm=a", "bearer realm=b service=c", "negotiate"]);
        check(&[r#"Basic realm="a""#, r#"Bearer realm="b""#], &["basic realm=a", "bearer realm=b"]);
        check(&["Negotiate, Basic realm=x"], &["negotiate", "basic realm=x"]);
        check(&["Negotiate YWJj==, NTLM abc=, Basic realm=x"], &["negotiate", "ntlm", "basic realm=x"]);
        check(&[r#"Bearer realm="r",,service=s,"#], &["bearer realm=r service=s"]);
    }

    #[test]
    fn quotes_hold_what_looks_like_more() {
        check(&[r#"Basic realm="x, Bearer realm=https://evil.example/""#], &["basic realm=x, Bearer realm=https://evil.example/"]);
        check(&[r#"Basic realm="a\"b\\c""#], &[r#"basic realm=a"b\c"#]);
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_not_read() {
        check(&[r#"Bearer realm="https://a/",realm="https://b/""#], &["error: it names a parameter twice"]);
        check(&[r#"Bearer realm="https://a/",REALM=b"#], &["error: it names a parameter twice"]);
        check(&[r#"="x""#], &["error: it does not begin with a scheme"]);
        for open in [r#"Bearer realm="open"#, r#"Bearer realm="end\"#, "Bearer realm=a b=c", r#"Bearer realm="a"service="b""#, "Bearer realm=\"a\x07b\""] {
            check(&[open], &["error: something stands behind a challenge without a comma"]);
        }
    }
}
