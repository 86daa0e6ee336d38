"""What the package asks of arrays, and what comes back."""

import threading
import time

import evenkeel as ek
import numpy as np
import pytest

rng = np.random.default_rng(1)


def f32(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def test_outputs_are_made_or_written_where_given():
    x, gamma = f32(5, 7), f32(7)
    made = ek.layer_norm_forward_f32(x, gamma=gamma, mean=True, rstd=True)
    y = np.full_like(x, np.nan)
    given = ek.layer_norm_forward_f32(x, gamma=gamma, y=y)
    assert given.y is y and given.mean is None and given.rstd is None
    assert made.y.tobytes() == y.tobytes()
    x64 = x.astype(np.float64)
    truth = (x64 - x64.mean(1, keepdims=True)) / np.sqrt(x64.var(1, keepdims=True) + 1e-5) * gamma
    np.testing.assert_allclose(y, truth, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(made.mean, x64.mean(1), atol=1e-7)


def test_gradients_add_up():
    dz, x = f32(4, 3), f32(4, 5)
    dw = ek.linear_backward_weight_f32(dz, x, accumulate=True).dw
    assert dw.tobytes() == ek.linear_backward_weight_f32(dz, x).dw.tobytes()
    ek.linear_backward_weight_f32(dz, x, accumulate=True, dw=dw)
    np.testing.assert_allclose(dw, 2 * dz.T @ x, rtol=1e-5, atol=1e-5)


def test_results_go_in_place_and_share_memory():
    x = f32(3, 4)
    expected = np.maximum(x, 0)
    assert ek.activation_forward_f32(x, act="relu", y=x) is x
    assert (x == expected).all()


def test_leading_axes_are_rows():
    x = f32(2, 3, 5)
    y = ek.softmax_forward_f32(x)
    assert y.shape == x.shape
    assert y.tobytes() == ek.softmax_forward_f32(x.reshape(6, 5)).tobytes()
    result = ek.layer_norm_forward_f32(x, mean=True)
    assert result.mean.shape == (2, 3)
    one = ek.linear_forward_f32(x[0, 0], f32(4, 5))
    assert one.y.shape == (4,)


def test_wrong_dtypes_say_so():
    x = f32(2, 3)
    for bad, words in [
        (x.astype(np.float64), "x is float64, not float32"),
        (x.astype(">f4"), "x is >f4, not float32"),
        (x.tolist(), "x is a list, not a numpy.ndarray"),
        (x.astype(np.int32), "x is int32"),
    ]:
        with pytest.raises(TypeError, match=words):
            ek.softmax_forward_f32(bad)
    with pytest.raises(TypeError, match="targets is int32, not int64"):
        ek.cross_entropy_f32(x, np.zeros(2, np.int32))
    with pytest.raises(TypeError, match="not bfloat16"):
        ek.softmax_forward_bf16(x)
    with pytest.raises(TypeError, match="y is float16"):
        ek.softmax_forward_f32(x, y=np.empty((2, 3), np.float16))


def test_views_that_are_not_contiguous_say_so():
    for view in [f32(3, 4).T, f32(4, 6)[:, ::2], f32(4, 6)[:, 1:5]]:
        with pytest.raises(ValueError, match="x is not contiguous"):
            ek.softmax_forward_f32(view)
    with pytest.raises(ValueError, match="y is not contiguous"):
        ek.softmax_forward_f32(f32(3, 4), y=np.empty((4, 3), np.float32).T)


def test_read_only_outputs_say_so():
    x = f32(3, 4)
    y = np.empty_like(x)
    y.flags.writeable = False
    with pytest.raises(ValueError, match="y is read-only"):
        ek.softmax_forward_f32(x, y=y)
    w = np.frombuffer(b"\0" * 16, np.float32)
    with pytest.raises(ValueError, match=r"params\[0\] is read-only"):
        ek.clip_adam_f32([w], [w.copy()], [w.copy()], [w.copy()])
    # As an input it is welcome.
    x.flags.writeable = False
    ek.softmax_forward_f32(x)


def test_shapes_that_differ_say_so():
    with pytest.raises(ValueError, match="in_features is 4 by w, but 3 by x"):
        ek.linear_forward_f32(f32(2, 3), f32(5, 4))
    with pytest.raises(ValueError, match=r"w has shape \(5,\), not \[out_features, in_features\]"):
        ek.linear_forward_f32(f32(2, 3), f32(5))
    with pytest.raises(ValueError, match="sizes of grads"):
        ek.clip_adam_f32([f32(3)], [f32(4)], [f32(3)], [f32(3)])
    with pytest.raises(ValueError, match="groups does not follow"):
        ek.group_norm_forward_f32(f32(2, 6, 5))
    assert ek.group_norm_forward_f32(f32(2, 6, 5), groups=3, mean=True).mean.shape == (2, 3)


def test_errors_of_the_library_carry_its_words():
    x = f32(4, 4)
    with pytest.raises(ek.EvenkeelError, match=r"ek_layer_norm_forward_f32: .*eps.*EK_STATUS_INVALID_ARGUMENT") as caught:
        ek.layer_norm_forward_f32(x, eps=-1)
    assert caught.value.status == 2
    with pytest.raises(ek.EvenkeelError, match="EK_STATUS_OVERLAP"):
        ek.softmax_backward_f32(x, x, dx=x)
    raw = bytearray(4 * 17)
    misaligned = np.frombuffer(raw, np.uint8)[1:65].view(np.float32).reshape(4, 4)
    with pytest.raises(ek.EvenkeelError, match="EK_STATUS_INVALID_ARGUMENT"):
        ek.softmax_forward_f32(misaligned)
    with pytest.raises(ValueError, match="act is 'swish'; it is one of identity, relu"):
        ek.activation_forward_f32(x, act="swish")
    with pytest.raises(TypeError, match="has no field 'learning_rate'"):
        ek.AdamOptions(learning_rate=1)


def test_products_take_views():
    a, b = f32(6, 5), f32(7, 5)
    np.testing.assert_allclose(ek.matmul_f32(a, b.T), a @ b.T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ek.matmul_f32(a.T, a), a.T @ a, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ek.matmul_f32(a[::2, 1:4], b[:3, :4]), a[::2, 1:4] @ b[:3, :4], rtol=1e-5, atol=1e-5)
    c = np.ones((6, 9), np.float32)
    out = c[:, 1:8]
    assert ek.matmul_f32(a, b.T, out, beta=2.0) is out
    np.testing.assert_allclose(out, a @ b.T + 2, rtol=1e-5, atol=1e-5)
    assert (c[:, 0] == 1).all() and (c[:, 8] == 1).all()
    with pytest.raises(ValueError, match="neither the rows nor the columns of a"):
        ek.matmul_f32(f32(6, 10)[:, ::2], b.T)
    with pytest.raises(ValueError, match="inner sizes differ"):
        ek.matmul_f32(a, b)
    x, w = f32(3, 4, 5), f32(5, 6)
    np.testing.assert_allclose(ek.matmul_batched_f32(x, np.broadcast_to(w, (3, 5, 6))), x @ w, rtol=1e-5, atol=1e-5)
    d = rng.standard_normal((4, 5))
    np.testing.assert_allclose(ek.matmul_f64(d, d.T), d @ d.T, rtol=1e-12)
    h = a.astype(np.float16)
    np.testing.assert_allclose(ek.matmul_f16(h, h.T), h.astype(np.float64) @ h.T.astype(np.float64), rtol=1e-5, atol=1e-4)


def test_bfloat16_is_taken_as_its_bits():
    x = f32(4, 8)
    bits = (x.view(np.uint32) >> 16).astype(np.uint16)
    y = ek.activation_forward_bf16(bits, act="relu")
    assert y.dtype == np.uint16
    assert (y == np.where(bits >> 15, 0, bits)).all()


def test_structs_have_defaults_and_come_back_filled():
    x = np.array([0, 1, -2, np.nan, np.inf, 1e-40], np.float32)
    stats = ek.tensor_stats_f32(x)
    assert (stats.count, stats.zeros, stats.nans, stats.infs, stats.subnormals) == (6, 1, 1, 1, 1)
    assert ek.gradient_flow(np.array([1e-9, 1e-6, 1e-3, 1.0])).verdict == ek.Flow.VANISHING
    adam = ek.AdamOptions(lr=0.1, second_moment="root")
    assert (adam.lr, adam.beta1, adam.second_moment) == (0.1, 0.9, 1)
    assert "lr=0.1" in repr(adam)


def test_contexts_choose_threads_and_instruction_set():
    best = ek.Context(num_threads=1).isa
    one = ek.Context(num_threads=1, isa=best)
    assert (one.num_threads, one.isa) == (1, best)
    x = f32(9, 33)
    assert ek.softmax_forward_f32(x, ctx=one).tobytes() == ek.softmax_forward_f32(x).tobytes()
    with pytest.raises(ek.EvenkeelError, match="num_threads"):
        ek.Context(num_threads=100000)


def test_empty_arrays_are_fine():
    assert ek.softmax_forward_f32(np.empty((0, 5), np.float32)).shape == (0, 5)
    assert (ek.matmul_f32(np.empty((2, 0), np.float32), np.empty((0, 3), np.float32)) == 0).all()


def test_the_interpreter_runs_on_while_a_call_computes():
    """With its lock held, the counting thread would stand still for the whole call."""
    a = f32(2000, 2000)
    slow = ek.Context(num_threads=1)
    done = threading.Event()
    stamps = []

    def count():
        while not done.is_set():
            stamps.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    start = time.perf_counter()
    ek.matmul_f32(a, a, ctx=slow)
    end = time.perf_counter()
    done.set()
    thread.join()
    assert sum(start < s < end for s in stamps) >= 3, f"{end - start:.3f} s"


def test_every_function_is_documented_and_typed():
    import inspect

    functions = [f for name, f in vars(ek).items() if name.endswith(("_f32", "_bf16", "_f16")) and callable(f)]
    assert len(functions) > 60
    for f in functions:
        assert f.__doc__, f.__name__
        assert "return" in inspect.signature(f).return_annotation or inspect.signature(f).return_annotation != inspect.Signature.empty
