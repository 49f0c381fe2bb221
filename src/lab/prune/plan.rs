//! Which channels go: those worth least for what they save, until the budget holds.

use std::fmt;

use super::super::network::Graph;
use super::groups::Groups;
use super::importance::Worth;

/// What a network costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Multiply-accumulates of one face.
    pub macs: u64,
    /// Bytes of its int8 file, see [`Graph::int8_bytes`].
    pub bytes: u64,
    /// Channels, see [`Graph::channels`].
    pub channels: u64,
}

impl Cost {
    /// Of a graph.
    pub fn of(graph: &Graph) -> Self {
        Self { macs: graph.macs(), bytes: graph.int8_bytes(), channels: graph.channels() }
    }

    /// Costs and their limits in `budget`, where there is one.
    fn limited(self, budget: &Budget) -> impl Iterator<Item = (u64, u64)> {
        let limited = [
            (self.macs, budget.macs),
            (self.bytes, budget.bytes),
            (self.channels, budget.channels),
        ];
        limited.into_iter().filter_map(|(cost, limit)| Some((cost, limit?)))
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { macs, bytes, channels } = self;
        let mmac = *macs as f64 / 1e6;
        write!(f, "{mmac:.2} MMAC, about {bytes} bytes in int8, {channels} channels")
    }
}

/// What a network may cost; no limit where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Most multiply-accumulates of one face.
    pub macs: Option<u64>,
    /// Most bytes of its int8 file.
    pub bytes: Option<u64>,
    /// Most channels.
    pub channels: Option<u64>,
}

impl Budget {
    /// Whether `cost` is within it.
    pub fn holds(&self, cost: Cost) -> bool {
        cost.limited(self).all(|(cost, limit)| cost <= limit)
    }

    /// The budget after `step` of `steps` that go from the cost `from` to this one, each by the
    /// same factor. A limit above `from` is not approached but stays.
    pub fn on_the_way(&self, from: Cost, step: u32, steps: u32) -> Self {
        let share = f64::from(step) / f64::from(steps.max(1));
        let between = |from: u64, limit: u64| {
            let factor = (limit as f64 / from.max(1) as f64).min(1.0).powf(share);
            limit.max((from as f64 * factor) as u64)
        };
        Self {
            macs: self.macs.map(|limit| between(from.macs, limit)),
            bytes: self.bytes.map(|limit| between(from.bytes, limit)),
            channels: self.channels.map(|limit| between(from.channels, limit)),
        }
    }

    /// What a step from `before` to `after` saves of the limits that `before` is above, in parts
    /// of these.
    fn saved(&self, before: Cost, after: Cost) -> f64 {
        let pairs = before.limited(self).zip(after.limited(self));
        let above = pairs.filter(|((before, limit), _)| before > limit);
        above.map(|((before, limit), (after, _))| (before - after) as f64 / limit as f64).sum()
    }
}

/// A budget that no cut reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the budget is out of reach: with {align} channels left in each group the network still costs \
     {least}; allow more, or take a smaller --align"
)]
pub struct OutOfReach {
    least: Cost,
    align: usize,
}

/// The channels of each group that stay, in order, so that `graph` is within `budget`.
///
/// A group is narrowed to multiples of `align` channels, of which it keeps one. At each turn the
/// group goes first whose least worthy channels cost least for what they save.
pub fn choose(
    graph: &Graph,
    groups: &Groups,
    worth: &Worth,
    budget: &Budget,
    align: usize,
) -> Result<Vec<Vec<usize>>, OutOfReach> {
    let mut graph = graph.clone();
    // The worthiest first.
    let mut kept: Vec<Vec<usize>> = worth.of.iter().map(|worth| by_worth(worth)).collect();
    loop {
        let cost = Cost::of(&graph);
        if budget.holds(cost) {
            break;
        }
        let mut best: Option<(f64, usize, usize)> = None;
        for (group, channels) in kept.iter().enumerate() {
            let Some(left) = narrower(channels.len(), align) else { continue };
            groups.set_width(&mut graph, group, left);
            let saved = budget.saved(cost, Cost::of(&graph));
            groups.set_width(&mut graph, group, channels.len());
            let price = loss(worth, group, channels, left) / saved;
            if best.is_none_or(|(least, ..)| price.total_cmp(&least).is_lt()) {
                best = Some((price, group, left));
            }
        }
        let (_, group, left) = best.ok_or(OutOfReach { least: cost, align })?;
        kept[group].truncate(left);
        groups.set_width(&mut graph, group, left);
    }
    kept.iter_mut().for_each(|channels| channels.sort_unstable());
    Ok(kept)
}

/// Whether `graph` can be narrowed to `budget` at all, whatever its channels are worth.
pub fn reach(graph: &Graph, budget: &Budget, align: usize) -> Result<(), OutOfReach> {
    let groups = Groups::of(graph);
    let of = groups.groups.iter().map(|group| vec![0.0; group.channels]).collect();
    choose(graph, &groups, &Worth { of, comparable: true }, budget, align)?;
    Ok(())
}

/// Channel numbers, the worthiest first.
fn by_worth(worth: &[f64]) -> Vec<usize> {
    let mut channels: Vec<usize> = (0..worth.len()).collect();
    channels.sort_by(|&a, &b| worth[b].total_cmp(&worth[a]));
    channels
}

/// The next smaller width that is a multiple of `align`, if it is more than 0.
fn narrower(width: usize, align: usize) -> Option<usize> {
    let left = width.saturating_sub(1) / align.max(1) * align.max(1);
    (left > 0).then_some(left)
}

/// What is lost when of a group's `channels`, the worthiest first, so many are left.
fn loss(worth: &Worth, group: usize, channels: &[usize], left: usize) -> f64 {
    let sum = |channels: &[usize]| channels.iter().map(|&c| worth.of[group][c]).sum::<f64>();
    let lost = sum(&channels[left..]);
    if worth.comparable { lost } else { lost / sum(channels).max(f64::MIN_POSITIVE) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::network::Preset;

    const ALIGN: usize = 8;

    fn slim() -> (Graph, Groups) {
        let graph = Graph::build(&Preset::slim());
        let groups = Groups::of(&graph);
        (graph, groups)
    }

    /// Channels of any worth, each group's own.
    fn worth(groups: &Groups, comparable: bool) -> Worth {
        let mut random = fastrand::Rng::with_seed(1);
        let of = |channels| (0..channels).map(|_| random.f64()).collect();
        Worth { of: groups.groups.iter().map(|group| group.channels).map(of).collect(), comparable }
    }

    fn widths(graph: &Graph, groups: &Groups, kept: &[Vec<usize>]) -> Cost {
        let mut graph = graph.clone();
        for (group, kept) in kept.iter().enumerate() {
            groups.set_width(&mut graph, group, kept.len());
        }
        Cost::of(&graph)
    }

    #[test]
    fn the_budget_holds_barely_and_widths_are_aligned() {
        let (graph, groups) = slim();
        let budgets = [
            Budget { macs: Some(10_000_000), ..Budget::default() },
            Budget { bytes: Some(150_000), ..Budget::default() },
            Budget { channels: Some(900), ..Budget::default() },
            Budget { macs: Some(15_000_000), bytes: Some(200_000), channels: Some(5000) },
        ];
        for budget in budgets {
            for comparable in [false, true] {
                let worth = worth(&groups, comparable);
                let kept = choose(&graph, &groups, &worth, &budget, ALIGN).unwrap();
                let cost = widths(&graph, &groups, &kept);
                assert!(budget.holds(cost), "{cost:?}");
                // One turn takes no more than a tenth of this network.
                let is_near = |(cost, limit)| cost > limit * 9 / 10;
                assert!(cost.limited(&budget).any(is_near), "{cost:?}");
                assert!(kept.iter().all(|kept| kept.len().is_multiple_of(ALIGN)));
            }
        }
    }

    #[test]
    fn of_each_group_the_worthiest_stay() {
        let (graph, groups) = slim();
        let worth = worth(&groups, true);
        let budget = Budget { macs: Some(8_000_000), ..Budget::default() };
        let kept = choose(&graph, &groups, &worth, &budget, ALIGN).unwrap();
        let mut cut = 0;
        for (kept, worth) in kept.iter().zip(&worth.of) {
            let gone = (0..worth.len()).filter(|c| !kept.contains(c));
            cut += worth.len() - kept.len();
            let best_gone = gone.map(|c| worth[c]).fold(0.0, f64::max);
            assert!(kept.iter().all(|&c| worth[c] >= best_gone));
        }
        assert!(cut > 100, "{cut}");
    }

    /// What costs nothing goes before anything else does.
    #[test]
    fn a_group_worth_nothing_is_narrowed_first() {
        let (graph, groups) = slim();
        let mut worth = worth(&groups, true);
        let nothing = 5;
        worth.of[nothing].fill(0.0);
        let budget = Budget { macs: Some(Cost::of(&graph).macs - 1), ..Budget::default() };
        let kept = choose(&graph, &groups, &worth, &budget, ALIGN).unwrap();
        for (group, kept) in kept.iter().enumerate() {
            let cut = groups.groups[group].channels - kept.len();
            assert_eq!(cut, if group == nothing { ALIGN } else { 0 }, "group {group}");
        }
    }

    #[test]
    fn a_budget_below_what_can_be_left_is_refused_with_what_can() {
        let (graph, groups) = slim();
        let budget = Budget { macs: Some(1000), ..Budget::default() };
        let error = choose(&graph, &groups, &worth(&groups, false), &budget, ALIGN).unwrap_err();
        assert!(error.to_string().contains("MMAC"), "{error}");
        assert_eq!(error.align, ALIGN);
    }

    #[test]
    fn steps_go_by_equal_factors_to_the_budget() {
        let from = Cost { macs: 160_000_000, bytes: 300_000, channels: 1000 };
        let budget = Budget { macs: Some(10_000_000), bytes: Some(400_000), channels: Some(250) };
        let macs = |step| budget.on_the_way(from, step, 4).macs.unwrap();
        for (step, expected) in [(1, 80e6), (2, 40e6), (3, 20e6), (4, 10e6)] {
            assert!((macs(step) as f64 - expected).abs() < 2.0, "{step}");
        }
        assert_eq!(budget.on_the_way(from, 4, 4), budget);
        assert_eq!(budget.on_the_way(from, 2, 4).bytes, Some(400_000));
        assert_eq!(budget.on_the_way(from, 2, 4).channels, Some(500));
    }
}
