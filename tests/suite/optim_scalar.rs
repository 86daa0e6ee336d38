//! Loss scale and learning-rate schedules: scalar rules of a training loop.

use evenkeel::optim::{LossScaler, Schedule, ScheduleKind, loss_scaler_update, schedule_lr};

#[test]
fn loss_scale_grows_and_backs_off() {
    let mut s = LossScaler { growth_interval: 3, ..Default::default() };
    let mut after = |bad| {
        loss_scaler_update(&mut s, bad).unwrap();
        (s.scale, s.good_steps)
    };
    assert_eq!(after(false), (65536.0, 1));
    assert_eq!(after(false), (65536.0, 2));
    assert_eq!(after(false), (131072.0, 0));
    assert_eq!(after(false), (131072.0, 1));
    assert_eq!(after(true), (65536.0, 0));
    assert_eq!(after(true), (32768.0, 0));
}

#[test]
fn loss_scale_stays_in_its_bounds() {
    let mut s = LossScaler { growth_interval: 1, ..Default::default() };
    (0..200).for_each(|_| loss_scaler_update(&mut s, true).unwrap());
    assert_eq!(s.scale, 1.0);
    (0..200).for_each(|_| loss_scaler_update(&mut s, false).unwrap());
    assert_eq!(s.scale, 16_777_216.0);
    // Up to the end of f32, and never infinite; down to its other end, and never zero.
    let mut s = LossScaler { min_scale: f32::from_bits(1), max_scale: f32::MAX, ..s };
    (0..400).for_each(|_| loss_scaler_update(&mut s, false).unwrap());
    assert_eq!(s.scale, f32::MAX);
    (0..400).for_each(|_| loss_scaler_update(&mut s, true).unwrap());
    assert_eq!(s.scale, f32::from_bits(1));
}

#[test]
fn loss_scaler_names_bad_fields() {
    let fine = LossScaler::default();
    for (bad, part) in [
        (LossScaler { scale: f32::NAN, ..fine }, "scale is NaN"),
        (LossScaler { scale: 0.5, ..fine }, "scale is 0.5"),
        (LossScaler { growth_factor: 1.0, ..fine }, "growth_factor is 1"),
        (LossScaler { backoff_factor: 1.0, ..fine }, "backoff_factor is 1"),
        (LossScaler { growth_interval: 0, ..fine }, "growth_interval is 0"),
        (LossScaler { min_scale: 0.0, ..fine }, "min_scale is 0"),
        (LossScaler { max_scale: f32::INFINITY, ..fine }, "max_scale inf"),
    ] {
        let mut s = bad;
        let text = loss_scaler_update(&mut s, true).expect_err(part).to_string();
        assert!(text.contains("loss_scaler_update") && text.contains(part), "{text}");
        assert_eq!(format!("{s:?}"), format!("{bad:?}"));
    }
}

#[test]
fn schedules_follow_their_formulas() {
    let base = Schedule { base_lr: 0.8, final_lr: 0.1, warmup_steps: 4, total_steps: 24, ..Default::default() };
    let stepped = Schedule { decay: 0.5, step_size: 5, ..base };
    for (schedule, points) in [
        (Schedule { kind: ScheduleKind::Constant, ..base }, [(4, 0.8), (14, 0.8), (24, 0.8), (1000, 0.8)]),
        (Schedule { kind: ScheduleKind::Linear, ..base }, [(4, 0.8), (14, 0.45), (24, 0.1), (1000, 0.1)]),
        (Schedule { kind: ScheduleKind::Cosine, ..base }, [(4, 0.8), (14, 0.45), (24, 0.1), (1000, 0.1)]),
        (
            Schedule { kind: ScheduleKind::InverseSqrt, ..base },
            [(4, 0.8 * 0.8f64.sqrt()), (15, 0.4), (63, 0.2), (1000, 0.1)],
        ),
        (Schedule { kind: ScheduleKind::Step, ..stepped }, [(8, 0.8), (9, 0.4), (14, 0.2), (1000, 0.1)]),
        (Schedule { kind: ScheduleKind::Exponential, ..stepped }, [(4, 0.8), (9, 0.4), (14, 0.2), (1000, 0.1)]),
    ] {
        for (step, want) in [(0, 0.2), (2, 0.6), (3, 0.8)].into_iter().chain(points) {
            let lr = schedule_lr(&schedule, step).unwrap();
            assert!((lr - want).abs() < 1e-12, "{schedule:?} at {step}: {lr}, not {want}");
        }
    }
    // Between the ends: a quarter of a cosine, half a decay.
    let quarter = schedule_lr(&Schedule { kind: ScheduleKind::Cosine, ..base }, 9).unwrap();
    assert!((quarter - (0.1 + 0.7 * (1.0 + 0.5f64.sqrt()) / 2.0)).abs() < 1e-12);
    let half = Schedule { kind: ScheduleKind::Exponential, step_size: 10, ..stepped };
    assert!((schedule_lr(&half, 9).unwrap() - 0.8 * 0.5f64.sqrt()).abs() < 1e-12);
    // Without a warmup the first step is the base.
    for kind in [ScheduleKind::Constant, ScheduleKind::Linear, ScheduleKind::Cosine, ScheduleKind::InverseSqrt] {
        assert_eq!(schedule_lr(&Schedule { kind, warmup_steps: 0, ..base }, 0), Ok(0.8));
    }
}

#[test]
fn schedule_names_bad_fields() {
    let base = Schedule { kind: ScheduleKind::Step, total_steps: 10, ..Default::default() };
    for (bad, part) in [
        (Schedule { base_lr: -1.0, ..base }, "base_lr is -1"),
        (Schedule { final_lr: f64::NAN, ..base }, "final_lr is NaN"),
        (Schedule { decay: 0.0, ..base }, "decay is 0"),
        (Schedule { decay: 1.5, ..base }, "decay is 1.5"),
        (Schedule { step_size: 0, ..base }, "step_size is 0"),
        (Schedule { kind: ScheduleKind::Cosine, warmup_steps: 10, ..base }, "total_steps is 10"),
    ] {
        let text = schedule_lr(&bad, 3).expect_err(part).to_string();
        assert!(text.contains("schedule_lr") && text.contains(part), "{text}");
    }
}
