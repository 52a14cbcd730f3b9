//! Passwords that nobody chose.

use zeroize::Zeroizing;

use crate::model::Secret;

/// What a password is made of. Nothing else: curl before 7.84 knows no quotes in a netrc file, shells and YAML take nothing of it for their own,
/// and registries that ask for upper case, lower case and digits (Harbor) get them.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A password of so many characters (at least 3), every one of those with upper case, lower case and a digit as likely as any other.
pub fn generate(length: u8) -> Secret {
    loop {
        let mut text = Zeroizing::new(String::with_capacity(length.into()));
        while text.len() < length.into() {
            let mut random = Zeroizing::new([0; 64]);
            getrandom::fill(random.as_mut()).expect("the kernel gives random bytes");
            // Bytes from 248 on would make the first letters likelier.
            let fair = random.iter().filter(|byte| **byte < 248).map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
            let room = usize::from(length) - text.len();
            text.extend(fair.take(room));
        }
        if text.bytes().any(|b| b.is_ascii_uppercase()) && text.bytes().any(|b| b.is_ascii_lowercase()) && text.bytes().any(|b| b.is_ascii_digit()) {
            return Secret::new(text);
        }
    }
}

/// How hard it is to guess, in whole bits.
pub fn bits(length: u8) -> u32 {
    (f64::from(length) * f64::from(62).log2()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_have_their_length_and_all_three_kinds_of_characters() {
        for length in [16, 32, 128] {
            let of_kind = |kind: fn(&u8) -> bool| (0..200).all(|_| generate(length).expose().bytes().any(|b| kind(&b)));
            assert!(of_kind(u8::is_ascii_uppercase) && of_kind(u8::is_ascii_lowercase) && of_kind(u8::is_ascii_digit));
            let one = generate(length);
            assert!(one.expose().len() == usize::from(length) && one.expose().bytes().all(|b| b.is_ascii_alphanumeric()));
            assert!(one.expose() != generate(length).expose());
        }
        assert_eq!((bits(16), bits(32), bits(128)), (95, 190, 762));
    }

    /// 62 characters, 200,000 of them: chi-squared with 61 degrees of freedom is above 120 once in a hundred thousand runs. Taking all bytes
    /// modulo 62 would bring it to about 1,300.
    #[test]
    fn no_character_is_likelier_than_another() {
        let mut counts = [0_f64; 62];
        for _ in 0..1563 {
            generate(128).expose().bytes().for_each(|b| counts[ALPHABET.iter().position(|a| *a == b).unwrap()] += 1.0);
        }
        let expected = counts.iter().sum::<f64>() / 62.0;
        let chi = counts.iter().map(|n| (n - expected).powi(2) / expected).sum::<f64>();
        assert!(chi < 120.0, "{chi}");
    }
}
