//! Hardware that comes and goes: a network driver, as `newbus` calls it.

use core::marker::PhantomData;

use ifnet::platform::Mutex as _;
use ifnet::{
    Errno, IfFlags, IfOps, IfType, IfnetOwner, Thread, ether_ifattach, ether_ifdetach, if_alloc, if_free, if_initname,
};

use super::host::Host;
use super::interp::Interp;

impl<H: Host> Interp<'_, '_, H> {
    /// `devctl attach em0`: the driver's attach. Devices are the default vnet's, whoever asks.
    pub(crate) fn devctl_attach(&mut self, name: &str) -> Result<(), Errno> {
        {
            let mut tables = self.world.tables.lock();
            if tables.devices.contains_key(name) {
                return Err(Errno::EEXIST);
            }
            tables.devices.insert(name.to_owned(), None);
        }
        let _cur = self.td.curvnet_set(Some(self.world.kernel.vnet0()));
        let attached = attach(self.td, name);
        let mut tables = self.world.tables.lock();
        match attached {
            Ok(owner) => {
                tables.devices.insert(name.to_owned(), Some(owner));
                Ok(())
            }
            Err(errno) => {
                tables.devices.remove(name);
                Err(errno)
            }
        }
    }

    /// `devctl detach em0`: the driver's detach. Who comes second finds no device.
    pub(crate) fn devctl_detach(&mut self, name: &str) -> Result<(), Errno> {
        let owner = {
            let mut tables = self.world.tables.lock();
            tables.devices.get_mut(name).and_then(Option::take).ok_or(Errno::ENXIO)?
        };
        let _cur = self.td.curvnet_set(Some(self.world.kernel.vnet0()));
        detach(self.td, owner);
        self.world.tables.lock().devices.remove(name);
        Ok(())
    }
}

/// A network card that sends into the void.
struct Hardware<H>(PhantomData<H>);

impl<H: Host> Hardware<H> {
    const OPS: &'static IfOps<H> = &IfOps {
        transmit: |_, _, packet| {
            drop(packet);
            Ok(())
        },
        input: |_, _, packet| drop(packet),
        qflush: |_, _| {},
        ioctl: Some(|_, _, _| Ok(())),
        reassign: None,
    };
}

fn attach<H: Host>(td: &Thread<'_, H>, name: &str) -> Result<IfnetOwner<H>, Errno> {
    let owner = if_alloc(td, IfType::Ether)?;
    let (stem, unit) = split_name(name);
    let attached = if_initname(&owner, stem, unit).and_then(|()| {
        owner.set_ops(Hardware::OPS);
        owner.init_flags(IfFlags::BROADCAST | IfFlags::SIMPLEX | IfFlags::MULTICAST);
        ether_ifattach(td, &owner, lladdr(name))
    });
    match attached {
        Ok(()) => Ok(owner),
        Err(errno) => {
            if_free(td, owner);
            Err(errno)
        }
    }
}

/// What a driver does in its detach.
pub(crate) fn detach<H: Host>(td: &Thread<'_, H>, owner: IfnetOwner<H>) {
    ether_ifdetach(td, &owner);
    if_free(td, owner);
}

/// `if_dname` and `if_dunit` of a name: `disc4` is unit 4 of `disc`. Without a unit, or with one that would not give the
/// same name again, the whole is the name.
pub(crate) fn split_name(name: &str) -> (&str, Option<u32>) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    match name[stem.len()..].parse::<u32>() {
        Ok(unit) if !stem.is_empty() && unit.to_string().len() == name.len() - stem.len() => (stem, Some(unit)),
        _ => (name, None),
    }
}

/// A locally administered address that depends on the name alone, so that every run has the same.
pub(crate) fn lladdr(name: &str) -> [u8; 6] {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [a, b, c, d] = hash.to_be_bytes();
    [0x02, 0x00, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_before_their_last_digits() {
        assert_eq!(split_name("disc4"), ("disc", Some(4)));
        assert_eq!(split_name("em10"), ("em", Some(10)));
        assert_eq!(split_name("wan"), ("wan", None));
        assert_eq!(split_name("x05"), ("x05", None));
        assert_eq!(split_name("7"), ("7", None));
        assert_eq!(split_name("x99999999999"), ("x99999999999", None));
    }

    #[test]
    fn addresses_are_local_and_differ() {
        assert_ne!(lladdr("em0"), lladdr("em1"));
        assert_eq!(lladdr("em0")[0] & 3, 2);
    }
}
