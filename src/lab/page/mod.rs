//! Pages for people: one file, nothing fetched from anywhere.

pub mod svg;

use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub fn document(title: &str, body: Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    }
    .into_string()
}

/// A part of a page under a heading; `note` says how to read it.
pub fn card(title: &str, note: &str, content: Markup) -> Markup {
    html! {
        section.card {
            h2 { (title) }
            p.note { (note) }
            (content)
        }
    }
}
