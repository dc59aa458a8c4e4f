"""Find normalization, addition and rectifier in sequence in any module, and fuse them: y = max(0, BN(x) + r).

A plain module computes `relu(norm(x) + shortcut)` and does not depend on kernels. Its forward pass is recorded
(`torch.fx`), tracing only into parts that contain a normalization layer. If the output of a normalization is used only
by a rectifier, or only by an addition whose output is used only by a rectifier, all of them become one call of the
normalization's replacement (`batchnorm.Norm`).
"""

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from byrote.engine.batchnorm import is_standard

__all__ = ["fused", "fused_graph"]

_RELU = (F.relu, torch.relu)
_ADD = (operator.add, torch.add)


def fused_graph(module: nn.Module) -> fx.Graph | None:
    """The recorded forward pass of `module` with these calls fused; None if there is nothing to fuse or recording
    fails.

    The pass is recorded in training and in evaluation mode. The graph is used only if both are equal and nothing is
    changed in place, because a graph contains only one branch of Python code.
    """
    if not any(is_standard(part) for part in module.modules()):
        return None
    try:
        graph, in_evaluation = (_recorded(module, training) for training in (True, False))
    except Exception:  # a recorded value is not a tensor, so a module's code may fail in any way
        return None
    if str(graph) != str(in_evaluation) or any(_changes(node, module) for node in graph.nodes):
        return None
    count = sum([_join(node, module, graph) for node in list(graph.nodes)])
    graph.lint()
    return graph if count else None


def fused(module: nn.Module, graph: fx.Graph) -> nn.Module:
    """A module that computes `graph` with the states of `module`; its normalization layers must have been replaced."""
    return fx.GraphModule(module, graph)


class _Tensor(fx.Proxy):
    """A recorded value that refuses `h += x`, because `torch.fx` would record `h = h + x`, which is wrong if h is used
    elsewhere."""

    def __setitem__(self, *changed: object) -> None:
        raise TypeError("a change in place cannot be recorded")

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __setitem__


class _Recorder(fx.Tracer):
    """Traces into modules that contain a normalization layer, and treats every other module as a single call."""

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Tensor(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return is_standard(m) or not any(is_standard(part) for part in m.modules())


def _recorded(module: nn.Module, training: bool) -> fx.Graph:
    before = module.training
    try:
        return _Recorder().trace(module.train(training))
    finally:
        module.train(before)


def _join(node: fx.Node, module: nn.Module, graph: fx.Graph) -> int:
    """Fuse the calls that end in the rectifier `node`; returns 1 if they were fused, else 0."""
    if not _is_relu(node, module):
        return 0
    source = node.args[0]
    calls, norm, residual = [node], source, None
    if isinstance(source, fx.Node) and source.op == "call_function" and source.target in _ADD and not source.kwargs:
        one, other = source.args
        norm, residual = (one, other) if _is_norm(one, module) else (other, one)
        calls.append(source)
    if not isinstance(norm, fx.Node) or not _is_norm(norm, module) or not isinstance(residual, fx.Node | None):
        return 0
    calls.append(norm)
    if any(len(call.users) > 1 for call in calls[1:]):  # the intermediate value is used elsewhere
        return 0
    with graph.inserting_before(node):
        joined = graph.call_module(str(norm.target), (norm.args[0], residual), {"rectify": True})
    node.replace_all_uses_with(joined)
    for call in calls:
        graph.erase_node(call)
    return 1


def _part(node: fx.Node, module: nn.Module) -> nn.Module | None:
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def _is_norm(node: Any, module: nn.Module) -> bool:
    part = _part(node, module) if isinstance(node, fx.Node) else None
    return part is not None and is_standard(part)


def _is_relu(node: fx.Node, module: nn.Module) -> bool:
    if node.op == "call_function":
        return node.target in _RELU
    return type(_part(node, module)) is nn.ReLU


def _changes(node: fx.Node, module: nn.Module) -> bool:
    """Whether this call changes, or may change, a tensor in place."""
    if node.op == "call_method":
        return str(node.target).endswith("_")
    if node.op == "call_function":
        return any(flag is True for flag in (*node.args, *node.kwargs.values()))
    part = _part(node, module)
    return part is not None and any(getattr(inner, "inplace", False) for inner in part.modules())
