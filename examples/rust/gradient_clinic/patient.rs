//! The digits as the experiments take them: standardized by the training images (whitepaper §21).

use crate::digits::{Digits, PIXELS};
use crate::split::{Split, split};
use evenkeel::norm::{batch_norm_forward_infer_f32, batch_norm_forward_train_f32};
use evenkeel::{Context, Result};

pub struct Patient<'a> {
    pub split: Split<'a>,
    /// Images row by row, each pixel with mean 0 and standard deviation 1 over the training images.
    standard: Vec<f32>,
}

/// A pixel that is white in every training image has no variance; this keeps it at 0.
const EPS: f32 = 1e-6;

impl<'a> Patient<'a> {
    /// Batch norm is standardization: its statistics are those of the training images, then it is applied to all.
    pub fn new(ctx: &Context, seed: u64, digits: &'a Digits) -> Result<Patient<'a>> {
        let split = split(ctx, seed, digits)?;
        let train: Vec<f32> = split.train.iter().flat_map(|&i| image(&digits.pixels, i)).copied().collect();
        let [mut mean, mut var, mut saved, mut rstd] = [(); 4].map(|_| vec![0.0; PIXELS]);
        let (rows, mut scratch) = (split.train.len(), vec![0.0; train.len()]);
        batch_norm_forward_train_f32(
            ctx,
            EPS,
            1.0,
            rows,
            PIXELS,
            1,
            &train,
            None,
            None,
            Some(&mut mean),
            Some(&mut var),
            &mut scratch,
            &mut saved,
            &mut rstd,
        )?;
        let mut standard = vec![0.0; digits.pixels.len()];
        let rows = digits.labels.len();
        batch_norm_forward_infer_f32(
            ctx,
            EPS,
            rows,
            PIXELS,
            1,
            &digits.pixels,
            None,
            None,
            &mean,
            &var,
            &mut standard,
        )?;
        Ok(Patient { split, standard })
    }

    /// The standardized pixels of image `i`.
    pub fn pixels(&self, i: usize) -> &[f32] {
        image(&self.standard, i)
    }

    pub fn labels(&self, images: &[usize]) -> Vec<i64> {
        images.iter().map(|&i| self.split.digits.labels[i]).collect()
    }
}

fn image(pixels: &[f32], i: usize) -> &[f32] {
    &pixels[i * PIXELS..][..PIXELS]
}
