//! A pull Secret as a document of YAML, for those who let something else than regprov apply it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::model::kubernetes::{APPENDED_TO, INVENTORY, MANAGED_BY, MANAGER, PullSecret, SECRET_KEY, SECRET_TYPE};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    r#type: &'static str,
    data: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
    annotations: BTreeMap<&'a str, &'a str>,
}

/// The Secret that `apply` brings to a namespace which has none yet: the inventory's labels and annotations, and ours. The service accounts
/// that are to name it are in [`APPENDED_TO`], so that `remove` takes it from them again.
///
/// Equal input gives equal bytes. No string of it is anything but a string, whether its reader goes by YAML 1.1 (as kubectl does) or by 1.2.
pub fn object(namespace: &str, secret: &PullSecret, document: &[u8], inventory_id: &str) -> Zeroizing<String> {
    fn texts(of: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
        of.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect()
    }
    let mut accounts: Vec<&str> = secret.service_accounts.iter().map(String::as_str).collect();
    accounts.sort_unstable();
    accounts.dedup();
    let appended_to = accounts.join(",");
    let (mut labels, mut annotations) = (texts(&secret.labels), texts(&secret.annotations));
    labels.insert(MANAGED_BY, MANAGER);
    annotations.insert(INVENTORY, inventory_id);
    if !appended_to.is_empty() {
        annotations.insert(APPENDED_TO, &appended_to);
    }
    // Its room is there from the start: what grows leaves copies behind.
    let mut data = Zeroizing::new(String::with_capacity(document.len().div_ceil(3) * 4));
    STANDARD.encode_string(document, &mut data);
    let size: usize = labels.iter().chain(&annotations).map(|(k, v)| 6 * (k.len() + v.len()) + 16).sum();
    let mut text = Zeroizing::new(String::with_capacity(data.len() + size + 1024));
    let metadata = Metadata { name: &secret.name, namespace, labels, annotations };
    let object = Object { api_version: "v1", kind: "Secret", metadata, r#type: SECRET_TYPE, data: BTreeMap::from([(SECRET_KEY, data.as_str())]) };
    // Base64 stays on its line: folded, it would be read with blanks in it.
    let options = serde_yaml::ser_options! { prefer_block_scalars: false };
    serde_yaml::to_fmt_writer_with_options(&mut *text, &object, options).expect("maps of texts can be written, and a String takes every byte");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(labels: &[(&str, &str)], annotations: &[(&str, &str)], accounts: &[&str]) -> PullSecret {
        let texts = |of: &[(&str, &str)]| of.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        PullSecret {
            name: "regcred".into(),
            block: "runai".into(),
            logins: vec!["hub".into()],
            labels: texts(labels),
            annotations: texts(annotations),
            service_accounts: accounts.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_manifest_as_people_read_it() {
        let wanted = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: regcred\n  namespace: runai\n  labels:\n    app.kubernetes.io/managed-by: regprov\n    \
                      runai/cluster-wide: \"true\"\n  annotations:\n    regprov/appended-to: builder,default\n    regprov/inventory: site\ntype: \
                      kubernetes.io/dockerconfigjson\ndata:\n  .dockerconfigjson: eyJhdXRocyI6e319\n";
        let secret = secret(&[("runai/cluster-wide", "true")], &[], &["default", "builder", "default"]);
        assert_eq!(object("runai", &secret, br#"{"auths":{}}"#, "site").as_str(), wanted);
    }

    #[test]
    fn every_text_stays_a_text_and_base64_on_its_line() {
        let words = ["yes", "on", "n", "null", "~", "1_000", "0x10", "1:30", "2026-01-01", ".inf", "", "a: b", "# x", "é", "a\u{2028}b", "a\nb ", "'\"\\"];
        let keys: Vec<String> = (0..words.len()).map(|i| format!("k{i}")).collect();
        let annotations: Vec<(&str, &str)> = keys.iter().map(String::as_str).zip(words).collect();
        let document = vec![b'x'; 3000];
        let text = object("0123", &secret(&[], &annotations, &[]), &document, "on");
        assert!(text.lines().any(|l| l.len() > 4000), "base64 is broken into lines");
        let read: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!((&read["metadata"]["namespace"], &read["metadata"]["annotations"][INVENTORY]), (&"0123".into(), &"on".into()));
        for (key, word) in annotations {
            assert_eq!(read["metadata"]["annotations"][key], word, "{text:?}");
        }
    }
}
