"""A simulated GPU for machines without a GPU: its tensors are in CPU memory but follow the rules of another device.

A tensor that is created on or moved to "cuda" reports that device. As with CUDA, it is an error to mix tensors of both
devices in an operator, and to use a "cuda" tensor in numpy, in a kernel that takes addresses, or with a CPU generator.
The tests thus run every branch for an accelerator, except for CUDA's own kernels and their rounding.
"""

from contextlib import ExitStack, contextmanager

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

__all__ = ["Accelerator", "pretended", "same"]

FAR = torch.device("cuda")
_WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2")
_OF_THE_HOST = {torch.Tensor.numpy, torch.Tensor.data_ptr, torch.Tensor.__array__}


def _storage(x):
    while torch._C._functorch.is_functorch_wrapped_tensor(x):
        x = torch._C._functorch.get_unwrapped(x)
    return x.untyped_storage()


class Accelerator:
    """Records which memory belongs to the simulated device, and counts the copies to and from it.

    Attributes:
        copies: the number of copies between host and device and of reads of single numbers; the host waits for each.
        busy: whether an operator with tensors of the device is running; it creates new tensors on the device too.
    """

    def __init__(self):
        self._far, self._pinned = {}, {}
        self.copies = 0
        self.busy = False

    def holds(self, x):
        """Whether x is on the device."""
        reference = self._far.get(_storage(x)._cdata)
        return reference is not None and not reference.expired()

    def pin(self, x):
        """Return a copy of x in pinned memory, from which copies to the device need not wait."""
        copy = x.clone()
        self._pinned[_storage(copy)._cdata] = StorageWeakRef(_storage(copy))
        return copy

    def pinned(self, x):
        """Whether x is in pinned memory."""
        reference = self._pinned.get(_storage(x)._cdata)
        return reference is not None and not reference.expired()

    def put(self, x, far=True):
        """Mark the memory of x as the device's or as the host's."""
        storage = _storage(x)
        if far:
            self._far[storage._cdata] = StorageWeakRef(storage)
        else:
            self._far.pop(storage._cdata, None)
        return x


def _tensors(*values):
    """Return the tensors among these values, including those inside lists and mappings."""
    tensors = []
    for value in values:
        if isinstance(value, torch.Tensor):
            tensors += [] if value.is_meta else [value]
        elif isinstance(value, list | tuple):
            tensors += _tensors(*value)
        elif isinstance(value, dict):
            tensors += _tensors(*value.values())
    return tensors


class _Operators(TorchDispatchMode):
    """Checks that the operands of every operator are on the same device, and puts the result on that device."""

    def __init__(self, device):
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        given = _tensors(args, kwargs)
        far = any(self.device.holds(x) for x in given) if given else self.device.busy
        if far and operator is torch.ops.aten.copy_.default:
            self.device.copies += not all(self.device.holds(x) for x in given)
            return operator(*args, **(kwargs or {}))
        if far and not all(self.device.holds(x) or x.dim() == 0 for x in given):
            raise RuntimeError(f"{operator} expects all tensors on the same device, found some on cuda and some on cpu")
        self.device.copies += far and operator.overloadpacket.__name__ in _WAITS
        if operator.overloadpacket in (torch.ops.aten._fused_sgd_, torch.ops.aten._fused_adam_):
            _check_layouts(*args[:2])
        result = operator(*args, **(kwargs or {}))
        for x in _tensors(result) if far else ():
            self.device.put(x)
        return result


def _check_layouts(parameters, gradients):
    """Refuse parameters and gradients with different memory layouts, as CUDA's fused optimizers do."""
    for p, g in zip(parameters, gradients, strict=True):
        strides = zip(p.shape, p.stride(), g.stride(), strict=True)
        if p.shape != g.shape or any(one != other for size, one, other in strides if size > 1):
            raise RuntimeError("params, grads must have same dtype, device, and layout")


class _Calls(TorchFunctionMode):
    """Intercepts every torch call that names, reads or changes a device."""

    def __init__(self, device):
        super().__init__()
        self.device = device

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        first = args[0] if args and isinstance(args[0], torch.Tensor) and not args[0].is_meta else None
        if first is not None:
            far = self.device.holds(first)
            if function == torch.Tensor.device.__get__ and far:
                return FAR
            if function == torch.Tensor.is_cuda.__get__:
                return far
            if function == torch.Tensor.is_cpu.__get__:
                return not far and function(first)
            if function in _OF_THE_HOST and far:
                raise TypeError(f"{function.__name__} expected a tensor of the host, got a cuda tensor")
            if function in (torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.cuda):
                return self._moved(function, first, args[1:], kwargs)
            if function is torch.Tensor.pin_memory:
                return self.device.pin(first)
            if function is torch.Tensor.__deepcopy__:
                return self.device.put(function(*args, **kwargs), far)
        return self._created(function, first, args, kwargs)

    def _created(self, function, first, args, kwargs):
        """Run a call that creates a tensor, possibly on a named device."""
        wanted = kwargs.get("device")
        on_device = wanted is not None and torch.device(wanted).type == FAR.type
        if kwargs.get("generator") is not None and (on_device or (first is not None and self.device.holds(first))):
            raise RuntimeError("a CPU generator cannot fill a cuda tensor")
        if on_device:
            kwargs.pop("device")
        before = self.device.busy
        self.device.busy = before or any(self.device.holds(x) for x in _tensors(args, kwargs))
        try:
            tensor = function(*args, **kwargs)
        finally:
            self.device.busy = before
        if wanted is not None and isinstance(tensor, torch.Tensor) and not tensor.is_meta:
            self.device.put(tensor, on_device)
        return tensor

    def _moved(self, function, x, args, kwargs):
        """Move x to the requested device, and apply the other requested changes, such as a dtype."""
        wanted = {torch.Tensor.cpu: torch.device("cpu"), torch.Tensor.cuda: FAR}.get(function)
        rest = [] if wanted else list(args)
        if wanted is None:
            target = kwargs.pop("device", None) or next((a for a in rest if _names_device(a)), None)
            rest = [a for a in rest if not _names_device(a) and a is not None]
            if isinstance(target, torch.Tensor):
                wanted = FAR if self.device.holds(target) else target.device
                rest.append(target.dtype)
            else:
                wanted = None if target is None else torch.device(target)
        if wanted is not None and wanted.type == "meta":
            return function(x, wanted)
        blocking = not kwargs.pop("non_blocking", False)
        flags = [a for a in rest if isinstance(a, bool)]  # the first flag is non_blocking
        moved = x.to(*[a for a in rest if not isinstance(a, bool)], **kwargs)
        far = self.device.holds(x)
        if wanted is None or (wanted.type == FAR.type) == far:
            return moved
        waits = (blocking and not any(flags[:1])) or not (far or self.device.pinned(x))
        self.device.copies += waits
        moved = moved.clone() if _storage(moved)._cdata == _storage(x)._cdata else moved
        return self.device.put(moved, not far)


def _names_device(value):
    return isinstance(value, str | torch.device | torch.Tensor)


@contextmanager
def pretended():
    """Make "cuda" usable as a device inside this context; yield the `Accelerator`."""
    device, load = Accelerator(), torch.load

    def loaded(path, map_location=None, **options):
        content = load(path, map_location="cpu", **options)
        if map_location is not None and torch.device(map_location).type == FAR.type:
            content = tree_map_only(torch.Tensor, device.put, content)
        return content

    with ExitStack() as opened:
        opened.enter_context(_Operators(device))
        opened.enter_context(_Calls(device))
        torch.load = loaded
        opened.callback(setattr, torch, "load", load)
        yield device


def same(actual, wanted, device, bar=1e-3):
    """Whether two results are equal: bit for bit on the CPU, within rounding on another device.

    On another device, the kernel chosen for a product may depend on the number of runs. Results then agree within
    rounding, but only for one step or epoch: later, ReLU gates that flipped increase the difference.
    """
    if device == "cpu":
        assert torch.equal(actual, wanted)
    else:
        actual, wanted = actual.detach().cpu().double(), wanted.detach().cpu().double()
        assert (actual - wanted).norm() <= bar * wanted.norm().clamp(min=0.1)
