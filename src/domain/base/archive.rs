//! Checks the listing of an archive: no member may be unpacked outside the target directory.

use std::collections::HashSet;

/// The kind of a member.
#[derive(Clone, Copy, PartialEq)]
enum MemberKind {
    Plain,
    /// A symbolic link or a hard link: no member may be below it.
    Link,
    Directory,
}

/// Checks a listing, as archive_list.sh prints it: `tar` or `zip`, the names, and for `tar` the lines of
/// `tar tv`, with a NUL between. The error names the member that is refused.
pub fn check(listing: &[u8], strip: usize) -> Result<(), String> {
    let parts: Vec<&[u8]> = listing.split(|byte| *byte == 0).collect();
    let [kind, names, details] = parts[..] else {
        return Err("its listing was cut short; run it again".into());
    };
    let [names, details] = [names, details]
        .map(|part| -> Vec<String> { String::from_utf8_lossy(part).lines().map(String::from).collect() });
    let mut links: HashSet<&str> = HashSet::new();
    let mut files: HashSet<&str> = HashSet::new();
    for (at, name) in names.iter().enumerate() {
        check_name(name)?;
        if kind != b"tar" {
            continue;
        }
        match member(name, details.get(at), strip, &files)? {
            MemberKind::Plain => _ = files.insert(plain(name)),
            MemberKind::Link => _ = links.insert(plain(name)),
            MemberKind::Directory => {}
        }
    }
    if kind == b"tar" && names.len() != details.len() {
        return Err("it holds a name with a line break".into());
    }
    let below = |name: &&String| folders_of(plain(name)).any(|folder| links.contains(folder));
    names.iter().find(below).map_or(Ok(()), |name| Err(format!("`{name}` lies behind a link")))
}

fn plain(name: &str) -> &str {
    name.trim_start_matches("./")
}

/// Every folder that contains a name, without the name itself.
fn folders_of(name: &str) -> impl Iterator<Item = &str> {
    let slashes = name.char_indices().filter(|(at, c)| *c == '/' && at + 1 < name.len());
    slashes.map(|(at, _)| &name[..at])
}

fn check_name(name: &str) -> Result<(), String> {
    if name.starts_with('/') {
        return Err(format!("`{name}` begins at the root"));
    }
    if name.split('/').any(|part| part == "..") {
        return Err(format!("`{name}` goes up by `..`"));
    }
    Ok(())
}

/// The kind of a member by its line of `tar tv`. GNU and bsd tar start hard links with `h`, and print `link to`;
/// busybox prints them as plain files with an arrow.
fn member(
    name: &str,
    line: Option<&String>,
    strip: usize,
    files: &HashSet<&str>,
) -> Result<MemberKind, String> {
    let line = line.map(String::as_str).unwrap_or_default();
    let mut mode = line.chars();
    let letter = mode.next().unwrap_or(' ');
    if mode.take(9).any(|bit| matches!(bit, 's' | 'S')) {
        return Err(format!("`{name}` is setuid or setgid"));
    }
    let second = |target: &str| {
        check_name(target).map_err(|_| leaves(name, target))?;
        match files.contains(plain(target)) {
            true => Ok(MemberKind::Link),
            false => Err(format!(
                "`{name}` is a second name of `{target}`, which is no file before it in the archive"
            )),
        }
    };
    match letter {
        'd' => Ok(MemberKind::Directory),
        'l' => {
            symbolic(name, arrow(name, line, " -> ")?, strip)?;
            Ok(MemberKind::Link)
        }
        'h' => second(arrow(name, line, " link to ")?),
        '-' if line.ends_with(&format!(" {name}")) && !line.contains(" -> ") => Ok(MemberKind::Plain),
        '-' => second(arrow(name, line, " -> ")?),
        _ => Err(format!("`{name}` is no file, directory or link")),
    }
}

/// The text behind the arrow. A line with two arrows is ambiguous.
fn arrow<'a>(name: &str, line: &'a str, arrow: &str) -> Result<&'a str, String> {
    let unclear = || format!("`{name}` cannot be distinguished from what it links to");
    let (before, target) = line.split_once(arrow).ok_or_else(unclear)?;
    if target.contains(arrow) || !before.ends_with(&format!(" {name}")) {
        return Err(unclear());
    }
    Ok(target)
}

fn leaves(name: &str, target: &str) -> String {
    format!("`{name}` links to `{target}`, which leaves the archive")
}

/// A symbolic link may go up only at its start, and only within the archive.
fn symbolic(name: &str, target: &str, strip: usize) -> Result<(), String> {
    let parts: Vec<&str> = target.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let up = parts.iter().take_while(|part| **part == "..").count();
    let deep = name.split('/').filter(|part| !part.is_empty() && *part != ".").count();
    let allowed = deep.saturating_sub(1 + strip);
    if target.starts_with('/') || up > allowed || parts[up..].contains(&"..") {
        return Err(leaves(name, target));
    }
    Ok(())
}

/// Why a release cannot have this name.
pub fn check_release_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '~' | ':');
    if name.is_empty() || name.starts_with(['.', '-']) || !name.chars().all(plain) {
        return Err(format!(
            "a release cannot be named {name:?}: letters, digits and ._-+~: only, and no . or - in front"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(names: &[&str], details: &[&str], strip: usize) -> Result<(), String> {
        check(format!("tar\0{}\0{}", names.join("\n"), details.join("\n")).as_bytes(), strip)
    }

    fn one(name: &str, detail: &str) -> Result<(), String> {
        listed(&[name], &[detail], 0)
    }

    const AT: &str = "root/root 0 2026-11-21 16:06";

    #[test]
    fn what_stays_below_is_fine() {
        let gnu = [
            format!("drwxr-xr-x {AT} d/"),
            format!("-rw-r--r-- {AT} d/a file"),
            format!("hrw-r--r-- {AT} d/h link to d/a file"),
            format!("lrwxrwxrwx {AT} d/l -> ../x"),
        ];
        let gnu: Vec<&str> = gnu.iter().map(String::as_str).collect();
        assert_eq!(listed(&["d/", "d/a file", "d/h", "d/l"], &gnu, 0), Ok(()));
        let busybox = [format!("-rw-r--r-- {AT} ./d/f"), format!("-rw-r--r-- {AT} d/h -> d/f")];
        assert_eq!(listed(&["./d/f", "d/h"], &[&busybox[0], &busybox[1]], 0), Ok(()));
        assert_eq!(one("./a", &format!("-rw-r--r-- {AT} ./a")), Ok(()));
    }

    #[test]
    fn what_leaves_is_refused_by_name() {
        let refused =
            |name: &str, kind: &str, rest: &str| one(name, &format!("{kind} {AT} {name}{rest}")).unwrap_err();
        assert_eq!(refused("/etc/x", "-rw-r--r--", ""), "`/etc/x` begins at the root");
        assert_eq!(refused("a/../../x", "-rw-r--r--", ""), "`a/../../x` goes up by `..`");
        assert_eq!(refused("null", "crw-r--r--", ""), "`null` is no file, directory or link");
        assert_eq!(refused("pipe", "prw-r--r--", ""), "`pipe` is no file, directory or link");
        assert_eq!(refused("su", "-rwsr-xr-x", ""), "`su` is setuid or setgid");
        assert_eq!(refused("sg", "-rwxr-sr-x", ""), "`sg` is setuid or setgid");
        assert_eq!(refused("l", "lrwxrwxrwx", " -> /etc"), "`l` links to `/etc`, which leaves the archive");
        assert_eq!(refused("l", "lrwxrwxrwx", " -> .."), "`l` links to `..`, which leaves the archive");
        assert_eq!(
            refused("a/l", "lrwxrwxrwx", " -> b/../../.."),
            "`a/l` links to `b/../../..`, which leaves the archive"
        );
        assert_eq!(
            refused("h", "hrw-r--r--", " link to /etc/shadow"),
            "`h` links to `/etc/shadow`, which leaves the archive"
        );
        assert_eq!(refused("h", "-rw-r--r--", " -> ../x"), "`h` links to `../x`, which leaves the archive");
        assert_eq!(
            refused("l", "lrwxrwxrwx", " -> a -> b"),
            "`l` cannot be distinguished from what it links to"
        );
        let stripped = listed(&["d/l"], &[&format!("lrwxrwxrwx {AT} d/l -> ../x")], 1);
        assert_eq!(stripped.unwrap_err(), "`d/l` links to `../x`, which leaves the archive");
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let link = format!("lrwxrwxrwx {AT} d -> .");
        let file = format!("-rw-r--r-- {AT} d/x");
        assert_eq!(listed(&["d", "d/x"], &[&link, &file], 0).unwrap_err(), "`d/x` lies behind a link");
        assert_eq!(
            listed(&["d/x", "./d"], &[&file, &format!("lrwxrwxrwx {AT} ./d -> .")], 0).unwrap_err(),
            "`d/x` lies behind a link"
        );
    }

    #[test]
    fn a_second_name_is_one_of_a_file_of_the_archive() {
        let refused = "`h` is a second name of `x`, which is no file before it in the archive";
        for (kind, rest) in [("hrw-r--r--", " link to x"), ("-rw-r--r--", " -> x")] {
            let second = format!("{kind} {AT} h{rest}");
            assert_eq!(one("h", &second).unwrap_err(), refused);
            // Neither a directory, nor a link, nor a file that comes later is a valid target.
            for (name, detail) in
                [("x/", format!("drwxr-xr-x {AT} x/")), ("x", format!("lrwxrwxrwx {AT} x -> y"))]
            {
                assert_eq!(listed(&[name, "h"], &[&detail, &second], 0).unwrap_err(), refused);
            }
            let file = format!("-rw-r--r-- {AT} x");
            assert_eq!(listed(&["h", "x"], &[&second, &file], 0).unwrap_err(), refused);
            assert_eq!(listed(&["x", "h"], &[&file, &second], 0), Ok(()));
        }
    }

    #[test]
    fn no_listing_makes_it_fail() {
        proptest::proptest!(|(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), strip in 0_usize..4)| {
            let _ = check(&bytes, strip);
            let _ = check(&[b"tar\0", &bytes[..]].concat(), strip);
        });
        let words = "((tar|zip)\0)?([-dlhc]rw[xs-]r--r-- |\\./|\\.\\./|a|/| -> | link to |\n|\0){0,30}";
        proptest::proptest!(|(text in words, strip in 0_usize..4)| {
            let _ = check(text.as_bytes(), strip);
        });
    }

    #[test]
    fn a_listing_that_cannot_be_trusted_is_none() {
        let file = format!("-rw-r--r-- {AT} a");
        assert_eq!(listed(&["a"], &[&file, &file], 0).unwrap_err(), "it holds a name with a line break");
        assert!(listed(&["a", "b"], &[&file], 0).is_err());
        assert!(check(b"tar\0a\n", 0).is_err());
        assert_eq!(check(b"zip\0a\nb/c\0", 0), Ok(()));
        assert_eq!(check(b"zip\0../c\0", 0).unwrap_err(), "`../c` goes up by `..`");
    }

    #[test]
    fn releases_have_plain_names() {
        assert_eq!(check_release_name("1.2.3-rc1+5"), Ok(()));
        for name in ["", ".", "..", ".x", "a/b", "a b", "a\n", "-x"] {
            assert!(check_release_name(name).is_err(), "{name}");
        }
    }
}
