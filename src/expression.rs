//! What a face may show: seven expressions, and apparent gender.

use serde::{Deserialize, Serialize};

/// One of the seven expressions, in FER2013's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Expression {
    Angry,
    Disgust,
    Fear,
    Happy,
    Sad,
    Surprise,
    Neutral,
}

impl Expression {
    /// All, in FER2013's order: `ALL[label]`.
    pub const ALL: [Expression; 7] = [
        Expression::Angry,
        Expression::Disgust,
        Expression::Fear,
        Expression::Happy,
        Expression::Sad,
        Expression::Surprise,
        Expression::Neutral,
    ];

    /// Its name in lower case, as in config, log and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Expression::Angry => "angry",
            Expression::Disgust => "disgust",
            Expression::Fear => "fear",
            Expression::Happy => "happy",
            Expression::Sad => "sad",
            Expression::Surprise => "surprise",
            Expression::Neutral => "neutral",
        }
    }
}

/// What a face is said to show where no expression's share is great enough to tell.
pub const UNSURE: &str = "unsure";

/// The name of an answer: an expression, or none for [`UNSURE`].
pub fn answer_name(answer: Option<Expression>) -> &'static str {
    answer.map_or(UNSURE, Expression::name)
}

/// Apparent gender, in the order of the network's logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Gender {
    Female,
    Male,
}

impl Gender {
    /// Both, in the order of the logits.
    pub const ALL: [Gender; 2] = [Gender::Female, Gender::Male];

    /// Its name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Gender::Female => "female",
            Gender::Male => "male",
        }
    }
}
