//! `ip netns del`: what becomes of the devices of a namespace that goes.
//!
//! In the order of Linux: hardware goes back to the root namespace first, under a name that is free there; then the rest
//! is destroyed, newest first, each with what is stacked on it anywhere; then the vnet goes.

use ifnet::{Errno, IfnetRef, if_altnames, if_delaltname, if_unregister, if_vmove_loan, if_vmove_loan_as};

use super::show;
use crate::runner::host::Host;
use crate::runner::interp::Interp;

impl<H: Host> Interp<'_, '_, H> {
    pub(super) fn netns_del(&mut self, name: &str) -> Result<(), Errno> {
        let vnet = self.netns(Some(name))?;
        {
            let _cur = self.td.curvnet_set(Some(vnet));
            // By name: a reference held here would be waited for.
            let mut names = Vec::new();
            for ifp in show::interfaces(self.td) {
                if ifp.is_cloned() {
                    names.push(ifp.name());
                } else {
                    // What does not get away with a free name returns when the vnet goes.
                    let _ = self.refund(&ifp);
                }
            }
            for name in names.iter().rev() {
                // Gone with another one, not deletable (`lo0`), or taken by somebody else.
                let _ = if_unregister(self.td, name);
            }
        }
        self.jail_remove(name)
    }

    /// `default_device_exit_net`: a device that nobody made goes to the root namespace. A name that is taken there is
    /// replaced by `dev<index>`, and that by the first free one of that form; further names that are taken are dropped.
    fn refund(&self, ifp: &IfnetRef<H>) -> Result<(), Errno> {
        let (td, root) = (self.td, self.world.kernel.vnet0());
        let mut altnames = Vec::new();
        if_altnames(ifp, |altname| altnames.push(altname.to_owned()));
        for altname in altnames.iter().filter(|altname| self.has_device(&root, altname)) {
            if_delaltname(td, ifp, altname)?;
        }
        let name = ifp.name();
        let arrive_as = |new: &str| if_vmove_loan_as(td, &name, &root, new).map(drop);
        match if_vmove_loan(td, &name, &root) {
            Err(Errno::EEXIST) => {}
            moved => return moved.map(drop),
        }
        match arrive_as(&format!("dev{}", ifp.index())) {
            Err(Errno::EEXIST) => self.by_pattern(&root, "dev%d", arrive_as).map(drop),
            moved => moved,
        }
    }
}
