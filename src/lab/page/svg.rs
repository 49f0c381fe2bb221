//! Parts of plots as inline SVG, in user units; colours come from the page's style sheet.

use maud::{Markup, html};

/// A plot of this width and height; `label` is what it shows, for who can't see it.
pub fn figure([width, height]: [f64; 2], label: &str, content: Markup) -> Markup {
    html! {
        svg viewBox=(format!("0 0 {} {}", px(width), px(height))) role="img" aria-label=(label) {
            (content)
        }
    }
}

/// Text on the baseline `y`.
pub fn text(x: f64, y: f64, class: &str, content: &str) -> Markup {
    html! { text x=(px(x)) y=(px(y)) class=(class) { (content) } }
}

/// A rectangle by its sides.
pub fn bar(left: f64, right: f64, top: f64, bottom: f64, class: &str) -> Markup {
    let (width, height) = ((right - left).max(0.0), (bottom - top).max(0.0));
    html! {
        rect class=(class) x=(px(left)) y=(px(top)) width=(px(width)) height=(px(height)) rx="1.5" {}
    }
}

/// A straight line.
pub fn line(x1: f64, y1: f64, x2: f64, y2: f64, class: &str) -> Markup {
    html! { line class=(class) x1=(px(x1)) y1=(px(y1)) x2=(px(x2)) y2=(px(y2)) {} }
}

/// A coordinate: hundredths are finer than any screen.
pub fn px(value: f64) -> String {
    format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
}
