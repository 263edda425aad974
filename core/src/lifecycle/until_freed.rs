//! Interfaces that were given up, until they are freed.
//!
//! Between `if_free` and the end of an interface there may be references, and nobody's list has it any more. Whoever wants
//! to know of the end, or of who puts it off, keeps the interface on a list like this. The list keeps only the memory; it
//! looks now and then which interfaces are marked as freed, because what frees them, an epoch callback, knows no kernel.
//! Listing needs no memory: the link is in the interface.

use crate::epoch::DomainRef;
use crate::ifnet::{Ifnet, Ifp};
use crate::mem::{Linked, TailQ};
use crate::platform::{Mutex, Platform};
use crate::thread::Thread;

/// One such list, through the link `L`.
pub(crate) struct UntilFreed<P: Platform, L>
where
    Ifnet<P>: Linked<P, L>,
{
    list: TailQ<Ifnet<P>, P, L>,
    /// For the writers of `list`.
    lock: P::Mutex<()>,
}

impl<P: Platform, L> UntilFreed<P, L>
where
    Ifnet<P>: Linked<P, L>,
{
    pub(crate) fn new(domain: &DomainRef<P>) -> Self {
        Self { list: TailQ::new(domain), lock: P::Mutex::new(()) }
    }

    /// Puts an interface on the list; `false` if it is there already.
    pub(crate) fn note(&self, ifp: &Ifp<P>) -> bool {
        let _writers = self.lock.lock();
        self.list.insert_tail(ifp)
    }

    /// Takes one off that is freed, in whatever order.
    pub(crate) fn take_freed(&self, td: &Thread<'_, P>) -> Option<Ifp<P>> {
        if self.list.is_empty() {
            return None;
        }
        let section = td.net_epoch_enter();
        let _writers = self.lock.lock();
        let freed = self.list.iter(&section).find(|ifp| ifp.get().life.is_freed())?.try_share()?;
        self.list.remove(&freed).then_some(freed)
    }

    /// The first one on the list that is `wanted`.
    pub(crate) fn find(&self, td: &Thread<'_, P>, wanted: impl Fn(&Ifnet<P>) -> bool) -> Option<Ifp<P>> {
        let section = td.net_epoch_enter();
        self.list.iter(&section).find(|ifp| wanted(ifp.get())).and_then(|ifp| ifp.try_share())
    }
}

#[cfg(feature = "holders")]
impl<P: Platform, L> UntilFreed<P, L>
where
    Ifnet<P>: Linked<P, L>,
{
    /// Calls `each` for every one that is on the list, inside an epoch section.
    pub(crate) fn each(&self, td: &Thread<'_, P>, mut each: impl FnMut(&Ifnet<P>)) {
        let section = td.net_epoch_enter();
        self.list.iter(&section).for_each(|ifp| each(ifp.get()));
    }
}
