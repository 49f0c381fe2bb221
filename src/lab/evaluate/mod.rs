//! Scores a model on labelled faces, so that its figures can be trusted and compared.
//!
//! - [`test_set`] reads the faces, [`classes`] says which classes are scored;
//! - [`counts`] counts answers, [`reliability`] holds confidence against accuracy, [`gender`]
//!   scores by group;
//! - [`report`] puts it all together for one model: in JSON as it is, by [`text`] for the
//!   terminal, by [`html`] (its plots by [`chart`]) for people.

pub mod chart;
pub mod classes;
pub mod counts;
pub mod gender;
pub mod html;
pub mod reliability;
pub mod report;
pub mod test_set;
pub mod text;

pub use classes::Classes;
pub use counts::Evaluation;
pub use report::Report;

use super::network::{EXPRESSION_LOGITS, LOGITS};
use crate::classifier::argmax;

/// Strongest expression of each row of logits, an index into
/// [`crate::expression::Expression::ALL`].
pub fn expression_answers(logits: &[[f32; LOGITS]]) -> Vec<usize> {
    logits.iter().map(|row| argmax(&row[..EXPRESSION_LOGITS])).collect()
}

/// Stronger gender of each row of logits, an index into [`crate::expression::Gender::ALL`].
pub fn gender_answers(logits: &[[f32; LOGITS]]) -> Vec<usize> {
    logits.iter().map(|row| argmax(&row[EXPRESSION_LOGITS..])).collect()
}
