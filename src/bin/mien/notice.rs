//! `mien notice`: the sign for the people before the camera, who must be told (AI Act, Art. 50(3)).
//! It says what this kiosk's configuration makes it do, so print it anew when that changes.

use std::io::{self, Write};

use mien::config::{Config, ConfigError};
use mien::deployment::DeploymentContext;
use mien::expression::Expression;

use crate::args::NoticeArgs;

/// Columns of the text.
const WIDTH: usize = 72;
const TITLE: &str = "This camera reads facial expressions";

/// Prints it.
pub fn notice(args: &NoticeArgs) -> anyhow::Result<()> {
    let config = Config::read(&args.config)?;
    config.deployment(Some(&args.config))?;
    let contact = config.who_answers().ok_or_else(|| ConfigError::Value {
        path: args.config.clone(),
        section: "the top level",
        why: "contact is missing: the sign must name who answers for this kiosk".into(),
    })?;
    let sections = sections(&config, contact);
    let sign = if args.html { html(&sections) } else { text(&sections) };
    Ok(io::stdout().write_all(sign.as_bytes())?)
}

/// A heading and what stands below.
type Section = (&'static str, String);

fn sections(config: &Config, contact: &str) -> Vec<Section> {
    let mut sections = vec![
        ("What it does", does(config)),
        ("What it does not do", does_not()),
        ("What is kept", kept(config)),
        ("Where that goes", goes(config)),
    ];
    if let Some(why) = purpose(config) {
        sections.push(("Why", why));
    }
    sections.push(("Your choice", "Who stays out of the camera's view is not looked at.".into()));
    sections.push(("Who answers for it", contact.into()));
    sections
}

fn does(config: &Config) -> String {
    let (last, first) = Expression::ALL.split_last().expect("seven expressions");
    let first: Vec<_> = first.iter().map(|expression| expression.name()).collect();
    let mut text = format!(
        "A computer program (“mien”, device “{}”) looks for faces and estimates which expression \
         each one shows: {} or {}.",
        config.device,
        first.join(", "),
        last.name()
    );
    if config.expression.gender {
        text += " It also guesses whether a face looks female or male.";
    }
    text + " It is often wrong, and an expression shown is not a feeling."
}

fn does_not() -> String {
    "It recognizes nobody and keeps no pictures: they stay in the device's memory for a moment, and \
     nothing in its records tells who you are. Nothing may be decided about a person by what it says."
        .into()
}

fn kept(config: &Config) -> String {
    let journal = &config.journal;
    let what = match (journal.only_rooms_of_at_least, config.expression.gender) {
        (Some(least), gender) => format!(
            "No single faces: only how many faces show which expression{}, while at least {least} \
             are seen.",
            if gender { " and look female or male, in per cent" } else { "" }
        ),
        (None, gender) => format!(
            "When a face appears and leaves, where in the picture it is, and the expression shown{}, \
             under a number that ends when the face leaves; and how many faces show what.",
            if gender { " and apparent gender" } else { "" }
        ),
    };
    let how_long = match journal.max_age_days {
        0.0 => format!(
            "It is kept until newer records need its room (at most {} MB).",
            journal.max_total_bytes.div_ceil(1_000_000)
        ),
        days => format!(
            "It is deleted after {days} days{}, a day late at most while the device is on and records.",
            if config.mqtt.is_some() { ", once it was sent" } else { "" }
        ),
    };
    format!("{what} {how_long}")
}

fn goes(config: &Config) -> String {
    match &config.mqtt {
        None => "Nowhere: it stays on this device.".into(),
        Some(mqtt) => format!("From this device it is sent to the computer “{}”.", mqtt.host),
    }
}

/// What the operator states of it.
fn purpose(config: &Config) -> Option<String> {
    let place = match config.deployment_context? {
        DeploymentContext::Art => "It is part of an artwork or exhibition.",
        DeploymentContext::Education => "It is used in education.",
        DeploymentContext::Event => "It is part of this event.",
        DeploymentContext::Health => "It is used in health care.",
        DeploymentContext::Home => "It is used in this household.",
        DeploymentContext::Public => "It is used in this public place.",
        DeploymentContext::Research => "It is part of a study of volunteers.",
        DeploymentContext::Retail => "It looks at customers.",
        DeploymentContext::Test => "It is being set up and tested.",
        DeploymentContext::Work => "It is used at work.",
    };
    let basis = config.legal_basis.as_deref().map(|basis| format!(" Legal basis: {basis}"));
    Some(format!("{place}{}", basis.unwrap_or_default()))
}

fn text(sections: &[Section]) -> String {
    let mut text = format!("{}\n{}\n", TITLE.to_uppercase(), "=".repeat(TITLE.len()));
    for (heading, body) in sections {
        text += &format!("\n{heading}\n{}\n", wrapped(body));
    }
    text
}

/// `text` in lines of at most [`WIDTH`] characters, but for longer words.
fn wrapped(text: &str) -> String {
    let (mut lines, mut column) = (String::new(), 0);
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > WIDTH {
            lines.push('\n');
            column = 0;
        } else if column > 0 {
            lines.push(' ');
            column += 1;
        }
        lines += word;
        column += width;
    }
    lines
}

fn html(sections: &[Section]) -> String {
    let body: String = sections
        .iter()
        .map(|(heading, body)| format!("<h2>{heading}</h2>\n<p>{}</p>\n", escaped(body)))
        .collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{TITLE}</title>\n\
         <style>\n\
         @page {{ size: A4; margin: 20mm }}\n\
         body {{ font: 14pt/1.4 sans-serif; max-width: 170mm; margin: auto }}\n\
         h1 {{ font-size: 30pt; line-height: 1.1; text-align: center }}\n\
         h2 {{ font-size: 16pt; margin: 1em 0 0 }}\n\
         p {{ margin: 0 }}\n\
         </style>\n<h1>{TITLE}</h1>\n{body}</html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn sign(text: &str) -> String {
        let config = Config::parse(Path::new("kiosk.toml"), text).unwrap();
        self::text(&sections(&config, "Jane Doe")).replace('\n', " ")
    }

    #[test]
    fn it_says_what_the_configuration_does() {
        let plain = sign("device = 'hall'");
        for part in ["“hall”", "angry, disgust", "or neutral", "female or male", "on this device"]
        {
            assert!(plain.contains(part), "{part} not in: {plain}");
        }
        assert!(plain.contains("268 MB") || plain.contains("269 MB"), "{plain}");
        assert!(
            plain.contains("apparent gender") && plain.ends_with("Who answers for it Jane Doe "),
            "{plain}"
        );

        let sparing = sign(
            "deployment_context = 'work'\nlegal_basis = 'Safety act, section 1, of drivers.'\n\
             [expression]\ngender = false\n[mqtt]\nhost = 'broker.lan'\n\
             [journal]\nmax_age_days = 7.0\nonly_rooms_of_at_least = 5",
        );
        for part in ["at least 5", "after 7 days", "“broker.lan”", "Legal basis: Safety act"] {
            assert!(sparing.contains(part), "{part} not in: {sparing}");
        }
        for part in ["male", "stays on this device", "When a face appears"] {
            assert!(!sparing.contains(part), "{part} in: {sparing}");
        }
    }

    #[test]
    fn lines_are_short_and_markup_is_text() {
        let text = wrapped(&"word ".repeat(100));
        let lengths: Vec<_> = text.lines().map(str::len).collect();
        assert!(lengths.iter().all(|&length| length <= WIDTH), "{lengths:?}");
        assert!(lengths[0] > WIDTH - " word".len(), "{lengths:?}");
        let page = html(&[("Why", "<b> & co".into())]);
        assert!(page.contains("<p>&lt;b&gt; &amp; co</p>"), "{page}");
    }
}
