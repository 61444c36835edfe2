use super::*;
use crate::domain::ask::view::{PageName, View};
use crate::domain::base::name::RunId;
use crate::domain::base::outcome::Outcome;
use crate::present::board::page::{Link, Log, LogLine};
use crate::present::board::pages::run::{self, Before};
use crate::present::board::story::{Story, at};

/// What hosts may print: each has to stay text.
const HOSTILE: [&str; 9] = [
    "<script>alert(1)</script>",
    "</li></ol><img src=x onerror=alert(1)>",
    "\" onmouseover=\"alert(1)",
    "&lt;b&gt; &amp;",
    "\u{1b}]52;c;aGk=\u{7}\u{1b}[2J",
    "\u{202e}detsurt\u{2066}",
    "</title><script>alert(1)</script>",
    "javascript:alert(1)",
    "H held web0001",
];

fn frame() -> Frame<'static> {
    Frame { viewer: "<i>ann</i>", version: "0.1", assets: ["/s.css", "/s.js", "/s.svg"] }
}

/// The names of all elements, and whether any of them has an attribute that runs something.
fn elements(html: &str) -> Vec<String> {
    let mut names = Vec::new();
    for part in html.split('<').skip(1) {
        let tag = part.split('>').next().unwrap();
        let name: String =
            tag.chars().take_while(|c| c.is_ascii_alphanumeric() || "/!".contains(*c)).collect();
        let names_of_attributes: String = tag.split('"').step_by(2).collect();
        assert!(!names_of_attributes.contains(" on") && !names_of_attributes.contains(" style="), "{tag}");
        names.push(name.trim_start_matches('/').to_ascii_lowercase());
    }
    names
}

#[test]
fn what_hosts_print_makes_no_element() {
    let mut story = Story::of_steps(HOSTILE.len(), 1);
    for (number, hostile) in (1..).zip(HOSTILE) {
        let outcome = Outcome::Failed { code: Some(1), why: hostile.into() };
        story.steps(number, 1, (outcome, hostile));
    }
    let mut page = run::page(&story.fold, &View::of(PageName::Run(RunId(41))), &Before::default(), at(10));
    let line = |text: &str| LogLine {
        number: 1,
        parts: vec![("c-red".into(), text.into()), (String::new(), text.into())],
        note: String::new(),
        address: None,
        is_error: false,
    };
    let (lines, notes) = (HOSTILE.map(line).into(), vec![HOSTILE[0].into()]);
    let links = vec![Link { text: HOSTILE[1].into(), address: "/".into() }];
    page.log = Some(Log { caption: "output".into(), lines, notes, links, search: Some("/".into()) });
    page.title = HOSTILE[6].into();
    let html = document(&page, &frame());
    let ours = [
        "!doctype", "html", "head", "meta", "title", "link", "script", "body", "a", "header", "nav", "p",
        "main", "h1", "ul", "li", "b", "code", "section", "h2", "table", "caption", "thead", "tr", "th",
        "tbody", "td", "span", "ol", "footer", "time", "form", "div", "label", "input",
    ];
    let elements = elements(&html);
    elements.iter().for_each(|name| assert!(ours.contains(&name.as_str()), "{name}"));
    assert_eq!(elements.iter().filter(|name| *name == "script").count(), 2, "one script, and its end");
    assert!(!html.contains('\u{1b}') && !html.contains('\u{202e}') && !html.contains("<i>"));
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
}

#[test]
fn a_page_of_a_thousand_hosts_is_small() {
    let mut story = Story::of_steps(1_000, 20);
    for number in 1..=900 {
        story.steps(number, 20, (Outcome::Ok, ""));
    }
    for number in 901..=910 {
        story.steps(number, 5, (Outcome::Failed { code: Some(1), why: "exit status 1".into() }, ""));
    }
    let view = View::of(PageName::Run(RunId(41)));
    let folded = document(&run::page(&story.fold, &view, &Before::default(), at(10)), &frame());
    assert!(folded.len() < 20_000, "{}", folded.len());
    let all = View { all: true, ..view };
    let all = document(&run::page(&story.fold, &all, &Before::default(), at(10)), &frame());
    assert!(all.len() < 450_000, "{}", all.len());
    let elements = all.matches('<').count() - all.matches("</").count();
    assert!(elements < 7_500, "{elements}");
}

#[test]
fn colours_can_be_told_from_the_paper() {
    // WCAG 2.2, 1.4.3: at least 4.5 for text.
    let css = ASSETS[0].text;
    let values = |from: &str| -> Vec<(String, [f64; 3])> {
        let block = css.split(from).nth(1).unwrap().split('}').next().unwrap();
        let pairs =
            block.split(';').filter_map(|pair| pair.trim().trim_start_matches("--").split_once(": #"));
        let part =
            |hex: &str, at: usize| f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
        pairs
            .map(|(name, hex)| {
                (name.trim_start_matches("--").to_string(), [0, 2, 4].map(|at| part(hex.trim(), at)))
            })
            .collect()
    };
    let light = |rgb: [f64; 3]| {
        let linear = rgb.map(|v| if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    };
    for from in [":root {", "(prefers-color-scheme: dark) {\n  :root {"] {
        let values = values(from);
        let paper = light(values.iter().find(|(name, _)| name == "paper").unwrap().1);
        for role in Role::ALL {
            let (_, rgb) = values.iter().find(|(name, _)| name == role.name()).unwrap();
            let (one, other) = (light(*rgb).max(paper), light(*rgb).min(paper));
            assert!((one + 0.05) / (other + 0.05) >= 4.5, "{from}: {}", role.name());
        }
    }
}

#[test]
fn the_script_makes_elements_only_by_name() {
    let script = ASSETS[1].text;
    for word in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "setTimeout(\"",
    ] {
        assert!(!script.contains(word), "{word}");
    }
    for asset in ASSETS {
        assert!(asset.text.len() < 12 * 1024, "{}: {}", asset.name, asset.text.len());
    }
}
