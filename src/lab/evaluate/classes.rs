//! Which classes are scored: the seven expressions, or fewer.
//!
//! A merge is a list of items: `happy` keeps an expression, `negative=angry+disgust+fear+sad` makes
//! one class of several, whose shares add up. If any expression is kept by its bare name, all that
//! the list doesn't name become one class `other`; if there are groups only, they stay themselves.

use crate::expression::Expression;

/// The class of what a list with bare names does not name.
const OTHER: &str = "other";

/// Classes, each of one or more expressions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classes {
    names: Vec<String>,
    /// By [`Expression`].
    class_of: [usize; 7],
}

/// A merge that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// No such expression.
    #[error("{name:?} is no expression; there are {}", Expression::ALL.map(Expression::name).join(", "))]
    Unknown {
        /// What it was called.
        name: String,
    },
    /// An expression in two places.
    #[error("{name} is named twice; each expression goes into one class")]
    Twice {
        /// Its name.
        name: &'static str,
    },
    /// Two classes of one name, or one without.
    #[error("{name:?} can't name a class here; give each a name of its own")]
    Name {
        /// The name.
        name: String,
    },
    /// All in one class.
    #[error("this makes one class of all expressions; leave at least two")]
    One,
}

impl Default for Classes {
    /// The seven expressions.
    fn default() -> Self {
        Self {
            names: Expression::ALL.map(|e| e.name().to_owned()).to_vec(),
            class_of: Expression::ALL.map(|e| e as usize),
        }
    }
}

impl Classes {
    /// Reads merges, lists separated by commas; none keeps the seven. See the module's text.
    pub fn merged(lists: &[String]) -> Result<Self, MergeError> {
        let items: Vec<&str> = lists.iter().flat_map(|list| list.split(',')).collect();
        if items.is_empty() {
            return Ok(Self::default());
        }
        let mut names = Vec::new();
        let mut class_of = [None; 7];
        for item in &items {
            let (name, members) = item.split_once('=').unwrap_or((item, item));
            let mut members = members.split('+').map(str::trim);
            members.try_for_each(|member| take(&mut class_of, member, names.len()))?;
            names.push(name.trim().to_owned());
        }
        let bare_names = items.iter().any(|item| !item.contains('='));
        let mut other = None;
        for expression in Expression::ALL {
            let class = &mut class_of[expression as usize];
            if class.is_none() && bare_names {
                *class = Some(*other.get_or_insert_with(|| push(&mut names, OTHER)));
            } else if class.is_none() {
                *class = Some(push(&mut names, expression.name()));
            }
        }
        let unusable = |(i, name): (usize, &String)| name.is_empty() || names[..i].contains(name);
        if let Some(i) = (0..names.len()).find(|&i| unusable((i, &names[i]))) {
            return Err(MergeError::Name { name: names[i].clone() });
        }
        if names.len() < 2 {
            return Err(MergeError::One);
        }
        Ok(Self { names, class_of: class_of.map(|class| class.expect("each was given one")) })
    }

    /// Names, by class.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The class of an expression, by its index into [`Expression::ALL`].
    pub fn of(&self, expression: usize) -> usize {
        self.class_of[expression]
    }

    /// The shares of the classes, out of those of the expressions.
    pub fn shares(&self, expressions: &[f32; 7]) -> Vec<f32> {
        let mut shares = vec![0.0; self.names.len()];
        for (share, class) in expressions.iter().zip(self.class_of) {
            shares[class] += share;
        }
        shares
    }
}

/// Puts the expression called `name` into `class`.
fn take(class_of: &mut [Option<usize>; 7], name: &str, class: usize) -> Result<(), MergeError> {
    let expression = Expression::ALL.into_iter().find(|e| e.name() == name);
    let expression = expression.ok_or_else(|| MergeError::Unknown { name: name.into() })?;
    match class_of[expression as usize].replace(class) {
        None => Ok(()),
        Some(_) => Err(MergeError::Twice { name: expression.name() }),
    }
}

/// Adds a class and gives its index.
fn push(names: &mut Vec<String>, name: &str) -> usize {
    names.push(name.into());
    names.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(lists: &[&str]) -> Result<Classes, MergeError> {
        Classes::merged(&lists.iter().map(|&list| list.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn bare_names_are_kept_and_the_rest_is_other() {
        let classes = merged(&["happy,neutral"]).unwrap();
        assert_eq!(classes.names(), ["happy", "neutral", "other"]);
        assert_eq!((classes.of(3), classes.of(6), classes.of(0)), (0, 1, 2));
        let shares = classes.shares(&[0.1, 0.1, 0.1, 0.4, 0.1, 0.1, 0.1]);
        for (share, expected) in shares.iter().zip([0.4, 0.1, 0.5]) {
            assert!((share - expected).abs() < 1e-6, "{shares:?}");
        }
    }

    #[test]
    fn groups_leave_the_rest_as_it_is() {
        let classes = merged(&["negative=angry+disgust+fear+sad"]).unwrap();
        assert_eq!(classes.names(), ["negative", "happy", "surprise", "neutral"]);
        let classes = merged(&["bad=angry+sad", "happy"]).unwrap();
        assert_eq!(classes.names(), ["bad", "happy", "other"]);
        assert_eq!(merged(&[]).unwrap(), Classes::default());
        let all = "angry,disgust,fear,happy,sad,surprise,neutral";
        assert_eq!(merged(&[all]).unwrap(), Classes::default());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (list, words) in [
            ("hapy", "\"hapy\" is no expression"),
            ("happy,happy", "named twice"),
            ("happy,good=happy+surprise", "happy is named twice"),
            ("=happy+sad", "\"\" can't name"),
            ("sad=happy+neutral", "\"sad\" can't name"),
            ("other=happy+sad,neutral", "\"other\" can't name"),
            ("all=angry+disgust+fear+happy+sad+surprise+neutral", "at least two"),
            ("happy,,sad", "\"\" is no expression"),
        ] {
            let error = merged(&[list]).unwrap_err().to_string();
            assert!(error.contains(words), "{list}: {error}");
        }
    }
}
