"""Stacks of networks made from their specs, as in `training.prepare`."""

from byrote.engine import stack


def stack_of(network, input_shape, num_outputs, generators, **options):
    """A stack of runs of `network`, each initialized by one of the generators."""
    modules = [network.build(input_shape, num_outputs, generator) for generator in generators]
    return stack(modules, input_shape, fuse=network.layers_only, **options)
