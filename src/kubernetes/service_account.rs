//! The `imagePullSecrets` of a service account, to which names are appended. Pure.
//!
//! The list has no patch strategy: `kubectl patch` and a merge patch replace it, other Secrets in it included (kubernetes/kubernetes issue 72475). So it
//! is read, changed and written as a whole, under the resourceVersion with which it was read.

use serde_json::{Value, json};

/// The key of the list.
const LIST: &str = "imagePullSecrets";

/// A service account as the API server has it, every field kept as it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Account(Value);

impl Account {
    /// Reads an answer. `None` where it is no service account.
    pub(super) fn parse(body: &[u8]) -> Option<Account> {
        let value: Value = serde_json::from_slice(body).ok()?;
        (value["kind"] == "ServiceAccount").then_some(Account(value))
    }

    /// The Secrets that it names, in its order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0[LIST].as_array().into_iter().flatten().filter_map(|entry| entry["name"].as_str())
    }

    /// Whether it names this Secret.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names().any(|there| there == name)
    }

    /// Whether it is being deleted.
    pub(super) fn is_going(&self) -> bool {
        self.0["metadata"]["deletionTimestamp"].is_string()
    }

    /// It with those of the names appended that it does not have yet, and nothing else changed; `None` where it has them all.
    ///
    /// # Errors
    /// What stands there is no list; the end of a sentence about the service account.
    pub(super) fn with(&self, names: &[&str]) -> Result<Option<Account>, String> {
        let mut missing: Vec<&str> = Vec::new();
        for name in names.iter().filter(|name| !self.has(name)) {
            if !missing.contains(name) {
                missing.push(name);
            }
        }
        if missing.is_empty() {
            return Ok(None);
        }
        let mut account = self.0.clone();
        let object = account.as_object_mut().ok_or("is no object")?;
        let list = object.entry(LIST).or_insert(Value::Null);
        if list.is_null() {
            *list = json!([]);
        }
        let list = list.as_array_mut().ok_or_else(|| format!("has `{LIST}` that are no list"))?;
        list.extend(missing.into_iter().map(|name| json!({ "name": name })));
        Ok(Some(Account(account)))
    }

    /// It without this name, and nothing else changed; `None` where it does not have it.
    ///
    /// # Errors
    /// What stands there is no list; the end of a sentence about the service account.
    pub(super) fn without(&self, name: &str) -> Result<Option<Account>, String> {
        if !self.has(name) {
            return Ok(None);
        }
        let mut account = self.0.clone();
        let list = account.get_mut(LIST).and_then(Value::as_array_mut).ok_or_else(|| format!("has `{LIST}` that are no list"))?;
        list.retain(|entry| entry["name"] != name);
        Ok(Some(Account(account)))
    }

    /// The body of a request that replaces it, with the resourceVersion with which it was read.
    pub(super) fn body(&self) -> Vec<u8> {
        serde_json::to_vec(&self.0).expect("a value that was read is JSON")
    }

    /// Whether it names the same Secrets, in the same order, as another.
    pub(super) fn names_as(&self, other: &Account) -> bool {
        self.names().eq(other.names())
    }
}

#[cfg(test)]
mod tests;
