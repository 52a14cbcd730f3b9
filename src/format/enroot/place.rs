//! Where enroot looks for the file, by the node's own configuration.

use zeroize::Zeroizing;

use crate::format::NodeFacts;
use crate::model::{RemotePath, Target};

/// The name under which enroot looks in `ENROOT_CONFIG_PATH` (enroot `src/docker.sh`).
const FILE_NAME: &str = ".credentials";

/// enroot's own configuration, the later beats the earlier (enroot `enroot.in`).
pub const CONF: [&str; 2] = ["/etc/enroot/enroot.conf", "/etc/enroot/enroot.conf.d/*.conf"];

/// Whether only root can read the target's file, so that the jobs of users, as whom enroot reads it, get nothing of it.
pub fn read_by_root_only(target: &Target) -> bool {
    let root_owns = target.owner.as_deref().is_none_or(|o| o == "root" || o == "0");
    root_owns && (target.mode.bits() & 0o040 == 0 || target.path.as_str().starts_with("/root/"))
}

/// Notes on who finds the file: enroot reads `$ENROOT_CONFIG_PATH/.credentials` as the job's user, by default
/// `~/.config/enroot/.credentials`; enroot.conf and enroot.conf.d may say otherwise, the last one wins.
pub(super) fn where_read(target: &Target, facts: &NodeFacts) -> Vec<String> {
    let dir = target.path.parent();
    let home_dir = dir.as_str().ends_with("/.config/enroot");
    let set = facts.conf.iter().filter_map(|(_, content)| config_path(content)).next_back();
    let read = match set.as_deref() {
        None => home_dir,
        Some(value) => match Place::of(value) {
            Place::Dir(path) => path == dir.as_str(),
            Place::BelowHome(rest) => dir.as_str().ends_with(&rest),
            Place::Unknown => {
                return vec![format!("enroot.conf sets ENROOT_CONFIG_PATH to what regprov cannot tell; it must mean {dir} for this file to be read")];
            }
        },
    };
    if !read || target.path.file_name() != FILE_NAME {
        return vec![format!("written, not read by enroot: set ENROOT_CONFIG_PATH {dir} in /etc/enroot/enroot.conf, and name the file {FILE_NAME}")];
    }
    if target.user.is_none() && read_by_root_only(target) {
        return vec![
            "root only: enroot reads it as the job's user, who cannot; for jobs set `path: /etc/enroot/.credentials`, `group:` and `mode: \"0640\"`"
                .to_string(),
        ];
    }
    Vec::new()
}

/// The file that enroot reads when the target's user, else root, runs it, by the node's [`CONF`]: for `path: auto`. It may lie in the
/// home of that user ([`Target::HOME`]).
pub(crate) fn place(conf: &[(String, Zeroizing<Vec<u8>>)], target: &Target) -> Result<RemotePath, String> {
    let home = if target.user.is_some() { Target::HOME } else { "/root" };
    let file = credentials(conf.iter().map(|(_, content)| &content[..]), home).and_then(|file| RemotePath::parse(&file).ok());
    file.ok_or_else(|| {
        "enroot.conf sets ENROOT_CONFIG_PATH to what regprov cannot tell, such as a variable or a command; name the file with `path:` instead of `auto`"
            .to_string()
    })
}

/// The file that enroot reads for a user with this home, by the contents of [`CONF`]; `None` where they set it to a variable or command.
pub fn credentials<'c>(conf: impl DoubleEndedIterator<Item = &'c [u8]>, home: &str) -> Option<String> {
    let dir = match conf.rev().find_map(config_path).as_deref().map(Place::of) {
        None => format!("{home}/.config/enroot"),
        Some(Place::Dir(dir)) => dir,
        Some(Place::BelowHome(rest)) => format!("{home}{rest}"),
        Some(Place::Unknown) => return None,
    };
    Some(format!("{dir}/{FILE_NAME}"))
}

/// The last value of `ENROOT_CONFIG_PATH` in one file: a name, white space, a value.
fn config_path(content: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(content);
    let mut values = text.lines().filter_map(|l| l.trim().strip_prefix("ENROOT_CONFIG_PATH")?.strip_prefix([' ', '\t']).map(|v| v.trim().to_string()));
    values.rfind(|v| !v.is_empty())
}

/// What a value of `ENROOT_CONFIG_PATH` means.
enum Place {
    /// The same for everybody.
    Dir(String),
    /// In the home of whoever runs enroot.
    BelowHome(String),
    /// A variable or command that we do not evaluate.
    Unknown,
}

impl Place {
    fn of(value: &str) -> Place {
        let value = value.trim_matches(['"', '\'']).trim_end_matches('/');
        let below = |names: &[&str], dir: &str| names.iter().find_map(|n| value.strip_prefix(n)).map(|rest| format!("{dir}{rest}"));
        let found = below(&["${XDG_CONFIG_HOME}", "$XDG_CONFIG_HOME"], "/.config").or_else(|| below(&["${HOME}", "$HOME", "~"], ""));
        match found {
            Some(rest) if rest.starts_with('/') && !rest.contains('$') => Place::BelowHome(rest),
            None if value.starts_with('/') && !value.contains(['$', '`', '~']) => Place::Dir(value.to_string()),
            _ => Place::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TargetKind;

    #[test]
    fn a_file_lies_where_the_last_configuration_says() {
        #[track_caller]
        fn check(conf: &[&str], user: Option<&str>, want: Option<&str>) {
            let conf: Vec<_> = conf.iter().map(|text| ("/etc/enroot/enroot.conf".to_string(), text.as_bytes().to_vec().into())).collect();
            let target = Target { user: user.map(Into::into), ..Target::at(TargetKind::Enroot, RemotePath::parse(Target::AUTO).unwrap()) };
            assert_eq!(place(&conf, &target).ok().as_ref().map(RemotePath::as_str), want, "{conf:?}");
        }
        check(&[], None, Some("/root/.config/enroot/.credentials"));
        check(&[], Some("alice"), Some("/~/.config/enroot/.credentials"));
        check(&["#ENROOT_CONFIG_PATH /x\nENROOT_TEMP_PATH /tmp\n"], None, Some("/root/.config/enroot/.credentials"));
        check(&["ENROOT_CONFIG_PATH /etc/enroot/\n"], Some("alice"), Some("/etc/enroot/.credentials"));
        check(&["ENROOT_CONFIG_PATH /a\n", "ENROOT_CONFIG_PATH  \"${HOME}/e\"\n"], Some("alice"), Some("/~/e/.credentials"));
        check(&["ENROOT_CONFIG_PATH ${XDG_CONFIG_HOME}/e\n"], None, Some("/root/.config/e/.credentials"));
        for unknown in ["/run/enroot/$(id -u)", "${ENROOT_DATA_PATH}/x", "relative", "/a b", "/a/../b", "~alice/x", "${HOME}/~"] {
            let want = (unknown == "${HOME}/~").then_some("/root/~/.credentials");
            check(&[&format!("ENROOT_CONFIG_PATH {unknown}\n")], None, want);
        }
    }
}
