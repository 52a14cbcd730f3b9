//! Stands for what comes.
