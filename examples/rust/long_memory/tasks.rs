//! Two tasks for a memory: adding two numbers heard long ago, and reading a digit pixel by pixel.

use crate::digits::{CLASSES, Digits, IMAGES, PIXELS};
use crate::model::Shape;
use evenkeel::loss::{cross_entropy_f32, mse_f32};
use evenkeel::{Context, Result};

/// Images that are trained on; the others are asked for.
const TRAIN: usize = 1437;
pub const BATCH: usize = 32;

pub enum Task<'a> {
    /// So many steps; two of them are marked, their values are to be added.
    Adding(usize),
    /// The 64 pixels of an image, one a step.
    Digits(&'a Digits),
}

/// A batch: inputs `[seq, BATCH, input]`, and what is asked for.
pub struct Batch {
    pub x: Vec<f32>,
    sums: Vec<f32>,
    labels: Vec<i64>,
}

/// SplitMix64: the same batches on every machine.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }
}

impl Task<'_> {
    pub fn name(&self) -> &'static str {
        match self {
            Task::Adding(_) => "adding",
            Task::Digits(_) => "digits",
        }
    }

    pub fn shape(&self, hidden: usize) -> Shape {
        match self {
            Task::Adding(seq) => Shape { seq: *seq, batch: BATCH, input: 2, hidden, outputs: 1, distance: Some(*seq) },
            Task::Digits(_) => Shape { seq: PIXELS, batch: BATCH, input: 1, hidden, outputs: CLASSES, distance: None },
        }
    }

    pub fn batch(&self, random: &mut Random) -> Batch {
        match self {
            Task::Adding(_) => self.adding(random),
            Task::Digits(digits) => {
                let images: Vec<usize> = (0..BATCH).map(|_| random.below(TRAIN)).collect();
                Self::images(digits, &images)
            }
        }
    }

    fn adding(&self, random: &mut Random) -> Batch {
        let Task::Adding(seq) = *self else { unreachable!("the other task has images") };
        let mut batch = Batch { x: vec![0.0; seq * BATCH * 2], sums: vec![0.0; BATCH], labels: Vec::new() };
        for row in 0..BATCH {
            // One in the first tenth, one in the first half: both are long ago at the end.
            let first = random.below(seq / 10);
            let second = seq / 10 + random.below(seq / 2 - seq / 10);
            for t in 0..seq {
                let at = (t * BATCH + row) * 2;
                batch.x[at] = random.unit();
                if t == first || t == second {
                    batch.x[at + 1] = 1.0;
                    batch.sums[row] += batch.x[at];
                }
            }
        }
        batch
    }

    fn images(digits: &Digits, images: &[usize]) -> Batch {
        let mut batch = Batch { x: vec![0.0; PIXELS * BATCH], sums: Vec::new(), labels: vec![-1; BATCH] };
        for (row, &image) in images.iter().enumerate() {
            batch.labels[row] = digits.labels[image];
            for t in 0..PIXELS {
                batch.x[t * BATCH + row] = digits.pixels[image * PIXELS + t];
            }
        }
        batch
    }

    /// Batches that were not trained on.
    pub fn held_out(&self) -> Vec<Batch> {
        match self {
            Task::Adding(_) => (0..20).map(|i| self.adding(&mut Random(1 << 40 | i))).collect(),
            Task::Digits(digits) => {
                let rest: Vec<usize> = (TRAIN..IMAGES).collect();
                rest.chunks(BATCH).map(|images| Self::images(digits, images)).collect()
            }
        }
    }

    /// The mean loss, and its gradient in `dout`.
    pub fn loss(&self, ctx: &Context, batch: &Batch, out: &[f32], dout: &mut [f32]) -> Result<f64> {
        let mut loss = 0.0;
        match self {
            Task::Adding(_) => mse_f32(ctx, 1.0, out, &batch.sums, Some(&mut loss), Some(dout))?,
            Task::Digits(_) => {
                let (loss, dout) = (Some(&mut loss), Some(dout));
                cross_entropy_f32(ctx, 0.0, -1, 1.0, BATCH, CLASSES, out, &batch.labels, None, loss, dout)?;
            }
        }
        Ok(loss)
    }

    /// How many of a batch are right, and how many there are: the digit, or a sum within 0.1.
    pub fn right(&self, batch: &Batch, out: &[f32]) -> (usize, usize) {
        match self {
            Task::Adding(_) => {
                (out.iter().zip(&batch.sums).filter(|(o, s)| (*o - *s).abs() < 0.1).count(), batch.sums.len())
            }
            Task::Digits(_) => {
                let best = |row: &[f32]| (0..CLASSES).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0) as i64;
                let asked = batch.labels.iter().filter(|&&l| l >= 0).count();
                (out.chunks(CLASSES).zip(&batch.labels).filter(|(row, label)| best(row) == **label).count(), asked)
            }
        }
    }
}
