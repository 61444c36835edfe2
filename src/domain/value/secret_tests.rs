//! The promise of the redactor: no secret, in any form, anywhere in any text, cut into any pieces, is ever
//! printed.

use proptest::prelude::*;

use super::*;

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn masks(secrets: &[&str]) -> Masks {
    let secrets: Vec<Secret> = secrets.iter().map(|text| secret(text)).collect();
    Masks::new(&secrets).unwrap()
}

/// The output of a stream for `text` cut at `cuts`.
fn streamed(masks: &Masks, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).chain([0, text.len()]).collect();
    cuts.sort_unstable();
    let mut stream = masks.stream();
    let mut out: Vec<u8> = cuts.windows(2).flat_map(|pair| stream.push(&text[pair[0]..pair[1]])).collect();
    out.extend(stream.finish());
    out
}

fn holds(text: &[u8], piece: &[u8]) -> bool {
    text.windows(piece.len()).any(|window| window == piece)
}

#[test]
fn a_secret_never_shows() {
    let secret = secret("hunter22");
    assert_eq!(format!("{secret:?}"), "***");
    assert_eq!(secret.expose(), "hunter22");
    assert!(!format!("{:?}", masks(&["hunter22"])).contains("hunter"));
    for (text, why) in [("abc", "has at least 4 bytes, and this one has 3"), ("ab\0cd", "NUL")] {
        let error = Secret::new(text).unwrap_err();
        assert!(error.contains(why) && !error.contains(text), "{error}");
    }
    assert!(Secret::new("x".repeat(LONGEST_BYTES + 1)).unwrap_err().contains("at most"));
}

#[test]
fn every_form_is_found() {
    let masks = masks(&["p/ss wörd'\"$1"]);
    for text in [
        "p/ss wörd'\"$1",
        r#"p\/ss wörd'\"$1"#,
        r#"p/ss w\u00f6rd'\"$1"#,
        r#"'p/ss wörd'\''"$1'"#,
        r#"p/ss wörd'\"\$1"#,
        "p%2Fss%20w%C3%B6rd%27%22%241",
        "p%2fss%20w%c3%b6rd%27%22%241",
        "p%2Fss+w%C3%B6rd%27%22%241",
        "cC9zcyB3w7ZyZCciJDE=",
        "cC9zcyB3w7ZyZCciJDEK",
    ] {
        assert_eq!(masks.text(&format!("<{text}>")), "<***>", "{text}");
    }
}

#[test]
fn lines_of_a_key_are_found_one_by_one() {
    let key = "-----BEGIN-----\nAAAAB3NzaC1yc2E\n  indented line \n}\n-----END-----";
    let masks = masks(&[key]);
    assert_eq!(masks.text("x indented line y } AAAAB3NzaC1yc2E"), "x *** y } ***");
    let long = "k".repeat(200);
    let wrapped: String =
        STANDARD.encode(&long).as_bytes().chunks(76).map(|l| String::from_utf8_lossy(l) + "\n").collect();
    let shown = self::masks(&[&long]).text(&wrapped);
    assert!(!shown.contains("a2tr"), "{shown}");
}

#[test]
fn secrets_that_overlap_are_hidden_whole() {
    let masks = masks(&["xxabc", "abcdef", "abcdefghij"]);
    assert_eq!(masks.text("-xxabcdef-"), "-***-");
    for cut in 0..12 {
        assert_eq!(streamed(&masks, b"-abcdefghij-", &[cut]), b"-***-");
        assert_eq!(streamed(&masks, b"-xxabcdefgh-", &[cut, cut + 2]), b"-***gh-");
    }
    // The held text stays short for any input.
    let mut stream = self::masks(&["aaaa"]).stream();
    let mut out = Vec::new();
    for _ in 0..1000 {
        out.extend(stream.push(b"aaa"));
        assert!(stream.held.len() < 16, "{}", stream.held.len());
    }
    out.extend(stream.finish());
    assert_eq!(out, b"***");
}

#[test]
fn what_rollcall_says_itself_is_spared() {
    let masks = Arc::new(masks(&["web01", "hunter22"]));
    let spared = masks.sparing("rollcall 7-web01-0-1 exit").unwrap();
    assert_eq!(spared.text("web01 hunter22"), "web01 ***");
    assert!(Arc::ptr_eq(&masks, &masks.sparing("rollcall 7-db1-0-1 exit").unwrap()));
    assert_eq!(Masks::default().text("web01"), "web01");
    assert_eq!(masks.and(&self::masks(&["another"])).text("web01 another!"), "*** ***!");
}

proptest! {
    #[test]
    fn no_form_of_a_secret_comes_out(
        secrets in prop::collection::vec("[a-cA-C/ \n'é=+%\"\\\\]{4,24}", 1..4),
        pieces in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), "[a-c /%\n]{0,6}"), 1..6),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let masks = masks(&secrets);
        let mut text = Vec::new();
        for (secret, form, between) in &pieces {
            let forms = forms(secrets[secret.index(secrets.len())]);
            text.extend_from_slice(between.as_bytes());
            text.extend_from_slice(&forms[form.index(forms.len())]);
        }
        let out = streamed(&masks, &text, &cuts);
        for form in secrets.iter().flat_map(|secret| forms(secret)) {
            prop_assert!(!holds(&out, &form), "{:?} in {:?}", String::from_utf8_lossy(&form), String::from_utf8_lossy(&out));
        }
        prop_assert_eq!(&out, &streamed(&masks, &text, &[]), "pieces change nothing");
    }

    #[test]
    fn base64_of_a_longer_text_hides_the_secret_in_it(
        before in prop::collection::vec(any::<u8>(), 0..9),
        secret in "[a-z0-9]{9,30}",
        after in prop::collection::vec(any::<u8>(), 0..9),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let masks = masks(&[&secret]);
        let whole = [before.as_slice(), secret.as_bytes(), &after].concat();
        for engine in [&STANDARD, &URL_SAFE, &STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let out = streamed(&masks, engine.encode(&whole).as_bytes(), &cuts);
            prop_assert!(holds(&out, HIDDEN.as_bytes()), "{}", String::from_utf8_lossy(&out));
        }
    }

    #[test]
    fn a_text_without_secrets_is_left_alone(text in prop::collection::vec(any::<u8>(), 0..200), cuts in prop::collection::vec(any::<usize>(), 0..6)) {
        let masks = masks(&["hunter22\u{2603}snowman"]);
        prop_assert_eq!(&streamed(&masks, &text, &cuts), &text);
    }
}
