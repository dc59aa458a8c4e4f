"""Batch norm, residual addition and ReLU in one operation, compared with torch in float64 at every edge of sizes."""

import copy
import subprocess

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from byrote.engine.batchnorm import Norm
from byrote.engine.kernels import library

needs_kernels = pytest.mark.skipif(library.kernels() is None, reason="no C++ compiler on this machine")


def pair(columns, dims, seed=0):
    plain = (nn.BatchNorm2d if dims == 4 else nn.BatchNorm1d)(columns)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        plain.weight.uniform_(-1, 2, generator=draw)
        plain.bias.normal_(generator=draw)
    return plain


def compare(plain, x, residual, rectify, compiled, tolerance, device="cpu"):
    wide = nn.BatchNorm2d(x.shape[1]) if x.dim() == 4 else nn.BatchNorm1d(x.shape[1])
    wide.load_state_dict(plain.state_dict())
    wide.double()
    x64 = x.detach().double().requires_grad_()
    r64 = None if residual is None else residual.detach().double().requires_grad_()
    y64 = wide(x64) if r64 is None else wide(x64) + r64
    y64 = F.relu(y64) if rectify else y64
    dy = torch.randn(x.shape, generator=torch.Generator().manual_seed(9)).to(x.dtype)
    y64.backward(dy.double())
    norm = Norm(plain, compiled).to(device)
    x = x.detach().to(device).requires_grad_()
    r = None if residual is None else residual.detach().to(device).requires_grad_()
    y = norm(x, r, rectify=rectify)
    y.backward(dy.to(device))
    assert y.dtype == x.dtype
    pairs = [(y, y64), (x.grad, x64.grad), (norm.weight.grad, wide.weight.grad), (norm.bias.grad, wide.bias.grad)]
    pairs += [(norm.running_mean, wide.running_mean), (norm.running_var, wide.running_var)]
    pairs += [] if r is None else [(r.grad, r64.grad)]
    for got, wanted in pairs:
        error = (got.detach().cpu().double() - wanted.detach()).norm() / wanted.detach().norm().clamp(min=1e-6)
        assert error < tolerance, (error, got.shape)
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize("compiled", [pytest.param(True, marks=needs_kernels), False])
@pytest.mark.parametrize("columns", [1, 16, 17, 32, 64, 119])
@pytest.mark.parametrize("rows", [2, 3, 128, 300])
def test_matrices_against_float64(columns, rows, compiled, device):
    x = torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows)) * 2 + 3
    compare(pair(columns, 2), x, None, True, compiled, 1e-4 if rows > 3 else 0.05, device)


@pytest.mark.parametrize("compiled", [pytest.param(True, marks=needs_kernels), False])
@pytest.mark.parametrize("rectify", [True, False])
@pytest.mark.parametrize("added", [True, False])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_images_with_residuals_against_float64(compiled, rectify, added, layout, device):
    draw = torch.Generator().manual_seed(5)
    x = torch.randn(4, 19, 6, 5, generator=draw).to(memory_format=layout)
    r = torch.randn(4, 19, 6, 5, generator=draw) if added else None
    compare(pair(19, 4), x, r, rectify, compiled, 1e-4, device)


@needs_kernels
def test_bfloat16_input_keeps_float32_statistics():
    x = (torch.randn(500, 40, generator=torch.Generator().manual_seed(1)) + 30).to(torch.bfloat16)
    compare(pair(40, 2), x, None, True, True, 0.01)
    norm = Norm(nn.BatchNorm1d(40), True)
    norm(x)
    torch.testing.assert_close(norm.running_mean.double(), 0.1 * x.double().mean(0), rtol=1e-6, atol=0)
    torch.testing.assert_close(norm.running_var.double(), 0.9 + 0.1 * x.double().var(0), rtol=1e-5, atol=0)


@needs_kernels
def test_a_large_mean_does_not_cancel():
    x = torch.randn(4096, 16, generator=torch.Generator().manual_seed(1)) + 1000
    norm = Norm(nn.BatchNorm1d(16), True)
    y = norm(x)
    wanted = (x.double() - x.double().mean(0)) / x.double().std(0, unbiased=False)
    assert (y.double() - wanted).abs().max() < 1e-3


@needs_kernels
def test_nan_and_infinity_are_not_hidden():
    for bad in (float("nan"), float("inf")):
        x = torch.randn(8, 16)
        x[3, 5] = bad
        assert not Norm(nn.BatchNorm1d(16), True)(x, rectify=True)[:, 5].isfinite().all()
        assert not Norm(nn.BatchNorm1d(16), True)(x.to(torch.bfloat16), rectify=True)[:, 5].isfinite().all()


@needs_kernels
@pytest.mark.parametrize("rectify", [True, False])
@pytest.mark.parametrize("added", [True, False])
@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (4, 19, 6, 5), (7, 33)])
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float32, 1e-5), (torch.bfloat16, 0.01)])
def test_evaluation_is_by_the_running_statistics(rectify, added, shape, dtype, bar, device):
    draw = torch.Generator().manual_seed(5)
    plain = pair(shape[1], len(shape))
    plain.running_mean.normal_(generator=draw)
    plain.running_var.uniform_(0.2, 3, generator=draw)
    x, r = torch.randn(2, *shape, generator=draw).to(dtype).unbind()
    norm = Norm(copy.deepcopy(plain), True).float().to(device).eval()
    wide = plain.double().eval()
    wanted = wide(x.double()) + (r.double() if added else 0)
    wanted = F.relu(wanted) if rectify else wanted
    x, r = x.to(device), r.to(device)
    with torch.no_grad():
        got = norm(x, r if added else None, rectify)
        assert got.dtype == dtype
        assert (got.cpu().double() - wanted).norm() <= bar * wanted.norm()
    with_gradients = norm(x, r if added else None, rectify)
    torch.testing.assert_close(got, with_gradients.detach(), rtol=bar, atol=bar)


@needs_kernels
def test_signals_are_normalized_by_channel():
    plain, x = pair(4, 3), torch.randn(6, 4, 5, generator=torch.Generator().manual_seed(2))
    wanted = F.batch_norm(x, None, None, plain.weight, plain.bias, training=True)
    torch.testing.assert_close(Norm(plain, True)(x), wanted)


@needs_kernels
def test_one_row_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        Norm(nn.BatchNorm1d(3), True)(torch.zeros(1, 3))


def test_without_a_compiler_there_are_no_kernels(monkeypatch, caplog):
    monkeypatch.setattr(library.shutil, "which", lambda name: None)
    with caplog.at_level("INFO", "byrote"):
        assert library.kernels.__wrapped__() is None
    assert "no C++ compiler" in caplog.text


def test_a_compiler_that_fails_is_no_error(monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("BYROTE_CACHE", str(tmp_path))
    monkeypatch.setattr(library.shutil, "which", lambda name: "/bin/false")

    def fail(command, **settings):
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(library.subprocess, "run", fail)
    with caplog.at_level("INFO", "byrote"):
        assert library.kernels.__wrapped__() is None
    assert "cannot be used" in caplog.text
