//! Where a login may go. Pure.

use reqwest::Url;

use crate::model::Registry;

/// The longest realm that is read, in bytes.
const REALM_BYTES_MAX: usize = 2 << 10;

/// What is thought of the token server that a registry names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Realm {
    /// The login may go there.
    Trusted(Url),
    /// Nothing is wrong with it, but nobody has confirmed this host.
    Foreign {
        /// The host, without port.
        host: String,
    },
    /// No login goes to such an address, whoever confirms it. Why, as the end of a sentence that begins with "it".
    Unfit {
        /// The host, if it has one.
        host: Option<String>,
        /// Why.
        why: &'static str,
    },
}

/// Judges a realm that `registry` names. Trusted are the registry's own host whatever the port (GitLab: `git.example:5005` names
/// `git.example`), what is publicly known of it ([`Registry::netrc_hosts`]) and `auth_hosts`, which the admin has confirmed.
pub(super) fn judge(realm: &str, registry: &Registry, auth_hosts: &[String]) -> Realm {
    let unfit = |host: Option<&str>, why| Realm::Unfit { host: host.map(str::to_string), why };
    if realm.len() > REALM_BYTES_MAX {
        return unfit(None, "is longer than 2 KiB");
    }
    // A URL's reader drops line breaks and tabs, and turns other alphabets into ASCII: what is shown would not be what is asked.
    if !realm.bytes().all(|b| b.is_ascii_graphic()) {
        return unfit(None, "holds characters that no address has");
    }
    let Ok(mut url) = Url::parse(realm) else { return unfit(None, "is no URL") };
    let Some(host) = url.host_str().map(str::to_string) else { return unfit(None, "names no host") };
    if !url.username().is_empty() || url.password().is_some() {
        return unfit(Some(&host), "names an account of its own");
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&host) && is_loopback(registry.host()) => {}
        "http" => return unfit(Some(&host), "would get the password in the clear (http)"),
        _ => return unfit(Some(&host), "is not https"),
    }
    url.set_fragment(None);
    if host == registry.host() || registry.netrc_hosts().contains(&host.as_str()) || auth_hosts.contains(&host) {
        return Realm::Trusted(url);
    }
    Realm::Foreign { host }
}

/// Whether a host (IPv6 in brackets) is this machine by its name alone: what goes there crosses no network.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host == "[::1]" || host.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether a redirect from one address to another stays at the same server. A step from http to https is one, back is none.
pub(super) fn stays(from: &Url, to: &Url) -> bool {
    let same = from.host_str() == to.host_str() && to.username().is_empty() && to.password().is_none();
    same && match (from.scheme(), to.scheme()) {
        (a, b) if a == b => from.port_or_known_default() == to.port_or_known_default(),
        ("http", "https") => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `trusted`, `foreign HOST`, or why not.
    #[track_caller]
    fn check(registry: &str, realm: &str, auth_hosts: &[&str], want: &str) {
        let auth_hosts: Vec<String> = auth_hosts.iter().map(|h| h.to_string()).collect();
        let got = match judge(realm, &Registry::parse(registry).unwrap().0, &auth_hosts) {
            Realm::Trusted(_) => "trusted".to_string(),
            Realm::Foreign { host } => format!("foreign {host}"),
            Realm::Unfit { why, .. } => why.to_string(),
        };
        assert_eq!(got, want, "{registry} {realm}");
    }

    #[test]
    fn hosts_that_get_the_login() {
        check("docker.io", "https://auth.docker.io/token", &[], "trusted");
        check("nvcr.io", "https://nvcr.io/proxy_auth", &[], "trusted");
        check("nvcr.io", "https://authn.nvidia.com/token", &[], "trusted");
        check("registry.gitlab.com", "https://gitlab.com/jwt/auth", &[], "trusted");
        check("git.example.org:5005", "https://git.example.org/jwt/auth", &[], "trusted");
        check("h.example", "https://H.EXAMPLE:444/t?a=b#c", &[], "trusted");
        check("h.example", "https://auth.example/t", &["auth.example"], "trusted");
        check("127.0.0.1:5000", "http://127.0.0.1:5001/token", &[], "trusted");
        check("localhost:5000", "http://localhost/token", &[], "trusted");
        check("[::1]:5000", "http://[::1]:5001/token", &[], "trusted");
        check("localhost:5000", "http://127.0.0.1/token", &["127.0.0.1"], "trusted");
    }

    #[test]
    fn hosts_that_somebody_has_to_confirm() {
        check("h.example", "https://evil.example/t", &[], "foreign evil.example");
        check("h.example", "https://auth.h.example/t", &[], "foreign auth.h.example");
        check("h.example", "https://h.example.evil.example/t", &[], "foreign h.example.evil.example");
        check("h.example", "https://h.example./t", &[], "foreign h.example.");
        check("nvcr.io", "https://auth.docker.io/token", &[], "foreign auth.docker.io");
        check("127.0.0.1:5000", "https://127.0.0.2/t", &[], "foreign 127.0.0.2");
        check("localhost:5000", "http://127.0.0.1/token", &[], "foreign 127.0.0.1");
        check("h.example", "https:evil.example", &[], "foreign evil.example");
        check("h.example", r"https://evil.example\@h.example/", &[], "foreign evil.example");
    }

    #[test]
    fn addresses_that_get_no_login_ever() {
        let all = &["h.example", "127.0.0.1", "evil.example"];
        check("h.example", "http://h.example/t", all, "would get the password in the clear (http)");
        check("h.example", "http://127.0.0.1/t", all, "would get the password in the clear (http)");
        check("127.0.0.1:5000", "http://evil.example/t", all, "would get the password in the clear (http)");
        check("h.example", "https://h.example@evil.example/", all, "names an account of its own");
        check("h.example", "https://u:p@h.example/", all, "names an account of its own");
        check("h.example", "ftp://h.example/", all, "is not https");
        check("h.example", "/token", all, "is no URL");
        check("h.example", "", all, "is no URL");
        check("h.example", "data:text/plain,x", all, "names no host");
        check("h.example", "https://h.exam\tple/", all, "holds characters that no address has");
        check("h.example", "https://h.exämple/", all, "holds characters that no address has");
        check("h.example", &format!("https://h.example/{}", "a".repeat(2048)), all, "is longer than 2 KiB");
    }

    #[test]
    fn redirects_that_stay() {
        let stays = |a: &str, b: &str| stays(&Url::parse(a).unwrap(), &Url::parse(b).unwrap());
        assert!(stays("https://h/v2/", "https://h/v2"));
        assert!(stays("https://h/v2/", "https://h:443/x"));
        assert!(stays("http://localhost:5000/v2/", "https://localhost:5443/v2/"));
        for other in ["https://g/v2/", "https://h:444/v2/", "http://h/v2/", "https://u@h/v2/", "https://h.evil/v2/"] {
            assert!(!stays("https://h/v2/", other), "{other}");
        }
    }
}
