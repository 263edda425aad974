//! Jails: vnets by name.

use ifnet::platform::Mutex as _;
use ifnet::{Errno, Thread, VnetRef, if_vmove_loan, vnet_alloc, vnet_destroy, vnet_destroy_deferred};

use super::host::Host;
use super::interp::Interp;
use super::world::Jail;
use super::{Done, Fail};
use crate::scenario::Span;
use crate::scenario::command::{Arg, JailCreate};

impl<H: Host> Interp<'_, '_, H> {
    /// `jail -c`: makes the vnet, lends it its interfaces, runs the command. What fails takes the jail with it.
    pub(crate) fn jail_create(&mut self, jail: JailCreate, span: Span) -> Done {
        let JailCreate { name, persist, interfaces, command } = jail;
        let vnet = match self.jail_make(&name) {
            Ok(vnet) => vnet,
            Err(errno) => return Ok(Err(errno.into())),
        };
        let lent = interfaces.iter().try_for_each(|ifname| if_vmove_loan(self.td, ifname, &vnet).map(drop));
        let done = match (lent, command) {
            (Err(errno), _) => Ok(Err(errno.into())),
            (Ok(()), None) => Ok(Ok(())),
            (Ok(()), Some(command)) => {
                let td = self.td;
                let _cur = td.curvnet_set(Some(vnet));
                self.argv(&command, span)
            }
        };
        if lent.is_err() || !persist {
            // Somebody else may have removed it meanwhile.
            let _ = self.jail_remove(&name);
        }
        done
    }

    /// Makes a jail, a child of the current one. Its name is taken at once, and can be looked up when the vnet is there.
    pub(crate) fn jail_make(&mut self, name: &str) -> Result<VnetRef<H>, Errno> {
        let curvnet = self.td.curvnet();
        {
            let mut tables = self.world.tables.lock();
            if name == "0" || tables.jails.iter().any(|jail| jail.name == name) {
                return Err(Errno::EEXIST);
            }
            let parent = tables.jails.iter().find(|jail| jail.vnet.as_ref().is_some_and(|vnet| vnet.ptr_eq(&curvnet)));
            let parent = parent.map(|jail| jail.name.clone());
            tables.jails.push(Jail { name: name.to_owned(), parent, vnet: None });
        }
        let made = vnet_alloc(self.td);
        let mut tables = self.world.tables.lock();
        match &made {
            Ok(vnet) => {
                if let Some(jail) = tables.jails.iter_mut().find(|jail| jail.name == name) {
                    jail.vnet = Some(vnet.clone());
                }
            }
            Err(_) => tables.jails.retain(|jail| jail.name != name),
        }
        made
    }

    /// `jail -r`: takes the name away, then the jails that were made in it, then the vnet.
    pub(crate) fn jail_remove(&mut self, name: &str) -> Result<(), Errno> {
        self.jail_remove_with(name, vnet_destroy)
    }

    /// `jail -R`: the same, but the vnets are left to the deferred work.
    pub(crate) fn jail_remove_later(&mut self, name: &str) -> Result<(), Errno> {
        self.jail_remove_with(name, vnet_destroy_deferred)
    }

    fn jail_remove_with(
        &mut self,
        name: &str,
        destroy: fn(&Thread<'_, H>, &VnetRef<H>) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let vnet = {
            let mut tables = self.world.tables.lock();
            let known = |jail: &Jail<H>| jail.name == name && jail.vnet.is_some();
            let at = tables.jails.iter().position(known).ok_or(Errno::ENOENT)?;
            tables.jails.remove(at).vnet.ok_or(Errno::ENOENT)?
        };
        loop {
            let child = {
                let tables = self.world.tables.lock();
                let child =
                    tables.jails.iter().find(|jail| jail.parent.as_deref() == Some(name) && jail.vnet.is_some());
                child.map(|jail| jail.name.clone())
            };
            let Some(child) = child else { break };
            match self.jail_remove_with(&child, destroy) {
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        destroy(self.td, &vnet)
    }

    pub(crate) fn jls(&mut self) {
        let names: Vec<_> = self.world.tables.lock().jails.iter().map(|jail| jail.name.clone()).collect();
        names.iter().for_each(|name| self.print(name));
    }

    /// `jexec J cmd…`
    pub(crate) fn jexec(&mut self, jail: &str, rest: &[Arg], span: Span) -> Done {
        let td = self.td;
        let Some(vnet) = self.world.jail(&td.curvnet(), jail) else { return Ok(Err(Fail::from(Errno::ENOENT))) };
        let _cur = td.curvnet_set(Some(vnet));
        self.argv(rest, span)
    }
}
