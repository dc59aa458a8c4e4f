"""The convolutional networks: parameters counted by hand, outputs computed by hand."""

import pytest
import torch
import torch.nn.functional as F

from byrote.networks import CNN8, InceptionLite, ResNet18, ResNet32

SMALL = [
    (ResNet32(), (3, 8, 8), 4),
    (ResNet18(), (1, 12, 12), 4),
    (ResNet18(stem="3x3"), (3, 8, 8), 4),
    (InceptionLite(), (3, 28, 28), 2),
    (InceptionLite(variant="released"), (3, 32, 32), 2),
    (CNN8(), (2, 8, 9), 4),
]
names = [f"{n.kind}-{s[0]}x{s[1]}" for n, s, _ in SMALL]


def count(network, shape, outputs=10):
    return sum(p.numel() for p in network.build(shape, outputs).parameters())


def conv(inputs, outputs, kernel, bias):
    return inputs * outputs * kernel**2 + bias * outputs + 2 * outputs  # plus the weights of its batch norm


def test_resnet32_counted_by_hand():
    stem = conv(3, 16, 3, 0)
    stages = 10 * conv(16, 16, 3, 0) + conv(16, 32, 3, 0) + 9 * conv(32, 32, 3, 0)
    stages += conv(32, 64, 3, 0) + 9 * conv(64, 64, 3, 0)
    assert stem + stages + 64 * 10 + 10 == 464_154
    assert count(ResNet32(), (3, 32, 32)) == 464_154


def test_resnet18_counted_by_hand():
    stages, inputs = 0, 64
    for width in (64, 128, 256, 512):
        stages += conv(inputs, width, 3, 0) + 3 * conv(width, width, 3, 0)
        stages += conv(inputs, width, 1, 0) if inputs != width else 0
        inputs = width
    assert conv(1, 64, 7, 0) + stages + 5130 == 11_175_370
    assert count(ResNet18(), (1, 28, 28)) == 11_175_370
    assert count(ResNet18(stem="3x3"), (3, 32, 32)) == conv(3, 64, 3, 0) + stages + 5130


def test_inception_lite_counted_by_hand():
    def mixed(inputs, narrow, wide):
        return conv(inputs, narrow, 1, 1) + conv(inputs, wide, 3, 1)

    body = conv(3, 96, 3, 1) + mixed(96, 32, 32) + mixed(64, 32, 48) + conv(80, 80, 3, 1)
    body += mixed(160, 112, 48) + mixed(160, 96, 64) + mixed(160, 80, 80) + mixed(160, 48, 96) + conv(144, 96, 3, 1)
    body += mixed(240, 176, 160) + mixed(336, 176, 160)
    assert body + 336 * 10 + 10 == 1_652_826
    assert count(InceptionLite(), (3, 28, 28)) == count(InceptionLite(), (3, 32, 32)) == 1_652_826
    assert count(InceptionLite(variant="released"), (3, 32, 32)) == body + 1344 * 10 + 10 == 1_662_906


def test_cnn8_counted_by_hand():
    body = conv(3, 64, 3, 1) + conv(64, 64, 3, 1) + conv(64, 128, 3, 1) + conv(128, 128, 3, 1)
    body += conv(128, 196, 3, 1) + conv(196, 196, 3, 1)
    assert count(CNN8(), (3, 32, 32)) == body + 3136 * 256 + 256 + 2 * 256 + 256 * 10 + 10 == 1_639_794


class Hand:
    """The networks written as functions of a float64 state dict; only names of weights are shared with the modules."""

    def __init__(self, twin):
        self.state = {name: value.double() for name, value in twin.state_dict().items()}

    def norm(self, path, x):
        dims = (0, 2, 3) if x.dim() == 4 else (0,)
        shape = (1, -1, 1, 1) if x.dim() == 4 else (1, -1)
        mean, var = x.mean(dims).view(shape), x.var(dims, unbiased=False).view(shape)
        weight, bias = (self.state[f"{path}.{name}"].view(shape) for name in ("weight", "bias"))
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    def unit(self, path, x, stride=1, padding=1):
        y = F.conv2d(x, self.state[f"{path}.conv.weight"], self.state.get(f"{path}.conv.bias"), stride, padding)
        return self.norm(f"{path}.norm", y).clamp(min=0)

    def residual(self, path, x, stride, shortcut):
        y = F.conv2d(self.unit(f"{path}.first", x, stride), self.state[f"{path}.conv.weight"], None, 1, 1)
        return (self.norm(f"{path}.norm", y) + shortcut(x)).clamp(min=0)

    def resnet32(self, x):
        def shortcut(v, new):
            strided = v[:, :, ::2, ::2]
            zeros = torch.zeros(len(v), new // 4, *strided.shape[2:], dtype=v.dtype)
            return torch.cat([zeros, strided, zeros], 1)

        h = self.unit("features.0", x)
        for i in range(15):
            halve = i in (5, 10)
            h = self.residual(
                f"features.{i + 1}",
                h,
                2 if halve else 1,
                (lambda v, i=i: shortcut(v, 2 * v.shape[1])) if halve else lambda v: v,
            )
        return h.mean((2, 3))

    def resnet18(self, x, stem):
        big = stem == "7x7"
        h = self.unit("features.0", x, 2 if big else 1, 3 if big else 1)
        h = F.max_pool2d(h, 3, 2, 1) if big else h
        for i in range(8):
            path, stride = f"features.{i + 1 + big}", 2 if i in (2, 4, 6) else 1

            def shortcut(v, path=path, stride=stride):
                projected = F.conv2d(v, self.state[f"{path}.shortcut.0.weight"], None, stride)
                return self.norm(f"{path}.shortcut.1", projected)

            h = self.residual(path, h, stride, shortcut if stride == 2 else lambda v: v)
        return h.mean((2, 3))

    def inception(self, x, paper):
        pad, at = (1 if paper else 0), (1 if paper else 0)  # in the paper's variant, the crop is an additional module
        if paper:
            rows, columns = (x.shape[2] - 28) // 2, (x.shape[3] - 28) // 2
            x = x[:, :, rows : rows + 28, columns : columns + 28]
        h = self.unit(f"features.{at}", x, 1, pad)
        for i in range(1, 11):
            path = f"features.{at + i}"
            if i in (3, 8):
                h = torch.cat([self.unit(f"{path}.unit", h, 2, pad), F.max_pool2d(h, 3, 2, pad)], 1)
            else:
                h = torch.cat([self.unit(f"{path}.narrow", h, 1, 0), self.unit(f"{path}.wide", h)], 1)
        return h.mean((2, 3)) if paper else F.avg_pool2d(h, 7, 1, 1).flatten(1)

    def cnn8(self, x):
        h = x
        for i in (0, 3, 6):
            h = F.max_pool2d(self.unit(f"features.{i + 1}", self.unit(f"features.{i}", h)), 2)
        h = h.flatten(1) @ self.state["features.10.weight"].T + self.state["features.10.bias"]
        return self.norm("features.11", h).clamp(min=0)


@pytest.mark.parametrize(("network", "shape", "batch"), SMALL, ids=names)
def test_features_and_logits_are_the_formula(network, shape, batch):
    twin = network.build(shape, 3, torch.Generator().manual_seed(1))
    hand = Hand(twin)
    x = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(2))
    wanted = {
        "resnet32": hand.resnet32,
        "resnet18": lambda v: hand.resnet18(v, getattr(network, "stem", "")),
        "inception_lite": lambda v: hand.inception(v, getattr(network, "variant", "") == "paper"),
        "cnn8": hand.cnn8,
    }[network.kind](x.double())
    features = twin.features(x)
    assert features.shape == (batch, network.feature_width)
    torch.testing.assert_close(features.double(), wanted, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(twin.head(features), twin(x), rtol=1e-4, atol=1e-4)


def test_inception_lite_takes_smaller_images_whole():
    """Every pixel of a 16 x 16 image is used; only sides longer than 28 are cropped, each separately."""
    net = InceptionLite().build((3, 16, 16), 10)
    assert sum(p.numel() for p in net.parameters()) == 1_652_826
    net.eval()
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(net.features[0](x), x)
    corner = x.clone()
    corner[0, :, 0, 0] += 1
    with torch.no_grad():
        assert not torch.equal(net.features(corner)[0], net.features(x)[0])
    assert net.features[0](torch.zeros(1, 3, 31, 20)).shape == (1, 3, 28, 20)


def test_inputs_that_do_not_fit_are_named():
    for network, shape in [
        (ResNet32(), (784,)),
        (ResNet18(), (1, 4, 28)),
        (InceptionLite(), (3, 7, 28)),
        (CNN8(), (3, 32)),
    ]:
        with pytest.raises(ValueError, match="images"):
            network.build(shape, 10)
    with pytest.raises(ValueError, match="32 x 32"):
        InceptionLite(variant="released").build((3, 33, 32), 10)


def test_what_tables_say():
    assert (ResNet32().depth, ResNet32().width, ResNet32().feature_width) == (32, 16, 64)
    assert (ResNet18().depth, ResNet18().width, ResNet18().feature_width) == (18, 64, 512)
    assert (CNN8().depth, CNN8().width, CNN8().feature_width) == (8, 64, 256)
    assert (InceptionLite().depth, InceptionLite().width, InceptionLite().feature_width) == (None, 96, 336)
    assert InceptionLite(variant="released").feature_width == 1344
    assert ResNet18(stem="3x3").spec() == {"kind": "resnet18", "stem": "3x3"}
