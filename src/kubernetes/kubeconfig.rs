//! Kubeconfigs as kubectl has them: what a context of theirs comes to.
//!
//! The types are kube's own. What becomes of them is done here, since kube's loader differs from kubectl's (client-go `tools/clientcmd`):
//! it ends at a file of `$KUBECONFIG` that is missing, takes `""` for a value, sends a token file's line break, lets a name stand twice,
//! and says nothing of a user that is not there.

use std::fs;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::config::{AuthInfo, Cluster, Config, Kubeconfig, KubeconfigError};
use zeroize::Zeroizing;

use super::credentials::Source;
use super::exec::Plugin;
use super::proxy::proxy_for;
use crate::error::{Error, Result};
use crate::model::text::{escape, sanitize};

/// The largest kubeconfig, or file that it names, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// As many links as Linux follows on the way to a file (path_resolution(7)).
const LINKS_MAX: usize = 40;
/// The bit of a folder in which only the owner of an entry can replace it.
const STICKY: u32 = 0o1000;

/// One kubeconfig.
pub(super) struct File {
    path: PathBuf,
    pub(super) config: Kubeconfig,
    /// Who else can write it.
    others_write: Option<Foreign>,
    /// What a person should know of it.
    pub(super) note: Option<String>,
}

/// What is needed to ask a cluster.
pub(super) struct Access {
    /// The server as it is shown: `k.example:6443`.
    pub(super) server: String,
    /// The user's entry, for messages.
    pub(super) user: Option<String>,
    /// Where to and over what; who we are only as far as it is a client certificate or whom we impersonate.
    pub(super) config: Config,
    pub(super) source: Source,
}

impl File {
    /// Reads a file; `None` where there is none.
    pub(super) fn read(path: &Path) -> Result<Option<File>> {
        let shown = shown(path);
        let Some((meta, text)) = read(path).map_err(|why| Error::usage(format!("kubeconfig {shown} cannot be read: {why}")))? else { return Ok(None) };
        let text = std::str::from_utf8(&text).map_err(|_| Error::usage(format!("kubeconfig {shown} is not UTF-8")))?;
        let config = Kubeconfig::from_yaml(text.trim_start_matches('\u{feff}')).map_err(|e| match e {
            // Its own words quote the line, in which a token may stand.
            KubeconfigError::Parse(e) => {
                let place = e.location().map_or(String::new(), |at| format!(":{}:{}", at.line(), at.column()));
                Error::usage(format!("kubeconfig {shown}{place} cannot be understood")).hint(format!("`kubectl --kubeconfig {shown} config view` says more"))
            }
            _ => Error::usage(format!("{shown} is no kubeconfig")),
        })?;
        if config.kind.as_deref().is_some_and(|kind| !kind.is_empty() && kind != "Config") {
            return Err(Error::usage(format!("{shown} is no kubeconfig: its kind is not `Config`")));
        }
        let names: [(&str, Vec<&str>); 3] = [
            ("clusters", config.clusters.iter().map(|c| c.name.as_str()).collect()),
            ("contexts", config.contexts.iter().map(|c| c.name.as_str()).collect()),
            ("users", config.auth_infos.iter().map(|u| u.name.as_str()).collect()),
        ];
        for (list, names) in names {
            if let Some((_, twice)) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
                return Err(Error::usage(format!("kubeconfig {shown} has two {list} of the name `{}`", escape(twice))));
            }
        }
        let others_write = others_write(path, &meta);
        let note = note(&shown, &meta, &config, others_write.as_ref());
        Ok(Some(File { path: path.to_path_buf(), config, others_write, note }))
    }

    /// A path in it: relative to the file itself.
    fn path(&self, named: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(named)
    }
}

/// What a context comes to: of entries of one name that of the first file counts, as a whole.
pub(super) fn access(files: &[File], context: &str) -> Result<Access> {
    let named = |kind: &str, name: &str| format!("context `{}` names the {kind} `{}`, which no kubeconfig has", escape(context), escape(name));
    let found = files.iter().find_map(|f| f.config.contexts.iter().find(|c| c.name == context));
    let found = found.and_then(|c| c.context.as_ref()).ok_or_else(|| unknown(files, context))?;
    let cluster = files.iter().find_map(|f| f.config.clusters.iter().find(|c| c.name == found.cluster).map(|c| (f, c.cluster.clone().unwrap_or_default())));
    let (cluster_file, cluster) = cluster.ok_or_else(|| Error::usage(named("cluster", &found.cluster)))?;
    let user_name = some(found.user.as_ref());
    let user = user_name.map(|name| {
        let user = files.iter().find_map(|f| f.config.auth_infos.iter().find(|u| u.name == name).map(|u| (f, u.auth_info.clone().unwrap_or_default())));
        user.ok_or_else(|| Error::usage(named("user", name)))
    });
    let place = Place { cluster: format!("cluster `{}` of {}", escape(&found.cluster), shown(&cluster_file.path)), file: cluster_file };
    let mut config = config(&place, &cluster)?;
    let source = match user.transpose()? {
        None => Source::Fixed(None),
        Some((file, user)) => {
            let what = format!("user `{}` of {}", escape(user_name.unwrap_or_default()), shown(&file.path));
            impersonate(&what, &user, &mut config)?;
            // Over plain http nothing is sent that proves who we are (client-go `tools/clientcmd/client_config.go` ClientConfig).
            match config.cluster_url.scheme_str() {
                Some("http") => Source::Fixed(None),
                _ => credentials(file, &what, &user, &cluster, &place, &mut config)?,
            }
        }
    };
    Ok(Access { server: authority(&config.cluster_url), user: user_name.map(str::to_string), config, source })
}

fn unknown(files: &[File], context: &str) -> Error {
    let mut all: Vec<&str> = files.iter().flat_map(|f| &f.config.contexts).map(|c| c.name.as_str()).collect();
    all.sort_unstable();
    all.dedup();
    let near = all.iter().map(|name| (strsim::damerau_levenshtein(context, name), *name)).filter(|(slips, name)| *slips <= 2 && slips * 2 < name.len()).min();
    let hint = match (near, all.as_slice()) {
        (Some((_, name)), _) => format!("did you mean `{}`?", escape(name)),
        (None, []) => "there is none at all: `kubectl config get-contexts`".to_string(),
        (None, all) => format!("there are: {}", all.iter().take(20).map(|name| escape(name)).collect::<Vec<_>>().join(", ")),
    };
    Error::usage(format!("there is no context `{}` in {}", escape(context), list(files.iter().map(|f| f.path.as_path())))).hint(hint)
}

/// Where a cluster stands.
struct Place<'a> {
    cluster: String,
    file: &'a File,
}

/// Where the server is, and whom we trust that it is.
fn config(place: &Place<'_>, cluster: &Cluster) -> Result<Config> {
    let what = &place.cluster;
    let server = some(cluster.server.as_ref()).ok_or_else(|| Error::usage(format!("{what} has no `server`")))?;
    let mut config = Config::new(server_url(what, server)?);
    if cluster.insecure_skip_tls_verify == Some(true) {
        return Err(Error::usage(format!("{what} has `insecure-skip-tls-verify`: registry passwords would go to whoever answers there"))
            .hint("take it out and put the CA's certificate in `certificate-authority-data`; where only the name differs, `tls-server-name`"));
    }
    let ca = pem(place.file, what, "certificate-authority", cluster.certificate_authority_data.as_ref(), cluster.certificate_authority.as_ref())?;
    if let Some(ca) = ca {
        config.root_cert = Some(certificates(&ca).ok_or_else(|| Error::usage(format!("`certificate-authority` of {what} holds no certificate")))?);
    }
    config.tls_server_name = some(cluster.tls_server_name.as_ref()).map(str::to_string);
    let variable = |name: &str| std::env::var(name).ok();
    if let Some(url) = proxy_for(&config.cluster_url, some(cluster.proxy_url.as_ref()), variable) {
        if config.cluster_url.scheme_str() == Some("http") {
            return Err(Error::usage(format!("`server` of {what} is plain http behind a proxy: registry passwords would go to the proxy in the clear"))
                .hint("take `proxy-url` out, since a server on this machine needs no proxy; or write https://"));
        }
        let url: Option<http::Uri> = url.parse().ok().filter(|url: &http::Uri| url.host().is_some());
        let known = url.filter(|url| matches!(url.scheme_str(), Some("http" | "https" | "socks5")));
        // Not shown: a password may stand in it.
        let no_proxy = || Error::usage(format!("the proxy of {what} is no URL with http, https or socks5")).hint("look at `proxy-url` and at HTTPS_PROXY");
        config.proxy_url = Some(known.ok_or_else(no_proxy)?);
    }
    Ok(config)
}

/// A server's URL; without a scheme it is http, whatever is said of CAs (client-go `tools/clientcmd/client_config.go` ClientConfig asks whether
/// it is https before it looks at them).
pub(super) fn server_url(what: &str, server: &str) -> Result<http::Uri> {
    let full = if server.contains("://") { server.to_string() } else { format!("http://{server}") };
    let url: Option<http::Uri> = full.parse().ok();
    let url = url.filter(|url| url.host().is_some() && url.query().is_none() && !url.authority().is_some_and(|a| a.as_str().contains('@')));
    let url = url.ok_or_else(|| Error::usage(format!("`server` of {what} is no URL such as https://k.example:6443")))?;
    match url.scheme_str() {
        Some("https") => Ok(url),
        Some("http") if url.host().is_some_and(is_loopback) => Ok(url),
        Some("http") => Err(Error::usage(format!("`server` of {what} is plain http: registry passwords would go over the network in the clear"))
            .hint("write https://; plain http is for this machine itself, as with `kubectl proxy`")),
        _ => Err(Error::usage(format!("`server` of {what} is no URL with https"))),
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Host and port as they are shown.
pub(super) fn authority(url: &http::Uri) -> String {
    sanitize(url.authority().map_or("", http::uri::Authority::as_str))
}

/// Who we are. A certificate goes into `config`, the rest is returned.
fn credentials(file: &File, what: &str, user: &AuthInfo, cluster: &Cluster, place: &Place<'_>, config: &mut Config) -> Result<Source> {
    use secrecy::ExposeSecret as _;
    if user.auth_provider.is_some() {
        return Err(Error::usage(format!("{what} has an `auth-provider`, which Kubernetes took away with 1.26"))
            .hint("use the exec plugin that took its place: gke-gcloud-auth-plugin, kubelogin"));
    }
    let key_data = user.client_key_data.as_ref().map(|key| key.expose_secret().to_string());
    let certificate = pem(file, what, "client-certificate", user.client_certificate_data.as_ref(), user.client_certificate.as_ref())?;
    let key = pem(file, what, "client-key", key_data.as_ref(), user.client_key.as_ref())?;
    let has_certificate = match (certificate, key) {
        (None, None) => false,
        (Some(certificate), Some(key)) => {
            identify(config, &certificate, &key);
            true
        }
        (Some(_), None) => return Err(Error::usage(format!("{what} has a `client-certificate` and no `client-key`"))),
        (None, Some(_)) => return Err(Error::usage(format!("{what} has a `client-key` and no `client-certificate`"))),
    };
    let token = user.token.as_ref().map(|t| t.expose_secret()).filter(|t| !t.is_empty());
    let token_file = some(user.token_file.as_ref()).map(|named| file.path(named));
    let name = some(user.username.as_ref());
    let password = user.password.as_ref().map_or("", |p| p.expose_secret());
    match (name, token, token_file) {
        (Some(_), None, None) | (None, _, _) if name.is_none() && !password.is_empty() => {
            Err(Error::usage(format!("{what} has a `password` and no `username`")))
        }
        (Some(name), None, None) => {
            Source::basic(name, password).ok_or_else(|| Error::usage(format!("`username` or `password` of {what} holds what no header can")))
        }
        (Some(_), _, _) => Err(Error::usage(format!("{what} has a `username` and a token: only one of them can be sent"))),
        (None, token, Some(path)) => Source::file(path.clone(), token).map_err(|why| Error::usage(format!("`tokenFile` of {what} ({}) {why}", shown(&path)))),
        (None, Some(token), None) => Source::bearer(token).ok_or_else(|| Error::usage(format!("`token` of {what} holds what no header can"))),
        // What stands in the file itself counts before a plugin (client-go `plugin/pkg/client/auth/exec/exec.go` UpdateTransportConfig).
        (None, None, None) => match &user.exec {
            Some(exec) if !has_certificate => {
                if let Some(Foreign { who, remedy }) = &file.others_write {
                    return Err(Error::usage(format!("{what} names a program to run, and {who}: what they write would run as you")).hint(remedy));
                }
                let ca = config
                    .root_cert
                    .is_some()
                    .then(|| pem(place.file, "", "certificate-authority", cluster.certificate_authority_data.as_ref(), cluster.certificate_authority.as_ref()));
                Plugin::new(what, exec, |named| file.path(named), cluster, ca.transpose()?.flatten()).map(|plugin| Source::Exec(Box::new(plugin)))
            }
            _ => Ok(Source::Fixed(None)),
        },
    }
}

/// As whom we act beside that.
fn impersonate(what: &str, user: &AuthInfo, config: &mut Config) -> Result<()> {
    let whom = some(user.impersonate.as_ref());
    let more = some(user.impersonate_uid.as_ref()).is_some()
        || user.impersonate_groups.as_ref().is_some_and(|g| !g.is_empty())
        || user.impersonate_user_extra.as_ref().is_some_and(|e| !e.is_empty());
    if whom.is_none() && more {
        return Err(Error::usage(format!("{what} impersonates groups, a uid or extra fields, and no user")).hint("add `as`"));
    }
    config.auth_info.impersonate = whom.map(str::to_string);
    config.auth_info.impersonate_uid = some(user.impersonate_uid.as_ref()).map(str::to_string);
    config.auth_info.impersonate_groups.clone_from(&user.impersonate_groups);
    config.auth_info.impersonate_user_extra.clone_from(&user.impersonate_user_extra);
    Ok(())
}

/// Shows this certificate from now on.
pub(super) fn identify(config: &mut Config, certificate: &[u8], key: &[u8]) {
    config.auth_info.client_certificate_data = Some(STANDARD.encode(certificate));
    config.auth_info.client_key_data = Some(STANDARD.encode(key).into());
}

/// The certificates of a PEM file; `None` without any.
pub(super) fn certificates(pem: &[u8]) -> Option<Vec<Vec<u8>>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let found: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(pem).collect::<std::result::Result<Vec<_>, _>>().ok()?.iter().map(|c| c.to_vec()).collect();
    (!found.is_empty()).then_some(found)
}

/// What stands in `KEY-data`, else in the file that `KEY` names.
fn pem(file: &File, what: &str, key: &str, data: Option<&String>, named: Option<&String>) -> Result<Option<Zeroizing<Vec<u8>>>> {
    if some(data).is_some() && some(named).is_some() {
        return Err(Error::usage(format!("{what} has both `{key}` and `{key}-data`, which kubectl refuses")).hint("keep one of them"));
    }
    if let Some(data) = some(data) {
        // Go's decoder passes over line breaks.
        let data: Zeroizing<String> = Zeroizing::new(data.chars().filter(|c| !matches!(c, '\n' | '\r')).collect());
        let decoded = STANDARD.decode(data.as_bytes()).map_err(|_| Error::usage(format!("`{key}-data` of {what} is not base64")))?;
        return Ok(Some(Zeroizing::new(decoded)));
    }
    let Some(named) = some(named) else { return Ok(None) };
    let path = file.path(named);
    let told = |why: String| Error::usage(format!("`{key}` of {what} ({}) cannot be read: {why}", shown(&path)));
    match read(&path).map_err(told)? {
        Some((_, content)) => Ok(Some(content)),
        None => Err(told("there is no such file".into())),
    }
}

/// A file and its content.
type Content = (fs::Metadata, Zeroizing<Vec<u8>>);

/// Reads a file; `None` where there is none.
pub(super) fn read(path: &Path) -> std::result::Result<Option<Content>, String> {
    let reason = |e: io::Error| match e.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".to_string(),
        io::ErrorKind::IsADirectory => "it is a directory".to_string(),
        _ => e.to_string(),
    };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(reason(e)),
    };
    let meta = file.metadata().map_err(reason)?;
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(meta.len().min(FILE_BYTES_MAX)).unwrap_or(0) + 1));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(reason)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err("it is larger than 4 MiB".into());
    }
    Ok(Some((meta, content)))
}

/// Somebody else who can change what a kubeconfig says.
struct Foreign {
    /// Who, and where; the end of a sentence.
    who: String,
    /// What takes it from them.
    remedy: String,
}

/// Who else can write the file, or put another one in its place: in its own folder, and in that of each link that leads there. A pipe belongs
/// to its reader.
fn others_write(path: &Path, meta: &fs::Metadata) -> Option<Foreign> {
    if !meta.is_file() {
        return None;
    }
    let mut folders = vec![folder_of(path)];
    let mut links = Vec::new();
    for link in links_of(path) {
        folders.push(folder_of(&link));
        links.push(link);
    }
    folders.push(folder_of(&fs::canonicalize(path).unwrap_or(path.to_path_buf())));
    // A link's own mode says nothing; its owner can replace it also in a sticky folder.
    let links = links.iter().find_map(|link| foreign(link, &fs::symlink_metadata(link).ok()?, 0o7777));
    let folders = || folders.iter().find_map(|folder| foreign(folder, &fs::metadata(folder).ok()?, STICKY));
    foreign(path, meta, 0).or(links).or_else(folders)
}

/// Who else can write this one; with any of the bits `but` in its mode, nobody but its owner.
fn foreign(path: &Path, meta: &fs::Metadata, but: u32) -> Option<Foreign> {
    let (uid, mode, path) = (meta.uid(), meta.mode() & 0o7777, shown(path));
    if uid != rustix::process::geteuid().as_raw() && uid != 0 {
        return Some(Foreign { who: format!("{path} belongs to another user (uid {uid})"), remedy: "use a copy in a folder of your own".to_string() });
    }
    let who = match mode {
        mode if mode & but != 0 => return None,
        mode if mode & 0o002 != 0 => "everybody",
        mode if mode & 0o020 != 0 => "its group",
        _ => return None,
    };
    Some(Foreign { who: format!("{who} can write {path} (mode {mode:04o})"), remedy: format!("chmod go-w {path}") })
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf()
}

/// The symbolic links on the way to a file, as the system follows them.
fn links_of(path: &Path) -> Vec<PathBuf> {
    let parts = |path: &Path| path.components().rev().map(|part| PathBuf::from(part.as_os_str())).collect::<Vec<_>>();
    let (mut at, mut ahead, mut links) = (PathBuf::from("."), parts(path), Vec::new());
    while let Some(part) = ahead.pop() {
        at.push(part);
        if links.len() == LINKS_MAX {
            break;
        }
        if let Ok(to) = fs::read_link(&at) {
            ahead.extend(parts(&to));
            links.push(at.clone());
            at.pop();
        }
    }
    links
}

/// What a person should know of a kubeconfig that is not theirs alone.
fn note(shown: &str, meta: &fs::Metadata, config: &Kubeconfig, others_write: Option<&Foreign>) -> Option<String> {
    if let Some(Foreign { who, remedy }) = others_write {
        return Some(format!("kubeconfig {shown}: {who}, and could have your registry logins sent to a server of theirs; {remedy}"));
    }
    let users = config.auth_infos.iter().filter_map(|u| u.auth_info.as_ref());
    let holds_secret = users.into_iter().any(|u| u.token.is_some() || u.password.is_some() || u.client_key_data.is_some());
    (meta.is_file() && meta.mode() & 0o044 != 0 && holds_secret)
        .then(|| format!("kubeconfig {shown} holds credentials, and others can read it (mode {:04o}); chmod 600 {shown}", meta.mode() & 0o7777))
}

/// A value that is given; kubectl writes `""` for none.
fn some(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|value| !value.is_empty())
}

/// A path as it is shown.
pub(super) fn shown(path: &Path) -> String {
    sanitize(&path.display().to_string())
}

/// Names of files between commas.
pub(super) fn list<'a>(paths: impl Iterator<Item = &'a Path>) -> String {
    paths.map(shown).collect::<Vec<_>>().join(", ")
}
