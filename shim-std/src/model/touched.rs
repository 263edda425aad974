//! Where an operation wrote: what has to be compared after it.

use super::name::Name;
use super::op::Jail;
use super::state::{Id, Model};

/// A part of what can be seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    /// Slots of the index table.
    pub(super) ifaces: Vec<Id>,
    /// Vnets, for their number and their list.
    pub(super) lists: Vec<Jail>,
    /// Names in vnets.
    pub(super) names: Vec<(Jail, Name)>,
    /// Groups in vnets.
    pub(super) groups: Vec<(Jail, Name)>,
}

impl Touched {
    pub(super) fn clear(&mut self) {
        let Self { ifaces, lists, names, groups } = self;
        ifaces.clear();
        lists.clear();
        names.clear();
        groups.clear();
    }

    /// All vnets of which something is to be compared, each once.
    pub(super) fn jails(&self) -> impl Iterator<Item = Jail> + '_ {
        let further = |at: usize| {
            !self.lists.contains(&self.groups[at].0) && self.groups[..at].iter().all(|it| it.0 != self.groups[at].0)
        };
        let of_groups = (0..self.groups.len()).filter(move |at| further(*at)).map(|at| self.groups[at].0);
        // Names come and go with interfaces, which are on lists.
        self.lists.iter().copied().chain(of_groups)
    }

    pub(super) fn iface(&mut self, id: Id) {
        note(&mut self.ifaces, id);
    }

    pub(super) fn group(&mut self, at: Jail, name: Name) {
        note(&mut self.groups, (at, name));
    }

    /// An interface of this name came or went.
    pub(super) fn place(&mut self, at: Jail, name: Name) {
        note(&mut self.lists, at);
        note(&mut self.names, (at, name));
    }

    /// All that can be seen. Names and groups of one vnet are looked for in all: they must not be seen there.
    pub(super) fn everything(model: &Model) -> Self {
        let mut all = Self { ifaces: (1..model.slots.len()).collect(), ..Self::default() };
        for stack in &model.stacks {
            all.lists.push(stack.jail);
            for (_, it) in model.ifaces() {
                note(&mut all.names, (stack.jail, it.name));
            }
            for group in model.stacks.iter().flat_map(|stack| &stack.groups) {
                note(&mut all.groups, (stack.jail, group.name));
            }
        }
        all
    }
}

fn note<T: PartialEq>(list: &mut Vec<T>, it: T) {
    if !list.contains(&it) {
        list.push(it);
    }
}
