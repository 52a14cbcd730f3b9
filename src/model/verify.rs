//! What registries said of logins, before anything is written.

/// What came of asking a registry about a login. The words of [`Verdict::name`] are those of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// The registry took it; with a canary, for pulling that.
    Valid,
    /// Refused with our login (401 or 403), or taken for nobody.
    WrongPassword,
    /// Refused, and the answer, `expires:` or the token itself says that it has ended.
    Expired,
    /// The login is right, but does not pull the canary.
    NoPullRight,
    /// The registry wants the login sent to a host that nobody has confirmed, or in the clear. It was not sent.
    RealmNotTrusted,
    /// The registry led to another host. It was not followed.
    RedirectRefused,
    /// Whatever answers there does not speak as a registry.
    NotARegistry,
    /// Too many requests (429).
    RateLimited,
    /// 5xx.
    ServerError,
    /// No answer in time, or no connection.
    Unreachable,
    /// No connection that could be trusted.
    Tls,
    /// It lets everybody in, or nobody: its answers do not depend on the login.
    Unproven,
}

/// What a verdict means for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The login works.
    Works,
    /// The registry answered, and who uses this login gets nowhere.
    Refused,
    /// Nothing was learned of the login.
    Unknown,
}

impl Verdict {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Valid => "valid",
            Verdict::WrongPassword => "wrong_password",
            Verdict::Expired => "expired",
            Verdict::NoPullRight => "no_pull_right",
            Verdict::RealmNotTrusted => "realm_not_trusted",
            Verdict::RedirectRefused => "redirect_refused",
            Verdict::NotARegistry => "not_a_registry",
            Verdict::RateLimited => "rate_limited",
            Verdict::ServerError => "server_error",
            Verdict::Unreachable => "unreachable",
            Verdict::Tls => "tls",
            Verdict::Unproven => "unproven",
        }
    }

    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Valid => "valid",
            Verdict::WrongPassword => "wrong password",
            Verdict::Expired => "expired",
            Verdict::NoPullRight => "no pull right",
            Verdict::RealmNotTrusted => "realm not trusted",
            Verdict::RedirectRefused => "redirect refused",
            Verdict::NotARegistry => "not a registry",
            Verdict::RateLimited => "rate-limited",
            Verdict::ServerError => "server error",
            Verdict::Unreachable => "unreachable",
            Verdict::Tls => "TLS problem",
            Verdict::Unproven => "not proven",
        }
    }

    /// What it means for a run.
    pub fn standing(self) -> Standing {
        match self {
            Verdict::Valid => Standing::Works,
            Verdict::WrongPassword | Verdict::Expired | Verdict::NoPullRight | Verdict::RealmNotTrusted | Verdict::RedirectRefused | Verdict::NotARegistry => {
                Standing::Refused
            }
            Verdict::RateLimited | Verdict::ServerError | Verdict::Unreachable | Verdict::Tls | Verdict::Unproven => Standing::Unknown,
        }
    }
}

/// How a registry asks for logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The login goes to the registry itself.
    Basic,
    /// The login goes to a token server.
    Bearer,
}

impl Scheme {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Basic => "basic",
            Scheme::Bearer => "bearer",
        }
    }
}

/// One login, and what its registry said of it. Nothing here is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginCheck {
    /// The login's name.
    pub login: String,
    /// Its registry.
    pub registry: String,
    /// Its account.
    pub username: String,
    /// What came of it.
    pub verdict: Verdict,
    /// Why, as one sentence without a full stop.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// How the registry asks for logins, when it did.
    pub scheme: Option<Scheme>,
    /// The host of the token server that the registry named, trusted or not.
    pub auth_host: Option<String>,
    /// Whether `auth_hosts` could take [`LoginCheck::auth_host`]: it is not trusted, and nothing else is wrong with it.
    pub can_be_confirmed: bool,
    /// What was granted, as scopes: `repository:nvidia/cuda:pull`.
    pub granted: Vec<String>,
}

/// What all registries of a run said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The logins, by name.
    pub logins: Vec<LoginCheck>,
    /// Logins of which nothing was learned count as refused.
    pub required: bool,
}

impl Verified {
    /// Those that keep a run from writing.
    pub fn refused(&self) -> impl Iterator<Item = &LoginCheck> {
        self.logins.iter().filter(|l| match l.verdict.standing() {
            Standing::Works => false,
            Standing::Refused => true,
            Standing::Unknown => self.required,
        })
    }
}

/// Whether logins are shown to their registries before hosts are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VerifyMode {
    /// They are not.
    #[default]
    Off,
    /// A refused login stops the run; one of which nothing was learned is a warning.
    On,
    /// Every login has to be proven.
    Required,
}

impl VerifyMode {
    /// All of them.
    pub const ALL: [VerifyMode; 3] = [VerifyMode::Off, VerifyMode::On, VerifyMode::Required];

    /// The word behind `--verify=`.
    pub fn name(self) -> &'static str {
        match self {
            VerifyMode::Off => "off",
            VerifyMode::On => "on",
            VerifyMode::Required => "required",
        }
    }

    /// The mode of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }
}
