//! Which of a network's logits stands for which answer.

use super::LOGITS;
use super::error::MetadataError;
use crate::expression::{Expression, Gender};

/// Name of the metadata's entry: a name for each logit, in order, with spaces between. `-` is a
/// logit that stands for no answer of mien's.
pub const LABELS: &str = "labels";

const NEEDED: &str = "a name for each logit: two or more of angry, disgust, fear, happy, sad, \
                      surprise, neutral; both of female, male, or neither; - for any other";

/// Which of a network's logits stands for which answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heads {
    /// By place in the row of all answers, expressions before genders: the network's own logit.
    own: [Option<usize>; LOGITS],
    logits: usize,
}

impl Heads {
    /// Reads [`LABELS`], one name for each of the network's `logits`. Without it there must be one
    /// for each answer or for each expression, in order.
    pub fn from_labels(labels: Option<&str>, logits: usize) -> Result<Self, MetadataError> {
        let names = answers();
        let text = match labels {
            Some(text) => text.to_owned(),
            None if [Expression::ALL.len(), LOGITS].contains(&logits) => names[..logits].join(" "),
            None => String::new(),
        };
        let wrong = || MetadataError { entry: LABELS, text: text.clone(), needed: NEEDED };
        let mut own = [None; LOGITS];
        let mut count = 0;
        for label in text.split_whitespace() {
            if label != "-" {
                let answer = names.iter().position(|name| *name == label).ok_or_else(wrong)?;
                if own[answer].replace(count).is_some() {
                    return Err(wrong());
                }
            }
            count += 1;
        }
        let (expressions, genders) = own.split_at(Expression::ALL.len());
        let told = |answers: &[Option<usize>]| answers.iter().flatten().count();
        let usable = count == logits && told(expressions) >= 2 && told(genders) != 1;
        if usable { Ok(Self { own, logits }) } else { Err(wrong()) }
    }

    /// The network's own logits.
    pub fn logits(&self) -> usize {
        self.logits
    }

    /// Whether it tells this expression.
    pub fn tells(&self, expression: Expression) -> bool {
        self.own[expression as usize].is_some()
    }

    /// Whether it tells gender.
    pub fn tells_gender(&self) -> bool {
        self.own[LOGITS - 1].is_some()
    }

    /// Tells no gender any more: the logits that did.
    pub fn forget_gender(&mut self) -> Vec<usize> {
        self.own[Expression::ALL.len()..].iter_mut().filter_map(Option::take).collect()
    }

    /// A network's logits in the order of all answers; −∞, so a share of 0, for those that it does
    /// not give.
    pub fn in_order(&self, logits: &[f32]) -> [f32; LOGITS] {
        self.own.map(|own| own.map_or(f32::NEG_INFINITY, |own| logits[own]))
    }

    /// [`LABELS`] of it.
    pub fn labels(&self) -> String {
        let mut labels = vec!["-"; self.logits];
        for (own, name) in self.own.iter().zip(answers()) {
            if let Some(own) = own {
                labels[*own] = name;
            }
        }
        labels.join(" ")
    }
}

/// Names of all answers, in order.
fn answers() -> Vec<&'static str> {
    let expressions = Expression::ALL.into_iter().map(Expression::name);
    expressions.chain(Gender::ALL.into_iter().map(Gender::name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    #[test]
    fn logits_come_in_the_order_of_answers_whatever_the_network_s() {
        let heads = Heads::from_labels(Some("happy - sad neutral male female"), 6).unwrap();
        assert_eq!(
            heads.in_order(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            [NONE, NONE, NONE, 1.0, 3.0, NONE, 4.0, 6.0, 5.0]
        );
        assert_eq!(heads.labels(), "happy - sad neutral male female");
        assert!(heads.tells_gender());
    }

    #[test]
    fn forgotten_genders_are_none_s() {
        let mut heads = Heads::from_labels(Some("happy sad male female"), 4).unwrap();
        let mut forgotten = heads.forget_gender();
        forgotten.sort_unstable();
        assert_eq!((forgotten, heads.tells_gender()), (vec![2, 3], false));
        assert_eq!(heads.in_order(&[1.0, 2.0, 3.0, 4.0])[7..], [NONE, NONE]);
        assert!(heads.forget_gender().is_empty());
    }

    #[test]
    fn without_labels_the_answers_are_in_order() {
        let seven = Heads::from_labels(None, 7).unwrap();
        assert!(!seven.tells_gender());
        assert_eq!(
            seven.in_order(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]),
            [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, NONE, NONE]
        );
        assert!(Heads::from_labels(None, 9).unwrap().tells_gender());
    }

    #[test]
    fn labels_that_tell_nothing_usable_are_refused() {
        for (labels, logits) in [
            (None, 6),
            (None, 8),
            (None, 1000),
            (Some("happy sad"), 3),
            (Some("happy sad -"), 2),
            (Some("happy happy sad"), 3),
            (Some("happy joy"), 2),
            (Some("happy -"), 2),
            (Some("female male"), 2),
            (Some("happy sad male"), 3),
            (Some(""), 0),
        ] {
            let error = Heads::from_labels(labels, logits).unwrap_err();
            assert!(error.to_string().contains("angry, disgust"), "{labels:?}: {error}");
        }
    }
}
