//! `show`: the interface lists and the index table, in the form of the golden logs.

use core::fmt::Write as _;

use ifnet::{Errno, IfFlags, IfnetRef, Ifp, Thread, if_foreach, if_getgroup, if_try_ref};

use super::host::Host;
use super::interp::Interp;
use crate::scenario::command::Show;

impl<H: Host> Interp<'_, '_, H> {
    pub(super) fn show(&mut self, show: Show) -> Result<(), Errno> {
        let line = match show {
            Show::IfIndex => {
                let (highest, limit) = self.world.kernel.if_index(self.td);
                format!("    = if_index(max)={highest} if_indexlim={limit}")
            }
            Show::Monitor(netns) => self.world.host().observer().monitored(&netns).ok_or(Errno::ENOENT)?,
            Show::Vnet(number) => {
                let vnet = self.world.vnet_by_number(number).ok_or(Errno::ENXIO)?;
                let _cur = self.td.curvnet_set(Some(vnet.clone()));
                let mut line = format!("    = v{number} ifcnt={}:", vnet.ifcnt());
                for ifp in interfaces(self.td) {
                    let _ = write!(line, " {}", describe(self.td, &ifp, number));
                }
                line
            }
        };
        self.print(&line);
        Ok(())
    }
}

/// The interfaces of the current vnet, in the order of the list, each with a reference.
pub(super) fn interfaces<H: Host>(td: &Thread<'_, H>) -> Vec<IfnetRef<H>> {
    let mut all = Vec::new();
    // `each` never fails.
    let _ = if_foreach(td, |ifp| {
        all.extend(ifp.try_share().and_then(|ifp| if_try_ref(&ifp)));
        Ok(())
    });
    all
}

/// The names of an interface's groups, in the order of joining.
pub(super) fn groups<H: Host>(td: &Thread<'_, H>, ifp: &Ifp<H>) -> Vec<String> {
    let mut groups = Vec::new();
    if_getgroup(td, ifp, |group| groups.push(group.to_owned()));
    groups
}

fn describe<H: Host>(td: &Thread<'_, H>, ifp: &Ifp<H>, vnet: u32) -> String {
    let mut line = format!("{}(idx={}", ifp.name(), ifp.index());
    if let Some(home) = ifp.if_home_vnet(td).filter(|home| home.id() != vnet) {
        let _ = write!(line, " home=v{}", home.id());
    }
    for (flag, word) in [(IfFlags::UP, " UP"), (IfFlags::DYING, " DYING")] {
        line.push_str(if ifp.flags().contains(flag) { word } else { "" });
    }
    let _ = write!(line, " groups={})", groups(td, ifp).join(","));
    line
}
