//! Every operation of the vectors.
