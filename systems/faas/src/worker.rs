//! The worker: slots that run what the service gives them.
