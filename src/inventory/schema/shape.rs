//! What stands where in an inventory or a vault, for those who show one: which keys there are, and what their values hold.
//!
//! It goes by the same lists of keys as the reader. A key without an entry of its own is [`Shape::Plain`], and a plain place shows no map;
//! so a key that is new to the schema is shown in part, not read wrong. One that holds a secret needs an entry here.

use super::kubernetes::BLOCK_KEYS;
use super::target::TARGET_KEYS;
use super::{DEFAULTS_KEYS, GROUP_KEYS, HOST_KEYS, TOP_KEYS};
use crate::inventory::document::{LOGIN_KEYS, PREVIOUS_KEYS};
use crate::inventory::fields::{Keys, suggest};
use crate::inventory::source::{SLURM_KEYS, SOURCE_KEYS};

/// What a value holds.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// Text, a number or a truth value, or a list of them; no secret.
    Plain,
    /// As that, of a command: what it runs is to be seen whatever it looks like.
    Command,
    /// A password, sealed or in the clear.
    Password,
    /// A fingerprint of a password.
    Fingerprint,
    /// A map of keys that the schema names.
    Keyed(&'static Schema),
    /// A map whose keys are names that the admin chose, with values of one shape.
    Named(&'static Shape),
    /// What is plain, or one of these, or a list of both.
    PlainOr(&'static Shape),
}

/// The keys of a map.
pub(crate) struct Schema {
    keys: Keys,
    /// What is not plain.
    shapes: &'static [(&'static str, Shape)],
}

impl Schema {
    /// What a key's value holds. `None` for a key that the reader does not know.
    pub(crate) fn shape(&self, key: &str) -> Option<Shape> {
        let shape = || self.shapes.iter().find(|(name, _)| *name == key).map_or(Shape::Plain, |(_, shape)| *shape);
        self.keys.known.contains(&key).then(shape)
    }

    /// Whether a key that is not known is a known one with a slip in it. The name of another may be a piece of a password, see [`Keys`].
    pub(crate) fn is_slip(&self, key: &str) -> bool {
        suggest(key, self.keys.known.iter().copied()).is_some()
    }
}

const PROXY: (&str, Shape) = ("proxy_command", Shape::Command);
const TARGETS: Shape = Shape::PlainOr(&Shape::Named(&Shape::Keyed(&TARGET)));

/// An inventory, and a vault, which has some of its keys.
pub(crate) static TOP: Schema = Schema {
    keys: TOP_KEYS,
    shapes: &[
        ("defaults", Shape::Keyed(&Schema { keys: DEFAULTS_KEYS, shapes: &[PROXY, ("targets", TARGETS)] })),
        ("groups", Shape::Named(&Shape::Keyed(&GROUP))),
        ("hosts", Shape::Named(&Shape::Keyed(&Schema { keys: HOST_KEYS, shapes: &[PROXY, ("targets", TARGETS)] }))),
        ("kubernetes", Shape::Named(&Shape::Keyed(&BLOCK))),
        ("logins", Shape::Named(&Shape::Keyed(&LOGIN))),
        ("become_password", Shape::Password),
    ],
};

static BLOCK: Schema =
    Schema { keys: BLOCK_KEYS, shapes: &[("secret", Shape::Plain), ("labels", Shape::Named(&Shape::Plain)), ("annotations", Shape::Named(&Shape::Plain))] };

static GROUP: Schema = Schema { keys: GROUP_KEYS, shapes: &[PROXY, ("hosts", Shape::PlainOr(&Shape::Keyed(&SOURCE))), ("targets", TARGETS)] };

static SOURCE: Schema =
    Schema { keys: SOURCE_KEYS, shapes: &[("command", Shape::Command), ("slurm", Shape::PlainOr(&Shape::Keyed(&Schema { keys: SLURM_KEYS, shapes: &[] })))] };

static TARGET: Schema = Schema { keys: TARGET_KEYS, shapes: &[("cred_helpers", Shape::Named(&Shape::Plain))] };

static LOGIN: Schema = Schema {
    keys: LOGIN_KEYS,
    shapes: &[
        ("password", Shape::Password),
        ("password_command", Shape::Command),
        ("password_file", Shape::Plain),
        ("fingerprint", Shape::Fingerprint),
        ("previous", Shape::Keyed(&Schema { keys: PREVIOUS_KEYS, shapes: &[("password", Shape::Password), ("fingerprint", Shape::Fingerprint)] })),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    fn all(schema: &'static Schema, found: &mut Vec<&'static Schema>) {
        found.push(schema);
        schema.shapes.iter().for_each(|(_, shape)| below(*shape, found));
    }

    fn below(shape: Shape, found: &mut Vec<&'static Schema>) {
        match shape {
            Shape::Keyed(schema) => all(schema, found),
            Shape::Named(inner) | Shape::PlainOr(inner) => below(*inner, found),
            Shape::Plain | Shape::Command | Shape::Password | Shape::Fingerprint => {}
        }
    }

    #[test]
    fn keys_with_a_shape_are_known_and_those_named_like_a_secret_have_one() {
        let mut found = Vec::new();
        all(&TOP, &mut found);
        assert_eq!(found.len(), 12);
        for schema in found {
            assert!(schema.shapes.iter().all(|(key, _)| schema.keys.known.contains(key)));
            for key in schema.keys.known.iter().filter(|key| ["pass", "secret", "token", "print"].iter().any(|word| key.contains(word))) {
                assert!(schema.shapes.iter().any(|(name, _)| name == key), "{key}: say what it holds");
            }
        }
        let shape = |key| TOP.shape(key);
        assert!(matches!((shape("vault"), shape("become_password"), shape("namespaces")), (Some(Shape::Plain), Some(Shape::Password), None)));
        assert!(TOP.is_slip("become_passwrod") && !TOP.is_slip("hunter2"));
    }
}
