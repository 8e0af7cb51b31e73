//! What becomes of every reachable world once nothing goes wrong any more and the operator rests.
//!
//! `stateright` looks at states one by one; "in the end a copy runs" is about endless paths, and its `eventually`
//! does not see those that end in a cycle. So all reachable worlds are put into one graph whose edges are the moves
//! of the switch and the cluster alone. If every move that is possible again and again is taken some time, a path
//! through it ends in a set of worlds that it cannot leave and visits over and over: a terminal strongly connected
//! component. Each of these must be good, and nothing that can be seen may differ between its worlds: what still
//! goes on in it may only be programs that look and find nothing to do.
//!
//! Worlds are explored in the order of how much trouble they took, each once, with all the trouble that is left:
//! a world that is reached again with less of it has nothing new to show.

use ahash::AHashMap;
use stateright::Model;

use crate::goal;
use crate::scenario::Scenario;
use crate::story::describe;
use crate::world::World;

/// All reachable worlds and the quiet moves between them.
pub(crate) struct Graph {
    pub(crate) worlds: Vec<World>,
    edges: Vec<Vec<usize>>,
    /// How each was first reached.
    from: Vec<Option<(usize, &'static str)>>,
    /// The sets of worlds that a quiet switch can end in.
    ends: Vec<Vec<usize>>,
}

impl Graph {
    pub(crate) fn explore(scenario: &Scenario) -> Self {
        let mut graph = Self { worlds: Vec::new(), edges: Vec::new(), from: Vec::new(), ends: Vec::new() };
        let mut known = AHashMap::new();
        let mut layer = Vec::new();
        for world in scenario.init_states() {
            graph.node(&mut known, World { trouble: 0, ..world }, None, &mut layer);
        }
        for trouble_left in (0..=scenario.trouble).rev() {
            let mut next_layer = Vec::new();
            let mut at = 0;
            while at < layer.len() {
                let node = layer[at];
                at += 1;
                let world = graph.worlds[node].clone();
                let mut edges = Vec::new();
                for found in scenario.quiet_moves(&world) {
                    edges.push(graph.node(&mut known, found.to, Some((node, found.what)), &mut layer));
                }
                edges.sort_unstable();
                edges.dedup();
                graph.edges[node] = edges;
            }
            if trouble_left > 0 {
                for node in layer {
                    let world = graph.worlds[node].clone();
                    for found in scenario.troubles(&world) {
                        graph.node(&mut known, found.to, Some((node, found.what)), &mut next_layer);
                    }
                }
            }
            layer = next_layer;
        }
        graph.ends = graph.find_ends();
        graph
    }

    /// One world of each set that a quiet switch can end in.
    pub(crate) fn rests(&self) -> impl ExactSizeIterator<Item = &World> {
        self.ends.iter().map(|end| &self.worlds[end[0]])
    }

    /// The number of this world; a new one waits in `unexplored`.
    fn node(
        &mut self,
        known: &mut AHashMap<World, usize>,
        world: World,
        from: Option<(usize, &'static str)>,
        unexplored: &mut Vec<usize>,
    ) -> usize {
        *known.entry(world).or_insert_with_key(|world| {
            let node = self.worlds.len();
            self.worlds.push(world.clone());
            self.edges.push(Vec::new());
            self.from.push(from);
            unexplored.push(node);
            node
        })
    }

    fn find_ends(&self) -> Vec<Vec<usize>> {
        let components = self.components();
        let mut of = vec![0; self.worlds.len()];
        for (number, component) in components.iter().enumerate() {
            for node in component {
                of[*node] = number;
            }
        }
        let leaves = |node: usize| self.edges[node].iter().any(|to| of[*to] != of[node]);
        components.into_iter().filter(|component| !component.iter().any(|node| leaves(*node))).collect()
    }

    /// Strongly connected components (Tarjan), without recursion.
    fn components(&self) -> Vec<Vec<usize>> {
        const UNSEEN: usize = usize::MAX;
        let mut order = vec![UNSEEN; self.worlds.len()];
        let mut low = vec![0; self.worlds.len()];
        let mut on_stack = vec![false; self.worlds.len()];
        let (mut stack, mut found, mut count) = (Vec::new(), Vec::new(), 0);
        for root in 0..self.worlds.len() {
            if order[root] != UNSEEN {
                continue;
            }
            let mut calls = vec![(root, 0)];
            while let Some((node, edge)) = calls.pop() {
                if edge == 0 {
                    order[node] = count;
                    low[node] = count;
                    count += 1;
                    stack.push(node);
                    on_stack[node] = true;
                }
                if let Some(to) = self.edges[node].get(edge).copied() {
                    calls.push((node, edge + 1));
                    if order[to] == UNSEEN {
                        calls.push((to, 0));
                    } else if on_stack[to] {
                        low[node] = low[node].min(order[to]);
                    }
                    continue;
                }
                if low[node] == order[node] {
                    let start = stack
                        .iter()
                        .rposition(|on| *on == node)
                        .expect("a node is on the stack until its component is found");
                    let component: Vec<_> = stack.drain(start..).collect();
                    for member in &component {
                        on_stack[*member] = false;
                    }
                    found.push(component);
                }
                if let Some((parent, _)) = calls.last() {
                    low[*parent] = low[*parent].min(low[node]);
                }
            }
        }
        found
    }

    /// What is wrong in the end, and how it came to that; nothing if all ends are good.
    pub(crate) fn complaint(&self, scenario: &Scenario) -> Option<String> {
        self.ends.iter().find_map(|end| {
            let first = &self.worlds[end[0]];
            let bad = end.iter().find_map(|node| {
                let world = &self.worlds[*node];
                let wrong = goal::missed(scenario, world).or_else(|| {
                    (goal::visible(world) != goal::visible(first)).then_some("it never comes to rest")
                })?;
                Some((*node, wrong))
            });
            bad.map(|(node, wrong)| format!("{wrong}; it can end so:\n{}", self.story(node)))
        })
    }

    fn story(&self, node: usize) -> String {
        let mut lines = Vec::new();
        let mut at = Some((node, ""));
        while let Some((node, _)) = at {
            let from = self.from[node];
            let what = from.map_or("at first", |(_, what)| what);
            lines.push(format!("{what:<48} {}", describe(&self.worlds[node])));
            at = from;
        }
        lines.reverse();
        lines.join("\n")
    }
}
