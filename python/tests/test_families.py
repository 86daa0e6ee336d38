"""Families whose shapes are their own: recurrences, attention, conversion, schedules, spectra, data."""

import evenkeel as ek
import numpy as np
import pytest

rng = np.random.default_rng(2)


def f32(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def sigma(x):
    return 1 / (1 + np.exp(-x))


def test_lstm_forward_and_lengths():
    seq, batch, size, hidden = 5, 3, 4, 6
    x, w_ih, w_hh, bias = f32(seq, batch, size), f32(4 * hidden, size), f32(4 * hidden, hidden), f32(4 * hidden)
    lengths = np.array([5, 2, 4], np.uintp)
    h, c, z = ek.lstm_forward_f32(x, w_ih, w_hh, bias=bias, lengths=lengths)
    assert h.shape == c.shape == (seq, batch, hidden) and z.shape == (seq, batch, 4 * hidden)
    state, cell = np.zeros((batch, hidden)), np.zeros((batch, hidden))
    for t in range(seq):
        i, f, g, o = np.split(x[t] @ w_ih.T.astype(float) + state @ w_hh.T.astype(float) + bias, 4, axis=1)
        new_cell = sigma(f) * cell + sigma(i) * np.tanh(g)
        live = (t < lengths)[:, None]
        cell = np.where(live, new_cell, cell)
        state = np.where(live, sigma(o) * np.tanh(new_cell), state)
        np.testing.assert_allclose(h[t], state, rtol=1e-4, atol=1e-5)
    result = ek.lstm_backward_f32(x, w_ih, w_hh, h, c, z, lengths=lengths, dh_last=f32(batch, hidden), dx=True, step_norms=True)
    assert result.dw_ih.shape == w_ih.shape and result.step_norms.shape == (seq,) and result.dh0 is None
    assert (result.dx[4, 1] == 0).all() and (result.dx[1, 1] != 0).any()
    with pytest.raises(TypeError, match="lengths is int64, not uint64"):
        ek.lstm_forward_f32(x, w_ih, w_hh, lengths=np.array([5, 2, 4]))
    with pytest.raises(ValueError, match="no multiple of 4"):
        ek.lstm_forward_f32(x, f32(22, size), w_hh)


def test_attention():
    q, k, v = f32(2, 4, 5, 8), f32(2, 2, 7, 8), f32(2, 2, 7, 8)
    out, lse = ek.attention_forward_f32(q, k, v, scale=0.3)
    logits = 0.3 * q @ np.repeat(k, 2, axis=1).astype(float).swapaxes(2, 3)
    p = np.exp(logits - logits.max(-1, keepdims=True))
    np.testing.assert_allclose(out, p / p.sum(-1, keepdims=True) @ np.repeat(v, 2, axis=1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(lse, np.log(np.exp(logits).sum(-1)), rtol=1e-5, atol=1e-5)
    dq, dk, dv = ek.attention_backward_f32(q, k, v, out, lse, f32(*q.shape), scale=0.3)
    assert dq.shape == q.shape and dk.shape == k.shape and dv.shape == v.shape


def test_conversion_and_master_copies():
    x = f32(100)
    bits = ek.convert_f32_to_bf16(x)
    assert bits.dtype == np.uint16
    np.testing.assert_allclose(ek.convert_bf16_to_f32(bits), x, rtol=2**-8)
    assert (ek.convert_f32_to_f16(x) == x.astype(np.float16)).all()
    p, m, v, stored = x.copy(), np.zeros(100, np.float32), np.zeros(100, np.float32), np.empty(100, np.uint16)
    ek.clip_adam_bf16([p], [bits], [m], [v], params_bf16=[stored])
    assert (ek.convert_f32_to_bf16(p) == stored).all() and (p != x).all()


def test_schedules_and_loss_scales():
    cosine = ek.Schedule(kind="cosine", base_lr=1.0, final_lr=0.0, warmup_steps=0, total_steps=100)
    assert ek.schedule_lr(step=0, schedule=cosine) == 1.0
    assert abs(ek.schedule_lr(step=50, schedule=cosine) - 0.5) < 1e-12
    scaler = ek.LossScaler(scale=1024.0)
    ek.loss_scaler_update(scaler, found_nonfinite=True)
    assert scaler.scale == 512


def test_spectra_take_rows_with_gaps():
    w = f32(6, 9)
    truth = np.linalg.svd(w[:, :5].astype(float), compute_uv=False)[0]
    assert abs(ek.spectral_norm_f32(w[:, :5]) / truth - 1) < 1e-5
    square = f32(5, 5)
    radius = np.abs(np.linalg.eigvals(square.astype(float))).max()
    assert abs(ek.spectral_radius_f32(square) / radius - 1) < 1e-5
    w = np.empty((4, 7), np.float32)
    ek.init_orthogonal_f32(w, seed=3)
    np.testing.assert_allclose(w @ w.T, np.eye(4), atol=1e-5)


def test_columns():
    x = f32(50, 3)
    x[4, 1] = np.nan
    mean, std, low, high, nans = ek.column_stats_counted_f32(x, std=True, min=True, max=True, nans=True)
    assert nans.tolist() == [0, 1, 0]
    np.testing.assert_allclose(mean, np.nanmean(x.astype(float), axis=0), rtol=1e-12)
    y = ek.rescale_f32(low, high, x)
    assert np.nanmin(y) == 0 and np.nanmax(y) == 1
    z = ek.standardize_f32(mean, std, x)
    np.testing.assert_allclose(np.nanmean(z, axis=0), 0, atol=1e-6)
