use std::collections::BTreeMap;
use std::process::Command;

use serde_json::json;

use super::*;
use crate::domain::value::template;

/// The shells that hosts have, and how each runs a script.
const SHELLS: [&[&str]; 6] = [
    &["dash", "-c"],
    &["bash", "-c"],
    &["bash", "--posix", "-c"],
    &["busybox", "sh", "-c"],
    &["mksh", "-c"],
    &["zsh", "--emulate", "sh", "-c"],
];

fn rendered(script: &str, value: &str) -> Result<String, String> {
    let vars = BTreeMap::from([("v".to_string(), json!(value))]);
    template::script(&script.replace('@', "{{ v }}"), &vars)
}

fn says(shell: &[&str], script: &str) -> String {
    let output = Command::new(shell[0]).args(&shell[1..]).arg(script).output();
    let output = output.unwrap_or_else(|error| panic!("{shell:?}: {error}; tests/run installs it"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_value_is_the_expansion_of_a_variable() {
    let table = [
        ("echo @", "echo \"${rollcall_0}\""),
        ("echo a@.tar", "echo a\"${rollcall_0}\".tar"),
        ("echo \"v @\"", "echo \"v ${rollcall_0}\""),
        ("echo 'v @'", "echo 'v '\"${rollcall_0}\"''"),
        ("echo \"$(cat @)\"", "echo \"$(cat \"${rollcall_0}\")\""),
        ("echo \"$$(@)\"", "echo \"$$(${rollcall_0})\""),
        ("# it's @\necho @", "# it's ${rollcall_0}\necho \"${rollcall_0}\""),
        ("case @ in a) echo @ ;; esac", "case \"${rollcall_0}\" in a) echo \"${rollcall_0}\" ;; esac"),
        ("echo a \\\n  @", "echo a \\\n  \"${rollcall_0}\""),
        ("cat <<E\nx @\nE\necho '@'", "cat <<E\nx ${rollcall_0}\nE\necho ''\"${rollcall_0}\"''"),
        ("echo \"costs \\$@\"", "echo \"costs \\$${rollcall_0}\""),
        ("echo ${x:-\"a b\"} @", "echo ${x:-\"a b\"} \"${rollcall_0}\""),
        ("echo $((1 + (2))) @", "echo $((1 + (2))) \"${rollcall_0}\""),
    ];
    for (script, wanted) in table {
        assert_eq!(rendered(script, "it's"), Ok(format!("rollcall_0='it'\\''s'; {wanted}")), "{script}");
    }
    assert_eq!(template::script("echo a", &BTreeMap::new()), Ok("echo a".into()));
}

/// For any value, each shell prints the same bytes back, or the script is refused at load time.
#[test]
fn values_arrive_as_they_are_in_every_shell() {
    let values = [
        "; id",
        "$(id)",
        "`id`",
        "a\nb",
        "it's",
        "\"",
        "\\",
        "*",
        "~",
        "\u{202e}x",
        "\u{e0f0}0\u{e0f1}",
        "#",
        "!x",
        "a\tb",
        "\\n'",
        "$rollcall_0",
        "${rollcall_0}",
        "(touch x;id -un)",
        "\\';id;#",
        "a[$(id)]",
        "",
        " a  b ",
        "2",
    ];
    let scripts = [
        "printf '%s' x@",
        "printf '%s' \"x@\"",
        "printf '%s' 'x@'",
        "x=@; printf '%s' \"x$x\"",
        "printf '%s' \"$(printf '%s' x@x)\"",
        "true; (printf '%s' x@)",
        "f() { printf '%s' \"x$1\"; }; f @",
        "cat <<E\nx@x\nE\n",
        "case @ in *) printf '%s' x@ ;; esac",
        "printf '%s' -- x\"\"@",
        "printf '%s' \\\n  x@",
        "for i in @; do printf '%s' \"x$i\"; done",
        "if true; then printf '%s' \"x\\$\"@; fi",
        "# @\nprintf '%s' x@",
        "sh -c 'printf \"%s\" \"x$1\"' sh @",
        "printf '%s' x@ 2>&1",
        "printf '%s' ${y:-x}@",
        "printf '%s' \"x\\\\@\"",
    ];
    for shell in SHELLS {
        for script in scripts {
            for value in values {
                let sentinel = says(shell, &rendered(script, "SENTINEL").unwrap());
                let wanted = sentinel.trim_end_matches('\n').replace("SENTINEL", value);
                let said =
                    says(shell, &rendered(script, value).unwrap_or_else(|why| panic!("{script}: {why}")));
                assert!(sentinel.contains("SENTINEL"), "{shell:?}: {script}");
                assert_eq!(said.trim_end_matches('\n'), wanted.trim_end_matches('\n'), "{shell:?}: {script}");
            }
        }
    }
}

#[test]
fn a_place_that_is_no_place_for_a_value_is_a_mistake_whatever_the_value() {
    let table = [
        ("echo \"costs ${x@} a year\"", "in `${...}`"),
        ("echo \"costs $@\"", "directly behind `$`; try: \\${{ ... }} for a dollar sign"),
        ("echo $@", "directly behind `$`"),
        ("echo $'a @'", "in `$'...'`; try: '...' or \"...\""),
        ("echo $\"a @\"", "in `$\"...\"`"),
        ("echo $((@))", "in `((...))`; the shell would evaluate it"),
        ("((x = @))", "in `((...))`"),
        ("echo $[@]", "after `$[...]`"),
        ("echo `@`", "in backticks; try: $(...)"),
        ("echo ${x:-@}", "in `${...}`; try: name={{ ... }} at the beginning of the script"),
        ("echo \"${x:-@}\"", "in `${...}`"),
        ("echo \"C:\\@\"", "directly behind a backslash; try: two backslashes"),
        ("echo \\@", "directly behind a backslash"),
        ("cat <<'E'\n@\nE\n", "in a here-document whose delimiter is quoted"),
        ("python3 <<E\n@\nE\n", "in a here-document that another program than `cat` or `tee` reads"),
        ("cat <<E | sh\n@\nE\n", "in a here-document that another program"),
        ("cat <<@\n", "after a here-document whose delimiter is no plain word"),
        ("sh -c \"echo @\"", "in the code of another program"),
        ("sudo -u app sh -ec 'echo @'", "in the code"),
        ("/usr/bin/env bash -c @", "in the code"),
        ("eval echo @", "in the code"),
        ("trap 'rm @' EXIT", "in the code"),
        ("ssh host \"echo @\"", "in the code"),
        ("python3.11 -c \"print(@)\"", "in the code"),
        ("awk \"/@/\"", "in the code"),
        ("sed -e s/a/@/ x", "in the code"),
        ("sed s/a/@/ x", "in the code"),
        ("su app -c \"echo @\"", "in the code"),
        ("find . -exec sh -c 'echo @' \\;", "in the code"),
        ("sh -c \"$(echo @)\"", "in the code"),
        ("sh -c \"cd $(dirname @) && ls\"", "in the code"),
        ("eval \"x=$(basename @)\"", "in the code"),
        ("sh -c -e \"echo @\"", "in the code"),
        (">done sh -c \"echo @\"", "in the code"),
        ("sh -c -- \"echo @\"", "in the code"),
        ("function f { eval \"echo @\"; }; f", "in the code"),
        ("for x do eval \"echo @\"; done", "in the code"),
        ("time -p sh -c \"echo @\"", "in the code"),
        ("eval &>/dev/null \"echo @\"", "in the code"),
        ("flock /tmp/l -c \"echo @\"", "in the code"),
        ("unshare sh -c @", "in the code"),
        ("whatever -x sh -c @", "in the code"),
        ("$S -c \"echo @\"", "in the code"),
        ("\"$(command -v sh)\" -c \"echo @\"", "in the code"),
        ("gawk -i inplace \"/@/\" f", "in the code"),
        ("gawk --field-separator : \"/@/\"", "in the code"),
        ("sed --line-length 5 \"s/@/x/\"", "in the code"),
        ("php8.2 -r \"@\"", "in the code"),
        ("ssh -o \"ProxyCommand=@\" host", "in the code"),
        ("rsync -e \"ssh -p @\" a b", "in the code"),
        ("env -S \"sh @\"", "in the code"),
        ("mysql -N -e \"SELECT @\"", "in the code"),
        ("psql -c \"SELECT @\"", "in the code"),
        ("sqlite3 db @", "in the code"),
        ("make V=@", "in the code"),
        ("alias a=@", "in the code"),
        ("PS4=@", "in the code"),
        ("echo $(( $(echo @) + 1 ))", "in `((...))`"),
        ("echo \"echo @\" | sh", "in what an interpreter reads as its program"),
        ("echo @ | tr a b | bash -s", "in what an interpreter reads"),
        ("{ cat <<E\n@\nE\n} | sh", "in what an interpreter reads"),
        ("(echo @) | ssh host", "in what an interpreter reads"),
        ("if true; then echo @; fi | sh", "in what an interpreter reads"),
        ("bash <<< \"echo @\"", "in what an interpreter reads"),
        ("sh <(echo @)", "in the code"),
        ("echo @ | xargs -I{} sh -c 'echo {}'", "in what an interpreter reads"),
        ("declare -i n=@", "in `declare`, which evaluates it"),
        ("test -v @", "where `test` reads the name of a variable"),
        ("printf -v @ x", "where `printf` reads the name"),
        ("printf \"@\"", "in the format of printf"),
        ("x=([@]=1)", "after an array"),
        ("a[b[1]+@]=1", "behind `NAME[`"),
        ("command let x=@", "in `let`"),
        ("command unset @", "where `unset` reads the name"),
        ("[[ @ -eq 1 ]]", "in `[[`, which evaluates it"),
        ("let x=@", "in `let`"),
        ("unset @", "where `unset` reads the name of a variable"),
        ("read x@", "where `read` reads the name"),
        ("a[@]=1", "behind `NAME[`"),
        ("x=$(case a in a) echo @;; esac)", "after `case` within parentheses"),
        ("echo ${x:-\"}\"} @", "after quotes in `${...}`"),
        ("echo a\\\nb @", "after a line that is continued in the middle of a word"),
    ];
    for (script, why) in table {
        let template = script.replace('@', "{{ v }}");
        let refusal = template::check_script(&template).unwrap_err();
        assert!(refusal.starts_with("a value cannot be ") && refusal.contains(why), "{script}: {refusal}");
        assert!(rendered(script, "1.2.3").is_err(), "{script}");
    }
    for script in [
        "export A=@",
        "local a=@",
        "awk -v x=@ '{ print x }'",
        "sed -n 1p @",
        "ssh -p @ host uptime",
        "apt-get install awk @",
        "echo @ | sh -c 'cat'",
        "printf '%s' @ | python3 read.py",
        "curl -fsS https://x/@ | sh",
        "echo @ || sh",
        "n=$(wc -l <@)",
        "grep -c \"a b @\" x",
        "test $(ls -1 @ | wc -l) -le 5",
        "export A=$(echo @)",
        "command -v @",
        "echo \"hello @\" | tee x",
        "sh -c 'echo \"$1\"' sh @",
        "grep -c @ x",
        "tar -c @",
        "[ @ = b ]",
        "ls x[12]@",
        "nginx -t -c @",
        "sudo tee x <<E\n@\nE\n",
        "echo $$@",
        "echo $?@",
        "systemctl restart ssh @",
    ] {
        assert_eq!(template::check_script(&script.replace('@', "{{ v }}")), Ok(()), "{script}");
    }
}

/// Some shells evaluate the operands of a numeric `[`: `a[$(id)]` would run.
#[test]
fn what_is_compared_as_a_number_is_one() {
    for script in ["[ @ -gt 5 ]", "test 5 -lt @", "[ $(echo @) -eq 1 ]", "[ \"x@\" -eq 1 ] || true"] {
        assert!(rendered(script, "7").is_ok(), "{script}");
        for value in ["a[$(id)]", "x", "", "-"] {
            let refusal = rendered(script, value).unwrap_err();
            assert!(
                refusal.contains("it is no whole number") || refusal.contains("begins with `-`"),
                "{script}: {refusal}"
            );
        }
    }
    assert!(rendered("[ @ = b ]", "a[$(id)]").is_ok() && rendered("[ @ -gt 5 ]", "-7").is_ok());
}

/// A value may be in a variable: a script that holds values must not build code of another program from variables.
#[test]
fn no_code_is_built_from_variables_in_a_script_that_holds_values() {
    for script in [
        "x=\"echo @\"; sh -c \"$x\"",
        "x=@; eval \"echo $x\"",
        "f() { sh -c \"$1\"; }; f @",
        "x=@; ssh host \"cd ${x}\"",
        "eval \"$y\"; echo @",
        "x=@; bash -ec \"a $*\"",
        "x=@; awk \"/$x/\"",
        "x=@; sh -c \"$(echo $x)\"",
    ] {
        let refusal = template::check_script(&script.replace('@', "{{ v }}")).unwrap_err();
        assert!(refusal.contains("puts variables into the code of another program"), "{script}: {refusal}");
        assert!(rendered(script, "a").is_err(), "{script}");
    }
    for script in [
        "eval \"$(ssh-agent -s)\"; echo @",
        "x=@; sh -c 'echo \"$1\"' sh \"$x\"",
        "eval \"$y\"",
        "x=@; echo \"$x\"",
    ] {
        assert_eq!(template::check_script(&script.replace('@', "{{ v }}")), Ok(()), "{script}");
    }
}

#[test]
fn blocks_of_a_template_hold_whole_words() {
    for script in [
        "{% if v %}a{% else %}b{% endif %} {{ v }}",
        "echo '{% for x in v %}{{ x }} {% endfor %}'",
        "{% set a = v %}{{ a }}",
    ] {
        assert_eq!(template::check_script(script), Ok(()), "{script}");
    }
    for script in [
        "{% if v %}'{% endif %}{{ v }}",
        "{% if v %}\"{% else %}'{% endif %}",
        "{% for x in v %}( {% endfor %}",
    ] {
        let refusal = template::check_script(script).unwrap_err();
        assert!(
            refusal.contains("a block of the template ({% if %}, {% for %}) opens or closes quotes"),
            "{refusal}"
        );
    }
    let refusal = template::check_script("{% filter upper %}{{ v }}{% endfilter %}").unwrap_err();
    assert_eq!(
        refusal,
        "`{% filter %}` cannot be used in a script; known: if, elif, else, for, set NAME = ..., raw"
    );
}

#[test]
fn a_value_is_no_option_unless_the_template_says_so() {
    for script in [
        "mv @ backup/",
        "sort @",
        "sort \"@\"",
        "sort ''@",
        "rm -rf @",
        "x=1 sort @",
        "true; @",
        "ls $(dirname @)",
    ] {
        let refusal = rendered(script, "-t").unwrap_err();
        assert!(
            refusal.contains("as it begins with `-` and ")
                && refusal.contains("would read it as an option; try: `--` before it"),
            "{refusal}"
        );
        assert!(rendered(script, "t-").is_ok(), "{script}");
    }
    for script in [
        "mv -- @ backup/",
        "sort ./@",
        "x=@",
        "echo a >@",
        "case @ in a) true ;; esac",
        "sort {{ v | option }}",
        "# @",
    ] {
        assert!(rendered(script, "-t").is_ok(), "{script}");
    }
    assert_eq!(
        rendered("mv @ x", "-t").unwrap_err(),
        rendered("mv @ x", "-secret").unwrap_err(),
        "the value is not shown"
    );
}

#[test]
fn a_script_is_shown_with_its_values_and_split_before_them() {
    for (script, value, shown) in [
        ("tar xzf @.tar", "1.2.3", "tar xzf 1.2.3.tar"),
        ("echo @ \"@\"", "it's; b", "echo 'it'\\''s; b' 'it'\\''s; b'"),
        ("echo a", "x", "echo a"),
        ("echo \"a @ b\"", "a\"; touch $x`y`; \"", "echo \"a a\\\"; touch \\$x\\`y\\`; \\\" b\""),
    ] {
        assert_eq!(readable(&rendered(script, value).unwrap()), shown);
    }
    let script = rendered("check @ @", "a'; 'b").unwrap();
    let (assigned, body) = split(&script);
    assert_eq!(body, "check \"${rollcall_0}\" \"${rollcall_0}\"");
    assert_eq!(assigned, "rollcall_0='a'\\''; '\\''b'; ");
    assert_eq!(split("rollcall_0=a b"), ("", "rollcall_0=a b"));
}
