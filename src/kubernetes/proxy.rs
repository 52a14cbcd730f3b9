//! Which proxy stands before an API server.
//!
//! kube's own loader holds NO_PROXY against the proxy's name instead of the server's, and also where the kubeconfig itself names a proxy
//! (kube-client 5 `src/config/file_loader.rs` proxy_url). These are the rules of kubectl: `proxy-url` whatever the environment says (client-go
//! `tools/clientcmd/client_config.go`), else those of Go (`golang.org/x/net/http/httpproxy`, config.go).

use std::net::IpAddr;

/// The proxy's URL for a server; `named` is the kubeconfig's `proxy-url`, and `variable` asks the environment.
pub(super) fn proxy_for(server: &http::Uri, named: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let given = |names: [&str; 2]| names.into_iter().find_map(|name| variable(name).filter(|v| !v.is_empty()));
    let proxy = match named.filter(|url| !url.is_empty()) {
        Some(url) => url.to_string(),
        None => {
            let secure = server.scheme_str() == Some("https");
            let url = given(if secure { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] })?;
            let host = server.host()?.trim_matches(['[', ']']).to_ascii_lowercase();
            let port = server.port_u16().unwrap_or(if secure { 443 } else { 80 });
            if goes_direct(&host, port, &given(["NO_PROXY", "no_proxy"]).unwrap_or_default()) {
                return None;
            }
            url
        }
    };
    let proxy = if proxy.contains("://") { proxy } else { format!("http://{proxy}") };
    // For Go both let the proxy look the name up, and so does hyper-util's client.
    Some(proxy.replacen("socks5h://", "socks5://", 1))
}

/// Whether no proxy stands before this server (httpproxy `useProxy`).
fn goes_direct(host: &str, port: u16, no_proxy: &str) -> bool {
    let ip: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
        return true;
    }
    no_proxy.split(',').map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let (Some(ip), Some((net, bits))) = (ip, entry.split_once('/')) {
            return matches!((net.parse(), bits.parse()), (Ok(net), Ok(bits)) if in_network(ip, net, bits));
        }
        let (name, only) = with_port(&entry);
        if only.is_some_and(|only| only != port) {
            return false;
        }
        if let Ok(named) = name.parse::<IpAddr>() {
            return ip == Some(named);
        }
        let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
        match name.strip_prefix('.') {
            Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
            None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
        }
    })
}

/// `name:8080` and `[::1]:8080` in their parts.
fn with_port(entry: &str) -> (&str, Option<u16>) {
    if entry.parse::<IpAddr>().is_ok() {
        return (entry, None);
    }
    match entry.rsplit_once(':').map(|(name, port)| (name, port.parse())) {
        Some((name, Ok(port))) => (name.trim_matches(['[', ']']), Some(port)),
        _ => (entry.trim_matches(['[', ']']), None),
    }
}

fn in_network(ip: IpAddr, net: IpAddr, bits: u32) -> bool {
    match (ip, net) {
        (IpAddr::V4(ip), IpAddr::V4(net)) if bits <= 32 => {
            u32::from(ip).checked_shr(32 - bits).unwrap_or(0) == u32::from(net).checked_shr(32 - bits).unwrap_or(0)
        }
        (IpAddr::V6(ip), IpAddr::V6(net)) if bits <= 128 => {
            u128::from(ip).checked_shr(128 - bits).unwrap_or(0) == u128::from(net).checked_shr(128 - bits).unwrap_or(0)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(server: &str, named: Option<&str>, environment: &[(&str, &str)], want: Option<&str>) {
        let variable = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        assert_eq!(proxy_for(&server.parse().unwrap(), named, variable).as_deref(), want, "{server} {named:?} {environment:?}");
    }

    #[test]
    fn the_kubeconfig_s_proxy_stands_whatever_the_environment_says() {
        let no = [("NO_PROXY", "*"), ("HTTPS_PROXY", "http://other:1")];
        check("https://k.example:6443", Some("socks5://p:1080"), &no, Some("socks5://p:1080"));
        check("https://k.example:6443", Some("socks5h://p:1080"), &[], Some("socks5://p:1080"));
        check("https://127.0.0.1:6443", Some("http://p:3128"), &[], Some("http://p:3128"));
        check("https://k.example:6443", Some(""), &[], None);
    }

    #[test]
    fn the_environment_s_proxy_is_that_of_the_scheme() {
        check("https://k.example", None, &[("HTTPS_PROXY", "p:3128")], Some("http://p:3128"));
        check("https://k.example", None, &[("https_proxy", "https://p:3128")], Some("https://p:3128"));
        check("https://k.example", None, &[("HTTPS_PROXY", ""), ("https_proxy", "http://q")], Some("http://q"));
        check("https://k.example", None, &[("HTTP_PROXY", "http://p"), ("ALL_PROXY", "http://p")], None);
        for near in ["https://localhost:1", "https://127.0.0.1", "https://[::1]:6443"] {
            check(near, None, &[("HTTPS_PROXY", "http://p")], None);
        }
    }

    #[test]
    fn no_proxy_names_hosts_domains_networks_and_ports() {
        for (server, no_proxy, direct) in [
            ("https://k.example", "k.example", true),
            ("https://a.k.example", "k.example", true),
            ("https://ak.example", "k.example", false),
            ("https://K.Example", "other, k.EXAMPLE", true),
            ("https://k.example", ".k.example", false),
            ("https://a.k.example", ".k.example", true),
            ("https://a.k.example", "*.k.example", true),
            ("https://k.example:6443", "k.example:6443", true),
            ("https://k.example:6443", "k.example:443", false),
            ("https://k.example", "k.example:443", true),
            ("https://k.example", "*", true),
            ("https://10.1.2.3:6443", "10.0.0.0/8", true),
            ("https://11.1.2.3:6443", "10.0.0.0/8", false),
            ("https://11.1.2.3:6443", "0.0.0.0/0", true),
            ("https://10.1.2.3:6443", "10.1.2.3", true),
            ("https://[fd00::1]:6443", "fd00::/8", true),
            ("https://[fd00::1]:6443", "[fd00::1]:6443", true),
            ("https://[fd00::1]:6443", "fd00::2", false),
            ("https://k.example", "10.0.0.0/8,,", false),
        ] {
            let environment = [("HTTPS_PROXY", "http://p"), ("NO_PROXY", no_proxy)];
            check(server, None, &environment, if direct { None } else { Some("http://p") });
        }
    }
}
