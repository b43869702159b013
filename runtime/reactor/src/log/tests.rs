//! What the log keeps, under a disk that does as it is told: real files, scripted answers.
