//! Softmax and cross-entropy in one: three passes over a row while it is in cache.

use super::check_scale;
use crate::context::Context;
use crate::error::{Error, Result, check_len, product};
use crate::parallel::Shared;
use crate::simd::{LANES, Simd};
use crate::softmax::pass::{Pass, Stats, Turned};
use crate::softmax::rows;

/// Nanoseconds an element takes.
const NS: f64 = 0.4;

/// Cross-entropy of softmax(logits) with class indices, and its gradient (whitepaper §22, §3).
///
/// Shapes, row-major: `logits`, `dlogits` [rows, classes]; `targets`, `losses` `[rows]`.
/// Formula, with ε = `label_smoothing` in [0, 1], p = softmax(x), q_j = (1 − ε)·[j = t] + ε/classes:
/// loss = −Σ q_j·ln p_j; `mean_loss` = Σ loss / N over the N rows whose target is not `ignore_index`;
/// dlogits = grad_scale·(p − q)/N. Ignored rows get loss 0 and gradient 0 and do not count; where no row counts, the
/// mean is 0.
///
/// Accuracy: where the target's probability rounds to 1, S = Σ of the others keeps both: loss = log1p(S) and
/// p − 1 = −S/(1 + S). The logits' common offset costs nothing. Gradients have 5 ULP of (p + q)·grad_scale/N.
/// A target logit of −Inf has loss +Inf and gradient −1; a row of −Inf alone has loss +Inf and gradient 0; NaN or +Inf
/// in a row makes its loss and gradient NaN.
/// Order: rows add up in f64 in blocks of max(1, 16384 / classes) rows, and blocks in ascending order. The same bits
/// for any number of threads.
///
/// Aliasing: none; for a gradient that takes the logits' place see [`cross_entropy_in_place_f32`].
///
/// # Errors
/// `InvalidSize`; `InvalidArgument` for a target outside [0, classes) that is not `ignore_index`, a `label_smoothing`
/// outside [0, 1], a `grad_scale` that is not finite; `OutOfMemory`.
///
/// ```
/// let ctx = evenkeel::Context::builder().build()?;
/// let (mut mean, mut dlogits) = (0.0, [0.0; 2]);
/// let logits = [30.0, 0.0];
/// evenkeel::loss::cross_entropy_f32(
///     &ctx, 0.0, -100, 1.0, 1, 2, &logits, &[0], None, Some(&mut mean), Some(&mut dlogits),
/// )?;
/// let s = (-30f64).exp();
/// assert!((mean / s - 1.0).abs() < 1e-6);
/// assert!((dlogits[0] as f64 / -s - 1.0).abs() < 1e-6); // not 0, though p rounds to 1
/// # Ok::<(), evenkeel::Error>(())
/// ```
#[allow(clippy::too_many_arguments)]
pub fn cross_entropy_f32(
    ctx: &Context,
    label_smoothing: f32,
    ignore_index: i64,
    grad_scale: f32,
    rows: usize,
    classes: usize,
    logits: &[f32],
    targets: &[i64],
    losses: Option<&mut [f32]>,
    mean_loss: Option<&mut f64>,
    dlogits: Option<&mut [f32]>,
) -> Result {
    let args = Arguments { function: "cross_entropy_f32", label_smoothing, ignore_index, grad_scale, rows, classes };
    args.run(ctx, Some(logits), targets, losses, mean_loss, dlogits)
}

/// [`cross_entropy_f32`] with the gradient in the logits' place.
///
/// # Errors
/// Those of [`cross_entropy_f32`].
#[allow(clippy::too_many_arguments)]
pub fn cross_entropy_in_place_f32(
    ctx: &Context,
    label_smoothing: f32,
    ignore_index: i64,
    grad_scale: f32,
    rows: usize,
    classes: usize,
    logits: &mut [f32],
    targets: &[i64],
    losses: Option<&mut [f32]>,
    mean_loss: Option<&mut f64>,
) -> Result {
    let function = "cross_entropy_f32";
    let args = Arguments { function, label_smoothing, ignore_index, grad_scale, rows, classes };
    args.run(ctx, None, targets, losses, mean_loss, Some(logits))
}

struct Arguments {
    function: &'static str,
    label_smoothing: f32,
    ignore_index: i64,
    grad_scale: f32,
    rows: usize,
    classes: usize,
}

impl Arguments {
    fn run(
        &self,
        ctx: &Context,
        logits: Option<&[f32]>,
        targets: &[i64],
        losses: Option<&mut [f32]>,
        mean_loss: Option<&mut f64>,
        dlogits: Option<&mut [f32]>,
    ) -> Result {
        let counted = self.check(logits, targets, losses.as_deref(), dlogits.as_deref())?;
        let epsilon = self.label_smoothing as f64;
        // Without a counted row there is nothing to divide.
        let scale = if counted == 0 { 0.0 } else { self.grad_scale as f64 / counted as f64 };
        let pass = Ce {
            targets,
            ignore_index: self.ignore_index,
            losses: losses.map(Shared::new),
            scale,
            epsilon,
            uniform: if self.classes == 0 { 0.0 } else { epsilon / self.classes as f64 },
            gradient: dlogits.is_some(),
        };
        let total = rows::run(self.function, ctx, NS, [self.rows, self.classes], logits, dlogits, &pass)?;
        if let Some(mean) = mean_loss {
            *mean = if counted == 0 { 0.0 } else { total / counted as f64 };
        }
        Ok(())
    }

    /// The number of rows that count.
    fn check(
        &self,
        logits: Option<&[f32]>,
        targets: &[i64],
        losses: Option<&[f32]>,
        dlogits: Option<&[f32]>,
    ) -> Result<usize> {
        let Arguments { function, label_smoothing, ignore_index, grad_scale, rows, classes } = *self;
        if !(0.0..=1.0).contains(&label_smoothing) {
            return Err(Error::invalid_argument(
                function,
                format!("label_smoothing is {label_smoothing}, expected a number in [0, 1]"),
            ));
        }
        check_scale(function, grad_scale)?;
        let len = product(function, "logits", &[rows, classes])?;
        if let Some(logits) = logits {
            check_len(function, "logits", logits, len)?;
        }
        check_len(function, "targets", targets, rows)?;
        if let Some(losses) = losses {
            check_len(function, "losses", losses, rows)?;
        }
        if let Some(dlogits) = dlogits {
            check_len(function, if logits.is_some() { "dlogits" } else { "logits" }, dlogits, len)?;
        }
        let mut counted = 0;
        for (row, &target) in targets.iter().enumerate() {
            if target == ignore_index {
                continue;
            }
            if target < 0 || target as u64 >= classes as u64 {
                return Err(Error::invalid_argument(
                    function,
                    format!(
                        "targets[{row}] is {target}, expected 0 to classes − 1 with classes = {classes}, or ignore_index = {ignore_index}"
                    ),
                ));
            }
            counted += 1;
        }
        Ok(counted)
    }
}

struct Ce<'a> {
    targets: &'a [i64],
    ignore_index: i64,
    losses: Option<Shared<'a, f32>>,
    /// grad_scale / N.
    scale: f64,
    /// ε.
    epsilon: f64,
    /// ε / classes.
    uniform: f64,
    /// Whether there is a gradient to write.
    gradient: bool,
}

impl Ce<'_> {
    /// # Safety
    /// Each row's loss is set once.
    #[inline(always)]
    unsafe fn set_loss(&self, row: usize, loss: f32) {
        if let Some(losses) = &self.losses {
            // SAFETY: the contract.
            unsafe { losses.piece(row..row + 1)[0] = loss };
        }
    }

    /// What smoothing takes from every gradient. Without smoothing it is a positive zero, which takes nothing: not the sign
    /// of a zero either.
    #[inline(always)]
    fn each(&self) -> f32 {
        if self.drops() { (self.scale * self.uniform) as f32 } else { 0.0 }
    }
}

impl Pass for Ce<'_> {
    const STORE: bool = true;
    const LOG_SUM: bool = true;
    const ENDS: bool = true;

    #[inline(always)]
    fn drops(&self) -> bool {
        self.epsilon > 0.0
    }

    #[inline(always)]
    fn writes(&self) -> bool {
        self.gradient
    }

    #[inline(always)]
    fn wants(&self, row: usize) -> bool {
        self.targets[row] != self.ignore_index
    }

    #[inline(always)]
    fn pick(&self, row: usize) -> usize {
        self.targets[row] as usize
    }

    #[inline(always)]
    unsafe fn write<S: Simd>(&self, s: S, stats: &Stats, _: f32, _x: *const f32, y: *mut f32, n: usize) {
        if !self.gradient {
            return;
        }
        let r = s.splat((self.scale / (1.0 + stats.rest)) as f32);
        // A row without a distribution has no gradient; its exponentials are zero.
        let u = s.splat(if stats.empty { 0.0 } else { self.each() });
        let mut i = 0;
        while i < n {
            // SAFETY: y holds n floats (contract).
            unsafe {
                let e = s.load_up_to(y.add(i), n - i);
                s.store_up_to(y.add(i), s.fms(e, r, u), n - i);
            }
            i += LANES;
        }
    }

    #[inline(always)]
    unsafe fn write_turned<S: Simd>(&self, s: S, stats: &Turned<S>, block: *mut f32, cols: usize) {
        if !self.gradient {
            return;
        }
        let mut r = [0f32; LANES];
        for i in 0..LANES {
            r[i] = (self.scale / (1.0 + stats.rest[i])) as f32;
        }
        let r = s.from_array(r);
        let u = s.select(stats.empty, s.zero(), s.splat(self.each()));
        for j in 0..cols {
            // SAFETY: the block holds cols columns (contract).
            unsafe {
                let e = block.add(j * LANES);
                s.store(e, s.fms(s.load(e), r, u));
            }
        }
    }

    #[inline(always)]
    unsafe fn end<S: Simd>(&self, s: S, row: usize, stats: &Stats, y: *mut f32) -> f64 {
        let e = if self.gradient && stats.picked != stats.max {
            s.to_array(crate::vecmath::exp(s, s.splat(stats.picked - stats.max)))[0]
        } else {
            1.0
        };
        // SAFETY: the contract.
        unsafe { self.end_with(row, stats, stats.log_sum(s), e, y) }
    }

    #[inline(always)]
    unsafe fn end_with(&self, row: usize, stats: &Stats, log_sum: f32, e: f32, y: *mut f32) -> f64 {
        let Ce { scale, epsilon, uniform, .. } = *self;
        let log_sum = log_sum as f64;
        let below = stats.max as f64 - stats.picked as f64;
        let mut loss = log_sum;
        // ε = 1 does not ask for the target's probability, which may be 0.
        if epsilon < 1.0 {
            loss += (1.0 - epsilon) * below;
        }
        if self.drops() {
            loss += uniform * stats.drop;
        }
        // SAFETY: a row ends once.
        unsafe { self.set_loss(row, loss as f32) };
        if self.gradient && !stats.empty {
            // p − 1 where the target is the largest: −S / (1 + S). Elsewhere p ≤ 1/2, and 1 loses nothing.
            let p_minus_1 = if stats.picked == stats.max {
                -stats.rest / (1.0 + stats.rest)
            } else {
                e as f64 / (1.0 + stats.rest) - 1.0
            };
            // SAFETY: the target is below classes (checked), and a gradient means there is an output.
            unsafe { *y.add(self.pick(row)) = (scale * (p_minus_1 + (epsilon - uniform))) as f32 };
        }
        loss
    }

    #[inline(always)]
    unsafe fn skip(&self, row: usize, y: *mut f32, cols: usize) {
        // SAFETY: y holds a row if there is a gradient; a row is skipped once.
        unsafe {
            self.set_loss(row, 0.0);
            if self.gradient {
                y.write_bytes(0, cols);
            }
        }
    }
}
