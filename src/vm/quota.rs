//! What all threads and instances of a group may have together.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

/// How much of something there may be, and how much there is.
#[derive(Debug)]
pub(crate) struct Quota {
    most: u64,
    used: AtomicU64,
}

impl Quota {
    fn new(most: Option<u64>) -> Quota {
        Quota { most: most.unwrap_or(u64::MAX), used: AtomicU64::new(0) }
    }

    /// Takes so much, if there is so much left.
    #[must_use]
    pub fn take(&self, count: u64) -> bool {
        let take = |used: u64| used.checked_add(count).filter(|used| *used <= self.most);
        self.used.fetch_update(AcqRel, Acquire, take).is_ok()
    }

    /// Gives back what was taken.
    pub fn give_back(&self, count: u64) {
        self.used.fetch_sub(count, AcqRel);
    }

    pub fn most(&self) -> u64 {
        self.most
    }
}

/// The quotas of a group.
#[derive(Debug)]
pub(crate) struct Quotas {
    /// Bytes of linear memories.
    pub memory: Quota,
    pub table_elements: Quota,
    pub instances: Quota,
}

impl Quotas {
    /// `None` is no limit.
    pub fn new(
        memory: Option<u64>,
        table_elements: Option<u64>,
        instances: Option<u64>,
    ) -> Arc<Quotas> {
        Arc::new(Quotas {
            memory: Quota::new(memory),
            table_elements: Quota::new(table_elements),
            instances: Quota::new(instances),
        })
    }
}

/// One instance's share of the quota. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct InstanceShare(Arc<Quotas>);

impl InstanceShare {
    /// # Errors
    /// The limit, if it is reached.
    pub fn take(quotas: &Arc<Quotas>) -> Result<InstanceShare, String> {
        match quotas.instances.take(1) {
            true => Ok(InstanceShare(quotas.clone())),
            false => Err(format!(
                "the limit of {} instances is reached (--max-instances)",
                quotas.instances.most()
            )),
        }
    }
}

impl Drop for InstanceShare {
    fn drop(&mut self) {
        self.0.instances.give_back(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is() {
        let quota = Quota::new(Some(10));
        assert!(quota.take(7) && !quota.take(4) && quota.take(3) && !quota.take(1));
        quota.give_back(4);
        assert!(!quota.take(u64::MAX) && quota.take(4) && quota.take(0));
    }
}
