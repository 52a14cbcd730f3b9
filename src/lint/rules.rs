//! The rules by their names. A name stays for good: pipelines and annotations know it.

use crate::error::rule;
use crate::model::finding::{Level, Rule};

/// A rule that needs no password.
const fn open(id: &'static str, level: Level, title: &'static str, help: &'static str) -> Rule {
    Rule { id, level, title, help, password: false }
}

/// A rule that looks at passwords.
const fn sealed(id: &'static str, level: Level, title: &'static str, help: &'static str) -> Rule {
    Rule { id, level, title, help, password: true }
}

/// Ids of rules that are not about reading files; those are in [`rule`].
pub(super) mod id {
    pub(crate) const TARGET: &str = "target-check";
    pub(crate) const NETRC_KEYWORD: &str = "netrc-keyword";
    pub(crate) const NETRC_PORTS: &str = "netrc-two-ports";
    pub(crate) const NETRC_QUOTES: &str = "netrc-quotes";
    pub(crate) const DOLLAR: &str = "dollar-password";
    pub(crate) const VARIABLE: &str = "unexpanded-variable";
    pub(crate) const PLACEHOLDER: &str = "placeholder";
    pub(crate) const SWAPPED: &str = "swapped";
    pub(crate) const TOKEN_SERVER: &str = "token-server";
    pub(crate) const NGC_USERNAME: &str = "ngc-username";
    pub(crate) const BASE64_LOGIN: &str = "base64-login";
    pub(crate) const BASE64_BREAKS: &str = "base64-line-breaks";
    pub(crate) const LINE_BREAK: &str = "line-break";
    pub(crate) const EDGE_SPACE: &str = "edge-space";
    pub(crate) const SHORT_LIVED: &str = "short-lived";
    pub(crate) const SESSION_SECRET: &str = "session-secret";
    pub(crate) const RUNAI_NAMESPACE: &str = "runai-namespace";
    pub(crate) const RUNAI_ACCOUNTS: &str = "runai-service-accounts";
    pub(crate) const RUNAI_PROJECT: &str = "runai-project";
    pub(crate) const NO_CONTEXT: &str = "no-context";
    pub(crate) const JSON_KEY: &str = "json-key";
}

/// All of them, in the order of the README: first those that end `apply`.
pub static RULES: [Rule; 38] = [
    open(
        rule::INPUT,
        Level::Error,
        "what `apply` refuses and no other rule names",
        "Whatever is wrong with the input ends a run before anyone connects. The message says what to change.",
    ),
    open(
        rule::TWO_LOGINS,
        Level::Error,
        "two logins for one registry in one file",
        "A file holds one login a registry. Take one out of `logins`, or give the target one of them with `logins:`.",
    ),
    open(
        rule::ENV_TWO_LOGINS,
        Level::Error,
        "two logins in environment variables, which hold one for all registries",
        "Name one with `singularity: {login: NAME}`, and give the other to another target.",
    ),
    open(rule::LOGIN_TWICE, Level::Error, "one login in two files", "Keep it in the vault or in the inventory, not in both."),
    open(rule::REGISTRY_PATH, Level::Error, "a registry with a path", "The consumers know one login a host. Write the host alone."),
    open(rule::NO_PASSWORD, Level::Error, "a login without a password", "Seal one with `regprov vault set`."),
    open(
        rule::PLAINTEXT,
        Level::Error,
        "a password in the clear",
        "Whoever reads the repository has it. Seal it with `regprov vault set`, and change it at the registry.",
    ),
    sealed(
        rule::SEAL,
        Level::Error,
        "a sealed password that is damaged, that the identity at hand does not open, or that belongs to another login",
        "Give the identity it was sealed for, or seal the password anew with `regprov vault set`.",
    ),
    sealed(
        rule::EXPIRED,
        Level::Error,
        "a login that has ended, by `expires:` or by what its password says",
        "Make a new one at the registry and seal it with `regprov vault set`. `apply --allow-expired` takes it as it is.",
    ),
    sealed(
        id::TARGET,
        Level::Error,
        "what a target's format cannot hold",
        "The message names the target, the login and the rule. Choose another value, or leave that login out of that target.",
    ),
    sealed(
        id::NETRC_KEYWORD,
        Level::Error,
        "`machine`, `default` or `macdef` as a username or password for enroot",
        "curl up to 8.20 misreads the other lines of a netrc file with such a word, and sends a password to a foreign registry. Choose another.",
    ),
    sealed(
        id::NETRC_PORTS,
        Level::Error,
        "registries of one host and two ports for enroot",
        "A netrc line knows no port, so one login would be sent to both. Give the target one of them with `logins:`.",
    ),
    sealed(
        id::VARIABLE,
        Level::Error,
        "a username or password that looks like a variable nobody expanded",
        "Nothing is ever interpolated: what stands there is sent as it is. Write the value, or pipe it into `regprov vault set`.",
    ),
    sealed(
        id::PLACEHOLDER,
        Level::Error,
        "a username or password that looks like a placeholder",
        "Write the real username; seal the real password with `regprov vault set`.",
    ),
    sealed(
        id::SWAPPED,
        Level::Error,
        "username and password the wrong way round",
        "Seal the login anew with `regprov vault set`. A token that stood in the place of a username was never sealed: change it at the registry.",
    ),
    open(
        id::NGC_USERNAME,
        Level::Error,
        "a username of nvcr.io other than `$oauthtoken`",
        "NGC knows this one name. In a shell it needs single quotes: `--username '$oauthtoken'`.",
    ),
    sealed(
        id::BASE64_LOGIN,
        Level::Error,
        "a password that is the base64 of `user:password`",
        "That is Docker's `auth`, which is made of the login anew. Seal the password alone with `regprov vault set`.",
    ),
    sealed(
        id::BASE64_BREAKS,
        Level::Error,
        "a password of base64 that was broken into lines",
        "`base64` breaks lines after 76 characters. Use `base64 -w0`, and seal the result with `regprov vault set`.",
    ),
    sealed(
        id::LINE_BREAK,
        Level::Error,
        "a password that begins or ends with a line break",
        "It is sent with it. Seal the password anew: `printf %s` writes none, and `regprov vault set` takes one away.",
    ),
    sealed(
        id::JSON_KEY,
        Level::Error,
        "a Google service account's key that is none, or one under a wrong username",
        "`_json_key` goes with the key file as it is, `_json_key_base64` with its base64. Seal the whole file: `regprov vault set VAULT NAME < key.json`.",
    ),
    sealed(rule::EXPIRES_SOON, Level::Warning, "a login that ends within 30 days", "Make a new one at the registry and seal it with `regprov vault set`."),
    open(
        rule::ECR_EXPIRY,
        Level::Warning,
        "a login for Amazon ECR without `password_command:` and `expires:`",
        "Its tokens end after 12 hours. Let `password_command: [aws, ecr, get-login-password]` get a new one for each run, or write its `expires:`.",
    ),
    sealed(
        id::NETRC_QUOTES,
        Level::Warning,
        "a username or password for enroot that not every curl reads",
        "It needs quotes in a netrc line, which curl understands from 7.84 on. A node with an older curl fails this file. Choose printable ASCII without spaces and quotes.",
    ),
    sealed(
        id::EDGE_SPACE,
        Level::Warning,
        "a username or password that begins or ends with white space",
        "It is sent with it, and Apptainer and Singularity cut it. Most likely it slipped in when it was copied.",
    ),
    open(
        id::TOKEN_SERVER,
        Level::Warning,
        "a known registry's token server as a registry",
        "It hands out tokens and serves no images, so no consumer looks it up. Write the registry; each file gets the hosts it needs.",
    ),
    open(rule::HUB_WEBSITE, Level::Warning, "`hub.docker.com` as a registry", "It is Docker Hub's web site and serves no images. Write `docker.io`."),
    open(rule::NO_EFFECT, Level::Warning, "a group or host for which nothing is written", "Give it logins and targets, or take it out."),
    open(
        rule::SOURCE,
        Level::Warning,
        "what a source of hosts gives that is most likely not meant",
        "Look at the source: what was left aside is named in the message.",
    ),
    open(
        id::SHORT_LIVED,
        Level::Warning,
        "a login in a Secret of a cluster whose tokens end within hours",
        "Let regprov run in the cluster more often than they end (examples/kubernetes/cronjob.yml), or give the nodes a credential provider for that registry.",
    ),
    open(
        id::RUNAI_NAMESPACE,
        Level::Warning,
        "Run:ai's label for a Secret outside of the namespace `runai`",
        "Write `namespaces: [runai]`, or leave the label out and name `service_accounts: [default]`.",
    ),
    open(rule::UNUSED_LOGIN, Level::Note, "a login that is used nowhere", "Give it to a group or a host with `logins:`, or take it out."),
    open(rule::HUB_ALIAS, Level::Note, "Docker Hub under one of its other names", "Write `docker.io`; each consumer gets the name it looks up."),
    open(rule::REGISTRY_NAME, Level::Note, "a registry with a scheme, a slash at its end, or upper case", "Write the host alone, as the message names it."),
    sealed(
        id::SESSION_SECRET,
        Level::Note,
        "what looks like the secret of a person's session at Harbor, in a Secret of a cluster",
        "Such a secret ends with the session or the person. Make a robot account, as with `regprov harbor create`; or write its `expires:`.",
    ),
    open(id::RUNAI_ACCOUNTS, Level::Note, "service accounts beside Run:ai's label", "Leave `service_accounts` out: Run:ai copies the Secret to its projects."),
    open(
        id::RUNAI_PROJECT,
        Level::Note,
        "a Run:ai project's namespace without service accounts",
        "Jobs there use the Secret when they name it themselves. Run:ai's way is `service_accounts: [default]`.",
    ),
    open(
        id::NO_CONTEXT,
        Level::Note,
        "a block of `kubernetes:` without `context:`",
        "Name it, so that nobody writes to another cluster by accident; `in-cluster` is the one in which regprov runs.",
    ),
    sealed(
        id::DOLLAR,
        Level::Note,
        "a password that begins with `$`",
        "regprov writes it so that nothing expands it. Do not copy it into a netrc line by hand: enroot hands it to a shell there.",
    ),
];

/// The rule of that id.
pub(super) fn by_id(id: &str) -> &'static Rule {
    RULES.iter().find(|r| r.id == id).unwrap_or(&RULES[0])
}
