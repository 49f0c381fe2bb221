//! On random networks of the family: what a cut leaves is what it should be.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

use super::cut::cut_checkpoint;
use super::groups::Groups;
use super::importance::{Taylor, Worth};
use crate::lab::checkpoint::{Checkpoint, Params, initialize};
use crate::lab::executor::{Executor, Weights};
use crate::lab::network::{Block, Down, Graph, INPUT_SIDE, LOGITS, Op, Preset};

const NETWORKS: u64 = 12;
const PICTURES: usize = 3;
/// By how much a channel is scaled to see what it does to the loss.
const STEP: f32 = 2e-3;
const PIXELS: usize = INPUT_SIDE * INPUT_SIDE;

/// Both stems, blocks of up to three separable convolutions, every way down, identity shortcuts
/// and convolved ones, and widths between that differ.
fn random_preset(random: &mut fastrand::Rng) -> Preset {
    let mut width = random.usize(2..9);
    let stem = [random.usize(2..7), width];
    let mut block = || {
        if random.bool() {
            width = random.usize(2..9);
        }
        let down = [Down::No, Down::No, Down::MaxPool, Down::Stride][random.usize(..4)];
        let depth = random.usize(1..4);
        let mut block = Block::new(width, depth, down);
        if random.bool() {
            block.inner = (1..depth).map(|_| random.usize(2..9)).collect();
        }
        block
    };
    let blocks = (0..4).map(|_| block()).collect();
    Preset {
        name: "random".into(),
        stem,
        stem_stride: random.usize(1..3),
        stem_norm_after_relu: random.bool(),
        stem_pool: random.bool(),
        blocks,
        relu_after_add: random.bool(),
        dropout: 0.1,
    }
}

/// Every tensor of its own random values; variances are positive.
fn random_checkpoint(preset: Preset, seed: u64) -> Checkpoint {
    let mut rng = Pcg64::seed_from_u64(seed);
    let mut normal = || -> f32 { StandardNormal.sample(&mut rng) };
    let mut params = initialize(&Graph::build(&preset), &mut normal);
    for (name, tensor) in &mut params {
        if name.ends_with(".variance") {
            tensor.data.fill_with(|| 0.5 + normal().abs());
        } else if !name.ends_with(".weight") {
            tensor.data.fill_with(&mut normal);
        }
    }
    Checkpoint { preset, params, notes: BTreeMap::new() }
}

/// For each group some of its channels, in order, at least one.
fn random_kept(groups: &Groups, random: &mut fastrand::Rng) -> Vec<Vec<usize>> {
    let of = |channels: usize| {
        let left = random.usize(1..=channels);
        let mut kept = random.choose_multiple(0..channels, left);
        kept.sort_unstable();
        kept
    };
    groups.groups.iter().map(|group| group.channels).map(of).collect()
}

fn all_kept(groups: &Groups) -> Vec<Vec<usize>> {
    groups.groups.iter().map(|group| (0..group.channels).collect()).collect()
}

fn pictures(seed: u64) -> Vec<f32> {
    let mut rng = Pcg64::seed_from_u64(seed);
    (0..PICTURES * PIXELS).map(|_| StandardNormal.sample(&mut rng)).collect()
}

fn logits(checkpoint: &Checkpoint, seed: u64) -> Vec<f32> {
    let mut executor = Executor::new(Graph::build(&checkpoint.preset));
    let weights = Weights::from_params(executor.graph(), &checkpoint.params).unwrap();
    executor.infer(&weights, &pictures(seed)).to_vec()
}

/// Multiplies by `factor` what the readers of each group make of its channels not in `kept`.
fn scale_removed(params: &mut Params, graph: &Graph, kept: &[Vec<usize>], factor: f32) {
    for (group, kept) in Groups::of(graph).groups.iter().zip(kept) {
        for reader in &group.readers {
            let name = format!("{}.weight", graph.nodes[*reader].name);
            let weight = &mut params.get_mut(&name).unwrap().data;
            for (i, w) in weight.iter_mut().enumerate() {
                if !kept.contains(&(i % group.channels)) {
                    *w *= factor;
                }
            }
        }
    }
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = a.iter().fold(1e-3f32, |max, v| max.max(v.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs() / scale).fold(0.0, f32::max)
}

/// Each random network, its groups, and a choice of channels.
fn for_random_networks(mut check: impl FnMut(u64, Checkpoint, Graph, Groups, Vec<Vec<usize>>)) {
    for seed in 0..NETWORKS {
        let mut random = fastrand::Rng::with_seed(seed);
        let checkpoint = random_checkpoint(random_preset(&mut random), seed);
        let graph = Graph::build(&checkpoint.preset);
        let groups = Groups::of(&graph);
        let kept = random_kept(&groups, &mut random);
        check(seed, checkpoint, graph, groups, kept);
    }
}

#[test]
fn channels_that_read_as_zero_can_go_without_a_change() {
    let (mut fewer, mut unchanged) = (0, 0);
    for_random_networks(|seed, mut checkpoint, graph, groups, kept| {
        let before = logits(&checkpoint, seed);
        scale_removed(&mut checkpoint.params, &graph, &kept, 0.0);
        let zeroed = logits(&checkpoint, seed);
        let narrow = cut_checkpoint(&checkpoint, &groups, &kept, "narrow".into());
        let after = logits(&narrow, seed);
        // Sums over fewer products may round otherwise.
        assert!(distance(&zeroed, &after) < 1e-4, "{:?}", checkpoint.preset);
        let changed = distance(&zeroed, &before) > 1e-3;
        let may_not = checkpoint.preset.relu_after_add;
        assert!(changed || may_not, "the channels counted: {:?}", checkpoint.preset);
        unchanged += usize::from(!changed);
        fewer += usize::from(Graph::build(&narrow.preset).macs() < graph.macs());
    });
    assert_eq!(fewer, NETWORKS as usize);
    // Behind a ReLU a channel of random weights may be zero anyway, but seldom is.
    assert!(unchanged <= NETWORKS as usize / 10, "{unchanged} networks did without the channels");
}

#[test]
fn a_cut_checkpoint_is_written_and_read_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("narrow.safetensors");
    let mut projections = 0;
    for_random_networks(|_, checkpoint, _, groups, kept| {
        let narrow = cut_checkpoint(&checkpoint, &groups, &kept, "narrow".into());
        assert_eq!(narrow.preset.fault(), None);
        narrow.write(&path).unwrap();
        assert_eq!(Checkpoint::read(&path).unwrap(), narrow);
        projections += narrow.preset.blocks.iter().filter(|block| block.projection).count();
    });
    assert!(projections > 0, "no block was left with a convolved shortcut between equal widths");
}

#[test]
fn nothing_changes_where_everything_is_kept() {
    for_random_networks(|_, checkpoint, _, groups, _| {
        let all = all_kept(&groups);
        let name = checkpoint.preset.name.clone();
        let Checkpoint { preset, params, .. } = cut_checkpoint(&checkpoint, &groups, &all, name);
        assert_eq!(Graph::build(&preset), Graph::build(&checkpoint.preset));
        assert_eq!(params, checkpoint.params);
    });
}

/// Taylor's worth of one batch is the square of the loss's slope, as differences of losses have it;
/// here the loss is a random direction of the logits.
#[test]
fn taylors_worth_is_the_slope_of_the_loss() {
    let (mut close, mut all) = (0, 0);
    for_random_networks(|seed, checkpoint, graph, groups, _| {
        let (pictures, direction) = (pictures(seed), pictures(seed + 100));
        let mut executor = Executor::new(graph.clone());
        let mut loss = |params: &Params| -> f64 {
            let mut weights = Weights::from_params(&graph, params).unwrap();
            let mut rng = Pcg64::seed_from_u64(0); // dropout's
            let logits = executor.train_forward(&mut weights, &pictures, &mut rng);
            logits.iter().zip(&direction).map(|(l, d)| f64::from(*l) * f64::from(*d)).sum()
        };
        let mut slopes = Vec::new();
        for (g, group) in groups.groups.iter().enumerate() {
            let mut all_but_first = all_kept(&groups);
            all_but_first[g].remove(0);
            let mut scaled = |factor: f32| {
                let mut params = checkpoint.params.clone();
                scale_removed(&mut params, &graph, &all_but_first, factor);
                loss(&params)
            };
            let slope = (scaled(1.0 + STEP) - scaled(1.0 - STEP)) / (2.0 * f64::from(STEP));
            slopes.push((slope, group.channels));
        }
        loss(&checkpoint.params);
        let weights = Weights::from_params(&graph, &checkpoint.params).unwrap();
        let mut gradients = weights.zeros_like();
        executor.backward(&weights, &direction[..PICTURES * LOGITS], &mut gradients);
        let mut taylor = Taylor::new(&groups);
        taylor.add(&groups, &weights, &gradients);
        let worth = taylor.worth();
        for ((slope, channels), worth) in slopes.iter().zip(&worth.of) {
            assert_eq!(worth.len(), *channels);
            let expected = worth[0].sqrt();
            let far = (expected - slope.abs()).abs() / expected.max(slope.abs()).max(0.1);
            close += usize::from(far < 0.1);
            all += 1;
        }
    });
    // Where a ReLU or a maximum turns within the step, differences say something else.
    assert!(close * 10 > all * 9, "{close} of {all}");
}

#[test]
fn filters_and_scales_are_summed_over_a_group() {
    for_random_networks(|_, checkpoint, graph, groups, _| {
        let weights = Weights::from_params(&graph, &checkpoint.params).unwrap();
        let filters = Worth::by_filters(&groups, &weights);
        let scales = Worth::by_scales(&graph, &groups, &weights);
        for (g, group) in groups.groups.iter().enumerate() {
            let channel = group.channels - 1;
            let (mut filter, mut scale) = (0.0, 0.0);
            for &i in &group.nodes {
                let tensor =
                    |name: &str| &checkpoint.params[&format!("{}.{name}", graph.nodes[i].name)];
                match graph.nodes[i].op {
                    Op::Conv { .. } => {
                        let weight = &tensor("weight").data;
                        let len = weight.len() / group.channels;
                        filter += weight[channel * len..].iter().map(|w| w.abs()).sum::<f32>();
                    }
                    Op::BatchNorm { .. } => scale += tensor("gamma").data[channel].abs(),
                    _ => {}
                }
            }
            assert!((filters.of[g][channel] - f64::from(filter)).abs() < 1e-3);
            assert!((scales.of[g][channel] - f64::from(scale)).abs() < 1e-3);
        }
    });
}
