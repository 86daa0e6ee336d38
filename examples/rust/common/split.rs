//! Which images train and which are held out, and in which order they come.

use crate::digits::Digits;
use evenkeel::init::init_uniform_f32;
use evenkeel::{Context, Result};

/// One image in five is held out.
const HELD_OUT: usize = 5;

/// Streams of random numbers, far from those of the weights.
const SPLIT_STREAM: u64 = 1 << 32;
const EPOCH_STREAM: u64 = 2 << 32;

/// Numbers of the images that train, and of those held out.
pub struct Split<'a> {
    pub digits: &'a Digits,
    pub train: Vec<usize>,
    pub held_out: Vec<usize>,
}

impl Split<'_> {
    /// Steps of `epochs` passes over the training images, `batch` of them a step.
    pub fn steps(&self, batch: usize, epochs: usize) -> u64 {
        (self.train.len().div_ceil(batch) * epochs) as u64
    }

    /// The training images in the order of an epoch, another in each.
    pub fn epoch(&self, ctx: &Context, seed: u64, epoch: usize) -> Result<Vec<usize>> {
        shuffled(ctx, seed, EPOCH_STREAM + epoch as u64, &self.train)
    }
}

pub fn split<'a>(ctx: &Context, seed: u64, digits: &'a Digits) -> Result<Split<'a>> {
    let all: Vec<usize> = (0..digits.labels.len()).collect();
    let mut train = shuffled(ctx, seed, SPLIT_STREAM, &all)?;
    let held_out = train.split_off(all.len() - all.len() / HELD_OUT);
    Ok(Split { digits, train, held_out })
}

/// `items` in the order of one random key each, equal keys as they came.
fn shuffled(ctx: &Context, seed: u64, stream: u64, items: &[usize]) -> Result<Vec<usize>> {
    let mut keys = vec![0.0; items.len()];
    init_uniform_f32(ctx, seed, stream, 0.0, 1.0, &mut keys)?;
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
    Ok(order.into_iter().map(|i| items[i]).collect())
}
