//! The training loop: one network, two heads, two data sets.
//!
//! Each batch mixes FER2013 faces (expression) with faces of a gender pack; a face counts only
//! for the head it is labelled for. After each epoch the run's folder holds the averaged weights
//! (`model.safetensors`) and everything that going on needs (`resume.safetensors`). A run that
//! was interrupted goes on after its last whole epoch and ends with the same weights as one that
//! was not: every random draw follows from the seed and the step.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::Array2;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_distr_free::normal;
use rand_pcg::Pcg64;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::augment::augment;
use super::checkpoint::{self, Checkpoint, CheckpointError, Params, initialize};
use super::executor::{Executor, Weights};
use super::loss::{Losses, Target, cross_entropy};
use super::network::{GENDER_LOGITS, Graph, LOGITS, Preset};
use super::optimizer::{AdamW, average_weights};
use crate::face::FACE_SIDE;

const FACE_PIXELS: usize = FACE_SIDE * FACE_SIDE;
