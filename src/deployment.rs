//! Where a kiosk watches people, which decides whether it may.
//!
//! A kiosk before a camera runs only if its configuration names the place. At work and in education
//! the EU prohibits inferring emotions but for medical or safety reasons (AI Act, Art. 5(1)(f));
//! there it runs only with a sentence that says by which law it may, and that is recorded.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Fewer words are no sentence, but something to silence the question.
const LEGAL_BASIS_MIN_WORDS: usize = 4;

/// Where a kiosk watches people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentContext {
    /// An artwork or exhibition.
    Art,
    /// School, university, training or exam.
    Education,
    /// A party, fair or stage.
    Event,
    /// Practice, hospital or care home, of patients and visitors.
    Health,
    /// One's own household.
    Home,
    /// A place open to all, such as a station or square.
    Public,
    /// A study of volunteers.
    Research,
    /// Shop, restaurant or hotel, of customers.
    Retail,
    /// A bench, with nobody before it but who sets it up.
    Test,
    /// Employees or applicants.
    Work,
}

impl DeploymentContext {
    /// All, by name.
    pub const ALL: [Self; 10] = [
        Self::Art,
        Self::Education,
        Self::Event,
        Self::Health,
        Self::Home,
        Self::Public,
        Self::Research,
        Self::Retail,
        Self::Test,
        Self::Work,
    ];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Art => "art",
            Self::Education => "education",
            Self::Event => "event",
            Self::Health => "health",
            Self::Home => "home",
            Self::Public => "public",
            Self::Research => "research",
            Self::Retail => "retail",
            Self::Test => "test",
            Self::Work => "work",
        }
    }

    /// Whether the law must be named that allows it.
    pub fn needs_legal_basis(self) -> bool {
        matches!(self, Self::Education | Self::Work)
    }

    /// The names of all, for messages.
    pub fn names() -> String {
        Self::ALL.map(|context| format!("\"{}\"", context.name())).join(", ")
    }
}

/// What the operator of a kiosk states of its use; goes into the journal's first record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Deployment {
    /// Where.
    #[serde(rename = "deployment_context")]
    pub context: DeploymentContext,
    /// Why that is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legal_basis: Option<String>,
}

/// Whether it has several words, and nothing left out as in the sample.
fn is_sentence(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 1);
    let words: BTreeSet<&str> = words.collect();
    words.len() >= LEGAL_BASIS_MIN_WORDS && !text.contains('…') && !text.contains("...")
}

/// What is wrong with what is stated, if anything.
pub fn validate(
    context: Option<DeploymentContext>,
    legal_basis: Option<&str>,
) -> Result<(), String> {
    match (context, legal_basis) {
        (_, Some(basis)) if !is_sentence(basis) => Err(format!(
            "legal_basis = {basis:?}: must be a sentence that names the law and the reason"
        )),
        (Some(context), None) if context.needs_legal_basis() => Err(format!(
            "deployment_context = \"{}\" needs legal_basis: in the EU inferring emotions at work \
             or in education is prohibited but for medical or safety reasons (AI Act, \
             Art. 5(1)(f)); if such a reason allows this kiosk, say so there in a sentence, which \
             is recorded",
            context.name()
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_configuration() {
        for context in DeploymentContext::ALL {
            assert_eq!(serde_json::to_value(context).unwrap(), context.name());
        }
    }

    #[test]
    fn work_and_education_alone_need_a_sentence() {
        for context in DeploymentContext::ALL {
            let refused = validate(Some(context), None).is_err();
            assert_eq!(refused, ["work", "education"].contains(&context.name()), "{context:?}");
            assert!(validate(Some(context), Some("Warns drowsy drivers, safety law §1.")).is_ok());
            let of_the_sample = "Section … of … allows it for the safety of …";
            for no_sentence in ["", "yes", "it is legal", "bla bla bla bla", of_the_sample] {
                assert!(validate(Some(context), Some(no_sentence)).is_err(), "{no_sentence:?}");
            }
        }
    }
}
