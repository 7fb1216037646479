//! What running code touches.

pub(crate) mod sys;
