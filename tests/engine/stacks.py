"""Stacks of described networks, as `training.prepare` makes them."""

from byrote.engine import stack


def stack_of(network, input_shape, num_outputs, generators, **options):
    """The runs of `network` that those generators start, as one."""
    modules = [network.build(input_shape, num_outputs, generator) for generator in generators]
    return stack(modules, input_shape, fuse=network.layers_only, **options)
