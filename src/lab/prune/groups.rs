//! Channels that can only be removed together.
//!
//! Only a convolution makes channels of its own; every other operation hands on its inputs'. So
//! the values between convolutions fall into groups that share their channels: a batch norm, a
//! pool or a depthwise convolution has those of what it reads, and the two inputs of an addition,
//! with it all outputs of a chain of residual blocks, have the same. Channel `c` of a group goes
//! from all of its values at once: the filters `c` of the convolutions that make it, everything
//! held by channel between, and the inputs `c` of the convolutions that read it.

use super::super::network::{Graph, Op};

/// Values that share their channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// How many channels it has.
    pub channels: usize,
    /// The nodes that give these values, in order.
    pub nodes: Vec<usize>,
    /// The convolutions among them, whose filters are the channels.
    pub makers: Vec<usize>,
    /// The convolutions that read such a value.
    pub readers: Vec<usize>,
}

/// The groups of a graph that may be narrowed: all but the input's and the logits'.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// In the order of their first nodes.
    pub groups: Vec<Group>,
    /// The group of each node's value; none where it must stay as it is.
    pub of_node: Vec<Option<usize>>,
}

impl Groups {
    /// Finds a graph's groups.
    pub fn of(graph: &Graph) -> Self {
        let mut sets = Sets((0..graph.nodes.len()).collect());
        for (i, node) in graph.nodes.iter().enumerate() {
            match node.op {
                Op::Input | Op::Conv { .. } => {}
                Op::Depthwise { .. }
                | Op::BatchNorm { .. }
                | Op::MaxPool
                | Op::Add { .. }
                | Op::Dropout { .. }
                | Op::GlobalAveragePool
                | Op::FakeQuant(_) => node.inputs.iter().for_each(|&input| sets.join(i, input)),
            }
        }
        let last = graph.nodes.len().saturating_sub(1);
        let stays = |i: &usize| *i == last || graph.nodes[*i].op == Op::Input;
        let fixed: Vec<usize> =
            (0..graph.nodes.len()).filter(stays).map(|i| sets.first(i)).collect();
        let mut groups: Vec<Group> = Vec::new();
        let mut of_node = vec![None; graph.nodes.len()];
        for (i, node) in graph.nodes.iter().enumerate() {
            let first = sets.first(i);
            if fixed.contains(&first) {
                continue;
            }
            // A set's first node comes before its others, so that its group is already there.
            let group = of_node[first].unwrap_or(groups.len());
            of_node[i] = Some(group);
            if group == groups.len() {
                let channels = node.shape[2];
                groups.push(Group { channels, nodes: vec![], makers: vec![], readers: vec![] });
            }
            groups[group].nodes.push(i);
        }
        for (i, node) in graph.nodes.iter().enumerate() {
            if let Op::Conv { .. } = node.op {
                if let Some(group) = of_node[i] {
                    groups[group].makers.push(i);
                }
                if let Some(group) = of_node[node.inputs[0]] {
                    groups[group].readers.push(i);
                }
            }
        }
        Self { groups, of_node }
    }

    /// Gives a group's values in `graph` so many channels.
    pub fn set_width(&self, graph: &mut Graph, group: usize, channels: usize) {
        self.groups[group].nodes.iter().for_each(|&node| graph.nodes[node].shape[2] = channels);
    }
}

/// Disjoint sets of nodes: each points to an earlier one of its set, the first to itself.
struct Sets(Vec<usize>);

impl Sets {
    fn first(&self, mut node: usize) -> usize {
        while self.0[node] != node {
            node = self.0[node];
        }
        node
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.first(a), self.first(b));
        self.0[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::network::{Block, Down, Preset};

    /// Names of each group's nodes.
    fn names(preset: &Preset) -> Vec<Vec<String>> {
        let graph = Graph::build(preset);
        let groups = Groups::of(&graph).groups.into_iter();
        groups.map(|g| g.nodes.iter().map(|&i| graph.nodes[i].name.clone()).collect()).collect()
    }

    #[test]
    fn a_chain_of_residual_blocks_is_one_group_and_each_inner_width_its_own() {
        let preset = Preset {
            stem: [4, 6],
            blocks: vec![Block::new(8, 2, Down::MaxPool), Block::new(8, 2, Down::No)],
            ..Preset::slim()
        };
        let expected: [&[&str]; 5] = [
            &["a", "a_norm"],
            &["b", "b_norm", "b_pool", "block1_depthwise1"],
            &["block1_pointwise1", "block1_norm1", "block1_depthwise2"],
            &[
                "block1_pointwise2",
                "block1_norm2",
                "block1_pool",
                "block1_residual",
                "block1_residual_norm",
                "block1_add",
                "block2_depthwise1",
                "block2_pointwise2",
                "block2_norm2",
                "block2_add",
                "dropout",
            ],
            &["block2_pointwise1", "block2_norm1", "block2_depthwise2"],
        ];
        assert_eq!(names(&preset), expected);
        let graph = Graph::build(&preset);
        let chain = &Groups::of(&graph).groups[3];
        let named = |nodes: &[usize]| -> Vec<&str> {
            nodes.iter().map(|&i| graph.nodes[i].name.as_str()).collect()
        };
        let makers = ["block1_pointwise2", "block1_residual", "block2_pointwise2"];
        assert_eq!(named(&chain.makers), makers);
        assert_eq!(named(&chain.readers), ["block2_pointwise1", "head"]);
    }

    /// An identity shortcut from the stem ties the stem's second width to the blocks'.
    #[test]
    fn a_shortcut_from_the_stem_ties_it_to_the_block() {
        let preset =
            Preset { stem: [4, 8], blocks: vec![Block::new(8, 1, Down::No)], ..Preset::slim() };
        let names = names(&preset);
        assert_eq!(names.len(), 2);
        assert!(names[1].contains(&"b_norm".into()) && names[1].contains(&"block1_add".into()));
    }

    #[test]
    fn the_input_and_the_logits_are_in_no_group() {
        for preset in [Preset::slim(), Preset::reference()] {
            let graph = Graph::build(&preset);
            let groups = Groups::of(&graph);
            let fixed: Vec<&str> = (graph.nodes.iter().zip(&groups.of_node))
                .filter(|(_, group)| group.is_none())
                .map(|(node, _)| node.name.as_str())
                .collect();
            assert_eq!(fixed, ["input", "head", "logits"]);
        }
    }
}
