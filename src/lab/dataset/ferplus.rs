//! FER+: ten taggers' votes for each row of FER2013 (Barsoum et al. 2016).

use std::path::Path;

use super::{DatasetError, LabelledFace, Usage, columns, for_each_line, open};

/// How many taggers chose what for one face.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Votes {
    /// By [`crate::expression::Expression`].
    pub expressions: [u8; 7],
    /// For contempt, which is none of the seven.
    pub contempt: u8,
    /// For not knowing.
    pub unknown: u8,
    /// For the picture showing no face.
    pub not_a_face: u8,
}

impl Votes {
    /// The votes' shares among the seven expressions; `None` if none got a vote.
    pub fn shares(&self) -> Option<[f32; 7]> {
        let sum: f32 = self.expressions.iter().copied().map(f32::from).sum();
        (sum > 0.0).then(|| self.expressions.map(|votes| f32::from(votes) / sum))
    }

    /// FER+'s majority label: the expression with more votes than any other answer. `None` on a
    /// tie, or where contempt, unknown or not-a-face leads.
    pub fn majority(&self) -> Option<usize> {
        let most = *self.expressions.iter().max()?;
        let others = [self.contempt, self.unknown, self.not_a_face];
        let leaders = self.expressions.iter().chain(&others).filter(|votes| **votes >= most);
        (leaders.count() == 1).then(|| self.expressions.iter().position(|votes| *votes == most))?
    }
}

/// Reads `fer2013new.csv` and gives each of `faces`, FER2013's rows in their order, its votes.
pub fn join(path: &Path, faces: &mut [LabelledFace]) -> Result<(), DatasetError> {
    let mut reader = csv::Reader::from_reader(open(path)?);
    let [usage] = columns(path, &mut reader, ["Usage"])?;
    let names = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"];
    let expressions = columns(path, &mut reader, names)?;
    let others = columns(path, &mut reader, ["contempt", "unknown", "NF"])?;
    let mut rows = 0;
    for_each_line(path, &mut reader, |record| {
        let count = |column: usize| {
            let text = record[column].trim();
            text.parse::<u8>().map_err(|_| format!("{text:?} is not a count of votes"))
        };
        let mut votes = Votes::default();
        for (votes, column) in votes.expressions.iter_mut().zip(expressions) {
            *votes = count(column)?;
        }
        let [contempt, unknown, not_a_face] = others;
        votes.contempt = count(contempt)?;
        votes.unknown = count(unknown)?;
        votes.not_a_face = count(not_a_face)?;
        if let Some(face) = faces.get_mut(rows) {
            if Usage::named(&record[usage])? != face.usage {
                let (theirs, ours) = (&record[usage], face.usage);
                return Err(format!("its Usage is {theirs}, that of the face {ours:?}"));
            }
            face.votes = Some(votes);
        }
        rows += 1;
        Ok(())
    })?;
    if rows != faces.len() {
        let why = format!("{rows} rows of votes do not match {} rows of faces", faces.len());
        return Err(DatasetError::Shape { path: path.into(), why });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Grey;

    const HEADER: &str = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,\
                          contempt,unknown,NF";

    fn joined(rows: &str) -> Result<Vec<LabelledFace>, DatasetError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("votes.csv");
        std::fs::write(&path, format!("{HEADER}\n{rows}")).unwrap();
        let face =
            |usage| LabelledFace { face: Grey::zeros((48, 48)), label: 0, usage, votes: None };
        let mut faces = vec![face(Usage::Training), face(Usage::PublicTest)];
        join(&path, &mut faces)?;
        Ok(faces)
    }

    #[test]
    fn votes_go_to_the_rows_in_their_order() {
        let faces = joined("Training,a,4,0,0,1,3,2,0,0,0,0\nPublicTest,b,0,0,0,0,0,0,0,0,0,9\n");
        let votes = |i: usize| faces.as_ref().unwrap()[i].votes.unwrap();
        assert_eq!(votes(0).expressions, [3, 2, 0, 0, 1, 0, 4]);
        assert_eq!(votes(0).shares(), Some([0.3, 0.2, 0.0, 0.0, 0.1, 0.0, 0.4]));
        assert_eq!((votes(1).not_a_face, votes(1).shares()), (9, None));
    }

    #[test]
    fn votes_that_do_not_match_are_refused() {
        let good = "Training,a,4,0,0,1,3,2,0,0,0,0\n";
        for (rows, words) in [
            (good.into(), "1 rows of votes do not match 2 rows of faces"),
            (good.repeat(2), "line 3: its Usage is Training, that of the face PublicTest"),
            (good.replace("3,2", "3,x"), "line 2: \"x\" is not a count of votes"),
            (good.replace("3,2", "3,-2"), "line 2: \"-2\" is not a count of votes"),
            ("Training,a,4\n".into(), "line 2"),
        ] {
            let error = joined(&rows).unwrap_err().to_string();
            assert!(error.contains("votes.csv") && error.contains(words), "{error} / {words}");
        }
    }

    #[test]
    fn the_majority_has_more_votes_than_any_other_answer() {
        let of = |expressions, [contempt, unknown, not_a_face]: [u8; 3]| {
            Votes { expressions, contempt, unknown, not_a_face }.majority()
        };
        assert_eq!(of([0, 0, 0, 6, 0, 0, 4], [0; 3]), Some(3));
        assert_eq!(of([0, 0, 0, 5, 0, 0, 5], [0; 3]), None);
        assert_eq!(of([0, 0, 4, 0, 0, 2, 0], [3, 1, 0]), Some(2));
        assert_eq!(of([0, 0, 4, 0, 0, 0, 0], [4, 0, 0]), None);
        assert_eq!(of([0, 0, 4, 0, 0, 0, 0], [0, 6, 0]), None);
        assert_eq!(of([0, 0, 4, 0, 0, 0, 0], [0, 0, 6]), None);
        assert_eq!(of([0; 7], [0; 3]), None);
    }
}
