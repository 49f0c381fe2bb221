//! Apparent gender, scored by group: whether a model serves women and men, young and old, of any
//! origin alike.

use std::collections::BTreeMap;

use serde::Serialize;

use super::counts::{share, wilson};
use super::reliability::{Judged, reliability};
use crate::expression::Gender;
use crate::lab::offsets;

/// The age from which the project's target counts; children's gender is hard to tell by the face.
pub const LEAST_AGE: u32 = 10;

/// What a pack says of a face.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The label.
    pub is_male: bool,
    /// Age group as the pack writes it, such as `20-29`; empty if the pack has none.
    pub age: String,
    /// The pack's label of origin; empty if it has none.
    pub race: String,
}

/// Accuracy on faces of one group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct GroupScore {
    /// Faces.
    pub n: usize,
    /// Share of faces given the label; none without faces.
    pub accuracy: Option<f64>,
    /// Its 95 % interval.
    pub accuracy_interval: Option<[f64; 2]>,
    /// Share of the women called women; none without women.
    pub recall_female: Option<f64>,
    /// Share of the men called men; none without men.
    pub recall_male: Option<f64>,
}

/// Scores on a pack.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GenderReport {
    /// All faces.
    #[serde(flatten)]
    pub all: GroupScore,
    /// Those of [`LEAST_AGE`] or older, where the pack tells ages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ages_10_and_up: Option<GroupScore>,
    /// The same, or all faces, each by a border between the genders that was fitted on the half of the
    /// faces that it is not in. A model's own offset makes both recalls alike on the faces that it was
    /// fitted on; this tells what they are on others.
    pub cross_fitted: GroupScore,
    /// By age group, the youngest first.
    pub by_age: Groups,
    /// By label of origin.
    pub by_race: Groups,
    /// Expected calibration error of the shares at the file's temperature.
    pub expected_calibration_error: f64,
    /// The same at temperature 1.
    pub expected_calibration_error_uncalibrated: f64,
}

/// Scores by a group's name, in order; in JSON an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Groups(pub Vec<(String, GroupScore)>);

impl Serialize for Groups {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, score)| (name, score)))
    }
}

impl GroupScore {
    /// Scores pairs of label and answer, indices into [`Gender::ALL`].
    fn new(pairs: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut counts = [[0; 2]; 2];
        for (label, answer) in pairs {
            counts[label][answer] += 1;
        }
        let labelled = |gender: Gender| counts[gender as usize].iter().sum::<usize>();
        let right = |gender: Gender| counts[gender as usize][gender as usize];
        let all_right = Gender::ALL.map(right).iter().sum();
        let n = Gender::ALL.map(labelled).iter().sum();
        Self {
            n,
            accuracy: share(all_right, n),
            accuracy_interval: (n > 0).then(|| wilson(all_right, n)),
            recall_female: share(right(Gender::Female), labelled(Gender::Female)),
            recall_male: share(right(Gender::Male), labelled(Gender::Male)),
        }
    }

    /// Men's recall less women's; none unless there are both.
    pub fn gap(&self) -> Option<f64> {
        Some(self.recall_male? - self.recall_female?)
    }
}

impl GenderReport {
    /// Scores the shares of female and male, calibrated and not, that `people` were given.
    pub fn new(people: &[Person], calibrated: &[[f32; 2]], uncalibrated: &[[f32; 2]]) -> Self {
        let answer = |shares: &[f32; 2]| usize::from(shares[1] > shares[0]);
        let pairs: Vec<(&Person, usize)> =
            people.iter().zip(calibrated.iter().map(answer)).collect();
        let scored = |chosen: &dyn Fn(&Person) -> bool| {
            let chosen = pairs.iter().filter(|(person, _)| chosen(person));
            GroupScore::new(chosen.map(|(person, answer)| (usize::from(person.is_male), *answer)))
        };
        let groups = |group: fn(&Person) -> &str| {
            let named = people.iter().map(group).filter(|name| !name.is_empty());
            // By age, then by name: a label of origin has no age.
            let names: BTreeMap<_, _> = named.map(|name| ((first_age(name), name), ())).collect();
            let scores = names.into_keys().map(|(_, name)| {
                (name.to_owned(), scored(&|person: &Person| group(person) == name))
            });
            Groups(scores.collect())
        };
        let old_enough =
            |person: &Person| first_age(&person.age).is_some_and(|age| age >= LEAST_AGE);
        let has_ages = people.iter().any(|person| !person.age.is_empty());
        let error = |shares: &[[f32; 2]]| {
            let judged = people.iter().zip(shares).map(|(person, shares)| {
                let answer = answer(shares);
                Judged { confidence: shares[answer], right: answer == usize::from(person.is_male) }
            });
            reliability(&judged.collect::<Vec<_>>()).expected_calibration_error
        };
        Self {
            all: scored(&|_| true),
            ages_10_and_up: has_ages.then(|| scored(&old_enough)),
            cross_fitted: cross_fitted(people, uncalibrated, &|p| !has_ages || old_enough(p)),
            by_age: groups(|person| &person.age),
            by_race: groups(|person| &person.race),
            expected_calibration_error: error(calibrated),
            expected_calibration_error_uncalibrated: error(uncalibrated),
        }
    }
}

/// The score of those `chosen`, every other face by the border that is best for the others.
fn cross_fitted(
    people: &[Person],
    shares: &[[f32; 2]],
    chosen: &dyn Fn(&Person) -> bool,
) -> GroupScore {
    let margins: Vec<f32> = shares.iter().map(|[female, male]| male.ln() - female.ln()).collect();
    let labels: Vec<usize> = people.iter().map(|person| usize::from(person.is_male)).collect();
    let borders = [0, 1].map(|half| {
        let every_other = (half..people.len()).step_by(2);
        let (margins, labels): (Vec<f32>, Vec<usize>) =
            every_other.map(|i| (margins[i], labels[i])).unzip();
        offsets::equal_recall_border(&margins, &labels)
    });
    let scored = (0..people.len()).filter(|i| chosen(&people[*i]));
    GroupScore::new(scored.map(|i| (labels[i], usize::from(margins[i] >= borders[1 - i % 2]))))
}

/// The first number in a label: 20 in `20-29`, 70 in `more than 70`.
fn first_age(label: &str) -> Option<u32> {
    let digits = label.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty());
    digits.and_then(|digits| digits.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(is_male: bool, age: &str, race: &str) -> Person {
        Person { is_male, age: age.into(), race: race.into() }
    }

    #[test]
    fn groups_are_scored_apart_and_sorted_by_age() {
        let people = [
            person(false, "more than 70", "White"),
            person(true, "3-9", "Black"),
            person(false, "20-29", "Black"),
            person(true, "20-29", "White"),
        ];
        // Called female, female, female, male.
        let shares = [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]];
        let report = GenderReport::new(&people, &shares, &shares);
        assert_eq!((report.all.n, report.all.accuracy), (4, Some(0.75)));
        assert_eq!(report.all.recall_female, Some(1.0));
        assert_eq!(report.all.gap(), Some(-0.5));
        assert_eq!(report.ages_10_and_up.unwrap().accuracy, Some(1.0));
        let ages: Vec<&str> = report.by_age.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(ages, ["3-9", "20-29", "more than 70"]);
        assert_eq!(report.by_age.0[0].1.recall_female, None);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["n"], 4);
        assert_eq!(json["by_race"]["Black"]["recall_male"], 0.0);
        assert_eq!(json["by_age"]["20-29"]["n"], 2);
    }

    /// 400 faces whose margins tell the gender, but all too low by 1: a border at 0 calls half of the
    /// men women, one fitted on either half none.
    #[test]
    fn each_half_is_scored_by_a_border_fitted_on_the_other() {
        let people: Vec<Person> = (0..400).map(|i| person(i % 3 == 0, "20-29", "")).collect();
        let shares = people.iter().enumerate().map(|(i, person)| {
            let margin = if person.is_male { 0.5 } else { -1.5 } + 0.9 * (i % 7) as f32 / 7.0 - 0.9;
            let male = 1.0 / (1.0 + (-margin).exp());
            [1.0 - male, male]
        });
        let shares: Vec<[f32; 2]> = shares.collect();
        let report = GenderReport::new(&people, &shares, &shares);
        assert!(report.all.recall_male.unwrap() < 0.6, "{:?}", report.all);
        assert_eq!(report.cross_fitted.accuracy, Some(1.0));
        // Where one half's margins are all higher, a border of its own would still be right.
        let higher = |(i, [female, male]): (usize, &[f32; 2])| {
            let odds = male / female * if i % 2 == 1 { 1e3 } else { 1.0 };
            [1.0 / (1.0 + odds), odds / (1.0 + odds)]
        };
        let shares: Vec<[f32; 2]> = shares.iter().enumerate().map(higher).collect();
        let report = GenderReport::new(&people, &shares, &shares);
        let accuracy = report.cross_fitted.accuracy.unwrap();
        assert!((0.4..0.6).contains(&accuracy), "{accuracy}");
    }

    #[test]
    fn a_pack_without_ages_has_no_groups() {
        let report = GenderReport::new(&[person(true, "", "")], &[[0.4, 0.6]], &[[0.4, 0.6]]);
        assert_eq!((report.ages_10_and_up, report.by_age.0.len()), (None, 0));
        assert!((report.expected_calibration_error - 0.4).abs() < 1e-6);
    }
}
