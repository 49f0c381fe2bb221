//! Values that must share one code.
//!
//! Pooling, zero padding and concatenation keep their inputs' codes, and tract adds int8 values only if both
//! inputs and the output share scale and zero point. So a chain of residual additions, and what is pooled into
//! it, is one group, back to the convolutions that produce it.

use super::super::float::{FloatGraph, Op};

/// The group of each value, and the groups.
pub struct Ties {
    group_of: Vec<usize>,
    groups: Vec<Vec<usize>>,
}

impl Ties {
    /// Finds a graph's groups (a union-find over its values).
    pub fn of(graph: &FloatGraph) -> Self {
        let mut parent: Vec<usize> = (0..graph.nodes.len()).collect();
        for (value, node) in graph.nodes.iter().enumerate() {
            if !matches!(node.op, Op::Input | Op::Conv(_) | Op::Depthwise(_)) {
                for &input in &node.inputs {
                    let (a, b) = (root(&parent, value), root(&parent, input));
                    parent[a.max(b)] = a.min(b);
                }
            }
        }
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut group_of: Vec<usize> = Vec::with_capacity(parent.len());
        for value in 0..parent.len() {
            // A root is its group's first value, so its group is known when a member comes.
            let first = root(&parent, value);
            if first == value {
                group_of.push(groups.len());
                groups.push(vec![value]);
            } else {
                let group = group_of[first];
                group_of.push(group);
                groups[group].push(value);
            }
        }
        Self { group_of, groups }
    }

    /// The index of a value's group.
    pub fn group_of(&self, value: usize) -> usize {
        self.group_of[value]
    }

    /// Values of each group, in the graph's order.
    pub fn groups(&self) -> &[Vec<usize>] {
        &self.groups
    }
}

fn root(parent: &[usize], mut value: usize) -> usize {
    while parent[value] != value {
        value = parent[value];
    }
    value
}

#[cfg(test)]
mod tests {
    use super::super::tests::{lowered, random_checkpoint};
    use super::*;
    use crate::lab::network::Preset;

    /// Each block of a stage adds to the sum of the one before, so the stage is one group.
    #[test]
    fn a_chain_of_residual_additions_is_one_group() {
        let checkpoint = random_checkpoint(Preset::named("slim").unwrap(), 1);
        let graph = lowered(&checkpoint);
        let ties = Ties::of(&graph);
        let group = |name: &str| {
            ties.group_of(graph.nodes.iter().position(|node| node.name == name).unwrap())
        };
        let members = ["block1_pointwise2", "block1_residual", "block1_add", "block4_pointwise2"];
        assert!(members.iter().all(|name| group(name) == group("block2_add")));
        assert_eq!(group("b"), group("b_pool"));
        assert_ne!(group("block4_add"), group("block5_add"));
        assert_ne!(group("block1_pointwise1"), group("block1_add"));
    }
}
