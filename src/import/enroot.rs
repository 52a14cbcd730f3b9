//! enroot's `.credentials`: one login a host, without ports, where the registry and the server that gives out its tokens have a line each.

use super::{Found, FoundLogin, Left};
use crate::format::enroot::{Machine, Says, machines};
use crate::model::Registry;
use crate::model::text::escape;

/// Registries whose several hosts are publicly known; see [`Registry::netrc_hosts`].
const KNOWN: [&str; 3] = ["docker.io", "nvcr.io", "registry.gitlab.com"];

/// First labels of a host that only gives out tokens, for a registry beside it in the same domain.
const TOKEN_SERVERS: [&str; 14] = ["auth", "auth0", "authn", "token", "tokens", "login", "sso", "id", "idp", "oauth", "keycloak", "accounts", "gitlab", "git"];

/// The logins of a file; `Err` goes on from the file's name.
pub fn read(bytes: &[u8]) -> Result<Found, String> {
    let mut found = Found::default();
    for Machine { host, line, says } in machines(bytes)? {
        let shown = escape(host.as_deref().unwrap_or("default"));
        let place = format!("line {line}");
        let mut leave = |why: String| found.left.push(Left::new(format!("{place} ({shown})"), why));
        let Some(host) = host else {
            leave("`default` is for every host, and a login is for one registry; `regprov vault set` it with its registry".to_string());
            continue;
        };
        match says {
            Says::Command => {
                leave("enroot runs its password as a shell command; in an inventory that is `password_command:`".to_string());
            }
            Says::Behind(earlier) => leave(format!("curl does not get there, since line {earlier} answers before it")),
            Says::Unread(why) => leave(format!("curl cannot read it: {why}")),
            Says::Login { account, differs } => {
                if differs {
                    found.notes.push(format!("line {line}: curl's versions read this line differently; it was taken as curl 8.21 reads it, quotes understood"));
                }
                found.take(&registry_of(&host), &account.username, account.password, &place);
                if let Some(login) = found.logins.last_mut().filter(|l| l.from == place) {
                    // What its line says, until lines are put together.
                    login.auth_hosts = vec![host];
                }
            }
        }
    }
    join(&mut found);
    Ok(found)
}

/// The registry whose login a host gets.
fn registry_of(host: &str) -> String {
    let of = |name: &&&str| Registry::parse(name).is_ok_and(|(registry, _)| registry.netrc_hosts().contains(&host));
    KNOWN.iter().find(of).map_or(host, |name| name).to_string()
}

/// Puts the lines of one registry together: equal ones are one login, those that differ are left; the line of a token server that has the
/// login of a registry beside it becomes that login's auth host.
fn join(found: &mut Found) {
    let same = |a: &FoundLogin, b: &FoundLogin| a.username == b.username && a.password.expose() == b.password.expose();
    let mut joined: Vec<FoundLogin> = Vec::new();
    for login in found.logins.drain(..) {
        match joined.iter().position(|j| j.registry == login.registry || (same(j, &login) && is_token_server(&login, j))) {
            None => match joined.iter().position(|j| same(j, &login) && is_token_server(j, &login)) {
                None => joined.push(login),
                // The token server came first.
                Some(i) => {
                    let server = std::mem::replace(&mut joined[i], login);
                    let login = &mut joined[i];
                    login.from = format!("{}, {}", server.from, login.from);
                    login.auth_hosts.extend(server.auth_hosts);
                }
            },
            Some(i) if same(&joined[i], &login) => {
                joined[i].from = format!("{}, {}", joined[i].from, login.from);
                joined[i].auth_hosts.extend(login.auth_hosts);
            }
            Some(i) => {
                let first = &joined[i];
                let why = format!("{} of {} has another login for {}; see which is right", first.from, first.auth_hosts.join(", "), first.registry);
                found.left.push(Left::new(format!("{} ({})", login.from, escape(&login.auth_hosts.join(", "))), why));
            }
        }
    }
    for mut login in joined {
        let hosts = std::mem::take(&mut login.auth_hosts);
        let known: Vec<String> = login.registry.netrc_hosts().into_iter().map(str::to_string).collect();
        let is_known = KNOWN.contains(&login.registry.authority());
        let asked = if login.registry.is_hub() { "registry-1.docker.io" } else { login.registry.authority() };
        if is_known && !hosts.iter().any(|h| h == asked) {
            found
                .notes
                .push(format!("{}: no line is for {asked}, where enroot looks for the user, so it may have pulled without a login until now", login.from));
        }
        login.auth_hosts = hosts.into_iter().filter(|host| !known.contains(host)).collect();
        if !login.auth_hosts.is_empty() {
            let servers = login.auth_hosts.join(", ");
            found.notes.push(format!("{}: {servers} has the login of {} and was taken for its token server", login.from, login.registry));
        }
        found.logins.push(login);
    }
}

/// Whether `server` is named as what gives out the tokens of `registry`: in its domain, with a label that says so.
fn is_token_server(server: &FoundLogin, registry: &FoundLogin) -> bool {
    let (server, registry) = (server.registry.authority(), registry.registry.authority());
    let domain = |host: &str| host.split_once('.').map(|(_, domain)| domain.to_string()).filter(|d| d.contains('.'));
    let first = |host: &str| host.split('.').next().unwrap_or_default().to_string();
    server != registry && domain(server).is_some() && domain(server) == domain(registry) && {
        TOKEN_SERVERS.contains(&first(server).as_str()) && !TOKEN_SERVERS.contains(&first(registry).as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[track_caller]
    fn check(file: &str, want: &[&str]) {
        let mut found = read(file.as_bytes()).unwrap();
        found.settle();
        testing::check(&found, want);
    }

    fn lines(hosts: &[&str]) -> String {
        hosts.iter().map(|h| format!("machine {h} login u password p\n")).collect()
    }

    #[test]
    fn hosts_that_are_one_registry_are_one_login() {
        check(&lines(&["registry-1.docker.io", "auth.docker.io", "docker.io", "index.docker.io"]), &["docker.io u p line 1, line 2, line 3, line 4"]);
        check(&lines(&["authn.nvidia.com", "nvcr.io"]), &["nvcr.io u p line 1, line 2"]);
        check(&lines(&["registry.gitlab.com", "gitlab.com"]), &["registry.gitlab.com u p line 1, line 2"]);
        // The example of DeepOps' documentation.
        check(&lines(&["auth.docker.io"]), &["docker.io u p line 1", "note line 1: no line is for registry-1.docker.io, where enroot looks for the user..."]);
    }

    #[test]
    fn a_token_server_belongs_to_the_registry_beside_it() {
        let note = "note line 1, line 2: auth.example.org has the login of harbor.example.org and was taken for its token server";
        check(&lines(&["harbor.example.org", "auth.example.org"]), &["harbor.example.org u p line 1, line 2 (auth auth.example.org)", note]);
        check(&lines(&["auth.example.org", "harbor.example.org"]), &["harbor.example.org u p line 1, line 2 (auth auth.example.org)", note]);
        for other in ["mirror.example.org", "auth.example.com", "auth.harbor.example.org"] {
            check(&lines(&["harbor.example.org", other]), &["harbor.example.org u p line 1", &format!("{other} u p line 2")]);
        }
        check(
            "machine h.example.org login u password p\nmachine auth.example.org login u password q\n",
            &["h.example.org u p line 1", "auth.example.org u q line 2"],
        );
        check(&lines(&["h.org", "auth.org"]), &["h.org u p line 1", "auth.org u p line 2"]);
    }

    #[test]
    fn what_cannot_be_taken_is_left_with_the_reason() {
        check(
            "machine nvcr.io login $oauthtoken password p\nmachine authn.nvidia.com login $oauthtoken password q\n",
            &["nvcr.io $oauthtoken p line 1", "left line 2 (authn.nvidia.com): line 1 of nvcr.io has another login for nvcr.io; see which is right"],
        );
        check("machine ecr login AWS password $(aws ecr get-login-password)\n", &["left line 1 (ecr): enroot runs its password as a shell command; in..."]);
        check("machine a login u password p\nmachine a login u password q\n", &["a u p line 1", "left line 2 (a): curl does not get there, since line 1..."]);
        check("default login u password p\n", &["left line 1 (default): `default` is for every host..."]);
        check("machine a login u\n", &["left line 1: its password is empty"]);
        check("machine a password p\n", &["left line 1: its username is empty"]);
        check("machine a_b..c login u password p\n", &["left line 1: registry `a_b..c` is no host name..."]);
        check("machine a login u password \"p q\"\n", &["a u p q line 1", "note line 1: curl's versions read this line differently..."]);
    }
}
